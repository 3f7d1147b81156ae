"""`podium skew` compares with what the service had heard of, whatever else the log holds, wherever the events are."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest
from serving_fakes import calling, feedback, settings

from pipeline.errors import GateError
from pipeline.logs.store import EventStore
from serving.engine import Engine
from serving.run import compact
from serving.skew import REPORT, Skew, skew
from tests.shop import Shop

ASKED = 6


@pytest.fixture
def root(tiny_shop: Shop, tmp_path: Path) -> Path:
    """A data root whose log, as after `podium demo`, holds more than the bundle was trained on, once a service over it
    was asked, told and asked again."""
    root = tmp_path / "root"
    copytree(tiny_shop.root / "log", root / "log")
    copytree(tiny_shop.bundles, root / "bundles", symlinks=True)
    engine = Engine(root / "bundles")
    users = engine.sample_users(ASKED)
    with calling(engine, settings(root, bundles=root / "bundles", snapshot_share=1.0)) as client:  # type: ignore[arg-type]
        for number, user in enumerate(users):
            page = client.post("/v1/search", json={"query": "a", "user_id": user}).json()
            shown = page["items"][0]["item_id"] if page["items"] else engine.state.catalogue.ids[1]
            now = time.time_ns() // 1_000_000
            told = feedback(f"told-{number}", time=now, user_id=user, item_id=shown)
            assert client.post("/v1/events", json=told).json()["accepted"] == 1
            client.post("/v1/recommend", json={"user_id": user, "surface": "home"}).raise_for_status()
    return root


def compared(root: Path, logs: Path) -> Skew:
    return skew(root / "bundles", logs, root / "snapshots", root / "skew")


@pytest.mark.parametrize("compacted", [False, True])
def test_a_log_that_holds_more_than_the_service_heard_raises_no_alarm(compacted: bool, root: Path) -> None:
    if compacted:
        assert compact(root).read > ASKED
    found = compared(root, root / "log")
    assert (found.requests, found.values["mismatches"]) == (2 * ASKED, 0)
    assert found.unheard > 500  # the valid and test sides
    assert json.loads((root / "skew" / REPORT).read_text())["unheard"] == found.unheard


def test_the_side_it_was_trained_on_is_as_good_as_the_whole_log(root: Path, tiny_shop: Shop) -> None:
    found = compared(root, tiny_shop.root / "split/train")
    assert (found.requests, found.values["mismatches"], found.unheard) == (2 * ASKED, 0, 0)


def forget_events(root: Path) -> None:
    """The store lost what the service had learned from it."""
    store = EventStore(f"sqlite:///{root}/events.db")
    store.release(store.head(), 2**62)
    store.close()


@pytest.mark.parametrize("lose", [lambda root: (root / "events.db").unlink(), forget_events])
def test_events_that_nobody_can_vouch_for_still_raise_the_alarm(lose: Callable[[Path], object], root: Path) -> None:
    lose(root)
    with pytest.raises(GateError, match="values: "):
        compared(root, root / "log")
