"""Starting the service: one process, or several workers over one data root."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import uvicorn
from fastapi import FastAPI

from pipeline.errors import InputError
from pipeline.folders import make_folder
from pipeline.logs.compact import CLOCK, Compacted
from pipeline.logs.compact import compact as run_compaction
from pipeline.logs.ingest import lasting
from pipeline.logs.partitions import MANIFEST, STORED, drafted, read_manifest, recover, write_manifest
from pipeline.logs.store import EventStore
from serving.app import create_app
from serving.auth import check_keys
from serving.backup import LOG
from serving.connection import Connection, Reading
from serving.engine import Engine
from serving.keyring import read_keys
from serving.settings import Settings, load_settings
from serving.shared import VARIABLE, shared_folder

_HANDED = "PODIUM_WORKER"  # workers are started by name and read what to serve from here


def serve(
    bundle: Path,
    *,
    workers: int,
    config: Path | None,
    host: str | None,
    port: int | None,
    root: Path | None,
    replay: bool,
) -> None:
    """Serve until stopped. root: the tenant's data root, the folder above the bundles unless given.

    Raises InputError or ConfigError before anything listens when the bundle, the keys, the address or the root will not
    do: what fails later, fails in a server's words.
    """
    settings = settings_for(bundle, config, host=host, port=port, root=root, replay=replay or None)
    check_keys(settings, read_keys(settings.keys_file))
    opened = [Engine(bundle, config=config)]
    _check_root(settings)
    listen: dict[str, Any] = {"host": settings.host, "port": settings.port, "log_level": "warning", "access_log": False}
    listen |= {"http": partial(Connection, _reading(settings)), "ws": "none"}
    print(f"http://{settings.host}:{settings.port}/  (API: /docs; stop with Ctrl-C)", flush=True)  # noqa: T201
    if workers == 1:
        uvicorn.run(create_app(opened.pop, settings), **listen)
        return
    opened.clear()  # each worker opens its own
    handed = [str(bundle), str(config or ""), settings.host, str(settings.port), str(settings.root), str(int(replay))]
    os.environ[_HANDED] = "\n".join(handed)
    with shared_folder(settings.root) as folder:
        os.environ[VARIABLE] = str(folder)  # before a worker imports what counts
        uvicorn.run("serving.run:worker_app", factory=True, workers=workers, **listen)


def _reading(settings: Settings) -> Reading:
    chosen = settings.serving
    return Reading(chosen.head_bytes, chosen.head_seconds, chosen.body_seconds, chosen.connections)


def _check_root(settings: Settings) -> None:
    """Raises InputError when the service could not keep what it takes and what it answered."""
    try:
        make_folder(settings.root)
        with TemporaryFile(dir=settings.root):
            pass
    except OSError as error:
        fix = f"a folder that can be written to ({error.strerror}); it is for events and pages, not for the bundles"
        raise InputError("--root", fix, place=str(settings.root)) from error
    EventStore(settings.database_url).close()


def settings_for(bundle: Path, config: Path | None, **given: object) -> Settings:
    """Settings of a service over this bundle."""
    bundles = bundle if not (bundle / "bundle.json").is_file() else bundle.resolve().parent
    if given.get("root") is None and "PODIUM_ROOT" not in os.environ:
        given["root"] = bundles.parent
    return load_settings(config, bundles=bundles, **given)


def worker_app() -> FastAPI:
    """The app of one of several workers."""
    bundle, config, host, port, root, replay = os.environ[_HANDED].split("\n")
    found = Path(config) if config else None
    settings = settings_for(
        Path(bundle), found, host=host, port=int(port), root=Path(root), replay=replay == "1" or None
    )
    return create_app(lambda: Engine(Path(bundle), config=found), settings)


def compact(
    root: Path,
    out: Path | None = None,
    *,
    rewrite: Sequence[Path] = (),
    keep_days: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Compacted:
    """Move the events of a data root into its log: ROOT/log, which leads to `out` where that is given.

    Raises InputError when there is no event store, or another log already has what left it.
    """
    with _store(root) as (store, settings):
        log = _log_of(root, out, store.id)
        bundles = settings.bundles or root / "bundles"
        return run_compaction(
            store, log, bundles=bundles, rewrite=rewrite, keep_days=keep_days, on_progress=on_progress
        )


def export(root: Path, out: Path) -> Compacted:
    """Copy what the store of a data root still holds into a log of its own; nothing leaves the store."""
    with _store(root) as (store, _):
        return run_compaction(store, out, bundles=None)


@contextmanager
def _store(root: Path) -> Iterator[tuple[EventStore, Settings]]:
    settings = load_settings(None, root=root)
    if settings.database is None and not (root / "events.db").is_file():
        raise InputError("--root", "a data root with an event store (events.db)", place=str(root))
    store = EventStore(settings.database_url)
    try:
        yield store, settings
    finally:
        store.close()


def _log_of(root: Path, out: Path | None, store_id: str) -> Path:
    """The one log that a data root's events move to: what left the store is there and nowhere else."""
    usual = root / LOG
    if usual.is_symlink() and not usual.exists():
        recover(usual)
        if not usual.exists():
            raise InputError("--root", f"a log at {usual.resolve()}, to which {LOG} leads", place=str(root))
    if out is None or out.resolve() == usual.resolve():
        return usual
    if not usual.exists():
        lasting(out, CLOCK)
        if not (out / MANIFEST).exists():  # before anything leads to it
            with drafted(out) as draft:
                write_manifest(draft, CLOCK)
        root.mkdir(parents=True, exist_ok=True)
        usual.symlink_to(out.resolve(), target_is_directory=True)
    elif (usual / MANIFEST).is_file():
        stored = read_manifest(usual).get(STORED)
        if isinstance(stored, dict) and stored.get("id") == store_id:
            fix = f"{usual.resolve()}, where the events of this root are; copy that log, or use `podium events export`"
            raise InputError("--out", fix, received=str(out))
    return out
