"""Every off-policy figure of a set of systems on one log, their paired differences, and the verdicts.

Per system: judged@k; naive NDCG (biased toward the logger) and its condensed companion; IPS-DCG, SNIPS-DCG and, where
there is a click model, DR-DCG; and on the randomised pages alone IPS-DCG and, where their order was uniform, the plain
click DCG, which needs no examination: every item had the same chance of every place, so clicks are relevance but for
a factor. That holds for orders made without looking at the shuffle, and is refused for others, the logged one above
all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.metrics.offpolicy import rankings
from pipeline.metrics.offpolicy.actions import clipped_share
from pipeline.metrics.offpolicy.clipping import warning
from pipeline.metrics.offpolicy.estimate import Contrast, Estimate, contrast, estimate, no_contrast, plain_mean, refused
from pipeline.metrics.offpolicy.logged import (
    ExaminationTable,
    Floats,
    Ints,
    Logged,
    Mask,
    Ranked,
    examination_variance,
    follows_positions,
)
from pipeline.metrics.offpolicy.verdict import NOTHING, Verdict, judge

DESCRIBED = ("judged", "naive_ndcg", "condensed_ndcg")
MOSTLY = 0.5
COMPARED = ("ips_dcg", "dr_dcg", "explored_ips_dcg", "explored_dcg")


@dataclass(frozen=True, slots=True)
class Options:
    """k: places that count; clip: the largest weight, None for no clipping; model_above: the weight above which DR
    trusts its model."""

    k: int = 10
    clip: float | None = None
    model_above: float = 5.0


@dataclass(frozen=True, slots=True)
class Column:
    """One weighted metric of one system: sum of top over sum of bottom, `[R]` each, over `rows`; cells `[R, L]`: what
    of the top, and bottom_cells what of the bottom, is proportional to 1 / examination."""

    top: Floats
    bottom: Floats
    rows: Mask
    weight: Floats
    cells: Floats | None = None
    bottom_cells: Floats | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Assessed:
    """estimates: system → metric → Estimate; contrasts: (a, b, metric) → Contrast; verdicts: (a, b) → Verdict;
    unknown: pages with a place whose examination is not known, which every weighed figure leaves out."""

    estimates: Mapping[str, Mapping[str, Estimate]]
    contrasts: Mapping[tuple[str, str, str], Contrast]
    verdicts: Mapping[tuple[str, str], Verdict]
    unknown: int


class Assessment:
    """Systems on one log. full: weights before clipping `[R, L]`; known `[R]`: pages whose examination is known."""

    def __init__(self, logged: Logged, table: ExaminationTable, options: Options) -> None:
        self.logged, self.table, self.options = logged, table, options
        p, self.cell = table.at(logged)
        self.known: Mask = np.asarray((~np.isnan(p) | ~logged.mask).all(axis=1))
        usable = logged.mask & self.known[:, None]
        self.p = np.where(usable, p, 1.0)
        self.full = rankings.inverse_weights(self.p, usable)
        self.weight = self.full if options.clip is None else np.minimum(self.full, options.clip)

    def run(self, systems: Mapping[str, Ranked], pairs: Sequence[tuple[str, str]]) -> Assessed:
        """The figures of each system and the differences of each pair."""
        columns = {name: self._columns(system) for name, system in systems.items()}
        estimates = {name: self._estimates(systems[name], columns[name]) for name in systems}
        contrasts: dict[tuple[str, str, str], Contrast] = {}
        verdicts = {}
        for a, b in pairs:
            found = {m: self._contrast(columns[a][m], columns[b][m]) for m in COMPARED if self._both(columns, a, b, m)}
            contrasts |= {(a, b, metric): each for metric, each in found.items()}
            verdicts[a, b] = self._verdict(found, estimates[a], estimates[b])
        return Assessed(estimates, contrasts, verdicts, int((~self.known).sum()))

    @staticmethod
    def _both(columns: Mapping[str, Mapping[str, Column]], a: str, b: str, metric: str) -> bool:
        return metric in columns[a] and metric in columns[b]

    def _verdict(self, found: Mapping[str, Contrast], a: Mapping[str, Estimate], b: Mapping[str, Estimate]) -> Verdict:
        drawn, weighed = found.get("explored_dcg", NOTHING), found.get("explored_ips_dcg", NOTHING)
        if drawn.refused is not None and weighed.refused is None:
            drawn = weighed
        share = a["ips_dcg"].clipped_share if "ips_dcg" in a else 0.0
        shares = a["judged"].mean, b["judged"].mean
        return judge(drawn, found.get("ips_dcg", NOTHING), found.get("dr_dcg", NOTHING), shares, warning(share))

    def _estimates(self, system: Ranked, columns: Mapping[str, Column]) -> dict[str, Estimate]:
        log, k = self.logged, self.options.k
        naive = rankings.click_ndcg(log.gain, system.rank, log.mask, k)
        forgiving = rankings.click_ndcg(log.gain, rankings.condensed(system.rank, log.mask), log.mask, k)
        judged = rankings.judged_at(system.rank, log.mask, system.size, k)
        described = dict(zip(DESCRIBED, (judged, naive, forgiving), strict=True))
        values = {
            name: plain_mean(np.where(system.asked, each, np.nan), log.groups) for name, each in described.items()
        }
        return values | {name: self._estimate(column) for name, column in columns.items()}

    def _columns(self, system: Ranked) -> dict[str, Column]:
        log, k = self.logged, self.options.k
        earned = np.where(log.mask, log.gain, 0.0)
        ones, away = np.ones(len(earned)), rankings.discount(system.rank, k)
        cells = earned * self.weight * away
        ips, rows = cells.sum(axis=1), system.asked & self.known
        none = None if rows.any() else self._why()
        mass = rankings.relevance_mass(earned, self.weight, log.mask)
        columns = {
            "ips_dcg": Column(ips, ones, rows, self.full, cells, refused=none),
            "snips_dcg": Column(ips, mass, rows, self.full, cells, earned * self.weight, refused=none),
        }
        if system.p_click is not None and system.unshown is not None:
            columns["dr_dcg"] = self._dr(system.rank, system.p_click, system.unshown, columns["ips_dcg"])
        drawn = log.explored & system.asked
        lacking = None if drawn.any() else "no page in a drawn order"
        columns["explored_ips_dcg"] = Column(ips, ones, drawn & self.known, self.full, cells, refused=lacking or none)
        even, alike = log.uniform & system.asked, log.mask.astype(np.float64)
        lacking = None if even.any() else "no page in a uniformly drawn order"
        if follows_positions(log, system.rank, even):
            lacking = "its order follows the places where the shuffle put the items"
        columns["explored_dcg"] = Column((earned * away).sum(axis=1), ones, even, alike, refused=lacking)
        return columns

    def _why(self) -> str:
        reasons = [reason for reason in dict.fromkeys(self.table.refused) if reason]
        return "; ".join(reasons) or "no page whose examination is known"

    def _dr(self, rank: Ints, p_click: Floats, unshown: Floats, ips: Column) -> Column:
        """The model is scaled, surface by surface, to promise as much as the log's shown items earned.

        With 1 / examination as weight the model cancels for every shown item. It speaks where a weight is cut to
        `model_above` and for items never shown; where there are neither, DR is IPS and no second opinion.
        """
        log, known, cap = self.logged, self.known, self.options.model_above
        earned = np.where(log.mask, log.gain, 0.0)
        model = np.where(log.mask & known[:, None], np.nan_to_num(p_click), 0.0)
        surfaces = len(self.table.p)
        got = np.bincount(log.surface, np.where(known, earned.sum(axis=1), 0.0), surfaces)
        promised = np.bincount(log.surface, (self.p * model).sum(axis=1), surfaces)
        scale = np.divide(got, promised, out=np.zeros(surfaces), where=promised > 0)[log.surface]
        attraction, fresh = model * scale[:, None], np.nan_to_num(unshown) * scale
        weight = np.minimum(self.weight, cap)
        value = rankings.dr_dcg(earned, weight, rank, log.mask, self.p, attraction, fresh, self.options.k)
        apart = bool((self.full > cap)[ips.rows].any() or (fresh > 0)[ips.rows].any())
        alone = None if apart else f"no weight is above {cap:g} and no ranked item was never shown: DR is IPS here"
        whole, word = float(value[ips.rows].sum()), float(fresh[ips.rows].sum())
        if word > MOSTLY * whole:
            alone = f"over {MOSTLY:.0%} of it would be the model's word on items that were never shown"
        cells = None if ips.cells is None else np.where(self.full <= cap, ips.cells, 0.0)
        return Column(value, ips.bottom, ips.rows, weight, cells, refused=ips.refused or alone)

    def _estimate(self, column: Column) -> Estimate:
        rows = column.rows
        if column.refused is not None or not rows.any():
            return refused(column.refused or "no request to measure", int(rows.sum()))
        parts = [(column.top[rows], column.bottom[rows])]
        full = self._carried(column.weight, rows)
        lost = 0.0 if column.cells is None else clipped_share(full, self.options.clip)
        weight = full if self.options.clip is None else np.minimum(full, self.options.clip)
        return estimate(
            parts, weight, groups=self.logged.groups[rows], clipped_share=lost, variance=self._variance(column, rows)
        )

    def _contrast(self, a: Column, b: Column) -> Contrast:
        rows = a.rows & b.rows
        if a.refused is not None or b.refused is not None or not rows.any():
            return no_contrast(a.refused or b.refused or "no request that both answered", int(rows.sum()))
        weight = self._carried(a.weight, rows)
        variance = 0.0
        if a.cells is not None and b.cells is not None:
            variance = examination_variance((a.cells - b.cells)[rows] / rows.sum(), self.cell[rows], self.table)
        parts = [(a.top[rows], a.bottom[rows])], [(b.top[rows], b.bottom[rows])]
        return contrast(*parts, weight, groups=self.logged.groups[rows], variance=variance)

    def _carried(self, weight: Floats, rows: Mask) -> Floats:
        """The weights of the clicks, which carry the estimate."""
        clicked = rows[:, None] & self.logged.mask & (self.logged.gain > 0)
        return weight[clicked]

    def _variance(self, column: Column, rows: Mask) -> float:
        if column.cells is None:
            return 0.0
        whole = float(column.bottom[rows].sum())
        cells = column.cells[rows]
        if column.bottom_cells is not None:
            cells = cells - float(column.top[rows].sum()) / whole * column.bottom_cells[rows] if whole else cells
        return examination_variance(cells / whole, self.cell[rows], self.table) if whole else 0.0


def assess(
    logged: Logged,
    table: ExaminationTable,
    systems: Mapping[str, Ranked],
    pairs: Sequence[tuple[str, str]],
    options: Options,
) -> Assessed:
    """All figures of all systems; pairs: of whom to compare (value of the first less that of the second)."""
    return Assessment(logged, table, options).run(systems, pairs)
