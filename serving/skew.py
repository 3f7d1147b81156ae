"""Training-serving skew: the feature values the service used against the same ones computed from the log.

On one machine they are the same bits. Another processor rounds otherwise, so that what differs by no more than that
is counted apart, and is no skew.

The offline side is the one training has: a state built of the whole log at once, read as of each request. What came
in after a tick was sealed counts on neither side.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.artifacts import write_json
from pipeline.batch import Batch, Mask
from pipeline.bundle import Bundle, open_bundle
from pipeline.catalogue import UNKNOWN, Catalogue, build_catalogue
from pipeline.errors import GateError, InputError
from pipeline.features.asking import json_keys
from pipeline.features.declared import wanted
from pipeline.features.fitted import Fitted
from pipeline.features.ids import key_column
from pipeline.features.plain import FeatureSet, names
from pipeline.logs.read import Log
from pipeline.logs.store import EventStore
from pipeline.prepare import Normalise
from pipeline.progress import Report, silent
from pipeline.state import State, initial_state
from pipeline.stored import read_table
from serving.heard import heard, store_beside
from serving.snapshots import SCHEMA, names_digest, snapshot_files

REPORT: Final = "skew.json"
_READ: Final = ("item", "user", "impression", "feedback")
_AT_ONCE: Final = 64  # requests computed together
_ROUNDED: Final = 1e-5  # the largest share of a value that rounding explains: some 80 times the step of a float32
_TICK: Final = "request.tick"
Values = NDArray[np.float32]


@dataclass(slots=True)
class Difference:
    """Of one feature: how many values differ, how many of them are missing on one side only, the largest difference
    of the others, and one value of each side."""

    mismatches: int = 0
    one_sided: int = 0
    largest: float = 0.0
    example: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Skew:
    """What was compared. unheard: events of the log that the service never had; rounded: values that differ as other
    processors round; passed_over: snapshots of other bundles or features."""

    bundle: str
    features: int
    unheard: int = 0
    requests: int = 0
    rows: int = 0
    rounded: int = 0
    passed_over: int = 0
    surfaces: dict[str, int] = field(default_factory=dict)
    differences: dict[str, Difference] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        """The report, features with the most mismatches first."""
        worst = sorted(self.differences.items(), key=lambda each: (-each[1].mismatches, each[0]))
        by_feature = {
            name: {"mismatches": d.mismatches, "missing_on_one_side": d.one_sided, "largest": d.largest} | d.example
            for name, d in worst
        }
        counts = {"requests": self.requests, "rows": self.rows, "features": self.features}
        counts |= {"compared": self.rows * self.features, "mismatches": sum(d.mismatches for _, d in worst)}
        counts |= {"rounded": self.rounded, "passed_over": self.passed_over, "unheard": self.unheard}
        told = {"schema": 1, "bundle": self.bundle, **counts}
        return told | {"surfaces": dict(sorted(self.surfaces.items())), "by_feature": by_feature}

    def lines(self) -> list[str]:
        told = self.values
        first = (
            f"{self.requests} requests, {self.rows} rows, {told['compared']} values: {told['mismatches']} differ,"
            f" {self.rounded} in rounding ({self.passed_over} snapshots of other bundles or features passed over,"
            f" {self.unheard} events left out that the service never had)"
        )
        return [first, *(f"  {name:<24}{about}" for name, about in told["by_feature"].items())]


def skew(bundle: Path, logs: Path, snapshots: Path, out: Path, on_progress: Report = silent) -> Skew:
    """Write `out/skew.json`.

    logs: what the bundle was trained on, at least; events since then are those of the event store beside the
    snapshots, or where there is none, of the log. Raises InputError when there is nothing to compare or the log does
    not reach back, GateError when any value differs.
    """
    opened = open_bundle(bundle)
    files = snapshot_files(snapshots)
    if not files:
        raise InputError("--snapshots", "a folder of feature snapshots (ROOT/snapshots)", place=str(snapshots))
    on_progress("state", 0.0)
    with store_beside(snapshots) as store:
        state, unheard = state_of(Log.open(logs).everything(), opened, store)
    features = FeatureSet.of(Fitted.open(opened.part("features")))
    have = names(state.clock, state.declared)
    found = Skew(opened.id, len(have), unheard)
    for done, path in enumerate(files):
        on_progress("compare", (done + 1) / (len(files) + 1))
        for part in _parts(path, found, names_digest(have)):
            _compare(part, state, features, found)
    if not found.requests:
        fix = f"snapshots of the bundle {opened.id}, which `--bundle` names, with its features"
        raise InputError("--snapshots", fix, place=str(snapshots), received=found.passed_over)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / REPORT, found.values)
    if found.differences:
        named = ", ".join(list(found.values["by_feature"])[:5])
        raise GateError(f"{found.lines()[0]}; most in {named}: see {out / REPORT}")
    return found


def state_of(log: Log, bundle: Bundle, store: EventStore | None) -> tuple[State, int]:
    """The state that has read all the service had at once, as training builds it, counting as the bundle's does; and
    how many events of the log the service never had."""
    known = State.open(bundle.part("features"), Catalogue.open(bundle.part("catalogue")))
    if log.clock != known.clock:
        raise InputError("--logs", f"a log whose clock is {known.clock}, as the bundle's", received=log.clock)
    frames, unheard = heard(log, bundle, store, _READ)
    shown = frames["impression"].select(pl.col("items").list.eval(pl.element().struct["item_id"])).explode("items")
    mentioned = pl.concat([frames["feedback"]["item_id"], shown["items"].rename("item_id")]).drop_nulls()
    catalogue = build_catalogue(frames["item"], mentioned)
    state = initial_state(log.clock, catalogue, known.gains, known.segment, known.declared)
    return state.advance(frames), unheard


def _parts(path: Path, found: Skew, digest: str) -> Iterator[pl.DataFrame]:
    """Snapshots of this bundle and these features, some at a time, in order of time."""
    rows = read_table(path, SCHEMA)
    ours = rows.filter((pl.col("bundle") == found.bundle) & (pl.col("names") == digest)).sort("time", "request_id")
    found.passed_over += len(rows) - len(ours)
    yield from ours.iter_slices(_AT_ONCE)


def _compare(part: pl.DataFrame, state: State, features: FeatureSet, found: Skew) -> None:
    batch = Normalise(state).run(_batch(part, state))
    offline = features.values(batch, state)[batch.mask]
    online = part["values"].explode(empty_as_null=False).to_numpy().reshape(-1, found.features)
    told = part.select("request_id", "item_ids").explode("item_ids", empty_as_null=False)
    for place, name in enumerate(names(state.clock, state.declared)):
        sides = online[:, place], offline[:, place]
        if not (wrong := unequal(*sides)).any():
            continue
        found.rounded += int((wrong & near(*sides)).sum())
        if (wrong := wrong & ~near(*sides)).any():
            _note(found, name, told.rows(), sides, wrong)
    ticks = (part["tick"].to_numpy(), batch.request("tick"))
    if (wrong := np.asarray(ticks[0] != ticks[1])).any():
        _note(found, _TICK, [(name, "") for name in part["request_id"]], ticks, wrong)
    found.requests += len(part)
    found.rows += len(online)
    for surface in part["surface"]:
        found.surfaces[surface] = found.surfaces.get(surface, 0) + 1


def unequal(online: Values, offline: Values) -> Mask:
    """Where the bits differ; every nan is the same."""
    both_missing = np.isnan(online) & np.isnan(offline)
    bits = (np.ascontiguousarray(side).view(np.uint32) for side in (online, offline))
    return np.asarray(np.not_equal(*bits) & ~both_missing)


def near(online: Values, offline: Values) -> Mask:
    """Where two values are as close as two ways of rounding."""
    return np.isclose(online, offline, rtol=_ROUNDED, atol=_ROUNDED)


def _note(
    found: Skew, name: str, told: list[tuple[Any, ...]], sides: tuple[NDArray[Any], NDArray[Any]], wrong: Mask
) -> None:
    """Count what differs of one feature; the example is the largest difference seen."""
    known = found.differences.setdefault(name, Difference())
    gap = np.abs(np.subtract(*sides, dtype=np.float64))[wrong]
    known.mismatches += int(wrong.sum())
    known.one_sided += int(np.isnan(gap).sum())
    largest = float(np.nanmax(gap)) if not np.isnan(gap).all() else 0.0
    if not known.example or largest > known.largest:
        known.largest = max(known.largest, largest)
        place = int(np.flatnonzero(wrong)[np.argmax(np.nan_to_num(gap, nan=-1.0))])
        online, offline = (None if np.isnan(side[place]) else float(side[place]) for side in sides)
        example = {"request_id": told[place][0], "item_id": told[place][1], "online": online, "offline": offline}
        known.example = {"example": example}


def _batch(part: pl.DataFrame, state: State) -> Batch:
    """The requests as they were asked and understood, with the candidates they had."""
    dense = state.catalogue.dense
    lengths = part["item_ids"].list.len().to_numpy()
    item = np.full((len(part), int(lengths.max())), -1, dtype=np.int32)
    told = dense(part["item_ids"].explode(empty_as_null=False))
    item[np.arange(item.shape[1]) < lengths[:, None]] = np.where(told >= 0, told, UNKNOWN)
    subject, segment, seed = part["subject"], part["segment"], part["seed"]
    requests = {name: _objects(part[name].to_list()) for name in ("subject", "query", "surface", "corrected", "terms")}
    requests |= {
        "id": _objects(part["request_id"].to_list()),
        "time": part["time"].to_numpy(),
        "subject_key": key_column(subject),
        "seed": np.where((seed == "").to_numpy(), np.int32(-1), dense(seed)).astype(np.int32),
        "segment_key": np.where((segment == "").to_numpy(), 0, key_column(segment)),
        "context_keys": json_keys(part["context"], wanted(state.declared).contexts),
    }
    return Batch(requests, item, {})


def _objects(values: list[Any]) -> NDArray[Any]:
    """One object a request, never an array of lists."""
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
