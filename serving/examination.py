"""`podium examination`: how much each place of a page is looked at, and which click model foretells clicks best."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.artifacts import write_json
from pipeline.errors import InputError
from pipeline.logs.read import Log
from pipeline.metrics.clicks.estimate import METHODS, MODELS, estimate_examination, fit_model
from pipeline.metrics.clicks.examination import Examination
from pipeline.metrics.clicks.grid import GridFactors, collapse
from pipeline.metrics.clicks.judge import Verdict, held_out, judge
from pipeline.metrics.clicks.pages import ShownPages, read_pages

ALL: Final = "all"
CHOICES: Final = (*METHODS, ALL)
_SUFFIXES: Final = (".json", ".parquet")
_ROWS: Final = {
    "surface": pl.String(),
    "position": pl.Int32(),
    "p": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "model": pl.String(),
}


@dataclass(frozen=True, slots=True)
class Found:
    """Of one surface and method: the examination, how it foretells held-out pages, its rows and columns."""

    surface: str
    examination: Examination
    verdict: Verdict | None
    grid: GridFactors | None


@dataclass(frozen=True, slots=True)
class Report:
    """A finished estimate, for printing and for `--out`."""

    values: Mapping[str, Any]
    found: tuple[Found, ...]

    def lines(self) -> list[str]:
        """A table for each surface and method."""
        said = [
            f"{self.values['requests']} requests, {self.values['shown']} shown items, {self.values['clicks']} clicks"
        ]
        for each in self.found:
            said += ["", *_told(each)]
        return said


def estimate(
    logs: Path,
    out: Path | None = None,
    *,
    model: str = "auto",
    surface: str | None = None,
    together: bool = False,
    columns: int | None = None,
    depth: int | None = None,
    smooth: bool = False,
    share: float = 0.2,
    starts: int = 5,
    seed: int = 0,
) -> Report:
    """Fit, judge and write. Raises InputError for what is out of range, or a log without pages."""
    _check(out, share, starts, depth)
    read = read_pages(Log.open(logs), surface)
    pages = read.together() if together else read
    pages = pages if depth is None else pages.take(pages.position < depth)
    found = []
    for method in METHODS[1:] if model == ALL else (model,):
        examined = estimate_examination(pages, method, seed, starts=starts, smoothed=smooth)
        for place, name in enumerate(pages.surfaces):
            own = pages.take(pages.surface == place)
            found.append(_found(name, examined[name], own, share, seed, columns))
    names = {name: read.surfaces if together else (name,) for name in pages.surfaces}
    values = {
        "requests": int(pages.request.max()) + 1,
        "shown": len(pages),
        "clicks": int(pages.clicked.sum()),
        "seed": seed,
        "starts": starts,
        "held_out": share,
        "smoothed": smooth,
        "surfaces": [_values(each) for each in found],
        "examination": _rows(found, names),
    }
    if out is not None:
        _write(out, values)
    return Report(values, tuple(found))


def _check(out: Path | None, share: float, starts: int, depth: int | None) -> None:
    if out is not None and out.suffix not in _SUFFIXES:
        raise InputError("out", f"a file ending in {' or '.join(_SUFFIXES)}", received=str(out))
    if not 0.0 <= share <= 0.9:
        raise InputError("held-out", "a share from 0 to 0.9", received=share)
    if starts < 2:
        raise InputError("starts", "2 or more: one start cannot disagree", received=starts)
    if depth is not None and depth < 2:
        raise InputError("depth", "2 or more", received=depth)


def _found(name: str, examined: Examination, pages: ShownPages, share: float, seed: int, columns: int | None) -> Found:
    """The held-out pages judge a model fitted to the others; the examination is that of all pages."""
    verdict, grid = None, None
    if examined.method in MODELS and share > 0 and not examined.refused:
        learn, test = held_out(pages, share, seed)
        if len(learn) and len(test):
            verdict = judge(fit_model(learn, examined.method, seed), test)
    if columns is not None and not examined.refused:
        clicks = np.bincount(pages.position[pages.clicked], minlength=len(examined.ratios)).astype(np.float64)
        grid = collapse(examined.ratios, columns, clicks)
    return Found(name, examined, verdict, grid)


def _rows(found: list[Found], names: Mapping[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    return [
        {"surface": surface, "position": place, "p": p, "low": low, "high": high, "model": each.examination.method}
        for each in found
        for surface in names[each.surface]
        for place, (p, low, high) in enumerate(zip(*(part.tolist() for part in _parts(each.examination)), strict=True))
    ]


def _parts(examined: Examination) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return examined.ratios, examined.low, examined.high


def _values(each: Found) -> dict[str, Any]:
    said: dict[str, Any] = {"surface": each.surface, "model": each.examination.method}
    said["refused"] = each.examination.refused or None
    if each.verdict is not None:
        said |= {
            "log_likelihood": each.verdict.log_likelihood,
            "perplexity": each.verdict.perplexity,
            "perplexity_by_position": each.verdict.by_position.tolist(),
            "held_out_items": each.verdict.n,
        }
    if each.grid is not None:
        said |= {"rows": each.grid.row.tolist(), "columns": each.grid.column.tolist(), "off_grid": each.grid.worst}
    return said


def _write(out: Path, values: Mapping[str, Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".json":
        write_json(out, values)
    else:
        pl.DataFrame(values["examination"], schema=_ROWS).write_parquet(out)


def _told(each: Found) -> list[str]:
    examined = each.examination
    head = f"{each.surface}, {examined.method}"
    if examined.refused:
        return [f"{head}: refused: {examined.refused}"]
    if each.verdict is not None:
        head += f": held-out log-likelihood {each.verdict.log_likelihood:.5f}, perplexity {each.verdict.perplexity:.4f}"
    said = [head, "  position  examination  95 % interval" + ("     perplexity" if each.verdict else "")]
    for place, (p, low, high) in enumerate(zip(*_parts(examined), strict=True)):
        tail = "" if each.verdict is None else f"   {each.verdict.by_position[place]:.4f}"
        said.append(f"  {place:>8}  {p:>11.3f}  [{low:.3f}, {high:.3f}]{tail}")
    if each.grid is not None:
        said.append(f"  rows     {' '.join(f'{value:.3f}' for value in each.grid.row)}")
        said.append(f"  columns  {' '.join(f'{value:.3f}' for value in each.grid.column)}")
        said.append(f"  cells lie up to {each.grid.worst:.1%} off the product of the two")
    return said
