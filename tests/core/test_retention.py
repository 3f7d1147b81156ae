from pathlib import Path

import pytest

from pipeline.artifacts import Draft, publish
from pipeline.bundle import bind, bundles, open_bundle, promote, rollback
from pipeline.errors import InputError
from pipeline.retention import prune


def part(root: Path, name: str, content: str) -> Path:
    folder = root / "artifacts" / f"{name}-{content}"
    publish(folder, Draft(name, {}, {}), lambda draft: (draft / "content").write_text(content) and None)
    return folder


def make(root: Path, day: int) -> str:
    shared = {"catalogue": part(root, "catalogue", "same"), "features": part(root, "features", str(day))}
    return bind(root, shared, day).id


def test_the_newest_bundles_stay_and_those_that_are_pointed_at(tmp_path: Path) -> None:
    names = [make(tmp_path, day) for day in range(6)]
    promote(tmp_path, names[0])
    promote(tmp_path, names[1])
    pruned = prune(tmp_path, keep=2)
    assert set(pruned.bundles) == {names[2], names[3]}
    assert bundles(tmp_path) == sorted([names[0], names[1], names[4], names[5]])
    assert rollback(tmp_path) == names[0]
    for name in bundles(tmp_path):
        open_bundle(tmp_path / name)


def test_artifacts_of_no_kept_bundle_go_and_shared_ones_stay(tmp_path: Path) -> None:
    names = [make(tmp_path, day) for day in range(3)]
    promote(tmp_path, names[2])
    pruned = prune(tmp_path, keep=1)
    assert pruned.artifacts == ("features-0", "features-1")
    assert sorted(path.name for path in (tmp_path / "artifacts").iterdir()) == ["catalogue-same", "features-2"]


def test_an_artifact_nobody_can_read_is_left_for_a_person(tmp_path: Path) -> None:
    promote(tmp_path, make(tmp_path, 0))
    broken = part(tmp_path, "odd", "x")
    (broken / "manifest.json").write_text("{")
    assert prune(tmp_path, keep=1).artifacts == ()
    assert broken.is_dir()


def test_at_least_one_bundle_is_kept(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 1"):
        prune(tmp_path, keep=0)
