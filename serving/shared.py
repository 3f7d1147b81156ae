"""Numbers that the workers of one service add up, each in files of its own below the data root.

Prometheus' client keeps its metrics in `PROMETHEUS_MULTIPROC_DIR` where that is set before it is imported; what it
cannot keep there, whole arrays of counts, lies beside them.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client.multiprocess import mark_process_dead

from pipeline.errors import ConfigError

Ints = NDArray[np.int64]
FOLDER: Final = ".work-metrics"  # of a data root; a backup passes over what is called so
VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_LOCK: Final = ".service"


class Counts:
    """`size` integers of this process, and those of all workers. In memory where there is only one."""

    def __init__(self, name: str, size: int, folder: Path | None = None) -> None:
        self._name, self._size, self._folder = name, size, folder
        self.own: Ints = np.zeros(size, dtype=np.int64)
        if folder is not None:
            path = folder / f"{name}_{os.getpid()}.counts"
            new = not path.is_file() or path.stat().st_size != self.own.nbytes
            self.own = np.memmap(path, dtype=np.int64, mode="w+" if new else "r+", shape=(size,))

    def everybody(self) -> Ints:
        """`[W, size]`, a row for each worker that there is or was."""
        if self._folder is None:
            return self.own[None]
        found = [np.fromfile(path, dtype=np.int64) for path in sorted(self._folder.glob(f"{self._name}_*.counts"))]
        return np.stack([row for row in found if len(row) == self._size])  # one that is just being made has no counts


def workers_folder() -> Path | None:
    """Where the workers of this service add up what they count, None where there is one worker. Raises ConfigError."""
    folder = os.environ.get(VARIABLE)
    if folder and not Path(folder).is_dir():
        raise ConfigError(
            VARIABLE, "an existing folder; unset it, `podium serve --workers` makes its own", received=folder
        )
    return Path(folder) if folder else None


@contextmanager
def shared_folder(root: Path) -> Iterator[Path]:
    """A folder for the numbers of one service's workers; it goes with the service, and what killed ones left goes now.

    The lock is the kernel's, so that it ends with its process, however that ends.
    """
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    for left in (root / FOLDER).iterdir():
        _discard_if_dead(left)
    folder = Path(tempfile.mkdtemp(prefix="service-", dir=root / FOLDER))
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _discard_if_dead(folder: Path) -> None:
    with suppress(OSError), (folder / _LOCK).open("r") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)


def leave_out_the_dead(folder: Path) -> None:
    """Forget what workers that died said of the present; what they counted stays counted."""
    for pid in {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_live*_*.db")}:
        if not _alive(pid):
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
