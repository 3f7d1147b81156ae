"""What the command line runs: an evaluation of a bundle on disk, a replay through a service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import load_section
from pipeline.logs.config import LogsConfig
from pipeline.logs.read import Log
from pipeline.progress import Report as OnProgress
from pipeline.progress import silent
from serving.engine import Engine
from serving.replay.http import HttpOptions, replay_http
from serving.replay.page.head import left_out
from serving.replay.report import Report
from serving.replay.run import EvaluateOptions, evaluate

_SHOWN = ("ndcg@10", "ndcg_exp@10", "mrr", "recall@100", "true_ndcg@10", "recovered")


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A finished evaluation, for printing."""

    report: Report
    out: Path

    @property
    def values(self) -> dict[str, Any]:
        return self.report.as_json()

    def lines(self) -> list[str]:
        """A table a mode: systems against the metrics that fit on a line; what changed against a baseline; the gate."""
        said = [f"WARNING: {warning}" for warning in self.report.trained_on.get("warnings", [])]
        for mode, about in self.report.modes.items():
            unknown = about["unknown_requests"]
            left = f", {unknown} of unknown outcomes, which are measured by nothing" if unknown else ""
            said.append(f"{mode}: {about['requests']} requests, {about['empty_requests']} without a positive{left}")
            for name, metrics in about["systems"].items():
                known = {metric: value for metric in _SHOWN if (value := metrics.get(metric))}
                cells = [_cell(metric, value) for metric, value in known.items() if value["mean"] is not None]
                said.append(f"  {name:<12}{'  '.join(cells)}")
            said += _no_intervals(about["systems"])
        said += left_out(self.report.left_out)
        said += [f"left out, {name}: {why}" for name, why in self.report.failed.items()]
        said += [_corrected(mode, found["systems"]) for mode, found in self.report.off_policy.get("modes", {}).items()]
        said += [_changed(mode, found) for mode, found in self.report.regression.items()]
        if self.report.gate:
            said.append(f"gate: passed, {len(self.report.gate['checks'])} checks")
        return said


def _cell(metric: str, value: Mapping[str, Any]) -> str:
    interval = "" if value["low"] is None else f" [{value['low']:.4f}, {value['high']:.4f}]"
    return f"{metric} {value['mean']:.4f}{interval}"


def _no_intervals(systems: Mapping[str, Any]) -> list[str]:
    """Why figures stand without an interval, each reason once, with those that it holds for where these are not all."""
    shown = [(f"{name} {metric}", metrics[metric]) for name, metrics in systems.items() for metric in metrics]
    shown = [(label, value) for label, value in shown if label.rpartition(" ")[2] in _SHOWN and value["n"]]
    reasons: dict[str, list[str]] = {}
    for label, value in shown:
        if value.get("refused"):
            reasons.setdefault(value["refused"], []).append(label)
    return [
        f"  no interval{'' if len(labels) == len(shown) else ' for ' + ', '.join(labels)}: {reason}"
        for reason, labels in reasons.items()
    ]


def _corrected(mode: str, systems: Mapping[str, Any]) -> str:
    """IPS-DCG@10 of the systems, or why there is none."""
    found = {name: figures["ips_dcg@10"] for name, figures in systems.items()}
    known = [
        f"{name} {value['mean']:.4f} [{value['low']:.4f}, {value['high']:.4f}]"
        for name, value in found.items()
        if value["low"] is not None
    ]
    reasons = {value["refused"] for value in found.values() if value["refused"]}
    return f"{mode} corrected for places, ips_dcg@10: {'  '.join(known) or '; '.join(sorted(reasons))}"


def _changed(mode: str, found: Mapping[str, Any]) -> str:
    """The first test of a mode, and how many lists have another first item."""
    test, first = found["tests"][0], found["agreement"]["other_first"]["mean"]
    if test["mean"] is None or first is None:
        return f"{mode} against {found['baseline']}: {test['metric']} undefined"
    moved = f"{first:.1%} with another first item, {found['lost']} lost, {found['won']} won"
    ends = f"no verdict: {test['refused']}" if test["low"] is None else f"{test['low']:+.4f}, {test['high']:+.4f}"
    interval = f"{test['mean']:+.4f} [{ends}]"
    return f"{mode} against {found['baseline']}: {test['metric']} {interval}, {moved}"


def evaluate_bundle(
    bundle: Path,
    logs: Path,
    out: Path,
    *,
    config: Path | None = None,
    history: Sequence[Path] = (),
    baseline: Path | None = None,
    on_progress: OnProgress = silent,
    **options: Any,
) -> Evaluated:
    """Open the bundle and replay the log through it. options: the other fields of EvaluateOptions."""
    rules = load_section(config, "logs", LogsConfig)
    chosen = EvaluateOptions(
        **{name: value for name, value in options.items() if value is not None},
        history=tuple(Log.open(path) for path in history),
        baseline=None if baseline is None else Engine(baseline, config=config),
        windows_ms=rules.windows_ms,
    )
    engine = Engine(bundle, config=config)
    log = Log.open(logs)
    report = evaluate(engine, log, chosen, out, lambda what, done, total: on_progress(what, done / max(total, 1)))
    return Evaluated(report, out)


def replay_service(
    url: str, logs: Path, out: Path, *, sample: int | None = None, key: str = "", on_progress: OnProgress = silent
) -> Evaluated:
    """Replay the log through a service under --replay; one page holds 100 items, so two reach the slate's depth."""
    rules = LogsConfig()
    options = HttpOptions(sample=sample, page_size=100, key=key, gains=rules.gains, windows_ms=rules.windows_ms)
    report = replay_http(
        url, Log.open(logs), options, out, lambda what, done, total: on_progress(what, done / max(total, 1))
    )
    return Evaluated(report, out)
