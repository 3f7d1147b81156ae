"""What an evaluation leaves behind, each file whole or not at all: `report.json`, `report.html`, `run.parquet` and
`requests.parquet`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import polars as pl

from pipeline.artifacts import write_json
from serving.replay.page.document import page

PAGE_SIZE: Final = 20
REQUESTS: Final = "requests.parquet"  # the metrics of each request, for later comparisons
RUN: Final = {
    "request_id": pl.String(),
    "page": pl.Int32(),
    "item_id": pl.String(),
    "position": pl.Int32(),
    "score": pl.Float64(),
    "mode": pl.String(),
}


@dataclass(frozen=True, slots=True)
class Report:
    """Every figure with its interval, under one protocol. As `report.json` holds it.

    slices, regression, diversity, examples: by mode; gate: what was asked and whether it passed; failed: parts that
    are not there, with their reasons; left_out: how many pages were not asked about, by kind; trained_on: whether
    the bundle learned from what it is judged by; empty where there is
    nothing of the kind.
    """

    protocol: Mapping[str, Any]
    modes: Mapping[str, Any]
    funnel: Mapping[str, Any]
    slices: Mapping[str, Any]
    compare: list[dict[str, object]]
    regression: Mapping[str, Any] = field(default_factory=dict)
    off_policy: Mapping[str, Any] = field(default_factory=dict)
    diversity: Mapping[str, Any] = field(default_factory=dict)
    examples: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    trained_on: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "protocol": dict(self.protocol),
            "modes": dict(self.modes),
            "funnel": dict(self.funnel),
            "slices": dict(self.slices),
            "compare": self.compare,
            "regression": dict(self.regression),
            "off_policy": dict(self.off_policy),
            "diversity": dict(self.diversity),
            "examples": dict(self.examples),
            "gate": dict(self.gate),
            "failed": dict(self.failed),
            "left_out": dict(self.left_out),
            "trained_on": dict(self.trained_on),
        }


def hashed(how: Mapping[str, Any]) -> dict[str, Any]:
    """The protocol with its `hash`: two bundles measured in the same way share it."""
    code = sha256(json.dumps(dict(how), sort_keys=True).encode()).hexdigest()[:12]
    return {"hash": code, **how}


def write_all(out: Path, report: Report, run: pl.DataFrame, requests: pl.DataFrame | None = None) -> Report:
    """Write each file beside its place and rename it: a reader sees the old one or the new one. Without `requests` an
    older one goes, so that it is never taken for this report's. Returns the report with what the page could not draw
    among its failed parts."""
    drawn, failed = page(report.as_json())
    report = replace(report, failed={**report.failed, **failed})
    out.mkdir(parents=True, exist_ok=True)
    _write_table(out / "run.parquet", run.select(pl.col(name).cast(dtype) for name, dtype in RUN.items()))
    if requests is None:
        (out / REQUESTS).unlink(missing_ok=True)
    else:
        _write_table(out / REQUESTS, requests)
    write_json(out / "report.json", report.as_json())
    draft = out / ".report.html.draft"
    draft.write_text(drawn, encoding="utf-8")
    draft.replace(out / "report.html")
    return report


def _write_table(path: Path, table: pl.DataFrame) -> None:
    draft = path.with_name(f".{path.name}.draft")
    table.write_parquet(draft)
    draft.replace(path)
