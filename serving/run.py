"""Starting the service: one process, or several workers over one data root."""

import os
import tempfile
from dataclasses import asdict
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from pipeline.bundle import open_bundle
from pipeline.errors import InputError
from pipeline.logs.ingest import ingest
from pipeline.logs.store import EventStore
from serving.app import create_app
from serving.auth import check_bind, read_keys
from serving.engine import Engine
from serving.events import export_events
from serving.settings import Settings, load_settings

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

    Raises InputError or ConfigError before anything listens when the bundle, the keys or the address will not do.
    """
    settings = settings_for(bundle, config, host=host, port=port, root=root, replay=replay or None)
    check_bind(settings.host, read_keys(settings.keys_file))
    open_bundle(bundle)
    listen = {"host": settings.host, "port": settings.port, "log_level": "warning", "access_log": False}
    print(f"http://{settings.host}:{settings.port}/  (API: /docs; stop with Ctrl-C)", flush=True)  # noqa: T201
    if workers == 1:
        uvicorn.run(build(bundle, config, settings), **listen)  # type: ignore[arg-type]
        return
    handed = [str(bundle), str(config or ""), settings.host, str(settings.port), str(settings.root), str(int(replay))]
    os.environ[_HANDED] = "\n".join(handed)
    uvicorn.run("serving.run:worker_app", factory=True, workers=workers, **listen)  # type: ignore[arg-type]


def settings_for(bundle: Path, config: Path | None, **given: object) -> Settings:
    """Settings of a service over this bundle."""
    bundles = bundle if not (bundle / "bundle.json").is_file() else bundle.resolve().parent
    if given.get("root") is None and "PODIUM_ROOT" not in os.environ:
        given["root"] = bundles.parent
    return load_settings(config, bundles=bundles, **given)


def build(bundle: Path, config: Path | None, settings: Settings) -> FastAPI:
    return create_app(lambda: Engine(bundle, config=config), settings)


def worker_app() -> FastAPI:
    """The app of one of several workers."""
    bundle, config, host, port, root, replay = os.environ[_HANDED].split("\n")
    found = Path(config) if config else None
    settings = settings_for(
        Path(bundle), found, host=host, port=int(port), root=Path(root), replay=replay == "1" or None
    )
    return build(Path(bundle), found, settings)


def export(root: Path, out: Path) -> dict[str, object]:
    """Ingest the events of a data root into a log, which may exist already. Returns the counts of the ingest."""
    settings = load_settings(None, root=root)
    if settings.database is None and not (root / "events.db").is_file():
        raise InputError("--root", "a data root with an event store (events.db)", place=str(root))
    store = EventStore(settings.database_url)
    try:
        with tempfile.TemporaryDirectory(prefix="podium-export-") as draft:
            export_events(store, Path(draft) / "events.jsonl")
            return asdict(ingest("podium", [Path(draft) / "events.jsonl"], out))
    finally:
        store.close()
