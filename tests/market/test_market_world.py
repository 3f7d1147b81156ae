from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.market.vocabulary import read_vocabulary
from pipeline.market.world import DAY, START, World, load_world, shipped_worlds

NAMES = ["base", "no_taste", "no_bias", "steep_bias", "no_context", "strong_context", "no_delay", "long_delay"]
NAMES += ["deterministic", "randomised", "no_session", "cold", "big", "small", "tiny"]


@pytest.mark.parametrize("name", NAMES)
def test_every_named_world_loads(name: str) -> None:
    assert name in shipped_worlds()
    assert load_world(name).days >= 6


def test_a_world_without_a_name_is_the_base() -> None:
    assert load_world() == load_world("base") == World()


def test_a_world_inherits_what_it_does_not_say() -> None:
    assert load_world("no_bias") == World(examination="flat")


def test_overrides_are_text_and_the_seed_comes_last() -> None:
    world = load_world("tiny", {"drift": "0.5", "users": "12", "logger": "popular", "seed": "3"}, seed=9)
    assert (world.drift, world.users, world.logger, world.seed) == (0.5, 12, "popular", 9)


@pytest.mark.parametrize("key", list(World.model_fields))
def test_every_key_can_be_set_and_is_described(key: str) -> None:
    value = str(getattr(World(), key))
    assert load_world("base", {key: value}) == World()
    assert World.model_fields[key].description


@pytest.mark.parametrize(
    ("spec", "keys", "message"),
    [
        ("base", {"colour": "red"}, r"base.*colour.*one of users"),
        ("base", {"explored": "1.5"}, r"explored.*less than or equal to 1"),
        ("base", {"examination": "rank"}, r"examination"),
        ("base", {"logger": "best"}, r"logger"),
        ("base", {"impressions": "15"}, r"one page a day"),
        ("base", {"page_size": "50"}, r"four pages"),
        ("atlantis", {}, r"one of base"),
        ("none.toml#base", {}, r"none\.toml.*existing TOML file"),
    ],
)
def test_a_wrong_world_is_refused_with_its_key(spec: str, keys: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_world(spec, keys)


def test_a_file_of_ones_own_may_hold_worlds(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[a]\ndays = 9\n[b]\ninherits = "a"\nusers = 5\n[c]\ninherits = "d"\n[d]\ninherits = "c"\n')
    assert load_world(f"{file}#b") == World(days=9, users=5)
    with pytest.raises(ConfigError, match="inherit from themselves"):
        load_world(f"{file}#c")
    file.write_text("[a]\nmood = 1\n")
    with pytest.raises(ConfigError, match=r"mine.toml \[a\].*mood"):
        load_world(f"{file}#a")


@pytest.mark.parametrize(
    ("examination", "expected"), [("1/rank", [1, 1 / 2, 1 / 4]), ("1/rank^0.5", [1, 2**-0.5, 0.5]), ("flat", [1, 1, 1])]
)
def test_examination_follows_its_formula(examination: str, expected: list[float]) -> None:
    looks = World(examination=examination).examine(np.array([0, 1, 3]))
    assert looks == pytest.approx(expected)


def test_a_world_ends_after_its_last_day() -> None:
    assert World(days=2).end == START + 2 * DAY


def test_a_small_catalogue_has_few_leaves_and_a_large_one_all() -> None:
    assert len(read_vocabulary(400).leaves) == 10
    assert len(read_vocabulary(20_000).leaves) == 60


def test_words_need_no_escaping() -> None:
    """The writer builds JSON without escaping, which holds for plain printable words only."""
    words = read_vocabulary(20_000)
    texts = [*words.brands, *words.colors, *words.materials, *words.segments]
    for department in words.departments:
        texts += [department.name, *department.adjectives, *department.uses]
    for leaf in words.leaves:
        texts += [*leaf.path, *leaf.nouns, *leaf.sizes]
    assert all(text.isascii() and text.isprintable() and not set(text) & {'"', "\\"} for text in texts)
    assert len(set(words.brands)) == len(words.brands)
