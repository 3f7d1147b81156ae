"""Pages of two dimensions: positions as cells of rows and columns, and their examination as a product of the two.

Position i of a page `columns` wide is row i // columns, column i % columns. The cells are fitted as positions, freely;
that rows and columns act as a product is a second step, with what it leaves unexplained beside it.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import InputError
from pipeline.metrics.clicks.pages import Floats


@dataclass(frozen=True, slots=True)
class GridFactors:
    """row `[rows]` and column `[columns]`, 1 for the first of each; cell `[P]` their product; worst: the largest
    difference between the product and the cell it stands for, relative to the cell."""

    row: Floats
    column: Floats
    cell: Floats
    worst: float


def collapse(ratios: Floats, columns: int, weight: Floats | None = None) -> GridFactors:
    """Least squares in logarithms; ratios: `[P]`, above 0; weight `[P]`: of each cell, such as its clicks.

    Raises InputError when the page is not at least one row of `columns` wide.
    """
    places = len(ratios)
    if not 1 <= columns <= places:
        raise InputError("columns", f"1 to {places}, the positions that are known", received=columns)
    rows = -(-places // columns)
    row, column = np.divmod(np.arange(places), columns)
    design = np.zeros((places, rows + columns - 1))
    design[np.arange(places), row] = 1.0
    off = column > 0
    design[np.flatnonzero(off), rows + column[off] - 1] = 1.0
    root = np.sqrt(np.ones(places) if weight is None else weight)
    solved = np.linalg.lstsq(design * root[:, None], np.log(ratios) * root, rcond=None)[0]
    across = np.exp(np.append(0.0, solved[rows:]))
    cell = np.exp(design @ solved)
    return GridFactors(
        np.exp(solved[:rows] - solved[0]), across, cell / cell[0], float(np.abs(cell / ratios - 1).max())
    )
