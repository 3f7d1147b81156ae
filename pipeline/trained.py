"""Which requests a bundle learned from, as a small sketch: enough to tell whether it is judged by some of them.

Of the keys of all requests the smallest are kept (a bottom-k sample; Cohen & Kaplan 2007). A request whose key is no
larger than the largest one kept was learned from exactly if its key is there, so that those requests of another log
whose keys are that small are a fair sample of it. While a log has fewer than SIZE requests the answer is exact.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.features.ids import key_column
from pipeline.logs.read import Log
from pipeline.stored import read_array

Keys = NDArray[np.uint64]

SIZE: Final = 16_384  # keys kept: 128 KiB
_AT_ONCE: Final = 1_000_000  # rows
# What one request is, in each kind of log that is learned from and evaluated by.
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "impression": ("request_id", "page"),
    "feedback": ("event_id",),
    "judgment": ("query",),
}


@dataclass(frozen=True, slots=True)
class Overlap:
    """share: of the log's requests that the bundle learned from, estimated on `sampled` of them."""

    share: float
    sampled: int


def kinds_asked(log: Log) -> tuple[str, ...]:
    """Whose rows are requests: pages, else feedback; and judgments."""
    shown = next((kind for kind in ("impression", "feedback") if log.has(kind)), None)
    return tuple(kind for kind in (shown, "judgment") if kind is not None and log.has(kind))


def write_trained(log: Log, folder: Path) -> None:
    """A sketch of each kind of request of the log as `trained_KIND.npy`."""
    for kind in kinds_asked(log):
        kept: Keys = np.empty(0, dtype=np.uint64)
        for part in log.slices({kind: [*_KEYS[kind], "time"]}, _AT_ONCE):
            kept = np.unique(np.concatenate([kept, _keys(part[kind], kind)]))[:SIZE]
        np.save(_file(folder, kind), kept, allow_pickle=False)


def overlap(folder: Path, log: Log, kind: str) -> Overlap | None:
    """How much of the log the bundle whose features lie in `folder` learned from; None where it keeps no record, or
    the log has no request that can be told by it. Raises ArtifactError for a record that cannot be read."""
    if not _file(folder, kind).is_file():
        return None
    kept = read_array(_file(folder, kind)).astype(np.uint64, copy=False)
    asked = np.unique(_keys(log.frame(kind, columns=_KEYS[kind]), kind))
    whole = len(kept) < SIZE
    told = asked if whole else asked[asked <= kept[-1]]
    if not len(told):
        return None
    return Overlap(float(np.isin(told, kept).mean()), len(told))


def _file(folder: Path, kind: str) -> Path:
    return folder / f"trained_{kind}.npy"


def _keys(rows: pl.DataFrame, kind: str) -> Keys:
    text = pl.concat_str([pl.col(name).cast(pl.String) for name in _KEYS[kind]], separator="\x1f")
    return key_column(rows.select(text.alias("key"))["key"]).view(np.uint64)
