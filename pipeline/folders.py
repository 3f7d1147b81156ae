"""Folders that are on the disk before anyone is told, and that take each other's place in one step."""

import ctypes
import os
import shutil
import stat
from collections.abc import Iterator
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


def open_to_readers(root: Path) -> None:
    """Let whoever may read a folder read all that is in it: some libraries write files for their own user alone."""
    folders = root.stat().st_mode & 0o777
    for folder, _, names in os.walk(root):
        Path(folder).chmod(folders)
        for name in names:
            Path(folder, name).chmod(folders & 0o666)


def files_in(root: Path) -> Iterator[str]:
    """Names of the plain files in a folder and below it, relative and with `/`. What is neither file nor folder is told
    as a name that ends with `/`, and so is a folder that holds nothing. Raises OSError for one that cannot be read."""

    def refuse(error: OSError) -> None:
        raise error

    for folder, inside, names in os.walk(root, onerror=refuse):
        base = Path(folder)
        links = [name for name in inside if (base / name).is_symlink()]
        here = {name: (base / name).lstat().st_mode for name in names}
        odd = [*links, *(name for name, mode in here.items() if not stat.S_ISREG(mode))]
        yield from ((base / name).relative_to(root).as_posix() + "/" for name in odd)
        yield from ((base / name).relative_to(root).as_posix() for name in names if name not in odd)
        if not inside and not names and base != root:
            yield base.relative_to(root).as_posix() + "/"


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
