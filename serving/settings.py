"""What the service is told: addresses and secrets from the environment, the rest from [serving] of podium.toml."""

import re
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.config import Config, load_section
from pipeline.errors import ConfigError
from pipeline.logs.config import LogsConfig
from pipeline.logs.watch.config import WatchConfig

_HOST: Final = re.compile(r"\*|(\*\.)?[0-9a-z_-]+(\.[0-9a-z_-]+)*|[0-9a-f:]+")
_ORIGIN: Final = re.compile(r"https?://([0-9a-z_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


class ServingConfig(Config):
    """[serving] of podium.toml."""

    page_size: int = Field(default=20, ge=1, le=100, description="items of a page when the request does not say")
    segment: str = Field(default="region", description="the key of `context` that counts as the request's segment")
    slate_minutes: float = Field(default=10.0, gt=0, description="how long page 0's answer is kept for its next pages")
    slates: int = Field(default=100_000, ge=1, description="answers kept at most, over all workers")
    body_bytes: int = Field(
        default=4_000_000,
        ge=1_000,
        description="largest post of events; above it 413; other bodies may be smaller",
    )
    head_bytes: int = Field(default=32_768, ge=1_024, description="largest request line with its headers; above it 431")
    head_seconds: float = Field(
        default=10.0, gt=0, description="how long the request line and the headers may take to come; then 408"
    )
    body_seconds: float = Field(
        default=30.0, gt=0, description="the same of the body; and how long an answer waits for its reader"
    )
    connections: int = Field(
        default=500, ge=1, description="open at once in a worker; then the oldest that waits for nothing is closed"
    )
    event_batch: int = Field(default=1_000, ge=1, description="events of one post at most")
    waiting: int = Field(default=64, ge=1, description="requests that may wait for the engine; above it 429")
    deadline_ms: int = Field(
        default=1_000, ge=1, description="ms an answer may take without `X-Deadline-Ms`; who would wait longer gets 503"
    )
    impressions: int = Field(default=10_000, ge=1, description="impressions that may wait to be written; then dropped")
    snapshots: int = Field(default=500, ge=1, description="feature snapshots that may wait to be written; then dropped")
    snapshot_days: int = Field(default=14, ge=1, description="how long feature snapshots are kept")
    hosts: tuple[str, ...] = Field(
        default=(), description="further names the service answers to: a proxy's, `*.example.org`; `*` answers to any"
    )
    cors: tuple[str, ...] = Field(
        default=(), description="origins (`https://shop.example`) whose pages may call from a browser"
    )
    follow_seconds: float = Field(
        default=0.02, gt=0, description="how often a worker looks for what other workers and the command line changed"
    )
    explored_seconds: float = Field(
        default=0.5, gt=0, description="how long an explored page may take to be written; else another one is given"
    )

    @field_validator("hosts")
    @classmethod
    def _names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not _HOST.fullmatch(host):
                raise ValueError(f"must be names without a port, in small letters, such as shop.example; not {host!r}")
        return hosts

    @field_validator("cors")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"must be origins, each named, such as https://shop.example; not {origin!r}")
        return origins


class Settings(BaseSettings):
    """One service: one data root, one process or several workers over the same root.

    Read from the environment (`PODIUM_ROOT`, ...); arguments win over it.
    """

    model_config = SettingsConfigDict(env_prefix="PODIUM_", frozen=True, extra="forbid")

    root: Path = Field(default=Path("podium-data"), description="the tenant's folder: events, slates, keys, rules")
    host: str = Field(default="127.0.0.1", description="address to listen on; beyond loopback only with keys")
    port: int = Field(default=8000, ge=0, le=65_535, description="port to listen on")
    replay: bool = Field(default=False, description="times and request ids are the caller's; nothing is logged")
    snapshot_share: float | None = Field(
        default=None, ge=0, le=1, description="share of requests whose feature values are kept; 0.01, 0 under replay"
    )
    keys: Path | None = Field(default=None, description="the file of API keys; default ROOT/keys.json")
    database: str | None = Field(default=None, description="SQLAlchemy URL of the events; default ROOT/events.db")
    bundles: Path | None = Field(default=None, description="the bundles root; its `current` is what is served")
    serving: ServingConfig = Field(default=ServingConfig(), description="[serving] of podium.toml")
    watch: WatchConfig = Field(default=WatchConfig(), description="[watch] of podium.toml")
    logs: LogsConfig = Field(default=LogsConfig(), description="[logs] of podium.toml")

    @property
    def sampled(self) -> float:
        """The share of requests whose feature values are kept."""
        usual = 0.0 if self.replay else 0.01
        return usual if self.snapshot_share is None else self.snapshot_share

    @property
    def keys_file(self) -> Path:
        return self.keys or self.root / "keys.json"

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.root / 'events.db'}"


def load_settings(config: Path | None = None, **given: object) -> Settings:
    """Settings from a podium.toml, the environment and `given`, each winning over the one before.

    `given` values that are None count as not given. Raises ConfigError naming the key.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    chosen.setdefault("serving", load_section(config, "serving", ServingConfig))
    chosen.setdefault("watch", load_section(config, "watch", WatchConfig))
    chosen.setdefault("logs", load_section(config, "logs", LogsConfig))
    try:
        return Settings.model_validate(Settings(**chosen))  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        key = "PODIUM_" + ".".join(str(part) for part in first["loc"]).upper()
        raise ConfigError(key, first["msg"], place="environment", received=first["input"]) from None
