"""Equal up to the last bits: what must hold on every processor.

Sums, exponentials and products of matrices round otherwise on another processor, so nothing on record may hang on the
last bits of a float. Text and whole numbers are compared as they stand, floats within a tolerance.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest


def differences(found: Any, wanted: Any, within: float, at: str = "") -> list[str]:
    """Where two values of a JSON document differ: in form, in text, or in a float by more than `within`."""
    if isinstance(wanted, float) and isinstance(found, float):
        same = math.isclose(found, wanted, rel_tol=within, abs_tol=within) or (math.isnan(found) and math.isnan(wanted))
        return [] if same else [f"{at}: {found!r}, not {wanted!r}"]
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        if found.keys() != wanted.keys():
            return [f"{at}: the keys {sorted(found.keys() ^ wanted.keys())} are in one alone"]
        return [each for name in wanted for each in differences(found[name], wanted[name], within, f"{at}.{name}")]
    if isinstance(wanted, list) and isinstance(found, list):
        if len(found) != len(wanted):
            return [f"{at}: {len(found)} values, not {len(wanted)}"]
        pairs = enumerate(zip(found, wanted, strict=True))
        return [each for i, (one, other) in pairs for each in differences(one, other, within, f"{at}[{i}]")]
    return [] if type(found) is type(wanted) and found == wanted else [f"{at}: {found!r}, not {wanted!r}"]


@dataclass(frozen=True)
class Record:
    """What is on record of many values: the digest of all that is no float, and of the floats how many there are,
    their sum, and their sum under uneven weights, which sees an exchange of two."""

    text: str
    count: int
    total: float
    weighted: float

    @classmethod
    def of(cls, values: Sequence[Any]) -> "Record":
        floats: list[float] = []
        whole = hashlib.sha256()
        for value in values:
            whole.update(repr(_without_floats(value, floats)).encode() + b"\n")
        numbers = np.array(floats)
        weights = 1 + np.arange(len(numbers)) % 97 / 97
        return cls(whole.hexdigest(), len(numbers), math.fsum(numbers), math.fsum(numbers * weights))

    def holds(self, found: "Record", within: float = 1e-9) -> bool:
        """Whether another record tells the same, its sums within a relative tolerance."""
        sums = pytest.approx((self.total, self.weighted), rel=within)
        return (self.text, self.count) == (found.text, found.count) and (found.total, found.weighted) == sums


def _without_floats(value: Any, floats: list[float]) -> Any:
    if isinstance(value, float):
        floats.append(value)
        return "float"
    if isinstance(value, Mapping):
        return {name: _without_floats(each, floats) for name, each in value.items()}
    return [_without_floats(each, floats) for each in value] if isinstance(value, list | tuple) else value
