"""`podium replay`: the same evaluation through a running service, one request after the other in order of time.

The service runs under `--replay`: it takes `at` and `request_id`, logs no impressions and explores nothing. Before
a request is asked, every event before it has been posted.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import polars as pl

from pipeline.catalogue import Catalogue, build_catalogue
from pipeline.errors import InputError
from pipeline.logs.attribution import AttributionConfig
from pipeline.logs.events import empty
from pipeline.logs.read import Log
from serving.replay.answers import Progress, Slates
from serving.replay.http_report import measured_report
from serving.replay.posting import Posted, bodies, events_after
from serving.replay.report import PAGE_SIZE, RUN, Report, hashed, write_all
from serving.replay.requests import Asking, Task
from serving.replay.run import quiet, tasks_of

BATCH: Final = 500  # events a post
TIMEOUT: Final = 30.0  # seconds
Items = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """page_size, pages: how much of a slate is read; key: an admin API key, where the service asks for one."""

    sample: int | None = None
    page_size: int = PAGE_SIZE
    pages: int = 2
    key: str = ""
    gains: Mapping[str, float] = field(default_factory=lambda: AttributionConfig().gains)
    windows_ms: Mapping[str, int] = field(default_factory=lambda: AttributionConfig().windows_ms)
    seed: int = 0


@dataclass(slots=True)
class Talk:
    """What was seen on the way. items: (mode, row) -> the answer; seconds: door -> of each first page; failed:
    reason -> how often."""

    items: dict[tuple[str, int], Items] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    bundles: set[str] = field(default_factory=set)
    posted: int = 0


def replay_http(
    url: str,
    log: Log,
    options: HttpOptions,
    out: Path,
    on_progress: Progress = quiet,
    *,
    client: httpx.Client | None = None,
) -> Report:
    """Write `out/{report.json,report.html,run.parquet}` with the service's answers and latencies.

    client: one that is connected already, in place of `url`. Raises InputError when no service is there, when it
    refuses an event, and when no request is answered.
    """
    catalogue = _ids_of(log)
    asking = Asking(catalogue, "region")  # the service reads the context for itself
    tasks = tasks_of(log, options.gains, options.windows_ms, options.sample, asking)
    asked = sorted((each for task in tasks for each in bodies(task, log)), key=lambda each: each.time)
    with nullcontext(client) if client is not None else httpx.Client(base_url=url, timeout=TIMEOUT) as service:
        if options.key:
            service.headers["X-API-Key"] = options.key
        talk = _converse(service, log, asked, options, on_progress)
    if not any(talk.items.values()):
        reason = max(talk.failed, key=lambda name: talk.failed[name], default="empty answers")
        raise InputError("--url", f"a service that answers, started with --replay; it said {reason}")
    answered = [item["item_id"] for items in talk.items.values() for item in items]
    catalogue = catalogue.extend(empty("item"), pl.Series("item_id", answered, dtype=pl.String))
    slates = {task.mode: _slates(task, talk, catalogue, options) for task in tasks}
    modes, compare = measured_report(tasks, slates, catalogue.tie, options.page_size * options.pages, options.seed)
    how = {**_protocol(log, options), "bundle": ", ".join(sorted(talk.bundles)), "service": _service(talk)}
    report = Report(how, modes, {}, {}, compare)
    return write_all(out, report, _run(tasks, talk))


def _cutoff(client: httpx.Client) -> int:
    try:
        answer = client.get("/v1/bundle")
        answer.raise_for_status()
        return int(answer.json()["cutoff"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        fix = f"the address of a service started with `podium serve --replay` ({error})"
        raise InputError("--url", fix, place=str(client.base_url)) from error


def _ids_of(log: Log) -> Catalogue:
    """A catalogue of nothing but the ids the log knows."""
    ids = [log.frame(kind, columns=["item_id"])["item_id"] for kind in ("item", "feedback", "judgment")]
    shown = log.scan("impression").select(item_id=pl.col("items").list.eval(pl.element().struct["item_id"]))
    return build_catalogue(empty("item"), pl.concat([*ids, shown.explode("item_id").collect()["item_id"].drop_nulls()]))


def _converse(
    client: httpx.Client,
    log: Log,
    asked: Sequence[Posted],
    options: HttpOptions,
    progress: Progress,
) -> Talk:
    """Post and ask in order of time."""
    talk = Talk()
    first, events = events_after(log, _cutoff(client))
    _tell(client, first, talk)
    told = 0
    for done, each in enumerate(asked, 1):
        due = max(told, int(np.searchsorted(events.time, each.time)))
        _tell(client, events.lines(told, due), talk)
        told = due
        talk.items[each.mode, each.row] = _ask(client, each, options, talk)
        progress("asking", done, len(asked))
    _tell(client, events.lines(told, len(events.time)), talk)
    return talk


def _tell(client: httpx.Client, lines: list[bytes], talk: Talk) -> None:
    header = {"Content-Type": "application/json"}
    for start in range(0, len(lines), BATCH):
        part = lines[start : start + BATCH]
        answer = client.post("/v1/events", content=b"[" + b",".join(part) + b"]", headers=header)
        if answer.status_code != httpx.codes.ACCEPTED:
            fix = f"a service that takes events; it answered {answer.status_code}: {answer.text[:120]}"
            raise InputError("--url", fix, place=str(client.base_url))
        if rejected := answer.json()["rejected"]:
            raise InputError("--logs", "events that the service accepts", received=rejected[0])
        talk.posted += len(part)


def _ask(client: httpx.Client, each: Posted, options: HttpOptions, talk: Talk) -> Items:
    """The items of the answer, over its pages. A failure is counted and leaves the slate as far as it is."""
    items: Items = []
    paged = each.door != "rank"
    for page in range(options.pages if paged else 1):
        paging = {"page": page, "page_size": options.page_size} if paged else {}
        started = time.perf_counter()
        answer = client.post(f"/v1/{each.door}", json={**each.body, **paging})
        seconds = time.perf_counter() - started
        if answer.status_code != httpx.codes.OK:
            reason = f"{answer.status_code} {answer.text[:160]}"
            talk.failed[reason] = talk.failed.get(reason, 0) + 1
            return items
        if page == 0:
            talk.seconds.setdefault(each.door, []).append(seconds)
        found = answer.json()
        talk.bundles.add(found["bundle"])
        items += found["items"]
        if len(found["items"]) < options.page_size:
            return items
    return items


def _slates(task: Task, talk: Talk, catalogue: Catalogue, options: HttpOptions) -> Slates:
    width = options.page_size * options.pages if task.shown is None else task.shown.item.shape[1]
    slates = Slates.blank(task.size, width)
    for row in range(task.size):
        items = talk.items[task.mode, row]
        ids = pl.Series([item["item_id"] for item in items], dtype=pl.String)
        slates.item[row, : len(items)] = catalogue.dense(ids)
        for name, column in (("score", slates.score), ("p_click", slates.p_click)):
            column[row, : len(items)] = [np.nan if item[name] is None else item[name] for item in items]
        slates.asked[row] = bool(items)
    return slates


def _run(tasks: Sequence[Task], talk: Talk) -> pl.DataFrame:
    rows = [
        (name, page if task.mode == "rank" else place // PAGE_SIZE, item["item_id"], place, item["score"], task.mode)
        for task in tasks
        for row, (name, page) in enumerate(task.requests.select("request_id", "page").iter_rows())
        for place, item in enumerate(talk.items[task.mode, row])
    ]
    return pl.DataFrame(rows, schema=RUN, orient="row")


def _protocol(log: Log, options: HttpOptions) -> dict[str, Any]:
    sample = None if options.sample is None else {"requests": options.sample, "by": "hash of request_id"}
    return hashed(
        {
            "state": "rolling",
            "through": "HTTP",
            "gains": dict(options.gains),
            "windows_ms": dict(options.windows_ms),
            "depth": options.page_size * options.pages,
            "ties": "as the service answers",
            "empty": "requests with no positive, or without an answer, leave the mean",
            "sample": sample,
            "seed": options.seed,
            "clock": log.clock,
            "log_digest": log.digest(),
        }
    )


def _service(talk: Talk) -> dict[str, Any]:
    """How it went: events posted, requests failed by reason, milliseconds of first pages by endpoint."""
    latency = {
        door: {f"p{q}": round(float(np.percentile(seconds, q)) * 1000, 2) for q in (50, 95, 99)} | {"n": len(seconds)}
        for door, seconds in talk.seconds.items()
    }
    return {"events_posted": talk.posted, "failed": talk.failed, "latency_ms": latency}
