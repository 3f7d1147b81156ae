"""`podium compare`: run files by name, compared, and the result written down."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.metrics.statistics.comparison import Comparison, Rules, compare_runs


def compare_files(
    paths: Sequence[Path], out: Path | None, *, qrels: Path, metrics: Sequence[str], **options: Any
) -> Comparison:
    """The runs of `paths`, the first the baseline; options: those of `Rules`, and group, ties, empty."""
    rules = Rules(**{name: options.pop(name) for name in ("test", "correction", "baseline", "power", "seed")})
    found = compare_runs(dict(zip(names_of(paths), paths, strict=True)), qrels, metrics, rules, **options)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found.as_json(), indent=1), encoding="utf-8")
    return found


def names_of(paths: Sequence[Path]) -> list[str]:
    """File names without ending; where two are alike, the whole paths. Raises InputError for a file given twice."""
    if len(set(paths)) < len(paths):
        raise InputError("--run", "each file once", received=", ".join(map(str, paths)))
    stems = [path.name.partition(".")[0] for path in paths]
    return stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
