"""Any table of one event type, its columns mapped by options.

`--option user_id=uid --option item_id=sku --option time=ts --option constant.action=click`: a field is read from the
column named, `constant.` gives every row the same value, and a field that is not named is read from the column of its
own name. `type` is the event type (default feedback); `separator`, `encoding`, `decimal`, `quotes=none` and `columns`
say of a file what its beginning does not. Items, users and judgments without a time hold since before everything.
Impressions come one shown item a row. `subject=none` says that nobody is known: each request, or row without one, is a
session of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import polars as pl

from pipeline.errors import InputError
from pipeline.logs.decode import Chunk
from pipeline.logs.events import COLUMNS, KNOWN, SHOWN, TYPES
from pipeline.logs.importers.base import Importer, Options, Sources, always_exact, event_id, files
from pipeline.logs.importers.cells import Decimal
from pipeline.logs.importers.delimited import Dialect
from pipeline.logs.importers.positions import OPTION as POSITIONS
from pipeline.logs.importers.positions import counting
from pipeline.logs.importers.shown import CLICKED, pages, placed
from pipeline.logs.importers.tables import OWN_LINE, Table, is_table, read_table
from pipeline.logs.moments import Moments
from pipeline.logs.validate import is_object

_CONSTANT: Final = "constant."
_OF_FILES: Final = ("separator", "encoding", "decimal", "quotes", "columns")
_OTHERS: Final = ("type", "subject", "unit", "zone", "dates", *_OF_FILES, POSITIONS)
_SEPARATORS: Final = {"tab": "\t", "comma": ",", "semicolon": ";", "bar": "|"}
_OBJECTS: Final = ("attributes", "filters", "context")
_SUBJECT: Final = ("user_id", "session_id")
_NOBODY: Final = "subject"
_TOLD: Final = ("feedback", "impression")
# Fields without which no row is an event; of a tuple one will do.
_NEEDED: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "item": (("item_id",),),
    "user": (("user_id",),),
    "impression": (("request_id",), ("item_id",), _SUBJECT, ("time",)),
    "feedback": (_SUBJECT, ("item_id",), ("action",), ("time",)),
    "suggest": (("request_id",), ("placement",), ("time",)),
    "judgment": (("query",), ("item_id",), ("grade",)),
}
# What an event is told by. Of what happened two rows are one event only where all they say is the same.
_IDENTITY: Final[Mapping[str, tuple[str, ...]]] = {
    "item": ("item_id", "time"),
    "user": ("user_id", "time"),
    "judgment": ("query", "item_id", "time"),
    "feedback": (
        *("user_id", "session_id", "item_id", "query", "action"),
        *("request_id", "value", "quantity", "dwell_ms", "time"),
    ),
    "suggest": ("request_id", "placement", "prefix", "query", "item_id", "user_id", "session_id", "chosen", "time"),
}


def recognises(sources: Sources) -> bool:
    return bool(_tables(sources))


def _tables(sources: Sources) -> list[Path]:
    """Tables in folders by their endings; a file that is named is one, whatever its ending."""
    return [path for path in files(sources) if is_table(path) or path in sources]


@dataclass(frozen=True, slots=True)
class _Mapping:
    """Where the fields of one type come from. nobody: no subject is known."""

    kind: str
    columns: Mapping[str, str]
    constants: Mapping[str, str]
    nobody: bool

    @classmethod
    def of(cls, kind: str, given: Mapping[str, str]) -> "_Mapping":
        """Raises InputError for what is no field of the type."""
        options = dict(given)
        subject = options.pop(_NOBODY, None)
        if subject is not None and (subject != "none" or kind not in _TOLD):
            raise InputError(f"--option {_NOBODY}", f"`none`, of {' and '.join(_TOLD)}", received=subject)
        fields = _fields(kind)
        columns = {name: value for name, value in options.items() if not name.startswith(_CONSTANT)}
        constants = {n.removeprefix(_CONSTANT): value for n, value in options.items() if n.startswith(_CONSTANT)}
        if unknown := [name for name in (*columns, *constants) if name not in fields]:
            ways = f"fields of `{kind}`: {', '.join(fields)}; or {', '.join(_OTHERS)}"
            raise InputError("--option", ways, received=", ".join(unknown))
        if twice := sorted(columns.keys() & constants):
            raise InputError(f"--option {twice[0]}", f"a column, or {_CONSTANT}{twice[0]}, not both")
        return cls(kind, columns, constants, subject is not None)

    def applied(self, table: Table) -> Table:
        """The table with the fields for columns, all still as they were read; its own columns fall away.

        Raises InputError, which lists the columns, for one that is not there.
        """
        found = {
            name: self.columns.get(name, name)
            for name in _fields(self.kind)
            if name in self.columns or (name in table.columns and name not in self.constants)
        }
        found = {name: OWN_LINE if column == "line" else column for name, column in found.items()}
        for name, column in found.items():
            if column not in table.columns:
                raise _no_column(table, name, column)
        known = found.keys() | self.constants
        if self.nobody and (who := sorted(known & set(_SUBJECT))):
            raise InputError(f"--option {_NOBODY}", f"none where the table tells {who[0]}", place=str(table.path))
        for choices in _NEEDED[self.kind]:
            if known.isdisjoint(choices) and not (self.nobody and choices == _SUBJECT):
                raise _no_column(table, choices[0], choices[0])
        constants = {name: pl.lit(value) for name, value in self.constants.items()}
        return table.having(table.frame.select("line", **{n: pl.col(c) for n, c in found.items()}, **constants))


def _fields(kind: str) -> list[str]:
    own = [name for name in COLUMNS[kind] if name not in ("items", "vector")]
    return [*own, *SHOWN, CLICKED] if kind == "impression" else own


def _no_column(table: Table, name: str, column: str) -> InputError:
    told = ", ".join(f"`{each}`" for each in table.frame.columns if each != "line")
    ways = f"a column of the file, which has {told}; name it with --option {name}=COLUMN"
    fix = f"{ways}, or give all rows one value with --option {_CONSTANT}{name}=VALUE"
    if name in _SUBJECT:
        fix += f", or say that nobody is known with --option {_NOBODY}=none"
    return InputError(name, fix, place=str(table.path), received=column)


def chunks(sources: Sources, options: Options, moments: Moments) -> Iterator[Chunk]:
    given = dict(options)
    kind = given.pop("type", "feedback")
    if kind not in TYPES:
        raise InputError("--option type", f"one of {', '.join(TYPES)}", received=kind)
    dialect, decimal = _dialect(given)
    first = counting({POSITIONS: given.pop(POSITIONS)}) if POSITIONS in given else None
    mapping = _Mapping.of(kind, given)
    for path in _tables(sources):
        table = mapping.applied(read_table(path, dialect, decimal))
        if kind == "impression":
            table = _typed(placed(table, first), kind, moments)
            yield from pages(_alone(table) if mapping.nobody else table)
        else:
            table = _named(_typed(table, kind, moments), kind)
            yield from _events(_alone(table) if mapping.nobody else table, kind)


def _dialect(given: dict[str, str]) -> tuple[Dialect, Decimal | None]:
    separator, encoding, decimal, quotes, names = (given.pop(name, None) for name in _OF_FILES)
    separator = _SEPARATORS.get(separator or "", separator)
    if separator is not None and (len(separator.encode()) != 1 or separator in '"\r\n'):
        ways = f"one character, or {', '.join(_SEPARATORS)}"
        raise InputError("--option separator", ways, received=separator)
    if decimal not in (None, ".", ","):
        raise InputError("--option decimal", "`.` or `,`: what begins the fraction of a number", received=decimal)
    if quotes not in (None, "none"):
        raise InputError("--option quotes", "`none`: a quote is a letter like any other", received=quotes)
    columns = None if names is None else names.split(",")
    if columns is not None and (len(set(columns)) < len(columns) or not all(columns)):
        raise InputError(
            "--option columns", "the names of the columns, each once, a comma between them", received=names
        )
    return Dialect(separator, encoding, columns, quoted=quotes is None), cast("Decimal | None", decimal)


def _typed(table: Table, kind: str, moments: Moments) -> Table:
    """With `time` and `received` as moments, free-form objects proved, ids and queries as text."""
    table = table.text(*(n for n, dtype in COLUMNS[kind].items() if dtype == pl.String() and n not in _OBJECTS))
    if kind in KNOWN and "time" not in table.columns:
        table = table.having(table.frame.with_columns(time=pl.lit(0)))
    else:
        table = table.moments("time", moments)
    if "received" in table.columns:
        read = moments.column(table.frame["received"])
        lost = table.frame["received"].is_not_null() & read["time"].is_null()
        table = table.having(table.frame.with_columns(received=read["time"]))
        table = table.mending("received: must be a moment", int(lost.sum()))
    for name in _OBJECTS:
        if name in table.columns and table.frame.schema[name] == pl.String():
            lost = table.frame.select(pl.col(name).is_not_null() & ~is_object(name)).to_series()
            kept = pl.when(~lost).then(pl.col(name)).alias(name)
            table = table.having(table.frame.with_columns(kept)).mending(f"{name}: must be an object", int(lost.sum()))
    return table


def _named(table: Table, kind: str) -> Table:
    """With an id for each event, where the table brings none."""
    if "event_id" in table.columns:
        return table
    told = [name for name in _IDENTITY[kind] if name in table.columns]
    return table.having(table.frame.with_columns(event_id(kind, *told)))


def _alone(table: Table) -> Table:
    """Each request, and each row that names none, as a session of its own."""
    names = [name for name in ("request_id", "event_id") if name in table.columns]
    return table.having(table.frame.with_columns(session_id=pl.coalesce(names)))


def _events(table: Table, kind: str) -> Iterator[Chunk]:
    yield table.refused()
    yield table.chunk(kind, table.frame.with_columns(shown=_shown(table.frame)) if kind == "suggest" else table.frame)


def _shown(frame: pl.DataFrame) -> pl.Expr:
    """The queries shown, in a text with bars between them; none where there is no such column."""
    texts = pl.col("shown") if "shown" in frame.columns else pl.lit(None, dtype=pl.String)
    cell = pl.struct(query=pl.element(), position=pl.int_range(pl.len(), dtype=pl.Int32))
    return texts.fill_null("").str.split("|").list.filter(pl.element() != "").list.eval(cell)


CSV = Importer(
    name="csv",
    looks_for="a file, or a folder with files that end in .csv, .tsv (each also .gz) or .parquet",
    recognises=recognises,
    clock=always_exact,
    chunks=chunks,
)
