"""Past evaluations: what was measured when, and how two of them compare on the same requests."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.metrics.statistics.compare import paired_t
from pipeline.metrics.statistics.corrections import holm
from serving.replay.measures import HEADLINE
from serving.replay.report import REQUESTS
from serving.replay.slices import UNITS, tested

_REPORT: Final = "report.json"
_KEYS: Final = ("mode", "request_id", "page")
_PROTOCOL: Final = ("state", "sample", "stage", "exclude_seen", "log_digest", "seed", "gains")


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation on disk. when: the moment its report was written."""

    folder: Path
    when: datetime
    report: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> "Run":
        """path: a report.json or its folder. Raises InputError when it is none."""
        file = path if path.name == _REPORT else path / _REPORT
        try:
            report = json.loads(file.read_text(encoding="utf-8"))
            _ = report["protocol"]["hash"], report["modes"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            expected = f"the folder of an evaluation, with its {_REPORT} ({type(error).__name__})"
            raise InputError("run", expected, place=str(path)) from error
        return cls(file.parent, datetime.fromtimestamp(file.stat().st_mtime, UTC), report)

    @property
    def protocol(self) -> dict[str, Any]:
        return dict(self.report["protocol"])

    @property
    def hash(self) -> str:
        return str(self.protocol["hash"])

    def rows(self) -> Iterator[dict[str, Any]]:
        """One a mode, with podium's headline."""
        gate = self.report.get("gate") or {}
        for mode, about in self.report["modes"].items():
            metric = HEADLINE.get(mode, ("ndcg@10",))[0]
            found = about["systems"].get("podium", {}).get(metric, {})
            yield {
                "run": str(self.folder),
                "when": self.when.isoformat(timespec="seconds"),
                "bundle": self.protocol.get("bundle"),
                "baseline": self.protocol.get("baseline"),
                "protocol": self.hash,
                "log": self.protocol.get("log_digest"),
                "mode": mode,
                "metric": metric,
                **{name: found.get(name) for name in ("mean", "low", "high", "n")},
                "gate": ("passed" if gate["passed"] else "refused") if gate else "none",
            }

    def values(self) -> pl.DataFrame:
        """podium's metrics of each request. Raises InputError for an evaluation that did not write them."""
        file = self.folder / REQUESTS
        if not file.is_file():
            raise InputError("run", f"an evaluation with {REQUESTS}; evaluate again", place=str(self.folder))
        return pl.read_parquet(file, glob=False).filter(pl.col("system") == "podium")


@dataclass(frozen=True, slots=True)
class Listed:
    """Past evaluations, latest first, for printing."""

    rows: list[dict[str, Any]]

    @property
    def values(self) -> dict[str, Any]:
        return {"runs": self.rows}

    def lines(self) -> list[str]:
        said = [
            f"{row['when'][:16].replace('T', ' ')}  {row['protocol']}  {str(row['log'])[:8]:<8}  {row['bundle']!s:<16}"
            f"  {row['mode']:<6}  {row['metric']} {_figure(row)}  gate {row['gate']:<7}  {row['run']}"
            for row in self.rows
        ]
        return said or ["no evaluations"]


def list_runs(roots: Sequence[Path]) -> Listed:
    """Every evaluation at or below these folders, latest first. Raises InputError for a folder that is not there."""
    if gone := [root for root in roots if not root.exists()]:
        raise InputError("ROOT", "an existing folder", received=str(gone[0]))
    found = [Run.open(file) for file in sorted(set(_reports(roots)))]
    return Listed([row for run in sorted(found, key=lambda run: run.when, reverse=True) for row in run.rows()])


def _reports(roots: Sequence[Path]) -> Iterator[Path]:
    """Of evaluations; other jobs name their files alike."""
    for root in roots:
        for file in root.rglob(_REPORT):
            if _is_evaluation(file):
                yield file.resolve()


def _is_evaluation(file: Path) -> bool:
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(report, dict) and "modes" in report and "hash" in (report.get("protocol") or {})


@dataclass(frozen=True, slots=True)
class Compared:
    """Every run against the first, on the same requests. unlike: what their protocols differ in, where they do."""

    runs: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    unlike: list[str]

    @property
    def values(self) -> dict[str, Any]:
        return {"runs": self.runs, "unlike": self.unlike, "compare": self.rows}

    def lines(self) -> list[str]:
        said = [f"{run['name']}  {run['bundle']}  protocol {run['protocol']}  {run['run']}" for run in self.runs]
        said += [f"not measured alike: {difference}" for difference in self.unlike]
        said += [
            f"{row['mode']:<6}  {row['metric']:<12}  {row['run']} less {row['against']}  {_difference(row)}"
            for row in self.rows
        ]
        return [*said, f"p by Student's t over subjects, after Holm's correction for {len(self.rows)} comparisons"]


def compare_runs(paths: Sequence[Path], *, unlike: bool = False) -> Compared:
    """Compare every run with the first in the headline metrics, paired by request.

    unlike: compare runs of different protocols too, and say what differs. Raises InputError for fewer than two runs,
    for unlike ones unless asked to, and for runs without a request in common.
    """
    if len(paths) < 2:
        raise InputError("RUN", "at least two evaluations", received=len(paths))
    first, *others = runs = [Run.open(path) for path in paths]
    named = dict(zip((chr(ord("A") + place) for place in range(len(runs))), runs, strict=False))
    differences = [difference for other in others for difference in _unlike(first, other)]
    if differences and not unlike:
        expected = f"runs measured alike ({'; '.join(differences)}); evaluate again, or compare --unlike"
        raise InputError("RUN", expected)
    rows = [row for name, run in list(named.items())[1:] for row in _paired(name, run, first)]
    adjusted = holm(np.array([np.nan if row["p"] is None else row["p"] for row in rows], dtype=np.float64))
    for row, p in zip(rows, adjusted, strict=True):
        row["p_holm"] = None if np.isnan(p) else float(p)
    about = [
        {"name": name, "run": str(run.folder), "bundle": run.protocol.get("bundle"), "protocol": run.hash}
        for name, run in named.items()
    ]
    return Compared(about, rows, differences)


def _unlike(first: Run, other: Run) -> list[str]:
    """What makes the protocols of two runs differ; empty when they are alike."""
    if first.hash == other.hash:
        return []
    one, two = first.protocol, other.protocol
    keys = dict.fromkeys([*_PROTOCOL, *one, *two])
    apart = [key for key in keys if key not in ("hash", "bundle", "baseline") and one.get(key) != two.get(key)]
    said = ", ".join(f"{key} {_short(one.get(key))} and {_short(two.get(key))}" for key in apart[:3])
    return [f"{first.folder.name} {first.hash} and {other.folder.name} {other.hash}: {said}"]


def _short(value: object) -> str:
    return str(value)[:60]


def _paired(name: str, run: Run, first: Run) -> Iterator[dict[str, Any]]:
    mine, theirs = run.values(), first.values()
    both = mine.join(theirs, on=_KEYS, how="inner", suffix=":first", maintain_order="left")
    if not len(both):
        raise InputError("RUN", "runs over the same requests; these have none in common", place=str(run.folder))
    for mode, metric in _headlines(both["mode"].unique(maintain_order=True)):
        if metric not in mine.columns or metric not in theirs.columns:
            continue
        rows = both.filter(pl.col("mode") == mode)
        own, before = (rows[column].cast(pl.Float64).to_numpy() for column in (metric, f"{metric}:first"))
        found = paired_t(own, before, rows["subject"].to_numpy(), UNITS)
        yield {"run": name, "against": "A", "mode": mode, "metric": metric, **tested(found)}


def _headlines(modes: Iterable[str]) -> Iterator[tuple[str, str]]:
    for mode in modes:
        yield from ((mode, metric) for metric in (*HEADLINE.get(mode, ()), "true_ndcg@10"))


def _figure(row: dict[str, Any]) -> str:
    if row["mean"] is None:
        return "undefined"
    return f"{row['mean']:.4f}" + (" no interval" if row["low"] is None else f" [{row['low']:.4f}, {row['high']:.4f}]")


def _difference(row: dict[str, Any]) -> str:
    if row["mean"] is None:
        return "undefined: no request has a value in both"
    interval = "" if row["low"] is None else f" [{row['low']:+.4f}, {row['high']:+.4f}]"
    interval += f"  no verdict ({row['refused']})" if row.get("refused") else ""
    p = "" if row["p_holm"] is None else f"  p {row['p_holm']:.4f}"
    return f"{row['mean']:+.4f}{interval}{p}  n {row['n']}"
