"""A trained ranker: a scorer, the smoothed rates it is blended with or falls back on, and the calibration of both."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtifactError
from ranking.calibration import logit
from ranking.deep import DeepNet
from ranking.heads import Head
from ranking.inputs import Inputs, Scorer
from ranking.scorers import Trees

KIND: Final = "ranking"
SCHEMA: Final = 2
CONVERT_RATE: Final = "convert_rate"
_ABOUT: Final = "ranker.json"
Floats = NDArray[np.float64]


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """target: `click` (log-odds) or `grade`; model: what scores; all: names of the feature set; used: those the scorer
    reads, none without a scorer; rate: the smoothed rate to blend clicks with; trust: its share in the blend, 0 = the
    rate alone; converts: what says P(convert | click): the smoothed `rate`, trees of `clicked` items or of the
    `entire` space, or the `net`; click, convert: their calibration; gains: action -> gain;
    runtime: of trees."""

    target: Literal["click", "grade"]
    all: tuple[str, ...]
    used: tuple[str, ...]
    rate: str
    trust: float
    click: Head
    gains: dict[str, float]
    convert: Head = Head()
    converts: Literal["rate", "clicked", "entire", "net"] = "rate"
    model: Literal["boosted", "deep"] = "boosted"
    runtime: Literal["native", "onnx"] = "native"
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class Ranker:
    """scorer: None when the rates alone are shipped."""

    about: About
    scorer: Scorer | None

    def raw(self, inputs: Inputs, threads: int = 1) -> tuple[Floats, Floats]:
        """Scores before calibration, `[n]`: of clicks (or grades), and of conversions once clicked."""
        nothing = np.zeros(len(inputs))
        click, convert = (nothing, nothing) if self.scorer is None else self.scorer.raw(inputs, threads)
        if self.about.target == "grade":
            return click, np.full(len(inputs), np.nan)
        if self.about.converts == "rate":
            convert = self._rate(inputs, CONVERT_RATE)
        return blend(click, self._rate(inputs, self.about.rate), self.about.trust), convert

    def predict(self, inputs: Inputs, threads: int = 1) -> tuple[Floats, Floats]:
        """P(click) and P(convert | click), `[n]` each; where grades were the target the expected grade, and nan."""
        click, convert = self.raw(inputs, threads)
        if self.about.target == "grade":
            return self.about.click.pooled.slope * click + self.about.click.pooled.intercept, convert
        surface = surfaces(inputs, self.about.all)
        return self.about.click.probability(click, surface), self.about.convert.probability(convert, surface)

    def _rate(self, inputs: Inputs, name: str) -> Floats:
        return logit(inputs.features[:, self.about.all.index(name)])

    def save(self, folder: Path) -> None:
        if self.scorer is not None:
            self.scorer.save(folder)
        (folder / _ABOUT).write_bytes(msgspec.json.encode(self.about))

    @classmethod
    def open(cls, folder: Path, features: Sequence[str], runtime: Literal["native", "onnx"] | None = None) -> "Ranker":
        """features: the names of the feature set it will be given; runtime: instead of the one it was trained for.

        Raises ArtifactError when the files are not what `save` wrote, or were made for other features.
        """
        try:
            about = msgspec.json.decode((folder / _ABOUT).read_bytes(), type=About)
        except (OSError, msgspec.MsgspecError) as error:
            raise ArtifactError(_ABOUT, f"a readable ranker ({error})", place=str(folder)) from error
        if about.schema != SCHEMA or about.all != tuple(features):
            raise ArtifactError("features", "a ranker trained on this feature set; train again", place=str(folder))
        rates = (about.rate, CONVERT_RATE) if about.target == "click" else ()
        if not {*about.used, *rates} <= set(about.all):
            raise ArtifactError("used", "features of the feature set", place=str(folder / _ABOUT))
        if not about.used and (about.trust > 0 or about.converts != "rate"):
            raise ArtifactError("used", "the features of its model", place=str(folder / _ABOUT))
        return cls(about, _scorer(folder, about, runtime or about.runtime) if about.used else None)


def _scorer(folder: Path, about: About, runtime: str) -> Scorer:
    if about.model == "deep":
        return DeepNet.open(folder, len(about.all))
    columns = np.array([about.all.index(name) for name in about.used])
    converts, entire = about.converts in ("clicked", "entire"), about.converts == "entire"
    return Trees.open(folder, columns, convert=converts, entire=entire, onnx=runtime == "onnx")


def surfaces(inputs: Inputs, have: Sequence[str]) -> NDArray[np.float32] | None:
    """The surface of each item, `[n]`, as the features number them; None where they do not say."""
    return inputs.features[:, have.index("surface")] if "surface" in have else None


def blend(scored: Floats, rate: Floats, trust: float) -> Floats:
    """trust of the scorer's log-odds and the rest of the rate's, which may be unknown where nothing of it is asked."""
    return scored if trust == 1.0 else np.asarray(trust * scored + (1.0 - trust) * rate)
