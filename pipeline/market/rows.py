"""The market's arrays as event rows: items, users, impressions, feedback."""

import json
from collections.abc import Sequence

import numpy as np
import polars as pl

from pipeline.market.catalogue import NONE, REGIONS, Catalogue, Ints
from pipeline.market.clicks import ACTIONS, CLICK, PURCHASE, Deeds, Pages
from pipeline.market.queries import Intents
from pipeline.market.sessions import SEARCH, SIMILAR, SURFACES, Market, Visits
from pipeline.market.shelf import Stock
from pipeline.market.shoppers import AGES, DEVICES, Shoppers
from pipeline.market.vocabulary import Vocabulary
from pipeline.market.world import DAY, START, World

CURRENCY = "EUR"
SEASONS = ("all-year", "summer", "winter", "gift")

# column -> whether it is text to be quoted.
ITEM = {
    "item_id": True, "kind": True, "title": True, "text": True, "category": False, "brand": True, "price": False,
    "currency": True, "region": True, "tags": False, "attributes": False, "available": False,
}  # fmt: skip
USER = {"user_id": True, "attributes": False}
IMPRESSION = {
    "request_id": True, "surface": True, "user_id": True, "session_id": True, "query": True, "context": False,
    "items": False, "order": True, "page": False, "bundle": True, "explored": False,
}  # fmt: skip
FEEDBACK = {
    "user_id": True, "session_id": True, "item_id": True, "action": True, "request_id": True, "value": False,
    "quantity": False, "dwell_ms": False,
}  # fmt: skip


def ids(letter: str, numbers: Ints, width: int) -> pl.Series:
    """Names such as `i0000042`."""
    return letter + pl.Series(numbers).cast(pl.String()).str.zfill(width)


def item_ids(numbers: Ints) -> pl.Series:
    """Names of items."""
    return ids("i", numbers, 7)


def item_numbers(names: pl.Series) -> Ints:
    """The items of these names; `NONE` for a name that is no item's."""
    numbers = names.str.extract(r"^i(\d{7,})$").cast(pl.Int64, strict=False)
    return numbers.fill_null(NONE).to_numpy()


def user_ids(numbers: Ints) -> pl.Series:
    """Names of accounts."""
    return ids("u", numbers, 7)


def session_ids(numbers: Ints) -> pl.Series:
    """Names of sessions."""
    return ids("s", numbers, 8)


def item_rows(words: Vocabulary, catalogue: Catalogue, stock: Stock, which: Ints, time: Ints) -> pl.DataFrame:
    """One row for each of the items `which`, as it stands at `time`."""
    leaf = catalogue.leaf[which]
    product = pl.Series(~catalogue.content[which])
    noun = _words([name for entry in words.leaves for name in entry.nouns], 2 * leaf + catalogue.noun[which])
    department = [words.departments[entry.department] for entry in words.leaves]
    adjective = _words(_table([part.adjectives for part in department], 7), 7 * leaf + catalogue.adjective[which])
    use = _words(_table([part.uses for part in department], 3), 3 * leaf + catalogue.size[which] % 3)
    size = _words(_table([entry.sizes for entry in words.leaves], 11), 11 * leaf + catalogue.size[which] % 11)
    rating = np.clip(np.round(3.9 + 0.5 * catalogue.worth[which], 1), 1.0, 5.0)
    frame = pl.DataFrame(
        {
            "event_id": item_ids(which) + "-" + pl.Series((time - START) // DAY).cast(pl.String()),
            "time": time,
            "item_id": item_ids(which),
            "product": product,
            "category": _words([json.dumps(entry.path, separators=(",", ":")) for entry in words.leaves], leaf),
            "brand": _words(words.brands, catalogue.brand[which]),
            "region": _words(REGIONS, catalogue.region[which]),
            "price": stock.price[which],
            "available": ~stock.sold_out[which],
            "noun": noun,
            "adjective": adjective,
            "use": use,
            "size": size,
            "color": _words(words.colors, catalogue.color[which]),
            "material": _words(words.materials, catalogue.material[which]),
            "season": _words(SEASONS, catalogue.size[which] % len(SEASONS)),
            "rating": rating,
        }
    )
    return _written(frame)


def _written(frame: pl.DataFrame) -> pl.DataFrame:
    """Title, text, tags and attributes out of an item's words; content has neither brand nor price."""
    product = pl.col("product")
    return frame.with_columns(
        kind=pl.when(product).then(pl.lit("product")).otherwise(pl.lit("content")),
        title=pl.when(product)
        .then(pl.concat_str("brand", "adjective", "material", "noun", "color", separator=" ", ignore_nulls=True))
        .otherwise(pl.format("How to choose a {} {}", "adjective", "noun")),
        text=pl.when(product)
        .then(pl.format("A {} {} in {} {}, {}.", "adjective", "noun", "color", "material", "use"))
        .otherwise(pl.format("What to look for in a {}, and which one is {}.", "noun", "use")),
        price=pl.when(product).then("price"),
        currency=pl.when(product).then(pl.lit(CURRENCY)),
        tags=pl.format('["{}","{}"]', "adjective", "season"),
        attributes=pl.when(product)
        .then(
            pl.concat_str(
                pl.lit('{"color":"'), "color", pl.lit('","material":"'), "material", pl.lit('","size":"'), "size",
                pl.lit('","rating":'), pl.col("rating").cast(pl.String()), pl.lit("}"),
            )
        )
        .otherwise(pl.lit("{}")),
    )  # fmt: skip


def user_rows(words: Vocabulary, shoppers: Shoppers, which: Ints) -> pl.DataFrame:
    """The accounts `which`, as they were opened."""
    return pl.DataFrame(
        {
            "event_id": user_ids(which) + "-0",
            "time": shoppers.joined[which],
            "user_id": user_ids(which),
            "age": _words(AGES, shoppers.age[which]),
            "segment": _words(list(words.segments), shoppers.segment[which]),
            "region": _words(REGIONS, shoppers.region[which]),
        }
    ).with_columns(attributes=pl.format('{{"age":"{}","segment":"{}","region":"{}"}}', "age", "segment", "region"))


def subject_columns(visits: Visits) -> dict[str, pl.Series]:
    """`user_id` (null without an account) and `session_id` of each request."""
    known = pl.Series(~visits.anonymous)
    return {
        "user_id": user_ids(visits.who).zip_with(known, pl.Series([None] * len(visits), dtype=pl.String())),
        "session_id": session_ids(visits.number),
    }


def request_rows(market: Market, visits: Visits, request_ids: pl.Series) -> pl.DataFrame:
    """What the log says of each request, whatever is shown: who asks, when, for what."""
    return pl.DataFrame(
        {
            "request_id": request_ids,
            "time": visits.time,
            "surface": _words(SURFACES, visits.surface),
            **subject_columns(visits),
            "query": _queries(market.intents, visits),
            "device": _words(DEVICES, visits.device),
            "region": _words(REGIONS, market.shoppers.region[visits.who]),
            "seed": item_ids(visits.seed).zip_with(
                pl.Series(visits.surface == SIMILAR), pl.Series([None] * len(visits), dtype=pl.String())
            ),
        }
    ).with_columns(
        context=pl.concat_str(
            pl.format('{{"device":"{}","region":"{}"', "device", "region"),
            pl.format(',"item_id":"{}"', "seed"),
            pl.lit("}"),
            ignore_nulls=True,
        )
    )


def impression_rows(
    market: Market, visits: Visits, request_ids: pl.Series, pages: Pages, bundle: str | None = None
) -> pl.DataFrame:
    """One row a page, its shown items as JSON text. bundle: who ordered them, where it is not the shop itself."""
    request = pages.request
    owner = visits.take(request)
    shown, _ = np.nonzero(pages.present)
    items = (
        pl.DataFrame(
            {
                "page": shown,
                "item_id": item_ids(pages.item[pages.present]),
                "position": pages.position[pages.present],
                "propensity": pages.propensity[pages.present],
                "marginal": pl.Series(pages.marginal[pages.present]).fill_nan(None),
            }
        )
        .select("page", entry=_shown())
        .group_by("page", maintain_order=True)
        .agg(pl.col("entry").str.join(","))["entry"]
    )
    return request_rows(market, owner, request_ids.gather(request)).with_columns(
        event_id=pl.col("request_id") + ":" + pl.Series(pages.number).cast(pl.String()),
        time=pl.Series(pages.time),
        items="[" + items + "]",
        order=pl.lit("shown"),
        page=pl.Series(pages.number),
        bundle=pl.lit(bundle, pl.String()),
        explored=pl.Series(owner.explored),
    )


def feedback_rows(
    world: World, stock: Stock, visits: Visits, request_ids: pl.Series, pages: Pages, *, deeds: Deeds, first: int,
    rng: np.random.Generator,
) -> pl.DataFrame:  # fmt: skip
    """One row an action; events are numbered from `first` on. A share has lost its request."""
    request = pages.request[deeds.page]
    owner = visits.take(request)
    item = pages.item[deeds.page, deeds.place]
    known = subject_columns(owner)
    lost = pl.Series(rng.random(len(request)) < world.unattributed)
    bought, clicked = pl.Series(deeds.action == PURCHASE), pl.Series(deeds.action == CLICK)
    quantity = np.minimum(rng.geometric(0.85, len(request)), 5)
    value = np.round(stock.price[item] * 100).astype(np.int64) * quantity
    return pl.DataFrame(
        {
            "event_id": ids("f", first + np.arange(len(request)), 9),
            "time": deeds.time,
            "user_id": known["user_id"],
            "session_id": known["session_id"].zip_with(
                known["user_id"].is_null(), pl.Series([None] * len(request), dtype=pl.String())
            ),
            "item_id": item_ids(item),
            "action": _words(ACTIONS, deeds.action),
            "request_id": request_ids.gather(request),
            "value": value,
            "quantity": quantity,
            "dwell_ms": deeds.dwell,
        }
    ).with_columns(
        request_id=pl.when(~lost).then("request_id"),
        value=pl.when(bought).then("value"),
        quantity=pl.when(bought).then("quantity"),
        dwell_ms=pl.when(clicked).then("dwell_ms"),
    )


def _shown() -> pl.Expr:
    return pl.concat_str(
        pl.lit('{"item_id":"') + pl.col("item_id") + pl.lit('"'),
        pl.lit(',"position":') + pl.col("position").cast(pl.String()),
        pl.lit(',"propensity":') + pl.col("propensity").cast(pl.String()),
        pl.lit(',"marginal":') + pl.col("marginal").cast(pl.String()),
        pl.lit("}"),
        ignore_nulls=True,
    )


def _queries(intents: Intents, visits: Visits) -> pl.Series:
    width = len(intents.texts[0])
    texts = [text for row in intents.texts for text in row]
    return _words(texts, np.where(visits.surface == SEARCH, visits.intent * width + visits.typo, NONE))


def _words(words: Sequence[str], which: Ints) -> pl.Series:
    """The chosen words; `NONE` gives null."""
    chosen = pl.Series([*words, None], dtype=pl.String())
    return chosen.gather(np.where(which < 0, len(words), which))


def _table(rows: Sequence[tuple[str, ...]], width: int) -> list[str]:
    return [row[i % len(row)] for row in rows for i in range(width)]
