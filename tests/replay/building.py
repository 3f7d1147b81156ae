"""Logs on disk and engines trained on frames."""

from pathlib import Path

import polars as pl

from pipeline.bundle import Bundle
from pipeline.catalogue import build_catalogue
from pipeline.logs.attribution import AttributionConfig
from pipeline.logs.partitions import write_days, write_manifest
from pipeline.logs.read import Log
from pipeline.state import Frames, initial_state
from tests.replay.fake_engine import CUTOFF, FakeEngine


def written(root: Path, frames: Frames, state: Frames | None = None, *, clock: str = "exact", by: str = "time") -> Log:
    """Frames as a log; `state` becomes what lies before it."""
    for folder, content in ((root, frames), (root / "state", state)):
        if content is None:
            continue
        for kind, rows in content.items():
            write_days(folder, kind, rows)
        write_manifest(folder, clock, split={"by": by})
    return Log.open(root)


def trained(frames: Frames, *, clock: str = "exact", **options: object) -> FakeEngine:
    """An engine that was trained on these frames, with a cutoff of 100 hours."""
    empty = pl.Series("item_id", [], dtype=pl.String)
    catalogue = build_catalogue(frames["item"], frames["feedback"]["item_id"] if "feedback" in frames else empty)
    state = initial_state(clock, catalogue, AttributionConfig().gains).advance(frames)
    bundle = Bundle(Path(), "b-fake", CUTOFF, "catalogue", "features", {"lexical": ""})
    return FakeEngine(state, bundle, **options)  # type: ignore[arg-type]


def few(mean: float, subjects: int) -> dict[str, object]:
    """A mean, as a report has it, of one request each of so few subjects that there is no interval."""
    refused = f"too few subjects: {subjects} of 30 needed"
    return {"mean": mean, "low": None, "high": None, "n": subjects, "refused": refused, "needed": 30}
