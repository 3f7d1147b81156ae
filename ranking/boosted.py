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
        raw = self.booster.predict(rows, raw_score=True, num_threads=threads)
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


def train(
    known: tuple[NDArray[np.float32], NDArray[np.float64]],
    held_out: tuple[NDArray[np.float32], NDArray[np.float64]],
    *,
    objective: str,
    config: RankingConfig,
    seed: int,
) -> Boosted:
    """Fit to rows `[n, F]` and targets `[n]`, stopping where the held-out ones improve no more.

    objective: LightGBM's `binary` or `regression`. The same input and seed give the same model, bit for bit.
    """
    params: dict[str, Any] = {
        "objective": objective,
        "num_leaves": config.leaves,
        "learning_rate": config.learning_rate,
        "min_data_in_leaf": max(config.least_rows, int(config.least_share * len(known[0]))),
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
    rows = lgb.Dataset(known[0], label=known[1], params=params)
    judge = lgb.Dataset(held_out[0], label=held_out[1], reference=rows)
    stop = lgb.early_stopping(config.patience, verbose=False)
    booster = lgb.train(params, rows, config.trees, valid_sets=[judge], callbacks=[stop])
    best = booster.model_to_string(num_iteration=booster.best_iteration)
    return Boosted(lgb.Booster(model_str=best), known[0].shape[1])


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
