"""System calls that fail: an error with a name, the old state or the new one, and the next run comes to its end."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.durability import scenes
from tests.durability.failing import Bench
from tests.durability.history import History, check, event
from tests.durability.scenes import Scene
from tests.durability.service import Service, serving
from tests.durability.strace import failing
from tests.shop import Shop

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("tracing")]
SEED = 3
CASES = 6
SCENES: dict[str, Callable[[Path], Scene]] = {
    "append": scenes.appending,
    "compact, first": partial(scenes.commanding, again=False),
    "compact, again": partial(scenes.commanding, again=True),
    "publish, again": partial(scenes.publishing, again=True),
    "activate, again": partial(scenes.activating, again=True),
}


@pytest.mark.parametrize("name", SCENES)
def test_a_failing_call_leaves_the_state_of_before_or_of_after(name: str, root: Path, tmp_path: Path) -> None:
    bench = Bench(SCENES[name](root), tmp_path / "bench")
    cases = random.Random(SEED).sample(bench.cases(), CASES)
    outcomes = [bench.run(case) for case in cases]
    assert [outcome for outcome in outcomes if outcome.wrong] == []
    assert any(outcome.injected for outcome in outcomes)


def test_a_service_says_that_the_disk_is_full_or_broken_and_works_again_after(tiny_shop: Shop, tmp_path: Path) -> None:
    root, history = tmp_path / "root", History()
    with serving(tiny_shop.bundles, root, {}) as service:
        assert post(service, history, "before") == 202
        files = [root / "events.db", root / "events.db-wal"]
        for call, error, status in (("pwrite64", "ENOSPC", 507), ("pwrite64", "EIO", 503), ("fdatasync", "EIO", 503)):
            name = f"{call}-{error}"
            with failing(service.process.pid, tmp_path / "trace", call, error, "1+", files):
                assert post(service, history, name) == status
            assert post(service, history, name) == 202
            assert post(service, history, name) == 202
        service.end()
    found = check(history, f"sqlite:///{root}/events.db").all
    assert found.total() == 4


def post(service: Service, history: History, event_id: str) -> int:
    history.offer([event_id])
    answer = httpx.post(f"{service.url}/v1/events", json=[event(event_id)], timeout=30)
    if answer.status_code == 202:
        history.acknowledge([event_id])
    return answer.status_code
