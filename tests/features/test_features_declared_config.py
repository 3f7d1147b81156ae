"""What a user may declare, and what is refused."""

from pathlib import Path
from typing import get_args

import pytest

from pipeline.config import load_section
from pipeline.errors import ConfigError
from pipeline.features.config import FeaturesConfig
from pipeline.features.declared import Declared
from pipeline.observed import ACTIONS


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"kind": "rate", "item": "colour"}, "attributes.NAME"),
        ({"kind": "numeric", "item": "brand"}, "price, attributes.NAME"),
        ({"kind": "rate", "item": "brand", "by": "user.age"}, "user.attributes.NAME"),
        ({"kind": "affinity", "item": "brand", "by": "query"}, "takes no `by`"),
        ({"kind": "numeric", "item": "price", "window": "7d"}, "takes no `window`"),
        ({"kind": "match", "item": "brand"}, "needs `by`"),
        ({"kind": "rate", "item": "brand", "window": "a week"}, "window"),
        ({"kind": "rate", "item": "brand", "name": "ctr"}, "there is already"),
        ({"kind": "rate", "item": "brand", "action": "wave"}, "click"),
        ({"kind": "guess", "item": "brand"}, "rate"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(tmp_path: Path, told: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load_section(_file(tmp_path, {"name": "mine", **told}), "features", FeaturesConfig)


def test_a_name_comes_once_and_there_are_64_at_most(tmp_path: Path) -> None:
    mine = {"name": "mine", "kind": "numeric", "item": "price"}
    with pytest.raises(ConfigError, match="comes twice"):
        load_section(_file(tmp_path, mine, mine), "features", FeaturesConfig)
    with pytest.raises(ConfigError, match="64"):
        load_section(_file(tmp_path, *({**mine, "name": f"n{n}"} for n in range(65))), "features", FeaturesConfig)
    assert load_section(_file(tmp_path, mine), "features", FeaturesConfig).declared[0].name == "mine"


def test_a_rate_may_count_every_action_there_is() -> None:
    assert get_args(Declared.model_fields["action"].annotation) == ACTIONS


def _file(folder: Path, *declared: dict[str, str]) -> Path:
    path = folder / "podium.toml"
    tables = ("\n".join(["[[features.declared]]", *(f'{k} = "{v}"' for k, v in each.items())]) for each in declared)
    path.write_text("\n".join(tables), encoding="utf-8")
    return path
