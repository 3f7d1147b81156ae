"""Broken bundles: what is not what was published is refused by `bundle verify`, and what was published broken by
whoever opens it."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_checks import Shop, check_refused, podium

from pipeline.artifacts import read_manifest, sha256
from pipeline.bundle import _identity, current

Break = Callable[[Path], object]


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def rename_in_manifest(folder: Path, name: str) -> None:
    """The first file of the artifact is called `name` in its manifest."""
    files = json.loads((folder / "manifest.json").read_text())["files"]
    edit(folder / "manifest.json", files={name if i == 0 else old: files[old] for i, old in enumerate(files)})


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def unlist(bundle: Path, part: str) -> None:
    parts = json.loads((bundle / "bundle.json").read_text())["parts"]
    edit(bundle / "bundle.json", parts={name: digest for name, digest in parts.items() if name != part})


def link_away(path: Path, outside: Path) -> None:
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside)


def other_catalogue(folder: Path) -> None:
    """A part that was sound, and whose manifest is, but of another catalogue."""
    inputs = json.loads((folder / "manifest.json").read_text())["inputs"]
    edit(folder / "manifest.json", inputs=inputs | {"catalogue": "0" * 64})
    bind_again(folder.parent)


def bind_again(bundle: Path) -> None:
    """Make manifests and bundle.json agree with what now lies there, as whoever tampers would."""
    about = json.loads((bundle / "bundle.json").read_text())
    parts, changed = about["parts"], {}
    for name in ("catalogue", "features", *parts):
        folder, manifest = bundle / name, read_manifest(bundle / name)
        kept = (path for path in folder.iterdir() if path.name != "manifest.json" and path.is_file())
        files = {p.name: {"sha256": sha256(p), "size": p.stat().st_size} for p in sorted(kept)}
        inputs = {key: changed.get(digest, digest) for key, digest in manifest.inputs.items()}
        edit(folder / "manifest.json", files=files, inputs=inputs)
        old, parts[name] = parts[name], replace(manifest, files=files, inputs=inputs).digest
        changed.setdefault(old, parts[name])
    about |= {name: parts[name] for name in ("catalogue", "features")}
    about["id"] = _identity(parts, about["cutoff"], None)
    (bundle / "bundle.json").write_text(json.dumps(about))


# how the bundle is broken, words of the error
CHANGED: dict[str, tuple[Break, tuple[str, ...]]] = {
    "no bundle": (shutil.rmtree, ("--bundle", "podium train")),
    "no bundle.json": (lambda b: (b / "bundle.json").unlink(), ("--bundle", "podium train")),
    "bundle.json that is no JSON": (lambda b: (b / "bundle.json").write_text("{"), ("bundle.json", "JSON")),
    "bundle.json that is no object": (lambda b: (b / "bundle.json").write_text("[]"), ("schema", "train again")),
    "bundle.json that is no text": (lambda b: (b / "bundle.json").write_bytes(b"\xff\xfe"), ("bundle.json", "JSON")),
    "another schema": (lambda b: edit(b / "bundle.json", schema=9), ("schema", "1")),
    "no cutoff": (lambda b: edit(b / "bundle.json", cutoff=None), ("bundle.json", "fields of a bundle")),
    "parts that are a list": (lambda b: edit(b / "bundle.json", parts=["ranker"]), ("bundle.json", "fields")),
    "no parts": (lambda b: edit(b / "bundle.json", parts={}), ("catalogue",)),
    "a part that leaves the bundle": (lambda b: edit(b / "bundle.json", parts={"../x": "0"}), ("parts", "plain names")),
    "a part that is hidden": (lambda b: edit(b / "bundle.json", parts={".x": "0"}), ("parts", "plain names")),
    "a part that is missing": (lambda b: shutil.rmtree(b / "ranker"), ("manifest.json", "ranker")),
    "another cutoff": (lambda b: edit(b / "bundle.json", cutoff=1), ("id", "follows from what is in it")),
    "a cutoff that is a fraction": (lambda b: edit(b / "bundle.json", cutoff=1.0), ("bundle.json", "cutoff is no int")),
    "another id": (lambda b: edit(b / "bundle.json", id="b-000000000000"), ("id", "follows from what is in it")),
    "an id that leaves the root": (lambda b: edit(b / "bundle.json", id="../../evil"), ("id", "'../../evil'")),
    "another catalogue": (lambda b: edit(b / "bundle.json", catalogue="0" * 64), ("catalogue", "digest of the part")),
    "a store it never read": (
        lambda b: edit(b / "bundle.json", stored={"id": "s", "seq": 9}),
        ("id", "follows from what is in it"),
    ),
    "a store without a number": (lambda b: edit(b / "bundle.json", stored={"id": "s"}), ("bundle.json", "seq")),
    "a field too many": (lambda b: edit(b / "bundle.json", note="x"), ("bundle.json", "note is unknown")),
    "a field that stands twice": (
        lambda b: replace_in(b / "bundle.json", ' "id":', ' "id": "b-000000000000", "id":'),
        ("bundle.json", "'id' stands twice"),
    ),
    "bundle.json nested a million deep": (
        lambda b: (b / "bundle.json").write_text("[" * 1_000_000),
        ("bundle.json", "nested too deep"),
    ),
    "a cutoff of ten thousand digits": (
        lambda b: replace_in(b / "bundle.json", '"cutoff": ', '"cutoff": ' + "9" * 10_000),
        ("bundle.json", "JSON"),
    ),
    "a part nobody lists": (lambda b: (b / "extra").mkdir(), ("extra", "remove it")),
    "a part that is no longer listed": (lambda b: unlist(b, "covisit"), ("covisit", "remove it")),
    "a part taken out whole": (
        lambda b: (unlist(b, "covisit"), shutil.rmtree(b / "covisit")),
        ("id", "follows from what is in it"),
    ),
    "two parts that changed names": (
        lambda b: (
            (b / "trade").rename(b / "x"),
            (b / "fusion").rename(b / "trade"),
            (b / "x").rename(b / "fusion"),
        ),
        ("the part this bundle was made with",),
    ),
    "a file nobody lists": (
        lambda b: (b / "ranker/x.so").write_bytes(b"x"),
        ("x.so", "manifest lists", "remove it"),
    ),
    "a hidden file": (lambda b: (b / ".x").write_bytes(b""), (".x", "remove it")),
    "a folder inside a part": (lambda b: (b / "ranker/deep/er").mkdir(parents=True), ("deep", "remove it")),
    "a link nobody lists": (lambda b: (b / "ranker/x").symlink_to("/"), ("x", "remove it")),
    "a pipe for a file": (
        lambda b: ((b / "ranker/ranker.json").unlink(), os.mkfifo(b / "ranker/ranker.json")),
        ("ranker.json", "a file the manifest lists"),
    ),
    "a pipe for a manifest": (
        lambda b: ((b / "ranker/manifest.json").unlink(), os.mkfifo(b / "ranker/manifest.json")),
        ("manifest.json", "no plain file"),
    ),
    "a link to a part elsewhere": (
        lambda b: ((b / "ranker").rename(b.with_name("r")), (b / "ranker").symlink_to(b.with_name("r"))),
        ("ranker", "no link"),
    ),
    "a link to a bundle.json elsewhere": (
        lambda b: link_away(b / "bundle.json", b.with_name("outside.json")),
        ("bundle.json", "no link"),
    ),
    "a link to a manifest elsewhere": (
        lambda b: link_away(b / "ranker/manifest.json", b.with_name("outside.json")),
        ("manifest.json", "remove it"),
    ),
    "a file changed under its other name": (
        lambda b: (os.link(b / "lexical/meta.json", b.with_name("other")), flip(b.with_name("other"))),
        ("meta.json", "SHA-256"),
    ),
    "a manifest whose key stands twice": (
        lambda b: replace_in(b / "ranker/manifest.json", ' "kind":', ' "kind": "x", "kind":'),
        ("manifest.json", "'kind' stands twice"),
    ),
    "a manifest made at no moment": (
        lambda b: edit(b / "ranker/manifest.json", created="<script>"),
        ("manifest.json", "created is no moment"),
    ),
    "a manifest of another code": (
        lambda b: edit(b / "ranker/manifest.json", code="9"),
        ("ranker", "the part this bundle was made with"),
    ),
    "a part of another bundle": (
        lambda b: edit(b / "ranker/manifest.json", metrics={"auc": 1.0}),
        ("ranker", "the part this bundle was made with"),
    ),
    "a part of another catalogue": (
        lambda b: other_catalogue(b / "lexical"),
        ("lexical.catalogue", "this bundle's catalogue"),
    ),
    "a manifest that is no JSON": (lambda b: cut(b / "ranker/manifest.json"), ("manifest.json", "JSON", "ranker")),
    "a manifest that is no object": (lambda b: (b / "ranker/manifest.json").write_text("3"), ("schema", "ranker")),
    "a manifest of another schema": (lambda b: edit(b / "ranker/manifest.json", schema=2), ("schema", "1", "ranker")),
    "a manifest with a surplus field": (lambda b: edit(b / "ranker/manifest.json", x=1), ("manifest.json", "fields")),
    "a manifest whose files are a list": (
        lambda b: edit(b / "ranker/manifest.json", files=["ranker.json"]),
        ("manifest.json", "fields of a manifest"),
    ),
    "a manifest without digests": (
        lambda b: edit(b / "ranker/manifest.json", files={"ranker.json": {}}),
        ("manifest.json", "fields of a manifest"),
    ),
    "a file that is missing": (lambda b: (b / "covisit/weight.npy").unlink(), ("weight.npy", "covisit")),
    "a file cut short": (lambda b: cut(b / "catalogue/items.parquet"), ("items.parquet", "bytes")),
    "a flipped bit": (lambda b: flip(b / "features/base.items.total.npy"), ("items.total.npy", "SHA-256")),
    "a file that leaves the part": (
        lambda b: rename_in_manifest(b / "ranker", "../ranker/ranker.json"),
        ("../ranker/ranker.json", "inside"),
    ),
    "a file at an absolute path": (
        lambda b: rename_in_manifest(b / "ranker", "/etc/hostname"),
        ("/etc/hostname", "inside"),
    ),
    "a link to a file elsewhere": (
        lambda b: link_away(b / "ranker/ranker.json", b.with_name("outside.json")),
        ("ranker.json", "a file the manifest lists"),
    ),
}


@pytest.mark.parametrize(("spoil", "words"), CHANGED.values(), ids=CHANGED)
def test_a_bundle_that_is_not_what_was_published_is_refused(spoil: Break, words: tuple[str, ...], broken: Path) -> None:
    spoil(broken)
    check_refused(podium("bundle", "verify", broken, "--json"), *words)


def no_pickle(path: Path) -> None:
    """An array of objects, which NumPy would unpickle, and with that run what stands in it."""
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def bad_tree(bundle: Path) -> None:
    """A ranker with trees whose first split reads a feature that is not there."""
    from ranking.boosted import Boosted, Examples, train
    from ranking.config import RankingConfig

    random = np.random.default_rng(0)
    rows = random.random((400, 2), dtype=np.float32)
    some = Examples(rows, (rows[:, 0] > 0.5).astype(np.float64))
    config = RankingConfig(trees=3, least_rows=5, threads=1)
    model: Boosted = train(some, some, config=config, seed=0)
    model.save(bundle / "ranker" / "model.txt")
    text = (bundle / "ranker" / "model.txt").read_text()
    head, found, rest = text.partition("split_feature=")
    assert found
    (bundle / "ranker" / "model.txt").write_text(f"{head}{found}9{rest[1:]}")
    about = json.loads((bundle / "ranker" / "ranker.json").read_text())
    edit(bundle / "ranker" / "ranker.json", used=about["all"][:2])


def no_model(bundle: Path) -> None:
    about = json.loads((bundle / "ranker" / "ranker.json").read_text())
    edit(bundle / "ranker" / "ranker.json", used=about["all"][:2])
    (bundle / "ranker" / "model.txt").write_text("tree\nversion=v4\n")


def write(name: str, data: bytes) -> Break:
    return lambda bundle: (bundle / name).write_bytes(data)


# what is broken and then published again with sound digests, words of the error
PUBLISHED: dict[str, tuple[Break, tuple[str, ...]]] = {
    "a tree that reads beyond its rows": (bad_tree, ("model.txt", "LightGBM", "not there")),
    "a model of no trees": (no_model, ("model.txt", "LightGBM")),
    "a ranker that is no JSON": (write("ranker/ranker.json", b"{"), ("ranker.json", "ranker")),
    "a ranker of other features": (
        lambda b: edit(b / "ranker/ranker.json", all=["ctr"], used=[], rate=""),
        ("features", "train again"),
    ),
    "a ranker without calibration": (lambda b: edit(b / "ranker/ranker.json", click=None), ("ranker", "click")),
    "a calibration of half a step": (
        lambda b: edit(b / "ranker/ranker.json", click={"pooled": {"starts": [1.0]}}),
        ("ranker", "steps"),
    ),
    "neighbours that are a pickle": (lambda b: no_pickle(b / "covisit/weight.npy"), ("weight.npy", "Python objects")),
    "pages that are no table": (write("features/referred.parquet", b"PAR1"), ("referred.parquet",)),
    "users that are no list": (write("features/users.json", b"{}"), ("users.json", "list of users")),
    "a bare pickle": (write("covisit/weight.npy", pickle.dumps({"a": 1})), ("weight.npy", "magic string")),
    "neighbours of another size": (
        lambda b: np.save(b / "covisit/weight.npy", np.zeros((2, 2), np.float32)),
        ("neighbours.npy", "shape"),
    ),
    "counts that are a pickle": (
        lambda b: no_pickle(b / "features/base.items.total.npy"),
        ("items.total.npy", "Python objects"),
    ),
    "counts of nothing": (write("features/base.items.keys.npy", b""), ("items",)),
    "a history cut short": (lambda b: cut(b / "features/base.history.item.npy"), ("history",)),
    "a state that is no JSON": (write("features/state.json", b"nothing"), ("state.json",)),
    "a state of another clock": (lambda b: edit(b / "features/state.json", clock="lunar"), ("state.json", "lunar")),
    "a state that counts otherwise": (lambda b: edit(b / "features/state.json", counted=["x"]), ("counted",)),
    "fitted features that are no JSON": (write("features/features.json", b"["), ("features.json",)),
    "a prior that is no array": (write("features/prior.click.values.npy", b"\x93NUMPY"), ("features",)),
    "text statistics without lengths": (write("features/text.json", b'{"documents": 3}'), ("text.json",)),
    "items that are no table": (write("catalogue/items.parquet", b"garbage"), ("items.parquet",)),
    "items without names": (
        lambda b: shutil.copy(b / "catalogue/timeline.parquet", b / "catalogue/items.parquet"),
        ("items.parquet", "event_id", "train again"),
    ),
    "a timeline that is another table": (
        lambda b: shutil.copy(b / "catalogue/items.parquet", b / "catalogue/timeline.parquet"),
        ("timeline.parquet",),
    ),
    "an index without its description": (write("lexical/meta.json", b"{"), ("lexical",)),
    "an index without a segment": (lambda b: next((b / "lexical").glob("*.term")).unlink(), ("lexical",)),
    "statistics that are no JSON": (write("lexical/statistics.json", b"{"), ("statistics.json",)),
    "statistics of nothing": (write("lexical/statistics.json", b"{}"), ("statistics.json",)),
    "words that are garbage": (write("index/words.parquet", b"garbage" * 9), ("index", "train again")),
    "words of another table": (
        lambda b: shutil.copy(b / "index/queries.parquet", b / "index/words.parquet"),
        ("index", "train again"),
    ),
    "queries of another table": (
        lambda b: shutil.copy(b / "index/words.parquet", b / "index/queries.parquet"),
        ("index", "train again"),
    ),
    "prefixes that are a pickle": (lambda b: no_pickle(b / "index/heads.keys.npy"), ("index", "train again")),
    "weights that are no numbers": (write("fusion/weights.json", b'{"weights": {"popular": "x"}}'), ("weights.json",)),
    "a trade that is no number": (write("trade/trade.json", b'{"search": {"trade": "much"}}'), ("trade", "float")),
    "a trade above one": (write("trade/trade.json", b'{"search": {"trade": 3, "windows": true}}'), ("trade", "<= 1")),
}


def check_unopened(bundle: Path, item: str, words: tuple[str, ...]) -> None:
    """The bundle is bound as if it were sound, and opening it fails in one sentence."""
    bind_again(bundle)
    verified = podium("bundle", "verify", bundle, "--json")
    assert verified.code == 0, verified.err
    check_refused(podium("explain", "--bundle", bundle, "--item", item), *words)


@pytest.mark.parametrize(("spoil", "words"), PUBLISHED.values(), ids=PUBLISHED)
def test_a_part_that_was_published_broken_is_refused_when_opened(
    spoil: Break, words: tuple[str, ...], broken: Path, shop: Shop
) -> None:
    spoil(broken)
    check_unopened(broken, shop.item, words)


def test_a_service_does_not_start_over_a_bundle_that_it_cannot_open(broken: Path, tmp_path: Path) -> None:
    write("ranker/ranker.json", b"{")(broken)
    bind_again(broken)
    check_refused(podium("serve", "--bundle", broken, "--root", tmp_path / "root"), "ranker.json")
    assert not (tmp_path / "root").exists()


def test_a_bundle_bound_again_without_a_change_opens(broken: Path, shop: Shop) -> None:
    bind_again(broken)
    assert podium("explain", "--bundle", broken, "--item", shop.item).code == 0


@pytest.fixture
def root(shop: Shop, tmp_path: Path) -> Path:
    """A bundles root of one's own, whose files are copies."""
    return Path(shutil.copytree(shop.bundles, tmp_path / "bundles", symlinks=True))


@pytest.mark.parametrize("spoil", ["a file", "a cutoff", "a reader", "a name", "a link"])
def test_what_cannot_serve_is_not_promoted_and_is_listed_with_its_reason(spoil: str, root: Path) -> None:
    good = current(root)
    assert good is not None
    name = shutil.copytree(root / good, root / "copy").rename(root / "b-0123456789ab").name
    if spoil != "a name":  # a sound bundle whose folder has the id of another
        shutil.rmtree(root / name)
        name = other_cutoff(root, good)
    if spoil == "a file":
        flip(root / name / "lexical" / "meta.json")
    elif spoil == "a cutoff":
        edit(root / name / "bundle.json", cutoff=7)
    elif spoil == "a reader":  # sound, but of features this version does not know
        edit(root / name / "ranker/ranker.json", all=["ctr"], used=[], rate="")
        bind_again(root / name)
        name = (root / name).rename(root / json.loads((root / name / "bundle.json").read_text())["id"]).name
    elif spoil == "a link":
        (root / name).rename(root.parent / name)
        (root / name).symlink_to(root.parent / name)
    refused = podium("bundle", "promote", root, name)
    check_refused(refused)
    assert (current(root), (root / "previous").is_symlink()) == (good, False)
    assert podium("explain", "--bundle", root, "--item", "x").code == 0
    told = json.loads(podium("bundle", "list", root, "--json").out)
    assert good in told["bundles"]
    assert list(told["broken"]) == ([] if spoil in ("a file", "a reader") else [name])  # contents are not read to list
    assert ("broken: " in podium("bundle", "list", root).out) == bool(told["broken"])


def other_cutoff(root: Path, bundle: str) -> str:
    """The id of a sound bundle of the same parts that claims to have learned for a moment longer."""
    folder = shutil.copytree(root / bundle, root / "longer")
    edit(folder / "bundle.json", cutoff=json.loads((folder / "bundle.json").read_text())["cutoff"] + 1)
    bind_again(folder)
    return folder.rename(root / json.loads((folder / "bundle.json").read_text())["id"]).name


def test_a_bundle_that_broke_since_it_served_is_not_gone_back_to(root: Path) -> None:
    old = current(root)
    assert old is not None
    new = other_cutoff(root, old)
    assert podium("bundle", "promote", root, new).code == 0
    flip(root / old / "lexical" / "meta.json")
    check_refused(podium("bundle", "rollback", root), "meta.json", "SHA-256")
    assert current(root) == new
    assert (root / "previous").readlink() == Path(old)


@pytest.mark.parametrize("to", ["../outside", "renamed"])
def test_a_current_link_that_leads_astray_is_not_followed(to: str, root: Path) -> None:
    good = current(root)
    assert good is not None
    shutil.copytree(root / good, root / to)
    (root / "current").unlink()
    (root / "current").symlink_to(to)
    check_refused(podium("explain", "--bundle", root, "--item", "x"), "current", f"a link to {good} beside it")


@pytest.mark.parametrize("command", ["evaluate", "serve", "explain"])
def test_every_command_refuses_a_bundle_with_a_flipped_bit(
    command: str, broken: Path, shop: Shop, tmp_path: Path
) -> None:
    flip(broken / "lexical" / "meta.json")
    rest: dict[str, tuple[object, ...]] = {
        "evaluate": ("--logs", shop.split / "test", "--out", tmp_path / "report", "--json"),
        "serve": ("--root", tmp_path / "root"),
        "explain": ("--item", shop.item),
    }
    check_refused(podium(command, "--bundle", broken, *rest[command]), "meta.json", "SHA-256")
    assert not (tmp_path / "report").exists()
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("promote", "{root}", "b-none"), ("bundle", "one of", "'b-none'")),
        (("promote", "{root}", "../x"), ("bundle", "one of")),
        (("rollback", "{root}"), ("rollback", "there is none")),
        (("show", "{root}/absent"), ("--bundle", "podium train")),
        (("verify", "{root}/absent"), ("--bundle", "podium train")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_bundle_that_is_not_there_is_refused(args: tuple[str, ...], words: tuple[str, ...], shop: Shop) -> None:
    check_refused(podium("bundle", *(arg.format(root=shop.bundles) for arg in args)), *words)
