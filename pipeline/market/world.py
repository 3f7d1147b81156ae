"""What a simulated market is made of: one frozen configuration, and the named worlds that ship with it."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from pipeline.config import Config, read_toml
from pipeline.errors import ConfigError

Floats = NDArray[np.float64]

SHIPPED = Path(__file__).with_name("worlds.toml")
DAY = 86_400_000
START = 1_767_571_200_000  # 2026-01-05T00:00:00Z, a Monday


class World(Config):
    """One market. The defaults are those of the world `base`."""

    users: int = Field(20_000, ge=2, le=10_000_000, description="shoppers with an account")
    items: int = Field(20_000, ge=200, le=10_000_000, description="items of the first day's catalogue")
    days: int = Field(21, ge=1, le=366, description="length of the log in days")
    impressions: int = Field(150_000, ge=10, le=1_000_000_000, description="pages shown")
    seed: int = Field(1, ge=0, lt=2**63, description="everything random follows from it")
    page_size: int = Field(8, ge=2, le=50, description="items of one page")
    second_pages: float = Field(0.1, ge=0, le=1, description="share of requests that ask for a second page")
    pool: int = Field(96, ge=48, le=1000, description="candidates of a request whose truth is written")
    search_share: float = Field(0.5, ge=0, le=1, description="share of searches; the rest recommend, similar")
    taste_strength: float = Field(1.0, ge=0, le=5, description="how much true relevance depends on the user")
    query_strength: float = Field(1.0, ge=0, le=5, description="how much true relevance depends on the query")
    examination: str = Field(
        "1/rank^0.7",
        pattern=r"^(flat|1/rank(\^\d+(\.\d+)?)?)$",
        description="chance that a position is looked at, the same on every surface: flat, 1/rank or 1/rank^X",
    )
    context_effect: float = Field(
        0.5, ge=0, le=1, description="how much a click's chance falls with similar items shown above"
    )
    click_noise: float = Field(0.05, ge=0, le=1, description="weight of a click that ignores relevance")
    convert_base: float = Field(0.06, ge=0, le=0.4, description="level of P(purchase | click)")
    delay_days: float = Field(1.5, ge=0, le=60, description="mean delay of purchases; 0 = at once")
    new_items_per_day: float = Field(0.01, ge=0, le=1, description="items added a day, share of `items`")
    drift: float = Field(
        0.02,
        ge=0,
        le=1,
        description="share of the variance of log popularity (items, queries) replaced each day; "
        "prices and availability change in proportion, 0 freezes them all",
    )
    logger: Literal["random", "popular", "match", "popular+match"] = Field(
        "popular+match", description="the policy that ordered the pages"
    )
    explored: float = Field(0.05, ge=0, le=1, description="share of requests ordered at random, propensities known")
    exploration: Literal["uniform", "plackett-luce"] = Field(
        "uniform", description="how an explored request orders the logger's best two pages of items"
    )
    typo_rate: float = Field(0.08, ge=0, le=1, description="share of typed queries with a misspelt word")
    session_intent: float = Field(
        0.6,
        ge=0,
        le=1,
        description="chance that the next query of a session refines the last one; "
        "0 makes every query an independent draw",
    )
    anonymous: float = Field(0.15, ge=0, le=1, description="share of sessions without an account")
    bots: float = Field(0.01, ge=0, le=0.5, description="share of shoppers that are programs")
    duplicates: float = Field(0.002, ge=0, le=1, description="share of events delivered twice")
    late: float = Field(0.01, ge=0, le=1, description="share of events received minutes to days late")
    suggest_share: float = Field(0.2, ge=0, le=1, description="share of searches whose keystrokes are logged")
    view_share: float = Field(0.1, ge=0, le=1, description="share of pages whose viewport is logged")
    unattributed: float = Field(0.05, ge=0, le=1, description="share of feedback without its request_id")

    @model_validator(mode="after")
    def _room(self) -> "World":
        if self.impressions < self.days:
            raise ValueError("impressions: at least one page a day")
        if self.pool < 4 * self.page_size:
            raise ValueError("pool: at least four pages of candidates")
        return self

    @property
    def end(self) -> int:
        """First millisecond after the log."""
        return START + self.days * DAY

    def examine(self, positions: NDArray[np.int64]) -> Floats:
        """Chance that each 0-based position is looked at: `(position + 1) ** -x`, or 1 everywhere."""
        if self.examination == "flat":
            return np.ones(positions.shape)
        _, _, exponent = self.examination.partition("^")
        power: Floats = np.power(positions + 1.0, -float(exponent or 1.0))
        return power


def load_world(spec: str | None = None, overrides: Mapping[str, str] | None = None, seed: int | None = None) -> World:
    """The world `spec` names, with single keys replaced.

    spec: `FILE#NAME`, or the name of a shipped world; None is `base`. overrides: key -> value as text.
    Raises ConfigError for an unknown world or key, a value out of bounds, or worlds that inherit in a ring.
    """
    file, _, name = (spec or "base").rpartition("#")
    path = Path(file) if file else SHIPPED
    values = _inherited(_tables(path), name, path)
    extra = dict(overrides or {}) | ({} if seed is None else {"seed": str(seed)})
    try:
        return World.model_validate(values | extra)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "world"
        place = f"{path.name} [{name}]"
        if first["type"] == "extra_forbidden":
            raise ConfigError(key, f"one of {', '.join(World.model_fields)}", place=place) from error
        raise ConfigError(key, str(first["msg"]), place=place, received=first.get("input")) from error


def shipped_worlds() -> list[str]:
    """Names of the worlds that come with the market."""
    return list(tomllib.loads(SHIPPED.read_text(encoding="utf-8")))


def _tables(path: Path) -> dict[str, dict[str, object]]:
    tables = {name: table for name, table in read_toml(path).items() if isinstance(table, dict)}
    if not tables:
        raise ConfigError("file", "a TOML file with one [table] a world", place=str(path))
    return tables


def _inherited(tables: dict[str, dict[str, object]], name: str, path: Path) -> dict[str, object]:
    chain: list[dict[str, object]] = []
    seen: list[str] = []
    wanted: object = name
    while wanted is not None:
        if not isinstance(wanted, str) or wanted not in tables:
            raise ConfigError("world", f"one of {', '.join(tables)}, or FILE#NAME", place=path.name, received=wanted)
        if wanted in seen:
            raise ConfigError(
                "inherits", "worlds that do not inherit from themselves", place=path.name, received=wanted
            )
        seen.append(wanted)
        chain.append(tables[wanted])
        wanted = tables[wanted].get("inherits")
    merged: dict[str, object] = {}
    for table in reversed(chain):
        merged |= table
    merged.pop("inherits", None)
    return merged
