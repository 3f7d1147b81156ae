"""How well a model foretells pages it was not fitted to, so that one can be chosen."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.metrics.clicks.arrays import mean_by
from pipeline.metrics.clicks.pages import Floats, Mask, ShownPages

SURE = 1e-6


class ClickModel(Protocol):
    """What every click model says of pages."""

    def examination(self, pages: ShownPages) -> Floats:
        """P(looked at) of each position over that of the first, `[P]`."""

    def conditional(self, pages: ShownPages) -> Floats:
        """P(click | the clicks above), `[n]`."""

    def marginal(self, pages: ShownPages) -> Floats:
        """P(click), `[n]`."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """log_likelihood: mean of a shown item, given the clicks above it; perplexity: of a click unseen above, over all
    positions (mean of `by_position`, `[P]`), 1 at best, 2 for a coin; n: shown items."""

    log_likelihood: float
    perplexity: float
    by_position: Floats
    n: int


def judge(model: ClickModel, pages: ShownPages) -> Verdict:
    """Log-likelihood, and perplexity 2 ** -mean log2 P(what happened) by position (Dupret and Piwowarski 2008).

    Chances are kept between 1e-6 and 1 - 1e-6: the cascade model calls a second click impossible.
    """
    likely = _log(model.conditional(pages), pages.clicked)
    each = mean_by(pages.position, _log(model.marginal(pages), pages.clicked), pages.places)
    by_position = np.exp(-each)
    return Verdict(float(likely.mean()), float(np.nanmean(by_position)), by_position, len(pages))


def _log(chance: Floats, clicked: Mask) -> Floats:
    chance = np.clip(chance, SURE, 1.0 - SURE)
    return np.log(np.where(clicked, chance, 1.0 - chance))


def held_out(pages: ShownPages, share: float, seed: int) -> tuple[ShownPages, ShownPages]:
    """Two parts by request: what to fit to, and `share` of the requests to judge by."""
    requests = int(pages.request.max(initial=-1)) + 1
    kept = np.random.default_rng(seed).random(requests) >= share
    return pages.take(kept[pages.request]), pages.take(~kept[pages.request])
