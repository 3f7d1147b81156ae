"""The jobs that promise something about the disk, each from a beginning, and how to tell that the promise is kept."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.artifacts import Draft, open_artifact, publish, read_manifest
from pipeline.bundle import bind, open_bundle, promote
from pipeline.logs.compact import compact
from pipeline.logs.store import EventStore
from tests.durability.history import LostError, check, row
from tests.durability.kills import make_bundles
from tests.durability.power import Check, history_of

_EVENTS: Final = 60
_LATER_MS: Final = 4_000_000_000_000  # a cutoff after everything: all rows may leave the store


@dataclass(frozen=True)
class Scene:
    """A program that is about to work in `root`. check: raises LostError, or what the product raises, when a folder, a
    copy of `root`, is not as the lines that were told by then say."""

    root: Path
    program: str
    arguments: Any
    check: Check


def writing(root: Path, *, batches: int = 15, synchronous: str = "FULL", forget: int = 0) -> Scene:
    """Events are appended, and after `forget` batches a user is forgotten."""
    told = {"url": f"sqlite:///{root}/events.db", "name": "w", "batches": batches, "threads": 1 if forget else 2}

    def kept(image: Path, lines: Sequence[str]) -> None:
        check(history_of(lines), f"sqlite:///{image}/events.db")

    return Scene(root, "write", told | {"synchronous": synchronous, "forget": forget}, kept)


def appending(root: Path) -> Scene:
    """Batches of new events join a store that holds some; each is kept whole or not at all."""
    url = f"sqlite:///{root}/events.db"
    before = [f"k{number}" for number in range(_EVENTS)]
    batches = [[f"b{number}.{place}" for place in range(5)] for number in range(3)]
    store = EventStore(url)
    store.append([row(event_id) for event_id in before])
    store.close()

    def kept(image: Path, lines: Sequence[str]) -> None:
        found = check(history_of(lines, before), f"sqlite:///{image}/events.db").all
        for batch in batches:
            if 0 < sum(found[event_id] for event_id in batch) < len(batch):
                raise LostError(f"half a batch is kept: {batch}")

    return Scene(root, "append", {"url": url, "batches": batches}, kept)


def compacting(root: Path, *, again: bool, synced: bool = True) -> Scene:
    """A store whose events go into a log, which is there already when `again`."""
    url, log = f"sqlite:///{root}/events.db", root / "log"
    bundles = make_bundles(root, _LATER_MS)
    ids = [f"k{number}" for number in range(_EVENTS)]
    store = EventStore(url)
    half = len(ids) // 2 if again else len(ids)
    store.append([row(event_id) for event_id in ids[:half]])
    if again:
        compact(store, log, bundles=bundles)
        store.append([row(event_id) for event_id in ids[half:]])
    store.close()

    def kept(image: Path, lines: Sequence[str]) -> None:
        check(history_of((), ids), f"sqlite:///{image}/events.db", image / "log")

    told = {"url": url, "log": str(log), "bundles": str(bundles), "synced": synced}
    return Scene(root, "compact", told, kept)


def commanding(root: Path, *, again: bool) -> Scene:
    """The same by the command line."""
    scene = compacting(root, again=again)
    return Scene(root, "podium", ["events", "compact", "--root", str(root), "--json"], scene.check)


def publishing(root: Path, *, again: bool, synced: bool = True) -> Scene:
    """An artifact `new` appears, in the place of an `old` one when `again`."""
    if again:
        publish(root / "x", Draft("test.durable", {"text": "old"}, {}), _old)

    def whole(image: Path, lines: Sequence[str]) -> None:
        text = None
        if again or "published new" in lines or (image / "x").exists():
            text = open_artifact(image / "x", "test.durable").config["text"]
        if text not in (("new",) if "published new" in lines else ("new", "old" if again else None)):
            raise LostError(f"the artifact is {text}")

    return Scene(root, "publish", {"into": str(root / "x"), "text": "new", "synced": synced}, whole)


def activating(root: Path, *, again: bool, synced: bool = True) -> Scene:
    """A bundle is bound and made the current one, in the place of an old one when `again`."""
    bundles, old = root / "bundles", None
    if again:
        old = bind(bundles, _parts(root, "old"), 1).id
        promote(bundles, old)
    parts = _parts(root, "new")
    new = bind(root / "aside", parts, 2).id  # the name is made of what is in it
    shutil.rmtree(root / "aside")

    def whole(image: Path, lines: Sequence[str]) -> None:
        if f"bound {new}" in lines or (image / "bundles" / new).exists():
            open_bundle(image / "bundles" / new)
        found, promised = None, f"promoted {new}" in lines
        if again or promised or (image / "bundles/current").is_symlink():
            found = open_bundle(image / "bundles").id
        if found not in ((new,) if promised else (new, old)):
            raise LostError(f"the current bundle is {found}")

    told = {"root": str(bundles), "parts": {name: str(path) for name, path in parts.items()}, "cutoff": 2}
    return Scene(root, "activate", told | {"synced": synced}, whole)


def _old(folder: Path) -> None:
    (folder / "a.txt").write_text("old", encoding="utf-8")
    (folder / "gone.txt").write_text("old", encoding="utf-8")


def _parts(root: Path, text: str) -> dict[str, Path]:
    parts: dict[str, Path] = {}
    digests: dict[str, str] = {}
    for name in ("catalogue", "features", "ranking"):
        into = root / "artifacts" / f"{name}-{text}"

        def fill(folder: Path, name: str = name) -> None:
            (folder / "deep").mkdir()
            (folder / "deep/a.txt").write_text(json.dumps([name, text]), encoding="utf-8")

        publish(into, Draft(name, {}, dict(digests)), fill)
        if name != "ranking":
            digests[name] = read_manifest(into).digest
        parts[name] = into
    return parts
