"""A disk that loses power: which bytes and names a folder may hold after a moment of a recorded run.

What POSIX promises and nothing more: data of a file are there when an fsync of that file began after they were
written and ended before the moment; a name is there when its folder was synced so. Everything else may be there, or
not, in any combination a disk's cache may leave (as in ALICE; Pillai et al. 2014, "All File Systems Are Not Created
Equal"), down to single sectors. One name change is one step, and those of one name stay in order.
"""

import os
import random
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from tests.durability.strace import NEVER

SECTOR: Final = 512
VARIANTS: Final = ("least", "names", "data", "most", "some")
Variant = Literal["least", "names", "data", "most", "some"]
_LOST: Final = ("-shm",)  # SQLite's index of its log is memory, made anew by whoever opens it first


@dataclass(eq=False, slots=True)
class Inode:
    """kind: file, folder or link; data: of a file before the run, or the target of a link."""

    kind: Literal["file", "folder", "link"]
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at an offset; `data` None cuts or extends to `offset`."""

    inode: Inode
    offset: int
    data: bytes | None
    began: int
    ended: int


@dataclass(frozen=True, slots=True)
class Naming:
    """Names of folders that come to mean other inodes (None: nothing), all in one step."""

    changes: tuple[tuple[Inode, str, Inode | None], ...]
    began: int
    ended: int


@dataclass(frozen=True, slots=True)
class Sync:
    inode: Inode
    began: int
    ended: int


Names = dict[Inode, dict[str, Inode]]


@dataclass
class Recorded:
    """A run: what it found in `root`, what it did there, and `told`: what it wrote to pipes and sockets, and when."""

    root: Path
    top: Inode
    before: Names
    writes: list[Write] = field(default_factory=list)
    namings: list[Naming] = field(default_factory=list)
    syncs: list[Sync] = field(default_factory=list)
    told: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def steps(self) -> list[int]:
        """Every moment at which something began or ended that may change what is found."""
        done: list[Write | Naming | Sync] = [*self.writes, *self.namings, *self.syncs]
        return sorted({moment for each in done for moment in (each.began + 1, each.ended) if moment < NEVER})

    def lose_power(self, moment: int, variant: Variant, seed: int, into: Path) -> None:
        """Write the folder as it may be found after power was lost at `moment` of the run."""
        chance = random.Random(f"{seed} {moment} {variant}")
        keeps: Callable[[object], bool] = {
            "least": lambda _: False,
            "most": lambda _: True,
            "names": lambda each: isinstance(each, Naming),
            "data": lambda each: isinstance(each, Write),
            "some": lambda _: chance.random() < 0.5,
        }[variant]
        synced: dict[Inode, list[Sync]] = {}
        for sync in self.syncs:
            if sync.ended <= moment:
                synced.setdefault(sync.inode, []).append(sync)

        def lasting(inode: Inode, ended: int) -> bool:
            return any(sync.began > ended for sync in synced.get(inode, ()))

        contents = self._contents(moment, lasting, keeps, chance if variant == "some" else None)
        _build(self.top, self._names(moment, lasting, keeps), contents, into)

    def _contents(
        self,
        moment: int,
        lasting: Callable[[Inode, int], bool],
        keeps: Callable[[object], bool],
        tears: random.Random | None,
    ) -> dict[Inode, bytearray]:
        contents: dict[Inode, bytearray] = {}
        for write in self.writes:
            if write.began >= moment:
                continue
            sure = lasting(write.inode, write.ended)
            if not sure and not keeps(write):
                continue
            content = contents.setdefault(write.inode, bytearray(write.inode.data))
            if write.data is None:
                _resize(content, write.offset)
                continue
            for offset, data in [(write.offset, write.data)] if sure or not tears else _sectors(write, tears):
                _resize(content, max(len(content), offset + len(data)))
                content[offset : offset + len(data)] = data
        return contents

    def _names(self, moment: int, lasting: Callable[[Inode, int], bool], keeps: Callable[[object], bool]) -> Names:
        """A step that lasts brings along those before it that changed the same names."""
        begun = [naming for naming in self.namings if naming.began < moment]
        kept: list[Naming] = []
        wanted: set[tuple[Inode, str]] = set()
        for naming in reversed(begun):
            sure = all(lasting(folder, naming.ended) for folder, _, _ in naming.changes)
            touched = {(folder, name) for folder, name, _ in naming.changes}
            if sure or touched & wanted or keeps(naming):
                kept.append(naming)
                wanted |= touched
        names = {folder: dict(entries) for folder, entries in self.before.items()}
        for naming in reversed(kept):
            change(names, naming.changes)
        return names


def change(names: Names, changes: Iterable[tuple[Inode, str, Inode | None]]) -> None:
    for folder, name, inode in changes:
        entries = names.setdefault(folder, {})
        if inode is None:
            entries.pop(name, None)
        else:
            entries[name] = inode


def _resize(content: bytearray, size: int) -> None:
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


def _sectors(write: Write, chance: random.Random) -> Iterator[tuple[int, bytes]]:
    """Of a write that nobody synced any of its sectors may have reached the disk."""
    assert write.data is not None
    at = write.offset
    whole = chance.random() < 0.5
    while at < write.offset + len(write.data):
        end = min((at // SECTOR + 1) * SECTOR, write.offset + len(write.data))
        if whole or chance.random() < 0.5:
            yield at, write.data[at - write.offset : end - write.offset]
        at = end


def _build(folder: Inode, names: Names, contents: dict[Inode, bytearray], into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    for name, inode in names.get(folder, {}).items():
        if inode.kind == "folder":
            _build(inode, names, contents, into / name)
        elif inode.kind == "link":
            (into / name).symlink_to(os.fsdecode(inode.data))
        elif not name.endswith(_LOST):
            (into / name).write_bytes(contents.get(inode, inode.data))


def snapshot(root: Path) -> Recorded:
    """A folder before a run, all of it on the disk."""
    known: dict[tuple[int, int], Inode] = {}
    names: Names = {}

    def read(path: Path) -> Inode:
        about = path.lstat()
        key = about.st_dev, about.st_ino
        if key in known:
            return known[key]
        if stat.S_ISLNK(about.st_mode):
            inode = Inode("link", os.fsencode(path.readlink()))
        elif stat.S_ISDIR(about.st_mode):
            inode = Inode("folder")
            names[inode] = {each.name: read(each) for each in sorted(path.iterdir())}
        else:
            inode = Inode("file", path.read_bytes() if stat.S_ISREG(about.st_mode) else b"")
        known[key] = inode
        return inode

    return Recorded(root.resolve(), read(root), names)
