"""What a subject did that takes an item off the subject's own pages: for how long, and on which surfaces.

Retrieval, replay and later pages of an answer read the same rules, so that what was hidden or bought is gone from all.
"""

from fnmatch import fnmatchcase
from typing import Final

import numpy as np
from pydantic import Field, field_validator

from pipeline.batch import Array, Mask
from pipeline.config import Config
from pipeline.state import ACTIONS

DAY_MS = 86_400_000
_NOT = "!"
_DAYS = "days an item stays away, 0: for ever"
_SURFACES = "names or patterns of the surfaces it leaves; the last one that fits counts, one after a `!` keeps the item"


class Exclusion(Config):
    """How long an act keeps an item off its subject's pages, and where: for ever and everywhere, unless said."""

    days: float = Field(default=0.0, ge=0, description=_DAYS)
    surfaces: tuple[str, ...] = Field(default=("*",), max_length=100, description=_SURFACES)

    @field_validator("surfaces")
    @classmethod
    def _say_something(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        if any(not pattern.removeprefix(_NOT) for pattern in patterns):
            raise ValueError('names or patterns of surfaces, such as ["*", "!search"]')
        return patterns

    def leaves(self, surface: str) -> bool:
        """Whether an item leaves the pages of this surface."""
        fits = [pattern for pattern in self.surfaces if fnmatchcase(surface, pattern.removeprefix(_NOT))]
        return bool(fits) and not fits[-1].startswith(_NOT)

    def excludes(self, surface: Array, age_ms: Array) -> Mask:
        """`[R, H]`: which of the acts of these ages keep their items off these pages. surface: `[R]`."""
        where = {name: self.leaves(name) for name in set(surface.tolist())}
        here = np.array([where[name] for name in surface.tolist()], dtype=np.bool_)[:, None]
        return here & (age_ms < self.days * DAY_MS) if self.days else np.broadcast_to(here, age_ms.shape)


class Bought(Exclusion):
    """What was bought may be wanted again, and is found by who searches for it."""

    days: float = Field(default=30.0, ge=0, description=_DAYS)
    surfaces: tuple[str, ...] = Field(default=("*", "!search"), max_length=100, description=_SURFACES)


class Exclusions(Config):
    """[retrieval.exclude] of podium.toml."""

    hide: Exclusion = Field(default=Exclusion(), description="what the subject hid")
    purchase: Bought = Field(default=Bought(), description="what the subject bought")

    def of(self, surface: Array, action: Array, age_ms: Array) -> Mask:
        """`[R, H]`: which acts take their items off these pages. surface: `[R]`; action: as in ACTIONS, -1 = none."""
        found = np.zeros(action.shape, dtype=np.bool_)
        for name, rule in (("hide", self.hide), ("purchase", self.purchase)):
            found |= (action == ACTIONS.index(name)) & rule.excludes(surface, age_ms)
        return found


USUAL: Final = Exclusions()
