"""Putting runs that lie on disk together, a range of keys at a time, so that none of them has to fit in memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from pipeline.features.ids import Keys
from pipeline.stored import read_array

_ROWS: Final = 1_000_000  # rows put together at once; a key's rows are never parted


class Keyed(Protocol):
    """Rows by key: keys `[U]` sorted, start `[U + 1]`, and columns of rows by name."""

    @property
    def keys(self) -> Keys: ...
    @property
    def start(self) -> NDArray[np.int64]: ...


_Run = TypeVar("_Run", bound=Keyed)


@dataclass(frozen=True, slots=True)
class Part(Generic[_Run]):
    """A run that is taken in part: saved ones are read so, others are in memory already. make: the run of keys, start
    and columns; rows: those of each column, from one place to another."""

    keys: Keys
    start: NDArray[np.int64]
    make: Callable[..., _Run]
    rows: Mapping[str, Callable[[int, int], NDArray[Any]]]

    @classmethod
    def stored(cls, folder: Path, name: str, columns: tuple[str, ...], make: Callable[..., _Run]) -> Self:
        keys, start = (np.array(read_array(folder / f"{name}.{part}.npy")) for part in ("keys", "start"))
        return cls(keys, start, make, {column: _reading(folder / f"{name}.{column}.npy") for column in columns})

    @classmethod
    def held(cls, run: _Run, columns: tuple[str, ...], make: Callable[..., _Run]) -> Self:
        def taking(array: NDArray[Any]) -> Callable[[int, int], NDArray[Any]]:
            return lambda first, last: array[first:last]

        return cls(run.keys, run.start, make, {column: taking(getattr(run, column)) for column in columns})

    def between(self, low: int, high: int) -> _Run:
        """The rows of keys `low` to `high` (excluded), places in `keys`."""
        first, last = int(self.start[low]), int(self.start[high])
        rows = [read(first, last) for read in self.rows.values()]
        return self.make(self.keys[low:high], self.start[low : high + 1] - first, *rows)


def gather(
    parts: Sequence[Part[_Run]],
    together: Callable[[Sequence[_Run]], Sequence[_Run]],
    folder: Path,
    names: Sequence[str],
) -> None:
    """Write what `together` makes of all parts, one run a name, byte for byte as if they had been saved whole."""
    columns = tuple(parts[0].rows)
    with ExitStack() as stack:
        writers = [stack.enter_context(_Writer(folder, name, columns)) for name in names]
        for edges in _ranges(parts):
            runs = together([part.between(*edge) for part, edge in zip(parts, edges, strict=True)])
            for writer, run in zip(writers, runs, strict=True):
                writer.append(run)


def rewritten(source: Path, target: Path, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Write a saved array with its values changed, a part at a time; `change` keeps shape and type."""
    array, read = read_array(source), _reading(source)
    with target.open("wb") as file:
        npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(array))
        for first in range(0, len(array), _ROWS):
            change(read(first, min(first + _ROWS, len(array)))).tofile(file)


def _ranges(parts: Sequence[Part[_Run]]) -> Iterator[list[tuple[int, int]]]:
    """Ranges of keys with about `_ROWS` rows: the places of each in every part. There is always one."""
    if sum(int(part.start[-1]) for part in parts) < _ROWS:
        yield [(0, len(part.keys)) for part in parts]
        return
    keys = np.concatenate([part.keys for part in parts])
    rows = np.concatenate([np.diff(part.start) for part in parts])
    order = np.argsort(keys, kind="stable")
    keys, full = keys[order], np.cumsum(rows[order]) // _ROWS
    cuts = np.unique(keys[1:][np.diff(full) > 0])
    edges = [np.concatenate([[0], np.searchsorted(part.keys, cuts), [len(part.keys)]]) for part in parts]
    for place in range(len(cuts) + 1):
        yield [(int(edge[place]), int(edge[place + 1])) for edge in edges]


def _reading(path: Path) -> Callable[[int, int], NDArray[Any]]:
    """Reads rows of an array that `numpy.save` wrote; not mapped, so that what was read leaves memory again."""
    array = read_array(path)
    dtype, shape, begin = array.dtype, array.shape[1:], path.stat().st_size - array.nbytes
    width = int(np.prod(shape, dtype=np.int64))

    def read(first: int, last: int) -> NDArray[Any]:
        offset = begin + first * width * dtype.itemsize
        flat = np.fromfile(path, dtype=dtype, count=(last - first) * width, offset=offset)
        return flat.reshape(last - first, *shape)

    return read


class _Writer:
    """Files as `numpy.save` writes them, of arrays that come in parts."""

    def __init__(self, folder: Path, name: str, columns: tuple[str, ...]) -> None:
        self._files = {part: (folder / f"{name}.{part}.npy").open("wb") for part in ("keys", "start", *columns)}
        self._rows = columns[0]
        self._length = dict.fromkeys(self._files, 0)
        self._like: dict[str, NDArray[Any]] = {}

    def append(self, run: Keyed) -> None:
        start = run.start[1:] + self._length[self._rows]
        arrays = {part: getattr(run, part) for part in self._files} | {"start": start}
        if not self._like:
            arrays["start"] = np.concatenate([run.start[:1], start])
        for part, array in arrays.items():
            file = self._files[part]
            if part not in self._like:
                self._like[part] = array[:0]
                self._header(part)
            array.tofile(file)
            self._length[part] += len(array)

    def _header(self, part: str) -> None:
        """The header leaves room for any length, so that it can be written again when the length is known."""
        like = self._like[part]
        shape = (self._length[part], *like.shape[1:])
        about = {"descr": npy.dtype_to_descr(like.dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(self._files[part], about)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for part, file in self._files.items():
            with file:
                if kind is None:
                    file.seek(0)
                    self._header(part)
