"""The `[retrieval]` section: which channels bring candidates, how deep, and how they are fused."""

from typing import Final, NamedTuple

from pydantic import Field

from pipeline.config import Config
from pipeline.exclusions import USUAL, Exclusions
from retrieval.vectors import VectorConfig

CHANNELS: Final = ("lexical", "popular", "covisit", "given", "fresh", "tower")


class Learned(NamedTuple):
    """What training finds out about the channels; these values stand where it had nothing to learn from.

    popular, covisit: weights; days: of popularity; half_life_days: of co-visits, 0 = old and new count alike;
    tower: weight where nothing is searched for; search_tower: where something is; 0 leaves the channel out.
    """

    popular: float = 0.05
    covisit: float = 1.0
    days: int = 7
    half_life_days: float = 0.0
    tower: float = 0.0
    search_tower: float = 0.0


class Channel(Config):
    """How deep one channel looks and how much its ranks count in the fusion."""

    depth: int = Field(default=300, ge=1, le=10_000, description="candidates the channel brings, at most")
    weight: float | None = Field(
        default=None, ge=0, description="weight of its reciprocal ranks; unset takes the one learned in training"
    )


class LexicalConfig(Config):
    depth: int = Field(default=500, ge=1, le=10_000, description="candidates the channel brings, at most")
    weight: float = Field(default=1.0, ge=0, description="weight of its reciprocal ranks")
    title_boost: float = Field(default=2.0, ge=0, description="weight of a word in the title")
    text_boost: float = Field(default=1.0, ge=0, description="weight of a word in the text")
    about_boost: float = Field(default=1.0, ge=0, description="weight of a word in brand, category or tags")


class PopularConfig(Channel):
    days: int | None = Field(
        default=None,
        ge=1,
        description="positive actions of the last days count; without clock time, all; unset takes the days learned",
    )
    segment_minimum: int = Field(
        default=500, ge=0, description="positive actions a segment needs in the window to have an order of its own"
    )

    @property
    def window_days(self) -> int:
        return Learned().days if self.days is None else self.days


class CovisitConfig(Channel):
    window: int = Field(default=10, ge=1, description="actions apart within which two items are seen together")
    cap: int = Field(default=200, ge=2, description="latest actions of a subject that are counted")
    neighbours: int = Field(default=100, ge=1, description="neighbours kept an item")
    damping_from: float = Field(
        default=0.5, ge=0, le=1, description="how much the popularity of the item acted on is damped"
    )
    damping_to: float = Field(
        default=0.2, ge=0, le=1, description="how much the popularity of the item found is damped"
    )
    backward: float = Field(
        default=0.25, ge=0, le=1, description="weight of finding the earlier item from the later; 1: no order"
    )
    half_life_days: float | None = Field(
        default=None, ge=0, description="age at which a pair counts half, 0: never; unset takes the one learned"
    )
    recent: int = Field(default=10, ge=1, description="latest actions of the subject whose neighbours are asked")
    decay: float = Field(default=0.7, gt=0, le=1, description="weight of an action relative to the one after it")


class FreshConfig(Config):
    depth: int = Field(
        default=50, ge=0, le=10_000, description="candidates the channel brings, at most; 0 leaves it out"
    )
    weight: float = Field(default=0.05, ge=0, description="weight of its reciprocal ranks")


class TowerConfig(Channel):
    search_weight: float | None = Field(
        default=None, ge=0, description="the same on searches, where a found word weighs 1; unset takes the one learned"
    )
    dimensions: int = Field(default=64, ge=8, le=512, description="length of the vectors")
    buckets: int = Field(
        default=32_768, ge=64, le=4_194_304, description="rows of the table of hashed words and labels"
    )
    history: int = Field(default=20, ge=1, le=50, description="latest actions of the subject that are read")
    epochs: int = Field(
        default=6,
        ge=1,
        description="passes over the pairs, at most; half as many over a large log; what is held out says how many",
    )
    patience: int = Field(default=2, ge=1, description="passes without improvement before training stops")
    most_pairs: int = Field(default=100_000, ge=1, description="pairs of one pass, drawn anew for each")
    batch: int = Field(default=512, ge=2, description="pairs of one step, each a negative of the others")
    uniform: int = Field(default=512, ge=0, description="further negatives of a step, drawn evenly from all items")
    id_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="share of items shown without their id, so that new ones can be told"
    )
    learning_rate: float = Field(default=0.01, gt=0, description="of Adam at first; it falls to 0 over the passes")
    index: VectorConfig = Field(default=VectorConfig(), description="how the nearest vectors are looked up")


class RetrievalConfig(Config):
    lexical: LexicalConfig = Field(default=LexicalConfig(), description="BM25 over the words of the query")
    popular: PopularConfig = Field(default=PopularConfig(), description="what most people act on lately")
    covisit: CovisitConfig = Field(default=CovisitConfig(), description="neighbours of what the subject acted on")
    fresh: FreshConfig = Field(default=FreshConfig(), description="new items like what the subject acted on")
    tower: TowerConfig = Field(default=TowerConfig(), description="two towers: learned vectors of requests and items")
    exclude: Exclusions = Field(
        default=USUAL, description="which items leave the pages of a subject for what the subject did"
    )
    k0: float = Field(default=60.0, gt=0, description="constant of reciprocal rank fusion; larger flattens the ranks")
    fused: int = Field(default=500, ge=1, le=10_000, description="candidates kept after fusion")
    rescue: bool = Field(default=True, description="a search that finds nothing gets popular items, marked as such")

    @property
    def weights(self) -> tuple[float, ...]:
        """Of each of CHANNELS, where nothing is searched for."""
        known = self.filled(Learned())
        channels = (known.popular, known.covisit, known.tower)
        popular, covisit, tower = (channel.weight or 0.0 for channel in channels)
        return (known.lexical.weight, popular, covisit, 1.0, known.fresh.weight, tower)

    @property
    def for_search(self) -> "RetrievalConfig":
        """With the weights of a search."""
        tower = self.tower.model_copy(update={"weight": self.filled(Learned()).tower.search_weight})
        return self.model_copy(update={"tower": tower})

    def filled(self, learned: Learned) -> "RetrievalConfig":
        """With what was learned where nothing is set."""
        return self.model_copy(
            update={
                "popular": _filled(self.popular, {"weight": learned.popular, "days": learned.days}),
                "covisit": _filled(self.covisit, {"weight": learned.covisit, "half_life_days": learned.half_life_days}),
                "tower": _filled(self.tower, {"weight": learned.tower, "search_weight": learned.search_tower}),
            }
        )


def _filled(channel: Channel, learned: dict[str, float]) -> Channel:
    return channel.model_copy(update={name: value for name, value in learned.items() if getattr(channel, name) is None})
