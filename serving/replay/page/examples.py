"""Single requests: two lists side by side, and the way of what is relevant through the cascades."""

from collections.abc import Mapping, Sequence
from typing import Any

from serving.replay.page.tables import NOTHING, number, section, soft, table, text

_OPEN = 2  # of a list are shown at once; the others on demand


def examples_section(mode: str, found: Mapping[str, Any]) -> str:
    against = "the logged page" if found["against"] == "logged" else "the relevant items, best first"
    parts = [
        *_requests("Where podium is worst", found["worst"], found["by"]),
        *_requests("Where podium is best", found["best"], found["by"]),
    ]
    if not parts:
        return ""
    about = f"podium beside {against}. The grade is the largest gain of what people did; a row with one is marked."
    return section(f"requests-{mode}", f"Requests of {mode}", about, *parts)


def _requests(title: str, rows: Sequence[Mapping[str, Any]], by: str) -> list[str]:
    if not rows:
        return []
    return [f"<h3>{text(title)}</h3>", *(request(row, by, opened=place < _OPEN) for place, row in enumerate(rows))]


def request(row: Mapping[str, Any], by: str, *, opened: bool) -> str:
    """One request, which opens on demand."""
    asked = f"“{row['query']}”" if row["query"] else "no query"
    values = " · ".join(f"{side['name']} {number(side['value'], 3)}" for side in row["sides"])
    lists = "".join(_list(side) for side in row["sides"])
    ways = "".join(_way(item) for item in row.get("relevant", ()))
    asked_as = soft(f"request {row['request_id']}, page {row['page']}")
    return (
        f"<details{' open' if opened else ''}><summary>{text(asked)} <small>{text(row['surface'])} · {text(by)} "
        f"{text(values)}</small></summary>{asked_as}"
        f'<div class="sides">{lists}</div>{ways}</details>'
    )


def _list(side: Mapping[str, Any]) -> str:
    rows = "".join(_item(place, item) for place, item in enumerate(side["items"], 1))
    head = "".join(f'<th scope="col">{name}</th>' for name in ("", "item", "grade", "score"))
    return (
        f'<table class="list"><caption>{text(side["name"])}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _item(place: int, item: Mapping[str, Any]) -> str:
    shown = "" if item["shown_at"] is None else f" · shown at {item['shown_at'] + 1}"
    grade = f"{item['grade']:g}" if item["grade"] else ""
    named = f"{text(item['title'] or item['item_id'])}<br><small>{text(item['item_id'])}{shown}</small>"
    cells = "".join(f"<td>{cell}</td>" for cell in (place, named, grade, number(item["score"], 3)))
    return f"<tr{' class=own' if item['grade'] else ''}>{cells}</tr>"


def _way(item: Mapping[str, Any]) -> str:
    """The places of one relevant item after each stage of both cascades."""
    names = [name for name in ("podium", "baseline") if item.get(name)]
    stages = list(dict.fromkeys(step["stage"] for name in names for step in item[name]["stages"]))
    title = f"{item['title'] or item['item_id']} (grade {item['grade']:g}): its place after each stage"
    return table(("bundle", "found by", *stages), [_way_of(name, item[name], stages) for name in names], title)


def _way_of(name: str, way: Mapping[str, Any], stages: Sequence[str]) -> list[str]:
    found = ", ".join(f"{channel['channel']} {channel['place'] + 1}" for channel in way["channels"])
    if not found:
        found = "not allowed" if way["allowed"] is False else "no channel"
    places = {step["stage"]: step["place"] for step in way["stages"]}
    return [text(name), text(found), *(_place(stage, places) for stage in stages)]


def _place(stage: str, places: Mapping[str, int | None]) -> str:
    if stage not in places:
        return NOTHING
    place = places[stage]
    return '<span class="down">gone</span>' if place is None else str(place + 1)
