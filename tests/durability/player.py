"""From recorded system calls to what they did to the files of a folder."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.durability.disk import Inode, Names, Naming, Recorded, Sync, Write, change, snapshot
from tests.durability.strace import NEVER, Call, read

_TOLD: Final = re.compile(r"^(pipe|socket|TCP|TCPv6|UNIX)\b")
_OPENS: Final = {"openat": 1, "open": 0, "creat": 0}
_MAKES: Final = {"mkdir": 0, "mkdirat": 1}
_REMOVES: Final = {"unlink": 0, "rmdir": 0, "unlinkat": 1}
_RENAMES: Final = {"rename": (0, 1), "renameat": (1, 3), "renameat2": (1, 3)}
_LINKS: Final = {"link": (0, 1), "linkat": (1, 3)}
_SYMLINKS: Final = {"symlink": (0, 1), "symlinkat": (0, 2)}
_DESCRIPTORS: Final = ("write", "writev", "pwrite64", "pwritev", "pwritev2", "ftruncate", "fsync", "fdatasync", "lseek")
_SENDS: Final = ("sendto", "sendmsg")


def play(before: Recorded, trace: Path) -> Recorded:
    """The run of a `strace.recording`, begun on the folder that `before` is the snapshot of."""
    player = _Player(before)
    for call in read(trace):
        if call.result >= 0 or call.ended == NEVER:
            player.step(call)
    return before


def same_names(recorded: Recorded) -> bool:
    """Whether the folder as it is now is what the recording says: no call went unseen."""
    now: Names = {folder: dict(entries) for folder, entries in recorded.before.items()}
    for naming in recorded.namings:
        change(now, naming.changes)

    def listed(names: Names, folder: Inode, at: str) -> Iterable[str]:
        for name, inode in names.get(folder, {}).items():
            yield f"{at}/{name}"
            if inode.kind == "folder":
                yield from listed(names, inode, f"{at}/{name}")

    present = snapshot(recorded.root)
    return sorted(listed(now, recorded.top, "")) == sorted(listed(present.before, present.top, ""))


class _Player:
    """Follows names and descriptors, so that each call is about the inode it was about then."""

    def __init__(self, run: Recorded) -> None:
        self._run = run
        self._now: Names = {folder: dict(entries) for folder, entries in run.before.items()}
        self._sizes: dict[Inode, int] = {}
        self._at: dict[int, int] = {}  # position of each open descriptor
        self._appends: set[int] = set()

    def step(self, call: Call) -> None:
        """Raises NotImplementedError for a call that changes files of the folder in a way that is not known here."""
        name = call.name
        if name in _OPENS:
            self._open(call)
        elif name in _SENDS or (name in _DESCRIPTORS and _TOLD.match(call.path(0))):
            self._run.told.append((call.began, call.data(1)))
        elif name in _DESCRIPTORS:
            if inode := self._find(call.path(0)):
                self._use(call, inode)
        elif name in _MAKES:
            self._name(call, (call.path(_MAKES[name]), Inode("folder")))
        elif name in _REMOVES:
            self._name(call, (call.path(_REMOVES[name]), None))
        elif name in _RENAMES:
            self._rename(call, *(call.path(argument) for argument in _RENAMES[name]))
        elif name in _LINKS:
            source, target = (call.path(argument) for argument in _LINKS[name])
            self._name(call, (target, self._find(source)))
        elif name in _SYMLINKS:
            source, target = (call.path(argument) for argument in _SYMLINKS[name])
            self._name(call, (target, Inode("link", os.fsencode(source))))
        elif any(str(self._run.root) in call.path(argument) for argument in range(len(call.arguments))):
            raise NotImplementedError(f"{name}{call.arguments}")

    def _open(self, call: Call) -> None:
        flags = call.arguments[_OPENS[call.name] + 1] if call.name != "creat" else "O_CREAT|O_TRUNC"
        path = call.place or call.path(_OPENS[call.name])
        self._at[call.result] = 0
        self._appends.discard(call.result)
        if "O_APPEND" in flags:
            self._appends.add(call.result)
        inode = self._find(path)
        if "O_CREAT" in flags and inode is None:
            self._name(call, (path, Inode("file")))
        elif "O_TRUNC" in flags and inode is not None:
            self._write(call, inode, 0, None)

    def _use(self, call: Call, inode: Inode) -> None:
        name, handle = call.name, call.descriptor()
        if name in ("fsync", "fdatasync"):
            if call.ended != NEVER:
                self._run.syncs.append(Sync(inode, call.began, call.ended))
        elif name == "lseek":
            self._at[handle] = call.result
        elif name == "ftruncate":
            self._write(call, inode, int(call.arguments[1]), None)
        elif name in ("write", "writev"):
            at = self._size(inode) if handle in self._appends else self._at.get(handle, 0)
            data = call.data(1)
            self._write(call, inode, at, data)
            self._at[handle] = at + len(data)
        else:
            self._write(call, inode, int(call.arguments[-1 if name != "pwritev2" else -2]), call.data(1))

    def _write(self, call: Call, inode: Inode, offset: int, data: bytes | None) -> None:
        end = offset if data is None else max(self._size(inode), offset + len(data))
        self._sizes[inode] = end
        self._run.writes.append(Write(inode, offset, data, call.began, call.ended))

    def _size(self, inode: Inode) -> int:
        return self._sizes.get(inode, len(inode.data))

    def _rename(self, call: Call, source: str, target: str) -> None:
        moved = self._find(source)
        back = self._find(target) if "RENAME_EXCHANGE" in call.arguments[-1] else None
        self._name(call, (source, back), (target, moved))

    def _name(self, call: Call, *wanted: tuple[str, Inode | None]) -> None:
        changes = []
        for path, inode in wanted:
            parent = self._find(str(Path(path).parent))
            if parent is not None:
                changes.append((parent, Path(path).name, inode))
        if changes:
            change(self._now, changes)
            self._run.namings.append(Naming(tuple(changes), call.began, call.ended))

    def _find(self, path: str) -> Inode | None:
        """What a path names now, inside the folder."""
        try:
            parts = Path(path).relative_to(self._run.root).parts
        except ValueError:
            return None
        inode: Inode | None = self._run.top
        for part in parts:
            inode = self._now.get(inode, {}).get(part) if inode is not None else None
        return inode
