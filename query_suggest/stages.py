"""Suggestion as a cascade: the candidate is a query, `item` its place in the index; and the speller as a stage.

Request columns: `placement` (complete, hint, discover, rescue), `prefix` (as typed), `query` (rescue), `limit`.
Candidate columns: `source` (index into SOURCES), `share` (popularity, 0 to 1), `cost` (what the match falls short
of), `start` and `end` (what of the query is highlighted, in characters), `score`.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Final

import numpy as np

from pipeline.batch import Array, Batch, best_first
from pipeline.features.text import normalise, tokens
from pipeline.stage import Effect
from query_suggest.fuzzy import fuzzy_top
from query_suggest.index import SuggestIndex
from query_suggest.spelling import Speller

SOURCES = ("prefix", "phrase", "fuzzy", "popular", "rescue")
PLACEMENTS = ("complete", "hint", "discover", "rescue")
PREFIX, PHRASE, FUZZY, POPULAR, RESCUE = range(len(SOURCES))
_REMEMBERED: Final = 1 << 16
APART = 4.0  # what sharing no word costs a rescue: overlap counts before popularity

_FOUND = frozenset({"source", "share", "cost", "start", "end"})
_ASKED = frozenset({"request.placement", "request.prefix", "request.limit"})
Hit = tuple[int, int, float, int, int]  # query, source, cost, start, end


@dataclass(frozen=True, slots=True)
class Correct:
    """Writes `request.corrected`: the query with its misspelt words mended, "" when there are none."""

    speller: Speller
    name: str = "correct"
    effect: Effect = Effect.PREPARE
    reads: frozenset[str] = frozenset({"request.normalised"})
    writes: frozenset[str] = frozenset({"request.corrected"})

    def run(self, batch: Batch) -> Batch:
        queries = batch.request("normalised").tolist()
        mended = {query: self.speller.correct(query) if query else "" for query in set(queries)}
        return batch.with_requests(corrected=np.array([mended[query] for query in queries], dtype=object))


@dataclass(frozen=True, slots=True)
class Completions:
    """Queries that begin with what is typed, and queries with a later word that does."""

    index: SuggestIndex
    pool: int = 50
    name: str = "completions"
    effect: Effect = Effect.RECALL
    reads: frozenset[str] = _ASKED
    writes: frozenset[str] = _FOUND

    def run(self, batch: Batch) -> Batch:
        rows = zip(batch.request("placement"), batch.request("prefix"), strict=True)
        return _add(batch, self.index, [self._hits(typed(p)) if place == "complete" else [] for place, p in rows])

    def _hits(self, prefix: str) -> list[Hit]:
        if not prefix:
            return []
        hits: list[Hit] = []
        for source, index in ((PREFIX, self.index.heads), (PHRASE, self.index.tails)):
            places = index.top(prefix, self.pool)
            starts = index.start[places].tolist()
            end = len(prefix.rstrip())
            owners = index.owner[places].tolist()
            hits += [(owner, source, 0.0, s, s + end) for owner, s in zip(owners, starts, strict=True)]
        return hits


@dataclass(frozen=True, slots=True)
class FuzzyCompletions:
    """Where fewer completions than asked for were found: those of the prefix as it may have been meant."""

    index: SuggestIndex
    name: str = "fuzzy_completions"
    effect: Effect = Effect.RECALL
    reads: frozenset[str] = _ASKED | {"source"}
    writes: frozenset[str] = _FOUND

    def run(self, batch: Batch) -> Batch:
        hits: list[list[Hit]] = []
        for row, (place, prefix) in enumerate(zip(batch.request("placement"), batch.request("prefix"), strict=True)):
            have = set(batch.item[row][batch.mask[row]].tolist())
            limit = int(batch.request("limit")[row])
            short = place == "complete" and len(have) < limit
            hits.append(self._hits(typed(prefix), have, limit) if short else [])
        return _add(batch, self.index, hits)

    def _hits(self, prefix: str, have: set[int], limit: int) -> list[Hit]:
        index = self.index
        found = fuzzy_top(prefix, index.heads, index.speller, index.alphabet, limit + len(have))
        return [(owner, FUZZY, float(edits), 0, end) for owner, edits, end in found if owner not in have]


@dataclass(frozen=True, slots=True)
class Popular:
    """What people search for now: one as a hint, several with different first words to discover; also completes
    an empty prefix. spare: so many more, where a later stage drops some."""

    index: SuggestIndex
    spare: int = 0
    name: str = "popular"
    effect: Effect = Effect.RECALL
    reads: frozenset[str] = _ASKED
    writes: frozenset[str] = _FOUND

    def run(self, batch: Batch) -> Batch:
        names = ("placement", "prefix", "limit")
        rows = zip(*(batch.request(name).tolist() for name in names), strict=True)
        return _add(batch, self.index, [self._hits(*row) for row in rows])

    def _hits(self, placement: str, prefix: str, limit: int) -> list[Hit]:
        if placement == "rescue" or (placement == "complete" and typed(prefix)):
            return []
        queries = self.index.various if placement == "discover" else self.index.popular
        best = queries[: (min(limit, 1) if placement == "hint" else limit) + self.spare].tolist()
        return [(query, POPULAR, 0.0, 0, 0) for query in best]


@dataclass(frozen=True, slots=True)
class Rescue:
    """For a query that found nothing: its correction, and the queries that share most words with it."""

    index: SuggestIndex
    pool: int = 50
    name: str = "rescue"
    effect: Effect = Effect.RECALL
    reads: frozenset[str] = frozenset({"request.placement", "request.query"})
    writes: frozenset[str] = _FOUND

    def run(self, batch: Batch) -> Batch:
        rows = zip(batch.request("placement"), batch.request("query"), strict=True)
        return _add(batch, self.index, [self._hits(normalise(q)) if p == "rescue" else [] for p, q in rows])

    def _hits(self, query: str) -> list[Hit]:
        index = self.index
        corrected = index.speller.correct(query)
        own, fixed = index.find(query), index.find(corrected) if corrected else -1
        found, overlap = index.postings.overlap(tokens(corrected or query))
        order = np.lexsort((-index.share[found], -overlap))[: self.pool]
        pairs = zip(found[order].tolist(), overlap[order].tolist(), strict=True)
        hits: list[Hit] = [(fixed, RESCUE, 0.0, 0, 0)] if fixed >= 0 else []
        return hits + [(q, RESCUE, APART * (1 - o), 0, 0) for q, o in pairs if q not in (own, fixed)]


@dataclass(frozen=True, slots=True)
class MostPopular:
    """Most popular completion (Bar-Yossef & Kraus, WWW 2011), with decayed counts: `share` from 0 to 1, a match
    inside the query weighted down, less its cost - so every completion with an edit comes after those without."""

    phrase_weight: float = 0.7
    name: str = "most_popular"
    effect: Effect = Effect.SCORE
    reads: frozenset[str] = frozenset({"source", "share", "cost"})
    writes: frozenset[str] = frozenset({"score"})

    def run(self, batch: Batch) -> Batch:
        weight = np.where(batch["source"] == PHRASE, self.phrase_weight, 1.0)
        return batch.with_columns(score=batch["share"].astype(np.float64) * weight - batch["cost"])


@dataclass(frozen=True, slots=True)
class TopK:
    """The best `limit` queries of each request, each once; ties in UTF-8 order of the query."""

    name: str = "top_k"
    effect: Effect = Effect.ORDER
    reads: frozenset[str] = frozenset({"score", "request.limit"})
    writes: frozenset[str] = frozenset()

    def run(self, batch: Batch) -> Batch:
        ordered = batch.take(best_first(batch["score"], batch.mask, batch.item))
        by_query = np.argsort(ordered.item, axis=1, kind="stable")
        item = np.take_along_axis(ordered.item, by_query, axis=1)
        again = np.zeros(item.shape, dtype=np.bool_)
        np.put_along_axis(again, by_query[:, 1:], item[:, 1:] == item[:, :-1], axis=1)
        kept = ordered.mask & ~again
        return ordered.keep(kept & (np.cumsum(kept, axis=1) <= batch.request("limit")[:, None]))


def answers(batch: Batch, index: SuggestIndex) -> list[list[dict[str, object]]]:
    """The suggestions of each request as the API gives them; `highlight`: what of `display` was typed."""
    return [
        [
            {
                "query": index.query[batch.item[row, place]],
                "display": index.display[batch.item[row, place]],
                "score": float(batch["score"][row, place]),
                "source": SOURCES[batch["source"][row, place]],
                "highlight": _span(
                    index.display[batch.item[row, place]],
                    int(batch["start"][row, place]),
                    int(batch["end"][row, place]),
                ),
            }
            for place in np.flatnonzero(batch.mask[row]).tolist()
        ]
        for row in range(batch.size)
    ]


def typed(prefix: str) -> str:
    """A prefix as it is looked up: normalised, but a blank at its end says that the word is finished."""
    plain = normalise(prefix)
    return plain + " " if plain and prefix[-1].isspace() else plain


def _span(display: str, start: int, end: int) -> list[list[int]]:
    """What of `display` is the part from `start` to `end` of the normalised query."""
    if end <= start:
        return []
    reached = _reached(display)
    return [[bisect_right(reached, start) - 1, bisect_left(reached, end)]]


@lru_cache(maxsize=_REMEMBERED)
def _reached(display: str) -> tuple[int, ...]:
    """How long the normalised form of each beginning of a text is, so far; the letters of both may differ in number."""
    return tuple(accumulate((len(normalise(display[:end])) for end in range(len(display) + 1)), max))


def _add(batch: Batch, index: SuggestIndex, hits: Sequence[Sequence[Hit]]) -> Batch:
    """Append each request's hits as candidates."""
    width = max(map(len, hits), default=0)
    size = (batch.size, width)
    item = np.full(size, -1, dtype=np.int32)
    columns: dict[str, Array] = {
        "source": np.zeros(size, dtype=np.int8),
        "cost": np.zeros(size, dtype=np.float32),
        "start": np.zeros(size, dtype=np.int16),
        "end": np.zeros(size, dtype=np.int16),
    }
    for row, found in enumerate(hits):
        if found:
            query, *rest = zip(*found, strict=True)
            item[row, : len(found)] = query
            for name, values in zip(columns, rest, strict=True):
                columns[name][row, : len(found)] = values
    columns["share"] = np.where(item >= 0, index.share[item], np.float32(0)) if len(index.share) else columns["cost"]
    return batch.append(item, columns)
