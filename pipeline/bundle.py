"""A bundle binds artifacts built for one catalogue and feature set; `current` names the one that serves."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.artifacts import SCHEMA, Manifest, open_artifact, read_manifest, write_json
from pipeline.errors import ArtifactError, InputError
from pipeline.folders import make_folder, put, sync, sync_all

BUNDLE = "bundle.json"
CURRENT = "current"
PREVIOUS = "previous"
BINDING = ("catalogue", "features")


@dataclass(frozen=True, slots=True)
class Taken:
    """The events of the store `id` up to the number `seq`."""

    id: str
    seq: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle. cutoff: ms, nothing later was learned from; parts: name -> digest; stored: what it learned of
    an event store, None when its log does not say."""

    root: Path
    id: str
    cutoff: int
    catalogue: str
    features: str
    parts: Mapping[str, str]
    stored: Taken | None = None

    def part(self, name: str) -> Path:
        """The folder of a part. Raises ArtifactError when the bundle has none of that name."""
        if name not in self.parts:
            raise ArtifactError(name, f"one of the bundle's parts: {', '.join(sorted(self.parts))}", place=self.id)
        return self.root / name

    def manifest(self, name: str) -> Manifest:
        return read_manifest(self.part(name))


def bind(root: Path, parts: Mapping[str, Path], cutoff: int, stored: Taken | None = None) -> Bundle:
    """Make a bundle of published artifacts under `root`; its id is made of what is in it.

    Raises ArtifactError when a part was built for another catalogue or feature set.
    """
    manifests = {name: read_manifest(folder) for name, folder in parts.items()}
    about = {name: manifests[name].digest for name in BINDING}
    for name, manifest in manifests.items():
        for key in BINDING:
            if key in manifest.inputs and manifest.inputs[key] != about[key]:
                raise ArtifactError(f"{name}.{key}", "a part built for the same catalogue and features; train it again")
    digests = {name: manifest.digest for name, manifest in manifests.items()}
    name = _identity(digests, cutoff, stored)
    into = root / name
    if not into.exists():
        make_folder(root)
        draft = root / f".draft-{name}"
        shutil.rmtree(draft, ignore_errors=True)
        for part, folder in parts.items():
            shutil.copytree(folder, draft / part, copy_function=_link)
        values = {"schema": SCHEMA, "id": name, "cutoff": cutoff, **about, "parts": digests}
        if stored is not None:
            values["stored"] = asdict(stored)
        write_json(draft / BUNDLE, values)
        sync_all(draft)
        put(draft, into)
    return Bundle(into, name, cutoff, about["catalogue"], about["features"], digests, stored)


def _identity(digests: Mapping[str, str], cutoff: int, stored: Taken | None) -> str:
    import hashlib

    text = json.dumps([sorted(digests.items()), cutoff, *([asdict(stored)] if stored else [])])
    return "b-" + hashlib.sha256(text.encode()).hexdigest()[:12]


def _link(source: str, target: str) -> str:
    """Artifacts never change, so a hard link is a copy; another file system gets a real one."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def open_bundle(path: Path) -> Bundle:
    """Open a bundle, or the current one of a bundles root, after checking every part it lists.

    Raises InputError when there is nothing there, ArtifactError when it is not what was published.
    """
    folder = path
    if not (path / BUNDLE).is_file():
        if not (path / CURRENT / BUNDLE).is_file():
            raise InputError(
                "--bundle", "a bundle, or a folder with a `current` one; run `podium train`", place=str(path)
            )
        folder = (path / CURRENT).resolve()
    bundle = read_bundle(folder)
    for name, digest in bundle.parts.items():
        manifest = read_manifest(folder / name)
        open_artifact(folder / name, manifest.kind)
        if manifest.digest != digest:
            raise ArtifactError(
                name, "the part this bundle was made with", place=str(folder), received=manifest.digest[:12]
            )
        for key in BINDING:
            if manifest.inputs.get(key, getattr(bundle, key)) != getattr(bundle, key):
                raise ArtifactError(
                    f"{name}.{key}",
                    "a part built for this bundle's catalogue and features",
                    place=str(folder),
                )
    return bundle


def read_bundle(folder: Path) -> Bundle:
    path = folder / BUNDLE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ArtifactError(BUNDLE, f"readable JSON ({error})", place=str(folder)) from error
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        raise ArtifactError("schema", f"{SCHEMA}; train again with this version", place=str(path))
    try:
        parts = {str(name): str(digest) for name, digest in values["parts"].items()}
        if bad := [
            name for name in parts if not name.replace("_", "").replace(".", "").isalnum() or name.startswith(".")
        ]:
            raise ArtifactError("parts", "plain names", place=str(path), received=bad)
        if missing := [name for name in BINDING if name not in parts]:
            raise ArtifactError("parts", f"`{missing[0]}` among them; train again", place=str(path))
        told = values.get("stored")
        stored = None if told is None else Taken(str(told["id"]), int(told["seq"]))
        known = (int(values["cutoff"]), values["catalogue"], values["features"], parts, stored)
        return Bundle(folder, str(values["id"]), *known)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ArtifactError(BUNDLE, f"the fields of a bundle (missing or wrong: {error})", place=str(path)) from error


def current(root: Path) -> str | None:
    """The id of the bundle that serves, None when there is none yet."""
    link = root / CURRENT
    return link.resolve().name if link.is_symlink() and link.exists() else None


def promote(root: Path, bundle_id: str) -> None:
    """Make a bundle the current one, atomically; the one before is remembered for `rollback`."""
    if not (root / bundle_id / BUNDLE).is_file():
        raise InputError("bundle", f"one of {', '.join(bundles(root)) or 'none'}", place=str(root), received=bundle_id)
    before = current(root)
    if before == bundle_id:
        return
    if before is not None:
        _point(root / PREVIOUS, before)
    _point(root / CURRENT, bundle_id)


def rollback(root: Path) -> str:
    """Make the bundle before the current one current again; returns its id."""
    link = root / PREVIOUS
    if not link.is_symlink() or not link.exists():
        raise InputError("rollback", "an earlier bundle to go back to; there is none", place=str(root))
    bundle_id = link.resolve().name
    promote(root, bundle_id)
    return bundle_id


def bundles(root: Path) -> list[str]:
    return sorted(path.parent.name for path in root.glob(f"*/{BUNDLE}") if not path.parent.is_symlink())


def _point(link: Path, target: str) -> None:
    draft = link.with_name(f".{link.name}.draft")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target, target_is_directory=True)
    draft.replace(link)
    sync(link.parent)


def describe(bundle: Bundle) -> dict[str, object]:
    """What `podium bundle show` prints."""
    parts = {name: asdict(bundle.manifest(name)) for name in bundle.parts}
    return {"schema": SCHEMA, "id": bundle.id, "cutoff": bundle.cutoff, "parts": parts}
