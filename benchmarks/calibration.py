"""How well a bundle's probabilities hold on days it has not seen: ECE and PCOC of P(click) and P(convert | click).

    python -m benchmarks.calibration BUNDLES VALID [BUNDLES VALID ...] [--draws 500] [--json]

BUNDLES is the root of the bundles, VALID a later side of the split it was trained on; several are pooled. Intervals
are 95 % by bootstrap over pages (Poisson weights). P(convert | click) is judged on clicked items of pages at least as
old, when the log ends, as the age from which the ranker believed conversions in training.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import read_manifest
from pipeline.bundle import open_bundle
from pipeline.features.plain import SURFACES
from pipeline.logs.partitions import DAY_MS
from pipeline.logs.read import Log
from pipeline.metrics.binary import auc, expected_calibration_error, log_loss, pcoc
from ranking.dataset import shown_rows
from ranking.labels import page_spans
from ranking.rows import Rows
from serving.assembly import Parts, open_parts, understand

HOUR_MS = 3_600_000
Floats = NDArray[np.float64]


def rows_of(parts: Parts, log: Log) -> tuple[Rows, NDArray[np.int64]]:
    """What the log showed, with the features of the bundle as of then; and the time of each page, ms."""
    events, after = log.everything(), parts.bundle.cutoff
    state = parts.state.advance({kind: events.frame(kind, since=after) for kind in ("item", "impression", "feedback")})
    prepare = [step.stage for step in understand(state, parts.suggest)]
    rows = shown_rows(log, state, parts.features, gains=dict(state.gains), prepare=prepare)
    return rows, np.concatenate([span.pages(log)["time"].to_numpy() for span in page_spans(log)])


def judged(label: Floats, p: Floats, page: NDArray[np.int64], draws: int) -> dict[str, float]:
    """PCOC with its interval, ECE and AUC of rows `[n]` of these pages."""
    if not label.any():
        return {"rows": float(len(label)), "positives": 0.0}
    _, place = np.unique(page, return_inverse=True)
    pages = int(place.max()) + 1
    expected, found = np.bincount(place, weights=p, minlength=pages), np.bincount(place, weights=label, minlength=pages)
    rng = np.random.default_rng(0)
    drawn = (rng.poisson(1.0, pages) for _ in range(draws))
    low, high = np.quantile([expected @ weight / max(found @ weight, 1e-9) for weight in drawn], [0.025, 0.975])
    return {
        "rows": float(len(label)),
        "positives": float(label.sum()),
        "pcoc": pcoc(label, p),
        "low": float(low),
        "high": float(high),
        "ece": expected_calibration_error(label, p),
        "auc": auc(label, p),
        "log_loss": log_loss(label, p),
    }


@dataclass(frozen=True, slots=True)
class Predicted:
    """Predictions `[n]` of one name beside what came of them, and the page of each."""

    label: Floats
    p: Floats
    page: NDArray[np.int64]

    def judged(self, draws: int) -> dict[str, float]:
        return judged(self.label, self.p, self.page, draws)


def predictions(parts: Parts, log: Log) -> dict[str, Predicted]:
    """Of clicks and of conversions: all, by surface and by day of the log, the first 0."""
    assert parts.ranker is not None, "the bundle has no ranker"
    rows, time = rows_of(parts, log)
    p_click, p_convert = parts.ranker.predict(rows.inputs, 2)
    surface = rows.features[:, parts.feature_names.index("surface")]
    day = time[rows.request] // DAY_MS
    parted = {"all": np.ones(len(day), dtype=np.bool_)}
    parted |= {name: surface == place for place, name in enumerate(SURFACES)}
    parted |= {f"day {number}": day == each for number, each in enumerate(np.unique(day))}
    about = read_manifest(parts.bundle.part("ranker")).metrics
    old = log.span()[1] - time[rows.request] >= about["convert_delay_hours"] * HOUR_MS
    clicked = (rows.grade > 0) & old
    converted, page = rows.later.converted.astype(np.float64), np.asarray(rows.request, dtype=np.int64)
    found = {}
    for name, part in parted.items():
        found[f"click {name}"] = Predicted(rows.clicked[part].astype(np.float64), p_click[part], page[part])
    for name, part in parted.items():
        both = part & clicked
        found[f"convert {name}"] = Predicted(converted[both], p_convert[both], page[both])
    return found


def pooled(several: list[dict[str, Predicted]]) -> dict[str, Predicted]:
    """Those of several logs together, whose pages are others."""
    names = [name for name in several[0] if all(name in each for each in several)]
    return {name: _together([each[name] for each in several]) for name in names}


def _together(several: list[Predicted]) -> Predicted:
    first = np.cumsum([0, *(each.page.max(initial=-1) + 1 for each in several[:-1])])
    pages = [each.page + start for each, start in zip(several, first, strict=True)]
    label, p = (np.concatenate([getattr(each, name) for each in several]) for name in ("label", "p"))
    return Predicted(label, p, np.concatenate(pages))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, nargs="+", metavar="BUNDLES VALID")
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if len(asked.pairs) % 2:
        parser.error("a log for every root of bundles")
    told = zip(asked.pairs[::2], asked.pairs[1::2], strict=True)
    several = [predictions(open_parts(open_bundle(bundles)), Log.open(valid)) for bundles, valid in told]
    found = {name: each.judged(asked.draws) for name, each in pooled(several).items()}
    if asked.json:
        print(json.dumps(found, indent=1))
        return
    for name, line in found.items():
        head = f"{name:20} {line['rows']:>10,.0f} rows {line['positives']:>8,.0f} positives"
        if line["positives"]:
            head += f"  PCOC {line['pcoc']:.3f} [{line['low']:.3f}, {line['high']:.3f}]  ECE {line['ece']:.4f}"
            head += f"  AUC {line['auc']:.4f}"
        print(head)


if __name__ == "__main__":
    main()
