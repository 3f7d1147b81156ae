"""No byte of a bundle can change without a refusal, but for what says nothing: white space, the note of the moment an
artifact was made."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts import Draft, publish
from pipeline.bundle import Bundle, Taken, bind, bundles, current, listed, open_bundle, promote
from pipeline.errors import ArtifactError, InputError
from tests.bundles import make_bundle, spoil

SEED = 11


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """One with files in a folder of their own, numbers that are none, and a store it learned from."""
    parts = {}
    for name in ("catalogue", "features", "ranker"):
        parts[name] = tmp_path / "artifacts" / name
        metrics = {"auc": float("nan"), "rows": 1e-7}
        publish(parts[name], Draft(f"test.{name}", {"é": [1, None]}, {}, metrics), _fill)
    return bind(tmp_path / "root", parts, 1_700_000_000_000, Taken("store", 9))


def _fill(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "content").write_bytes(bytes(range(32)))
    (folder / "nothing").write_bytes(b"")


def files(bundle: Bundle) -> list[Path]:
    """Its files, each of them its own from now on: artifacts have them too, by hard links."""
    found = sorted(path for path in bundle.root.rglob("*") if path.is_file())
    for path in found:
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    return found


def flipped(whole: bytes, bits: int, every: int) -> Iterator[bytes]:
    """Some bits of every so manieth byte flipped, one at a time."""
    random = np.random.default_rng(SEED)
    for place in range(0, len(whole), every):
        for bit in random.choice(8, bits, replace=False).tolist():
            data = bytearray(whole)
            data[place] ^= 1 << bit
            yield bytes(data)


def said(data: bytes) -> str:
    """What stands in a file of JSON, without the note of a moment."""
    about = json.loads(data)
    about.pop("created", None)
    return json.dumps(about, sort_keys=True)


def opens(bundle: Bundle) -> bool:
    """Whether it opens, and as it was; and whoever does not read the files says nothing else."""
    try:
        found = open_bundle(bundle.root)
    except InputError:
        return False
    assert found == bundle
    assert listed(bundle.root.parent).bundles == (bundle,)
    return True


@pytest.mark.parametrize("bits", [1, pytest.param(8, marks=pytest.mark.full)])
def test_no_bit_of_a_bundle_can_flip_unseen(bits: int, bundle: Bundle) -> None:
    flips = 0
    for path in files(bundle):
        whole = path.read_bytes()
        for data in flipped(whole, bits, every=1 if bits == 8 or path.name == "bundle.json" else 17):
            path.write_bytes(data)
            flips += 1
            if opens(bundle):
                assert path.suffix == ".json"
                assert said(data) == said(whole), path
        path.write_bytes(whole)
    assert opens(bundle)
    assert flips > 600 * bits


def test_no_file_of_a_bundle_can_be_cut_or_grow_unseen(bundle: Bundle) -> None:
    for path in files(bundle):
        whole = path.read_bytes()
        lengths = range(len(whole)) if path.name == "bundle.json" else range(0, len(whole), 97)
        for data in (*(whole[:length] for length in lengths), whole + b"x", whole * 2):
            path.write_bytes(data)
            if data != whole and opens(bundle):
                assert data.strip() == whole.strip(), (path, data)
        path.write_bytes(whole)
    assert opens(bundle)


def test_no_name_in_a_bundle_can_be_missing_or_new(bundle: Bundle) -> None:
    for path in list(bundle.root.rglob("*")):
        aside = bundle.root.parent / "aside"
        path.rename(aside)
        assert not opens(bundle), path
        aside.rename(path)
    for folder in (bundle.root, bundle.root / "ranker", bundle.root / "ranker" / "deep"):
        for make in (Path.mkdir, Path.touch, os.mkfifo, lambda new: new.symlink_to(bundle.root / "bundle.json")):
            new = folder / "new"
            make(new)
            assert not opens(bundle), new
            new.rmdir() if new.is_dir() else new.unlink()
    assert opens(bundle)


VALUES = (None, True, 1, 1.0, -1, "", "x", "../../evil", "b-000000000000", [], {}, {"": ""}, 10**30, "\ud800", "\x00")


def test_no_value_of_a_bundle_can_be_another(bundle: Bundle) -> None:
    path = bundle.root / "bundle.json"
    whole = json.loads(path.read_text())
    places = [(each, key) for each in (whole, whole["parts"], whole["stored"]) for key in each]
    for table, key in places:
        kept = table[key]
        for value in VALUES:
            table[key] = value
            path.write_text(json.dumps(whole))
            assert not opens(bundle) or (type(value), value) == (type(kept), kept), (key, value)
        del table[key]
        path.write_text(json.dumps(whole))
        assert not opens(bundle), key
        table[key] = kept
    path.write_text(json.dumps(whole | {"new": 1}))
    assert not opens(bundle)
    path.write_text(json.dumps(dict(reversed(whole.items())), indent=3))
    assert opens(bundle)


def test_a_key_that_stands_twice_is_refused_wherever_it_stands(bundle: Bundle) -> None:
    for path in (bundle.root / "bundle.json", bundle.root / "ranker" / "manifest.json"):
        whole = path.read_text()
        path.unlink()
        lines = whole.splitlines()
        for place, line in enumerate(lines):
            if ": " in line and not line.endswith(("{", "[")):
                path.write_text("\n".join([*lines[:place], line.rstrip(",") + ",", *lines[place:]]))
                assert not opens(bundle), line
        path.write_text(whole)


def test_a_lock_that_an_earlier_version_left_is_not_in_the_way(bundle: Bundle) -> None:
    (bundle.root / "ranker" / ".tantivy-meta.lock").touch()
    assert opens(bundle)
    (bundle.root / "ranker" / ".tantivy-meta.lock").write_text("x")
    assert not opens(bundle)


def test_a_copy_may_have_any_name_but_not_that_of_another(bundle: Bundle, tmp_path: Path) -> None:
    assert open_bundle(bundle.root.rename(tmp_path / "mine")).id == bundle.id
    (tmp_path / "mine").rename(bundle.root.parent / "b-0123456789ab")
    with pytest.raises(ArtifactError, match=f"id: {bundle.id}, which follows from what is in it"):
        open_bundle(bundle.root.parent / "b-0123456789ab")


def test_listing_tells_what_is_broken_and_why(tmp_path: Path) -> None:
    good, cut, bare, lost, moved = (make_bundle(tmp_path, cutoff) for cutoff in range(5))
    (cut.root / "bundle.json").write_text("{")
    (bare.root / "bundle.json").unlink()
    (lost.root / "features").rename(tmp_path / "outside")
    moved.root.rename(tmp_path / "renamed")
    (tmp_path / moved.id).symlink_to("renamed")
    (tmp_path / ".draft-b-000000000000").mkdir()
    found = listed(tmp_path)
    assert found.bundles == (good,)
    assert bundles(tmp_path) == [good.id]
    words = {cut.id: "JSON", bare.id: "bundle.json", lost.id: "manifest.json", moved.id: "named as"}
    words["renamed"] = "named as"
    assert found.broken.keys() == words.keys()
    assert all(word in found.broken[name] for name, word in words.items())
    assert listed(tmp_path / "nowhere").bundles == ()


def test_a_bundle_of_which_a_byte_changed_is_not_promoted_and_nothing_moves(tmp_path: Path) -> None:
    first, second, third = (make_bundle(tmp_path, cutoff) for cutoff in range(3))
    promote(tmp_path, first.id)
    promote(tmp_path, second.id)
    spoil(third.root)
    with pytest.raises(ArtifactError, match="SHA-256"):
        promote(tmp_path, third.id)
    for name in ("", ".", "..", "artifacts", "current", "b-000000000000", f"../{tmp_path.name}/{first.id}", "x" * 5000):
        with pytest.raises(InputError, match="bundle: one of"):
            promote(tmp_path, name)
    assert (current(tmp_path), (tmp_path / "previous").readlink()) == (second.id, Path(first.id))


def test_binding_again_mends_a_bundle_that_broke(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, 1)
    spoil(bundle.root)
    assert not opens(bundle)
    assert make_bundle(tmp_path, 1) == bundle
    assert opens(bundle)


def test_a_current_that_is_no_link_is_left_alone(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, 1)
    (tmp_path / "current").mkdir()
    with pytest.raises(InputError, match=r"current: .*link"):
        promote(tmp_path, bundle.id)
    assert not (tmp_path / "previous").exists()
    assert not list(tmp_path.glob(".*draft*"))
