"""Position-based model: P(click) = theta[position] * gamma[pair].

Richardson, Dominowska and Ragno (WWW 2007); Craswell et al. (WSDM 2008), fitted by the EM of `em`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.metrics.clicks import em
from pipeline.metrics.clicks.em import Fitted
from pipeline.metrics.clicks.pages import Floats, Ints, ShownPages

AGAIN: Final = 5e-4  # a fit of almost the same pages ends sooner: its error is far above that


@dataclass(frozen=True, slots=True)
class PositionModel:
    """theta `[P]`, known up to a common factor; gamma `[pairs]`: attractiveness; fitted: how EM ended."""

    theta: Floats
    gamma: Floats
    fitted: Fitted

    def examination(self, pages: ShownPages) -> Floats:  # noqa: ARG002
        """P(looked at) of each position over that of the first, `[P]`: the same on all pages."""
        return np.asarray(self.theta / self.theta[0])

    def conditional(self, pages: ShownPages) -> Floats:
        """P(click | the clicks above), `[n]`: they do not matter."""
        return np.minimum(self.theta[pages.position] * self.gamma[pages.pair], 1.0)

    marginal = conditional


def place_classes(pages: ShownPages) -> Ints:
    """Class of each pair, `[pairs]`: 0 where all its pages were drawn, else by its mean place on the other pages.

    Half powers of two: 1, 1.4, 2, 2.8 ...; where the logger ordered, better items stand higher, so that pairs that
    usually stand in other places are not taken for equally attractive.
    """
    usual = ~pages.drawn
    many = np.bincount(pages.pair[usual], minlength=pages.pairs)
    total = np.bincount(pages.pair[usual], weights=np.log2(pages.position[usual] + 1.0), minlength=pages.pairs)
    mean = total / np.maximum(many, 1)
    return np.where(many > 0, 1 + np.round(2.0 * mean), 0).astype(np.int64)


def fit_position(pages: ShownPages, seed: int, before: PositionModel | None = None) -> PositionModel:
    """From a random start, or from where another fit ended."""
    return fit_cells(pages, pages.position, pages.places, seed, before)


def fit_cells(
    pages: ShownPages, cell: Ints, cells: int, seed: int, before: PositionModel | None = None
) -> PositionModel:
    """The model with any cells `[n]` in the place of positions; theta is `[cells]`."""
    klass = place_classes(pages)
    patterns = em.patterns_of(pages.pair, cell, pages.clicked, klass, cells)
    start = em.random_start(cells, int(klass.max(initial=0)) + 1, np.random.default_rng(seed))
    close = em.CLOSE
    if before is not None and before.fitted.share.shape == start[1].shape:
        start, close = (before.fitted.theta, before.fitted.share), AGAIN
    fitted = em.fit(patterns, *start, close=close)
    return PositionModel(fitted.theta, em.attractiveness(patterns, fitted, klass), fitted)
