"""The filters of a request: OR within a key, AND across keys; a missing value fails.

The one exception: an item without a region is sold everywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from pipeline.batch import Mask
from pipeline.catalogue import LEVELS, Catalogue
from pipeline.errors import InputError
from pipeline.features.ids import Keys, keys
from pipeline.timeline import Snapshot
from pipeline.values import attribute_label

Texts = tuple[str, ...]
_KEYS = "category, brand, region, tags, kind, price, attributes, exclude_items"


@dataclass(frozen=True, slots=True)
class Filters:
    """Hashable, so that equal filters share one mask."""

    category: tuple[Texts, ...] = ()
    brand: Texts = ()
    region: Texts = ()
    tags: Texts = ()
    kind: Texts = ()
    price: tuple[float, float] | None = None
    attributes: tuple[tuple[str, Texts], ...] = ()
    exclude_items: Texts = ()

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))


NO_FILTERS = Filters()


def parse_filters(value: object, place: str = "filters") -> Filters:
    """Filters from their wire form. Raises InputError naming the key."""
    if value is None or value == {}:
        return NO_FILTERS
    if not isinstance(value, Mapping):
        raise InputError(place, "an object", received=value)
    if unknown := sorted(set(map(str, value)) - {field.name for field in fields(Filters)}):
        raise InputError(f"{place}.{unknown[0]}", f"one of {_KEYS}")
    lists = ("brand", "region", "tags", "kind", "exclude_items")
    plain = {name: _texts(value[name], f"{place}.{name}") for name in lists if name in value}
    paths = value.get("category", [])
    if not isinstance(paths, Sequence) or isinstance(paths, str):
        raise InputError(f"{place}.category", "a list of paths, each a list of texts", received=paths)
    category = tuple(_texts(path, f"{place}.category[{i}]") for i, path in enumerate(paths))
    if too_deep := [path for path in category if not 1 <= len(path) <= LEVELS]:
        raise InputError(f"{place}.category", f"paths of 1 to {LEVELS} levels", received=too_deep[0])
    return Filters(
        category=category,
        price=_price(value.get("price"), f"{place}.price"),
        attributes=_attributes(value.get("attributes"), f"{place}.attributes"),
        **plain,
    )


def _texts(value: object, place: str) -> Texts:
    if isinstance(value, str) or not isinstance(value, Sequence) or any(not isinstance(v, str) for v in value):
        raise InputError(place, "a list of texts", received=value)
    return tuple(value)


def _price(value: object, place: str) -> tuple[float, float] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or not set(value) <= {"min", "max"}:
        raise InputError(place, "an object with `min` and `max`", received=value)
    bounds = {
        "min": -np.inf,
        "max": np.inf,
        **{name: bound for name, bound in value.items() if bound is not None},
    }
    for name, bound in bounds.items():
        if isinstance(bound, bool) or not isinstance(bound, int | float) or np.isnan(bound):
            raise InputError(f"{place}.{name}", "a number", received=bound)
    if bounds["min"] > bounds["max"]:
        raise InputError(place, "min <= max", received=dict(value))
    return float(bounds["min"]), float(bounds["max"])


def _attributes(value: object, place: str) -> tuple[tuple[str, Texts], ...]:
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise InputError(place, "an object of lists", received=value)
    wanted = []
    for name, values in sorted(value.items()):
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise InputError(f"{place}.{name}", "a list of values", received=values)
        wanted.append((str(name), tuple(attribute_label(str(name), v) for v in values)))
    return tuple(wanted)


def matching(filters: Filters, catalogue: Catalogue, snapshot: Snapshot) -> Mask:
    """`[N]`: the items a request may show: available now, and meeting every filter."""
    mask = snapshot.available
    if not filters:
        return mask
    mask = mask.copy()
    for wanted, have in ((filters.brand, catalogue.brand), (filters.kind, catalogue.kind)):
        if wanted:
            mask &= np.isin(have, keys(wanted))
    if filters.region:
        mask &= np.isin(catalogue.region, keys(filters.region)) | (catalogue.region == 0)
    if filters.category:
        mask &= _under(filters.category, catalogue.category)
    if filters.price is not None:
        low, high = filters.price
        mask &= (snapshot.price >= low) & (snapshot.price <= high)
    for labels in (
        (f"tag:{tag}" for tag in filters.tags) if filters.tags else None,
        *(v for _, v in filters.attributes),
    ):
        if labels is not None:
            mask &= _labelled(list(labels), catalogue)
    excluded = [catalogue.index[item] for item in filters.exclude_items if item in catalogue.index]
    mask[excluded] = False
    return mask


def _under(paths: tuple[Texts, ...], category: Keys) -> Mask:
    mask = np.zeros(len(category), dtype=np.bool_)
    for path in paths:
        mask |= category[:, len(path) - 1] == keys(["\x1f".join(path)])[0]
    return mask


def _labelled(labels: list[str], catalogue: Catalogue) -> Mask:
    mask = np.zeros(len(catalogue), dtype=np.bool_)
    have, owner = catalogue.labels
    mask[owner[np.isin(have, keys(labels))]] = True
    return mask
