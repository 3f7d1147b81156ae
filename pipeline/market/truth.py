"""What only the market knows: relevance, conversion, utility; and the files in which it says so.

    relevance = sigmoid(BASE + query part + taste part + APPEAL * appeal)   P(click | looked at), nothing similar near
    utility   = click * (1 + P(cart | click) + P(purchase | click))         expected grade of a looked-at item
                where click = (1 - click_noise) * relevance + click_noise * BLIND

The grades are those of the log (click 1, cart 2, purchase 3; a purchase goes through the cart), so the order by
utility is the best order for expected NDCG, when items do not compete.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.market.catalogue import NONE, PRICE_TASTE, TASTES, Ints
from pipeline.market.pool import NEAR_LEAF, Pool, matching
from pipeline.market.sessions import RECOMMEND, SEARCH, SURFACES, Market, Visits
from pipeline.market.shelf import Stock
from pipeline.market.world import Floats, World

BASE = -2.3
QUERY, SIMILARITY = 4.0, 2.0  # what a complete mismatch costs, on the logit
UNASKED = -0.4  # what it costs to recommend without having been asked
TASTE, APPEAL, FOCUS, FOREIGN = 1.5, 0.7, 0.8, 1.5
BLIND = 0.2  # chance of a click that ignores relevance
WORTH = 0.5  # how differently equally relevant items convert
PRICEY = 0.25  # how much less the dear items of a leaf convert
CARTED = 0.45  # P(purchase | cart)
_CELLS = 200_000  # (request, item) pairs judged at once: bounds memory


@dataclass(frozen=True, slots=True)
class Truth:
    """`[R, K]` over a pool: relevance, P(click | looked at, alone), P(purchase | click), utility."""

    relevance: Floats
    click: Floats
    purchase: Floats
    utility: Floats


def judge(market: Market, stock: Stock, visits: Visits, pool: Pool) -> Truth:
    """The truth about every candidate of a block of requests."""
    world, catalogue = market.world, market.catalogue
    taste = _taste(market, stock, visits, pool)
    logit = BASE + _asked(market, visits, pool) + TASTE * taste + APPEAL * stock.appeal[pool.items]
    relevance = 1.0 / (1.0 + np.exp(-logit))
    click = (1.0 - world.click_noise) * relevance + world.click_noise * BLIND
    dear = stock.vector[:, TASTES] / PRICE_TASTE
    worth = np.exp(WORTH * catalogue.worth - PRICEY * dear - (WORTH**2 + PRICEY**2) / 2) * ~catalogue.content
    purchase = np.minimum(world.convert_base * (0.25 + 2.5 * relevance) * worth[pool.items], 0.95 * CARTED)
    return Truth(relevance, click, purchase, click * (1.0 + purchase / CARTED + purchase))


def _asked(market: Market, visits: Visits, pool: Pool) -> Floats:
    """The part of the logit that the request explains: its query, its seed item, or nothing."""
    catalogue, intents = market.catalogue, market.intents
    searched = visits.surface == SEARCH
    wanted = (
        np.where(searched, intents.brand[visits.intent], catalogue.brand[visits.seed])[:, None],
        np.where(searched, intents.color[visits.intent], catalogue.color[visits.seed])[:, None],
        np.where(searched, intents.material[visits.intent], NONE)[:, None],
    )
    leaf = np.where(searched, intents.leaf[visits.intent], catalogue.leaf[visits.seed])[:, None]
    items = pool.items
    match = matching(catalogue.brand[items], catalogue.color[items], catalogue.material[items], wanted)
    own_leaf = catalogue.leaf[items] == leaf
    department = _departments(market)[leaf]
    near = np.where(catalogue.department[items] == department, NEAR_LEAF, 0.0)
    match = np.where(own_leaf, match, near * match)
    weight = np.array([QUERY, 0.0, SIMILARITY])[visits.surface][:, None] * market.world.query_strength
    unasked = np.where(visits.surface == RECOMMEND, UNASKED, 0.0)[:, None]
    asked: Floats = unasked - weight * (1.0 - match)
    return asked


def _departments(market: Market) -> NDArray[np.int64]:
    departments = np.zeros(market.catalogue.leaf.max() + 1, dtype=np.int64)
    departments[market.catalogue.leaf] = market.catalogue.department
    return departments


def _taste(market: Market, stock: Stock, visits: Visits, pool: Pool) -> Floats:
    """The part that depends on who asks: lasting taste, what the session looked at last, and the region."""
    catalogue, strength = market.catalogue, market.world.taste_strength
    taste: Floats = np.einsum("rd,rkd->rk", market.shoppers.taste[visits.who], stock.vector[pool.items])
    free = (visits.surface == RECOMMEND)[:, None]
    focused = free & (catalogue.leaf[pool.items] == visits.focus[:, None])
    region = catalogue.region[pool.items]
    foreign = (region != NONE) & (region != market.shoppers.region[visits.who][:, None])
    taste += strength * (FOCUS * focused - FOREIGN * foreign)
    return taste


def best_dcg(market: Market, stock: Stock, visits: Visits, depth: Ints) -> Floats:
    """`[R]`: utility DCG, linear gain over log2(1 + rank), of the best `depth` items there are at each request.

    What is sold out or has not come is left out. No policy shows better, unless a notice of the first was late.
    """
    catalogue = market.catalogue
    offered = np.flatnonzero(~stock.sold_out)
    most = int(depth.max(initial=1))
    discount = 1.0 / np.log2(np.arange(most) + 2.0)
    found = np.empty(len(visits))
    step = max(1, _CELLS // max(len(offered), 1))
    for start in range(0, len(visits), step):
        rows = slice(start, start + step)
        some = visits.take(rows)
        items = np.broadcast_to(offered, (len(some), len(offered)))
        here = catalogue.created[items] <= some.time[:, None]
        every = Pool(items, here, np.zeros(items.shape), np.full(len(some), len(offered)))
        utility = np.where(here, judge(market, stock, some, every).utility, 0.0)
        top = -np.sort(-utility, axis=1)[:, :most] * (np.arange(most) < depth[rows, None])
        found[rows] = top @ discount[: top.shape[1]]
    return found


def shown_dcg(truth: Truth, columns: Ints, depth: Ints) -> Floats:
    """`[R]`: the same of the first `depth` items shown. columns: of the pool `[R, S]`, `NONE` = nothing."""
    place = np.arange(columns.shape[1])
    utility = np.take_along_axis(truth.utility, np.maximum(columns, 0), axis=1)
    seen = (columns != NONE) & (place < depth[:, None])
    dcg: Floats = (utility * seen) @ (1.0 / np.log2(place + 2.0))
    return dcg


class TruthFiles:
    """Writes `relevance.parquet` and `utility.parquet` block by block. item_ids: of all items; there may come more."""

    def __init__(self, folder: Path, item_ids: Sequence[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.item_ids = np.array(item_ids, dtype=object)
        self._writers = {
            name: pq.ParquetWriter(folder / f"{name}.parquet", _schema(name), compression="zstd", store_schema=False)
            for name in ("relevance", "utility")
        }

    def add(self, request_ids: Sequence[str], pool: Pool, truth: Truth) -> None:
        """One block: a row for each valid candidate."""
        rows, _ = np.nonzero(pool.valid)
        items = pool.items[pool.valid]
        present = np.zeros(len(self.item_ids), dtype=bool)
        present[items] = True
        dense = (np.cumsum(present) - 1)[items].astype(np.int32)
        requests = pa.DictionaryArray.from_arrays(rows.astype(np.int32), pa.array(request_ids, pa.string()))
        item = pa.DictionaryArray.from_arrays(dense, pa.array(self.item_ids[present], pa.string()))
        for name, values in (("relevance", truth.relevance), ("utility", truth.utility)):
            column = pa.array(np.round(values[pool.valid], 5).astype(np.float32))
            self._writers[name].write_table(pa.Table.from_arrays([requests, item, column], schema=_schema(name)))

    def close(self) -> None:
        """Finish the files."""
        for writer in self._writers.values():
            writer.close()


class WorthFile:
    """Writes `worth.parquet` {request_id, explored, dcg, best}: what was shown, in utility DCG, and for some requests
    what the best page would have been."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "worth.parquet"
        self._parts: list[pl.DataFrame] = []

    def add(self, request_ids: pl.Series, explored: NDArray[np.bool_], dcg: Floats, best: Floats) -> None:
        """One block; best: NaN where it is not known."""
        columns = {"request_id": request_ids, "explored": explored, "dcg": dcg, "best": pl.Series(best).fill_nan(None)}
        self._parts.append(pl.DataFrame(columns))

    def close(self) -> None:
        """Write the file."""
        pl.concat(self._parts).write_parquet(self._path)


def write_examination(folder: Path, world: World) -> None:
    """`examination.parquet` {surface, position, p}, for the positions of two pages."""
    positions = np.arange(2 * world.page_size)
    frames = [
        pl.DataFrame({"surface": surface, "position": positions.astype(np.int32), "p": world.examine(positions)})
        for surface in SURFACES
    ]
    pl.concat(frames).write_parquet(folder / "examination.parquet")


def _schema(name: str) -> pa.Schema:
    text = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([("request_id", text), ("item_id", text), (name, pa.float32())])
