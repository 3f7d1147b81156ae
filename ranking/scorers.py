"""Boosted trees as a scorer: one model of clicks, and at most one of what follows them.

What follows is learned either from clicked items alone, or over all that was shown, as P(click and conversion): the
idea of ESMM (Ma et al., SIGIR 2018), which never asks a model about items unlike those it learned from.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.onnx import OnnxModel
from ranking.boosted import Boosted
from ranking.inputs import Inputs
from ranking.trees_onnx import INPUT, write_trees

CLICK, CONVERT, ONNX = "model.txt", "convert.txt", "trees.onnx"
_SURE: Final = 1e-6  # P(click and conversion) stays below P(click) by this share
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trees:
    """click: log-odds of a click, or a grade; convert: of a conversion once clicked, or, if `entire`, of click and
    conversion; columns: places of the features they read, all if None; runtime: the same trees, in ONNX Runtime."""

    click: Boosted
    convert: Boosted | None = None
    entire: bool = False
    columns: NDArray[np.intp] | None = None
    runtime: OnnxModel | None = None

    def raw(self, inputs: Inputs, threads: int = 1) -> tuple[Floats, Floats]:
        click, convert = self._both(self._read(inputs.features), threads)
        if convert is None:
            return click, np.full(len(click), np.nan)
        return click, conditional(convert, click) if self.entire else convert

    def _read(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        every = self.columns is None or len(self.columns) == rows.shape[1]
        return rows if every else rows[:, self.columns]

    def _both(self, rows: NDArray[np.float32], threads: int) -> tuple[Floats, Floats | None]:
        if self.runtime is not None:
            found = self.runtime.run(**{INPUT: np.ascontiguousarray(rows)})
            click, *convert = (scores[:, 0].astype(np.float64) for scores in found)
            return click, convert[0] if convert else None
        convert_ = None if self.convert is None else self.convert.predict(rows, threads)
        return self.click.predict(rows, threads), convert_

    def save(self, folder: Path) -> None:
        """Write the library's own files and the ONNX file of the same trees."""
        self.click.save(folder / CLICK)
        models = {"click": self.click.trees()}
        if self.convert is not None:
            self.convert.save(folder / CONVERT)
            models["convert"] = self.convert.trees()
        write_trees(models, self.click.features, folder / ONNX)

    @classmethod
    def open(cls, folder: Path, columns: NDArray[np.intp], *, convert: bool, entire: bool, onnx: bool) -> "Trees":
        """convert: whether there is a model of it; onnx: whether ONNX Runtime scores instead of the library.

        Raises ArtifactError when a file is not what `save` wrote.
        """
        click = Boosted.open(folder / CLICK, len(columns))
        after = Boosted.open(folder / CONVERT, len(columns)) if convert else None
        outputs = ("click", "convert") if convert else ("click",)
        runtime = OnnxModel.open(folder / ONNX, (INPUT,), outputs) if onnx else None
        return cls(click, after, entire, columns, runtime)


def conditional(both: Floats, click: Floats) -> Floats:
    """Log-odds of P(conversion | click) from those of P(click and conversion) and of P(click), `[n]`; always finite."""
    share = np.logaddexp(0.0, -click) - np.logaddexp(0.0, -both)
    share = np.minimum(share, np.log1p(-_SURE))
    return np.asarray(share - np.log(-np.expm1(share)))
