"""One `podium.toml`, a section per package; each package declares and validates only its own."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import ConfigError


class Config(BaseModel):
    """Frozen; refuses keys it does not know and numbers that are none. Every section extends it beside its code."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


C = TypeVar("C", bound=Config)


def read_toml(path: Path) -> dict[str, object]:
    """The whole file as plain values. Raises ConfigError for a missing or malformed file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError("file", "an existing TOML file; `podium init` writes one", place=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError("file", f"valid TOML in UTF-8 ({error})", place=str(path)) from error


def load_section(path: Path | None, section: str, kind: type[C]) -> C:
    """Read one package's section; `None` gives the defaults.

    Raises ConfigError naming the file, the key and what was expected.
    """
    values = {} if path is None else read_toml(path).get(section, {})
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or section
        raise ConfigError(key, str(first["msg"]), place=f"{path} [{section}]", received=first.get("input")) from error


def check_sections(path: Path, known: Mapping[str, type[Config]]) -> None:
    """Prove a whole file before any work: a misspelt section must not be silently ignored.

    Raises ConfigError for a section that nobody reads, and for what `load_section` refuses in the others.
    """
    if unknown := [name for name in read_toml(path) if name not in known]:
        raise ConfigError(f"[{unknown[0]}]", f"one of the sections {', '.join(known)}", place=str(path))
    for name, kind in known.items():
        load_section(path, name, kind)
