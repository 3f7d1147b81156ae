"""Is this installation able to work? Versions, threads, the one Faiss, and room on disk."""

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

NEEDED = ("torch", "lightgbm", "tantivy", "polars", "pandas", "numpy", "pyarrow", "fastapi", "uvicorn", "sqlalchemy")
FAISS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs")
_LEAST_FREE_GB = 2.0


@dataclass(frozen=True, slots=True)
class Check:
    """problem: "" when all is well, else what to do about it."""

    name: str
    found: str
    problem: str = ""

    def __str__(self) -> str:
        return f"{'ok' if not self.problem else 'PROBLEM':<8}{self.name:<12}{self.found}  {self.problem}".rstrip()


@dataclass(frozen=True, slots=True)
class Examined:
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return not any(check.problem for check in self.checks)

    @property
    def values(self) -> dict[str, object]:
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks]}

    def lines(self) -> list[str]:
        return [str(check) for check in self.checks]


def examine() -> Examined:
    """Every check, in order; nothing is changed."""
    checks: tuple[Callable[[], Check], ...] = (_python, _faiss, _threads, _sqlite, _disk)
    return Examined((*(check() for check in checks), *(_library(name) for name in NEEDED)))


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", version, "" if sys.version_info >= (3, 11) else "Podium needs Python 3.11 or newer")


def _library(name: str) -> Check:
    try:
        return Check(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, "missing", "run `make install`")


def _faiss() -> Check:
    have = [f"{name} {metadata.version(name)}" for name in FAISS if _installed(name)]
    if len(have) == 1:
        return Check("faiss", have[0])
    if not have:
        return Check("faiss", "missing", "install one of the extras cpu, gpu, gpu-cuvs")
    return Check("faiss", ", ".join(have), "these are one module: uninstall all and install exactly one")


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _threads() -> Check:
    policy = os.environ.get("OMP_WAIT_POLICY", "unset")
    count = os.environ.get("OMP_NUM_THREADS", "unset")
    found = f"{os.cpu_count()} cores, OMP_WAIT_POLICY={policy}, OMP_NUM_THREADS={count}"
    spinning = policy.upper() != "PASSIVE"
    return Check(
        "threads", found, "set OMP_WAIT_POLICY=PASSIVE: spinning threads slow LightGBM down" if spinning else ""
    )


def _sqlite() -> Check:
    version = sqlite3.sqlite_version
    old = tuple(map(int, version.split("."))) < (3, 35)
    return Check("sqlite", version, "events need SQLite 3.35 or newer" if old else "")


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    return Check(
        "disk", f"{free:.1f} GB free", "" if free >= _LEAST_FREE_GB else f"free {_LEAST_FREE_GB:.0f} GB for the demo"
    )
