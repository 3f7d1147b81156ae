"""A copy of a data root taken while it is in use, and a data root made of such a copy.

Bundles and logs never change once written, so they are copied; databases are read through SQLite's own backup, which
sees one moment of them. Events kept in PostgreSQL are not in the data root: back them up with `pg_dump`.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Final

from pipeline.artifacts import sha256, write_json
from pipeline.errors import ArtifactError, InputError
from pipeline.folders import make_folder, put, sync_all
from pipeline.logs.partitions import locked

BACKUP: Final = "backup.json"
LOG: Final = "log"  # of a data root
SCHEMA: Final = 1
_LIVE: Final = ("-wal", "-shm", "-journal", ".lock")  # SQLite's own files beside a database; locks of logs
_UNDONE: Final = (".draft", ".old")  # ends of the names of a log that is at work, and of what it replaces


@dataclass(frozen=True, slots=True)
class Copied:
    files: int
    bytes: int


def backup(root: Path, out: Path) -> Copied:
    """Copy the data root `root` to the new folder `out`, with a digest of every file.

    A training run is seen as before it or after it, the log and the events that move into it as of one moment: whoever
    is at work on it is waited for, and waits. Raises InputError when there is no root, or something at `out`.
    """
    if not root.is_dir():
        raise InputError("--root", "a data root", place=str(root))
    draft = _draft(out, "--out")
    with locked(root / LOG, wait=True) if (root / LOG).is_dir() else nullcontext():
        copied = _copied(root, draft)
    sync_all(draft)
    put(draft, out)
    return copied


def _copied(root: Path, draft: Path) -> Copied:
    files: dict[str, object] = {}
    total = 0
    # Pointers first: what they point at is already whole, and is never changed, only pruned.
    links = {name: str((root / name).readlink()) for name in _links(root)}
    for name in _files(root):
        source, target = root / name, draft / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not _copy(source, target):
            continue
        size = target.stat().st_size
        files[name], total = {"sha256": sha256(target), "size": size}, total + size
    if lost := [name for name, to in links.items() if not (draft / name).parent.joinpath(to).is_dir()]:
        shutil.rmtree(draft)
        raise InputError(lost[0], "a bundle that stays during the backup; start it again", place=str(root))
    created = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(draft / BACKUP, {"schema": SCHEMA, "created": created, "files": files, "links": links})
    return Copied(len(files), total)


def restore(source: Path, root: Path) -> Copied:
    """Make a data root at `root`, where nothing may be yet, of a backup.

    Raises ArtifactError naming the first file that is not what was backed up, before `root` exists.
    """
    files, links = _contents(source)
    draft = _draft(root, "--root")
    total = 0
    for name, about in files.items():
        path, target = source / name, draft / name
        if not path.is_file() or path.is_symlink() or path.stat().st_size != about["size"]:
            raise ArtifactError(name, "the file that was backed up", place=str(source))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
        if sha256(target) != about["sha256"]:
            shutil.rmtree(draft)
            raise ArtifactError(name, "the content that was backed up (SHA-256 differs)", place=str(source))
        total += target.stat().st_size
    for name, to in links.items():
        (draft / name).symlink_to(to, target_is_directory=True)
    sync_all(draft)
    put(draft, root)
    return Copied(len(files), total)


def _draft(into: Path, field: str) -> Path:
    if into.exists():
        raise InputError(field, "a folder that does not exist yet", place=str(into))
    make_folder(into.parent)
    draft = into.with_name(f".draft-{into.name}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    return draft


def _walk(root: Path) -> Iterator[Path]:
    for folder, inside, names in os.walk(root):
        inside[:] = sorted(name for name in inside if not _is_undone(name))
        yield from (Path(folder) / name for name in sorted([*names, *(n for n in inside if _is_link(folder, n))]))


def _is_undone(name: str) -> bool:
    return name.startswith((".draft-", ".work")) or (name.startswith(".") and name.endswith(_UNDONE))


def _is_link(folder: str, name: str) -> bool:
    return (Path(folder) / name).is_symlink()


def _files(root: Path) -> Iterator[str]:
    for path in _walk(root):
        if path.is_file() and not path.is_symlink() and not path.name.endswith(_LIVE):
            yield path.relative_to(root).as_posix()


def _links(root: Path) -> Iterator[str]:
    """Pointers to a bundle; a link that leads out of its folder is nobody's."""
    for path in _walk(root):
        if path.is_symlink() and "/" not in str(path.readlink()):
            yield path.relative_to(root).as_posix()


def _copy(source: Path, target: Path) -> bool:
    """False when the file was removed meanwhile, as by retention."""
    if source.suffix == ".db":
        with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(target)) as kept:
            live.backup(kept)
        return True
    try:
        shutil.copy2(source, target)
    except FileNotFoundError:
        return False
    return True


def _contents(source: Path) -> tuple[dict[str, dict[str, object]], dict[str, str]]:
    try:
        about = json.loads((source / BACKUP).read_text(encoding="utf-8"))
        files, links = about["files"], about["links"]
        sound = about["schema"] == SCHEMA and all({"sha256", "size"} <= entry.keys() for entry in files.values())
        sound = sound and all(isinstance(to, str) and "/" not in to and to not in ("", "..") for to in links.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(BACKUP, f"the contents of a backup ({error})", place=str(source)) from error
    if not sound:
        raise ArtifactError(BACKUP, f"schema {SCHEMA}, with a digest of each file", place=str(source))
    for name in (*files, *links):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ArtifactError(name, "a file inside the backup", place=str(source))
    return files, links
