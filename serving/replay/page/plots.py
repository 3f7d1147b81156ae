"""Plots as inline SVG, 400 units wide so that they stay legible on a telephone. Colours come from the style sheet."""

from collections.abc import Callable, Sequence
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


@dataclass(frozen=True, slots=True)
class Point:
    """Two figures of one thing: (mean, low, high) of each. own: the system under evaluation."""

    label: str
    x: tuple[float, float, float]
    y: tuple[float, float, float]
    own: bool = False


def scatter(points: Sequence[Point], axes: tuple[str, str], title: str, *, line: bool = False) -> str:
    """y against x with the names beside, and both intervals. line: join the points in order, without intervals."""
    left, top, width, height = 52, 8, 330, 200
    ends = slice(0, 1) if line else slice(0, 3)
    spans = [
        _span([v for pair in side for v in pair[ends]]) for side in zip(*((p.x, p.y) for p in points), strict=True)
    ]

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = ((v - low) / (high - low) for v, (low, high) in zip((x, y), spans, strict=True))
        return round(left + width * across, 1), round(top + height * (1 - up), 1)

    parts = [f'<rect class="frame" x="{left}" y="{top}" width="{width}" height="{height}"/>']
    if line:
        joined = " ".join(f"{x},{y}" for x, y in (at(point.x[0], point.y[0]) for point in points))
        parts.append(f'<polyline class="whisker other thin" points="{joined}"/>')
    for point in sorted(points, key=lambda point: point.own):  # the own one on top
        style = "own" if point.own or line else "other"
        (x, y), (x1, y1), (x2, y2) = (at(point.x[end], point.y[end]) for end in (0, 1, 2))
        if not line:
            parts.append(f'<line class="whisker {style} thin" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/>')
            parts.append(f'<line class="whisker {style} thin" x1="{x}" x2="{x}" y1="{y1}" y2="{y2}"/>')
        parts.append(f'<circle class="{style}" cx="{x}" cy="{y}" r="4"/>')
    parts += _named(points, at, left + width)
    (x_low, x_high), (y_low, y_high) = spans
    bottom = top + height
    parts += [
        _text(left - 4, top + 10, f"{y_high:.3g}", "other end"),
        _text(left - 4, bottom, f"{y_low:.3g}", "other end"),
        _text(left, bottom + 14, f"{x_low:.3g}", "other"),
        _text(left + width, bottom + 14, f"{x_high:.3g}", "other end"),
        _text(left + width / 2, bottom + 28, f"{axes[0]} (upward: {axes[1]})", "other middle"),
    ]
    return _svg("".join(parts), bottom + 34, title)


def _named(points: Sequence[Point], at: Callable[[float, float], tuple[float, float]], right: float) -> list[str]:
    """A name beside each point, moved down where it would stand on another."""
    taken: list[tuple[float, float]] = []
    parts = []
    for point in sorted(points, key=lambda point: -point.y[0]):
        x, y = at(point.x[0], point.y[0])
        end = x > right - 90
        place = y - 7
        while any(abs(place - other) < 12 and abs(x - beside) < 90 for beside, other in taken):
            place += 12
        taken.append((x, place))
        style = ("own" if point.own else "other") + (" end" if end else "")
        parts.append(_text(x - 6 if end else x + 6, place, point.label, style))
    return parts


def _span(values: Sequence[float]) -> tuple[float, float]:
    """From the least to the largest, with some room."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = (high - low) * 0.08 or max(abs(high), 1.0) * 0.08
    return low - room if low < 0 or low > room else 0.0, high + room


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
