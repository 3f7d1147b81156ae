"""What an evaluation found, for machines and readers."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import polars as pl

from pipeline.errors import InputError
from pipeline.metrics.statistics.compare import Interval
from pipeline.spreadsheet import write_csv


@dataclass(frozen=True, slots=True)
class QueryCounts:
    """judged queries; of these missing from the run, and empty (no relevant item); unjudged ones of the run."""

    judged: int
    missing: int
    empty: int
    unjudged: int


@dataclass(frozen=True, slots=True)
class RunReport:
    """metrics: label → mean with 95 % bootstrap interval; per_query: query_id and a column for each metric
    that a query has by itself; notes: what slate metrics looked at."""

    metrics: dict[str, Interval]
    per_query: pl.DataFrame
    queries: QueryCounts
    ties: str
    empty: str
    notes: dict[str, object] = field(default_factory=dict)

    def as_json(self, per_query: bool = False) -> dict[str, object]:
        """Plain values for JSON: `{"metrics": {"ndcg@10": {"mean", "low", "high", "n"}}, ...}`, nan as null."""
        report: dict[str, object] = {
            "metrics": {label: _plain(interval) for label, interval in self.metrics.items()},
            "queries": asdict(self.queries),
            "ties": self.ties,
            "empty": self.empty,
        }
        if self.notes:
            report["slates"] = self.notes
        if per_query:
            report["per_query"] = {row.pop("query_id"): row for row in self._values().iter_rows(named=True)}
        return report

    def lines(self, per_query: bool = False) -> list[str]:
        """For a reader: one line a metric, then, on demand, one a query."""
        said = [f"{label:<14}{_said(each)}  n={each.n}" for label, each in self.metrics.items()]
        counts = self.queries
        said.append(f"queries: {counts.judged} judged, {counts.missing} missing in the run, {counts.unjudged} unjudged")
        if self.notes:
            said.append("slates: " + ", ".join(f"{name} {value}" for name, value in self.notes.items()))
        if per_query:
            labels = self.per_query.columns[1:]
            rows = self.per_query.iter_rows(named=True)
            said += [f"{row['query_id']}  " + "  ".join(f"{m}={row[m]:.6f}" for m in labels) for row in rows]
        return said

    def write_per_query(self, path: Path) -> None:
        """The values of each query as Parquet (`.parquet`) or CSV (`.csv`), null where there is none."""
        if path.suffix == ".parquet":
            self._values().write_parquet(path)
        elif path.suffix == ".csv":
            write_csv(self._values(), path)
        else:
            raise InputError("--out", "a file ending in .parquet or .csv", received=str(path))

    def _values(self) -> pl.DataFrame:
        return self.per_query.with_columns(pl.col(self.per_query.columns[1:]).fill_nan(None))


def _said(interval: Interval) -> str:
    if math.isnan(interval.mean):
        return "undefined"
    if math.isnan(interval.low):
        return f"{interval.mean:.6f}  no interval" + (f" ({interval.refused})" if interval.refused else "")
    return f"{interval.mean:.6f}  [{interval.low:.6f}, {interval.high:.6f}]"


def _plain(interval: Interval) -> dict[str, object]:
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in asdict(interval).items()
    }
