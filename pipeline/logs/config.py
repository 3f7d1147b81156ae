"""[logs] of podium.toml."""

from datetime import date

from pydantic import Field, NonNegativeInt

from pipeline.logs.attribution import AttributionConfig


class LogsConfig(AttributionConfig):
    """What feedback is worth and how long it counts, and which moments a log believes."""

    earliest: date = Field(default=date(1990, 1, 1), description="an event before this day (UTC) is refused")
    ahead_ms: NonNegativeInt = Field(
        default=86_400_000, description="an event is refused that happens this long after it was received, ms"
    )
