"""The door to examination: `estimate_examination(pages)` says for each surface how much each place is looked at.

    pages = read_pages(Log.open(path))                 # pipeline.metrics.clicks.pages
    found = estimate_examination(pages)                # {"search": Examination(ratios, low, high, method, refused)}
    weight = 1 / found["search"].ratios[position]      # where `refused` is "": `ratios` has one entry a position

Nothing is reported where it cannot be known: then `refused` says why and the arrays are empty.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pipeline.errors import InputError
from pipeline.metrics.clicks.chain import fit_cascade, fit_simplified
from pipeline.metrics.clicks.dbn import fit_dynamic
from pipeline.metrics.clicks.examination import Examination, refusal
from pipeline.metrics.clicks.explored import position_ratios
from pipeline.metrics.clicks.harvest import shared_clicks, strengths
from pipeline.metrics.clicks.identify import spelled, unlinked
from pipeline.metrics.clicks.intervals import GROUPS, around, jackknife, smooth
from pipeline.metrics.clicks.judge import ClickModel
from pipeline.metrics.clicks.pages import Floats, ShownPages
from pipeline.metrics.clicks.position import fit_position
from pipeline.metrics.clicks.ubm import fit_browsing

MODELS: Final = ("pbm", "ubm", "dbn", "sdbn", "cascade")
METHODS: Final = ("auto", "explored", "swaps", *MODELS)
ENOUGH: Final = 25  # clicks at a place before anything is said of it
PEOPLE: Final = GROUPS  # and subjects they are of: the intervals leave out one of so many groups of them
APART: Final = 0.05  # starts that differ by more disagree
_Fit = Callable[..., ClickModel]


def estimate_examination(
    pages: ShownPages,
    method: str = "auto",
    seed: int = 0,
    *,
    starts: int = 5,
    depth: int | None = None,
    smoothed: bool = False,
) -> dict[str, Examination]:
    """Examination of each surface, relative to its first position, with 95 % intervals; each surface by itself.

    method: `explored` (pages in a drawn order alone), `swaps`, `pbm`, `ubm`, `dbn`, `sdbn`, `cascade`; or `auto`: the
    explored pages where they hold 25 clicks at every place, else the position-based model. seed: of starts and groups;
    starts: of EM; depth: only that many positions; smoothed: drawn to a power law as far as errors warrant. Use
    `pages.together()` for one estimate over all surfaces. Raises InputError for an unknown method.
    """
    if method not in METHODS:
        raise InputError("method", f"one of {', '.join(METHODS)}", received=method)
    if depth is not None:
        pages = pages.take(pages.position < depth)
    return {
        name: _of_surface(pages.take(pages.surface == place), method, seed, starts, smoothed)
        for place, name in enumerate(pages.surfaces)
    }


def fit_model(pages: ShownPages, method: str, seed: int = 0, before: Any = None) -> ClickModel:
    """One of MODELS, fitted from a random start, or from where another fit of it ended."""
    fits: dict[str, _Fit] = {
        "pbm": fit_position,
        "ubm": fit_browsing,
        "dbn": fit_dynamic,
        "sdbn": fit_simplified,
        "cascade": fit_cascade,
    }
    return fits[method](pages, seed, before)


def _of_surface(pages: ShownPages, method: str, seed: int, starts: int, smoothed: bool) -> Examination:
    if pages.places == 1:
        first = np.ones(1)  # by definition
        return Examination(first, first, first, "pbm" if method == "auto" else method)
    if method == "auto":
        method = "pbm" if _too_few(pages.take(pages.drawn), pages.places) else "explored"
    if method == "explored":
        pages, places = pages.take(pages.drawn), pages.places
        reason = _too_few(pages, places)
    else:
        reason = _too_few(pages, pages.places) or unlinked(pages.pair, pages.position, pages.clicked, pages.places)
    if reason:
        return refusal(method, reason)
    fitted = _fitted(pages, method, seed, starts)
    if isinstance(fitted, str):
        return refusal(method, fitted)
    covariance = jackknife(pages, fitted.again, seed)
    ratios = fitted.ratios
    if smoothed and len(ratios) > 3:
        better = smooth(ratios, covariance)
        ratios, covariance = better.ratios, better.covariance
    return Examination(ratios, *around(ratios, covariance), method)


@dataclass(frozen=True, slots=True)
class _Fitted:
    """ratios `[P]`; again: the same of other pages."""

    ratios: Floats
    again: Callable[[ShownPages], Floats]


def _fitted(pages: ShownPages, method: str, seed: int, starts: int) -> _Fitted | str:
    """Ratios of the best start and how to find them on fewer pages; or why starts disagree."""
    places = pages.places
    if method == "explored":
        return _again(_rates, pages)
    if method == "swaps":
        return _again(lambda some: _swaps(some, places), pages)
    if method in {"sdbn", "cascade"}:
        return _again(lambda some: fit_model(some, method).examination(some), pages)
    models = [fit_model(pages, method, seed + start) for start in range(max(starts, 2))]
    if reason := disagreement(np.stack([model.examination(pages) for model in models])):
        return reason
    return _again(lambda some: fit_model(some, method, seed, models[0]).examination(some), pages)


def _again(ratios: Callable[[ShownPages], Floats], pages: ShownPages) -> _Fitted:
    return _Fitted(ratios(pages), ratios)


def _rates(pages: ShownPages) -> Floats:
    rates = position_ratios(pages.position, pages.clicked, 1.0 / pages.chance, 0.0)
    return np.asarray(rates / rates[0])


def _swaps(pages: ShownPages, places: int) -> Floats:
    theta = strengths(shared_clicks(pages.pair, pages.position, pages.clicked, places))
    return np.asarray(theta / theta[0])


def disagreement(found: Floats) -> str:
    """Why the examination `[starts, P]` found from different starts is not to be believed, or ""."""
    low, high = found.min(axis=0), found.max(axis=0)
    apart = high / np.maximum(low, 1e-12) - 1.0
    if (apart <= APART).all():
        return ""
    worst = int(np.argmax(apart))
    return (
        f"{len(found)} starts disagree by more than {APART:.0%} at positions {spelled(np.flatnonzero(apart > APART))}: "
        f"from {low[worst]:.3f} to {high[worst]:.3f} at position {worst}"
    )


def _too_few(pages: ShownPages, places: int) -> str:
    clicks = np.bincount(pages.position, weights=pages.clicked, minlength=places)
    if not places or (clicks < ENOUGH).any():
        few = spelled(np.flatnonzero(clicks < ENOUGH)) if places else "all"
        return f"fewer than {ENOUGH} clicks at positions {few}; a depth of fewer positions leaves deep ones out"
    seen = np.unique(np.stack([pages.position, pages.subject])[:, pages.clicked], axis=1)[0]
    people = np.bincount(seen, minlength=places)
    if (people < PEOPLE).any():
        few = spelled(np.flatnonzero(people < PEOPLE))
        least = int(people.min())
        return f"clicks of fewer than {PEOPLE} subjects at positions {few} ({least} at the fewest): no interval holds"
    return ""
