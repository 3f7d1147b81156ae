"""Boosted trees as an ONNX file: models over the same features, one output of each.

Rows are float32; thresholds, leaves and sums stay float64 as in the library, so that the scores agree to rounding.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.trees import Tree

INPUT: Final = "rows"
_OPSETS: Final = {"": 17, "ai.onnx.ml": 3}
_IR: Final = 8
Attributes = dict[str, list[Any]]


def write_trees(models: Mapping[str, Sequence[Tree]], features: int, path: Path) -> None:
    """Write a graph from `rows` `[n, features]` float32 to an output `[n, 1]` for each model: the sum of its trees."""
    from onnx import TensorProto, helper

    ensembles = [_ensemble(trees, name) for name, trees in models.items()]
    graph = helper.make_graph(
        [helper.make_node("Cast", [INPUT], ["wide"], to=TensorProto.DOUBLE), *ensembles],
        "trees",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", features])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in models],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR, producer_name="podium")
    path.write_bytes(model.SerializeToString(deterministic=True))


def _ensemble(trees: Sequence[Tree], output: str) -> Any:
    from onnx import helper, numpy_helper

    attributes: dict[str, Any] = _joined([_nodes(tree, number) for number, tree in enumerate(trees)])
    attributes |= _joined([_leaves(tree, number) for number, tree in enumerate(trees)])
    threshold = [np.append(tree.threshold, np.zeros(len(tree.value))) for tree in trees]
    return helper.make_node(
        "TreeEnsembleRegressor",
        ["wide"],
        [output],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="SUM",
        post_transform="NONE",
        nodes_values_as_tensor=numpy_helper.from_array(np.concatenate(threshold)),
        target_weights_as_tensor=numpy_helper.from_array(np.concatenate([tree.value for tree in trees])),
        **attributes,
    )


def _nodes(tree: Tree, number: int) -> Attributes:
    """The nodes of a tree, its leaves after them; a tree that is one leaf has no other node."""
    inner, leaves = len(tree.feature), len(tree.value)
    nothing = [0] * leaves
    # A value that is missing where none was in training counts as 0.
    missing_left = np.where(tree.missing_aside, tree.default_left, tree.threshold >= 0.0)
    return {
        "nodes_treeids": [number] * (inner + leaves),
        "nodes_nodeids": list(range(inner + leaves)),
        "nodes_featureids": tree.feature.tolist() + nothing,
        "nodes_modes": ["BRANCH_LEQ"] * inner + ["LEAF"] * leaves,
        "nodes_truenodeids": _places(tree.left, inner) + nothing,
        "nodes_falsenodeids": _places(tree.right, inner) + nothing,
        "nodes_missing_value_tracks_true": missing_left.astype(int).tolist() + nothing,
    }


def _places(child: NDArray[np.int64], inner: int) -> list[int]:
    """The library numbers leaves from -1 downwards."""
    return [int(place) for place in np.where(child >= 0, child, inner + ~child)]


def _leaves(tree: Tree, number: int) -> Attributes:
    inner, leaves = len(tree.feature), len(tree.value)
    return {
        "target_treeids": [number] * leaves,
        "target_nodeids": list(range(inner, inner + leaves)),
        "target_ids": [0] * leaves,
    }


def _joined(parts: Sequence[Attributes]) -> Attributes:
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}
