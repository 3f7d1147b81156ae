"""What one round of a closed loop did to exposure, catalogue and shoppers; and all rounds as a table and a page."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.logs.attribution import attribute, grades
from pipeline.logs.read import Log
from pipeline.market.world import START
from pipeline.metrics.ranking import ndcg
from pipeline.metrics.slates.kernels import coverage, gini

K: Final = 10
TOP: Final = 0.01  # of the items: those whose share of the exposure is told
Row = Mapping[str, Any]
_SHOWN, _CAME = "shown.parquet", "came.parquet"
_PLOTTED: Final = {
    "gini": "Gini coefficient of exposure",
    "top1_share": "Share of exposure of the top 1 % of items",
    "coverage": "Share of the items shown in the round",
    "new_shown": "Share of the previous round's new items shown by now",
    "true_share": "True utility, share of the best possible",
    "ndcg@10": "NDCG@10 of the pages on their own clicks (biased toward whoever made them)",
    "ctr": "Clicks per shown item",
}
_TABLE: Final = {
    "gini": ".3f", "top1_share": ".3f", "entropy": ".3f", "coverage": ".3f", "new_shown": ".2f", "new_hours": ".0f",
    "true_dcg": ".3f", "true_share": ".3f", "ctr": ".4f", "purchases": "d", "ndcg@10": ".3f",
}  # fmt: skip
_NOTE = "A simulated market: the figures show what a feedback loop does and that the code is right, never quality."


def exposure(shown: NDArray[np.int64]) -> dict[str, float]:
    """How unequally items were shown. shown `[N]`: how often each item was, zeros included.

    gini: 0 = all alike, 1 = one item has it all (Gini 1912, of the discrete distribution); top1_share: of the 1 % most
    shown; entropy: Shannon's over log N, 1 = all alike; coverage: share of the items shown at all.
    """
    count, total = len(shown), int(shown.sum())
    if not total or count < 2:
        return {"gini": 0.0, "top1_share": 0.0, "entropy": 0.0, "coverage": 0.0}
    weight = shown.astype(np.float64)
    ascending = np.sort(weight) / total
    share = ascending[ascending > 0]
    return {
        "gini": gini(weight),
        "top1_share": float(ascending[-max(1, round(TOP * count)) :].sum()),
        "entropy": float(-(share * np.log(share)).sum() / np.log(count)),
        "coverage": coverage(weight),
    }


def measure(folder: Path, earlier: Sequence[Path], since: int, living: int) -> dict[str, Any]:
    """The figures of a round, of its own log and truth alone, apart from what earlier rounds had shown.

    since: ms, when the round began: of pages shown earlier but delivered late only the number is told, as `late_pages`;
    actions count when they are delivered. living: items there were when it ended. Leaves `shown.parquet` and
    `came.parquet` for the rounds that follow.
    """
    log = Log.open(folder / "log")
    delivered, feedback = log.frame("impression"), log.frame("feedback")
    impressions = delivered.filter(pl.col("time") >= since)
    cells = impressions.select("request_id", "explored", "time", cell="items").explode("cell").unnest("cell")
    shown = cells.group_by("item_id").agg(shown=pl.len(), first=pl.col("time").min()).sort("item_id")
    shown.write_parquet(folder / _SHOWN)
    came = _came(log, earlier)
    came.write_parquet(folder / _CAME)
    often = np.zeros(max(living, len(shown)), dtype=np.int64)
    often[: len(shown)] = shown["shown"].to_numpy()
    ever = pl.concat([shown, *(pl.read_parquet(one / _SHOWN, glob=False) for one in earlier)])
    action = feedback["action"]
    clicks, purchases = int((action == "click").sum()), int((action == "purchase").sum())
    return {
        "pages": len(impressions),
        "late_pages": len(delivered) - len(impressions),
        "requests": impressions["request_id"].n_unique(),
        "explored_pages": int(impressions["explored"].sum()),
        "shown": len(cells),
        "items": living,
        **exposure(often),
        "coverage_so_far": ever["item_id"].n_unique() / max(len(often), 1),
        **_newcomers(earlier[-1:], ever),
        **_true(folder / "truth"),
        "clicks": clicks,
        "ctr": clicks / max(len(cells), 1),
        "purchases": purchases,
        **_naive(impressions, feedback, cells),
    }


def _came(log: Log, earlier: Sequence[Path]) -> pl.DataFrame:
    """Items heard of for the first time, and when they came."""
    told = log.frame("item", columns=["item_id", "time"]).group_by("item_id").agg(came=pl.col("time").min())
    for one in earlier:
        told = told.join(pl.read_parquet(one / _CAME, glob=False), on="item_id", how="anti")
    return told.sort("item_id")


def _newcomers(before: Sequence[Path], ever: pl.DataFrame) -> dict[str, Any]:
    """Of the items that came in the round before: how many have been shown, and the median hours until then."""
    none = {"new_items": 0, "new_shown": None, "new_hours": None}
    if not before:
        return none
    came = pl.read_parquet(before[0] / _CAME, glob=False).filter(pl.col("came") > START)
    if not len(came):
        return none
    first = ever.group_by("item_id").agg(first=pl.col("first").min())
    waited = came.join(first, on="item_id", how="left").select((pl.col("first") - pl.col("came")) / 3_600_000)
    hours = waited.to_series().fill_null(float("inf")).to_numpy()
    median = float(np.sort(hours)[(len(hours) - 1) // 2])
    return {
        "new_items": len(came),
        "new_shown": float(np.isfinite(hours).mean()),
        "new_hours": median if np.isfinite(median) else None,
    }


def _true(truth: Path) -> dict[str, float]:
    """What the pages were worth, and what of the best pages' worth that is where these are known."""
    worth = pl.read_parquet(truth / "worth.parquet", glob=False)
    judged = worth.drop_nulls("best")
    certain = judged.filter(~pl.col("explored"))
    return {
        "true_dcg": float(worth["dcg"].sum()) / max(len(worth), 1),
        "judged": len(judged),
        "true_share": _share(judged),
        "true_share_unexplored": _share(certain),
        "regret": (float(judged["best"].sum()) - float(judged["dcg"].sum())) / max(len(judged), 1),
    }


def _share(judged: pl.DataFrame) -> float:
    return float(judged["dcg"].sum()) / max(float(judged["best"].sum()), 1e-12)


def _naive(impressions: pl.DataFrame, feedback: pl.DataFrame, cells: pl.DataFrame) -> dict[str, float | None]:
    """NDCG@10 of the order shown on the clicks it got, as if nobody had chosen what was shown."""
    graded = grades(attribute(impressions, feedback))
    rows = cells.join(graded, on=["request_id", "item_id"], how="left", maintain_order="left")
    rows = rows.with_columns(pl.col("grade").fill_null(0.0), row=pl.col("request_id").rank("dense") - 1)
    row, place = (rows[name].cast(pl.Int64).to_numpy() for name in ("row", "position"))
    shape = (int(row.max()) + 1, int(place.max()) + 1)
    gain, mask = np.zeros(shape), np.zeros(shape, dtype=np.bool_)
    gain[row, place], mask[row, place] = rows["grade"].to_numpy(), True
    values = ndcg(gain, np.broadcast_to(-np.arange(float(shape[1])), shape), mask, K)
    known = values[~np.isnan(values)]
    return {"positive_requests": len(known), "ndcg@10": float(known.mean()) if len(known) else None}


def lines(rounds: Sequence[Row], seconds: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The rounds as a table for a terminal."""
    names = ["round", "by", *_TABLE, "seconds"]
    table = [names]
    for row in rounds:
        spent = sum(seconds.get(row["round"], {}).values())
        cells = [_cell(row[name], how) for name, how in _TABLE.items()]
        table.append([row["round"].removeprefix("round-"), row["served_by"], *cells, f"{spent:.0f}"])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in table]


def page(asked: Row, rounds: Sequence[Row]) -> str:
    """The rounds as one HTML page that needs nothing else."""
    plots = "".join(_plot([row[name] for row in rounds], title) for name, title in _PLOTTED.items())
    head = "".join(f"<th>{escape(name)}</th>" for name in ("round", "served by", *_TABLE))
    body = "".join(
        f"<tr><td>{escape(row['round'])}</td><td>{escape(row['served_by'])}</td>"
        + "".join(f"<td>{_cell(row[name], how)}</td>" for name, how in _TABLE.items())
        + "</tr>"
        for row in rounds
    )
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
        "figure{display:inline-block;margin:.5rem 1rem .5rem 0;width:26rem;max-width:100%}figcaption{font-size:13px}"
        "polyline{fill:none;stroke:#2563eb;stroke-width:2}line{stroke:#bbb}text{font-size:11px;fill:#666}"
        "table{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}"
        "td,th{padding:.2rem .5rem;text-align:right;border-bottom:1px solid #ddd}pre{font-size:12px;overflow-x:auto}"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Closed loop</title>'
        f"<style>{style}</style></head><body><h1>Closed loop, {len(rounds)} rounds</h1><p><b>{_NOTE}</b></p>{plots}"
        f"<table><tr>{head}</tr>{body}</table><pre>{escape(json.dumps(asked, indent=1))}</pre></body></html>\n"
    )


def _cell(value: float | None, how: str) -> str:
    return "-" if value is None else format(value, how)


def _plot(values: Sequence[float | None], title: str) -> str:
    """A line over the rounds, on an axis from 0; rounds without a value are left out."""
    width, height, left = 400, 120, 40
    top = max((value for value in values if value is not None), default=0.0) or 1.0
    step = (width - left) / max(len(values) - 1, 1)
    points = " ".join(
        f"{left + at * step:.1f},{height * (1 - value / top) + 8:.1f}"
        for at, value in enumerate(values)
        if value is not None
    )
    name = escape(title, quote=True)
    return (
        f'<figure><svg viewBox="0 0 {width + 8} {height + 12}" role="img" aria-label="{name}">'
        f'<line x1="{left}" x2="{width}" y1="{height + 8}" y2="{height + 8}"/><polyline points="{points}"/>'
        f'<text x="0" y="16">{top:.3g}</text><text x="0" y="{height + 8}">0</text></svg>'
        f"<figcaption>{escape(title)}</figcaption></figure>"
    )
