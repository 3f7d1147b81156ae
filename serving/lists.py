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
from serving.assembly import Parts, cascades

MOST = 1_000  # requests: enough to see half a percent of NDCG on lists of hundreds


def ranked_lists(
    parts: Parts, log: Log, state: State, prepare: Sequence[Stage], share: float
) -> Iterator[tuple[str, Array, Array, Array]]:
    """Of the latest `share` of the pages, at most MOST: the cascade, and scores, gains and items `[R, K]`
    as they reach rerank.

    A request's positive that is not among its candidates counts for nobody.
    """
    pages = log.scan("impression").select("request_id").collect().height
    latest = min(share, MOST / max(pages, 1))
    made = cascades(parts, state)
    for shown, earned in latest_batches(log, state, gains=state.gains, share=latest, prepare=prepare):
        for name, rows in _by_cascade(shown):
            batch = _ranked(made[name], _bare(shown.rows(rows)))
            yield name, batch["score"], _gains(batch.item, shown.item[rows], earned[rows]), batch.item


def retrieved(parts: Parts, state: State, pages: Iterable[Batch]) -> Iterator[tuple[Batch, NDArray[np.int32]]]:
    """Prepared pages, those of a cascade at a time, with the candidates `[R, K]` that retrieval has for them then."""
    made = {name: _until_fused(cascade) for name, cascade in cascades(parts, state).items()}
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


def _until_fused(cascade: Cascade) -> Cascade:
    """The part of a cascade that finds candidates."""
    stages = [step.stage.name for step in cascade.steps]
    return replace(cascade, steps=cascade.steps[: stages.index("fuse") + 1] if "fuse" in stages else cascade.steps)


def _bare(shown: Batch) -> Batch:
    """The requests alone, without what was shown."""
    nothing = np.empty((shown.size, 0), dtype=np.int32)
    return Batch.of({**shown.requests, "given": nothing})


def _ranked(cascade: Cascade, batch: Batch) -> Batch:
    """The batch as the stage `rank` leaves it."""
    left: list[Batch] = []
    cascade.run(batch, observe=lambda stage, _, after: left.append(after) if "p_click" in stage.writes else None)
    return left[0]


def _gains(item: NDArray[np.int32], shown: NDArray[np.int32], earned: Array) -> Array:
    """`[R, K]`: what each candidate earned where it was shown."""
    gains = np.zeros(item.shape)
    for place in np.flatnonzero((earned > 0).any(axis=0)):
        hit = (item == shown[:, place, None]) & (item >= 0)
        gains = np.where(hit, np.maximum(gains, earned[:, place, None]), gains)
    return gains
