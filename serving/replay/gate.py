"""Whether the numbers are good enough to ship: a file of minima, and of drops a baseline may see."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from pipeline.config import Config, read_toml
from pipeline.errors import ConfigError, GateError


class Gate(Config):
    """What podium's means must reach. Keys are `MODE.METRIC`, as `rank.ndcg@10`."""

    minimum: dict[str, float] = Field(default={}, description="MODE.METRIC -> the least mean that passes")
    max_drop: dict[str, float] = Field(
        default={}, description="MODE.METRIC -> how far the mean may be below the baseline's (`--baseline`)"
    )


def load_gate(path: Path) -> Gate:
    """Raises ConfigError for a missing or malformed file and for unknown keys."""
    try:
        return Gate.model_validate(read_toml(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(key, str(first["msg"]), place=str(path), received=first.get("input")) from error


def check_gate(gate: Gate, modes: Mapping[str, Mapping[str, Any]], place: str) -> None:
    """Raises GateError naming every number that does not pass, ConfigError for one the report does not have."""
    failed = []
    for key, least in gate.minimum.items():
        mean = _mean(modes, key, "podium", place)
        if mean is None or mean < least:
            failed.append(f"{key} is {_text(mean)}, at least {least:g} is asked for")
    for key, drop in gate.max_drop.items():
        mean, before = _mean(modes, key, "podium", place), _mean(modes, key, "baseline", place)
        if mean is None or before is None or before - mean > drop:
            failed.append(f"{key} is {_text(mean)} after {_text(before)}, a drop of {drop:g} is allowed")
    if failed:
        raise GateError("gate: " + "; ".join(failed))


def _mean(modes: Mapping[str, Mapping[str, Any]], key: str, system: str, place: str) -> float | None:
    mode, _, metric = key.partition(".")
    systems = modes.get(mode, {}).get("systems", {})
    if system not in systems:
        fix = "a mode of this report" if system == "podium" else "used together with --baseline"
        raise ConfigError(key, fix, place=place, received=mode)
    if metric not in systems[system]:
        raise ConfigError(key, f"a metric of the mode: {', '.join(systems[system])}", place=place, received=metric)
    mean: float | None = systems[system][metric]["mean"]
    return mean


def _text(mean: float | None) -> str:
    return "undefined" if mean is None else f"{mean:.4f}"
