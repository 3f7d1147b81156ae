"""The top of the report: what was measured and how, what it says in one line, and whether it may ship."""

from collections.abc import Mapping, Sequence
from typing import Any

from serving.replay.page.tables import no_interval, note, soft, table, text

_BIASED = (
    "NDCG on logged clicks is biased toward the policy that logged them: an item that was not shown, or was shown "
    "low, had less chance of a click. Compare systems with it, and trust a difference only if an unbiased measure "
    "agrees."
)
_SIMULATED = (
    "These figures come from a simulated market. They show that the code is right; they say nothing about quality "
    "on real traffic."
)
_CORRECTED = "ips_dcg@10"
_OTHERS = ("baseline", "logged", "popularity")
_TITLES = {"minimum": "minimum", "max_drop": "drop", "off_policy": "off-policy"}


def head(report: Mapping[str, Any]) -> str:
    how, modes = report["protocol"], report["modes"]
    notes = [_BIASED] if {"rank", "funnel"} & set(modes) else []
    notes += [_SIMULATED] if how.get("simulated") else []
    notes += left_out(report.get("left_out", {}))
    sample = how.get("sample")
    asked = f"a sample of {sample['requests']} requests by {sample['by']}" if sample else "all requests"
    against = f" · baseline <code>{text(how['baseline'])}</code>" if how.get("baseline") else ""
    return (
        _warned(report.get("trained_on", {}).get("warnings", [])) + "<header><h1>Replay report</h1>"
        f'<p class="soft">bundle <code>{text(how["bundle"])}</code>{against} · protocol <code>{text(how["hash"])}'
        f"</code> · {text(asked)} · state {text(how['state'])}</p></header>"
        + _headline(modes, report["compare"], report.get("off_policy", {}).get("modes", {}))
        + "".join(map(note, notes))
    )


def _warned(warnings: Sequence[str]) -> str:
    """What makes all figures below worth little, before any of them."""
    if not warnings:
        return ""
    said = "".join(f"<p>{text(warning)}.</p>" for warning in warnings)
    return f'<section id="warning" class="verdict refused"><h2>Do not believe these figures</h2>{said}</section>'


def left_out(counts: Mapping[str, int]) -> list[str]:
    """A sentence for each kind of page that was not asked about."""
    said = {"one_item_pages": "pages of one item have no order to judge and are left out of rank"}
    return [f"{count} {said[name]}." for name, count in counts.items()]


def _headline(
    modes: Mapping[str, Any], compare: Sequence[Mapping[str, Any]], corrected: Mapping[str, Mapping[str, Any]]
) -> str:
    """podium's NDCG@10 of each mode and how it stands to the others, as logged and corrected."""
    cells = []
    for mode, about in modes.items():
        found = about["systems"].get("podium", {}).get("ndcg@10")
        if not found or found["mean"] is None:
            continue
        rows = [row for row in compare if (row["mode"], row["metric"]) == (mode, "ndcg@10")]
        cells.append(
            f'<div class="card"><p class="soft">{text(mode)} · NDCG@10 of podium</p>'
            f'<p class="big">{found["mean"]:.4f}</p><p class="soft">{_ends(found)}</p>{_stands(rows)}'
            f"{_corrected(corrected.get(mode, {}))}</div>"
        )
    return f'<div class="plots">{"".join(cells)}</div>' if cells else ""


def _corrected(mode: Mapping[str, Any]) -> str:
    """The same without the favour of places, or why it cannot be said."""
    found = mode.get("systems", {}).get("podium", {}).get(_CORRECTED)
    if not found:
        return ""
    if found["refused"] or found["mean"] is None:
        return soft(f"Corrected for places: refused, {found['refused'] or 'nothing was measured'}.")
    rows = [row for row in mode.get("compare", []) if row["metric"] == _CORRECTED and row["a"] == "podium"]
    return (
        f"<p>corrected for places, IPS-DCG@10: <b>{found['mean']:.4f}</b></p>"
        f'<p class="soft">{_ends(found)}</p>{_stands(rows)}'
    )


def _ends(found: Mapping[str, Any]) -> str:
    ends = f"{found['low']:.4f} to {found['high']:.4f}" if found["low"] is not None else text(no_interval(found))
    return f"{ends}, n {found['n']}"


def _stands(rows: Sequence[Mapping[str, Any]]) -> str:
    known = [row for row in rows if row["mean"] is not None and (row["low"] is not None or row.get("refused"))]
    said = "".join(f"<li>{_against(row)}</li>" for row in known if row["b"] in _OTHERS)
    return f"<ul>{said}</ul>"


def _against(row: Mapping[str, Any]) -> str:
    if row["low"] is None:
        return f"{row['mean']:+.4f} to {text(row['b'])}, no verdict: {text(row['refused'])}"
    kind, word = (
        ("up", "above") if row["low"] > 0 else ("down", "below") if row["high"] < 0 else ("level", "level with")
    )
    return f'<span class="{kind}">{row["mean"]:+.4f}</span> {word} {text(row["b"])}'


def verdict(gate: Mapping[str, Any]) -> str:
    """Passed or refused, with every check; those that failed first."""
    if not gate:
        return ""
    failed = [check for check in gate["checks"] if not check["passed"]]
    kind = "passed" if gate["passed"] else "refused"
    unsure = sum(bool(check.get("refused")) for check in failed)
    counted = f"{len(gate['checks'])} checks, {len(failed) - unsure} failed, {unsure} could not be judged"
    reasons = "".join(f"<li>{text(check['said'])}</li>" for check in failed)
    rows = [
        [text(check["name"]), text(_TITLES.get(check["check"], check["check"])), _word(check), text(check["said"])]
        for check in sorted(gate["checks"], key=lambda check: bool(check["passed"]))
    ]
    small = gate["not_judged"]
    left = soft(f"Too small to judge: {', '.join(small)}.") if small else ""
    inside = (
        f"<details><summary>Every check</summary>{table(['figure', 'check', 'result', 'said'], rows)}{left}</details>"
    )
    return (
        f'<section id="gate" class="verdict {kind}"><h2>Gate: {kind}</h2><p>{text(counted)}.</p>'
        f"<ul>{reasons}</ul>{inside}</section>"
    )


def _word(check: Mapping[str, Any]) -> str:
    if check["passed"]:
        return '<span class="up">passed</span>'
    return '<span class="level">not judged</span>' if check.get("refused") else '<span class="down">failed</span>'
