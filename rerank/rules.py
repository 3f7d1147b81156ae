"""Merchandising at rank time: rules become a factor on the score, and pinned items find and take their place.

An explicit sort is a promise to the shopper, so rules hold only where `sort` is relevance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Array, Batch, Mask
from pipeline.catalogue import Catalogue
from pipeline.features.ids import key
from pipeline.rules import MAX_WEIGHT, Rule
from pipeline.stage import Effect

RELEVANCE = "relevance"
_SCOPE = frozenset({"request.normalised", "request.filters", "request.sort", "request.allowed"})


@dataclass(frozen=True, slots=True)
class RuleBook:
    """B rules as arrays over one catalogue. rules: in order of precedence; items: of each rule, the dense items it
    names; moved: of each boost and bury `[N]` what it moves, None for the others; queries: normalised query ->
    the rules that may hold for it, with "" for those of no query."""

    rules: tuple[Rule, ...]
    items: tuple[NDArray[np.int32], ...]
    moved: tuple[Mask | None, ...]
    queries: Mapping[str, tuple[int, ...]]

    def apply(self, batch: Batch) -> Mask:
        """`[B, R]`: which rules hold for which requests."""
        held = np.zeros((len(self.rules), batch.size), dtype=np.bool_)
        columns = [batch.request(name).tolist() for name in ("normalised", "filters", "sort")]
        for row, (query, filters, sort) in enumerate(zip(*columns, strict=True)):
            if sort == RELEVANCE:
                for index in {*self.queries.get("", ()), *self.queries.get(query, ())}:
                    held[index, row] = self.rules[index].holds(query, filters)
        return held


def rule_book(rules: Sequence[Rule], catalogue: Catalogue) -> RuleBook:
    """Items the catalogue does not know are passed over: they may still come. Synonyms are retrieval's part."""
    kept = tuple(rule for rule in rules if rule.action != "synonym")
    items = tuple(
        np.array([catalogue.index[i] for i in rule.item_ids if i in catalogue.index], dtype=np.int32) for rule in kept
    )
    moved = tuple(
        None if rule.action == "pin" else _moved(rule, named, catalogue)
        for rule, named in zip(kept, items, strict=True)
    )
    queries: dict[str, tuple[int, ...]] = {}
    for index, rule in enumerate(kept):
        queries[rule.normalised] = (*queries.get(rule.normalised, ()), index)
    return RuleBook(kept, items, moved, queries)


def _moved(rule: Rule, named: NDArray[np.int32], catalogue: Catalogue) -> Mask:
    """`[N]`: what a boost or bury names, by every condition it gives."""
    mask = np.ones(len(catalogue), dtype=np.bool_)
    if rule.item_ids:
        mask[:] = False
        mask[named] = True
    if rule.brand:
        mask &= catalogue.brand == key(rule.brand)
    if rule.category:
        mask &= catalogue.category[:, len(rule.category) - 1] == key("\x1f".join(rule.category))
    return mask


@dataclass(frozen=True, slots=True)
class Pinned:
    """Brings the pinned items, so that one shows although no channel finds it. Stands before fusion.

    channel: the index of "given" among the channels of retrieval.
    """

    book: RuleBook
    channel: int = 3
    name: str = "pinned"
    effect: Effect = Effect.RECALL
    reads: frozenset[str] = _SCOPE
    writes: frozenset[str] = frozenset({"channel", "rank", "recall_score"})

    def run(self, batch: Batch) -> Batch:
        pins = _pins(self.book, batch)
        width = max((len(places) for places in pins), default=0)
        item = np.full((batch.size, width), -1, dtype=np.int32)
        for row, places in enumerate(pins):
            item[row, : len(places)] = list(places)
        rank = np.where(item >= 0, np.arange(width), -1).astype(np.int16)
        columns: dict[str, Array] = {
            "channel": np.full(item.shape, self.channel, dtype=np.int8),
            "rank": rank,
            "recall_score": np.zeros(item.shape, dtype=np.float32),
        }
        return batch.append(item, columns) if width else _with_none(batch, columns)


def _with_none(batch: Batch, columns: dict[str, Array]) -> Batch:
    """No candidate added, but the columns are there."""
    missing = {n: np.zeros(batch.item.shape, dtype=c.dtype) for n, c in columns.items() if not batch.has(n)}
    return batch.with_columns(**missing) if missing else batch


def _pins(book: RuleBook, batch: Batch) -> list[dict[int, tuple[int, int]]]:
    """For each request: pinned item -> (its place, its rule), only items it may show; the first rule decides."""
    found: list[dict[int, tuple[int, int]]] = [{} for _ in range(batch.size)]
    holds, allowed = book.apply(batch), batch.request("allowed")
    for index, rule in enumerate(book.rules):
        if rule.position is None:
            continue
        for row in np.flatnonzero(holds[index]):
            for offset, item in enumerate(book.items[index].tolist()):
                if allowed[row][item]:
                    found[row].setdefault(item, (rule.position + offset, index))
    return found


@dataclass(frozen=True, slots=True)
class Merchandise:
    """Writes what the rules do to each candidate; the ordering stages obey it and `score` stays the ranker's.

    boost: factor on the score, within 1/3 to 3 whatever the number of rules; pin: place on the slate, -1 none;
    rule: index into `book.rules` of the rule that explains it (a pin before the first boost or bury), -1 none.
    """

    book: RuleBook
    name: str = "merchandise"
    effect: Effect = Effect.SCORE
    reads: frozenset[str] = _SCOPE
    writes: frozenset[str] = frozenset({"boost", "pin", "rule"})

    def run(self, batch: Batch) -> Batch:
        factor = np.ones(batch.item.shape)
        rule = np.full(batch.item.shape, -1, dtype=np.int16)
        pin = np.full(batch.item.shape, -1, dtype=np.int16)
        holds, mask = self.book.apply(batch), batch.mask
        for index, moved in enumerate(self.book.moved):
            if moved is None or not holds[index].any():
                continue
            hit = moved[batch.item] & mask & holds[index][:, None]
            weight = self.book.rules[index].weight
            factor[hit] *= weight if self.book.rules[index].action == "boost" else 1.0 / weight
            rule[hit & (rule < 0)] = index
        for row, places in enumerate(_pins(self.book, batch)):
            for item, (position, index) in places.items():
                here = batch.item[row] == item
                pin[row, here], rule[row, here] = position, index
        boost = np.clip(factor, 1.0 / MAX_WEIGHT, MAX_WEIGHT).astype(np.float32)
        return batch.with_columns(boost=boost, pin=pin, rule=rule)


def boosted(batch: Batch) -> NDArray[np.float64]:
    """`[R, K]`: the score the order follows. A boost lifts a negative score as well."""
    score = batch["score"].astype(np.float64)
    if not batch.has("boost"):
        return score
    boost = batch["boost"]
    return np.where(score >= 0, score * boost, score / boost)


def relevance(batch: Batch) -> NDArray[np.float64]:
    """`[R, K]`: what the ordering stages go by: the scores as merchandised, or what the list made of them."""
    return batch["relevance"] if batch.has("relevance") else boosted(batch)


@dataclass(frozen=True, slots=True)
class Pins:
    """Puts pinned candidates where their rule wants them; the others close up around them."""

    name: str = "pins"
    effect: Effect = Effect.ORDER
    reads: frozenset[str] = frozenset({"pin", "rule"})
    writes: frozenset[str] = frozenset()

    def run(self, batch: Batch) -> Batch:
        pinned = (batch["pin"] >= 0) & batch.mask
        rows = np.flatnonzero(pinned.any(axis=1))
        if not len(rows):
            return batch
        order = np.tile(np.arange(batch.item.shape[1]), (batch.size, 1))
        for row in rows:
            order[row] = pin_order(np.where(pinned[row], batch["pin"][row], -1), batch["rule"][row], batch.mask[row])
        return batch.take(order)


def pin_order(pin: NDArray[np.integer], rule: NDArray[np.integer], mask: Mask) -> NDArray[np.intp]:
    """Places `[K]` with each pinned one at its position, or the next free one when another rule of more
    precedence has it; one behind the end of the list comes last. pin: `[K]`, -1 = none."""
    pinned = np.flatnonzero(pin >= 0)
    pinned = pinned[np.lexsort((rule[pinned], pin[pinned]))]
    rest = np.flatnonzero(mask & (pin < 0)).tolist()
    taken: dict[int, int] = {}
    for place in pinned.tolist():
        position = int(pin[place])
        while position in taken:
            position += 1
        taken[position] = place
    order: list[int] = []
    while rest:
        order.append(taken.pop(len(order)) if len(order) in taken else rest.pop(0))
    order += [taken[position] for position in sorted(taken)]
    return np.array([*order, *np.flatnonzero(~mask).tolist()], dtype=np.intp)
