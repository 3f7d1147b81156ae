"""How the scores of one outcome become probabilities, surface by surface: a curve for each, and one for the rest."""

from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.features.plain import SURFACES
from ranking.calibration import isotonic, platt, sigmoid, step_values

LEAST: Final = 1_000  # positives, and negatives, of a surface before it has a curve of its own: 3 % uncertain
Floats = NDArray[np.float64]
Numbers = NDArray[Any]


class Curve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """slope, intercept: of the logistic curve; or starts, values: the steps of the isotonic one, ascending."""

    slope: float = 1.0
    intercept: float = 0.0
    starts: tuple[float, ...] = ()
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.starts) != len(self.values):
            raise ValueError("as many starts of steps as values")

    def probability(self, raw: Floats) -> Floats:
        if self.starts:
            return step_values(np.array(self.starts), np.array(self.values), raw)
        return sigmoid(self.slope * raw + self.intercept)

    @classmethod
    def fitted(cls, raw: Floats, label: Floats, how: str) -> "Curve":
        """label: 0 or 1; above 1 where a positive stands for some that are not known yet."""
        if how == "isotonic" and len(raw):
            starts, values = isotonic(raw, label)
            return cls(starts=tuple(starts.tolist()), values=tuple(np.minimum(values, 1.0).tolist()))
        slope, intercept = platt(raw, label)
        return cls(slope, intercept)


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """pooled: of all surfaces; surfaces: name -> the curve of a surface that had enough to have one."""

    pooled: Curve = Curve()
    surfaces: dict[str, Curve] = {}

    def probability(self, raw: Floats, surface: Numbers | None) -> Floats:
        """`[n]`. raw: `[n]`; surface: `[n]` places in `SURFACES`, None where the features do not say."""
        found = self.pooled.probability(raw)
        if surface is not None:
            for name, curve in self.surfaces.items():
                here = surface == SURFACES.index(name)
                if here.any():
                    found[here] = curve.probability(raw[here])
        return found

    @classmethod
    def fitted(cls, raw: Floats, label: Floats, surface: Numbers | None, how: str) -> "Head":
        """raw, label, surface: `[n]` each, of rows that nothing was learned from."""
        curves = {}
        for place, name in enumerate(SURFACES if surface is not None else ()):
            here = surface == place
            positives = int(np.count_nonzero(label[here]))
            if min(positives, int(np.count_nonzero(here)) - positives) >= LEAST:
                curves[name] = Curve.fitted(raw[here], label[here], how)
        return cls(Curve.fitted(raw, label, how), curves)
