"""Whether a bundle is judged by what it was trained on, or by requests whose future it knows."""

from typing import Any, Final

import polars as pl

from pipeline.logs.read import Log
from pipeline.trained import kinds_asked, overlap
from serving.replay.ports import ReplayEngine

_WORDS: Final = {"impression": "pages", "feedback": "actions", "judgment": "judged queries"}
_FEATURES: Final = "features"


def trained_on(engine: ReplayEngine, log: Log) -> dict[str, Any]:
    """`share`: by kind of request, of the log's that the bundle learned from, null where it keeps no record;
    `before_cutoff`: of its requests, how many came before the moment the bundle knows everything up to; `warnings`:
    what that means, in sentences."""
    bundle = engine.bundle
    shares: dict[str, float | None] = {}
    early, warnings = 0, []
    for kind in kinds_asked(log):
        name = _WORDS[kind]
        found = overlap(bundle.part(_FEATURES), log, kind) if _FEATURES in bundle.parts else None
        shares[name] = None if found is None else found.share
        if found is not None and found.share > 0:
            part = "under 1 %" if found.share < 0.01 else f"{found.share:.0%}"
            warnings.append(
                f"bundle {bundle.id} was trained on {part} of the {name} it is judged by here: the figures say how "
                "well it remembers, not how well it ranks. Evaluate on the side of a split that it was not trained on"
            )
        if log.clock == "exact" and kind != "judgment" and _ordered(log):
            early += int(log.scan(kind).filter(pl.col("time") < bundle.cutoff).select(pl.len()).collect().item())
    if early and not warnings:
        warnings.append(
            f"{early} of the requests are from before the cutoff of bundle {bundle.id}: it learned from what came "
            "after them. Evaluate on later requests"
        )
    return {"share": shares, "before_cutoff": early, "warnings": warnings}


def _ordered(log: Log) -> bool:
    """Whether its sides, where it is one of a split, lie apart in time."""
    rule = log.manifest.get("split")
    return not isinstance(rule, dict) or rule.get("by") == "time"
