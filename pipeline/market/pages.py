"""From slates to the pages that were asked for, and what of their consequences the log still sees."""

import numpy as np

from pipeline.market.catalogue import Ints
from pipeline.market.clicks import Deeds, Pages
from pipeline.market.policy import Slate
from pipeline.market.pool import Pool
from pipeline.market.sessions import Visits
from pipeline.market.truth import Truth
from pipeline.market.world import World


def lay_out(
    world: World, visits: Visits, pool: Pool, slate: Slate, columns: Ints, truth: Truth, *, rng: np.random.Generator
) -> Pages:
    """Cut the slates into the pages that were asked for. columns: of the pool, for each item of a slate."""
    size = world.page_size
    second = np.flatnonzero(visits.pages == 2)
    request = np.concatenate([np.arange(len(visits)), second])
    number = np.repeat([0, 1], [len(visits), len(second)])

    pause = np.concatenate([np.zeros(len(visits), dtype=np.int64), rng.integers(15_000, 60_000, len(second))])
    position = number[:, None] * size + np.arange(size)
    column = columns[request[:, None], position]
    present = column >= 0
    filled = present.any(axis=1)
    request, number, position, column, present = (part[filled] for part in (request, number, position, column, present))
    at = (request[:, None], np.maximum(column, 0))
    return Pages(
        request=request,
        number=number,
        time=visits.time[request] + pause[filled],
        item=pool.items[at],
        present=present,
        position=position,
        propensity=slate.propensity[request[:, None], position],
        marginal=slate.marginal[request[:, None], position],
        relevance=truth.relevance[at],
        click=truth.click[at],
        purchase=truth.purchase[at],
    )


def before(end: int, deeds: Deeds) -> Deeds:
    """Only what happens before the log ends."""
    kept = deeds.time < end
    return Deeds(deeds.page[kept], deeds.place[kept], deeds.action[kept], deeds.time[kept], deeds.dwell[kept])
