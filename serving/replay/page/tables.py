"""Tables, and numbers as a reader wants them. A cell is HTML already; every text that comes from outside goes through
`text` first."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Figure = Mapping[str, Any]  # mean, low, high, n: each may be null
NOTHING = "·"


def text(value: object) -> str:
    """What came from outside, as text and nothing else."""
    return escape(str(value), quote=True)


def section(name: str, title: str, about: str, *parts: str) -> str:
    """A part of the report under a heading that can be linked to; about: a sentence, "" = none."""
    said = f"<p>{text(about)}</p>" if about else ""
    return f'<section id="{text(name)}"><h2>{text(title)}</h2>{said}{"".join(parts)}</section>'


def card(inside: str, title: str = "") -> str:
    head = f"<h3>{text(title)}</h3>" if title else ""
    return f'<div class="card">{head}{inside}</div>'


def plots(*cards: str) -> str:
    return f'<div class="plots">{"".join(cards)}</div>'


def note(said: str) -> str:
    return f'<p class="note">{text(said)}</p>'


def soft(said: str) -> str:
    return f'<p class="soft">{text(said)}</p>'


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", own: str = "", *, even: bool = False
) -> str:
    """head and caption: text; the first cell of a row is its heading; own: the row to mark, by its heading; even: all
    columns of one width, so that several tables line up."""
    top = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    said = f"<caption><span>{text(caption)}</span></caption>" if caption else ""
    body = "".join(_row(row, marked=bool(own) and row[0] == own) for row in rows)
    inside = (
        f"<table{_even(len(head)) if even else ''}>{said}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    )
    return f'<div class="wide" tabindex="0" role="region" aria-label="{text(caption or head[0])}">{inside}</div>'


def _even(columns: int) -> str:
    return f' class="even" style="--columns: {columns}"'


def _row(row: Sequence[str], *, marked: bool) -> str:
    first, *others = row
    cells = "".join(f"<td>{cell}</td>" for cell in others)
    return f'<tr{" class=own" if marked else ""}><th scope="row">{first}</th>{cells}</tr>'


def number(value: float | None, digits: int = 4) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def p_value(p: float | None) -> str:
    return NOTHING if p is None else "&lt; 0.0001" if p < 0.0001 else f"{p:.4f}"


def no_interval(found: Figure) -> str:
    """In words why there is none."""
    return f"no interval: {found['refused']}" if found.get("refused") else "no interval"


def _small(found: Figure) -> str:
    return f"<br><small>{text(no_interval(found))}</small>" if found.get("refused") else ""


def figure(found: Figure | None, *, counted: bool = True) -> str:
    """A mean with its interval below. counted: with n."""
    if found is None or found["mean"] is None:
        return NOTHING
    if found["low"] is None:
        return number(found["mean"]) + _small(found)
    n = f", n {found['n']}" if counted else ""
    return f"{found['mean']:.4f}<br><small>{found['low']:.4f} to {found['high']:.4f}{n}</small>"


def signed(found: Figure | None) -> str:
    """A difference with its interval; marked up or down where the interval is on one side of 0."""
    if found is None or found["mean"] is None:
        return NOTHING
    if found["low"] is None:
        return f"{found['mean']:+.4f}" + _small(found)
    kind, arrow = ("up", "▲ ") if found["low"] > 0 else ("down", "▼ ") if found["high"] < 0 else ("level", "")
    interval = f"<br><small>{found['low']:+.4f} to {found['high']:+.4f}</small>"
    return f'<span class="{kind}">{arrow}{found["mean"]:+.4f}</span>{interval}'


def ends(found: Figure | None) -> tuple[float, float, float] | None:
    """(mean, low, high) to draw; None for what there is no figure of."""
    if found is None or found.get("refused") or found["mean"] is None:
        return None
    low, high = (found["mean"] if found[end] is None else found[end] for end in ("low", "high"))
    return float(found["mean"]), float(low), float(high)


def share(found: Figure | None) -> str:
    """A share of requests in percent, with its interval."""
    if found is None or found["mean"] is None:
        return NOTHING
    if found["low"] is None:
        return f"{found['mean']:.1%}" + _small(found)
    return f"{found['mean']:.1%}<br><small>{found['low']:.1%} to {found['high']:.1%}</small>"
