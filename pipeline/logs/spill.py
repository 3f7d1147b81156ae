"""Sound rows on their way into a log: one file a chunk and type, so that memory holds one chunk at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from pipeline.logs.decode import Chunk, within
from pipeline.logs.importers.podium import Unit, read_unit
from pipeline.logs.moments import Moments
from pipeline.logs.validate import Reject

WORKERS = 2


@dataclass(frozen=True, slots=True)
class Spilled:
    """A chunk whose frames lie in files: paths and rows by type."""

    place: str
    paths: dict[str, Path]
    rows: dict[str, int]
    rejects: list[Reject]
    lines: int
    mended: Mapping[str, int]


def spill(chunk: Chunk, folder: Path, name: str) -> Spilled:
    paths = {kind: folder / f"{kind}-{name}.parquet" for kind in chunk.frames}
    for kind, frame in chunk.frames.items():
        frame.drop("line").write_parquet(paths[kind], compression="lz4")
    rows = {kind: len(frame) for kind, frame in chunk.frames.items()}
    return Spilled(chunk.place, paths, rows, chunk.rejects, chunk.lines, chunk.mended)


def spill_units(units: Sequence[Unit], folder: Path, moments: Moments, *, ordered: bool) -> Iterator[Spilled]:
    """Spill in `WORKERS` processes, results in the order of the units, few of them ahead. ordered: the clock is."""
    work = partial(_spill_unit, folder=folder, moments=moments, ordered=ordered)
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        numbered = iter(enumerate(units))
        ahead = [pool.submit(work, unit, n) for n, unit in islice(numbered, 2 * WORKERS)]
        while ahead:
            yield from ahead.pop(0).result()
            ahead += [pool.submit(work, unit, n) for n, unit in islice(numbered, 1)]


def _spill_unit(unit: Unit, number: int, *, folder: Path, moments: Moments, ordered: bool) -> list[Spilled]:
    chunks = believed(read_unit(unit, moments), moments, ordered=ordered)
    return [spill(chunk, folder, f"{number:06d}-{i:04d}") for i, chunk in enumerate(chunks)]


def believed(chunks: Iterable[Chunk], moments: Moments, *, ordered: bool) -> Iterator[Chunk]:
    """The chunks without moments that cannot be; the places of an order are no moments."""
    return (chunk if ordered else within(chunk, moments.plausible) for chunk in chunks)
