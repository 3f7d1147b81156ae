"""What the log's propensities say of each system, beside what naive NDCG says."""

from collections.abc import Mapping
from typing import Any

from serving.replay.page.plots import Point, scatter
from serving.replay.page.tables import NOTHING, card, ends, note, plots, section, signed, soft, table, text

_NAIVE = "naive_ndcg@10"
_CORRECTED = ("snips_dcg@10", "dr_dcg@10", "ips_dcg@10")  # the first that is not refused is drawn
_EXPLORED = ("explored_dcg@10", "explored_ips_dcg@10")
_COLUMNS = ("judged@10", _NAIVE, "ips_dcg@10", "snips_dcg@10", "dr_dcg@10", *_EXPLORED)


def off_policy_section(found: Mapping[str, Any]) -> str:
    if not found:
        return ""
    about = (
        "The same orders, with every click weighed by the inverse of its chance of being seen. Where these and naive "
        "NDCG rank two systems differently, the naive figure is what the logger's favour makes of it."
    )
    modes = [part for name, mode in found.get("modes", {}).items() for part in _mode(name, mode)]
    return section("off-policy", "Off-policy estimates", about, _examination(found.get("examination", {})), *modes)


def _examination(found: Mapping[str, Any]) -> str:
    rows = [
        [
            text(surface),
            text(about.get("source", NOTHING)),
            " ".join(f"{p:.2f}" for p in (about.get("p") or [])[:10]) or NOTHING,
            text(about.get("refused") or ""),
        ]
        for surface, about in found.items()
    ]
    head = ["surface", "examination from", "of the first ten places", "refused"]
    return table(head, rows, "Chance that a place is looked at.") if rows else ""


def _mode(name: str, mode: Mapping[str, Any]) -> list[str]:
    systems, why = mode["systems"], Reasons()
    columns = [c for c in _COLUMNS if any(c in values for values in systems.values())]
    rows = [[text(system), *(_estimate(values.get(c), why) for c in columns)] for system, values in systems.items()]
    counted = f"{name}: {mode['pages']} pages, {mode['explored_pages']} of them explored."
    figures = table(["system", *columns], rows, "Estimates with interval, n and effective sample size.", own="podium")
    return [
        soft(counted),
        figures,
        why.listed(),
        _drawn(systems),
        _contrasts(mode.get("compare", [])),
        _verdicts(mode, why),
    ]


class Reasons:
    """Why figures were refused: each reason once, under a number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def mark(self, reason: str) -> str:
        number = self.numbers.setdefault(reason, len(self.numbers) + 1)
        return f"<small>refused ({number})</small>"

    def shortened(self, said: str) -> str:
        """With the numbers of the reasons that are listed, the longest first."""
        for reason in sorted(self.numbers, key=len, reverse=True):
            said = said.replace(reason, f"refused ({self.numbers[reason]})")
        return said

    def listed(self) -> str:
        said = "".join(f"<li>refused: {text(reason)}</li>" for reason in self.numbers)
        return f'<ol class="soft">{said}</ol>' if said else ""


def _estimate(found: Mapping[str, Any] | None, why: Reasons) -> str:
    """A figure, or the number of the reason why there is none."""
    if found is None:
        return NOTHING
    if found.get("refused"):
        return why.mark(str(found["refused"]))
    if found["mean"] is None:
        return NOTHING
    unsure = f"no interval: {found['unsure']}" if found.get("unsure") else ""
    parts = [unsure] if found["low"] is None else [f"{found['low']:.4f} to {found['high']:.4f}"]
    parts = [part for part in parts if part]
    parts += [f"n {found['n']}"] + ([] if found.get("ess") in (None, found["n"]) else [f"ESS {found['ess']:.0f}"])
    parts += [f"{found['clipped_share']:.1%} clipped"] if found.get("clipped_share") else []
    return f"{found['mean']:.4f}<br><small>{', '.join(parts)}</small>"


def _drawn(systems: Mapping[str, Any]) -> str:
    """Naive against corrected, where they disagree."""
    corrected = next((c for c in _CORRECTED if sum(map(bool, (ends(v.get(c)) for v in systems.values()))) > 1), "")
    points = [
        Point(name, x, y, name == "podium")
        for name, values in systems.items()
        if (x := ends(values.get(_NAIVE))) and (y := ends(values.get(corrected)))
    ]
    if len(points) < 2:
        return ""
    title = f"{corrected} against {_NAIVE}"
    return plots(card(scatter(points, (_NAIVE, corrected), title), title), card(_disagreements(points, corrected)))


def _disagreements(points: list[Point], corrected: str) -> str:
    """Pairs that the two figures put in a different order."""
    pairs = [(a.label, b.label) for a in points for b in points if a.x[0] > b.x[0] and a.y[0] < b.y[0]]
    if not pairs:
        return soft(f"{_NAIVE} and {corrected} put all systems in one order.")
    rows = [[text(above), text(below)] for above, below in pairs]
    return table([f"above by {_NAIVE}", f"above by {corrected}"], rows, "Where they disagree.")


def _contrasts(rows: list[Mapping[str, Any]]) -> str:
    """The paired differences there are; of the others the estimates say why there are none."""
    shown = [
        [f"{text(row['metric'])}: {text(row['a'])} less {text(row['b'])}", signed(row)]
        for row in rows
        if not row.get("refused") and row["mean"] is not None
    ]
    left = len(rows) - len(shown)
    refused = soft(f"{left} of {len(rows)} paired differences were refused.") if left else ""
    return (table(["paired", "difference"], shown, "On the same pages.") if shown else "") + refused


def _verdicts(mode: Mapping[str, Any], why: Reasons) -> str:
    """Each verdict once, with all it holds for."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for found in mode.get("verdicts", []):
        reason = why.shortened(found["reason"])
        alike.setdefault((found["a"], found["verdict"], reason), []).append(found["b"])
    return "".join(
        note(f"{a} against {', '.join(others)}: {verdict} ({reason})") for (a, verdict, reason), others in alike.items()
    )
