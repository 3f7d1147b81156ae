"""What the clicks of a log say of orders it did not show: the off-policy part of an evaluation's report."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.logs.read import Log
from pipeline.metrics.offpolicy.assess import Assessed, Options, assess
from pipeline.metrics.offpolicy.estimate import Contrast, Estimate
from pipeline.metrics.offpolicy.logged import Logged, Ranked
from pipeline.metrics.offpolicy.rankings import discount
from serving.replay.answers import Slates
from serving.replay.examined import Examined, examined
from serving.replay.labels import spread
from serving.replay.modes import Mode
from serving.replay.requests import Shown, Task, first_logged

MODES: Final = ("rank", "funnel")
OWN: Final = "podium"
_EVEN = 1e-9  # marginals that differ by less are those of a uniform order
_CELLS_AT_ONCE = 50_000_000  # pairs of a wanted and a listed place
_COMPLETE = 0.99  # of the first k places, to have a model's value
_READ = ("request_id", "page", "time", "event_id", "explored", "order", "items", "user_id", "session_id")
Ints = NDArray[np.int64]
Dense = Callable[[pl.Series], NDArray[np.int32]]
Pages = tuple[Logged, Ints, NDArray[np.bool_]]


def off_policy(modes: Sequence[Mode], log: Log, dense: Dense, options: Options | None = None) -> dict[str, Any]:
    """Every system of the modes that reorder or replay shown pages; empty for other modes and logs.

    dense: item ids to the evaluated catalogue's.
    """
    chosen = options or Options()
    mine = [mode for mode in modes if mode.task.mode in MODES]
    if not mine or not log.has("impression"):
        return {}
    found = examined(log)
    pages = first_logged(log.frame("impression", columns=_READ)).with_columns(uniform_pages())
    parts = {mode.task.mode: _mode(mode, _logged(mode, pages, found.surfaces, dense), found, chosen) for mode in mine}
    return {"examination": found.about, "modes": parts}


def uniform_pages() -> pl.Expr:
    """`uniform`: pages in a drawn order in which every item could stand at every place with the same chance."""
    marginal = pl.col("items").list.eval(pl.element().struct["marginal"])
    known = marginal.list.eval(pl.element().is_not_null() & pl.element().is_not_nan()).list.all()
    alike = marginal.list.max() - marginal.list.min() < _EVEN
    drawn = pl.col("explored") & known & alike & (marginal.list.max() < 1.0)
    return drawn.fill_null(value=False).alias("uniform")


def _mode(mode: Mode, log: Pages, found: Examined, options: Options) -> dict[str, Any]:
    logged, item, shown = log
    systems = {name: _ranked(item, slate, mode.slates[OWN], shown, options.k) for name, slate in mode.slates.items()}
    pairs = [(OWN, name) for name in systems if name != OWN]
    assessed = assess(logged, found.table, systems, pairs, options)
    counts = {"pages": len(logged.surface), "explored_pages": int(logged.explored.sum())}
    return counts | as_json(assessed, options)


def _logged(mode: Mode, pages: pl.DataFrame, surfaces: Sequence[str], dense: Dense) -> Pages:
    """What was logged of the task's requests, the items `[R, L]`, and whether order and outcomes were known
    `[R]`."""
    task = mode.task
    item, position, flags = (
        _requests_of(task, pages, dense) if task.shown is None else _pages_of(task, task.shown, pages)
    )
    place = {name: row for row, name in enumerate(surfaces)}
    surface = np.array([place.get(name, 0) for name in task.requests["surface"].to_list()], dtype=np.int64)
    logged = Logged(
        gain=np.where(item >= 0, task.labels.gains(item), 0.0),
        position=position,
        mask=item >= 0,
        surface=surface,
        explored=flags["explored"].to_numpy(),
        uniform=flags["uniform"].to_numpy(),
        groups=mode.groups,
    )
    return logged, item, (flags["order"] == "shown").to_numpy() & task.known


def _pages_of(task: Task, shown: Shown, pages: pl.DataFrame) -> tuple[Ints, Ints, pl.DataFrame]:
    flags = task.requests.select("request_id", "page").join(
        pages.select("request_id", "page", "explored", "uniform", "order"),
        on=["request_id", "page"],
        how="left",
        maintain_order="left",
    )
    return shown.item.astype(np.int64), shown.position, flags


def _requests_of(task: Task, pages: pl.DataFrame, dense: Dense) -> tuple[Ints, Ints, pl.DataFrame]:
    """All pages of a request together; an item counts where it stood first."""
    rows = task.requests.select("request_id").with_row_index("row")
    flags = pages.group_by("request_id").agg(
        pl.col("explored").any(),
        uniform=(pl.col("uniform") | ~pl.col("explored")).all() & pl.col("explored").any(),
        order=pl.when((pl.col("order") == "shown").all()).then(pl.lit("shown")).otherwise(pl.lit("unknown")),
    )
    cells = pages.select("request_id", cell="items").explode("cell", empty_as_null=False).unnest("cell")
    cells = cells.join(rows, on="request_id").sort("row", "position")
    cells = cells.unique(["row", "item_id"], keep="first", maintain_order=True)
    size = np.bincount(cells["row"].to_numpy(), minlength=task.size).astype(np.int64)
    item = spread(dense(cells["item_id"]), size, -1).astype(np.int64)
    position = spread(cells["position"].to_numpy(), size, -1).astype(np.int64)
    return item, position, rows.join(flags, on="request_id", how="left", maintain_order="left")


def _ranked(item: Ints, slate: Slates, own: Slates, shown: NDArray[np.bool_], k: int) -> Ranked:
    """p_click is podium's for whichever system's list: two lists are then compared under one model."""
    rank = places(item, slate.item)
    known = slate.asked & shown
    size = (slate.item >= 0).sum(axis=1)
    if not np.isfinite(own.p_click).any():
        return Ranked(rank, size, known)
    top = slate.item[:, :k].astype(np.int64)
    promised = _found(places(top, own.item), own.p_click)
    there = (top >= 0) & known[:, None]
    if not there.any() or np.isfinite(promised[there]).mean() < _COMPLETE:
        return Ranked(rank, size, known)
    fresh = (places(top, item) == 0) & there
    away = discount(np.arange(1, top.shape[1] + 1), k)
    unshown = np.where(fresh, np.nan_to_num(promised), 0.0) @ away
    return Ranked(rank, size, known, _found(places(item, own.item), own.p_click), unshown)


def places(wanted: Ints, lists: NDArray[Any]) -> Ints:
    """1-based place `[R, L]` of each wanted item in its row of `lists` `[R, K]`, 0 = not there or none wanted."""
    out = np.zeros(wanted.shape, dtype=np.int64)
    if not lists.shape[1]:
        return out
    at_once = max(1, _CELLS_AT_ONCE // max(1, wanted.shape[1] * lists.shape[1]))
    for start in range(0, len(wanted), at_once):
        some = slice(start, start + at_once)
        same = wanted[some, :, None] == lists[some, None, :]
        out[some] = np.where(same.any(axis=2) & (wanted[some] >= 0), same.argmax(axis=2) + 1, 0)
    return out


def _found(place: Ints, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The value at each 1-based place; nan at 0."""
    at = np.take_along_axis(values, np.maximum(place - 1, 0), axis=1)
    return np.where(place > 0, at, np.nan)


def as_json(found: Assessed, options: Options) -> dict[str, Any]:
    """`left_out`, `systems`, `compare` and `verdicts` as plain values; nan as null. A metric's name ends with `@k`."""
    k = options.k
    return {
        "left_out": found.unknown,
        "systems": {
            name: {f"{metric}@{k}": plain(each) for metric, each in metrics.items()}
            for name, metrics in found.estimates.items()
        },
        "compare": [
            {"a": a, "b": b, "metric": f"{metric}@{k}", **plain(each)}
            for (a, b, metric), each in found.contrasts.items()
        ],
        "verdicts": [
            {"a": a, "b": b, "verdict": each.verdict, "reason": each.reason} for (a, b), each in found.verdicts.items()
        ],
    }


def plain(found: Estimate | Contrast) -> dict[str, Any]:
    """Its fields, nan as None."""
    values = asdict(found)
    return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in values.items()}
