"""Mixed negatives: candidates that a page's retrieval found and the page did not show, as rows that earned nothing.

In service the ranker orders all that retrieval finds. Trained on shown items alone it has never seen most of them and
scores them about at random, so drawn candidates are mixed in (Yang et al., Mixed Negative Sampling, WWW 2020).
Letters: R pages, K candidates, S shown items of the longest page, D drawn items, F features.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Batch
from pipeline.features.plain import FeatureSet
from pipeline.state import State
from ranking.boosted import Examples
from ranking.dataset import past_items
from ranking.inputs import Inputs

Items = NDArray[np.int32]
Retrieved = Iterable[tuple[Batch, Items]]  # prepared pages holding what they showed, and their candidates `[R, K]`


def draw_unexposed(candidate: Items, shown: Items, most: int, rng: np.random.Generator) -> Items:
    """Of each page at most `most` of its candidates that it did not show, each as likely: `[R, D]`, -1 = none.

    candidate: `[R, K]`, each item once; shown: `[R, S]`; -1 = none in both.
    """
    eligible = (candidate >= 0) & ~(candidate[:, :, None] == shown[:, None, :]).any(axis=2)
    chance = np.where(eligible, rng.random(candidate.shape), np.inf)
    order = np.argsort(chance, axis=1)[:, :most]
    drawn = np.where(np.take_along_axis(eligible, order, axis=1), np.take_along_axis(candidate, order, axis=1), -1)
    return drawn.astype(np.int32)


def unexposed_rows(retrieved: Retrieved, known: tuple[State, FeatureSet], per_page: int, seed: int) -> Inputs:
    """Items drawn from each page, as of the page's own time; nothing without any page.

    The same pages in the same order and the same seed give the same rows.
    """
    state, features = known
    rng = np.random.default_rng(seed)
    found = []
    for pages, candidate in retrieved:
        drawn = Batch(pages.requests, draw_unexposed(candidate, pages.item, per_page, rng), {})
        values, request = features.values(drawn, state)[drawn.mask], np.nonzero(drawn.mask)[0]
        found.append(Inputs(values, drawn.item[drawn.mask], request, past_items(drawn, state)))
    return Inputs.joined(found) if found else Inputs.plain(np.empty((0, 0), dtype=np.float32))


def mixed(shown: Examples, unexposed: NDArray[np.float32], share: float, usual: float) -> Examples:
    """What was shown, each row of weight 1, then `unexposed` `[n, F]` as negatives of `share` times that in all.

    usual: the log-odds that the trees add to where nothing is said of a place, where the shown rows have such.
    """
    size = len(unexposed)
    if not size or not share:
        return shown
    weight = np.concatenate([np.ones(len(shown.rows)), np.full(size, share * len(shown.rows) / size)])
    offset = None if shown.offset is None else np.concatenate([shown.offset, np.full(size, usual)])
    rows = np.concatenate([shown.rows, unexposed])
    return Examples(rows, np.concatenate([shown.target, np.zeros(size)]), offset=offset, weight=weight)
