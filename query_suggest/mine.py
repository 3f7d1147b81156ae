"""Which queries people type, how often and how lately, from a log.

A person counts once a day for a query, and a query needs several people, so that neither a secret nor a robot's
favourite is ever suggested.
"""

import polars as pl

from pipeline.features.text import normalise, tidy
from pipeline.logs.events import subject
from pipeline.logs.read import Log
from pipeline.logs.searches import searches_of, told_searches
from query_suggest.config import SuggestConfig
from query_suggest.safety import BlockList, personal

DAY_MS = 86_400_000
SEARCH = "search"


def searches(log: Log, cutoff: int) -> pl.DataFrame:
    """What was searched before `cutoff` (ms): {time, subject, query}, one row a search.

    A search is the first page of a search impression, or what feedback tells of a query where no page is known; in a
    log without either, a finished `suggest` event.
    """
    who = ["time", "user_id", "session_id"]
    shown = log.frame("impression", before=cutoff, columns=[*who, "surface", "query", "page"])
    pages = shown.filter((pl.col("surface") == SEARCH) & (pl.col("page") == 0) & pl.col("query").is_not_null())
    rows = pl.concat([pages.select("time", subject(), "query"), searches_of(told_searches(log, before=cutoff))])
    if len(rows):
        return rows
    chosen = log.frame("suggest", before=cutoff, columns=[*who, "chosen"]).filter(pl.col("chosen").is_not_null())
    return chosen.select("time", subject(), query="chosen")


def mine(rows: pl.DataFrame, config: SuggestConfig, cutoff: int) -> tuple[pl.DataFrame, dict[str, float]]:
    """Queries fit to be suggested, sorted by query (UTF-8), and how many were dropped for what.

    rows: as `searches`. Columns: query (normalised) · display (its most typed form) · subjects (distinct) · count
    (subjects a day, summed) · score (the same, each weighted by exp(-age / tau) as of `cutoff`). Searches without a
    subject count only where no search has one: such a log was added up before, by a source with its own threshold.
    """
    rows = _named(rows.filter(pl.col("time") < cutoff))
    counted = _counted(rows, config, cutoff)
    enough = counted.filter(pl.col("subjects") >= config.min_subjects)
    block = BlockList(config.blocked)
    fit = [
        config.min_length <= len(query) <= config.max_length
        and query.isprintable()
        and not personal(query)
        and not block.blocks(query)
        for query in enough["query"]
    ]
    safe = enough.filter(pl.Series(fit, dtype=pl.Boolean))
    kept = safe.sort(["score", "query"], descending=[True, False]).head(config.max_queries).sort("query")
    return kept, {
        "typed": float(len(counted)),
        "dropped_few_subjects": float(len(counted) - len(enough)),
        "dropped_unsafe": float(len(enough) - len(safe)),
    }


def _named(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with a subject, and both forms of their query."""
    if rows["subject"].null_count() == len(rows):
        rows = rows.with_columns(subject=pl.int_range(pl.len()).cast(pl.String))
    rows = rows.filter(pl.col("subject").is_not_null())
    typed = rows["query"].unique().to_list()
    shape = {"query": pl.String(), "normalised": pl.String(), "display": pl.String()}
    forms = pl.DataFrame([(q, normalise(q), tidy(q)) for q in typed], schema=shape, orient="row")
    joined = rows.join(forms, on="query", how="left", maintain_order="left")
    return joined.select("time", "subject", "display", query="normalised").filter(pl.col("query") != "")


def _counted(rows: pl.DataFrame, config: SuggestConfig, cutoff: int) -> pl.DataFrame:
    forms = rows.group_by("query", "display").len().sort(["query", "len", "display"], descending=[False, True, False])
    display = forms.unique("query", keep="first", maintain_order=True).select("query", "display")
    day = (pl.col("time") // DAY_MS).alias("day")
    daily = rows.group_by("query", "subject", day).agg(pl.col("time").max())
    age = (cutoff - pl.col("time")) / (config.tau_days * DAY_MS)
    counted = daily.sort("query", "subject", "day").group_by("query", maintain_order=True)
    return counted.agg(
        subjects=pl.col("subject").n_unique().cast(pl.Int64),
        count=pl.len().cast(pl.Int64),
        score=(-age).exp().sum(),
    ).join(display, on="query", how="left", maintain_order="left")
