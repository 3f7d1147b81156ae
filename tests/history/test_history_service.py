"""Several services over one root, read and written at random, show what was acknowledged: checked by their history."""

from pathlib import Path

import pytest

from pipeline.logs.store import EventStore
from tests.history.players import Played, play
from tests.history.workers import workers
from tests.shop import Shop

BOUND = 0.1  # seconds after which other processes must show what was acknowledged
SLOW = 2.0  # the same where tests share two cores


def played(shop: Shop, root: Path, count: int, operations: int, url: str | None = None, follow: float = 0.02) -> Played:
    config = root / "podium.toml"
    config.write_text(f"[serving]\nfollow_seconds = {follow}\n", encoding="utf-8")
    environment = {} if url is None else {"PODIUM_DATABASE": url}
    with workers(shop.bundles, root, count, environment, config) as urls:
        return play(urls, seed=7, operations=operations, players=4, items=10)


@pytest.mark.full
@pytest.mark.parametrize(("database", "count"), [("sqlite", 2), ("postgresql", 4)])
def test_what_one_process_acknowledged_all_processes_show(
    tiny_shop: Shop, tmp_path: Path, database: str, count: int, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgresql" else None
    found = played(tiny_shop, tmp_path, count, 1_500, url)
    verdict = found.judge()
    assert verdict.broken == []
    assert verdict.over(SLOW) == []
    assert found.counts["users forgotten"] > 5
    assert found.counts["rules replaced"] > 5
    assert sum(count for kind, count in found.counts.items() if kind.startswith("reads")) > 150
    assert len(found.delays) > 5
    if database == "sqlite":
        store = EventStore(f"sqlite:///{tmp_path / 'events.db'}")
        assert store.count() > 0
        store.close()


@pytest.mark.full
def test_processes_that_seldom_look_for_news_are_found_stale(tiny_shop: Shop, tmp_path: Path) -> None:
    verdict = played(tiny_shop, tmp_path, 2, 600, follow=5.0).judge()
    assert len(verdict.over(BOUND)) > 10
    assert verdict.longest > 2 * BOUND
