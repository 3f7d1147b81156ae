"""`podium offpolicy`: what the clicks of a log say of any run files, whoever made them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.artifacts import write_json
from pipeline.errors import InputError
from pipeline.features.ids import key_column
from pipeline.logs.attribution import attribute, grades, outcomes_known
from pipeline.logs.read import Log
from pipeline.metrics.offpolicy.assess import Options, assess
from pipeline.metrics.offpolicy.clipping import curve
from pipeline.metrics.offpolicy.logged import ExaminationTable, Logged, Ranked
from pipeline.metrics.offpolicy.rankings import discount, inverse_weights
from pipeline.metrics.padded import Padded, pad
from pipeline.metrics.tables.listings import read_run
from serving.replay.examined import AUTO, examined
from serving.replay.offpolicy import as_json, uniform_pages
from serving.replay.requests import first_logged

LEVELS: Final = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
_READ = (
    *("request_id", "page", "time", "event_id", "surface", "explored", "order", "outcomes"),
    *("items", "user_id", "session_id"),
)
_SHOWN: Final = ("judged", "naive_ndcg", "ips_dcg", "snips_dcg", "dr_dcg", "explored_ips_dcg", "explored_dcg")


@dataclass(frozen=True, slots=True)
class OffPolicy:
    """A finished comparison, for printing and for `--out`."""

    values: Mapping[str, Any]
    k: int

    def lines(self) -> list[str]:
        """Systems, differences and verdicts, one a line."""
        values = self.values
        said = [f"{values['pages']} requests, {values['explored_pages']} of them in a drawn order"]
        if values["left_out"]:
            said.append(f"{values['left_out']} leave the weighed figures: a place whose examination is not known")
        for surface, about in values["examination"].items():
            p = " ".join(f"{each:.2f}" for each in about["p"][:10])
            said.append(f"examination of {surface}: {about['refused'] or about['source'] + ': ' + p}")
        for name, metrics in values["systems"].items():
            said.append(f"{name}: {values['matched'][name]} requests")
            said += [_line(metric, metrics[label]) for metric in _SHOWN if (label := f"{metric}@{self.k}") in metrics]
        said += [_compared(row) for row in values["compare"] if row["refused"] is None]
        return said + [
            f"{row['a']} against {row['b']}: {row['verdict']}: {row['reason']}" for row in values["verdicts"]
        ]


def _line(metric: str, found: Mapping[str, Any]) -> str:
    label = "naive_ndcg (biased toward the logger)" if metric == "naive_ndcg" else metric
    if found["refused"] is not None:
        return f"  {label:<38}refused: {found['refused']}"
    cut = f"  clipped {found['clipped_share']:.1%}" if found["clipped_share"] else ""
    if found["low"] is None:
        return f"  {label:<38}{found['mean']:.4f} no interval: {found['unsure']}  n={found['n']}"
    ends = f"{found['mean']:.4f} [{found['low']:.4f}, {found['high']:.4f}]"
    return f"  {label:<38}{ends}  n={found['n']} ESS={found['ess']:.0f}{cut}"


def _compared(row: Mapping[str, Any]) -> str:
    ends = f"{row['mean']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
    return f"{row['a']} less {row['b']}, {row['metric']}: {ends}  p={row['p']:.3g} n={row['n']}"


def offpolicy(
    runs: Sequence[Path],
    logs: Path,
    *,
    examination: str = AUTO,
    clip: float | None = None,
    k: int = 10,
    mode: str = "funnel",
    out: Path | None = None,
) -> OffPolicy:
    """Compare run files on a log with impressions; a run's query ids are the log's request ids.

    mode: whose rows count in a `run.parquet` of `podium evaluate`, which holds several. Raises InputError for a log
    without impressions, runs that share no request with it, and options out of range.
    """
    _check(runs, clip, k)
    log = Log.open(logs)
    if not log.has("impression"):
        raise InputError("--logs", "a log with impressions", place=str(logs))
    found = examined(log, examination)
    cells = logged_cells(log, found.surfaces)
    if cells.is_empty():
        raise InputError("--logs", "a log with pages of a known order and of known outcomes", place=str(logs))
    ranked = {name: read_ranks(path, mode) for name, path in _named(runs).items()}
    used = pl.concat([each["request_id"] for each in ranked.values()]).unique()
    cells = cells.filter(pl.col("request_id").is_in(used.implode()))
    if cells.is_empty():
        raise InputError("--run", "query ids that are request ids of the log", place=str(runs[0]))
    padded = pad(cells, "request_id", ["gain", "position", "place", "explored", "uniform", "group"])
    logged = as_logged(padded)
    systems = {name: as_ranked(cells, padded, each) for name, each in ranked.items()}
    options = Options(k, clip)
    assessed = assess(logged, found.table, systems, list(combinations(systems, 2)), options)
    counts = {"pages": len(logged.surface), "explored_pages": int(logged.explored.sum())}
    matched = {name: int(each.asked.sum()) for name, each in systems.items()}
    levels = {name: _levels(logged, found.table, each, k) for name, each in systems.items()}
    values = {
        "examination": found.about,
        **counts,
        "matched": matched,
        **as_json(assessed, options),
        "clipping": levels,
    }
    if out is not None:
        write_json(out, values)
    return OffPolicy(values, k)


def _check(runs: Sequence[Path], clip: float | None, k: int) -> None:
    if not runs:
        raise InputError("--run", "at least one run file")
    if clip is not None and not clip >= 1:
        raise InputError("--clip", "a weight of at least 1", received=clip)
    if k < 1:
        raise InputError("--k", "at least 1 place", received=k)


def _named(runs: Sequence[Path]) -> dict[str, Path]:
    """Each file by its name, by its path where two share one."""
    names = [path.name.partition(".")[0] for path in runs]
    named = {str(path) if names.count(name) > 1 else name: path for name, path in zip(names, runs, strict=True)}
    if len(named) < len(runs):
        raise InputError("--run", "each file once", received=[str(path) for path in runs])
    return named


def read_ranks(path: Path, mode: str) -> pl.DataFrame:
    """`request_id`, `item_id`, `rank` (1-based, by score, ties by item_id) and `size` of a run.

    Raises InputError for what is no run, and for an item that stands twice under a request.
    """
    table = pl.read_parquet(path, glob=False) if path.suffix == ".parquet" and path.is_file() else None
    if table is not None and "mode" in table.columns:
        modes = table["mode"].unique().sort().to_list()
        table = table.filter(pl.col("mode") == mode)
        if table.is_empty():
            held = ", ".join(modes) or "none: it has no row"
            raise InputError("--mode", f"a mode that the run holds: {held}", place=str(path), received=mode)
    listing = read_run(path if table is None else table)
    rows = listing.frame.sort("query_id", "score", "item_id", descending=[False, True, False])
    twice = rows.filter(pl.struct("query_id", "item_id").is_duplicated()).head(1)
    if len(twice):
        raise listing.repeated(twice["query_id"][0], twice["item_id"][0])
    rank = pl.int_range(1, pl.len() + 1).over("query_id").cast(pl.Int64)
    return rows.select(
        pl.col("query_id").alias("request_id"), "item_id", rank=rank, size=pl.len().over("query_id").cast(pl.Int64)
    )


def logged_cells(log: Log, surfaces: Sequence[str]) -> pl.DataFrame:
    """One row a request and shown item: gain, position, place (of the surface), explored, uniform, group (0/1 and
    integers throughout). Requests in no known order or of unknown outcomes are left out; an item counts where it stood
    first."""
    pages = first_logged(log.frame("impression", columns=_READ)).with_columns(uniform_pages())
    asked = pages.group_by("request_id", maintain_order=True).agg(
        pl.col("surface").first(),
        pl.col("subject").first(),
        pl.col("explored").any(),
        uniform=(pl.col("uniform") | ~pl.col("explored")).all() & pl.col("explored").any(),
        known=((pl.col("order") == "shown") & outcomes_known()).all(),
    )
    asked = asked.filter("known").with_columns(
        place=pl.col("surface").replace_strict({name: row for row, name in enumerate(surfaces)}, return_dtype=pl.Int64),
        group=pl.Series(_groups(asked.filter("known"))),
    )
    cells = pages.select("request_id", cell="items").explode("cell", empty_as_null=False).unnest("cell")
    cells = cells.sort("request_id", "position").unique(["request_id", "item_id"], keep="first", maintain_order=True)
    earned = grades(attribute(log.frame("impression"), log.frame("feedback")))
    cells = cells.join(asked, on="request_id", maintain_order="left").join(
        earned, on=["request_id", "item_id"], how="left", maintain_order="left"
    )
    flags = pl.col("explored", "uniform").cast(pl.Int64)
    return cells.select(
        "request_id",
        "item_id",
        pl.col("position").cast(pl.Int64),
        "place",
        flags,
        "group",
        gain=pl.col("grade").fill_null(0.0),
    )


def _groups(asked: pl.DataFrame) -> NDArray[np.int64]:
    nobody = asked["subject"].is_null().to_numpy()
    return np.where(nobody, np.arange(len(asked)), key_column(asked["subject"]))


def as_logged(padded: Padded) -> Logged:
    """The padded cells of `logged_cells`."""
    first = {name: padded[name][:, 0] for name in ("place", "explored", "uniform", "group")}
    return Logged(
        gain=padded["gain"].astype(np.float64),
        position=padded["position"],
        mask=padded.mask,
        surface=first["place"],
        explored=first["explored"] > 0,
        uniform=first["uniform"] > 0,
        groups=first["group"],
    )


def as_ranked(cells: pl.DataFrame, padded: Padded, ranks: pl.DataFrame) -> Ranked:
    """A run's ranks at the padded cells."""
    found = cells.join(ranks, on=["request_id", "item_id"], how="left", maintain_order="left")
    rank = pad(found.select("request_id", pl.col("rank").fill_null(0)), "request_id", ["rank"])["rank"]
    sizes = ranks.select("request_id", "size").unique("request_id")
    size = padded.keys.to_frame("request_id").join(sizes, on="request_id", how="left", maintain_order="left")["size"]
    return Ranked(rank, size.fill_null(0).to_numpy(), size.is_not_null().to_numpy())


def _levels(logged: Logged, table: ExaminationTable, system: Ranked, k: int) -> list[dict[str, float]]:
    p, _ = table.at(logged)
    rows = system.asked & (~np.isnan(p) | ~logged.mask).all(axis=1)
    earned = logged.mask & (logged.gain > 0) & rows[:, None]
    if not earned.any():
        return []
    weight = inverse_weights(np.where(earned, p, 1.0), earned)[earned]
    worth = (logged.gain * discount(system.rank, k))[earned]
    return [
        {"clip": each.clip, "mean": each.mean, "ess": each.ess, "clipped_share": each.clipped_share}
        for each in curve(worth, weight, int(rows.sum()), LEVELS)
    ]
