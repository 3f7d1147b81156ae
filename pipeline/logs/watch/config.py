"""[watch] of podium.toml: what is still ordinary in a log, and what rings."""

from pydantic import Field, NonNegativeFloat, PositiveInt

from pipeline.config import Config

# rate -> whether it must be at least its bound; every other rate must be at most it
AT_LEAST = ("join_rate", "attributed")


class RobotsConfig(Config):
    """Who is a program. The signs are those of Buehrer, Stokes and Chellapilla, "A large-scale study of automated web
    search traffic" (AIRWeb 2008) and Sadagopan and Li, "Characterizing typical and atypical user sessions in
    clickstreams" (WWW 2008): volume, timing without chance, clicks without choice. The bounds are ours."""

    per_minute: PositiveInt = Field(
        default=30, description="pages and actions within one minute that a person does not do; views do not count"
    )
    gaps: PositiveInt = Field(default=20, description="gaps between events from which their regularity is judged")
    regularity: float = Field(
        default=0.5, ge=0, le=1, description="entropy of the gaps (in steps of 10 %), over its largest, of a timer"
    )
    shown: PositiveInt = Field(default=50, description="shown items from which clicks on everything are judged")
    everything: float = Field(default=0.8, gt=0, le=1, description="share of the shown items clicked that is no choice")
    never_else: float = Field(
        default=0.01, ge=0, lt=1, description="chance of so many clicks and never another action that is no chance"
    )


class WatchConfig(Config):
    """Bounds of the rates that `podium events check` and the service watch."""

    join_rate: float = Field(
        default=0.97, ge=0, le=1, description="feedback that names a request: least share whose page and item are known"
    )
    attributed: float = Field(
        default=0.5, ge=0, le=1, description="all feedback: least share that belongs to an impression"
    )
    before_page: float = Field(default=0.01, ge=0, le=1, description="joined feedback: most that is before its page")
    future: float = Field(default=0.01, ge=0, le=1, description="events: most that happen after they were received")
    impossible: float = Field(
        default=0.0, ge=0, le=1, description="events: most whose moment cannot be, by [logs] earliest and ahead_ms"
    )
    at_once: float = Field(default=0.5, ge=0, le=1, description="events: most of a day at one and the same moment")
    one_subject: float = Field(default=0.5, ge=0, le=1, description="events: most that one subject made")
    float_ids: float = Field(
        default=0.01, ge=0, le=1, description="events: most with an id like 10.0, which is 10 elsewhere"
    )
    late: float = Field(
        default=0.05, ge=0, le=1, description="events: most that are received `late_ms` after their time"
    )
    unseen: float = Field(default=0.95, ge=0, le=1, description="pages: most without a view, a click or any action")
    repeated: float = Field(default=0.01, ge=0, le=1, description="events: most that came again under another event_id")
    offset: float = Field(default=0.05, ge=0, le=1, description="clients: most whose clock is off")
    robots: float = Field(default=0.1, ge=0, le=1, description="events: most that programs made")
    duplicates: float = Field(default=0.05, ge=0, le=1, description="events: most that were delivered again")
    rejected: float = Field(default=0.01, ge=0, le=1, description="events: most that were refused")
    dropped: float = Field(default=0.001, ge=0, le=1, description="pages: most that were lost before they were written")
    least: PositiveInt = Field(default=100, description="a rate of fewer cases than this is not judged")
    tolerance_ms: NonNegativeFloat = Field(default=1_000, description="how far a client's clock may be ahead, ms")
    late_ms: PositiveInt = Field(default=3_600_000, description="received this long after its time an event is late")
    offset_ms: PositiveInt = Field(default=600_000, description="usual delay of a client whose clock is behind, ms")
    lookback_days: PositiveInt = Field(default=14, description="how old the page of a feedback may be")
    remembered: PositiveInt = Field(
        default=100_000, description="pages a service remembers at least, to know those that feedback names"
    )
    robot: RobotsConfig = Field(default=RobotsConfig(), description="who is a program")
