"""The lists that stages get in service: logged requests through retrieval for the ranker, and ranking for reranking."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Array, Batch, Mask
from pipeline.cascade import Cascade
from pipeline.logs.read import Log
from pipeline.stage import Stage
from pipeline.state import State
from ranking.dataset import latest_batches
from rerank.listwise import Shown
from rerank.rules import relevance
from rerank.stages import listed
from serving.assembly import Parts, cascades

MOST = 1_500  # requests that diversity is chosen on
_RANKED = ("rank", "listwise")  # the stages that say how relevant a candidate is


def ranked_lists(
    parts: Parts, log: Log, state: State, prepare: Sequence[Stage], share: float, most: int = MOST
) -> Iterator[tuple[str, Array, Array, Array]]:
    """Of at most `most` pages, evenly over the latest `share`: the cascade, and relevance, gains and items `[R, K]` as
    they reach what diversifies.

    A request's positive that is not among its candidates counts for nobody.
    """
    made = {name: _until(cascade, _RANKED) for name, cascade in cascades(parts, state).items()}
    for part in latest_batches(log, state, gains=state.gains, share=share, most=most, prepare=prepare):
        for name, rows in _by_cascade(part.batch):
            batch = made[name].run(_bare(part.batch.rows(rows))).batch
            yield name, relevance(batch), _gains(batch.item, part.batch.item[rows], part.grade[rows]), batch.item


def shown_lists(
    parts: Parts, log: Log, state: State, prepare: Sequence[Stage], share: float, most: int = MOST
) -> Iterator[Shown]:
    """At most `most` pages, evenly over the latest `share`, as they were shown, with what the ranker makes of them.

    Of a page with more items than the reranker looks at, the first.
    """
    cascade = _until(cascades(parts, state)["rank"], ("rank",))
    vectors, depth = parts.features.vectors(state.catalogue), parts.settings.rerank.listwise.depth
    for part in latest_batches(log, state, gains=state.gains, share=share, most=most, prepare=prepare):
        batch = cascade.run(Batch.of({**part.batch.requests, "given": part.batch.item[:, :depth]})).batch
        yield Shown(listed(batch, state.catalogue, vectors), part.grade[:, :depth], part.place[:, :depth])


def retrieved(parts: Parts, state: State, pages: Iterable[Batch]) -> Iterator[tuple[Batch, NDArray[np.int32]]]:
    """Prepared pages, those of a cascade at a time, with the candidates `[R, K]` that retrieval has for them then."""
    made = {name: _until(cascade, ("fuse",)) for name, cascade in cascades(parts, state).items()}
    for page in pages:
        for name, rows in _by_cascade(page):
            shown = page.rows(rows)
            yield shown, made[name].run(_bare(shown)).batch.item


def _by_cascade(shown: Batch) -> Iterator[tuple[str, Mask]]:
    """The name of the cascade that answers, and which requests `[R]` are its own."""
    asks_query = np.array([bool(query) for query in shown.request("normalised")])
    for name, rows in (("search", asks_query), ("recommend", ~asks_query)):
        if rows.any():
            yield name, rows


def _until(cascade: Cascade, last: Sequence[str]) -> Cascade:
    """The part of a cascade up to the last stage of these names; all of one that has none of them."""
    ends = [place for place, step in enumerate(cascade.steps, 1) if step.stage.name in last]
    return replace(cascade, steps=cascade.steps[: ends[-1]]) if ends else cascade


def _bare(shown: Batch) -> Batch:
    """The requests alone, without what was shown."""
    nothing = np.empty((shown.size, 0), dtype=np.int32)
    return Batch.of({**shown.requests, "given": nothing})


def _gains(item: NDArray[np.int32], shown: NDArray[np.int32], earned: Array) -> Array:
    """`[R, K]`: what each candidate earned where it was shown."""
    gains = np.zeros(item.shape)
    for place in np.flatnonzero((earned > 0).any(axis=0)):
        hit = (item == shown[:, place, None]) & (item >= 0)
        gains = np.where(hit, np.maximum(gains, earned[:, place, None]), gains)
    return gains
