"""Plots as inline SVG, 400 units wide so that they stay legible on a telephone. Colours come from the style sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 400
_LABEL, _VALUE = 104, 62  # units left of the plot for names, right of it for numbers
_COUNTS = 92  # units for two counts
_ROW = 24


@dataclass(frozen=True, slots=True)
class Dot:
    """A mean with its interval, which may lack. own: the system under evaluation."""

    label: str
    mean: float
    low: float | None
    high: float | None
    own: bool = False


def dot_and_whisker(dots: Sequence[Dot], title: str) -> str:
    """One row a system: the mean as a dot, the interval as a line, on an axis from 0."""
    top = max((dot.high if dot.high is not None else dot.mean for dot in dots), default=1.0) or 1.0
    span = WIDTH - _LABEL - _VALUE

    def x(value: float) -> float:
        return round(_LABEL + span * max(value, 0.0) / top, 1)

    parts = []
    for row, dot in enumerate(dots):
        y = _ROW * row + _ROW / 2
        style = "own" if dot.own else "other"
        parts.append(_text(0, y + 4, dot.label, style))
        parts.append(f'<line class="rail" x1="{_LABEL}" x2="{WIDTH - _VALUE}" y1="{y}" y2="{y}"/>')
        if dot.low is not None and dot.high is not None:
            parts.append(f'<line class="whisker {style}" x1="{x(dot.low)}" x2="{x(dot.high)}" y1="{y}" y2="{y}"/>')
        parts.append(f'<circle class="{style}" cx="{x(dot.mean)}" cy="{y}" r="5"/>')
        parts.append(_text(WIDTH, y + 4, f"{dot.mean:.4f}", f"{style} end"))
    return _svg("".join(parts), _ROW * len(dots), title)


def waterfall(steps: Sequence[tuple[str, int, int]], title: str) -> str:
    """What is left after each step, and what the step lost. steps: (name, in, out)."""
    whole = max((before for _, before, _ in steps), default=0) or 1
    span = WIDTH - _LABEL - _COUNTS
    parts = []
    for row, (name, before, after) in enumerate(steps):
        y = _ROW * row
        kept, had = round(span * after / whole, 1), round(span * before / whole, 1)
        parts.append(_text(0, y + 16, name, "other"))
        parts.append(f'<rect class="kept" x="{_LABEL}" y="{y + 5}" width="{kept}" height="14"/>')
        if had > kept:
            lost = round(had - kept, 1)
            parts.append(f'<rect class="lost" x="{_LABEL + kept}" y="{y + 5}" width="{lost}" height="14"/>')
        parts.append(_text(WIDTH, y + 16, f"{after} / {before}", "other end"))
    return _svg("".join(parts), _ROW * len(steps), title)


def reliability(bins: Sequence[tuple[float, float]], title: str) -> str:
    """Observed share against mean prediction, with the diagonal a calibrated model stays on."""
    left, size = 40, 220
    top = max((max(pair) for pair in bins), default=1.0) or 1.0

    def at(predicted: float, observed: float) -> tuple[float, float]:
        return round(left + size * predicted / top, 1), round(size * (1 - observed / top) + 8, 1)

    points = [at(*pair) for pair in bins]
    line = " ".join(f"{x},{y}" for x, y in points)
    parts = [
        f'<rect class="frame" x="{left}" y="8" width="{size}" height="{size}"/>',
        f'<line class="rail" x1="{left}" y1="{size + 8}" x2="{left + size}" y2="8"/>',
        f'<polyline class="whisker own" points="{line}"/>',
        *(f'<circle class="own" cx="{x}" cy="{y}" r="4"/>' for x, y in points),
        _text(left - 4, 16, f"{top:.2f}", "other end"),
        _text(left - 4, size + 8, "0", "other end"),
        _text(left + size, size + 24, f"predicted, up to {top:.2f}", "other end"),
        _text(left + size + 8, 20, "observed", "other"),
    ]
    return _svg("".join(parts), size + 32, title)


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x}" y="{y}">{escape(text)}</text>'


def _svg(inside: str, height: float, title: str) -> str:
    name = escape(title, quote=True)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{name}"><title>{name}</title>{inside}</svg>'
