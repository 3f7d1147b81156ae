"""What declared features learn from the training log and freeze: priors of rates, the values that get a code."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtifactError
from pipeline.features.declared import Declared
from pipeline.features.declaring import DECLARED_COUNTS
from pipeline.features.ids import Keys, pair
from pipeline.features.layers import PairLayers
from pipeline.features.rates import STRONGEST, USUAL, WEAKEST, beta_prior
from pipeline.features.ticks import FOREVER
from pipeline.state import State

Floats = NDArray[np.float64]
SHOWN, ACTED = (DECLARED_COUNTS.index(name) for name in ("shown", "acted"))
_FILE: Final = "declared.json"
_MOST_GROUPS: Final = 1_000  # values of `by` a prior is fitted on


class RatePrior(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a rate by value: its mean and strength; by_strength: how much a value's own rate weighs in what it is for one
    kind of asker. Strengths in showings."""

    mean: float
    strength: float
    by_strength: float


@dataclass(frozen=True, slots=True)
class FittedDeclared:
    """By name: the prior of each rate, and the values of each category that have a code, most frequent first."""

    priors: Mapping[str, RatePrior] = field(default_factory=dict)
    codes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        about = {"priors": dict(self.priors), "codes": dict(self.codes)}
        (folder / _FILE).write_bytes(msgspec.json.encode(about, order="sorted"))

    @classmethod
    def open(cls, folder: Path) -> "FittedDeclared":
        """Raises ArtifactError when the file is not what `save` wrote."""
        try:
            about = msgspec.json.decode((folder / _FILE).read_bytes(), type=_About)
        except (OSError, msgspec.DecodeError) as error:
            raise ArtifactError(_FILE, f"what was fitted for declared features ({error})", place=str(folder)) from error
        return cls(about.priors, about.codes)


class _About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    priors: dict[str, RatePrior]
    codes: dict[str, tuple[str, ...]]


def fit_declared(state: State) -> FittedDeclared:
    """Learn from all the state knows: call it with a state that ends where training ends."""
    rates = {each.name: _prior(each, state) for each in state.declared if each.kind == "rate"}
    codes = {
        each.name: state.catalogue.item_field(each.item).frequent(each.cardinality)
        for each in state.declared
        if each.kind == "categorical"
    }
    return FittedDeclared(rates, codes)


def _prior(each: Declared, state: State) -> RatePrior:
    values = np.unique(state.catalogue.item_field(each.item).keys)
    values = values[values != 0]
    major = np.array([each.major], dtype=np.int64)
    counts = _ever(state.pairs["declared"], major, values)[0]
    mean, strength = beta_prior(counts[:, ACTED], counts[:, SHOWN])
    if not each.by:
        return RatePrior(mean, strength, USUAL)
    groups = np.unique(state.pages.referred[f"by.{each.by}"].to_numpy())
    groups = groups[groups != 0]
    groups = groups[np.linspace(0, len(groups) - 1, min(len(groups), _MOST_GROUPS)).astype(np.int64)]
    cells = _ever(state.pairs["declared"], pair(major, groups), values)
    return RatePrior(mean, strength, within_strength(cells[..., ACTED], cells[..., SHOWN]))


def _ever(layers: PairLayers, major: Keys, values: Keys) -> NDArray[np.int32]:
    return layers.at(major, values[None], np.full(len(major), FOREVER, dtype=np.int64))


def within_strength(successes: NDArray[Any], trials: NDArray[Any]) -> float:
    """How many trials the rate of a row weighs as a prior of its cells; both `[G, V]`, a column V with one mean.

    Moments of the beta-binomial as in `beta_prior`, summed over columns that each have their own mean. `USUAL` where
    that says nothing.
    """
    n, c = trials.astype(np.float64), np.minimum(successes, trials).astype(np.float64)
    total, tried = n.sum(axis=0), (n > 0).sum(axis=0)
    known = tried > 1
    n, c, total, tried = n[:, known], c[:, known], total[known], tried[known]
    mean = c.sum(axis=0) / total if len(total) else total
    spread = mean * (1.0 - mean)
    room = float((spread * (total - (n * n).sum(axis=0) / total - (tried - 1))).sum()) if len(total) else 0.0
    if room <= 0.0:
        return USUAL
    scatter = float((n * (np.divide(c, n, out=np.zeros_like(c), where=n > 0) - mean) ** 2).sum())
    rho = (scatter - float((spread * (tried - 1)).sum())) / room
    return float(np.clip(1.0 / rho - 1.0 if rho > 0.0 else STRONGEST, WEAKEST, STRONGEST))
