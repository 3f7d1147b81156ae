"""Where the examination of each surface comes from: a file that states it, or the log itself."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.logs.attribution import labelled
from pipeline.logs.importers.tables import read_table
from pipeline.logs.read import Log
from pipeline.metrics.clicks.estimate import estimate_examination
from pipeline.metrics.clicks.examination import Examination, refusal
from pipeline.metrics.clicks.pages import ShownPages, read_pages
from pipeline.metrics.offpolicy.logged import Curve, ExaminationTable, examination_table

AUTO: Final = "auto"
_SOURCES: Final = {"explored": "explored pages"}
_COLUMNS: Final = ("surface", "position", "p")


@dataclass(frozen=True, slots=True)
class Examined:
    """table: a row for each of `surfaces`; about: the same for a report."""

    table: ExaminationTable
    surfaces: tuple[str, ...]
    about: dict[str, dict[str, Any]]


def examined(log: Log, source: str | Path = AUTO) -> Examined:
    """Examination of every surface on which the log knows order and outcomes.

    source: `auto`, or a file {surface, position, p}.

    Raises InputError for a file that is none, or a p in it that is missing, 0 or above 1.
    """
    shown = labelled(log.frame("impression", columns=["surface", "order", "outcomes", "page", "items"]))
    shown = shown.filter(pl.col("order") == "shown")
    surfaces = tuple(sorted(shown["surface"].unique().to_list()))
    if str(source) != AUTO:
        return _stated(Path(source), surfaces)
    longest = shown.filter(pl.col("page") == 0)["items"].list.len().max()
    return _estimated(log, surfaces, longest if isinstance(longest, int) else 0)


def _estimated(log: Log, surfaces: tuple[str, ...], first_page: int) -> Examined:
    """From the drawn pages of all that the log knows, its earlier events included: people look the same way on other
    days. Where these say nothing, from the log's own pages, to which a model can be fitted."""
    if not surfaces:
        return Examined(examination_table([], []), surfaces, {})
    own = read_pages(log)
    drawn = own if log.state is None else read_pages(log.everything())
    drawn = drawn.take(drawn.drawn)
    curves: list[Curve] = []
    reasons, about = [], {}
    for surface in surfaces:
        each = _of_surface(drawn, surface, first_page)
        if each.refused:
            each = _of_surface(own, surface, first_page)
        curves.append((np.empty(0), None, None) if each.refused else (each.ratios, each.low, each.high))
        reasons.append(each.refused)
        about[surface] = {
            "source": "none" if each.refused else _SOURCES.get(each.method, each.method),
            "p": each.ratios.tolist(),
            "refused": each.refused or None,
        }
    return Examined(examination_table(curves, reasons), surfaces, about)


def _of_surface(pages: ShownPages, surface: str, first_page: int) -> Examination:
    """Of all positions; where the deep ones have too few clicks, of those of the first page."""
    mine = pages.surface == pages.surfaces.index(surface) if surface in pages.surfaces else np.zeros(0, dtype=np.bool_)
    if not mine.any():
        return refusal(AUTO, "nothing shown in a known order, with known outcomes")
    own = pages.take(mine)
    own = replace(own, surface=np.zeros(len(own), dtype=np.int64), surfaces=(surface,))
    found = estimate_examination(own)[surface]
    if found.refused and first_page < own.places:
        found = estimate_examination(own, depth=first_page)[surface]
    if not found.refused and not bool((found.ratios > 0).all()):
        return refusal(found.method, "a place that nobody was seen to look at")
    return found


def _stated(path: Path, surfaces: tuple[str, ...]) -> Examined:
    table = _read(path)
    curves: list[Curve] = []
    reasons, about = [], {}
    for surface in surfaces:
        rows = table.filter(pl.col("surface") == surface).sort("position")
        places = rows["position"].to_numpy()
        if not np.array_equal(places, np.arange(len(places))):
            expected = f"every position from 0 on once for surface {surface}"
            raise InputError("position", expected, place=str(path), received=places[:20].tolist())
        p = rows["p"].to_numpy().astype(np.float64)
        reason = "" if len(p) else f"{path.name} does not name this surface"
        curves.append((p, None, None))
        reasons.append(reason)
        about[surface] = {"source": "file" if len(p) else "none", "p": p.tolist(), "refused": reason or None}
    try:
        return Examined(examination_table(curves, reasons), surfaces, about)
    except InputError as error:
        raise InputError("p", error.expected, place=f"{path}, {error.place}", received=error.received) from error


def _read(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise InputError("--examination", "auto, or a file {surface, position, p}", received=str(path))
    table = read_table(path)
    if missing := [name for name in _COLUMNS if name not in table.columns]:
        raise InputError("columns", "surface, position and p", place=str(path), received=f"without {missing}")
    table = table.text("surface").reading("position", pl.Int64()).fitted("p", pl.Float64())
    for reject in table.rejects:
        raise InputError(reject.field, reject.reason, place=f"{path}, line {reject.line}", received=reject.raw)
    return table.frame.select(_COLUMNS)
