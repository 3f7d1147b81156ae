"""The report as one page that needs nothing else: no script, no font, no address outside itself."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from serving.replay.measures import HEADLINE
from serving.replay.svg import Dot, dot_and_whisker, reliability, waterfall

_TITLES = {
    "rank": ("Shown pages, reordered", "Every logged page is ranked again: the same items, another order."),
    "funnel": ("The whole cascade", "Every request is asked again against the whole catalogue, 200 places deep."),
    "next": ("The next item", "One recommendation just before each held-out action; relevant is its item alone."),
    "judged": ("Judged queries", "The judged items of each query, ordered."),
}
_BIASED = (
    "NDCG on logged clicks is biased toward the policy that logged them: an item that was not shown, or was shown "
    "low, had less chance of a click. Compare systems with it, and trust a difference only if an unbiased measure "
    "agrees."
)
_SIMULATED = (
    "These figures come from a simulated market. They show that the code is right; they say nothing about quality "
    "on real traffic."
)


def page(report: Mapping[str, Any]) -> str:
    """The HTML of a report, as `report.json` has it."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    how, modes = report["protocol"], report["modes"]
    body = [
        _head(how, modes),
        *(_mode(name, mode) for name, mode in modes.items()),
        _funnel(report["funnel"]),
        *(_slices(name, slices) for name, slices in report["slices"].items()),
        _compare(report["compare"]),
        _protocol(how),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Replay report {escape(str(how['hash']))}</title><style>{style}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _head(how: Mapping[str, Any], modes: Mapping[str, Any]) -> str:
    notes = [_BIASED] if {"rank", "funnel"} & set(modes) else []
    notes += [_SIMULATED] if how.get("simulated") else []
    sample = how.get("sample")
    asked = f"a sample of {sample['requests']} requests by {sample['by']}" if sample else "all requests"
    return (
        "<h1>Replay report</h1>"
        f"<p class=soft>bundle <code>{escape(str(how['bundle']))}</code> · protocol <code>{escape(str(how['hash']))}"
        f"</code> · {escape(asked)} · state {escape(str(how['state']))}</p>"
        + "".join(f"<p class=note>{escape(note)}</p>" for note in notes)
    )


def _mode(name: str, mode: Mapping[str, Any]) -> str:
    title, about = _TITLES.get(name, (name, ""))
    counted = (
        f"{mode['requests']} requests, {mode['empty_requests']} of them with no positive and left out of the means"
    )
    failed = "".join(
        f"<p class=note>{escape(stage)} did not run as declared for {count} requests.</p>"
        for stage, count in mode.get("degraded", {}).items()
    )
    systems = mode["systems"]
    metrics = [*HEADLINE.get(name, ()), *(["true_ndcg@10"] if "true_ndcg@10" in systems["podium"] else [])]
    plots = "".join(f"<div class=card><h3>{escape(m)}</h3>{_dots(systems, m)}</div>" for m in metrics)
    return (
        f"<h2>{escape(title)} <small>{escape(name)}</small></h2><p>{escape(about)}</p>"
        f"<p class=soft>{counted}.</p>{failed}"
        f"<div class=plots>{plots}</div>{_systems(systems)}{_calibration(mode.get('calibration'))}"
    )


def _dots(systems: Mapping[str, Any], metric: str) -> str:
    found = [(name, values[metric]) for name, values in systems.items() if metric in values]
    known = sorted(((name, v) for name, v in found if v["mean"] is not None), key=lambda pair: -pair[1]["mean"])
    dots = [Dot(name, v["mean"], v["low"], v["high"], name == "podium") for name, v in known]
    return dot_and_whisker(dots, f"{metric} of each system with its 95 % interval")


def _systems(systems: Mapping[str, Any]) -> str:
    metrics = list(dict.fromkeys(metric for values in systems.values() for metric in values))
    rows = [[name, *(_cell(values.get(metric)) for metric in metrics)] for name, values in systems.items()]
    return _table(["system", *metrics], rows, "Means; n and the 95 % interval below.", own="podium")


def _cell(value: Mapping[str, Any] | None) -> str:
    if value is None or value["mean"] is None:
        return "·"
    if value["low"] is None:
        return f"{value['mean']:.4f}"
    return f"{value['mean']:.4f}<br><small>{value['low']:.4f} to {value['high']:.4f}, n {value['n']}</small>"


def _calibration(table: Mapping[str, Any] | None) -> str:
    if not table:
        return ""
    bins = [(row["predicted"], row["observed"]) for row in table["bins"]]
    plot = reliability(bins, "Observed share of positives against predicted p_click")
    rows = [
        [name, "·" if v is None else f"{v:.4f}" if isinstance(v, float) else str(v)]
        for name, v in table["probabilities"].items()
    ]
    return (
        "<h3>Calibration of p_click</h3><div class=plots>"
        f"<div class=card>{plot}</div><div class=card>{_table(['of shown items', 'value'], rows)}</div></div>"
    )


def _funnel(funnel: Mapping[str, Any]) -> str:
    if not funnel:
        return ""
    steps = [(s["stage"], s["relevant_in"], s["relevant_out"]) for s in funnel["stages"]]
    rows = [[channel["channel"], str(channel["found"])] for channel in funnel["channels"]]
    channels = f"<div class=card>{_table(['channel', 'relevant items found'], rows)}</div>" if rows else ""
    plot = waterfall(steps, "Relevant pairs left after each stage")
    return (
        "<h2>Where relevant items are lost</h2>"
        "<p>Relevant (request, item) pairs that go into each step, and that it lets through.</p>"
        f"<div class=plots><div class=card>{plot}</div>{channels}</div>"
    )


def _slices(mode: str, slices: Mapping[str, Any]) -> str:
    rows, metrics = [], list(HEADLINE.get(mode, ()))
    names = [n for n in ("podium", "baseline", "logged", "popularity") if _has(slices, n)]
    for dimension, parts in slices.items():
        for value, part in parts.items():
            cells = [_short(part["systems"].get(n, {}).get(m)) for m in metrics for n in names]
            rows.append([f"{escape(dimension)}: {escape(str(value))}", str(part["requests"]), *cells])
    head = ["part", "requests", *(f"{m} {n}" for m in metrics for n in names)]
    return f"<h2>Parts of <small>{escape(mode)}</small></h2>{_table(head, rows)}" if rows else ""


def _has(slices: Mapping[str, Any], name: str) -> bool:
    return any(name in part["systems"] for parts in slices.values() for part in parts.values())


def _short(value: Mapping[str, Any] | None) -> str:
    return "·" if value is None or value["mean"] is None else f"{value['mean']:.4f}"


def _compare(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [
        [f"{escape(str(r['mode']))} {escape(str(r['metric']))} against {escape(str(r['b']))}"]
        + (["·", "·", "0"] if r["mean"] is None else [_signed(r), f"{r['p']:.4f}", str(r["n"])])
        for r in rows
    ]
    return "<h2>Paired differences</h2>" + _table(
        ["podium in", "difference", "p", "requests"], shown, "podium minus the other, on the same requests."
    )


def _signed(row: Mapping[str, Any]) -> str:
    return f"{row['mean']:+.4f}<br><small>{row['low']:+.4f} to {row['high']:+.4f}</small>"


def _protocol(how: Mapping[str, Any]) -> str:
    rows = "".join(f"<dt>{escape(str(k))}</dt><dd><code>{escape(str(v))}</code></dd>" for k, v in how.items())
    return f"<h2>Protocol</h2><div class=card><dl>{rows}</dl></div>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", own: str = "") -> str:
    """Cells are HTML already; the head is text."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        f"<tr{' class=own' if own and row[0] == own else ''}>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>"
        for row in rows
    )
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<div class=wide><table>{said}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
