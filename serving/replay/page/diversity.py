"""Relevance against diversity: the systems as points, and podium over its own trade-off."""

from collections.abc import Mapping
from typing import Any

from serving.replay.page.plots import Point, scatter
from serving.replay.page.tables import card, ends, figure, plots, section, soft, table, text


def diversity_section(mode: str, found: Mapping[str, Any]) -> str:
    k = found["k"]
    relevance, measures = f"ndcg@{k}", (f"ild@{k}", f"entropy@{k}")
    systems = [
        card(_points(found["systems"], measure, relevance, "podium"), f"Systems: {relevance} against {measure}")
        for measure in measures
    ]
    about = (
        "Diversity on category paths: the mean distance of two items of the first ten (ild), and the entropy of their "
        "top categories in nats."
    )
    return section(f"diversity-{mode}", f"Relevance against diversity ({mode})", about, plots(*systems), _curve(found))


def _curve(found: Mapping[str, Any]) -> str:
    if not found["curve"]:
        return ""
    k = found["k"]
    names = (f"ndcg@{k}", f"ild@{k}", f"entropy@{k}")
    steps = {f"{row['diversity']:g}": row for row in found["curve"]}
    plot = card(
        _points(steps, names[1], names[0], "", line=True), f"podium by its diversity: {names[0]} against {names[1]}"
    )
    rows = [[text(value), *(figure(row[name], counted=False) for name in names)] for value, row in steps.items()]
    values = card(table(["diversity", *names], rows))
    return soft(f"podium asked again at several values of diversity, {found['sample']} requests.") + plots(plot, values)


def _points(rows: Mapping[str, Any], x: str, y: str, own: str, *, line: bool = False) -> str:
    points = [
        Point(name, across, up, name == own)
        for name, row in rows.items()
        if (across := ends(row[x])) and (up := ends(row[y]))
    ]
    if not points:
        return soft(f"Nothing to draw: no request has both {y} and {x}.")
    return scatter(points, (x, y), f"{y} against {x}", line=line)
