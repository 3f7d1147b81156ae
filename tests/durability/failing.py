"""System calls that fail, one at a time: the work ends with an error or goes on, what is found is the state of before
or of after, and the same work done again comes to its end."""

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.errors import PodiumError
from tests.durability.history import LostError
from tests.durability.running import Program
from tests.durability.scenes import Scene
from tests.durability.strace import failing, read, recording

_FULL: Final = ("ENOSPC", "EIO")
ERRORS: Final = {
    "write": _FULL,
    "pwrite64": _FULL,
    "fsync": _FULL,
    "fdatasync": _FULL,
    "ftruncate": _FULL,
    "rename": _FULL,
    "renameat2": _FULL,
    "openat": (*_FULL, "EMFILE"),
    "link": _FULL,
    "linkat": _FULL,
    "mkdir": _FULL,
    "symlink": _FULL,
}
_NAMELESS: Final = ("publish", "activate")  # programs that make up names of files
_LEFT: Final = ("*.draft", "*.old", ".draft-*")


@dataclass(frozen=True, slots=True)
class Case:
    """The `when`-th call of a name in a thread fails."""

    call: str
    when: int
    error: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """injected: calls that failed; code: what the process ended with; wrong: what was not as it must be, or empty."""

    case: Case
    injected: int
    code: int
    said: str
    wrong: str


class Bench:
    """One scene, begun again and again from a copy."""

    def __init__(self, scene: Scene, work: Path) -> None:
        self.scene, self._copy, self._trace = scene, work / "copy", work / "trace"
        # Threads wake each other by writing, too: where names are known before, only calls about those files fail.
        self._anywhere = scene.program in _NAMELESS
        self._paths: set[Path] = set()
        work.mkdir()
        shutil.copytree(scene.root, self._copy, symlinks=True)

    def cases(self) -> list[Case]:
        """Every call of a clean run that is about the scene's folder, with every error it may meet."""
        self._begin()
        with Program(self.scene.program, self.scene.arguments) as program, recording(program.pid, self._trace):
            program.go()
            if program.wait():
                raise AssertionError(f"fails without a failure: {program.said}")
        numbers: dict[str, Counter[str]] = defaultdict(Counter)
        found: dict[tuple[str, int], None] = {}
        for call in sorted(read(self._trace), key=lambda call: call.began):
            inside = [place for place in call.places if _inside(place, self.scene.root)]
            if inside or self._anywhere:
                numbers[call.thread][call.name] += 1
            if call.name in ERRORS and inside:
                found[call.name, numbers[call.thread][call.name]] = None
                self._paths.update(map(Path, inside))
        return [Case(name, when, error) for name, when in sorted(found) for error in ERRORS[name]]

    def run(self, case: Case) -> Outcome:
        self._begin()
        paths = () if self._anywhere else sorted(self._paths)
        with Program(self.scene.program, self.scene.arguments) as program:
            with failing(program.pid, self._trace, case.call, case.error, str(case.when), paths):
                program.go()
                code = program.wait()
            said = program.said.strip()
            wrong = " ".join(self._wrong(program, code, said))
        injected = self._trace.read_text(encoding="utf-8", errors="replace").count("(INJECTED)")
        return Outcome(case, injected, code, said[-300:], wrong)

    def _begin(self) -> None:
        shutil.rmtree(self.scene.root)
        shutil.copytree(self._copy, self.scene.root, symlinks=True)

    def _wrong(self, program: Program, code: int, said: str) -> Iterator[str]:
        if code < 0:
            yield f"ended by signal {-code}."
        if code and not said:
            yield "failed without a word."
        if self.scene.program == "podium" and "Traceback" in said:
            yield f"no clear error: {said.splitlines()[-1]}"
        yield from self._check(program.lines)
        with Program(self.scene.program, self.scene.arguments) as again:
            again.go()
            if again.wait():
                yield f"does not come to its end afterwards: {again.said[-300:]}"
            yield from self._check([*program.lines, *again.lines])
        if self.scene.program == "podium" and (left := [path for name in _LEFT for path in self.scene.root.glob(name)]):
            yield f"left behind: {left}"

    def _check(self, lines: list[str]) -> Iterator[str]:
        try:
            self.scene.check(self.scene.root, lines)
        except (LostError, PodiumError, OSError) as error:
            yield f"{type(error).__name__}: {error}"


def _inside(place: str, root: Path) -> bool:
    return place == str(root) or place.startswith(f"{root}/")
