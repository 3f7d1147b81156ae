"""Which of several runs is better, and how sure that is: the work behind `podium compare`.

Every run is measured on the same judged queries (`pipeline.metrics.runs`), and pairs of runs are tested on the
differences query by query. p values are corrected over all pairs and metrics of one call; the randomised Tukey test
is over all pairs of one metric by its nature. An interval is for its pair alone.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.metrics.evaluation import EmptyRule
from pipeline.metrics.runs import evaluate_run
from pipeline.metrics.statistics.compare import (
    Difference,
    Interval,
    bootstrap_interval,
    paired_bootstrap,
    paired_permutation,
    paired_t,
    t_interval,
)
from pipeline.metrics.statistics.corrections import benjamini_hochberg, bonferroni, holm, tukey_hsd
from pipeline.metrics.statistics.flips import FLIPS
from pipeline.metrics.statistics.power import detectable_effect, spread_of
from pipeline.metrics.tables.files import read_table
from pipeline.metrics.tables.listings import QUERY, Source
from pipeline.metrics.tables.lists import TieRule

Test = Literal["permutation", "t", "bootstrap"]
Correction = Literal["holm", "bh", "bonferroni", "tukey", "none"]
Floats = NDArray[np.float64]
Groups = NDArray[np.int64] | None

GROUP: Final = ("group", "subject", "user_id", "session_id")
ALPHA: Final = 0.05
_STEPS: Final = {"holm": holm, "bh": benjamini_hochberg, "bonferroni": bonferroni}
_SAID: Final = {"holm": "Holm", "bh": "Benjamini-Hochberg", "bonferroni": "Bonferroni", "tukey": "randomised Tukey"}


@dataclass(frozen=True, slots=True)
class Rules:
    """How runs are compared. baseline: `first` compares each run with the first one, `all` every pair; power: of the
    smallest effect that is reported; seed: of everything drawn."""

    test: Test = "permutation"
    correction: Correction = "holm"
    baseline: Literal["first", "all"] = "all"
    power: float = 0.8
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One pair on one metric. difference: b - a; p_corrected: after the correction over `family` comparisons;
    detectable: the smallest true difference that this many queries show with the power asked for, at ALPHA over the
    family's size."""

    metric: str
    a: str
    b: str
    difference: Difference
    p_corrected: float
    family: int
    detectable: float

    def says(self, correction: str, power: float) -> str:
        """In words."""
        d = self.difference
        if d.refused is not None:
            return f"{self.metric}: {self.a}, {self.b}: no verdict: {d.refused}"
        after = f" after {_SAID[correction]} over {self.family}" if correction != "none" and self.family > 1 else ""
        numbers = f"{d.mean:+.4f} [{d.low:+.4f}, {d.high:+.4f}], p {_p(self.p_corrected)}{after}"
        if self.p_corrected <= ALPHA:
            return f"{self.metric}: {self.b} is {'better' if d.mean > 0 else 'worse'} than {self.a}: {numbers}"
        least = f"the smallest that {d.n} queries show with power {power:g} is {self.detectable:.4f}"
        return f"{self.metric}: between {self.a} and {self.b} no difference could be shown: {numbers}; {least}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """systems: name → metric → mean with interval; verdicts: every pair on every metric; queries: how many."""

    systems: dict[str, dict[str, Interval]]
    verdicts: tuple[Verdict, ...]
    rules: Rules
    queries: int
    groups: int | None

    def as_json(self) -> dict[str, object]:
        """Plain values, nan as null."""
        said = self.rules.correction, self.rules.power
        pairs = [_flat(asdict(each)) | {"verdict": each.says(*said)} for each in self.verdicts]
        systems = {name: {label: _flat(asdict(i)) for label, i in of.items()} for name, of in self.systems.items()}
        protocol = asdict(self.rules) | {"alpha": ALPHA, "queries": self.queries, "groups": self.groups}
        return {"systems": systems, "comparisons": pairs, "protocol": protocol}

    def lines(self) -> list[str]:
        """For a reader: the systems, then a sentence a comparison."""
        width = max(len(name) for name in self.systems)
        shown = [
            f"{label:<14}{name:<{width}}  {_mean_of(i)}  n={i.n}"
            for label in next(iter(self.systems.values()))
            for name, i in ((name, of[label]) for name, of in self.systems.items())
        ]
        grouped = "" if self.groups is None else f" in {self.groups} groups"
        how = f"{self.rules.test} test, {self.queries} queries{grouped}; each interval is of its pair alone"
        return [*shown, "", *(each.says(self.rules.correction, self.rules.power) for each in self.verdicts), how]


def compare_runs(
    runs: dict[str, Source],
    qrels: Source,
    metrics: Sequence[str],
    rules: Rules = Rules(),
    *,
    group: Path | None = None,
    ties: TieRule = "id",
    empty: EmptyRule = "zero",
) -> Comparison:
    """Compare `runs`, name → source, on `metrics`. group: a table of each query's subject, see `read_groups`.

    Raises InputError for fewer than two runs, an unknown rule, a metric without a value per query, and bad input by
    file and line.
    """
    _check(runs, rules)
    values, queries = _measured(runs, qrels, metrics, ties, empty)
    groups = None if group is None else read_groups(group, queries)
    systems = {
        name: {label: _interval(values[label][:, s], rules, groups) for label in values} for s, name in enumerate(runs)
    }
    count = None if groups is None else len(np.unique(groups))
    return Comparison(systems, _verdicts(list(runs), values, rules, groups), rules, len(queries), count)


def read_groups(path: Path, queries: pl.Series) -> NDArray[np.int64]:
    """The group of each query `[R]` from Parquet or CSV with a query column and one of GROUP; a query whose group is
    empty stands alone. Raises InputError where a query is missing or stands in two groups."""
    if path.name.removesuffix(".gz").rpartition(".")[2] not in {"parquet", "csv"}:
        raise InputError("--group", "a file ending in .parquet or .csv", received=str(path))
    frame = read_table(path, ())[0]
    called = [name for names in (QUERY, GROUP) for name in [each for each in names if each in frame.columns][:1]]
    if len(called) < 2:
        expected = f"a column of {', '.join(QUERY)} and one of {', '.join(GROUP)}"
        raise InputError("--group", expected, place=str(path), received=", ".join(frame.columns))
    pairs = frame.select(pl.col(called).cast(pl.String)).unique()
    pairs.columns = ["query_id", "group"]
    if pairs["query_id"].is_duplicated().any():
        twice = pairs.filter(pl.col("query_id").is_duplicated())["query_id"][0]
        raise InputError("--group", "one group a query", place=str(path), received=twice)
    found = queries.to_frame("query_id").with_row_index("row").join(pairs, on="query_id", how="left").sort("row")
    missing = found.join(pairs, on="query_id", how="anti")
    if missing.height:
        raise InputError("--group", "every judged query", place=str(path), received=missing["query_id"][0])
    codes = found["group"].fill_null("").rank("dense").cast(pl.Int64).to_numpy()
    alone = (found["group"].fill_null("") == "").to_numpy()
    return np.where(alone, -1 - np.arange(len(codes)), codes)


def _check(runs: dict[str, Source], rules: Rules) -> None:
    if len(runs) < 2:
        raise InputError("--run", "two runs or more, of different names", received=", ".join(runs))
    known = ("test", rules.test, get_args(Test)), ("correction", rules.correction, get_args(Correction))
    for field, value, choices in (*known, ("baseline", rules.baseline, ("first", "all"))):
        if value not in choices:
            raise InputError(field, f"one of {', '.join(choices)}", received=value)
    if not ALPHA < rules.power < 1.0:
        raise InputError("power", f"a number above {ALPHA} and below 1, such as 0.8", received=rules.power)


def _measured(
    runs: dict[str, Source], qrels: Source, metrics: Sequence[str], ties: TieRule, empty: EmptyRule
) -> tuple[dict[str, Floats], pl.Series]:
    """Metric → values `[R, S]` of each query under each run; the query ids `[R]`."""
    frames = [
        evaluate_run(run, qrels, metrics, ties, empty, draws=0).per_query.sort("query_id") for run in runs.values()
    ]
    labels = list(dict.fromkeys(metrics))
    if pooled := [label for label in labels if label not in frames[0].columns]:
        raise InputError("metric", "one with a value for each query: pairs are of queries", received=pooled[0])
    values = {label: np.stack([frame[label].to_numpy() for frame in frames], axis=1) for label in labels}
    return values, frames[0]["query_id"]


def _interval(values: Floats, rules: Rules, groups: Groups) -> Interval:
    if rules.test == "bootstrap":
        return bootstrap_interval(values, rules.seed, groups, FLIPS, _units(groups))
    return t_interval(values, groups, units=_units(groups))


def _difference(a: Floats, b: Floats, rules: Rules, groups: Groups, family: int) -> Difference:
    """Of b - a."""
    if rules.test == "t":
        return paired_t(b, a, groups, _units(groups), family)
    if rules.test == "bootstrap":
        return paired_bootstrap(b, a, rules.seed, groups, FLIPS, _units(groups))
    return paired_permutation(b, a, rules.seed, groups, units=_units(groups), family=family)


def _units(groups: Groups) -> str:
    return "queries" if groups is None else "groups"


def _verdicts(names: list[str], values: dict[str, Floats], rules: Rules, groups: Groups) -> tuple[Verdict, ...]:
    pairs = [(a, b) for a, b in combinations(range(len(names)), 2) if a == 0 or rules.baseline == "all"]
    family = len(pairs) * len(values)
    together = 1 if rules.correction == "none" else family
    found = {
        (label, a, b): _difference(each[:, a], each[:, b], rules, groups, together)
        for label, each in values.items()
        for a, b in pairs
    }
    if rules.correction == "tukey":
        tukey = {label: tukey_hsd(each, rules.seed, groups) for label, each in values.items()}
        p_values = np.array([tukey[label][a, b] for label, a, b in found])
        corrected = np.where([each.refused is None for each in found.values()], p_values, np.nan)
        family = len(names) * (len(names) - 1) // 2
    else:
        p_values = np.array([difference.p_value for difference in found.values()])
        corrected = p_values if rules.correction == "none" else _STEPS[rules.correction](p_values)
    alpha = ALPHA if rules.correction == "none" else ALPHA / family
    verdicts = []
    for ((label, a, b), difference), p_value in zip(found.items(), corrected, strict=True):
        spread = spread_of(values[label][:, b] - values[label][:, a], groups)
        least = float("nan") if difference.refused else detectable_effect(spread, alpha, rules.power)
        verdicts.append(Verdict(label, names[a], names[b], difference, float(p_value), family, least))
    return tuple(verdicts)


def _mean_of(interval: Interval) -> str:
    if math.isnan(interval.mean):
        return "undefined"
    if math.isnan(interval.low):
        return f"{interval.mean:.4f} no interval ({interval.refused})"
    return f"{interval.mean:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


def _p(value: float) -> str:
    return "< .0001" if value < 0.0001 else f"{value:.4f}".lstrip("0") if value < 0.01 else f"{value:.2f}".lstrip("0")


def _flat(values: dict[str, object]) -> dict[str, object]:
    """Nested dicts side by side, nan as null."""
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value)
        else:
            flat[name] = None if isinstance(value, float) and math.isnan(value) else value
    return flat
