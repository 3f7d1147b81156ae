"""Arrays and tables of an artifact, as they are read: never unpickled, with the columns they were written with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import ArtifactError


def read_array(path: Path) -> NDArray[Any]:
    """A `.npy` file, mapped into memory. Raises ArtifactError for one that is missing, cut short or an object."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArtifactError(path.name, f"a readable array; train again ({error})", place=str(path.parent)) from error
    return array


def read_table(path: Path, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """A Parquet file. Raises ArtifactError when it cannot be read or its columns are not those of `schema`."""
    try:
        frame = pl.read_parquet(path, memory_map=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ArtifactError(path.name, f"a readable table; train again ({error})", place=str(path.parent)) from error
    have = frame.schema
    if odd := [name for name, kind in schema.items() if have.get(name) != kind]:
        raise ArtifactError(
            f"{path.name}: {odd[0]}", f"a column of {schema[odd[0]]}; train again", place=str(path.parent)
        )
    return frame
