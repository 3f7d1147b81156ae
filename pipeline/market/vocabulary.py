"""The words a market is written in, read from `words.toml`: departments, their leaves, brands, colours."""

import tomllib
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

LEAF_ITEMS = 40  # a leaf with fewer items than this has too little to rank
FEWEST_LEAVES = 5


@dataclass(frozen=True, slots=True)
class Department:
    """What the leaves of one department share; `brands` are indices into `Vocabulary.brands`."""

    name: str
    brands: tuple[int, ...]
    adjectives: tuple[str, ...]
    materials: tuple[int, ...]
    uses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One leaf of the category tree. `nouns`: the usual name, then a synonym."""

    department: int
    path: tuple[str, ...]
    nouns: tuple[str, str]
    price: float
    sizes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Everything is referred to by its index in these tuples."""

    departments: tuple[Department, ...]
    leaves: tuple[Leaf, ...]
    brands: tuple[str, ...]
    colors: tuple[str, ...]
    materials: tuple[str, ...]
    segments: dict[str, tuple[int, ...]]


def read_vocabulary(items: int) -> Vocabulary:
    """The words of a catalogue of `items`: a small catalogue uses only the first leaves."""
    raw = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
    names = list(raw["departments"])
    brands = list(chain.from_iterable(raw["departments"][name]["brands"] for name in names))
    materials = list(dict.fromkeys(chain.from_iterable(raw["departments"][name]["materials"] for name in names)))
    departments = tuple(
        Department(
            name,
            tuple(brands.index(brand) for brand in raw["departments"][name]["brands"]),
            tuple(raw["departments"][name]["adjectives"]),
            tuple(materials.index(material) for material in raw["departments"][name]["materials"]),
            tuple(raw["departments"][name]["uses"]),
        )
        for name in names
    )
    in_turn = chain.from_iterable(zip_longest(*(raw["leaves"][name] for name in names)))
    owners = [names[i % len(names)] for i in range(len(names) * max(len(raw["leaves"][name]) for name in names))]
    leaves = [
        Leaf(
            names.index(owner),
            (owner, *leaf["path"]),
            (leaf["nouns"][0], leaf["nouns"][1]),
            float(leaf["price"]),
            tuple(raw["sizes"][leaf["sizes"]]),
        )
        for owner, leaf in zip(owners, in_turn, strict=True)
        if leaf is not None
    ]
    segments = {name: tuple(names.index(part) for part in parts) for name, parts in raw["segments"].items()}
    used = max(FEWEST_LEAVES, items // LEAF_ITEMS)
    return Vocabulary(
        departments, tuple(leaves[:used]), tuple(brands), tuple(raw["colors"]), tuple(materials), segments
    )
