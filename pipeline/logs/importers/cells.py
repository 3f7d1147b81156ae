"""Cells of text as values: numbers as people and spreadsheets write them, whole numbers, yes and no.

Each value is read by itself; what cannot be read, or can be read in two ways, is null.
"""

from collections.abc import Callable
from typing import Final, Literal

import polars as pl

Decimal = Literal[".", ","]

_TEXTS: Final = (pl.String(), pl.Categorical(), pl.Null())
_TRUE: Final = ("true", "yes", "y", "t", "1", "1.0")
_FALSE: Final = ("false", "no", "n", "f", "0", "0.0")
_NUMBER: Final = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
_WHOLE: Final = r"^[+-]?\d+$"
_GROUPED: Final = r"^[+-]?\d{1,3}(?:[ '’\u00a0\u202f]\d{3})+(?:[.,]\d*)?$"  # groups that no decimal mark could be
_POINT: Final = (r"^[+-]?\d{1,3}(?:,\d{3})+\.\d*$", r"^[+-]?[1-9]\d{0,2}(?:,\d{3}){2,}$")
_COMMA: Final = (r"^[+-]?\d{1,3}(?:\.\d{3})+,\d*$", r"^[+-]?[1-9]\d{0,2}(?:\.\d{3}){2,}$")
_ONE_COMMA: Final = r"^[+-]?\d*,\d+$"
_THOUSAND: Final = r"^[+-]?[1-9]\d{0,2}[.,]\d{3}$"  # 1,299 is one or a thousand


def is_text(dtype: pl.DataType) -> bool:
    """Whether a column of this type names things: text, or whole numbers. A float does not: 10.0 is no 10."""
    return dtype in _TEXTS or isinstance(dtype, pl.Enum) or dtype.is_integer()


def numbers(values: pl.Series, decimal: Decimal | None = None) -> pl.Series:
    """Finite numbers: `12.5`, `1e3`; groups of thousands where they can be nothing else: `1,299.00`, `1.299,00`.

    decimal: the mark that begins the fraction; without it `1,299` could be two numbers and is none.
    """
    if values.dtype != pl.String():
        read = values.cast(pl.Float64, strict=False)
    else:
        texts = values.str.strip_chars()
        plain = texts.cast(pl.Float64, strict=False)
        odd = texts.is_not_null() & (plain.is_null() | ~texts.str.contains(_NUMBER))
        if decimal == ",":
            odd |= texts.str.contains(".", literal=True).fill_null(value=False)
        read = plain.zip_with(~odd, _grouped(texts, decimal)) if odd.any() else plain
    return read.set(~read.is_finite(), None)


def _grouped(texts: pl.Series, decimal: Decimal | None) -> pl.Series:
    """Numbers with groups of thousands or a decimal comma."""
    text = pl.col("text")
    point, comma = pl.any_horizontal(map(text.str.contains, _POINT)), pl.any_horizontal(map(text.str.contains, _COMMA))
    either = text.str.contains(_THOUSAND)
    without = text.str.replace_all(r"[ '’\u00a0\u202f]", "")
    spaced = text.str.contains(_GROUPED)
    as_point = without.str.replace_all(",", "", literal=True)
    as_comma = without.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    one_comma = text.str.contains(_ONE_COMMA) & ~either
    if decimal == ".":
        with_point = point | (either & text.str.contains(",")) | (spaced & ~text.str.contains(","))
        with_comma = pl.lit(value=False)
    elif decimal == ",":
        with_point = pl.lit(value=False)
        with_comma = comma | either | one_comma | (spaced & ~text.str.contains(r"\."))
    else:
        with_comma = comma | one_comma | (spaced & text.str.contains(","))
        with_point = point | (spaced & ~with_comma)
    chosen = pl.when(with_point).then(as_point).when(with_comma).then(as_comma)
    return texts.to_frame("text").select(chosen.cast(pl.Float64, strict=False)).to_series()


def whole_numbers(values: pl.Series, decimal: Decimal | None = None) -> pl.Series:
    """Whole numbers, also those written with a fraction of zeros."""
    if values.dtype.is_integer():
        return values.cast(pl.Int64, strict=False)
    if values.dtype == pl.String():
        texts = values.str.strip_chars()
        read = texts.cast(pl.Int64, strict=False)
        if not read.null_count() - values.null_count():
            return read
    found = numbers(values, decimal)
    exact = found.set((found != found.round()) | (found.abs() >= 2**53), None)
    return exact.cast(pl.Int64, strict=False)


def booleans(values: pl.Series, _: Decimal | None = None) -> pl.Series:
    """`true` and `false`, `yes` and `no`, `1` and `0`, in any case."""
    if values.dtype == pl.Boolean():
        return values
    texts = values.cast(pl.String).str.strip_chars().str.to_lowercase()
    known = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)
    return texts.replace_strict(known, default=None, return_dtype=pl.Boolean())


Reader = Callable[[pl.Series, Decimal | None], pl.Series]
READERS: Final[dict[pl.DataType, tuple[Reader, str]]] = {
    pl.Float64(): (numbers, "must be a number"),
    pl.Int64(): (whole_numbers, "must be a whole number"),
    pl.Int32(): (whole_numbers, "must be a whole number"),
    pl.Boolean(): (booleans, "must be true or false"),
}
