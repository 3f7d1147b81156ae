"""From a log to an index of suggestions."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from pipeline.batch import Mask
from pipeline.catalogue import Catalogue
from pipeline.features.text import normalise
from pipeline.logs.read import Log
from query_suggest.config import SuggestConfig
from query_suggest.index import SuggestIndex, build_index
from query_suggest.mine import mine, searches
from query_suggest.spelling import Speller, build_speller

HasResults = Callable[[list[str]], Mask]


def train(
    log: Log,
    config: SuggestConfig,
    *,
    cutoff: int,
    catalogue: Catalogue | None = None,
    has_results: HasResults | None = None,
) -> SuggestIndex | None:
    """The index of what was searched before `cutoff` (ms), or None when nothing was.

    has_results: normalised queries -> which of them find something; the others are not suggested. Publish with
    `publish(into, draft, index.save)`. Metrics: queries kept, and how many were dropped for what.
    """
    rows = searches(log, cutoff)
    return None if not len(rows) else suggest_index(rows, config, cutoff, catalogue, has_results)


def suggest_index(
    rows: pl.DataFrame,
    config: SuggestConfig,
    cutoff: int,
    catalogue: Catalogue | None = None,
    has_results: HasResults | None = None,
) -> SuggestIndex:
    """As `train`, from searches (`query_suggest.mine.searches`)."""
    table, metrics = mine(rows, config, cutoff)
    speller = train_speller(table, config, catalogue)
    spelled = _spelled(table, speller)
    found = spelled if has_results is None else spelled.filter(_mask(has_results, spelled["query"].to_list()))
    metrics |= {
        "dropped_misspelt": float(len(table) - len(spelled)),
        "dropped_no_results": float(len(spelled) - len(found)),
        "queries": float(len(found)),
    }
    return build_index(found, speller, metrics)


def train_speller(table: pl.DataFrame, config: SuggestConfig, catalogue: Catalogue | None = None) -> Speller:
    """Words of the catalogue's titles and brands by number of items, and of the mined queries by people."""
    typed: Counter[str] = Counter()
    for query, subjects in table.select("query", "subjects").iter_rows():
        for word in query.split():
            typed[word] += subjects
    written = Counter[str]() if catalogue is None else _written(catalogue)
    return build_speller(
        written, typed, min_word=config.min_word, dominance=config.dominance, max_words=config.max_words
    )


def _written(catalogue: Catalogue) -> Counter[str]:
    texts: Sequence[str | None] = [*catalogue.rows["title"], *catalogue.rows["brand"]]
    counts: Counter[str] = Counter()
    for text in texts:
        if text:
            counts.update({word.strip(".,;:!?()[]\"'") for word in normalise(text).split()})
    return counts


def _spelled(table: pl.DataFrame, speller: Speller) -> pl.DataFrame:
    """Without the queries that the speller turns into another one of them: that one is suggested instead."""
    subjects: Mapping[str, int] = dict(table.select("query", "subjects").iter_rows())
    right = [speller.correct(query) not in subjects for query in subjects]
    return table.filter(pl.Series(right, dtype=pl.Boolean))


def _mask(has_results: HasResults, queries: list[str]) -> pl.Series:
    return pl.Series(np.asarray(has_results(queries), dtype=np.bool_), dtype=pl.Boolean)
