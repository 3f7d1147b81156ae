"""How the deep ranker is built and trained: the `[ranking.deep]` section."""

from typing import Final

from pydantic import Field

from pipeline.config import Config
from pipeline.training import TrainingConfig

LONGEST: Final = 1_000  # actions of a history


class DeepConfig(Config):
    """A network for clicks and conversions with attention over what the subject did."""

    bins: int = Field(8, ge=1, le=256, description="bins of a feature, at most")
    width: int = Field(8, ge=1, le=256, description="numbers for each of: the item, a level of its category, its brand")
    least_seen: int = Field(20, ge=1, description="rows of an item below which it is not known by itself")
    id_dropout: float = Field(0.2, ge=0, lt=1, description="how often an item is not known by itself in training")
    history: int = Field(30, ge=1, le=LONGEST, description="latest positive items of the subject that are looked at")
    bottom: tuple[int, ...] = Field((128, 64), min_length=1, max_length=8, description="sizes of the shared layers")
    tower: int = Field(32, ge=1, description="size of the layer of each task alone")
    training: TrainingConfig = Field(TrainingConfig.model_validate({}), description="how it is fitted")
