"""Where the cascade loses what is relevant."""

from collections.abc import Mapping
from typing import Any

from serving.replay.page.plots import waterfall
from serving.replay.page.tables import card, plots, section, table, text


def funnel_section(funnel: Mapping[str, Any]) -> str:
    if not funnel:
        return ""
    steps = [(s["stage"], s["relevant_in"], s["relevant_out"]) for s in funnel["stages"]]
    rows = [[text(channel["channel"]), str(channel["found"])] for channel in funnel["channels"]]
    channels = [card(table(["channel", "relevant items found"], rows))] if rows else []
    about = "Relevant (request, item) pairs that go into each step, and that it lets through."
    shown = plots(card(waterfall(steps, "Relevant pairs left after each stage")), *channels)
    return section("losses", "Where relevant items are lost", about, shown)
