"""User-browsing model: examination depends on the position and on where the last click above was.

P(click) = theta[position, last click] * gamma[pair] (Dupret and Piwowarski, SIGIR 2008), fitted by the EM of `em` with
a cell for each position and last click. The position-based model is the case in which the last click does not matter.
Letters: R requests, P positions; tables `[R, P]` by position, -1 or False where nothing was shown.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.metrics.clicks.arrays import mean_by
from pipeline.metrics.clicks.pages import Floats, Ints, ShownPages
from pipeline.metrics.clicks.position import PositionModel, fit_cells


@dataclass(frozen=True, slots=True)
class BrowsingModel:
    """cells: the model over the cells; places: P."""

    cells: PositionModel
    places: int

    @property
    def theta(self) -> Floats:
        """`[P, P]` at (position, last): last 0 is no click above, j a click at position j - 1 as the last one."""
        table = np.zeros((self.places, self.places))
        table[np.tril_indices(self.places)] = self.cells.theta
        return table

    def examination(self, pages: ShownPages) -> Floats:
        """Mean P(looked at) of each position over the pages that show it, over that of the first, `[P]`."""
        looked = self._walk(pages)[0]
        mean = mean_by(pages.position, looked[pages.request, pages.position], self.places)
        return np.asarray(mean / mean[0])

    def conditional(self, pages: ShownPages) -> Floats:
        """P(click | the clicks above), `[n]`."""
        chance = self.cells.theta[browsing_cells(pages)] * self.cells.gamma[pages.pair]
        return np.minimum(chance, 1.0)

    def marginal(self, pages: ShownPages) -> Floats:
        """P(click), `[n]`, whatever happened above."""
        return self._walk(pages)[1][pages.request, pages.position]

    def _walk(self, pages: ShownPages) -> tuple[Floats, Floats]:
        """P(looked at) and P(click) `[R, P]`, down the page over all ways in which the last click may lie above."""
        gamma = pages.table(self.cells.gamma[pages.pair], 0.0)
        last = np.zeros((len(gamma), self.places + 1))
        last[:, 0] = 1.0
        theta, looked, clicked = self.theta, np.zeros(gamma.shape), np.zeros(gamma.shape)
        for place in range(gamma.shape[1]):
            ways = last[:, : place + 1] * theta[place, : place + 1]
            click = np.minimum(ways * gamma[:, place, None], last[:, : place + 1])
            looked[:, place], clicked[:, place] = ways.sum(axis=1), click.sum(axis=1)
            last[:, : place + 1] -= click
            last[:, place + 1] = clicked[:, place]
        return looked, clicked


def browsing_cells(pages: ShownPages) -> Ints:
    """Cell of each row, `[n]`: the lower triangle of (position, last click above + 1) row by row."""
    clicks = pages.table(pages.clicked, fill=False)
    above = np.where(clicks, np.arange(1, clicks.shape[1] + 1), 0)
    last = np.maximum.accumulate(above, axis=1)
    last = np.concatenate([np.zeros((len(last), 1), dtype=np.int64), last[:, :-1]], axis=1)
    return pages.position * (pages.position + 1) // 2 + last[pages.request, pages.position]


def fit_browsing(pages: ShownPages, seed: int, before: BrowsingModel | None = None) -> BrowsingModel:
    """From a random start, or from where another fit ended."""
    places = pages.places
    start = None if before is None else before.cells
    cells = fit_cells(pages, browsing_cells(pages), places * (places + 1) // 2, seed, start)
    return BrowsingModel(cells, places)
