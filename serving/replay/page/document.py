"""The report as one page that needs nothing else: no script, no font, no address outside itself."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
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
from serving.replay.page.tables import card, note, section, text
from serving.replay.sections import Sections


def page(report: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """The HTML of a report, as `report.json` has it; and of the parts that could not be drawn, why."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    title = f"Replay report {text(report['protocol']['hash'])}"
    parts = Sections()
    body = [parts.attempt(f"page: {name}", draw, "") for name, draw in _parts(report)]
    failed = _failed({**report.get("failed", {}), **parts.failed})
    whole = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head>"
        f"<body><main>{''.join([*body[:2], failed, *body[2:]])}</main></body></html>\n"
    )
    return whole, parts.failed


def _parts(report: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], str]]]:
    """The verdict first, then from the whole to single requests: the name of each part, and what draws it."""
    yield "gate", partial(verdict, report.get("gate", {}))
    yield "head", partial(head, report)
    yield from _by_mode("mode", mode_section, report["modes"])
    yield "off-policy", partial(off_policy_section, report.get("off_policy", {}))
    yield from _by_mode("regression", regression_section, report.get("regression", {}))
    yield "differences", partial(differences, report["compare"])
    yield "funnel", partial(funnel_section, report["funnel"])
    yield from _by_mode("slices", slices_section, report["slices"])
    yield from _by_mode("diversity", diversity_section, report.get("diversity", {}))
    yield from _by_mode("requests", examples_section, report.get("examples", {}))
    yield "protocol", partial(_protocol, report["protocol"])


def _by_mode(
    name: str, draw: Callable[[str, Mapping[str, Any]], str], modes: Mapping[str, Any]
) -> Iterator[tuple[str, Callable[[], str]]]:
    yield from ((f"{name} ({mode})", partial(draw, mode, part)) for mode, part in modes.items())


def _failed(reasons: Mapping[str, str]) -> str:
    if not reasons:
        return ""
    said = "".join(note(f"{name}: {why}") for name, why in reasons.items())
    return section("failed", "Parts that are not here", "Each failed by itself; the rest of the report stands.", said)


def _protocol(how: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<dt>{text(k)}</dt><dd><code>{text('none' if v is None else v)}</code></dd>" for k, v in how.items()
    )
    return section("protocol", "Protocol", "", card(f"<dl>{rows}</dl>"))
