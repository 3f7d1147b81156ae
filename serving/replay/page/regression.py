"""What changed against the baseline."""

from collections.abc import Mapping
from typing import Any

from serving.replay.page.examples import request
from serving.replay.page.tables import (
    NOTHING,
    card,
    figure,
    no_interval,
    p_value,
    plots,
    section,
    share,
    signed,
    soft,
    table,
    text,
)

_OPEN = 1
_SAID = {
    "kendall_tau": "Kendall's tau of the two orders (1 = the same)",
    "other_first": "requests with another first item",
    "reordered": "requests with any other order",
}


def regression_section(mode: str, found: Mapping[str, Any]) -> str:
    against = f"podium against bundle {found['baseline']} on the same requests."
    counted = f"{found['lost']} requests lost {found['by']}, {found['won']} won."
    lists = [
        part
        for title, rows in (("Biggest losers", found["losers"]), ("Biggest winners", found["winners"]))
        if rows
        for part in (
            f"<h3>{title}</h3>",
            *(request(row, f"{row['change']:+.3f} {found['by']}:", opened=i < _OPEN) for i, row in enumerate(rows)),
        )
    ]
    moved = plots(card(_agreement(found["agreement"])), card(_tests(found["tests"])))
    parts = (moved, _latency(found["latency"]), soft(counted), *lists)
    return section(f"regression-{mode}", f"Against the baseline ({mode})", against, *parts)


def _agreement(found: Mapping[str, Any]) -> str:
    rows = [[text(_words(name)), _shown(name, value)] for name, value in found.items()]
    return table(["of the two lists", "mean"], rows, "How far the lists moved, over all requests.")


def _words(name: str) -> str:
    if name.startswith("rbo@"):
        return f"rank-biased overlap, p = {name.removeprefix('rbo@')} (1 = the same)"
    if name.startswith("overlap@"):
        return f"items that the first {name.removeprefix('overlap@')} of both hold"
    return _SAID.get(name, name)


def _shown(name: str, value: Mapping[str, Any]) -> str:
    return share(value) if name in ("other_first", "reordered") or name.startswith("overlap@") else figure(value)


def _tests(rows: list[Mapping[str, Any]]) -> str:
    shown = [
        [text(row["metric"]), signed(row), p_value(row["p"]), p_value(row["p_holm"]), str(row["n"])] for row in rows
    ]
    return table(
        ["metric", "difference", "p", "p after Holm", "requests"],
        shown,
        "podium less baseline, paired: Student's t over subjects.",
    )


def _latency(found: Mapping[str, Any]) -> str:
    ratio = found["ratio"]
    rows = [
        [text(row["stage"]), *(_ms(row, name, q) for q in ("p50", "p99") for name in ("podium", "baseline"))]
        for row in found["stages"]
    ]
    head = ["stage", "p50 podium", "p50 baseline", "p99 podium", "p99 baseline"]
    ends = f"{ratio['low']:.2f} to {ratio['high']:.2f}" if ratio["low"] is not None else no_interval(ratio)
    times = f"{ratio['mean']:.2f} times the baseline's ({ends})" if ratio["mean"] is not None else "no time measured"
    said = f"Milliseconds of {found['requests']} requests, each asked alone of both in turn; podium takes {times}."
    return table(head, rows, said, own="total")


def _ms(times: Mapping[str, Any], name: str, quantile: str) -> str:
    return f"{times[name][quantile]:.3f}" if name in times else NOTHING
