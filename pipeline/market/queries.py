"""What shoppers look for: intents, the words they type, how one query leads to the next, and completions.

An intent is a leaf of the category tree, perhaps with a brand, a colour or a material. Several texts may mean
the same thing (synonyms), so intents are indexed by text.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.market.catalogue import NONE, Catalogue, Ints
from pipeline.market.vocabulary import Vocabulary
from pipeline.market.world import Floats

MISSPELT = 6  # misspelt forms kept of each text
FOLLOWERS = 5
FOLLOWER_WEIGHTS = np.array([0.35, 0.25, 0.2, 0.1, 0.1])
RESTLESS = 0.7  # standard deviation of the drifting part of log popularity
COMPLETIONS = 8


@dataclass(frozen=True, slots=True)
class Intents:
    """`[I]` each. `texts[i, 0]` is the query as meant, the other columns are misspelt."""

    leaf: Ints
    brand: Ints
    color: Ints
    material: Ints
    weight: Floats
    plain: Ints  # [L] the intent that names a leaf and nothing else
    followers: Ints  # [I, FOLLOWERS] what a refined query may be
    texts: list[list[str]]


@dataclass(frozen=True, slots=True)
class _Wish:
    text: str
    leaf: int
    brand: int = NONE
    color: int = NONE
    material: int = NONE
    appeal: float = 0.0  # log popularity, before chance


def make_intents(words: Vocabulary, catalogue: Catalogue, rng: np.random.Generator) -> Intents:
    """All intents, popular ones far more often than rare ones (Zipf)."""
    wishes = [wish for leaf in range(len(words.leaves)) for wish in _wishes(words, catalogue, leaf)]
    fame = np.array([wish.appeal for wish in wishes]) + rng.gumbel(size=len(wishes))
    weight = 1.0 / (np.argsort(np.argsort(-fame, kind="stable"), kind="stable") + 3.0)
    leaf = np.array([wish.leaf for wish in wishes])
    return Intents(
        leaf=leaf,
        brand=np.array([wish.brand for wish in wishes]),
        color=np.array([wish.color for wish in wishes]),
        material=np.array([wish.material for wish in wishes]),
        weight=weight / weight.sum(),
        plain=np.searchsorted(leaf, np.arange(len(words.leaves))),
        followers=_followers(wishes, leaf, words, rng),
        texts=[[wish.text, *(misspell(wish.text, rng) for _ in range(MISSPELT))] for wish in wishes],
    )


def popularity(intents: Intents, mood: Floats) -> Floats:
    """Today's share of each intent in the shop's demand; `mood` is standard normal and drifts."""
    weight = intents.weight * np.exp(RESTLESS * mood)
    share: Floats = weight / weight.sum()
    return share


def misspell(text: str, rng: np.random.Generator) -> str:
    """`text` with one slip of the finger inside its longest word: swapped, lost, doubled or wrong letter."""
    word = max(text.split(" "), key=len)
    at = int(rng.integers(1, len(word) - 1))
    slips = (
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
        word[:at] + "abcdefghijklmnopqrstuvwxyz"[int(rng.integers(26))] + word[at + 1 :],
    )
    return text.replace(word, slips[int(rng.integers(len(slips)))], 1)


def completions(intents: Intents) -> dict[str, list[int]]:
    """Prefix -> the most popular intents whose text begins with it, best first."""
    found: dict[str, list[int]] = {}
    for intent in np.argsort(-intents.weight, kind="stable").tolist():
        text = intents.texts[intent][0]
        for end in range(1, len(text) + 1):
            best = found.setdefault(text[:end], [])
            if len(best) < COMPLETIONS:
                best.append(intent)
    return found


def _wishes(words: Vocabulary, catalogue: Catalogue, leaf: int) -> list[_Wish]:
    """What one leaf can be asked for: its brands, colours and materials by how many items have them."""
    name, synonym = words.leaves[leaf].nouns
    inside = catalogue.leaf == leaf

    def common(values: Ints, most: int) -> list[int]:
        known = values[inside & (values != NONE)]
        return [int(v) for v in np.argsort(-np.bincount(known), kind="stable")[: min(most, len(np.unique(known)))]]

    brands, colors, materials = common(catalogue.brand, 6), common(catalogue.color, 5), common(catalogue.material, 3)
    wishes = [_Wish(name, leaf, appeal=2.5), _Wish(synonym, leaf, appeal=1.0)]
    wishes += [_Wish(f"{words.brands[b].lower()} {name}", leaf, brand=b, appeal=0.8) for b in brands]
    wishes += [_Wish(f"{words.colors[c]} {name}", leaf, color=c, appeal=0.3) for c in colors]
    wishes += [_Wish(f"{words.materials[m]} {name}", leaf, material=m, appeal=0.1) for m in materials]
    for brand, color in zip(brands[:3], colors, strict=False):
        text = f"{words.brands[brand].lower()} {name} {words.colors[color]}"
        wishes.append(_Wish(text, leaf, brand=brand, color=color, appeal=-0.3))
    wishes += [_Wish(f"{synonym} {words.colors[c]}", leaf, color=c, appeal=-0.5) for c in colors[:2]]
    return wishes


def _followers(wishes: list[_Wish], leaf: Ints, words: Vocabulary, rng: np.random.Generator) -> Ints:
    """For each intent those it is refined to: what keeps its brand or colour first, a neighbouring leaf last."""
    department = np.array([entry.department for entry in words.leaves])
    followers = np.empty((len(wishes), FOLLOWERS), dtype=np.int64)
    for i, wish in enumerate(wishes):
        near = np.flatnonzero(leaf == wish.leaf)
        near = near[near != i]
        shared = [
            (wishes[j].brand == wish.brand != NONE)
            + (wishes[j].color == wish.color != NONE)
            + 0.5 * (_details(wishes[j]) > _details(wish))
            + 0.6 * rng.random()
            for j in near
        ]
        followers[i] = near[np.argsort(-np.array(shared), kind="stable")[:FOLLOWERS]]
        siblings = np.flatnonzero((department == department[wish.leaf]) & (np.arange(len(department)) != wish.leaf))
        if len(siblings):
            followers[i, -1] = np.searchsorted(leaf, rng.choice(siblings))
    return followers


def _details(wish: _Wish) -> int:
    return sum(value != NONE for value in (wish.brand, wish.color, wish.material))
