"""Intervals of metrics that are functions of sums over clusters: one bootstrap of the clusters serves them all."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from pipeline.metrics.order import Floats
from pipeline.metrics.pooled import Sums
from pipeline.metrics.statistics.compare import DRAWS, NAN, Interval
from pipeline.metrics.statistics.enough import Lacking, too_few

CHUNK = 200_000  # drawn indices at once
WORKERS = 2


def intervals(sums: dict[str, Sums], seed: int, draws: int = DRAWS) -> dict[str, Interval]:
    """Label → value and 95 % percentile interval (Efron & Tibshirani 1993) over draws of whole clusters.

    All `sums` are of the same C clusters. n is the number of rows each has read. A draw in which a metric
    has no value is left out of its interval. draws = 0 gives no interval (nan).
    """
    if not sums:
        return {}
    whole = np.concatenate([each.of for each in sums.values()], axis=1)
    if draws:
        # The draws are by place: in this order they do not depend on how the clusters were listed.
        whole = whole[np.lexsort(whole.T[::-1])]
    drawn = _resampled(whole, seed, draws)
    edges = np.cumsum([0, *(each.of.shape[1] for each in sums.values())])
    parts = {label: slice(*edge) for label, edge in zip(sums, pairwise(edges), strict=True)}
    return {label: _interval(each, whole[:, parts[label]], drawn[:, parts[label]]) for label, each in sums.items()}


def _interval(sums: Sums, of: Floats, drawn: Floats) -> Interval:
    mean = float(sums.value(of.sum(axis=0)))
    values = sums.value(drawn)
    values = values[~np.isnan(values)]
    if np.isnan(mean) or not len(values):
        return Interval(mean, NAN, NAN, 0 if np.isnan(mean) else sums.rows)
    if why := _lacking(of, values):
        return Interval(mean, NAN, NAN, sums.rows, why.reason, why.needed)
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(mean, float(low), float(high), sums.rows)


def _lacking(of: Floats, drawn: Floats) -> Lacking | None:
    """Clusters `of` `[C, S]` that add nothing are not counted: they have no value."""
    clusters = int(np.count_nonzero(of.any(axis=1)))
    if few := too_few(clusters, "bootstrap", "queries"):
        return few
    return Lacking(f"no spread: all {clusters} queries are alike") if np.ptp(drawn) <= 1e-12 else None


def _resampled(sums: Floats, seed: int, draws: int) -> Floats:
    """Sums `[draws, S]` over samples of the C clusters with replacement."""
    clusters = len(sums)
    if not clusters or not draws:
        return np.full((draws, sums.shape[1]), np.nan)

    def some(part: tuple[int, int]) -> Floats:
        number, size = part
        picked = np.random.default_rng([seed, number]).integers(0, clusters, size=(size, clusters))
        picked += np.arange(size)[:, None] * clusters
        times = np.bincount(picked.ravel(), minlength=picked.size).reshape(picked.shape)
        return np.asarray(times.astype(np.float64) @ sums)

    with ThreadPoolExecutor(WORKERS) as pool:
        return np.concatenate(list(pool.map(some, _parts(draws, max(1, CHUNK // clusters)))))


def _parts(draws: int, at_once: int) -> Iterator[tuple[int, int]]:
    """Number and size of each part: a part has its own stream of draws, whichever thread works on it."""
    for number, done in enumerate(range(0, draws, at_once)):
        yield number, min(at_once, draws - done)
