"""Gradient boosted trees (LightGBM; Ke et al., NeurIPS 2017): the one place in ranking that knows the library.

A model on disk is text that nobody vouches for: its size and the bounds of every tree are checked before it is
handed to the library.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtifactError
from ranking.config import RankingConfig

LARGEST: Final = 200 * 2**20  # bytes of model text
_LEVELS: Final = 30
_NODES = ("split_feature", "left_child", "right_child")


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

    def save(self, path: Path) -> None:
        path.write_text(self.booster.model_to_string(), encoding="utf-8")

    @classmethod
    def open(cls, path: Path, features: int) -> "Boosted":
        """Raises ArtifactError when the file is no model over this many features."""
        try:
            if path.stat().st_size > LARGEST:
                raise ArtifactError(path.name, f"at most {LARGEST} bytes", place=str(path.parent))
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactError(path.name, f"a readable model ({error})", place=str(path.parent)) from error
        try:
            check_model(text, features)
            booster = lgb.Booster(model_str=text)
        except (ValueError, KeyError, lgb.basic.LightGBMError) as error:
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


def train(
    known: Examples,
    held_out: Examples,
    *,
    config: RankingConfig,
    seed: int,
) -> Boosted:
    """Fit, stopping where the held-out examples improve no more.

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
    } | _objective(known, held_out)
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


def check_model(text: str, features: int) -> None:
    """Raises ValueError when a tree points at a feature, a node or a leaf that is not there.

    The library itself follows such pointers into memory it does not own.
    """
    head, *blocks = text.split("\nTree=")
    if not head.startswith("tree\n") or not blocks or "\nend of trees" not in blocks[-1]:
        raise ValueError("not the text of a model")
    about = dict(line.split("=", 1) for line in head.splitlines() if "=" in line)
    if len(about["tree_sizes"].split()) != len(blocks):
        raise ValueError("trees are missing")
    if int(about["max_feature_idx"]) + 1 != features:
        raise ValueError(f"made for {int(about['max_feature_idx']) + 1} features instead of {features}")
    for block in blocks:
        _check_tree(block, features)


def _check_tree(block: str, features: int) -> None:
    lines = dict(line.split("=", 1) for line in block.partition("\nend of trees")[0].splitlines() if "=" in line)
    leaves = int(lines["num_leaves"])
    if int(lines["num_cat"]) != 0:
        raise ValueError("a tree splits on categories, which no model of ours does")
    if len(lines["leaf_value"].split()) != leaves or leaves < 1:
        raise ValueError("a tree without its leaves")
    if leaves == 1:
        return
    split, left, right = (np.array(lines[name].split(), dtype=np.int64) for name in _NODES)
    if any(len(nodes) != leaves - 1 for nodes in (split, left, right, lines["threshold"].split())):
        raise ValueError("a tree without its nodes")
    if split.min() < 0 or split.max() >= features:
        raise ValueError("a tree splits on a feature that is not there")
    parent = np.arange(leaves - 1)
    for child in (left, right):
        # A node comes before its children, so no path can run in a circle.
        inner = child >= 0
        if (child[inner] <= parent[inner]).any() or child.max() >= leaves - 1 or child.min() < -leaves:
            raise ValueError("a tree points at a node that is not there")
