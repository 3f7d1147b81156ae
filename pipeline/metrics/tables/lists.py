"""Many judged lists in one long table, and the metrics of each, block by block in threads.

The rows of a list stand together, so a block of lists of one length is a view of the columns: nothing is
joined, sorted by request or copied. Lists of several lengths are laid out with their like.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.metrics.names import JudgedLists, Metric
from pipeline.metrics.order import Floats, Mask, Numbers, Places, pick, rank_order

TieRule = Literal["expected", "id", "trec"]

CELLS = 1 << 16  # of a block: its columns stay in a core's cache
WORKERS = 2
UNLIKELY = np.uint64(0xB5297A4D_00000000)  # where keys hardly ever lie


@dataclass(frozen=True, slots=True)
class LongLists:
    """R lists; list r has the rows `starts[r]` to `starts[r] + sizes[r]` of the columns `[n]`.

    item: what breaks ties, None where nothing need. grade: >= 0, and 0 without judgment. retrieved and
    judged: None where all rows are.
    """

    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    score: Numbers
    grade: Numbers
    item: pl.Series | None = None
    retrieved: Mask | None = None
    judged: Mask | None = None

    @property
    def list_of_row(self) -> NDArray[np.int64]:
        """The list each row is in `[n]`."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)


@dataclass(frozen=True, slots=True)
class Block:
    """Some lists `[B]` laid out `[B, W]`: the row of each cell (a slice where they follow each other), and
    which cells are in a list."""

    lists: NDArray[np.int64]
    rows: NDArray[np.int64] | slice
    inside: Mask

    def lay(self, values: Numbers) -> Numbers:
        """A column `[n]` as `[B, W]`."""
        return values[self.rows].reshape(self.inside.shape)

    def within(self, mask: Mask | None) -> Mask:
        """A column of marks as `[B, W]`, False outside the lists."""
        return self.inside if mask is None else self.inside & self.lay(mask)


def list_values(lists: LongLists, metrics: Sequence[Metric], ties: TieRule) -> dict[str, Floats]:
    """Each metric of each list `[R]`, nan where it has none.

    ties: by item id ascending (`id`; whole numbers as text), descending with scores in single precision
    (`trec`), or the mean over their orders (`expected`).
    """
    values = {metric.label: np.full(len(lists.sizes), np.nan) for metric in metrics}
    if not metrics:
        return values
    highest = float(lists.grade.max(initial=0))
    cuts = [metric.k for metric in metrics]
    # One more than the longest cut, so that a tie across it shows.
    k = None if ties == "expected" or None in cuts else 1 + max(cut for cut in cuts if cut is not None)

    def work(block: Block) -> None:
        judged = _judged_lists(lists, block, ties, highest, k)
        for metric in metrics:
            values[metric.label][block.lists] = metric.values(judged)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, blocks(lists)))
    return values


def blocks(lists: LongLists) -> Iterator[Block]:
    """All lists in blocks of about `CELLS` cells, at most half of them padding."""
    if not len(lists.sizes):
        return
    dense = bool((lists.sizes == lists.sizes[0]).all())
    by_size = np.arange(len(lists.sizes)) if dense else np.argsort(lists.sizes, kind="stable")
    sizes, at = lists.sizes[by_size], 0
    while at < len(sizes):
        longest = np.searchsorted(sizes, 2 * sizes[at], side="right")
        end = min(int(longest), at + max(1, CELLS // int(sizes[at])))
        yield _block(lists, by_size[at:end], dense)
        at = end


def _block(lists: LongLists, chosen: NDArray[np.int64], dense: bool) -> Block:
    starts, sizes = lists.starts[chosen], lists.sizes[chosen]
    width = int(sizes.max())
    if dense:
        first = int(starts[0])
        return Block(chosen, slice(first, first + len(chosen) * width), np.ones((len(chosen), width), dtype=bool))
    cell = np.arange(width)
    inside = cell < sizes[:, None]
    # A cell outside its list reads the list's last row; no metric looks at it.
    return Block(chosen, (starts[:, None] + np.minimum(cell, sizes[:, None] - 1)).ravel(), inside)


def _judged_lists(lists: LongLists, block: Block, ties: TieRule, highest: float, k: int | None) -> JudgedLists:
    scores, grades = block.lay(lists.score), block.lay(lists.grade)
    if ties == "trec":
        scores = scores.astype(np.float32)
    if grades.dtype.kind in "iu" and highest < 2**31:
        grades = grades.astype(np.int32)
    retrieved = block.within(lists.retrieved)
    order = rank_order(scores, retrieved, k)
    if ties != "expected" and lists.item is not None:
        _order_ties(order, scores, retrieved, block, lists.item, descending=ties == "trec")
    return JudgedLists(
        grades=grades if block.inside.all() else np.where(block.inside, grades, 0),
        scores=scores,
        retrieved=retrieved,
        judged=block.within(lists.judged),
        highest=highest,
        ties="expected" if ties == "expected" else "position",
        order=order,
    )


def _order_ties(
    order: Places, scores: Numbers, retrieved: Mask, block: Block, item: pl.Series, *, descending: bool
) -> None:
    """Put right, in `order`, the lists with equal scores: only these need their items' ids."""
    ranked = pick(scores, order)
    same = (ranked[:, 1:] == ranked[:, :-1]) & pick(retrieved, order)[:, 1:]
    tied = np.flatnonzero(same.any(axis=-1))
    if not len(tied):
        return
    by_id = _by_id(item.gather(_rows(block)[tied].ravel()), len(tied), descending)
    some, inside = (pick(values[tied], by_id) for values in (scores, retrieved))
    order[tied] = pick(by_id, rank_order(some, inside, order.shape[-1]))


def _rows(block: Block) -> NDArray[np.int64]:
    rows = block.rows
    if isinstance(rows, slice):
        rows = np.arange(rows.start, rows.stop)
    return rows.reshape(block.inside.shape)


def _by_id(items: pl.Series, lists: int, descending: bool) -> Places:
    """Columns `[lists, W]` of each list's items in the order of their ids, as text by its UTF-8 bytes."""
    width = len(items) // lists
    frame = pl.DataFrame({"list": np.repeat(np.arange(lists, dtype=np.uint32), width), "item": items.cast(pl.String)})
    order = frame.select(pl.arg_sort_by("list", "item", descending=[False, descending]))
    return np.asarray(order.to_series().to_numpy().astype(np.intp) % width).reshape(lists, width)


def repeated(lists: LongLists, keys: NDArray[Any]) -> NDArray[np.int64]:
    """Lists in which a key `[n]` (uint64, such as a hash of the item) occurs twice: where to look for a double."""

    def work(block: Block) -> NDArray[np.int64]:
        cells = block.lay(keys)
        if not block.inside.all():
            # Outside the lists keys that occur once in a row, and hardly ever in a list.
            cells = np.where(block.inside, cells, UNLIKELY + np.arange(cells.shape[1], dtype=np.uint64))
        ordered = np.sort(cells, axis=-1)
        same = ordered[:, 1:] == ordered[:, :-1]
        return np.asarray(block.lists[same.any(axis=-1)]) if same.any() else block.lists[:0]

    with ThreadPoolExecutor(WORKERS) as pool:
        return np.sort(np.concatenate([np.zeros(0, np.int64), *pool.map(work, blocks(lists))]))
