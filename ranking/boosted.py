"""Gradient boosted trees (LightGBM; Ke et al., NeurIPS 2017): the one place in ranking that knows the library."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtifactError
from pipeline.trees import Tree, read_model, read_trees
from ranking.config import RankingConfig

MOST: Final = 10_000  # rows of one list, at most: the library takes no more
_LEVELS: Final = 30


@dataclass(frozen=True, slots=True)
class Boosted:
    """An opened model over `features` columns; predict is safe to call from several threads."""

    booster: lgb.Booster
    features: int

    def predict(self, rows: NDArray[np.float32], threads: int = 1) -> NDArray[np.float64]:
        """Raw scores `[n]` (log-odds of a click, or a grade) of rows `[n, F]`."""
        if not len(rows):
            return np.empty(0)
        raw = self.booster.predict(rows, raw_score=True, num_threads=threads, predict_disable_shape_check=True)
        return np.asarray(raw, dtype=np.float64)

    def trees(self) -> list[Tree]:
        return read_trees(self.booster.model_to_string(), self.features)

    def save(self, path: Path) -> None:
        path.write_text(self.booster.model_to_string(), encoding="utf-8")

    @classmethod
    def open(cls, path: Path, features: int) -> "Boosted":
        """Raises ArtifactError when the file is no model over this many features."""
        text = read_model(path, features)
        try:
            booster = lgb.Booster(model_str=text)
        except lgb.basic.LightGBMError as error:
            raise ArtifactError(path.name, f"a whole LightGBM model ({error})", place=str(path.parent)) from error
        if booster.num_feature() != features:
            raise ArtifactError(path.name, f"{features} features", place=str(path), received=booster.num_feature())
        return cls(booster, features)


@dataclass(frozen=True, slots=True)
class Examples:
    """rows: `[n, F]`; target: `[n]`, 0 or 1, or grades; sizes: rows of each group one after the other, or none;
    offset: `[n]` log-odds that the trees add to and need not explain, or none; weight: `[n]`, or all alike."""

    rows: NDArray[np.float32]
    target: NDArray[np.float64]
    sizes: NDArray[np.int64] | None = None
    offset: NDArray[np.float64] | None = None
    weight: NDArray[np.float64] | None = None

    @property
    def long(self) -> int:
        """Lists of more than MOST rows, which are dealt out."""
        return 0 if self.sizes is None else int(np.count_nonzero(self.sizes > MOST))

    def dealt(self) -> "Examples":
        """Long lists dealt like cards into shorter ones: every row is learned from, beside part of the others."""
        if self.sizes is None or not self.long:
            return self
        ends = np.cumsum(self.sizes)
        hands = [
            np.arange(end - size + hand, end, many)
            for end, size in zip(ends.tolist(), self.sizes.tolist(), strict=True)
            for many in [-(-size // MOST)]
            for hand in range(many)
        ]
        order = np.concatenate(hands)
        offset, weight = (None if each is None else each[order] for each in (self.offset, self.weight))
        sizes = np.array([len(hand) for hand in hands], dtype=np.int64)
        return Examples(self.rows[order], self.target[order], sizes, offset, weight)


def train(
    known: Examples,
    held_out: Examples | int,
    *,
    config: RankingConfig,
    seed: int,
) -> Boosted:
    """Fit, stopping where the held-out examples improve no more, or after so many trees.

    Examples in groups are ordered (LambdaMART; Burges, 2010), others classified as 0 or 1. The same input and seed
    give the same model, bit for bit.
    """
    params: dict[str, Any] = {
        "num_leaves": config.leaves,
        "learning_rate": config.learning_rate,
        "min_data_in_leaf": max(config.least_rows, int(config.least_share * len(known.rows))),
        "feature_fraction": config.feature_share,
        "bagging_fraction": config.row_share,
        "bagging_freq": 1,
        "lambda_l2": config.ridge,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": config.threads,
        "seed": seed,
        "verbose": -1,
    }
    if isinstance(held_out, int):
        params |= _objective(known, known)
        return Boosted(lgb.train(params, _dataset(known, params, None), held_out), known.rows.shape[1])
    params |= _objective(known, held_out)
    rows = _dataset(known, params, None)
    judge = _dataset(held_out, params, rows)
    stop = lgb.early_stopping(config.patience, verbose=False)
    booster = lgb.train(params, rows, config.trees, valid_sets=[judge], callbacks=[stop])
    best = booster.model_to_string(num_iteration=booster.best_iteration)
    return Boosted(lgb.Booster(model_str=best), known.rows.shape[1])


def _objective(known: Examples, held_out: Examples) -> dict[str, Any]:
    if known.sizes is None:
        # Weighted negatives move the level, which the held-out examples without them would count as a loss.
        return {"objective": "binary", "metric": "binary_logloss" if known.weight is None else "auc"}
    levels = _levels(known, held_out)
    truncation = {"lambdarank_truncation_level": 12, "metric": "ndcg", "eval_at": [10]}
    return {"objective": "lambdarank", "label_gain": (np.exp2(levels) - 1.0).tolist()} | truncation


def _levels(*parts: Examples) -> NDArray[np.float64]:
    """Grades there are, at most `_LEVELS`: the library orders by whole numbers alone."""
    grades = np.unique(np.concatenate([part.target for part in parts]))
    return grades if len(grades) <= _LEVELS else np.linspace(grades[0], grades[-1], _LEVELS)


def _dataset(part: Examples, params: dict[str, Any], like: lgb.Dataset | None) -> lgb.Dataset:
    part = part.dealt()
    label = part.target
    if part.sizes is not None:
        levels = np.array(params["label_gain"])
        label = np.abs((np.exp2(label) - 1.0)[:, None] - levels[None, :]).argmin(axis=1)
    return lgb.Dataset(
        part.rows,
        label=label,
        weight=part.weight,
        group=part.sizes,
        init_score=part.offset,
        params=params,
        reference=like,
    )
