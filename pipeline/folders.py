"""Folders that are on the disk before anyone is told, and that take each other's place in one step."""

import ctypes
import os
import shutil
from pathlib import Path


def sync(path: Path) -> None:
    """Force a file's bytes, or a folder's names, to the disk. Raises OSError naming the path."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(handle)


def sync_all(root: Path) -> None:
    """Force a folder to the disk: every file and every name in it and below it."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            if not (path := Path(folder, name)).is_symlink():
                sync(path)
        sync(Path(folder))


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that lack: their names are on the disk too, which a file synced inside is not
    worth anything without."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync(path.parent)


def put(draft: Path, target: Path) -> None:
    """Rename a synced folder to `target`; what is there is replaced in one step where the file system can exchange two
    folders (Linux), else there is nothing for the moment between two renames.

    When it fails either the draft is gone and nothing is changed, or all is done but for the certainty that it lasts.
    """
    try:
        old = _swap(draft, target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync(target.parent)
    if old is not None:
        shutil.rmtree(old)


def discard(folder: Path) -> None:
    """Remove what was renamed before, once that is on the disk: else a power loss may bring back its name, emptied."""
    sync(folder.parent)
    shutil.rmtree(folder)


def _swap(draft: Path, target: Path) -> Path | None:
    """Where that is now which was at `target`."""
    if not target.exists():
        draft.rename(target)
        return None
    if exchanged(draft, target):
        return draft
    old = draft.with_name(f"{draft.name}.old")
    target.rename(old)
    try:
        draft.rename(target)
    except BaseException:
        old.rename(target)
        raise
    return old


def exchanged(one: Path, other: Path) -> bool:
    """Whether two folders took each other's place in one step: Linux's renameat2 with RENAME_EXCHANGE."""
    try:
        exchange = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    here = ctypes.c_int(-100)  # AT_FDCWD
    return bool(exchange(here, os.fsencode(one), here, os.fsencode(other), ctypes.c_uint(2)) == 0)
