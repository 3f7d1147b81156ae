"""What the plain features learn from the training log and freeze: priors, usual prices, how common words are."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtifactError
from pipeline.features.behaviour import (
    CART,
    CLICK,
    CLICKED,
    HIDE,
    ITEM_NAMES,
    PURCHASE,
    RECENT_NAMES,
    SHOWN,
    Prior,
)
from pipeline.features.declared_fit import FittedDeclared, fit_declared
from pipeline.features.ids import Keys
from pipeline.features.rates import beta_prior
from pipeline.features.table import Sheet, latest_tick
from pipeline.features.texts import TextMemory
from pipeline.features.textstats import TextStats
from pipeline.features.ticks import FOREVER
from pipeline.state import State

Floats = NDArray[np.float64]
RATES: Final = {"click": (CLICKED, SHOWN), "convert": (PURCHASE, CLICK), "cart": (CART, CLICK), "hide": (HIDE, SHOWN)}
QUANTILES: Final = 16  # of the log prices of a category
ENOUGH: Final = 20  # items of a category before it has a prior or a usual price of its own


@dataclass(frozen=True, slots=True)
class Fitted:
    """priors: of each rate in `RATES`; price_group: `[P]` sorted category keys, with the mean `[P]` and quantiles
    `[P, Q]` of the log price; sheet: the item columns of the last tick, where they were made; declared: for the
    features a user declares."""

    priors: dict[str, Prior]
    price_group: Keys
    price_mean: Floats
    price_quantiles: NDArray[np.float32]
    text: TextStats
    sheet: Sheet | None = None
    declared: FittedDeclared = field(default_factory=FittedDeclared)

    def price_row(self, groups: Keys) -> NDArray[np.int64]:
        """The place of the deepest category that has prices, P where none has; groups: `[..., D]`, top level first."""
        found = np.full(groups.shape[:-1], len(self.price_group))
        if not len(self.price_group):
            return found
        for depth in range(groups.shape[-1]):
            group = groups[..., depth]
            place = np.minimum(np.searchsorted(self.price_group, group), len(self.price_group) - 1)
            found = np.where(self.price_group[place] == group, place, found)
        return found

    def save(self, folder: Path) -> None:
        for name, prior in self.priors.items():
            np.save(folder / f"prior.{name}.group.npy", prior.group, allow_pickle=False)
            values = np.stack([prior.mean, prior.strength])
            np.save(folder / f"prior.{name}.values.npy", values, allow_pickle=False)
        np.save(folder / "price.group.npy", self.price_group, allow_pickle=False)
        np.save(folder / "price.mean.npy", self.price_mean, allow_pickle=False)
        np.save(folder / "price.quantiles.npy", self.price_quantiles, allow_pickle=False)
        self.text.save(folder)
        self.declared.save(folder)
        if self.sheet is not None:
            self.sheet.save(folder)
        (folder / "features.json").write_bytes(msgspec.json.encode({"rates": list(RATES)}))

    @classmethod
    def open(cls, folder: Path) -> "Fitted":
        """Raises ArtifactError when the files are not what `save` wrote."""
        try:
            about = msgspec.json.decode((folder / "features.json").read_bytes())
            priors = {name: _open_prior(folder, name) for name in RATES}
            group = np.load(folder / "price.group.npy", allow_pickle=False)
            mean = np.load(folder / "price.mean.npy", allow_pickle=False)
            quantiles = np.load(folder / "price.quantiles.npy", allow_pickle=False)
        except (OSError, ValueError, IndexError, msgspec.DecodeError) as error:
            raise ArtifactError("features.json", f"readable fitted features ({error})", place=str(folder)) from error
        if about != {"rates": list(RATES)} or group.shape != mean.shape:
            raise ArtifactError("features.json", "the rates of this version; train again", place=str(folder))
        if quantiles.shape != (len(group), QUANTILES) or quantiles.dtype != np.float32:
            raise ArtifactError("price.quantiles.npy", f"{QUANTILES} for each category", place=str(folder))
        return cls(
            priors, group, mean, quantiles, TextStats.open(folder), Sheet.open(folder), FittedDeclared.open(folder)
        )


def fit_features(state: State) -> Fitted:
    """Learn from all the state knows: call it with a state that ends where training ends."""
    catalogue = state.catalogue
    items = np.arange(len(catalogue), dtype=np.int64)
    counts = state.counters["items"].at(items, np.full(1, FOREVER))
    top = catalogue.category[:, 0]
    priors = {name: _prior(counts[:, over], counts[:, under], top) for name, (over, under) in RATES.items()}
    text = TextStats.of(TextMemory().of(catalogue))
    group, mean, quantiles = _prices(state)
    tick = latest_tick(state) if state.clock == "exact" else FOREVER
    counted = ITEM_NAMES if state.clock != "exact" else (*ITEM_NAMES, *RECENT_NAMES)
    return Fitted(
        priors, group, mean, quantiles, text, Sheet.of(state, tick, top, priors, counted), fit_declared(state)
    )


def _prior(over: NDArray[np.int32], under: NDArray[np.int32], top: Keys) -> Prior:
    """One prior of all items, and one of each top category with enough of them tried."""
    tried = np.flatnonzero((under > 0) & (top != 0))
    groups, sizes = np.unique(top[tried], return_counts=True)
    groups = groups[sizes >= ENOUGH]
    known = [beta_prior(over, under)] + [beta_prior(over[top == group], under[top == group]) for group in groups]
    mean, strength = np.array(known, dtype=np.float64).T
    return Prior(groups, mean, strength)


def _prices(state: State) -> tuple[Keys, Floats, NDArray[np.float32]]:
    """Mean and quantiles of the log of the last prices, for each category of enough items."""
    last = state.catalogue.at(2**62).price
    with np.errstate(invalid="ignore", divide="ignore"):
        price = np.log(np.where(last > 0, last, np.nan))
    category = state.catalogue.category
    known = np.isfinite(price)[:, None] & (category != 0)
    groups, place, sizes = np.unique(category[known], return_inverse=True, return_counts=True)
    values = np.broadcast_to(price[:, None], category.shape)[known]
    order = np.lexsort((values, place))
    parts = np.split(values[order], np.cumsum(sizes)[:-1]) if len(groups) else []
    enough = np.flatnonzero(sizes >= ENOUGH)
    at = (np.arange(QUANTILES) + 0.5) / QUANTILES
    quantiles = np.array([np.quantile(parts[group], at) for group in enough], dtype=np.float32)
    mean = np.bincount(place, weights=values, minlength=len(groups)) / np.maximum(sizes, 1)
    return groups[enough], mean[enough], quantiles.reshape(-1, QUANTILES)


def _open_prior(folder: Path, name: str) -> Prior:
    group = np.load(folder / f"prior.{name}.group.npy", allow_pickle=False)
    values = np.load(folder / f"prior.{name}.values.npy", allow_pickle=False)
    if values.shape != (2, len(group) + 1):
        raise ArtifactError(f"prior.{name}.values.npy", "one prior more than groups", place=str(folder))
    return Prior(group, values[0], values[1])
