"""Power lost in a recorded run: what each moment may leave on the disk is opened as a restarted process would."""

import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.errors import PodiumError
from tests.durability.disk import VARIANTS, Recorded, Variant, snapshot
from tests.durability.history import History, LostError
from tests.durability.player import play, same_names
from tests.durability.running import Program
from tests.durability.strace import recording

Check = Callable[[Path, list[str]], object]  # an image, and the lines that were told before the power went
_MEMORY: Final = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Loss:
    """What was wrong with an image."""

    moment: int
    variant: Variant
    why: str


@dataclass(frozen=True, slots=True)
class Outages:
    """images: how many were opened; moments: of how many moments."""

    moments: int
    images: int
    losses: list[Loss]


def record(root: Path, trace: Path, name: str, arguments: Any) -> Recorded:
    """A run of a program that works in `root`, from when it is ready to its end."""
    before = snapshot(root)
    with Program(name, arguments) as program:
        with recording(program.pid, trace):
            program.go()
            code = program.wait()
        if code:
            raise AssertionError(f"{name} failed: {program.said}")
    run = play(before, trace)
    if not same_names(run):
        raise AssertionError("the recording does not explain what is on the disk")
    return run


def lose_power(run: Recorded, check: Check, moments: Iterable[int], seed: int = 0) -> Outages:
    """Look at every variant of every moment."""
    losses, images, seen = [], 0, sorted(set(moments))
    for moment in seen:
        lines = told(run, moment)
        for variant in VARIANTS:
            images += 1
            with _folder() as image:
                run.lose_power(moment, variant, seed, image)
                try:
                    check(image, lines)
                except (LostError, PodiumError, OSError) as error:
                    losses.append(Loss(moment, variant, f"{type(error).__name__}: {error}"[:300]))
    return Outages(len(seen), images, losses)


def told(run: Recorded, moment: int) -> list[str]:
    """The lines that whoever reads the program's output may have seen."""
    return b"".join(data for at, data in run.told if at <= moment).decode(errors="replace").splitlines()


def acknowledgements(run: Recorded) -> list[int]:
    """The moments at which something was told."""
    return [at for at, _ in run.told]


def some(moments: list[int], most: int, seed: int) -> list[int]:
    """A sample with the first and the last."""
    if len(moments) <= most:
        return moments
    return [moments[0], *sorted(random.Random(seed).sample(moments[1:-1], most - 2)), moments[-1]]


def history_of(lines: Iterable[str], known: Iterable[str] = ()) -> History:
    """What clients know; `known` were acknowledged before the run."""
    history = History()
    history.offer(known)
    history.acknowledge(history.offered)
    for line in lines:
        history.note(line)
    return history


@contextmanager
def _folder() -> Iterator[Path]:
    """Where files are memory: thousands of images are synced when they are opened."""
    folder = Path(tempfile.mkdtemp(prefix="podium-power-", dir=_MEMORY if _MEMORY.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
