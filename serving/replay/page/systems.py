"""Every system of a mode with its interval, and what podium's probabilities are worth."""

from collections.abc import Mapping
from typing import Any

from serving.replay.measures import HEADLINE
from serving.replay.page.plots import Dot, dot_and_whisker, reliability
from serving.replay.page.tables import NOTHING, card, figure, note, p_value, plots, section, signed, soft, table, text

TITLES = {
    "rank": ("Shown pages, reordered", "Every logged page is ranked again: the same items, another order."),
    "funnel": ("The whole cascade", "Every request is asked again against the whole catalogue, 200 places deep."),
    "next": (
        "The next item",
        "One request just before each held-out action: a search where it names a query; relevant is its item alone.",
    ),
    "judged": ("Judged queries", "The judged items of each query, ordered."),
}


_UNKNOWN = (
    "{} requests were logged without the outcomes of their items. They are asked and ranked like the others, but what "
    "was relevant to them is not known: they are in no mean, and nothing they show counts as passed over."
)


def mode_section(name: str, mode: Mapping[str, Any]) -> str:
    title, about = TITLES.get(name, (name, ""))
    counted = (
        f"{mode['requests']} requests, {mode['empty_requests']} of them with no positive and left out of the means."
    )
    unknown = mode.get("unknown_requests", 0)
    failed = [note(_UNKNOWN.format(unknown))] if unknown else []
    failed += [
        note(f"{stage} did not run as declared for {count} requests.")
        for stage, count in mode.get("degraded", {}).items()
    ]
    systems = mode["systems"]
    metrics = [*HEADLINE.get(name, ()), *(["true_ndcg@10"] if "true_ndcg@10" in systems["podium"] else [])]
    dots = plots(*(card(_dots(systems, metric), metric) for metric in metrics))
    parts = (soft(counted), *failed, dots, _systems(systems), _calibration(mode.get("calibration")))
    return section(name, f"{title} ({name})", about, *parts)


def _dots(systems: Mapping[str, Any], metric: str) -> str:
    found = [(name, values[metric]) for name, values in systems.items() if metric in values]
    known = sorted(((name, v) for name, v in found if v["mean"] is not None), key=lambda pair: -pair[1]["mean"])
    dots = [Dot(name, v["mean"], v["low"], v["high"], name == "podium") for name, v in known]
    return dot_and_whisker(dots, f"{metric} of each system with its 95 % interval")


def _systems(systems: Mapping[str, Any]) -> str:
    metrics = list(dict.fromkeys(metric for values in systems.values() for metric in values))
    rows = [[text(name), *(figure(values.get(metric)) for metric in metrics)] for name, values in systems.items()]
    return table(["system", *metrics], rows, "Means; n and the 95 % interval below.", own="podium")


def _calibration(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    bins = [(row["predicted"], row["observed"]) for row in found["bins"]]
    plot = reliability(bins, "Observed share of positives against predicted p_click")
    rows = [
        [text(name), NOTHING if v is None else f"{v:.4f}" if isinstance(v, float) else text(v)]
        for name, v in found["probabilities"].items()
    ]
    shown = plots(card(plot), card(table(["of shown items", "value"], rows)))
    return f"<h3>Calibration of p_click</h3>{shown}"


def differences(rows: list[Mapping[str, Any]]) -> str:
    """podium against every other system, on the same requests."""
    shown = [
        [f"{text(r['mode'])} {text(r['metric'])} against {text(r['b'])}", signed(r), NOTHING, "0"]
        if r["mean"] is None
        else [f"{text(r['mode'])} {text(r['metric'])} against {text(r['b'])}", signed(r), p_value(r["p"]), str(r["n"])]
        for r in rows
    ]
    caption = "podium minus the other, on the same requests: a bootstrap over subjects; p as it is, for one comparison."
    return section(
        "compare", "Paired differences", "", table(["podium in", "difference", "p", "requests"], shown, caption)
    )
