"""What an evaluation leaves behind: `report.json`, `report.html` and `run.parquet`, each whole or not at all."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import polars as pl

from pipeline.artifacts import write_json
from serving.replay.html import page

PAGE_SIZE: Final = 20
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
    """Every figure with its interval, under one protocol. As `report.json` holds it."""

    protocol: Mapping[str, Any]
    modes: Mapping[str, Any]
    funnel: Mapping[str, Any]
    slices: Mapping[str, Any]
    compare: list[dict[str, object]]

    def as_json(self) -> dict[str, Any]:
        return {
            "protocol": dict(self.protocol),
            "modes": dict(self.modes),
            "funnel": dict(self.funnel),
            "slices": dict(self.slices),
            "compare": self.compare,
        }


def hashed(how: Mapping[str, Any]) -> dict[str, Any]:
    """The protocol with its `hash`: two bundles measured in the same way share it."""
    code = sha256(json.dumps(dict(how), sort_keys=True).encode()).hexdigest()[:12]
    return {"hash": code, **how}


def write_all(out: Path, report: Report, run: pl.DataFrame) -> None:
    """Write each file beside its place and rename it: a reader sees the old one or the new one."""
    out.mkdir(parents=True, exist_ok=True)
    draft = out / ".run.parquet.draft"
    run.select(pl.col(name).cast(dtype) for name, dtype in RUN.items()).write_parquet(draft)
    draft.replace(out / "run.parquet")
    write_json(out / "report.json", report.as_json())
    handle, name = tempfile.mkstemp(dir=out, prefix=".report.html.")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(page(report.as_json()))
    Path(name).replace(out / "report.html")
