"""What each plain feature says: the list docs/features.md is made of.

python -m pipeline.features.described > docs/features.md
"""

import sys
from typing import Final, NamedTuple

from pipeline.features.behaviour import HALF_LIVES, WINDOWS
from pipeline.features.declared_page import PAGE
from pipeline.features.plain import CLOCK_NAMES, EVERY


class Described(NamedTuple):
    """meaning: one sentence; unit; missing: when the value is nan, "" for never; source: what it is computed from."""

    meaning: str
    unit: str
    missing: str
    source: str


_COUNTS: Final = "counts of the item as of the tick"
_ROW: Final = "the item's latest row, from its first on"
_PAST: Final = "the subject's last 30 positive actions as of the request"
_UNDESCRIBED: Final = "before the item's first row"
_NO_QUERY: Final = "no query"
_NO_PAST: Final = "no positive action yet"
_PRICES: Final = "the price as of the request's time, and what training saw of its category's prices"
_WORDS: Final = "the query's terms and the item's words"
_SEED: Final = "the item of a `similar` request"
_RATE: Final = "rate, 0 to 1"
_LOG: Final = "log(1 + count)"


def _windows() -> dict[str, Described]:
    found = {}
    for name in WINDOWS:
        found[f"ctr_{name}"] = Described(f"clicks over showings of the last {name}, smoothed", _RATE, "", _COUNTS)
        found[f"log_shown_{name}"] = Described(f"showings of the last {name}", _LOG, "", _COUNTS)
        found[f"log_clicks_{name}"] = Described(f"clicks of the last {name}", _LOG, "", _COUNTS)
    for name in HALF_LIVES:
        how = f"halved each {name}, in steps at 6 h, 1 d, 3 d and 7 d"
        found[f"ctr_decayed_{name}"] = Described(f"clicks over showings, both {how}, smoothed", _RATE, "", _COUNTS)
        found[f"log_clicks_decayed_{name}"] = Described(f"clicks, {how}", _LOG, "", _COUNTS)
    return found


_ITEMS: Final = {
    "ctr": Described("clicks over showings, drawn to what is usual of the top category", _RATE, "", _COUNTS),
    "log_shown": Described("how often the item was shown", _LOG, "", _COUNTS),
    "log_positive": Described("positive actions on the item", _LOG, "", _COUNTS),
    "convert_rate": Described("purchases over clicks, smoothed", _RATE, "", _COUNTS),
    "cart_rate": Described("additions to the cart over clicks, smoothed", _RATE, "", _COUNTS),
    "hide_rate": Described("hides over showings, smoothed", _RATE, "", _COUNTS),
    "trend": Described("clicks of the last day over the daily mean of the last week", "log ratio", "", _COUNTS),
    "trend_6h": Described("clicks of the last 6 h over a quarter of the last day's", "log ratio", "", _COUNTS),
    "log_hours_known": Described("since the first event of the item", "log(1 + hours)", "no event yet", _COUNTS),
}
_DESCRIPTIONS: Final = {
    "has_text": Described("how many of title and text the item has", "0 to 2", _UNDESCRIBED, _ROW),
    "kind": Described("product, content, ad or another kind", "code 0 to 3", _UNDESCRIBED, _ROW),
    "sponsored": Described("whether the item is sponsored", "0 or 1", _UNDESCRIBED, _ROW),
    "log_price": Described("the price", "log of the currency's unit", "no price, or nothing to pay", _PRICES),
    "relative_price": Described("the price over the mean of its category", "log ratio", "no price or mean", _PRICES),
    "price_place": Described("share of its category's prices that are lower", "0 to 1", "no price or mean", _PRICES),
    "region_match": Described("whether the item's region is the request's", "0 or 1", "either is missing", _ROW),
    "log_age_hours": Described("since the item's first row", "log(1 + hours)", _UNDESCRIBED, _ROW),
    "seed_categories": Described("levels of category shared with the seed", "0 to 4", "no seed", _SEED),
    "seed_brand": Described("whether the brand is the seed's", "0 or 1", "no seed", _SEED),
    "seed_content": Described("likeness of the item vectors", "cosine", "no seed", _SEED),
}
_SHARE: Final = "share of the subject's positive actions, drawn to 0"
_AFFINITY: Final = "counts of the subject as of the tick"
_SUBJECT: Final = {
    **{
        f"taste_category_{level}": Described(
            f"{_SHARE}, in the item's category of level {level}", _RATE, "nobody, or no such level", _AFFINITY
        )
        for level in range(1, 5)
    },
    "taste_brand": Described(f"{_SHARE}, on the item's brand", _RATE, "nobody, or no brand", _AFFINITY),
    "log_actions": Described("positive actions of the subject", _LOG, "nobody", _AFFINITY),
    "past_likeness": Described(
        "likeness to the mean of the past, late actions weighing more", "cosine", _NO_PAST, _PAST
    ),
    "past_likeness_shrunk": Described("the same without its scale, drawn to 0", "dot product", _NO_PAST, _PAST),
    "last_likeness": Described("likeness to the last item acted on", "cosine", _NO_PAST, _PAST),
    "last_same_categories": Described("levels of category shared with that item", "0 to 4", _NO_PAST, _PAST),
    "times_before": Described("actions on this very item", "count", _NO_PAST, _PAST),
    "log_hours_since_last": Described("since the last action", "log(1 + hours)", _NO_PAST, _PAST),
    "usual_dearness": Described("mean of the past's `relative_price`, drawn to 0", "log ratio", _NO_PAST, _PAST),
    "dearness_distance": Described("from that to the item's `relative_price`", "log ratio", "no price or past", _PAST),
    "price_place_distance": Described(
        "from the past's mean `price_place` to the item's", "0 to 1", "no price or past", _PAST
    ),
    **{
        f"log_hours_since_{name}": Described(
            f"since the last action on the item's {said}", "log(1 + hours)", "never among the last 30", _PAST
        )
        for name, said in (("category_1", "top category"), ("category_2", "second category"), ("brand", "brand"))
    },
}
_MATCH: Final = {
    "title_bm25": Described("BM25 of the title", "score", _NO_QUERY, _WORDS),
    "text_bm25": Described("BM25 of text, brand, tags and category", "score", _NO_QUERY, _WORDS),
    "title_share": Described("share of the terms that are in the title", "0 to 1", _NO_QUERY, _WORDS),
    "title_idf_share": Described("the same, rare terms weighing more", "0 to 1", _NO_QUERY, _WORDS),
    "any_idf_share": Described("the same, of terms anywhere", "0 to 1", _NO_QUERY, _WORDS),
    "all_in_title": Described("whether all terms are in the title", "0 or 1", _NO_QUERY, _WORDS),
    "last_in_title": Described("whether the last term is", "0 or 1", _NO_QUERY, _WORDS),
    "numbers_in_title": Described("share of the query's numbers in the title", "0 to 1", "no number", _WORDS),
    "bigrams_in_title": Described(
        "share of neighbouring terms that stand so in the title", "0 to 1", "one term", _WORDS
    ),
    "title_covered": Described("share of the title's tokens that are asked for", "0 to 1", _NO_QUERY, _WORDS),
    "first_place": Described("where the first term found stands in the title", "0 to 1", "none is", _WORDS),
    "last_place": Described("where the last term stands", "0 to 1", "it does not", _WORDS),
    "close_share": Described("mean over terms of the likest token's shared letter pairs", "0 to 1", _NO_QUERY, _WORDS),
    "least_close": Described("the least of these", "0 to 1", _NO_QUERY, _WORDS),
    "letters_dice": Described("shared letter triples of query and title", "Dice, 0 to 1", _NO_QUERY, _WORDS),
    "letters_covered": Described("share of the query's triples in the title", "0 to 1", _NO_QUERY, _WORDS),
    "title_tokens": Described("length of the title", "tokens", _NO_QUERY, _WORDS),
}
_ON_PAGES: Final = "counts of the query and item as of the tick"
_REQUEST: Final = {
    "query_ctr": Described("clicks over showings for this query, drawn to `ctr`", _RATE, _NO_QUERY, _ON_PAGES),
    "query_log_shown": Described("showings for this query", _LOG, _NO_QUERY, _ON_PAGES),
    "query_log_positive": Described(
        "positive actions for this query, also those that name it and no page", _LOG, _NO_QUERY, _ON_PAGES
    ),
    "query_log_asked": Described(
        "how often the query was asked", _LOG, _NO_QUERY, "counts of the query as of the tick"
    ),
    "segment_log_positive": Described(
        "positive actions within the segment", _LOG, "no segment", "counts of segment and item"
    ),
    "segment_share": Described(
        "their share of all positive actions", _RATE, "no segment", "counts of segment and item"
    ),
    "surface": Described("search, recommend, similar or another", "code 0 to 3", "", "the request"),
    "query_terms": Described("length of the query", "terms", "", "the request"),
    "query_letters": Described("length of its terms", "letters", "", "the request"),
    "hour_of_day": Described("hour of the request, UTC", "0 to 23", "", "the request"),
    "day_of_week": Described("weekday of the request, Monday = 0, UTC", "0 to 6", "", "the request"),
}
DESCRIBED: Final = _ITEMS | _windows() | _DESCRIPTIONS | _SUBJECT | _MATCH | _REQUEST

_HEAD: Final = """# Features

Made by `python -m pipeline.features.described`; do not edit.

One function, `FeatureSet.values`, computes them for training, replay and service alike, in this order. Everything is
read as of the request: counts as of its tick, the subject's past and prices as of its time. A feature that cannot be
known is missing (nan); for an item without a row all that follows from descriptions is. Rates are smoothed by priors,
prices compared to those, that training froze in the bundle. Titles, categories and brands are those of an item's
latest row. Features marked * need clock time and are left out on a log whose clock is `order`.
"""


def page() -> str:
    """docs/features.md."""
    rows = ["| feature | meaning | unit | missing | from |", "| --- | --- | --- | --- | --- |"]
    for name in EVERY:
        about = DESCRIBED[name]
        mark = " *" if name in CLOCK_NAMES else ""
        rows.append(
            f"| `{name}`{mark} | {about.meaning} | {about.unit} | {about.missing or 'never'} | {about.source} |"
        )
    return "\n".join([_HEAD, *rows, PAGE])


if __name__ == "__main__":
    sys.stdout.write(page())
