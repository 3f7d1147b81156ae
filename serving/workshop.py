"""Where the jobs' artifacts are made and found again, and what is said of each step.

A step is named by the digest of its inputs, configuration and code, so that a step done before is reused and a
killed run goes on where it stopped.
"""

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from pipeline.artifacts import MANIFEST, Draft, Manifest, open_artifact, publish, read_manifest
from pipeline.errors import ArtifactError, InputError
from pipeline.folders import discard, make_folder
from pipeline.progress import Report

_CODE = ("pipeline", "retrieval", "ranking", "rerank", "query_suggest")


@dataclass(frozen=True, slots=True)
class StepReport:
    """seconds: of this run; left_out: why a step was not done, "" when it was."""

    name: str
    seconds: float
    reused: bool = False
    left_out: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainReport:
    bundle: str
    promoted: bool
    gate: str
    steps: tuple[StepReport, ...]

    def lines(self) -> list[str]:
        """For a reader: one line a step, then the bundle."""
        said = []
        for step in self.steps:
            how = (
                f"left out: {step.left_out}" if step.left_out else "reused" if step.reused else f"{step.seconds:.1f} s"
            )
            numbers = "  ".join(f"{name}={value:.4g}" for name, value in step.metrics.items())
            said.append(f"{step.name:<20}{how:<12}{numbers}")
        return [*said, f"bundle {self.bundle}: {'current' if self.promoted else 'not promoted'} ({self.gate})"]


class NoDataError(Exception):
    """A step has nothing to learn from; the text says what is missing."""


@dataclass(slots=True)
class Workshop:
    """Where artifacts are made and found again."""

    root: Path
    code: str
    on_progress: Report
    steps: list[StepReport] = field(default_factory=list)
    parts: dict[str, Path] = field(default_factory=dict)

    def make(
        self,
        name: str,
        config: Mapping[str, object],
        inputs: Mapping[str, str],
        write: Callable[[Path], Mapping[str, float] | None],
        share: float,
    ) -> Manifest | None:
        """Publish a part, or find it made before. None when `write` says there is no data."""
        started = perf_counter()
        self.on_progress(name, share)
        identity = json.dumps([name, config, sorted(inputs.items()), self.code], sort_keys=True, default=str)
        folder = self.root / "artifacts" / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        reused = _whole(folder, name)
        if not reused:
            try:
                publish(folder, Draft(name, config, inputs), write)
            except NoDataError as nothing:
                self.steps.append(StepReport(name, perf_counter() - started, left_out=str(nothing)))
                return None
        manifest = read_manifest(folder)
        self.parts[name.rpartition(".")[2]] = folder
        self.steps.append(StepReport(name, perf_counter() - started, reused, metrics=manifest.metrics))
        return manifest


@contextmanager
def claimed(root: Path) -> Iterator[None]:
    """Nobody else trains into `root` meanwhile; what a killed run left half made is swept away first.

    The lock is the kernel's, so that it ends with its process, however that ends. Raises InputError while another
    training holds it.
    """
    if root.exists() and not root.is_dir():
        raise InputError("--out", "a path that can be a directory; a file is there", place=str(root))
    make_folder(root)
    with (root / ".training").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError("--out", "a folder no other training writes to; wait for it", place=str(root)) from None
        for draft in (*root.glob(".draft-*"), *root.glob("artifacts/.draft-*")):
            discard(draft)
        yield


def _whole(folder: Path, kind: str) -> bool:
    if not (folder / MANIFEST).is_file():
        return False
    try:
        open_artifact(folder, kind)
    except ArtifactError:
        return False
    return True


def _sources() -> Iterator[Path]:
    top = Path(__file__).parent.parent
    for package in _CODE:
        yield from sorted((top / package).rglob("*.py"))


def code_digest() -> str:
    total = hashlib.sha256()
    for path in _sources():
        total.update(path.read_bytes())
    return total.hexdigest()
