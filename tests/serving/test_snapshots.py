"""Feature snapshots: for a share of the requests, after the answer, for some days, and never of who was forgotten."""

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from serving_fakes import FakeEngine, calling, settings

from serving.ports import Ask, Used
from serving.settings import ServingConfig, Settings
from serving.snapshots import SCHEMA, Snapshots, drop_before, frame_of, names_digest, remove_subject, snapshot_files
from serving.telemetry import Metrics

DAY_MS = 86_400_000


def used(request_id: str = "r", time: int = 0, subject: str = "ann") -> Used:
    values = np.array([[0.5, np.nan, -0.0]], dtype=np.float32)
    return Used(
        Ask(request_id, time, subject, "red shoe"), "b", 7, "", ["red", "shoe"], ("a", "b", "c"), ["i1"], values
    )


def rows(folder: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in snapshot_files(folder)])


def kept(tmp_path: Path, told: list[Used], metrics: Metrics, **config: int) -> None:
    async def write() -> None:
        writer = Snapshots(tmp_path, 1.0, ServingConfig(**config), metrics)
        for each in told:
            writer.offer(each)
        await writer.flush()

    asyncio.run(write())


def test_a_snapshot_holds_the_request_and_the_bits_of_every_value(tmp_path: Path) -> None:
    metrics = Metrics()
    kept(tmp_path, [used("r1", DAY_MS + 5)], metrics)
    (path,) = snapshot_files(tmp_path)
    assert path.parent.name == "1970-01-02"
    frame = pl.read_parquet(path)
    assert frame.schema == pl.Schema(SCHEMA)
    row = frame.row(0, named=True)
    values = np.array(row["values"], dtype=np.float32)
    assert values.view(np.uint32).tolist() == used().values.view(np.uint32).ravel().tolist()
    told = {name: row[name] for name in ("request_id", "time", "subject", "query", "tick", "bundle", "seed")}
    assert told == {
        "request_id": "r1",
        "time": DAY_MS + 5,
        "subject": "ann",
        "query": "red shoe",
        "tick": 7,
        "bundle": "b",
        "seed": "",
    }
    assert (row["terms"], row["item_ids"]) == (["red", "shoe"], ["i1"])
    assert row["names"] == names_digest(("a", "b", "c")) != names_digest(("a", "c", "b"))
    assert b"podium_snapshots_written_total 1.0" in metrics.text()


def test_snapshots_of_different_sizes_stand_in_one_file(tmp_path: Path) -> None:
    empty = Used(Ask("none", 1), "b", 7, "", [], ("a", "b"), [], np.empty((0, 2), dtype=np.float32))
    frame = frame_of([used("one"), empty])
    assert frame["values"].list.len().to_list() == [3, 0]
    assert frame["item_ids"].to_list() == [["i1"], []]


def test_what_does_not_fit_the_queue_is_counted(tmp_path: Path) -> None:
    metrics = Metrics()
    kept(tmp_path, [used("a"), used("b"), used("c")], metrics, snapshots=2)
    assert rows(tmp_path)["request_id"].to_list() == ["a", "b"]
    assert b"podium_snapshots_dropped_total 1.0" in metrics.text()


def test_what_cannot_be_written_is_counted(tmp_path: Path) -> None:
    metrics = Metrics()
    (tmp_path / "1970-01-01").write_text("in the way")
    kept(tmp_path, [used("a"), used("b")], metrics)
    assert b"podium_snapshots_dropped_total 2.0" in metrics.text()


def test_the_share_is_taken_by_hash_of_the_request(tmp_path: Path) -> None:
    async def share(part: float) -> list[bool]:
        writer = Snapshots(tmp_path, part, ServingConfig(), Metrics())
        return [writer.wants(f"r{number}") for number in range(2_000)]

    tenth = asyncio.run(share(0.1))
    # 200 are expected; five standard deviations of the binomial are 5 sqrt(2000 * 0.1 * 0.9) = 67.
    assert abs(sum(tenth) - 200) < 5 * math.sqrt(2_000 * 0.1 * 0.9)
    assert asyncio.run(share(0.1)) == tenth
    assert not any(asyncio.run(share(0.0)))
    assert all(asyncio.run(share(1.0)))


def test_a_new_day_drops_the_days_that_are_too_old(tmp_path: Path) -> None:
    days = [used(f"r{day}", day * DAY_MS) for day in (0, 1, 5)]
    for each in days:
        kept(tmp_path, [each], Metrics(), snapshot_days=4)
    assert sorted(path.name for path in tmp_path.glob("1970-*")) == ["1970-01-02", "1970-01-06"]
    drop_before(tmp_path, date(1970, 1, 3))
    assert [path.name for path in tmp_path.glob("1970-*")] == ["1970-01-06"]


def test_a_forgotten_user_is_in_no_snapshot(tmp_path: Path) -> None:
    kept(tmp_path, [used("a", subject="ann"), used("b", subject="bob")], Metrics())
    kept(tmp_path, [used("c", subject="ann")], Metrics())
    remove_subject(tmp_path, "ann")
    assert rows(tmp_path)["request_id"].to_list() == ["b"]
    assert len(snapshot_files(tmp_path)) == 1


def test_who_was_forgotten_and_came_back_has_the_name_of_the_events() -> None:
    assert frame_of([used(subject="ann\x1f2")])["subject"].to_list() == ["ann"]


def test_the_service_keeps_what_it_used_and_forgets_it_with_the_user(tmp_path: Path) -> None:
    with calling(FakeEngine(), settings(tmp_path, snapshot_share=1.0)) as client:
        client.post("/v1/search", json={"query": "a", "user_id": "ann"})
        client.post("/v1/search", json={"query": "b", "user_id": "bob"})
        client.delete("/v1/users/ann")
    found = rows(tmp_path / "snapshots")
    assert found.select("subject", "query", "item_ids").rows() == [("bob", "b", ["i001", "i000"])]
    assert np.array_equal(found["values"][0].to_numpy(), [0.5, np.nan, 1.5, 2.5], equal_nan=True)


def test_by_default_a_hundredth_is_kept_and_a_replay_keeps_nothing(tmp_path: Path) -> None:
    assert Settings(root=tmp_path).sampled == 0.01
    assert Settings(root=tmp_path, replay=True).sampled == 0.0
    assert Settings(root=tmp_path, replay=True, snapshot_share=1.0).sampled == 1.0
    with calling(FakeEngine(), settings(tmp_path, replay=True)) as client:
        client.post("/v1/search", json={"query": "a"})
    assert not (tmp_path / "snapshots").exists()


def test_workers_that_forget_at_the_same_time_do_not_bring_one_another_s_back(tmp_path: Path) -> None:
    subjects = [f"user-{number}" for number in range(4)]
    for number in range(10):
        kept(tmp_path, [used(f"r-{number}-{subject}", number, subject) for subject in (*subjects, "ann")], Metrics())
    with ThreadPoolExecutor(len(subjects)) as workers:
        list(workers.map(partial(remove_subject, tmp_path), subjects))
    assert rows(tmp_path)["subject"].to_list() == ["ann"] * 10
