"""Commands that keep a tenant running: its bundles, its events, its keys, its logs of earlier versions, its backups."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from pipeline import bundle as store
from pipeline.console import counted, show
from pipeline.errors import InputError
from pipeline.progress import progress
from serving.check import check
from serving.options import PATH, as_json


@click.group()
def bundle() -> None:
    """Bundles: list, show, verify, promote, rollback, prune."""


@bundle.command("list")
@click.argument("root", type=PATH)
@as_json
def bundle_list(root: Path, json_: bool) -> None:
    """The bundles under ROOT; the current one is marked, and what is broken, with the reason."""
    if not root.is_dir():
        raise InputError("ROOT", "a bundles root; `podium train` writes one", place=str(root))
    found, serving = store.listed(root), store.current(root)
    names = [each.id for each in found.bundles]

    def lines() -> list[str]:
        broken = {name: f"broken: {why}" for name, why in found.broken.items()}
        marked = {name: ("current  " if name == serving else "") + broken.get(name, "") for name in (*names, *broken)}
        return [f"{name}  {mark}".rstrip() for name, mark in sorted(marked.items())]

    show({"bundles": names, "current": serving, "broken": found.broken}, json_, lines)


@bundle.command("show")
@click.argument("path", type=PATH)
def bundle_show(path: Path) -> None:
    """Manifests of a bundle's parts, as JSON."""
    click.echo(json.dumps(store.describe(store.open_bundle(path)), indent=1))


@bundle.command("verify")
@click.argument("path", type=PATH)
@as_json
def bundle_verify(path: Path, json_: bool) -> None:
    """Check a bundle's id, what it lists, and the size and digest of every file."""
    checked = store.open_bundle(path)
    show({"bundle": checked.id, "verified": True, "parts": sorted(checked.parts)}, json_)


@bundle.command("promote")
@click.argument("root", type=PATH)
@click.argument("bundle_id")
@as_json
def bundle_promote(root: Path, bundle_id: str, json_: bool) -> None:
    """Make a bundle the current one, once it has been opened as a service opens it."""
    show({"current": _promoted(root, bundle_id)}, json_)


@bundle.command("rollback")
@click.argument("root", type=PATH)
@as_json
def bundle_rollback(root: Path, json_: bool) -> None:
    """Go back to the bundle before, once it has been opened as a service opens it."""
    show({"current": _promoted(root, store.previous(root))}, json_)


def _promoted(root: Path, bundle_id: str) -> str:
    from serving.assembly import open_parts

    open_parts(store.opened(root, bundle_id))
    store.make_current(root, bundle_id)
    return bundle_id


@bundle.command("prune")
@click.argument("root", type=PATH)
@click.option("--keep", type=click.IntRange(1), default=7, show_default=True, help="The newest bundles that stay.")
@as_json
def bundle_prune(root: Path, keep: int, json_: bool) -> None:
    """Remove older bundles, but never the current one or the one before it, and the parts nobody uses then."""
    from pipeline.retention import prune
    from serving.workshop import claimed

    if not root.is_dir():
        raise InputError("ROOT", "a bundles root; `podium train` writes one", place=str(root))
    with claimed(root):
        show(asdict(prune(root, keep)), json_)


@click.group()
def events() -> None:
    """Events taken over HTTP."""


@events.command("compact")
@click.option("--root", type=PATH, required=True, help="The tenant's data root; it may be in use.")
@click.option("--out", type=PATH, help="The log the events move to.  [default: ROOT/log]")
@click.option("--rewrite", type=PATH, multiple=True, help="Another log that forgotten users leave, such as a split's.")
@click.option("--keep-days", type=click.IntRange(1), help="Days of the log that are kept.  [default: all]")
@as_json
def events_compact(root: Path, out: Path | None, rewrite: tuple[Path, ...], keep_days: int | None, json_: bool) -> None:
    """Move the store's events into the log, each once; whoever was forgotten leaves it."""
    from serving.run import compact

    with progress("compact", quiet=json_) as report:
        done = compact(root, out, rewrite=rewrite, keep_days=keep_days, on_progress=counted(report))
    show(asdict(done), json_)


@events.command("export")
@click.option("--root", type=PATH, required=True, help="The tenant's data root.")
@click.option("--out", type=PATH, required=True, help="The log to write or to grow.")
@as_json
def events_export(root: Path, out: Path, json_: bool) -> None:
    """Copy the events that the store still holds into a log of their own."""
    from serving.run import export

    show(asdict(export(root, out)), json_)


events.add_command(check)


@click.group()
def keys() -> None:
    """API keys of a data root."""


@keys.command("add")
@click.argument("name")
@click.option("--root", type=PATH, required=True, help="The tenant's data root.")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(["read", "write", "admin"]))
def keys_add(name: str, root: Path, scopes: tuple[str, ...]) -> None:
    """Make a key; it is printed once, only its hash is kept. A running service knows it at once."""
    from serving.keyring import issue_key

    click.echo(issue_key(_keys_of(root), name, scopes))


@keys.command("list")
@click.option("--root", type=PATH, required=True, help="The tenant's data root.")
@as_json
def keys_list(root: Path, json_: bool) -> None:
    """Name, scopes and age of each key."""
    from serving.keyring import read_keys

    if not root.is_dir():
        raise InputError("--root", "a data root", place=str(root))
    found = [
        {"name": key.name, "scopes": list(key.scopes), "created": key.created or None}
        for key in read_keys(_keys_of(root)) or ()
    ]
    lines = [f"{each['name']}  {','.join(each['scopes'] or ())}  {each['created'] or 'unknown'}" for each in found]
    show({"keys": found}, json_, lambda: lines or ["no keys: only this machine may call"])


@keys.command("revoke")
@click.argument("name")
@click.option("--root", type=PATH, required=True, help="The tenant's data root.")
@as_json
def keys_revoke(name: str, root: Path, json_: bool) -> None:
    """Take a key away; a running service refuses it from the next request on."""
    from serving.keyring import revoke_key

    gone = revoke_key(_keys_of(root), name)
    show({"revoked": gone.name, "scopes": list(gone.scopes)}, json_)


def _keys_of(root: Path) -> Path:
    """The file of keys of a data root, which the environment may put elsewhere."""
    from serving.settings import load_settings

    return load_settings(None, root=root).keys_file


@click.command()
@click.argument("logs", type=PATH)
@as_json
def migrate(logs: Path, json_: bool) -> None:
    """Bring a log of an earlier version to this one, in place."""
    from pipeline.logs.migrate import migrate as run

    show(asdict(run(logs)), json_)


@click.command()
@click.option("--root", type=PATH, required=True, help="The tenant's data root; it may be in use.")
@click.option("--out", type=PATH, required=True, help="The folder of the backup; nothing may be there yet.")
@as_json
def backup(root: Path, out: Path, json_: bool) -> None:
    """Copy a data root, with a digest of every file."""
    from serving.backup import backup as run

    show(asdict(run(root, out)), json_)


@click.command()
@click.argument("source", metavar="BACKUP", type=PATH)
@click.option("--root", type=PATH, required=True, help="The new data root; nothing may be there yet.")
@as_json
def restore(source: Path, root: Path, json_: bool) -> None:
    """Make a data root of a backup, after checking every digest."""
    from serving.backup import restore as run

    show(asdict(run(source, root)), json_)


COMMANDS: Final = (bundle, events, keys, migrate, backup, restore)
