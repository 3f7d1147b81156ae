"""What every importer is, and the few steps they share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import msgspec
import polars as pl

from pipeline.errors import InputError
from pipeline.logs.decode import Chunk
from pipeline.logs.events import MAX_ID
from pipeline.logs.moments import Moments

Options = Mapping[str, str]
Sources = Sequence[Path]


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


def text(name: str) -> pl.Expr:
    """An id as the log keeps it: a string."""
    return pl.col(name).cast(pl.String)


def event_id(kind: str, *names: str) -> pl.Expr:
    """`kind:a:b` of the columns named, the same at every import and different for different values.

    What could be read in two ways, since a value holds a colon, or would be too long for an id, is a digest.
    """

    def joined(columns: Sequence[pl.Series]) -> pl.Series:
        rows = pl.DataFrame(columns).select(pl.all().cast(pl.String).fill_null(""))
        whole = rows.select(pl.concat_str(*([pl.lit(kind)] if kind else []), pl.all(), separator=":")).to_series()
        colons = len(columns) - 1 + bool(kind)
        odd = (whole.str.count_matches(":", literal=True) != colons) | (whole.str.len_bytes() > MAX_ID)
        if not odd.any():
            return whole
        digests = pl.Series([_digest(kind, parts) for parts in rows.filter(odd).iter_rows()], dtype=pl.String)
        return whole.scatter(odd.arg_true(), digests)

    return pl.map_batches(names, joined, return_dtype=pl.String()).alias("event_id")


def _digest(kind: str, parts: Sequence[str]) -> str:
    """An id of fixed length."""
    return f"{kind}::{blake2b(msgspec.json.encode(parts), digest_size=16).hexdigest()}"


def objects(*names: str) -> pl.Expr:
    """The columns as one JSON object's text; absent values are left out."""
    whole = pl.struct(*names).map_batches(_encode, return_dtype=pl.String())
    return whole.alias("attributes")


def _encode(rows: pl.Series) -> pl.Series:
    kept = ({name: value for name, value in row.items() if value is not None} for row in rows)
    return pl.Series([msgspec.json.encode(row).decode() for row in kept], dtype=pl.String())
