"""A simulated market whose truth is known: orders of what each request was shown, against the log's estimates.

The systems reorder the shown items of each request by the truth (`oracle`), by it plus noise, at random, or leave them
as they were (`logged`). A gain is a click, the true value of an order its discounted chance of a click when looked at
(0.95 relevance + 0.01, of the worlds' click noise): it leaves out what similar neighbours take from each other, and
robots, so only a world without the first is to agree.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.logs.read import Log
from pipeline.metrics.offpolicy.assess import Options, assess
from pipeline.metrics.offpolicy.estimate import Estimate
from pipeline.metrics.offpolicy.logged import Ranked
from pipeline.metrics.offpolicy.rankings import discount
from pipeline.metrics.padded import pad
from serving.offpolicy import as_logged, logged_cells
from serving.replay.examined import AUTO, examined

Floats = NDArray[np.float64]
K = 10
SHOWN = ("naive_ndcg", "ips_dcg", "snips_dcg", "explored_ips_dcg")
COLUMNS = ["gain", "position", "place", "explored", "uniform", "group"]


def run(logs: Path, truth: Path, say: Callable[[str], None]) -> None:
    """Under the market's own examination, and under that estimated from the log."""
    log = Log.open(logs)
    for source in (str(truth / "examination.parquet"), AUTO):
        found = examined(log, source)
        cells = _with_truth(logged_cells(log, found.surfaces), truth)
        padded = pad(cells, "request_id", [*COLUMNS, "click"])
        logged = as_logged(padded)
        click = padded["click"].astype(np.float64)
        rng = np.random.default_rng(0)
        score = {"logged": -padded["position"].astype(np.float64), "oracle": click}
        score |= {f"oracle + noise {n:g}": click + rng.normal(0, n, click.shape) for n in (0.1, 0.3)}
        score["random"] = rng.random(click.shape)
        systems = {name: ranked(each, logged.mask) for name, each in score.items()}
        others = [name for name in systems if name != "logged"]
        assessed = assess(logged, found.table, systems, [(name, "logged") for name in others], Options(K))
        known = (~np.isnan(found.table.at(logged)[0]) | ~logged.mask).all(axis=1)
        true = {
            name: (click * logged.mask * discount(each.rank, K)).sum(axis=1)[known] for name, each in systems.items()
        }
        how = "file" if source != AUTO else "auto"
        counts = f"{len(click)} requests, {int(logged.explored.sum())} explored, {int((~known).sum())} left out"
        say(f"\nexamination: {how}; {counts}")
        for surface, about in found.about.items():
            said = " ".join(f"{p:.3f}" for p in about["p"][:16])
            say(f"  {surface:<10}{about['refused'] or about['source'] + ': ' + said}")
        for name, metrics in assessed.estimates.items():
            row = "  ".join(f"{m} {_said(metrics[m])}" for m in SHOWN)
            say(f"  {name:<18}true DCG {true[name].mean():.4f}  {row}")
        for name in others:
            found_ = assessed.contrasts[name, "logged", "ips_dcg"]
            drawn = assessed.contrasts[name, "logged", "explored_dcg"]
            wanted = (true[name] - true["logged"]).mean()
            inside = found_.low <= wanted <= found_.high
            verdict = assessed.verdicts[name, "logged"].verdict
            ips = f"IPS {found_.mean:+.4f} [{found_.low:+.4f}, {found_.high:+.4f}] inside {inside}"
            clicks = f"explored clicks {drawn.mean:+.4f} [{drawn.low:+.4f}, {drawn.high:+.4f}]"
            say(f"  {name} less logged: true {wanted:+.4f}, {ips}; {clicks}; {verdict}")


def _with_truth(cells: pl.DataFrame, truth: Path) -> pl.DataFrame:
    known = pl.scan_parquet(truth / "relevance.parquet").with_columns(pl.col("request_id", "item_id").cast(pl.String))
    keys = cells.lazy().select("request_id", "item_id")
    pairs = known.join(keys, on=["request_id", "item_id"])
    chance = pairs.select("request_id", "item_id", click=0.95 * pl.col("relevance").cast(pl.Float64) + 0.01).collect()
    joined = cells.join(chance, on=["request_id", "item_id"], how="left", maintain_order="left")
    return joined.with_columns(pl.col("click").fill_null(0.0), gain=(pl.col("gain") > 0).cast(pl.Float64))


def ranked(score: Floats, mask: NDArray[np.bool_]) -> Ranked:
    """The shown items by score, best first."""
    key = np.where(mask, -score, np.inf)
    place = np.argsort(np.argsort(key, axis=1, kind="stable"), axis=1, kind="stable") + 1
    return Ranked(np.where(mask, place, 0), mask.sum(axis=1), np.ones(len(mask), dtype=np.bool_))


def _said(found: Estimate) -> str:
    return "refused" if found.refused else f"{found.mean:.4f} [{found.low:.4f}, {found.high:.4f}]"
