"""What `podium events check` prints: rates against their bounds, days, programs, alarms."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.logs.watch.config import AT_LEAST, WatchConfig
from pipeline.logs.watch.joins import RATES, Watched
from pipeline.logs.watch.robots import SIGNS

_NAMED = 20  # programs that are listed


def values(found: Watched) -> dict[str, Any]:
    """Everything, as JSON."""
    robots = [
        {"subject": row["subject"], "events": row["events"], "signs": [sign for sign in SIGNS if row[sign]]}
        for row in found.robots.head(_NAMED).to_dicts()
    ]
    alarms = [
        {"what": a.what, "day": a.day, "measured": a.measured, "bound": a.bound, "of": a.of} for a in found.alarms
    ]
    days = {day: tally.values for day, tally in found.days.items()}
    return {"alarms": alarms, "overall": found.overall.values, "days": days, "robots": robots}


def lines(found: Watched, config: WatchConfig) -> list[str]:
    """For people: the whole log, its worst day of each rate, and the alarms last."""
    told = found.overall.values
    bounds = config.model_dump(include=set(RATES))
    written = [f"{'rate':<12}{'all days':>10}{'worst day':>24}{'bound':>12}"]
    for name in RATES:
        rate = told["rates"][name]
        if rate is not None:
            side = ">=" if name in AT_LEAST else "<="
            written.append(f"{name:<12}{rate:>10.4f}{_worst(found, name):>24}{f'{side} {bounds[name]:g}':>12}")
    for name, spans in (("page to feedback", told["lag_ms"]), ("time to receipt", told["delay_ms"])):
        shown = ", ".join(f"{share} {_span(ms)}" for share, ms in spans.items() if ms is not None)
        written.append(f"{name}: {shown or 'none'}")
    counts = told["counts"]
    signs = ", ".join(f"{sign} {counts[f'robots_{sign}']}" for sign in SIGNS)
    written.append(f"programs: {counts['robots']} of {counts['subjects']} subjects ({signs})")
    return [*written, *(f"ALARM {alarm}" for alarm in found.alarms)]


def _worst(found: Watched, name: str) -> str:
    rates = [(rate, day) for day, tally in found.days.items() if (rate := tally.rate(name)) is not None]
    if not rates:
        return "-"
    rate, day = min(rates) if name in AT_LEAST else max(rates)
    return f"{rate:.4f} {day}"


def _span(milliseconds: float) -> str:
    for size, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")):
        if milliseconds >= size:
            return f"{milliseconds / size:.1f} {unit}"
    return f"{milliseconds:.0f} ms"


def read_reported(path: Path) -> Mapping[str, int]:
    """The counts of a report that `podium ingest --json` or a job on the store printed.

    Raises InputError for a file that is no such report.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        accepted, duplicates = sum(told["accepted"].values()), sum(told["duplicates"].values())
        rejected = int(told["quarantined"])
    except FileNotFoundError:
        raise InputError("--report", "an existing file", place=str(path)) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        fix = "what `podium ingest --json` printed: accepted and duplicates by type, and quarantined"
        raise InputError("--report", fix, place=str(path)) from error
    return {"duplicates": duplicates, "rejected": rejected, "delivered": accepted + duplicates + rejected}
