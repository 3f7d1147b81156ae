"""The report as one page that needs nothing else: no script, no font, no address outside itself."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from serving.replay.page.diversity import diversity_section
from serving.replay.page.examples import examples_section
from serving.replay.page.funnel import funnel_section
from serving.replay.page.head import head, verdict
from serving.replay.page.offpolicy import off_policy_section
from serving.replay.page.regression import regression_section
from serving.replay.page.slices import slices_section
from serving.replay.page.systems import differences, mode_section
from serving.replay.page.tables import card, section, text


def page(report: Mapping[str, Any]) -> str:
    """The HTML of a report, as `report.json` has it."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    title = f"Replay report {text(report['protocol']['hash'])}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head>"
        f"<body><main>{''.join(_parts(report))}</main></body></html>\n"
    )


def _parts(report: Mapping[str, Any]) -> Iterator[str]:
    """The verdict first, then from the whole to single requests."""
    yield verdict(report.get("gate", {}))
    yield head(report)
    yield from (mode_section(name, mode) for name, mode in report["modes"].items())
    yield off_policy_section(report.get("off_policy", {}))
    yield from (regression_section(name, part) for name, part in report.get("regression", {}).items())
    yield differences(report["compare"])
    yield funnel_section(report["funnel"])
    yield from (slices_section(name, part) for name, part in report["slices"].items())
    yield from (diversity_section(name, part) for name, part in report.get("diversity", {}).items())
    yield from (examples_section(name, part) for name, part in report.get("examples", {}).items())
    yield _protocol(report["protocol"])


def _protocol(how: Mapping[str, Any]) -> str:
    rows = "".join(f"<dt>{text(k)}</dt><dd><code>{text(v)}</code></dd>" for k, v in how.items())
    return section("protocol", "Protocol", "", card(f"<dl>{rows}</dl>"))
