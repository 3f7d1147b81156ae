"""Is the reranker better than leaving the list as it is? Judged on later pages than it learned from.

What was earned at a place counts over how often the place is looked at (inverse propensity scoring; Joachims et al.,
WSDM 2017), in DCG@10 that is not normalised: a request's own ideal would weigh places again. A gain was earned in the
company of the page as shown, so the order that is judged first is the one the reranker gives in that very company; the
order it would show is asked only to do no harm, since clicks of another order cannot praise it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.ranking import dcg
from rerank.context import above_as_placed
from rerank.listwise import Listwise, Shown, examined

CUT = 10
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Corrected DCG@10 a page: identity, and by how much the reranker is ahead of it, as shown and as it would show;
    each difference with its standard error."""

    identity: float
    shown: tuple[float, float]
    ranked: tuple[float, float]
    pages: int

    def passes(self, errors: float) -> bool:
        """Ahead as shown by more than `errors` standard errors, and behind as ranked by no more than one."""
        return self.shown[0] > errors * self.shown[1] and self.ranked[0] >= -self.ranked[1]

    @property
    def metrics(self) -> dict[str, float]:
        return {
            "gate_pages": float(self.pages),
            "gate_identity": self.identity,
            "gate_shown": self.shown[0],
            "gate_shown_error": self.shown[1],
            "gate_ranked": self.ranked[0],
            "gate_ranked_error": self.ranked[1],
        }


def judge(model: Listwise, pages: Sequence[Shown], ratios: Floats) -> Verdict:
    """ratios: examination of each place over the first's, empty where it is not known."""
    identity, shown, ranked = [np.empty(0)], [np.empty(0)], [np.empty(0)]
    for page in pages:
        lists, mask = page.lists, page.lists.mask
        gains = np.where(mask, page.gains / examined(ratios, page.place), 0.0)
        plain = dcg(gains, lists.merit, mask, CUT)
        values = model.values(lists, above_as_placed(page.place, model.about.company))
        identity.append(plain)
        shown.append(dcg(gains, values, mask, CUT) - plain)
        ranked.append(_in_order(gains, model.order(lists)) - plain)
    base = np.concatenate(identity)
    mean = float(base.mean()) if len(base) else 0.0
    return Verdict(mean, mean_and_error(np.concatenate(shown)), mean_and_error(np.concatenate(ranked)), len(base))


def mean_and_error(values: Floats) -> tuple[float, float]:
    """The mean and its standard error; (0, 0) of nothing."""
    if not len(values):
        return 0.0, 0.0
    return float(values.mean()), float(values.std() / np.sqrt(len(values)))


def _in_order(gains: Floats, order: NDArray[np.intp]) -> Floats:
    """DCG@10 `[R]` of gains `[R, K]` in an order of places, -1 = none."""
    ranked = np.take_along_axis(gains, np.maximum(order, 0), axis=1)
    return dcg(ranked, -np.broadcast_to(np.arange(order.shape[1]), order.shape), order >= 0, CUT)
