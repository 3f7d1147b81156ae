"""From the arrays of an outcome to the plain lists of an answer."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from pipeline.batch import Array, Batch, Mask
from pipeline.cascade import Outcome, Passed
from pipeline.catalogue import UNKNOWN, Catalogue
from pipeline.state import State
from query_suggest.index import SuggestIndex
from query_suggest.stages import answers
from retrieval.config import CHANNELS
from serving.ports import DEPTH, Ask, Slate, Suggestion

_CHANNELS_OF = [[name for bit, name in enumerate(CHANNELS) if mask >> bit & 1] for mask in range(1 << len(CHANNELS))]
_FACET_VALUES = 20


def slate_of(ask: Ask, cascade: str, outcome: Outcome, fused: Batch | None, state: State, bundle: str) -> Slate:
    """The answer to one request. fused: its candidates after fusion, from which totals and facets are counted."""
    batch, catalogue = outcome.batch, state.catalogue
    depth = None if ask.items is not None else DEPTH
    here = np.flatnonzero(batch.item[0] >= 0)[:depth]
    item = batch.item[0, here]
    ids = [catalogue.ids[place] for place in item.tolist()]
    reason: list[str | None] = [None] * len(ids)
    if ask.items is not None:
        ids = [ask.items[place] for place in batch["rank"][0, here].tolist()]
        reason = _reasons(catalogue.unheard[item], catalogue.at(ask.time).available[item])
    corrected = str(batch.request("corrected")[0])
    found = (batch if fused is None else fused).item[0]
    found = found[found >= 0]
    return Slate(
        request_id=ask.id,
        bundle=bundle,
        tick=int(batch.request("tick")[0]),
        cascade=cascade,
        item_ids=ids,
        score=_numbers(batch["score"][0, here]),
        p_click=_numbers(batch["p_click"][0, here]),
        p_convert=_numbers(batch["p_convert"][0, here]),
        kind=catalogue.kinds[item].tolist(),
        sponsored=catalogue.sponsored[item].tolist(),
        channels=[_CHANNELS_OF[mask] for mask in batch["channels"][0, here].tolist()],
        reason=reason,
        total=len(found),
        facets=facets(catalogue, found),
        corrected_query=corrected or None,
        degraded=_degraded(ask, outcome, batch, catalogue.unheard),
        trace=[trace_row(passed) for passed in outcome.trace],
        beyond=[catalogue.ids[place] for place in found[~np.isin(found, item)].tolist()] if ask.items is None else [],
    )


def fields_of(catalogue: Catalogue, ids: Sequence[str], names: Sequence[str], time: int) -> list[dict[str, object]]:
    """Fields of items as of a moment, null where there is none."""
    place = [catalogue.index.get(item, UNKNOWN) for item in ids]
    columns = dict.fromkeys(name.partition(".")[0] for name in names)
    found = catalogue.rows[place].select(*columns).to_dict(as_series=False)
    snapshot = catalogue.at(time)
    if "price" in found:
        found["price"] = list(_numbers(snapshot.price[place]))
    if "available" in found:
        found["available"] = snapshot.available[place].tolist()
    if "attributes" in found:
        found["attributes"] = [msgspec.json.decode(text) for text in found["attributes"]]
    return [
        {
            name: found["attributes"][row].get(name.partition(".")[2]) if "." in name else found[name][row]
            for name in names
        }
        for row in range(len(ids))
    ]


def described(catalogue: Catalogue, item_id: str) -> dict[str, Any] | None:
    """All that is said of an item, None for one that nothing describes."""
    place = catalogue.index.get(item_id)
    if place is None or catalogue.rows["time"][place] is None:
        return None
    row = catalogue.rows.row(place, named=True)
    del row["event_id"]
    return {**row, "attributes": msgspec.json.decode(row["attributes"])}


def _reasons(unheard: Mask, available: Mask) -> list[str | None]:
    """What is the matter with a caller's own items."""
    states = zip(unheard.tolist(), available.tolist(), strict=True)
    return ["unknown_item" if unknown else None if there else "unavailable" for unknown, there in states]


def suggestions_of(outcome: Outcome, index: SuggestIndex) -> list[Suggestion]:
    """The suggestions of one request."""
    (found,) = answers(outcome.batch, index)
    return [Suggestion(**values) for values in found]  # type: ignore[arg-type]


def trace_row(passed: Passed) -> dict[str, object]:
    return {
        "stage": passed.stage,
        "rows_in": passed.rows_in,
        "rows_out": passed.rows_out,
        "ms": round(passed.seconds * 1e3, 3),
        "fallback": passed.fallback,
        "reason": passed.reason,
    }


def facets(catalogue: Catalogue, items: Array) -> dict[str, dict[str, int]]:
    """How many of the items carry each first category and brand, the commonest first."""
    counted = {}
    for name, codes, values in (
        ("category", catalogue.top_category, catalogue.top_categories),
        ("brand", catalogue.brand_code, catalogue.brands),
    ):
        counts = np.bincount(codes[items], minlength=len(values))
        counts[0] = 0
        best = np.argsort(-counts, kind="stable")[:_FACET_VALUES]
        counted[name] = {values[code]: int(counts[code]) for code in best.tolist() if counts[code]}
    return counted


def _degraded(ask: Ask, outcome: Outcome, batch: Batch, unheard: Mask) -> list[str]:
    degraded = outcome.degraded
    seed = int(batch.request("seed")[0])
    if ask.item_id and (seed < 0 or unheard[seed]):
        degraded.append("unknown_item")
    if batch.has("request.rescued") and batch.request("rescued")[0]:
        degraded.append("no_match")
    if ask.weights and (batch.item >= 0).any() and np.isnan(batch["p_click"]).all():
        degraded.append("weights")
    return degraded


def _numbers(values: Array) -> Sequence[float | None]:
    """JSON has no NaN: null says there is no such number."""
    if np.isnan(values).any():
        return [None if np.isnan(number) else number for number in values.tolist()]
    numbers: list[float | None] = values.tolist()
    return numbers
