"""What the features looked like when a ranker was trained, as one page that needs nothing else, and as JSON.

The files depend on nothing but the rows, so that a model trained again leaves the same bytes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from math import isfinite
from pathlib import Path
from typing import Any, Final

from pipeline.bundle import Bundle
from pipeline.errors import ArtifactError, InputError
from pipeline.features.audit import Audit, matches
from pipeline.features.config import FeaturesConfig

JSON_FILE: Final = "features.json"
HTML_FILE: Final = "features.html"
SCHEMA: Final = 1
Report = Mapping[str, Any]

_COLUMNS: Final = {
    "name": "feature",
    "importance": "importance",
    "auc": "AUC alone",
    "psi": "drift (PSI)",
    "missing": "missing",
    "mean": "mean",
    "std": "std",
    "quantiles": "min · median · max",
    "histogram": "values",
    "marks": "",
}
_ABOUT: Final = (
    "Importance: share of the gain of all splits. AUC alone: how well the feature by itself tells clicks apart, in its"
    " better direction, a missing value counting as a value. Drift: PSI of the latest rows against the earlier ones."
    " Values: between the 5 % and 95 % quantiles, what lies beyond in the outer bars."
)
# Sorts by the column whose head is clicked; everything else of the page works without it.
_SCRIPT: Final = (
    "document.querySelectorAll('th').forEach((h,i)=>h.onclick=()=>{const b=h.closest('table').tBodies[0],"
    "d=h.dataset.d=h.dataset.d==='1'?'-1':'1',v=r=>r.cells[i].dataset.v;[...b.rows].sort((x,y)=>d*(isNaN(v(x))||"
    "isNaN(v(y))?v(y).localeCompare(v(x)):v(y)-v(x))).forEach(r=>b.append(r))})"
)


def make_report(
    found: Sequence[Audit], importance: Mapping[str, float], rules: FeaturesConfig, rows: int
) -> dict[str, Any]:
    """found: an audit a feature; importance: share of the gain by name, what is not there was not given to the model;
    rows: how many were looked at. Features in order of importance."""
    ordered = sorted(found, key=lambda each: (-importance.get(each.name, -1.0), each.name))
    features = [
        {key: _plain(value) for key, value in asdict(each).items()}
        | {"missing": _plain(each.missing), "importance": _plain(importance.get(each.name))}
        | {"marks": list(_marks(each, rules))}
        for each in ordered
    ]
    return {"schema": SCHEMA, "rows": rows, "rules": rules.model_dump(mode="json"), "features": features}


def write_report(folder: Path, report: Report) -> None:
    """`features.json` and `features.html`."""
    (folder / JSON_FILE).write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (folder / HTML_FILE).write_text(page(report), encoding="utf-8")


def read_report(bundle: Bundle) -> dict[str, Any]:
    """The report of a bundle's ranker. Raises InputError when it has none."""
    path = bundle.part("ranker") / JSON_FILE if "ranker" in bundle.parts else None
    if path is None or not path.is_file():
        raise InputError("--bundle", "one whose ranker was trained with a feature report; train again", place=bundle.id)
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArtifactError(JSON_FILE, f"readable JSON ({error})", place=str(path.parent)) from error
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        raise ArtifactError("schema", f"{SCHEMA}; train again with this version", place=str(path))
    return report


def lines(report: Report) -> list[str]:
    """The table for a terminal."""
    said = [f"{'feature':<24}{'importance':>10}{'AUC':>7}{'PSI':>7}{'missing':>9}{'mean':>11}{'std':>11}"]
    for each in report["features"]:
        numbers = (_short(each["auc"], 3), _short(each["psi"], 2), _percent(each["missing"]))
        spread = f"{_short(each['mean']):>11}{_short(each['std']):>11}"
        row = f"{each['name']:<24}{_percent(each['importance']):>10}{numbers[0]:>7}{numbers[1]:>7}{numbers[2]:>9}"
        said.append(f"{row}{spread}  {', '.join(each['marks'])}".rstrip())
    return [*said, f"{len(report['features'])} features of {report['rows']} rows"]


def page(report: Report) -> str:
    """The HTML of a report."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    most = max((each["importance"] or 0.0 for each in report["features"]), default=0.0) or 1.0
    head = "".join(f"<th>{escape(title)}</th>" for title in _COLUMNS.values())
    body = "".join(_row(each, most) for each in report["features"])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Features</title><style>{style}</style></head><body><main><h1>Features</h1>"
        f"<p>{len(report['features'])} features of {report['rows']} rows. {escape(_ABOUT)}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></main>"
        f"<script>{_SCRIPT}</script></body></html>\n"
    )


def _row(each: Mapping[str, Any], most: float) -> str:
    low, middle, high = (_short(each["quantiles"][place]) for place in (0, len(each["quantiles"]) // 2, -1))
    shown = {
        "name": escape(str(each["name"])),
        "importance": _bar((each["importance"] or 0.0) / most) + _percent(each["importance"]),
        "auc": _short(each["auc"], 3),
        "psi": _short(each["psi"], 2),
        "missing": _bar(each["missing"]) + _percent(each["missing"]),
        "mean": _short(each["mean"]),
        "std": _short(each["std"]),
        "quantiles": f"{low} · {middle} · {high}",
        "histogram": _histogram(each["histogram"]),
        "marks": "".join(f"<b>{escape(mark)}</b> " for mark in each["marks"]),
    }
    cells = (f'<td data-v="{_key(name, each)}">{shown[name]}</td>' for name in _COLUMNS)
    return f"<tr>{''.join(cells)}</tr>"


def _key(name: str, each: Mapping[str, Any]) -> str:
    """What a cell is sorted by."""
    value = each[name]
    if name == "quantiles":
        value = value[len(value) // 2]
    if isinstance(value, list):
        value = len(value)
    return "-1" if value is None else escape(str(value), quote=True)


def _bar(share: float) -> str:
    width = round(60 * min(max(share, 0.0), 1.0), 1)
    return f'<svg class="bar" viewBox="0 0 60 10"><rect width="{width}" height="10"/></svg>'


def _histogram(counts: Sequence[int]) -> str:
    if not counts:
        return ""
    top = max(counts) or 1
    bars = (
        f'<rect x="{5 * place}" y="{round(24 - 24 * count / top, 1)}" width="4" height="{round(24 * count / top, 1)}"/>'
        for place, count in enumerate(counts)
        if count
    )
    return f'<svg class="values" viewBox="0 0 {5 * len(counts)} 24">{"".join(bars)}</svg>'


def _marks(each: Audit, rules: FeaturesConfig) -> list[str]:
    """What a reader should look at."""
    told = {
        "forbidden": matches(each.name, rules.forbidden),
        "constant": each.constant,
        "tells too much": each.auc > rules.auc_alarm,
        "drifts": each.psi > rules.psi_alarm,
    }
    return [mark for mark, so in told.items() if so]


def _plain(value: Any) -> Any:
    """As JSON can say it: no nan, no infinity, seven digits."""
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.7g}") if isfinite(value) else None
    return value


def _short(value: float | None, digits: int | None = None) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if digits is None else f"{value:.{digits}f}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
