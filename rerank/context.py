"""What an item is among the items it stands with: features for a reranker that looks at the whole list.

Pure functions of arrays. Letters: R lists, K items of the longest, D dimensions of an item's vector.
The place an item came in at is no feature, and nothing here tells it: a model that sees the place learns to repeat it.
Nor is what the ranker has weighed already (its scores, prices, age): it fits noise, and pages are not lists.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Places = NDArray[np.integer]

LIKENESSES: Final = ("category", "brand", "likeness")
SHARE_NAMES: Final = tuple(f"{name}_share" for name in LIKENESSES)
ABOVE_NAMES: Final = tuple(f"{name}_above" for name in LIKENESSES)
CONTEXT_NAMES: Final = (*SHARE_NAMES, *ABOVE_NAMES)


@dataclass(frozen=True, slots=True)
class Listed:
    """Lists `[R, K]`, in any order. mask: where there is an item; merit: what the ranker makes of it, on the scale that
    the reranker corrects; category, brand: keys, 0 = none; vectors: `[R, K, D]` of unit length or zero."""

    mask: Mask
    merit: Floats
    category: NDArray[np.int64]
    brand: NDArray[np.int64]
    vectors: NDArray[np.float32]


def likenesses(lists: Listed) -> NDArray[np.float32]:
    """`[3, R, K, K]`: whether two items share category and brand, and the cosine of their vectors; 0 of an item to
    itself and to no item."""
    others = lists.mask[:, :, None] & lists.mask[:, None, :] & ~np.eye(lists.mask.shape[1], dtype=np.bool_)
    alike = [(key[:, :, None] == key[:, None, :]) & (key != 0)[:, :, None] for key in (lists.category, lists.brand)]
    return np.stack([*alike, lists.vectors @ lists.vectors.swapaxes(1, 2)]).astype(np.float32) * others


def shares(alike: NDArray[np.float32], mask: Mask) -> NDArray[np.float32]:
    """`[R, K, 3]`: mean likeness of each item to all others of its list. alike: of `likenesses`."""
    others = np.maximum(mask.sum(axis=1) - 1, 1)[:, None, None]
    return np.asarray(np.moveaxis(alike.sum(axis=3), 0, -1) / others, dtype=np.float32)


def above_as_placed(place: Places, company: int) -> Mask:
    """`[R, K, K]`: whether the second item is one of the `company` that stand right above the first. place: `[R, K]`,
    -1 = not known, which stands above nothing."""
    ahead = place[:, :, None] - place[:, None, :]
    known = (place >= 0)[:, :, None] & (place >= 0)[:, None, :]
    return np.asarray((ahead > 0) & (ahead <= company) & known)


def crowding(alike: NDArray[np.float32], above: Mask, share: NDArray[np.float32]) -> NDArray[np.float32]:
    """`[R, K, 3]`: mean likeness of each item to those above it.

    An item with nothing above takes its share of the whole list: a value of its own would tell the first place.
    """
    many = above.sum(axis=2)[..., None]
    total = np.moveaxis((alike * above).sum(axis=3), 0, -1)
    return np.where(many > 0, total / np.maximum(many, 1), share).astype(np.float32)
