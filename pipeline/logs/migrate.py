"""An older log brought to the columns and the schema of this version; what it held before stays until that is whole.

Most changes of a schema add a column, whose default says what its absence meant: `conform` does that for any log. A
change that is more than that has a step of its own in `STEPS`.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.errors import ArtifactError
from pipeline.logs.events import COLUMNS, SCHEMA, TYPES, conform
from pipeline.logs.partitions import MANIFEST, day_file, days, drafted, link, recover, write_days, write_manifest

Step = Callable[[str, pl.DataFrame], pl.DataFrame]  # type of event, its rows -> its rows under the next schema


def _same(_kind: str, rows: pl.DataFrame) -> pl.DataFrame:
    return rows


# Schema -> what leads to the next one. From 0 to 1 columns were added: page, order, explored, tick, marginal, ...
STEPS: Final[Mapping[int, Step]] = {0: _same}


@dataclass(frozen=True, slots=True)
class Migrated:
    """schema: the one the log had; rewritten: files changed, the others were as they should be; rows: by type."""

    schema: int
    rewritten: int
    rows: dict[str, int]


def migrate(root: Path, steps: Mapping[int, Step] = STEPS) -> Migrated:
    """Rewrite the log at `root` in place; `state/` of a side of a split is a log of its own and goes along.

    A log that is as it should be is not touched. Raises ArtifactError for a log of a later version, or of one that no
    step leads from, or when rows do not fit their columns.
    """
    recover(root)
    facts = _facts(root)
    schema = facts["schema"]
    if not isinstance(schema, int) or schema > SCHEMA or any(each not in steps for each in range(schema, SCHEMA)):
        raise ArtifactError("schema", f"one from which {SCHEMA} can be reached", place=str(root), received=schema)
    if (root / "state" / MANIFEST).is_file():
        migrate(root / "state", steps)
    old = [path for kind, day in _parts(root) if not _fits(path := day_file(root, kind, day), kind)]
    if schema == SCHEMA and not old:
        return Migrated(schema, 0, _rows(facts))
    with drafted(root) as draft:
        for kind, day in _parts(root):
            path = day_file(root, kind, day)
            if schema == SCHEMA and path not in old:
                link(path, day_file(draft, kind, day))
            else:
                write_days(draft, kind, _lifted(path, kind, schema, steps))
        for name in ("quarantine", "state"):
            if (root / name).is_dir():
                shutil.copytree(root / name, draft / name)
        kept = {name: value for name, value in facts.items() if name not in ("schema", "clock", "events")}
        write_manifest(draft, str(facts.get("clock", "exact")), **kept)
    after = _facts(root)
    return Migrated(schema, len(old) if schema == SCHEMA else len(_parts(root)), _rows(after))


def _lifted(path: Path, kind: str, schema: int, steps: Mapping[int, Step]) -> pl.DataFrame:
    rows = pl.read_parquet(path, glob=False)
    try:
        for each in range(schema, SCHEMA):
            rows = steps[each](kind, rows)
        return conform(kind, rows)
    except pl.exceptions.PolarsError as error:
        raise ArtifactError(kind, f"rows that fit its columns ({error})", place=str(path)) from error


def _facts(root: Path) -> dict[str, object]:
    try:
        facts = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError("logs", f"a log with a readable {MANIFEST} ({error})", place=str(root)) from error
    if not isinstance(facts, dict) or "schema" not in facts:
        raise ArtifactError("schema", "the number of the log's schema", place=str(root / MANIFEST))
    return facts


def _parts(root: Path) -> list[tuple[str, int]]:
    return [(kind, day) for kind in TYPES for day in days(root, kind)]


def _fits(path: Path, kind: str) -> bool:
    """Whether a file has exactly the columns of this version."""
    return dict(pl.scan_parquet(path, glob=False).collect_schema()) == COLUMNS[kind]


def _rows(facts: Mapping[str, object]) -> dict[str, int]:
    events = facts.get("events")
    return {str(kind): int(rows) for kind, rows in events.items()} if isinstance(events, dict) else {}
