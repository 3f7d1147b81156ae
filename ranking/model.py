"""A trained ranker: trees, a smoothed rate they are blended with, and the calibration of both."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtifactError
from ranking.boosted import Boosted
from ranking.calibration import logit, sigmoid, step_values

KIND: Final = "ranking"
SCHEMA: Final = 1
_MODEL, _STEPS, _ABOUT = "model.txt", "calibration.npy", "ranker.json"
Floats = NDArray[np.float64]
Rows = NDArray[np.float32]


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """target: `click` (log-odds) or `grade`; all: names of the feature set; used: those the trees read;
    rate: the smoothed rate to blend with; trust: share of the trees in the blend, 0 = the rate alone;
    slope, intercept: of the calibration; gains: action -> gain."""

    target: Literal["click", "grade"]
    all: tuple[str, ...]
    used: tuple[str, ...]
    rate: str
    trust: float
    slope: float
    intercept: float
    gains: dict[str, float]
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class Ranker:
    """trees: None when the rate alone is shipped; steps: `[2, S]` of the isotonic calibration, `[2, 0]` for Platt's."""

    about: About
    trees: Boosted | None
    steps: Floats

    def raw(self, rows: Rows, threads: int = 1) -> Floats:
        """Scores before calibration, `[n]`, of rows `[n, F]` of the whole feature set."""
        return blend(self._trees(rows, threads), self._rate(rows), self.about.trust)

    def predict(self, rows: Rows, threads: int = 1) -> Floats:
        """`[n]`: P(click), or the expected grade where grades were the target."""
        raw = self.raw(rows, threads)
        if self.about.target == "grade":
            return np.asarray(self.about.slope * raw + self.about.intercept)
        if self.steps.shape[1]:
            return step_values(self.steps[0], self.steps[1], raw)
        return sigmoid(self.about.slope * raw + self.about.intercept)

    def column(self, name: str) -> int:
        """Place of a feature on the last axis."""
        return self.about.all.index(name)

    def _trees(self, rows: Rows, threads: int) -> Floats:
        if self.trees is None:
            return np.zeros(len(rows))
        used = [self.column(name) for name in self.about.used]
        return self.trees.predict(rows if len(used) == len(self.about.all) else rows[:, used], threads)

    def _rate(self, rows: Rows) -> Floats:
        return logit(rows[:, self.column(self.about.rate)]) if self.about.rate else np.zeros(len(rows))

    def save(self, folder: Path) -> None:
        if self.trees is not None:
            self.trees.save(folder / _MODEL)
        np.save(folder / _STEPS, self.steps, allow_pickle=False)
        (folder / _ABOUT).write_bytes(msgspec.json.encode(self.about))

    @classmethod
    def open(cls, folder: Path, features: Sequence[str]) -> "Ranker":
        """features: the names of the feature set it will be given.

        Raises ArtifactError when the files are not what `save` wrote, or were made for other features.
        """
        try:
            about = msgspec.json.decode((folder / _ABOUT).read_bytes(), type=About)
            steps = np.load(folder / _STEPS, allow_pickle=False)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise ArtifactError(_ABOUT, f"a readable ranker ({error})", place=str(folder)) from error
        if about.schema != SCHEMA or about.all != tuple(features):
            raise ArtifactError("features", "a ranker trained on this feature set; train again", place=str(folder))
        if not {*about.used, *([about.rate] if about.rate else [])} <= set(about.all):
            raise ArtifactError("used", "features of the feature set", place=str(folder / _ABOUT))
        if steps.ndim != 2 or len(steps) != 2:
            raise ArtifactError(_STEPS, "two rows", place=str(folder), received=steps.shape)
        trees = Boosted.open(folder / _MODEL, len(about.used)) if about.used else None
        return cls(about, trees, steps)


def blend(trees: Floats, rate: Floats, trust: float) -> Floats:
    """trust of the trees' log-odds and the rest of the rate's."""
    return np.asarray(trust * trees + (1.0 - trust) * rate)
