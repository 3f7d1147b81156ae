"""The parts of the requests: podium's metrics with their interval, and the difference to what it is compared with."""

from collections.abc import Mapping
from typing import Any

from serving.replay.measures import HEADLINE
from serving.replay.page.tables import figure, section, signed, table, text

_AGAINST = ("baseline", "logged", "popularity")  # the first that the report has
_NAMES = {
    "query": "whether there is a query",
    "user": "what was known of the user",
    "query_frequency": "how often the query was asked before",
    "category": "top category of the best relevant item",
    "popularity": "how often the relevant items were shown",
    "item": "age of the relevant items",
}


def slices_section(mode: str, slices: Mapping[str, Any]) -> str:
    metrics = list(HEADLINE.get(mode, ()))
    other = next((name for name in _AGAINST if _has(slices, name)), "")
    tables = [_dimension(name, parts, metrics, other) for name, parts in slices.items() if parts]
    if not tables:
        return ""
    apart = f"podium less {other}, on the same requests: worst first" if other else "worst first"
    about = f"Means with their 95 % interval; {apart}. Colour only where the interval is on one side of 0."
    return section(f"parts-{mode}", f"Parts of {mode}", about, *tables)


def _has(slices: Mapping[str, Any], name: str) -> bool:
    return any(name in part["systems"] for parts in slices.values() for part in parts.values())


def _dimension(name: str, parts: Mapping[str, Any], metrics: list[str], other: str) -> str:
    def worst(part: Mapping[str, Any]) -> float:
        found = part["difference"].get(other, {}).get(metrics[0]) if other else part["systems"]["podium"][metrics[0]]
        return float("inf") if found is None or found["mean"] is None else float(found["mean"])

    rows = []
    for value, part in sorted(parts.items(), key=lambda pair: worst(pair[1])):
        cells = [figure(part["systems"]["podium"].get(m)) for m in metrics]
        cells += [signed(part["difference"].get(other, {}).get(m)) for m in metrics if other]
        rows.append([text(value), str(part["requests"]), *cells])
    head = [name, "requests", *metrics, *(f"{m} less {other}" for m in metrics if other)]
    return table(head, rows, f"By {_NAMES.get(name, name)}.", even=True)
