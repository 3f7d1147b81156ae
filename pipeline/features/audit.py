"""What feature columns look like before a model sees them: coverage, spread, drift, and how much each tells alone.

Pure functions of arrays. Letters: n rows, F features, B bins.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.features.config import FeaturesConfig

Mask = NDArray[np.bool_]
Values = NDArray[np.float32]
Counts = NDArray[np.int64]

QUANTILES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
PSI_BINS: Final = 10
HISTOGRAM_BINS: Final = 24
_SIGN, _ALL = np.uint32(1 << 31), np.uint32(2**32 - 1)


@dataclass(frozen=True, slots=True)
class Audit:
    """One feature. coverage: share of rows with a value; mean, std, quantiles: of these, nan without any, the first two
    also with an infinite one; auc: of the feature alone, in its better direction, nan without both labels; psi: drift;
    histogram: counts of equally wide bins from the 0.05 to the 0.95 quantile, what lies beyond in the outer ones."""

    name: str
    coverage: float
    mean: float
    std: float
    quantiles: tuple[float, ...]
    auc: float
    psi: float
    histogram: tuple[int, ...]
    constant: bool

    @property
    def missing(self) -> float:
        return 1.0 - self.coverage


def audit(values: Values, label: NDArray[Any], names: Sequence[str], latest: Mask) -> tuple[Audit, ...]:
    """One Audit a column of `values` `[n, F]`. label: `[n]`, positive where above 0; latest: `[n]`, the rows whose
    drift from the others is told. One sort a column; half a million rows of 60 features take seconds."""
    positive = np.asarray(label > 0)
    return tuple(_audit(name, column, positive, latest) for name, column in zip(names, _columns(values), strict=True))


def _columns(values: Values) -> Iterator[Values]:
    """Columns laid end to end, a few at a time: a column of a row-major array is slow to walk."""
    for first in range(0, values.shape[1], 8):
        yield from np.ascontiguousarray(values[:, first : first + 8].T)


def _audit(name: str, column: Values, positive: Mask, latest: Mask) -> Audit:
    known = ~np.isnan(column)
    ordered, labels = sorted_with(column[known], positive[known])
    mean, std = _moments(ordered)
    told = quantiles(ordered, QUANTILES)
    one_value = len(ordered) == 0 or (len(ordered) == len(column) and told[0] == told[-1])
    return Audit(
        name=name,
        coverage=len(ordered) / max(len(column), 1),
        mean=mean,
        std=std,
        quantiles=told,
        auc=auc_alone(ordered, labels, positive[~known]),
        psi=psi(column[~latest], column[latest]),
        histogram=_histogram(ordered, told),
        constant=bool(one_value),
    )


def _moments(values: Values) -> tuple[float, float]:
    if not len(values) or not np.isfinite([values[0], values[-1]]).all():
        return float("nan"), float("nan")
    return float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))


def sorted_with(values: Values, positive: Mask) -> tuple[Values, Mask]:
    """Values ascending, none of them nan, and their labels.

    Sorted as integers, the label in the lowest bit: many times as fast as sorting places.
    """
    bits = (values + np.float32(0.0)).view(np.uint32)  # -0 becomes 0
    code = np.where(bits & _SIGN, bits ^ _ALL, bits | _SIGN).astype(np.uint64) << np.uint64(1)
    code |= positive
    code.sort()
    bits = (code >> np.uint64(1)).astype(np.uint32)
    return np.where(bits & _SIGN, bits ^ _SIGN, bits ^ _ALL).view(np.float32), (code & np.uint64(1)).astype(np.bool_)


def auc_alone(ordered: Values, labels: Mask, missing: Mask) -> float:
    """How well the feature alone tells positives apart: AUC, ties counting half (Hanley and McNeil, Radiology 1982).

    ordered, labels: as `sorted_with` gives them; missing: labels of the rows without a value, which count as one value
    of their own, below or above all others. The best of both places and both directions, so 0.5 at least; nan without
    both labels.
    """
    known_positive, lost_positive = int(labels.sum()), int(missing.sum())
    known_negative, lost_negative = len(labels) - known_positive, len(missing) - lost_positive
    pairs = (known_positive + lost_positive) * (known_negative + lost_negative)
    if not pairs:
        return float("nan")
    won = _won(ordered, labels) + lost_positive * lost_negative / 2
    below, above = won + known_positive * lost_negative, won + lost_positive * known_negative
    return max(below, above, pairs - below, pairs - above) / pairs


def _won(ordered: Values, labels: Mask) -> float:
    """Pairs of a positive above a negative, ties counting half."""
    if not len(ordered):
        return 0.0
    opens = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
    positives = np.diff(np.append(0, np.cumsum(labels, dtype=np.int64))[opens])
    negatives = np.diff(opens) - positives
    before = np.cumsum(negatives) - negatives
    return float((positives * (before + negatives / 2)).sum())


def quantiles(ordered: Values, shares: Sequence[float]) -> tuple[float, ...]:
    """Values of sorted `ordered` at these shares, the nearest one; nan without any."""
    if not len(ordered):
        return (float("nan"),) * len(shares)
    return tuple(float(ordered[round(share * (len(ordered) - 1))]) for share in shares)


def psi(before: Values, after: Values) -> float:
    """Population stability index (Siddiqi, Credit Risk Scorecards, 2006): sum of (q - p) ln(q / p) over bins.

    Bins are the deciles of `before`, with one more for missing values; half a row is added to each, so that an empty
    one is no infinity. Below 0.1 nothing moved, above 0.2 much did. nan when a side has no rows.
    """
    if not len(before) or not len(after):
        return float("nan")
    sides = [np.sort(side[~np.isnan(side)]) for side in (before, after)]
    told = quantiles(sides[0], [tenth / PSI_BINS for tenth in range(1, PSI_BINS)])
    edges = np.unique(np.array(told, dtype=np.float32))
    p, q = (_shares(side, len(all_), edges) for side, all_ in zip(sides, (before, after), strict=True))
    return float(((q - p) * np.log(q / p)).sum())


def _shares(ordered: Values, rows: int, edges: Values) -> NDArray[np.float64]:
    """Share of the rows in each bin up to an edge, above the last, and missing."""
    ends = np.searchsorted(ordered, edges, side="right")
    counts = np.diff(ends, prepend=0, append=len(ordered))
    whole = np.append(counts, rows - len(ordered)) + 0.5
    return np.asarray(whole / whole.sum())


def _histogram(ordered: Values, told: tuple[float, ...]) -> tuple[int, ...]:
    low, high = told[QUANTILES.index(0.05)], told[QUANTILES.index(0.95)]
    if not len(ordered) or not np.isfinite([low, high]).all():
        return ()
    if low == high:
        low, high = float(np.nextafter(low, -np.inf)), float(np.nextafter(high, np.inf))
    edges = np.linspace(low, high, HISTOGRAM_BINS + 1)[1:-1]
    ends = np.searchsorted(ordered, edges.astype(np.float32), side="right")
    return tuple(np.diff(ends, prepend=0, append=len(ordered)).tolist())


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name is, or looks like, one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def learnable(names: Sequence[str], forbidden: Sequence[str]) -> tuple[str, ...]:
    """The features a model may be given, in their order."""
    return tuple(name for name in names if not matches(name, forbidden))


def blank(values: Values, names: Sequence[str], forbidden: Sequence[str]) -> None:
    """Make the forbidden columns of `values` `[n, F]` missing, in place: what is always missing teaches nothing, and
    is then not read in service either."""
    if values.size:
        values[:, [place for place, name in enumerate(names) if matches(name, forbidden)]] = np.nan


def examined(
    values: Values, label: NDArray[Any], names: Sequence[str], latest: Mask, rules: FeaturesConfig
) -> tuple[Audit, ...]:
    """As `audit`. Raises ConfigError naming the features that alone tell labels apart better than the alarm, unless
    they are allowed to, or forbidden anyway."""
    found = audit(values, label, names, latest)
    over = [each for each in found if each.auc > rules.auc_alarm]
    over = [each for each in over if not matches(each.name, (*rules.auc_allowed, *rules.forbidden))]
    if over:
        over.sort(key=lambda each: (-each.auc, each.name))
        named = ", ".join(f"{each.name} ({each.auc:.3f})" for each in over)
        raise ConfigError(
            over[0].name,
            f"an AUC of at most {rules.auc_alarm:g} by itself, for more mostly means that it tells of the outcome; mend"
            f" the feature, or put it into `forbidden`, or into `auc_allowed` if it may know that much. Above: {named}",
            place="[features]",
        )
    return found


def importances(names: Sequence[str], gain: NDArray[Any]) -> Mapping[str, float]:
    """Shares of the total gain by name; 0 each when nothing was gained."""
    total = float(gain.sum()) or 1.0
    return {name: float(value) / total for name, value in zip(names, gain, strict=True)}
