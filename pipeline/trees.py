"""The text of a boosted model (LightGBM), read and checked before it is handed to the library or written otherwise."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.errors import ArtifactError

LARGEST: Final = 200 * 2**20  # bytes of model text
_NODES: Final = ("split_feature", "left_child", "right_child", "decision_type")
_CATEGORIES, _DEFAULT_LEFT, _MISSING_SHIFT, _NAN = 1, 2, 2, 2
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tree:
    """A binary tree: a value of `feature` that is at most `threshold` goes left. All `[nodes]` but value `[leaves]`.

    left, right: a node, or ~leaf; missing_aside: whether missing values have a side of their own, else they count
    as 0; default_left: that side.
    """

    feature: Places
    threshold: NDArray[np.float64]
    left: Places
    right: Places
    missing_aside: Mask
    default_left: Mask
    value: NDArray[np.float64]


def read_model(path: Path, features: int) -> str:
    """The text of a model over this many features. Raises ArtifactError when the file holds no such thing."""
    try:
        if path.stat().st_size > LARGEST:
            raise ArtifactError(path.name, f"at most {LARGEST} bytes", place=str(path.parent))
        text = path.read_text(encoding="utf-8")
        read_trees(text, features)
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactError(path.name, f"a whole LightGBM model ({error})", place=str(path.parent)) from error
    return text


def read_trees(text: str, features: int) -> list[Tree]:
    """The trees of a model over this many features.

    Raises ValueError or KeyError when a tree points at a feature, a node or a leaf that is not there: the library
    itself follows such pointers into memory it does not own.
    """
    head, *blocks = text.split("\nTree=")
    if not head.startswith("tree\n") or not blocks or "\nend of trees" not in blocks[-1]:
        raise ValueError("not the text of a model")
    about = dict(line.split("=", 1) for line in head.splitlines() if "=" in line)
    if len(about["tree_sizes"].split()) != len(blocks):
        raise ValueError("trees are missing")
    if int(about["max_feature_idx"]) + 1 != features:
        raise ValueError(f"made for {int(about['max_feature_idx']) + 1} features instead of {features}")
    return [_tree(block, features) for block in blocks]


def _tree(block: str, features: int) -> Tree:
    lines = dict(line.split("=", 1) for line in block.partition("\nend of trees")[0].splitlines() if "=" in line)
    leaves = int(lines["num_leaves"])
    value = np.array(lines["leaf_value"].split(), dtype=np.float64)
    if int(lines["num_cat"]) != 0:
        raise ValueError("a tree splits on categories, which no model of ours does")
    if len(value) != leaves or leaves < 1:
        raise ValueError("a tree without its leaves")
    if leaves == 1:
        none, never = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_)
        return Tree(none, np.empty(0), none, none, never, never, value)
    feature, left, right, decision = (np.array(lines[name].split(), dtype=np.int64) for name in _NODES)
    threshold = np.array(lines["threshold"].split(), dtype=np.float64)
    if any(len(nodes) != leaves - 1 for nodes in (feature, left, right, decision, threshold)):
        raise ValueError("a tree without its nodes")
    if feature.min() < 0 or feature.max() >= features:
        raise ValueError("a tree splits on a feature that is not there")
    for child in (left, right):
        # A node comes before its children, so no path can run in a circle.
        inner = child >= 0
        if (child[inner] <= np.arange(leaves - 1)[inner]).any() or child.max() >= leaves - 1 or child.min() < -leaves:
            raise ValueError("a tree points at a node that is not there")
    missing = decision >> _MISSING_SHIFT & 3
    if (decision & _CATEGORIES).any() or not np.isin(missing, (0, _NAN)).all():
        raise ValueError("a tree splits in a way no model of ours does")
    return Tree(feature, threshold, left, right, missing == _NAN, (decision & _DEFAULT_LEFT) > 0, value)
