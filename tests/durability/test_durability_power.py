"""Power lost at any moment of a real run: what was promised is on the disk. Programs that forget to sync are caught."""

import signal
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import httpx
import pytest

from tests.durability import scenes
from tests.durability.disk import snapshot
from tests.durability.history import History, check, event
from tests.durability.player import play
from tests.durability.power import Outages, acknowledgements, lose_power, record, some
from tests.durability.scenes import Scene
from tests.durability.service import serving
from tests.durability.strace import recording
from tests.shop import Shop

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("tracing")]
SEED = 5
MOMENTS = 12
SCENES: dict[str, Callable[..., Scene]] = {
    "compact, first": partial(scenes.compacting, again=False),
    "compact, again": partial(scenes.compacting, again=True),
    "publish, first": partial(scenes.publishing, again=False),
    "publish, again": partial(scenes.publishing, again=True),
    "activate, first": partial(scenes.activating, again=False),
    "activate, again": partial(scenes.activating, again=True),
}


def outages(scene: Scene, trace: Path) -> Outages:
    run = record(scene.root, trace, scene.program, scene.arguments)
    moments = {*some(acknowledgements(run), MOMENTS, SEED), *some(run.steps, MOMENTS, SEED)}
    found = lose_power(run, scene.check, moments, SEED)
    assert found.images >= 5 * MOMENTS
    return found


@pytest.mark.parametrize("forget", [0, 6])
def test_every_acknowledged_event_survives(root: Path, tmp_path: Path, forget: int) -> None:
    assert outages(scenes.writing(root, forget=forget), tmp_path / "trace").losses == []


def test_a_store_that_does_not_sync_is_caught(root: Path, tmp_path: Path) -> None:
    losses = outages(scenes.writing(root, synchronous="OFF"), tmp_path / "trace").losses
    assert any("acknowledged but lost" in loss.why for loss in losses)


def test_what_a_service_answered_survives(tiny_shop: Shop, root: Path, tmp_path: Path) -> None:
    batches = [[f"s{number}.{place}" for place in range(1 + number % 4)] for number in range(12)]
    with serving(tiny_shop.bundles, root, {}) as service:
        before = snapshot(root)
        with recording(service.process.pid, tmp_path / "trace"):
            for batch in batches:
                body = [event(event_id) for event_id in batch]
                assert httpx.post(f"{service.url}/v1/events", json=body, timeout=30).status_code == 202
            service.end(signal.SIGTERM)
    run = play(before, tmp_path / "trace")

    def kept(image: Path, lines: Sequence[str]) -> None:
        answers = sum(line.count('"accepted"') for line in lines)
        history = History()
        history.offer(chain.from_iterable(batches[: answers + 1]))
        history.acknowledge(chain.from_iterable(batches[:answers]))
        check(history, f"sqlite:///{image}/events.db")

    answered = [at for at, data in run.told if b'"accepted"' in data]
    assert len(answered) == len(batches)
    assert lose_power(run, kept, {*answered, *some(run.steps, MOMENTS, SEED)}, SEED).losses == []


@pytest.mark.parametrize("name", SCENES)
def test_what_is_found_is_the_state_before_or_the_one_promised(name: str, root: Path, tmp_path: Path) -> None:
    assert outages(SCENES[name](root), tmp_path / "trace").losses == []


@pytest.mark.parametrize("name", SCENES)
def test_a_job_that_does_not_sync_is_caught(name: str, root: Path, tmp_path: Path) -> None:
    assert outages(SCENES[name](root, synced=False), tmp_path / "trace").losses
