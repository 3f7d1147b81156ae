"""LambdaMART over what an item is among its neighbours (Burges, 2010; Wu et al., Information Retrieval 2010).

Trees correct the log of the ranker's score, so that no tree is the ranker's own order. They learn from pages as they
were shown: what a shopper did was done in the company the page gave an item, and no other order tells of it. What the
place explains enters as an offset: of two items of a page the odds that one is clicked and not the other are those of
their relevance times those of their examination. In service the list is filled place by place, each item in the
company of those already above it. Letters: R lists, K items, n rows, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lightgbm as lgb
import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.errors import ArtifactError
from pipeline.trees import read_model
from rerank.config import ListwiseConfig
from rerank.context import CONTEXT_NAMES, Listed, above_as_placed, crowding, likenesses, shares

MODEL: Final = "listwise.txt"
ABOUT: Final = "listwise.json"
SCHEMA: Final = 1
_LEAST: Final = 1e-6  # score, below which all are alike
_LEVELS: Final = 30
Floats = NDArray[np.float64]
Rows = NDArray[np.float32]


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """features: what the trees read; shipped: whether they passed the gate; slots: places filled one by one, in the
    company of the latest `company` above; depth: items considered."""

    features: tuple[str, ...]
    shipped: bool
    slots: int
    company: int
    depth: int
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class Shown:
    """Pages as they were shown, `[R, K]`: gains earned, and the place of each item, -1 = not known."""

    lists: Listed
    gains: Floats
    place: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Listwise:
    """An opened reranker; safe to use from several threads."""

    about: About
    booster: lgb.Booster

    def correction(self, features: Rows, threads: int = 1) -> Floats:
        """What the trees add to the merit of each row, `[n]`."""
        if not len(features):
            return np.empty(0)
        raw = self.booster.predict(features, raw_score=True, num_threads=threads, predict_disable_shape_check=True)
        return np.asarray(raw, dtype=np.float64)

    def values(self, lists: Listed, above: Mask) -> Floats:
        """`[R, K]`: merit and correction, with the company given; -inf where there is no item."""
        found = np.full(lists.mask.shape, -np.inf)
        features = context_features(lists, above)[lists.mask]
        found[lists.mask] = lists.merit[lists.mask] + self.correction(features)
        return found

    def order(self, lists: Listed) -> NDArray[np.intp]:
        """Places of the items `[R, K]`, best first, -1 = none: the first `slots` one by one, the rest by merit."""
        mask, rows = lists.mask, np.arange(len(lists.mask))
        alike = likenesses(lists)
        share = shares(alike, mask)
        left, total = mask.copy(), np.zeros_like(share)
        worth = np.where(mask, lists.merit, -np.inf)
        order = np.full(mask.shape, -1, dtype=np.intp)
        for slot in range(min(self.about.slots, mask.shape[1])):
            crowd = total / min(slot, self.about.company) if slot else share
            value = np.full(mask.shape, -np.inf)
            features = np.concatenate([share[left], crowd[left]], axis=-1)
            value[left] = lists.merit[left] + self.correction(features)
            best = np.argmax(value, axis=1)
            order[:, slot] = np.where(left[rows, best], best, -1)
            left[rows, best] = False
            total = total + _to(alike, best)
            if slot >= self.about.company:
                total = total - _to(alike, np.maximum(order[:, slot - self.about.company], 0))
        filled = min(self.about.slots, mask.shape[1])
        rest = np.argsort(np.where(left, -worth, np.inf), axis=1, kind="stable")[:, : mask.shape[1] - filled]
        order[:, filled:] = np.where(np.take_along_axis(left, rest, axis=1), rest, -1)
        return order

    def save(self, folder: Path) -> None:
        (folder / MODEL).write_text(self.booster.model_to_string(), encoding="utf-8")
        (folder / ABOUT).write_bytes(msgspec.json.encode(self.about))

    @classmethod
    def open(cls, folder: Path) -> "Listwise":
        """Raises ArtifactError when the files are not what `save` wrote, or were made for other features."""
        try:
            about = msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)
        except (OSError, msgspec.MsgspecError) as error:
            raise ArtifactError(ABOUT, f"a readable reranker ({error})", place=str(folder)) from error
        if about.schema != SCHEMA or about.features != CONTEXT_NAMES:
            raise ArtifactError("features", "a reranker made for these features; train again", place=str(folder))
        if min(about.slots, about.company, about.depth) < 1:
            raise ArtifactError("slots", "slots, company and depth of at least 1", place=str(folder / ABOUT))
        text = read_model(folder / MODEL, len(CONTEXT_NAMES))
        try:
            return cls(about, lgb.Booster(model_str=text))
        except lgb.basic.LightGBMError as error:
            raise ArtifactError(MODEL, f"a whole LightGBM model ({error})", place=str(folder)) from error


def _to(alike: NDArray[np.float32], item: NDArray[np.intp]) -> Rows:
    """`[R, K, 3]`: likeness of all items to one of each list."""
    one = np.take_along_axis(alike, item[None, :, None, None], axis=3)[..., 0]
    return np.asarray(np.moveaxis(one, 0, -1))


def merit_of(score: Floats) -> Floats:
    """The scale that the trees correct: the log of an expected gain."""
    return np.log(np.maximum(np.nan_to_num(score, nan=0.0), _LEAST))


def context_features(lists: Listed, above: Mask) -> Rows:
    """`[R, K, len(CONTEXT_NAMES)]`. above: `[R, K, K]`, whether the second item stands in the company of the first."""
    alike = likenesses(lists)
    share = shares(alike, lists.mask)
    return np.concatenate([share, crowding(alike, above, share)], axis=-1)


@dataclass(frozen=True, slots=True)
class Examples:
    """n rows, list after list; sizes: rows of each; offset: merit, and what the place explains."""

    features: Rows
    gains: Floats
    offset: Floats
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, pages: Sequence[Shown], ratios: Floats, company: int) -> "Examples":
        """Lists in which something was earned and something was not: the others order nothing."""
        features, gains, offset, sizes = [], [], [], []
        for page in pages:
            mask = page.lists.mask
            low, high = np.where(mask, page.gains, np.inf).min(1), np.where(mask, page.gains, -np.inf).max(1)
            kept = mask & (high > low)[:, None]
            features.append(context_features(page.lists, above_as_placed(page.place, company))[kept])
            gains.append(page.gains[kept])
            offset.append((page.lists.merit + np.log(examined(ratios, page.place)))[kept])
            sizes.append(kept.sum(axis=1)[high > low])
        if not pages:
            return cls(np.empty((0, len(CONTEXT_NAMES)), np.float32), np.empty(0), np.empty(0), np.empty(0, np.int64))
        return cls(np.concatenate(features), np.concatenate(gains), np.concatenate(offset), np.concatenate(sizes))


def examined(ratios: Floats, place: NDArray[np.integer]) -> Floats:
    """How often a place is looked at, over the first; 1 where the place is not known; the last ratio holds beyond."""
    if not len(ratios):
        return np.ones(place.shape)
    return np.where(place >= 0, ratios[np.clip(place, 0, len(ratios) - 1)], 1.0)


def fit(learn: Examples, config: ListwiseConfig, seed: int) -> lgb.Booster:
    """A set number of small trees: NDCG of few lists is too rough to say where to stop. The same input and seed give
    the same bytes."""
    gains = np.unique(learn.gains)
    levels = gains if len(gains) <= _LEVELS else np.linspace(gains[0], gains[-1], _LEVELS)
    params: dict[str, Any] = {
        "objective": "lambdarank",
        "label_gain": levels.tolist(),
        "lambdarank_truncation_level": 12,
        "num_leaves": config.leaves,
        "learning_rate": config.learning_rate,
        "min_data_in_leaf": config.least_rows,
        "lambda_l2": config.ridge,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": config.threads,
        "seed": seed,
        "verbose": -1,
    }
    label = np.abs(learn.gains[:, None] - levels[None, :]).argmin(axis=1)
    rows = lgb.Dataset(learn.features, label=label, group=learn.sizes, init_score=learn.offset, params=params)
    return lgb.train(params, rows, config.trees)
