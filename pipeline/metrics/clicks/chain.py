"""Models in which a page is looked at from the top, item after item, until the reader stops.

    clicked if looked at with attractiveness a[pair]; satisfied by a click with s[pair], and then stops;
    not satisfied, goes on to the next item with the perseverance, the same everywhere

The dynamic Bayesian network (Chapelle and Zhang, WWW 2009) is the model as it stands; its simplified form has
perseverance 1; the cascade model (Craswell et al., WSDM 2008) has perseverance 1 and satisfaction 1. Here: what such a
model says of pages. Letters: R requests, P positions; tables `[R, P]`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.metrics.clicks.arrays import mean_by, moments, shrunk
from pipeline.metrics.clicks.pages import Floats, Ints, Mask, ShownPages


@dataclass(frozen=True, slots=True)
class ChainModel:
    """attract, satisfy: `[pairs]`; persevere: P(goes on); trace: log-posterior before each iteration of EM, if any."""

    attract: Floats
    satisfy: Floats
    persevere: float
    trace: tuple[float, ...] = ()

    def examination(self, pages: ShownPages) -> Floats:
        """Mean P(looked at) of each position over the pages that show it; that of the first is 1, `[P]`."""
        looked = self._looked(pages)[pages.request, pages.position]
        mean = mean_by(pages.position, looked, pages.places)
        return np.asarray(mean / mean[0])

    def marginal(self, pages: ShownPages) -> Floats:
        """P(click), `[n]`, whatever happened above."""
        return self._looked(pages)[pages.request, pages.position] * self.attract[pages.pair]

    def conditional(self, pages: ShownPages) -> Floats:
        """P(click | the clicks above), `[n]`."""
        click = pages.table(pages.clicked, fill=False)
        chance = np.zeros(click.shape)
        looked = np.ones(len(click))
        for place, attract, satisfy, shown in self._down(pages):
            chance[:, place] = looked * attract
            skipped = looked * (1.0 - attract) / np.maximum(1.0 - looked * attract, 1e-12)
            left = np.where(click[:, place], 1.0 - satisfy, skipped) * self.persevere
            looked = np.where(shown, left, looked)
        return chance[pages.request, pages.position]

    def _looked(self, pages: ShownPages) -> Floats:
        looked = np.ones((int(pages.request.max(initial=-1)) + 1, pages.places + 1))
        for place, attract, satisfy, shown in self._down(pages):
            left = np.where(shown, (1.0 - attract * satisfy) * self.persevere, 1.0)
            looked[:, place + 1] = looked[:, place] * left
        return looked

    def _down(self, pages: ShownPages) -> Iterator[tuple[int, Floats, Floats, Mask]]:
        """Of each position: attractiveness, satisfaction and whether something was shown, `[R]`."""
        pair = pages.table(pages.pair, -1)
        for place in range(pair.shape[1]):
            yield place, self.attract[pair[:, place]], self.satisfy[pair[:, place]], pair[:, place] >= 0


def fit_cascade(pages: ShownPages, seed: int = 0, before: ChainModel | None = None) -> ChainModel:  # noqa: ARG001
    """Cascade model, in closed form: all up to the first click was looked at; later clicks are no part of the model."""
    click = np.where(pages.clicked, pages.position, pages.places)
    first = np.full(int(pages.request.max(initial=-1)) + 1, pages.places)
    np.minimum.at(first, pages.request, click)
    seen = pages.position <= first[pages.request]
    attract, _ = rates(pages.pair[seen], pages.clicked[seen], pages.pairs)
    return ChainModel(attract, np.ones(pages.pairs), 1.0)


def fit_simplified(pages: ShownPages, seed: int = 0, before: ChainModel | None = None) -> ChainModel:  # noqa: ARG001
    """Dynamic Bayesian network with perseverance 1, in closed form (algorithm 1 of the paper): all up to the last click
    was looked at, everything where there is none; satisfied by the last click."""
    last = last_click(pages)[pages.request]
    seen = (pages.position <= last) | (last < 0)
    attract, _ = rates(pages.pair[seen], pages.clicked[seen], pages.pairs)
    hit = pages.clicked
    satisfy, _ = rates(pages.pair[hit], pages.position[hit] == last[hit], pages.pairs)
    return ChainModel(attract, satisfy, 1.0)


def last_click(pages: ShownPages) -> Ints:
    """Position of the last click of each request, `[R]`; -1 where there is none."""
    last = np.full(int(pages.request.max(initial=-1)) + 1, -1)
    np.maximum.at(last, pages.request[pages.clicked], pages.position[pages.clicked])
    return last


def rates(pair: Ints, hit: Mask, pairs: int) -> tuple[Floats, tuple[float, float]]:
    """Share of hits of each pair, `[pairs]`, drawn to the mean by a Beta of fitted strength; mean and strength."""
    shown, hits = np.bincount(pair, minlength=pairs), np.bincount(pair, weights=hit, minlength=pairs)
    prior = moments(hits, shown)
    return shrunk(hits, shown, *prior), prior
