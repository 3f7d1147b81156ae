"""Whether the numbers are good enough to ship: what a file asks of means, parts, latency and off-policy estimates.

Every check is made and reported; one that fails, or that too little was measured for, does not pass.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from pipeline.config import Config, read_toml
from pipeline.errors import ConfigError
from serving.replay.dimensions import DIMENSIONS, OF_REQUESTS
from serving.replay.measures import METRICS
from serving.replay.slices import upper


class Bound(Config):
    """What a figure must reach: its mean, the lower end of its 95 % interval, or both."""

    mean: float | None = Field(default=None, description="the least mean that passes")
    low: float | None = Field(default=None, description="the least lower end of the 95 % interval that passes")


class SliceRule(Config):
    """No part of the requests may fall. A part falls when the upper bound of podium less baseline, on its requests, is
    below -allowed_drop; the bounds hold together, each at 1 - (1 - confidence) / parts judged (Bonferroni)."""

    metrics: tuple[str, ...] = Field(default=("rank.ndcg@10",), min_length=1, description="MODE.METRIC of each part")
    dimensions: tuple[str, ...] = Field(
        default=OF_REQUESTS, min_length=1, description="every part of these; absent ones of the defaults are left out"
    )
    allowed_drop: float = Field(default=0.0, ge=0, description="how far a part may surely fall")
    minimum_requests: int = Field(default=100, ge=2, description="smaller parts are not judged, and listed")
    minimum_subjects: int = Field(default=30, ge=6, description="parts of fewer subjects are not judged, and listed")
    confidence: float = Field(default=0.95, gt=0, lt=1, description="that an unchanged bundle loses no part")


class LatencyRule(Config):
    """Of one request alone, in every mode that is measured."""

    ratio: float | None = Field(
        default=None, gt=0, description="podium's time over the baseline's: refused when surely above"
    )
    p50_ms: float | None = Field(default=None, gt=0, description="the most that the median may be")
    p99_ms: float | None = Field(default=None, gt=0, description="the most that the 99th percentile may be")


class Gate(Config):
    """What podium must reach. Keys are `MODE.METRIC`, as `rank.ndcg@10`, or `MODE.DIMENSION=VALUE.METRIC`."""

    minimum: dict[str, float] = Field(default={}, description="the least mean that passes")
    max_drop: dict[str, float] = Field(default={}, description="how far the mean may be below the baseline's")
    difference: dict[str, Bound] = Field(default={}, description="what podium less baseline must reach")
    slices: SliceRule | None = Field(default=None, description="parts that may not fall below the baseline")
    latency: LatencyRule | None = Field(default=None, description="what a request may take")
    off_policy: dict[str, Bound] = Field(default={}, description="what podium's off-policy estimate must reach")

    @property
    def compares(self) -> bool:
        """Whether it says anything about the baseline."""
        return bool(self.max_drop or self.difference or self.slices or self.latency)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was asked. said: the figure and what was asked of it, with its name; refused: there is too little
    to say whether it holds, so that it does not pass and the bundle is not to blame."""

    check: str
    name: str
    passed: bool
    said: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every check, and the parts that were too small to judge."""

    checks: tuple[Check, ...]
    not_judged: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def reason(self) -> str:
        """What did not pass, in one sentence: first what failed, then what could not be judged."""
        failed = sorted((check for check in self.checks if not check.passed), key=lambda check: check.refused)
        return "gate: " + "; ".join(check.said for check in failed)

    def as_json(self) -> dict[str, Any]:
        checks = [asdict(check) for check in self.checks]
        return {"passed": self.passed, "checks": checks, "not_judged": list(self.not_judged)}


@dataclass(frozen=True, slots=True)
class Key:
    """A figure's name, taken apart; dimension and value are "" for the whole mode."""

    mode: str
    dimension: str
    value: str
    metric: str

    @classmethod
    def of(cls, name: str) -> "Key":
        mode, _, rest = name.partition(".")
        part, _, metric = rest.rpartition(".")
        dimension, _, value = part.partition("=")
        return cls(mode, dimension, value, metric)


def load_gate(path: Path) -> Gate:
    """Raises ConfigError for a missing or malformed file and for unknown keys."""
    try:
        return Gate.model_validate(read_toml(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(key, str(first["msg"]), place=str(path), received=first.get("input")) from error


def check_keys(gate: Gate, modes: Sequence[str], place: str, *, truth: bool, compared: bool) -> None:
    """Before any work: raises ConfigError for a mode, metric or dimension that the report will not have."""
    if gate.compares and not compared:
        named = next(name for name in ("max_drop", "difference", "slices", "latency") if getattr(gate, name))
        raise ConfigError(named, "used together with --baseline", place=place)
    rules = () if gate.slices is None else gate.slices.metrics
    for name in (*gate.minimum, *gate.max_drop, *gate.difference, *rules):
        _check_key(name, modes, place, truth=truth)
    for name in gate.off_policy:
        if Key.of(name).mode not in modes:
            raise ConfigError(name, f"a mode of this report: {', '.join(modes)}", place=place)
    for dimension in () if gate.slices is None else gate.slices.dimensions:
        _check_dimension("slices.dimensions", dimension, place)


def _check_key(name: str, modes: Sequence[str], place: str, *, truth: bool) -> None:
    key = Key.of(name)
    if key.mode not in modes:
        raise ConfigError(name, f"a mode of this report: {', '.join(modes)}", place=place, received=key.mode)
    known = [*METRICS[key.mode], *(["judged@10"] if key.mode == "funnel" else [])]
    known += ["true_ndcg@10", "recovered"] if truth and key.mode in ("rank", "funnel") else []
    if key.metric not in known:
        raise ConfigError(name, f"a metric of the mode: {', '.join(known)}", place=place, received=key.metric)
    if key.dimension:
        _check_dimension(name, key.dimension, place)


def _check_dimension(name: str, dimension: str, place: str) -> None:
    if dimension not in DIMENSIONS:
        raise ConfigError(name, f"a dimension: {', '.join(DIMENSIONS)}", place=place, received=dimension)


def judge(gate: Gate, report: Mapping[str, Any]) -> Verdict:
    """Every check of the gate against a report, as `report.json` has it."""
    checks = [
        *(_least(report, name, least) for name, least in gate.minimum.items()),
        *(_drop(report, name, drop) for name, drop in gate.max_drop.items()),
        *(_reached("difference", name, _difference(report, name), asked) for name, asked in gate.difference.items()),
        *(_reached("off_policy", name, _estimate(report, name), asked) for name, asked in gate.off_policy.items()),
        *(_latency(gate.latency, report) if gate.latency is not None else ()),
    ]
    if gate.slices is None:
        return Verdict(tuple(checks))
    parts, small = _parts(gate.slices, report)
    return Verdict((*checks, *_falls(gate.slices, parts)), tuple(small))


def _refused(check: str, name: str, reason: str) -> Check:
    return Check(check, name, False, f"{name} cannot be judged, {reason}", refused=True)


def _too_few(figure: Mapping[str, Any]) -> str:
    """Why a figure is of too little to be held to anything, "" where it is not. One that is the same for everybody is
    known well enough."""
    if figure.get("mean") is None:
        return "nothing was measured"
    return str(figure["refused"]) if figure.get("needed") else ""


def _least(report: Mapping[str, Any], name: str, least: float) -> Check:
    figure = _figure(report, name, "podium")
    if reason := _too_few(figure):
        return _refused("minimum", name, reason)
    mean = figure.get("mean")
    passed = mean is not None and mean >= least
    return Check("minimum", name, passed, f"{name} is {_text(mean)}, at least {least:g} is asked for")


def _drop(report: Mapping[str, Any], name: str, drop: float) -> Check:
    figures = [_figure(report, name, system) for system in ("podium", "baseline")]
    if reason := next(filter(None, map(_too_few, figures)), ""):
        return _refused("max_drop", name, reason)
    mean, before = (figure.get("mean") for figure in figures)
    passed = mean is not None and before is not None and before - mean <= drop
    said = f"{name} is {_text(mean)} after {_text(before)}, a drop of {drop:g} is allowed"
    return Check("max_drop", name, passed, said)


def _reached(check: str, name: str, figure: Mapping[str, Any], asked: Bound) -> Check:
    """A figure that was refused, or is not there, does not pass."""
    label = name if check == "difference" else f"off-policy {name}"
    what = "podium less baseline" if check == "difference" else "estimate"
    unchanged = check == "difference" and figure.get("mean") == 0.0 and not figure.get("needed")
    if (reason := figure.get("refused")) and not unchanged:
        return Check(check, name, False, f"{label} cannot be judged, no {what}: {reason}", refused=True)
    if figure.get("mean") is None:
        return Check(check, name, False, f"{label} cannot be judged, no {what}: nothing was measured", refused=True)
    if unchanged:  # the two answer alike on enough requests: no interval is needed to know it
        figure = {**figure, "low": 0.0, "high": 0.0}
    wanted = [(end, least) for end, least in (("mean", asked.mean), ("low", asked.low)) if least is not None]
    passed = all(figure.get(end) is not None and figure[end] >= least for end, least in wanted)
    words = {"mean": "the mean", "low": "the lower end of the interval"}
    asks = " and ".join(f"{words[end]} at least {least:g}" for end, least in wanted) or "nothing"
    said = f"{_signed(figure.get('mean'))} [{_signed(figure.get('low'))}, {_signed(figure.get('high'))}]"
    return Check(check, name, passed, f"{label}: {what} {said}, {asks} is asked for")


def _latency(rule: LatencyRule, report: Mapping[str, Any]) -> Iterator[Check]:
    for mode in dict.fromkeys([*report["modes"], *report["regression"]]):
        found = report["regression"].get(mode, {}).get("latency")
        if not found:
            yield _refused("latency", f"{mode}.latency", "it was not measured")
            continue
        if rule.ratio is not None:
            ratio, name = found["ratio"], f"{mode}.latency.ratio"
            if ratio["low"] is None:
                yield _refused("latency", name, ratio.get("refused") or "nothing was measured")
                continue
            said = f"{name} is {ratio['mean']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}], at most {rule.ratio:g}"
            yield Check("latency", name, ratio["low"] <= rule.ratio, said)
        for quantile, most in (("p50", rule.p50_ms), ("p99", rule.p99_ms)):
            if most is not None:
                total, name = found["stages"][-1], f"{mode}.latency.{quantile}"
                value = total["podium"][quantile]
                yield Check("latency", name, value <= most, f"{name} is {value:.2f} ms, at most {most:g} ms")


def _parts(rule: SliceRule, report: Mapping[str, Any]) -> tuple[list[tuple[str, Mapping[str, Any]]], list[str]]:
    """The paired differences of the parts that are large enough, and the names of the others."""
    enough, small = [], []
    for key in map(Key.of, rule.metrics):
        for dimension in rule.dimensions:
            for value, part in report["slices"].get(key.mode, {}).get(dimension, {}).items():
                name = f"{key.mode}.{dimension}={value}.{key.metric}"
                found = part["difference"].get("baseline", {}).get(key.metric)
                if found is None or not found["n"]:
                    continue
                if found["n"] < rule.minimum_requests or found["groups"] < rule.minimum_subjects:
                    small.append(f"{name} ({found['n']} requests of {found['groups']} subjects)")
                else:
                    enough.append((name, found))
    return enough, small


def _falls(rule: SliceRule, parts: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[Check]:
    """The surest fall first: parts overlap, and the one that was hurt drags others along."""
    if not parts:
        least = f"{rule.minimum_requests} requests of {rule.minimum_subjects} subjects"
        yield Check("slices", "slices", False, f"slices: no part is judged, none has {least}", refused=True)
        return
    confidence = 1.0 - (1.0 - rule.confidence) / len(parts)
    bounded = sorted(((upper(found, confidence), name, found) for name, found in parts), key=lambda each: each[:2])
    for high, name, found in bounded:
        if found.get("refused") and found["mean"] < 0:
            yield _refused("slices", name, found["refused"])
            continue
        said = (
            f"{name} fell by {-found['mean']:.4f}, surely by more than {max(-high, 0.0):.4f} "
            f"(n {found['n']}, one of {len(parts)} parts), a drop of {rule.allowed_drop:g} is allowed"
            if found["mean"] < 0
            else f"{name} rose by {found['mean']:.4f} (n {found['n']})"
        )
        yield Check("slices", name, high >= -rule.allowed_drop, said)


def _figures(report: Mapping[str, Any], key: Key) -> Mapping[str, Any]:
    """What holds `systems`: a mode, or one part of it; empty where there is no such part."""
    if not key.dimension:
        return dict(report["modes"].get(key.mode, {}))
    return dict(report["slices"].get(key.mode, {}).get(key.dimension, {}).get(key.value, {}))


def _figure(report: Mapping[str, Any], name: str, system: str) -> Mapping[str, Any]:
    key = Key.of(name)
    found: Mapping[str, Any] = _figures(report, key).get("systems", {}).get(system, {}).get(key.metric, {})
    return found


def _difference(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    key = Key.of(name)
    if key.dimension:
        return dict(_figures(report, key).get("difference", {}).get("baseline", {}).get(key.metric, {}))
    tests = report["regression"].get(key.mode, {}).get("tests", [])
    return next((test for test in tests if test["metric"] == key.metric), {})


def _estimate(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    key = Key.of(name)
    systems = report["off_policy"].get("modes", {}).get(key.mode, {}).get("systems", {})
    found: Mapping[str, Any] = systems.get("podium", {}).get(key.metric, {"refused": "the log supports none"})
    return found


def _text(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _signed(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.4f}"
