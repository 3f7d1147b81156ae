"""podium.toml as its own documentation: every key with its default and what it means, written from the code."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pipeline.catalogue import CatalogueConfig
from pipeline.config import Config
from pipeline.errors import InputError
from pipeline.features.config import FeaturesConfig
from pipeline.logs.config import LogsConfig
from pipeline.logs.watch.config import WatchConfig
from query_suggest.config import SuggestConfig
from ranking.config import RankingConfig
from rerank.config import RerankConfig
from retrieval.config import RetrievalConfig
from serving.settings import ServingConfig

SECTIONS: dict[str, type[Config]] = {
    "logs": LogsConfig,
    "watch": WatchConfig,
    "catalogue": CatalogueConfig,
    "features": FeaturesConfig,
    "retrieval": RetrievalConfig,
    "ranking": RankingConfig,
    "rerank": RerankConfig,
    "query_suggest": SuggestConfig,
    "serving": ServingConfig,
}


def write_defaults(path: Path) -> None:
    """Raises InputError when the file exists: a configuration is never overwritten."""
    if path.exists():
        raise InputError("path", "a file that does not exist yet", place=str(path))
    path.write_text(defaults(), encoding="utf-8")


def defaults() -> str:
    """The text of a podium.toml in which every key has its default."""
    lines = ["# Podium's configuration. Every key has its default; a key you leave out keeps it."]
    for name, kind in SECTIONS.items():
        lines += ["", *_section(name, kind())]
    return "\n".join(lines) + "\n"


def _section(name: str, config: Config) -> Iterator[str]:
    yield f"[{name}]"
    nested: list[tuple[str, Config | dict[str, Any]]] = []
    tables: list[str] = []
    for key, about in type(config).model_fields.items():
        value = getattr(config, key)
        if isinstance(value, Config | dict):
            nested.append((key, value))
            continue
        if about.examples:
            tables += _example(f"{name}.{key}", about)
            continue
        yield f"# {about.description}"
        yield f"# {key} =" if value is None else f"{key} = {_toml(value)}"
    for key, value in nested:
        about = type(config).model_fields[key]
        yield from ("", f"# {about.description}")
        if isinstance(value, Config):
            yield from _section(f"{name}.{key}", value)
        else:
            yield f"[{name}.{key}]"
            yield from (f"{inner} = {_toml(number)}" for inner, number in value.items())
    yield from tables


def _example(name: str, about: FieldInfo) -> Iterator[str]:
    """A list of tables, which has no place for its default: how one would look."""
    yield from ("", f"# {about.description}")
    for example in about.examples or ():
        yield f"# [[{name}]]"
        yield from (f"# {key} = {_toml(value)}" for key, value in example.items())


def _toml(value: object) -> str:
    assert value is not PydanticUndefined
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(list(value) if isinstance(value, tuple) else value)
