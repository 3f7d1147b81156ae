"""`podium events check`: a log against the bounds of [watch]."""

from pathlib import Path

import click

from pipeline.console import show
from pipeline.errors import GateError
from pipeline.progress import progress
from serving.options import PATH, as_json, config_file


@click.command("check")
@click.option("--logs", type=PATH, required=True, help="The log.")
@click.option("--days", type=click.IntRange(1), help="Only the last days of it.")
@click.option("--report", type=PATH, help="What `podium ingest --json` printed: its duplicates and refusals count.")
@config_file
@as_json
def check(logs: Path, days: int | None, report: Path | None, config: Path | None, json_: bool) -> None:
    """Whether feedback finds its pages, clocks are right and nothing is lost or doubled; ends with 3 on an alarm."""
    from pipeline.config import load_section
    from pipeline.logs.config import LogsConfig
    from pipeline.logs.moments import Plausible
    from pipeline.logs.partitions import DAY_MS
    from pipeline.logs.read import Log
    from pipeline.logs.watch.config import WatchConfig
    from pipeline.logs.watch.joins import watch
    from pipeline.logs.watch.report import lines, read_reported, values

    bounds, log = load_section(config, "watch", WatchConfig), Log.open(logs)
    known = sorted({*log.days("feedback"), *log.days("impression")})
    since = known[-days] * DAY_MS if days is not None and days < len(known) else None
    reported = None if report is None else read_reported(report)
    rules = load_section(config, "logs", LogsConfig)
    windows, plausible = rules.windows_ms, Plausible.of(rules)
    with progress("check", quiet=json_) as on_progress:
        found = watch(
            *(log, bounds),
            since=since,
            windows=windows,
            plausible=plausible,
            reported=reported,
            on_progress=on_progress,
        )
    show(values(found), json_, lambda: lines(found, bounds))
    if found.alarms:
        raise GateError(f"{len(found.alarms)} alarms, first: {found.alarms[0]}")
