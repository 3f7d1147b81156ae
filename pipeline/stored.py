"""Arrays and tables of an artifact, as they are read: never unpickled, with the columns they were written with."""

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.lib import format as npy
from numpy.typing import NDArray

from pipeline.errors import ArtifactError


def read_array(path: Path) -> NDArray[Any]:
    """A `.npy` file, mapped into memory. Raises ArtifactError for one that is missing, cut short or an object."""
    try:
        return _mapped(path)
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise ArtifactError(path.name, f"a readable array; train again ({error})", place=str(path.parent)) from error


def _mapped(path: Path) -> NDArray[Any]:
    """As `numpy.load` maps it, which takes longer than reading most of the arrays of a state."""
    with path.open("rb") as file:
        if npy.read_magic(file) != (1, 0):
            raise ValueError("not of version 1.0")
        shape, fortran, dtype = npy.read_array_header_1_0(file)
        if dtype.hasobject:
            raise ValueError("Python objects are never read")
        offset = file.tell()
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    array: NDArray[Any] = np.ndarray(shape, dtype, content, offset, order="F" if fortran else "C")
    return array


def read_table(path: Path, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """A Parquet file. Raises ArtifactError when it cannot be read or its columns are not those of `schema`."""
    try:
        frame = pl.read_parquet(path, memory_map=False, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ArtifactError(path.name, f"a readable table; train again ({error})", place=str(path.parent)) from error
    have = frame.schema
    if odd := [name for name, kind in schema.items() if have.get(name) != kind]:
        raise ArtifactError(
            f"{path.name}: {odd[0]}", f"a column of {schema[odd[0]]}; train again", place=str(path.parent)
        )
    return frame
