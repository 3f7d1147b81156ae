import json
from pathlib import Path

import pytest

from pipeline.artifacts import Draft, publish
from pipeline.bundle import bind, current, open_bundle, promote
from pipeline.errors import ArtifactError, InputError
from pipeline.logs.store import EventStore, Row
from serving.backup import backup, restore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    parts = {}
    for name in ("catalogue", "features"):
        parts[name] = root / "bundles/artifacts" / name
        publish(parts[name], Draft(name, {}, {}), lambda folder: (folder / "content").write_text("x") and None)
    promote(root / "bundles", bind(root / "bundles", parts, 1).id)
    (root / "keys.json").write_text("{}")
    return root


def row(number: int) -> Row:
    return Row(f"e{number}", "feedback", "u", number, number, "{}")


def test_a_root_in_use_is_backed_up_and_comes_back_whole(root: Path, tmp_path: Path) -> None:
    store = EventStore(f"sqlite:///{root / 'events.db'}")
    store.append([row(number) for number in range(100)])
    backup(root, tmp_path / "copy")
    store.append([row(100)])
    store.close()
    restore(tmp_path / "copy", tmp_path / "again")
    assert current(tmp_path / "again/bundles") == current(root / "bundles")
    assert open_bundle(tmp_path / "again/bundles").id == open_bundle(root / "bundles").id
    assert (tmp_path / "again/keys.json").read_text() == "{}"
    again = EventStore(f"sqlite:///{tmp_path / 'again/events.db'}")
    assert [event.seq for event in again.since(0)] == list(range(1, 101))
    again.close()


def test_what_has_not_reached_the_main_file_of_the_database_is_backed_up_too(root: Path, tmp_path: Path) -> None:
    store = EventStore(f"sqlite:///{root / 'events.db'}")
    store.append([row(1)])
    assert (root / "events.db-wal").stat().st_size
    backup(root, tmp_path / "copy")
    store.close()
    assert not list((tmp_path / "copy").glob("events.db-*"))
    kept = EventStore(f"sqlite:///{tmp_path / 'copy/events.db'}")
    assert kept.count() == 1
    kept.close()


@pytest.mark.parametrize("spoil", ["flip", "cut", "lose"])
def test_a_damaged_backup_is_refused_before_anything_is_restored(root: Path, tmp_path: Path, spoil: str) -> None:
    backup(root, tmp_path / "copy")
    path = tmp_path / "copy/bundles/artifacts/features/content"
    if spoil == "lose":
        path.unlink()
    else:
        path.write_text("y" if spoil == "flip" else "")
    with pytest.raises(ArtifactError, match="features/content"):
        restore(tmp_path / "copy", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_backup_cannot_write_outside_of_its_root(root: Path, tmp_path: Path) -> None:
    backup(root, tmp_path / "copy")
    about = json.loads((tmp_path / "copy/backup.json").read_text())
    for changed in ({"files": {"../evil": {"sha256": "", "size": 0}}}, {"links": {"bundles/current": "/etc"}}):
        (tmp_path / "copy/backup.json").write_text(json.dumps(about | changed))
        with pytest.raises(ArtifactError):
            restore(tmp_path / "copy", tmp_path / "again")


def test_nothing_is_overwritten(root: Path, tmp_path: Path) -> None:
    backup(root, tmp_path / "copy")
    with pytest.raises(InputError, match="does not exist yet"):
        backup(root, tmp_path / "copy")
    with pytest.raises(InputError, match="does not exist yet"):
        restore(tmp_path / "copy", root)
    with pytest.raises(InputError, match="a data root"):
        backup(tmp_path / "nowhere", tmp_path / "other")
