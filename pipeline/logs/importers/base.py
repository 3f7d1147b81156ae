"""What every importer is, and the few steps they share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import polars as pl
from polars.exceptions import PolarsError

from pipeline.errors import InputError
from pipeline.logs.decode import Chunk, Raw, raw_text, sound
from pipeline.logs.events import COLUMNS, conform
from pipeline.logs.moments import Moments
from pipeline.logs.validate import Reject

Options = Mapping[str, str]
Sources = Sequence[Path]
TABLES: Final = (".parquet", ".csv")


@dataclass(frozen=True, slots=True)
class Importer:
    """One format. `looks_for` says in words by which files and columns `recognises` decides.

    chunks: of the sources, by the format's own options, and by how times are read.
    """

    name: str
    looks_for: str
    recognises: Callable[[Sources], bool]
    clock: Callable[[Sources], str]
    chunks: Callable[[Sources, Options, Moments], Iterator[Chunk]]


def always_exact(_: Sources) -> str:
    return "exact"


def always_order(_: Sources) -> str:
    return "order"


def files(sources: Sources) -> list[Path]:
    """Every file named, and every file directly in a folder named, by name. Raises InputError for a missing one."""
    found: list[Path] = []
    for source in sources:
        if not source.exists():
            raise InputError("source", "an existing file or folder", place=str(source))
        found += sorted(p for p in source.iterdir() if p.is_file()) if source.is_dir() else [source]
    return found


def named(sources: Sources, *stems: str) -> Path | None:
    """The first file called one of `stems`, as Parquet or CSV."""
    wanted = {stem + ending for stem in stems for ending in TABLES}
    return next((path for path in files(sources) if path.name in wanted), None)


def columns(path: Path | None) -> frozenset[str]:
    """Column names of a Parquet or CSV file; none for no file and for any other."""
    if path is None or path.suffix not in TABLES:
        return frozenset()
    try:
        scan = pl.scan_parquet(path) if path.suffix == ".parquet" else pl.scan_csv(path)
        return frozenset(scan.collect_schema().names())
    except PolarsError:
        return frozenset()


def table(path: Path) -> pl.DataFrame:
    """A whole Parquet or CSV file. Raises InputError when it is not one."""
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(path, infer_schema_length=None)
    except PolarsError as error:
        raise InputError("file", f"a readable {path.suffix[1:]} file ({error})", place=str(path)) from error


def chunk(place: Path, kind: str, frame: pl.DataFrame) -> Chunk:
    """One type's rows as a checked chunk; `line` is the row, from 1, unless the frame says otherwise.

    A row with a value that does not fit its column is refused; raises InputError when the column as a whole cannot.
    """
    if "line" not in frame.columns:
        frame = frame.with_row_index("line", offset=1)

    def raw(wanted: Sequence[int]) -> list[bytes]:
        rows = pl.DataFrame({"line": wanted}, schema={"line": frame.schema["line"]})
        found = rows.join(frame.unique("line", keep="first"), on="line", how="left", maintain_order="left")
        return found.write_ndjson().encode().splitlines()

    rejects = _unfit(str(place), kind, frame, raw)
    refused = {reject.line for reject in rejects}
    try:
        stored = conform(kind, frame.filter(~pl.col("line").is_in(refused)) if refused else frame)
    except PolarsError as error:
        raise InputError(kind, f"columns of the log's types ({error})", place=str(place)) from error
    return sound(str(place), {kind: stored}, rejects, raw, 0)


def _unfit(place: str, kind: str, frame: pl.DataFrame, raw: Raw) -> list[Reject]:
    """Rows with a value that is lost when cast to its column: the first such field of each."""
    rejects: dict[int, Reject] = {}
    for name, dtype in COLUMNS[kind].items():
        if name not in frame.columns or dtype.is_nested() or frame.schema[name] == dtype:
            continue
        if frame.schema[name].is_nested():
            raise InputError(name, f"a column of {dtype}", place=place, received=str(frame.schema[name]))
        lost = pl.col(name).is_not_null() & pl.col(name).cast(dtype, strict=False).is_null()
        lines = frame.filter(lost)["line"].to_list()
        for line, row in zip(lines, raw(lines) if lines else [], strict=True):
            rejects.setdefault(line, Reject(place, line, name, f"must be {dtype}", raw_text(row)))
    return list(rejects.values())


def text(name: str) -> pl.Expr:
    """An id as the log keeps it: a string."""
    return pl.col(name).cast(pl.String)


def event_id(kind: str, *names: str) -> pl.Expr:
    """`kind:a:b` from the columns named, the same at every import."""
    return pl.concat_str(pl.lit(kind), *(text(name) for name in names), separator=":").alias("event_id")


def objects(*names: str) -> pl.Expr:
    """The columns as one JSON object's text; absent values are left out."""
    whole = pl.struct(*names).map_batches(_encode, return_dtype=pl.String())
    return whole.alias("attributes")


def _encode(rows: pl.Series) -> pl.Series:
    kept = ({name: value for name, value in row.items() if value is not None} for row in rows)
    return pl.Series([msgspec.json.encode(row).decode() for row in kept], dtype=pl.String())
