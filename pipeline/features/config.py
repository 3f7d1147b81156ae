"""Which features may be learned from: the `[features]` section."""

from typing import Self

from pydantic import Field, model_validator

from pipeline.config import Config
from pipeline.features.declared import MOST, Declared
from pipeline.features.plain import EVERY

_EXAMPLE = {
    "name": "kind_rate_by_age",
    "kind": "rate",
    "item": "category.2",
    "by": "user.attributes.age",
    "action": "click",
    "window": "28d",
}


class FeaturesConfig(Config):
    """What is never learned from, and when a feature knows too much to be true."""

    forbidden: tuple[str, ...] = Field(
        default=("*position*", "*dwell*", "*propensity*"),
        description="names or patterns of features that are never learned from: they tell of the outcome or the layout",
    )
    auc_alarm: float = Field(
        default=0.9, gt=0.5, le=1, description="a feature that alone tells clicks apart better than this stops training"
    )
    auc_allowed: tuple[str, ...] = Field(default=(), description="names or patterns of features that may")
    psi_alarm: float = Field(
        default=0.2, gt=0, description="drift of the latest rows from the earlier ones that is marked"
    )
    declared: tuple[Declared, ...] = Field(
        default=(),
        max_length=MOST,
        description="features of your own; docs/features.md tells more",
        examples=[_EXAMPLE],
    )

    @model_validator(mode="after")
    def _each_name_once(self) -> Self:
        names = [each.name for each in self.declared]
        if twice := [name for place, name in enumerate(names) if name in names[:place]]:
            raise ValueError(f"declared: each name once; `{twice[0]}` comes twice")
        if builtin := [name for name in names if name in EVERY]:
            raise ValueError(f"declared: `{builtin[0]}` is the name of a feature there is already; choose another")
        return self
