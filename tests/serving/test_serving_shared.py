"""Several workers count as one service."""

import os
import signal
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from pipeline.errors import ConfigError
from pipeline.logs.watch.config import WatchConfig
from podium import cli
from serving.joins import Joins, Told
from serving.shared import FOLDER, VARIABLE, Counts, shared_folder, workers_folder
from tests.e2e.conftest import service
from tests.shop import Shop
from tests.waiting import soon

NOW = 1_700_000_000.0


def post(joins: Joins, now: float, events: int, late: int = 0) -> None:
    times = np.full(events, int(now * 1000))
    times[:late] -= 7_200_000
    joins.posted(Told([], times[:0], times), events, 0, 0)


def watched(folder: Path, pid: int, monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> Joins:
    monkeypatch.setattr(os, "getpid", lambda: pid)
    return Joins(WatchConfig(), folder, lambda: clock[0])


def read(joins: Joins, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(joins)
    return registry.get_sample_value(f"podium_{name}", labels)


def test_what_each_worker_watched_is_added_up_whoever_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [NOW]
    one, two = (watched(tmp_path, pid, monkeypatch, clock) for pid in (11, 12))
    post(one, NOW, 300)
    post(two, NOW, 100, late=40)
    one.answered(written=90)
    two.answered(written=9, lost=1)
    for each in (one, two):
        assert read(each, "event_delay_seconds_count") == 400.0
        assert read(each, "event_delay_seconds_bucket", le="600") == 360.0
        assert read(each, "event_delay_seconds_sum") == 40 * 7200.0
        assert read(each, "watch_rate", rate="late") == 0.1
        assert read(each, "watch_rate", rate="dropped") == 0.01
        assert read(each, "watch_alarm", rate="late") == 1.0


def test_an_hour_ends_also_for_a_worker_that_counts_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [NOW]
    idle, busy = (watched(tmp_path, pid, monkeypatch, clock) for pid in (11, 12))
    post(idle, NOW, 200, late=200)
    clock[0] = NOW + 1_800
    post(busy, clock[0], 200)
    assert read(busy, "watch_rate", rate="late") == 0.5
    clock[0] = NOW + 3_660
    assert read(busy, "watch_rate", rate="late") == 0.0
    clock[0] = NOW + 9_000
    post(busy, clock[0], 100)
    assert read(busy, "watch_rate", rate="late") == 0.0
    assert read(busy, "events_off_time_total", why="late") == 200.0  # counters never go back


def test_counts_survive_their_worker_and_a_torn_file_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 11)
    Counts("c", 3, tmp_path).own[:] = [1, 2, 3]
    assert Counts("c", 3, tmp_path).own.tolist() == [1, 2, 3]  # a worker of the same number goes on
    monkeypatch.setattr(os, "getpid", lambda: 12)
    counts = Counts("c", 3, tmp_path)
    counts.own[0] = 5
    (tmp_path / "c_13.counts").write_bytes(b"\0" * 5)
    assert counts.everybody().sum(axis=0).tolist() == [6, 2, 3]


def test_the_folder_goes_with_its_service_and_what_killed_ones_left_goes_at_the_next_start(tmp_path: Path) -> None:
    left = tmp_path / FOLDER / "service-left"
    left.mkdir(parents=True)
    (left / ".service").touch()
    (tmp_path / FOLDER / "a file").touch()
    with shared_folder(tmp_path) as one:
        with shared_folder(tmp_path) as two:  # another service over the same root
            assert one.is_dir()
            assert two.is_dir()
        assert not two.exists()
        assert not left.exists()
    assert not one.exists()


def test_a_folder_that_is_not_there_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere")
    with pytest.raises(ConfigError, match=VARIABLE):
        workers_folder()


def searches(path: Path) -> float:
    """Those that one worker answered."""
    samples = [sample for metric in MultiProcessCollector.merge([str(path)]) for sample in metric.samples]
    asked = [each for each in samples if each.name == "podium_requests_total" and each.labels["route"] == "/v1/search"]
    return float(sum(sample.value for sample in asked))


@pytest.mark.full
def test_the_numbers_of_a_service_of_two_workers_are_the_sum(tiny_shop: Shop, tmp_path: Path) -> None:
    root = tmp_path / "root"
    key = CliRunner().invoke(cli, ["keys", "add", "ops", "--root", str(root), "--scope", "admin"]).stdout.strip()
    config = tmp_path / "podium.toml"
    config.write_text("[serving]\ndeadline_ms = 60000\n")
    call = {"headers": {"X-API-Key": key}, "timeout": 30.0}
    arguments = ("--bundle", str(tiny_shop.bundles), "--root", str(root), "--config", str(config), "--workers", "2")
    with service(*arguments) as url:
        (folder,) = (root / FOLDER).iterdir()
        asked = 0
        while asked < 2_000 and sum(searches(path) > 0 for path in folder.glob("counter_*.db")) < 2:
            assert httpx.post(f"{url}/v1/search", json={"query": "shirt"}, **call).status_code == 200
            asked += 1
        told = [httpx.get(f"{url}/metrics", timeout=30.0).text for _ in range(8)]
        line = f'podium_requests_total{{method="POST",route="/v1/search",status="200"}} {asked}.0'
        assert all(line in text for text in told)
        assert all(text.count("podium_bundle_info{") == 1 for text in told)
        assert all(text.count("podium_watch_alarm{") == 7 for text in told)

        pids = {int(path.stem.rpartition("_")[2]) for path in folder.glob("counter_*.db")}
        os.kill(min(pids), signal.SIGKILL)  # another one takes its place

        def replaced() -> bool:
            return len(list(folder.glob("counter_*.db"))) == 3 and line in _metrics(url)

        soon(replaced, "what the dead worker counted is lost", every=0.1)
        assert not list(folder.glob(f"gauge_live*_{min(pids)}.db"))

        other = CliRunner().invoke(cli, ["keys", "add", "other", "--root", str(root), "--scope", "read"]).stdout.strip()
        assert CliRunner().invoke(cli, ["keys", "revoke", "ops", "--root", str(root)]).exit_code == 0
        for secret, status in ((key, 401), (other, 200)):
            sent = {"json": {"query": "shirt"}, "headers": {"X-API-Key": secret}, "timeout": 30.0}
            assert {httpx.post(f"{url}/v1/search", **sent).status_code for _ in range(20)} == {status}
    assert not folder.exists()


def _metrics(url: str) -> str:
    try:
        return httpx.get(f"{url}/metrics", timeout=30.0).text
    except httpx.TransportError:  # the worker that accepted it was the one that died
        return ""
