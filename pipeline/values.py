"""How values of free-form JSON are compared: one rule for attributes of items and users, filters and contexts.

A text is itself, however it looks: `01`, `1` and `1.0` are three. A number is its shortest decimal form, so that 32 and
32.0 are one; a boolean is `true` or `false`. Both equal the text that reads the same, since what is JSON in one source
is a column of texts in another.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
import polars as pl

_READ: Final = r"^-?[0-9.]+(?:[eE][+-]?[0-9]+)?$"  # as polars writes a number, though a text may look like one
_WHOLE: Final = r"^-?[0-9]{1,15}$"  # written the one way there is
_NESTED: Final = r"^[\[{]"


def plain_texts(values: Mapping[str, object]) -> dict[str, str]:
    """Those of free-form JSON that are plain."""
    return {name: text for name, value in values.items() if (text := plain_text(value))}


def plain_text(value: object) -> str:
    """A plain value as it is compared; "" for what is none, as null, lists and objects are."""
    return "" if value is None or isinstance(value, list | dict) else value_text(value)


def value_text(value: object) -> str:
    """Any value as it is compared; lists and objects as JSON, whose keys have no order."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(_one_form(value), order="sorted").decode()


def _one_form(value: object) -> object:
    match value:
        case float() if value.is_integer():
            return msgspec.Raw(str(int(value)).encode())
        case list():
            return [_one_form(each) for each in value]
        case dict():
            return {name: _one_form(each) for name, each in value.items()}
    return value


def attribute_label(name: str, value: object) -> str:
    """How one attribute value is keyed."""
    return f"{name}={value_text(value)}"


def attribute_labels(attributes: str | None) -> list[str]:
    """How the attributes of an item are keyed, each value of a list by itself; null is no value."""
    if not attributes or attributes == "{}":
        return []
    return [
        attribute_label(name, value)
        for name, values in msgspec.json.decode(attributes).items()
        for value in (values if isinstance(values, list) else [values])
        if value is not None
    ]


def member_texts(objects: pl.Series, name: str) -> pl.Series:
    """One member of each JSON object as it is compared, null where it is missing or null; lists and objects stay JSON.

    name: without quotes and backslashes.
    """
    found = objects.str.json_path_match(f'$["{name}"]')
    doubtful = found.str.contains(_READ) & ~found.str.contains(_WHOLE)
    if not doubtful.any():
        return found
    distinct = objects.filter(doubtful.fill_null(value=False)).unique()
    texts = [value_text(msgspec.json.decode(text)[name]) for text in distinct]
    read = objects.replace_strict(distinct, pl.Series(texts, dtype=pl.String), default=None, return_dtype=pl.String)
    return read.fill_null(found).alias(found.name)


def plain_members(objects: pl.Series, name: str) -> pl.Series:
    """As `member_texts`, null also for lists, objects and the empty text."""
    found = member_texts(objects, name)
    found = found.set(found == "", None)
    nested = found.str.contains(_NESTED).fill_null(value=False)
    if not nested.any():
        return found
    distinct = objects.filter(nested).unique()
    texts = [plain_text(msgspec.json.decode(text)[name]) or None for text in distinct]
    plain = objects.replace_strict(distinct, pl.Series(texts, dtype=pl.String), default=None, return_dtype=pl.String)
    return found.set(nested, None).fill_null(plain)
