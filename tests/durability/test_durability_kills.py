"""kill -9 at random moments under load: what was acknowledged is there, once, and nothing else is."""

from pathlib import Path

import pytest

from tests.durability.history import LostError
from tests.durability.kills import kill_compactions, kill_writers
from tests.durability.outages import kill_servers, kill_services
from tests.postgres import Server
from tests.shop import Shop

pytestmark = pytest.mark.full
SEED = 11


def test_a_writer_killed_ten_times_loses_and_doubles_nothing(tmp_path: Path) -> None:
    tally = kill_writers(tmp_path, 10, SEED)
    assert tally.kills == 10
    assert tally.acknowledged > 100


def test_a_writer_that_acknowledges_too_early_is_caught(tmp_path: Path) -> None:
    with pytest.raises(LostError, match="acknowledged but lost"):
        kill_writers(tmp_path, 30, SEED, early=True)


def test_a_compaction_killed_while_events_come_moves_each_once(tmp_path: Path) -> None:
    tally = kill_compactions(tmp_path, 8, SEED)
    assert tally.more["compactions in the middle"] > 0
    assert tally.more["released"] > 100


def test_a_service_killed_under_load_keeps_what_it_answered(tiny_shop: Shop, tmp_path: Path) -> None:
    tally = kill_services(tiny_shop.bundles, tmp_path / "data", f"sqlite:///{tmp_path / 'data' / 'events.db'}", 4, SEED)
    assert tally.kills >= 4
    assert not tally.unanswered
    assert set(tally.more) == {"answers 202"}


def test_a_service_over_postgresql_killed_under_load_keeps_what_it_answered(
    tiny_shop: Shop, tmp_path: Path, postgres_url: str
) -> None:
    tally = kill_services(tiny_shop.bundles, tmp_path / "root", postgres_url, 3, SEED)
    assert not tally.unanswered
    assert set(tally.more) == {"answers 202"}


def test_a_service_outlives_the_kill_of_its_postgresql_server(
    tiny_shop: Shop, tmp_path: Path, postgres_server: Server
) -> None:
    from tests.postgres import running

    with running(postgres_server.programs) as server:
        tally = kill_servers(tiny_shop.bundles, tmp_path / "root", server, server.url, 2, SEED)
    assert tally.kills == 2
    assert not tally.unanswered
    assert tally.more["answers 503"] > 0
    assert set(tally.more) == {"answers 202", "answers 503"}
