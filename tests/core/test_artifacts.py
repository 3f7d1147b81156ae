"""What is published is whole, and what was changed on disk is refused."""

import json
from pathlib import Path

import pytest

from pipeline.artifacts import Draft, open_artifact, publish, read_manifest
from pipeline.bundle import bind, bundles, current, open_bundle, promote, rollback
from pipeline.errors import ArtifactError, InputError


def publish_text(folder: Path, kind: str, text: str, **inputs: str) -> Path:
    publish(folder, Draft(kind, {}, inputs), lambda draft: (draft / "a.txt").write_text(text) and None)
    return folder


def test_an_artifact_opens_as_it_was_published(tmp_path: Path) -> None:
    publish_text(tmp_path / "x", "test.text", "hello")
    manifest = open_artifact(tmp_path / "x", "test.text")
    assert manifest.files["a.txt"]["size"] == 5


def test_a_job_that_fails_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    publish_text(tmp_path / "x", "test.text", "old")

    def fails(draft: Path) -> None:
        (draft / "a.txt").write_text("new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path / "x", Draft("test.text", {}, {}), fails)
    assert (tmp_path / "x" / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", "hellO", "SHA-256"),
        ("a.txt", "hello!", "bytes"),
        ("a.txt", None, "lists"),
        ("manifest.json", "{", "JSON"),
        ("manifest.json", "{}", "schema"),
        ("manifest.json", '{"schema": 2}', "schema"),
        ("manifest.json", '{"schema": 1}', "fields"),
        ("manifest.json", None, "has one"),
    ],
)
def test_a_changed_file_is_refused_by_name(tmp_path: Path, name: str, content: str | None, says: str) -> None:
    folder = publish_text(tmp_path / "x", "test.text", "hello")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(ArtifactError, match=says):
        open_artifact(folder, "test.text")


def test_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="kind"):
        open_artifact(publish_text(tmp_path / "x", "test.text", "hello"), "test.other")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd"])
def test_a_manifest_may_not_point_outside_its_folder(tmp_path: Path, name: str) -> None:
    folder = publish_text(tmp_path / "x", "test.text", "hello")
    values = json.loads((folder / "manifest.json").read_text())
    values["files"][name] = values["files"].pop("a.txt")
    (folder / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(ArtifactError, match="inside"):
        open_artifact(folder, "test.text")


def bundle_of(root: Path, text: str) -> str:
    catalogue = publish_text(root / f"artifacts/c-{text}", "catalogue", text)
    features = publish_text(root / f"artifacts/f-{text}", "features", text, catalogue=read_manifest(catalogue).digest)
    about = {"catalogue": read_manifest(catalogue).digest, "features": read_manifest(features).digest}
    ranking = publish_text(root / f"artifacts/r-{text}", "ranking.boosted", text, **about)
    return bind(root, {"catalogue": catalogue, "features": features, "ranking": ranking}, cutoff=7).id


def test_a_bundle_opens_through_its_root_by_the_current_link(tmp_path: Path) -> None:
    name = bundle_of(tmp_path, "one")
    promote(tmp_path, name)
    assert open_bundle(tmp_path).id == name == open_bundle(tmp_path / name).id
    assert open_bundle(tmp_path).cutoff == 7


def test_rollback_goes_to_the_bundle_before_and_back(tmp_path: Path) -> None:
    one, two = bundle_of(tmp_path, "one"), bundle_of(tmp_path, "two")
    promote(tmp_path, one)
    promote(tmp_path, two)
    assert current(tmp_path) == two
    assert rollback(tmp_path) == one == current(tmp_path)
    assert rollback(tmp_path) == two
    assert bundles(tmp_path) == sorted([one, two])


def test_rollback_without_an_earlier_bundle_is_refused(tmp_path: Path) -> None:
    promote(tmp_path, bundle_of(tmp_path, "one"))
    with pytest.raises(InputError, match="earlier bundle"):
        rollback(tmp_path)


def test_parts_of_two_catalogues_cannot_be_bound(tmp_path: Path) -> None:
    bundle_of(tmp_path, "one")
    bundle_of(tmp_path, "two")
    parts = {"catalogue": "c-one", "features": "f-two", "ranking": "r-two"}
    with pytest.raises(ArtifactError, match="same catalogue"):
        bind(tmp_path, {name: tmp_path / "artifacts" / folder for name, folder in parts.items()}, cutoff=7)


def test_a_bundle_with_a_swapped_part_is_refused(tmp_path: Path) -> None:
    one, two = bundle_of(tmp_path, "one"), bundle_of(tmp_path, "two")
    (tmp_path / one / "ranking").rename(tmp_path / "away")
    (tmp_path / two / "ranking").rename(tmp_path / one / "ranking")
    with pytest.raises(ArtifactError, match="ranking"):
        open_bundle(tmp_path / one)


@pytest.mark.parametrize(
    "edit", [{"schema": 3}, {"parts": 7}, {"cutoff": "x"}, {"parts": {"../x": "y"}}, {"id": None, "parts": None}]
)
def test_a_malformed_bundle_file_is_refused(tmp_path: Path, edit: dict[str, object]) -> None:
    path = tmp_path / bundle_of(tmp_path, "one") / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | edit))
    with pytest.raises(ArtifactError):
        open_bundle(path.parent)


def test_a_folder_without_a_bundle_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="podium train"):
        open_bundle(tmp_path)
