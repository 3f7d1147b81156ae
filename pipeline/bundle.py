"""A bundle binds artifacts built for one catalogue and feature set; `current` names the one that serves.

Its id is made of what is in it, and made again whenever it is read: nothing that a bundle says of itself is taken on
trust. `read_bundle` compares all that is told of the parts, `open_bundle` every byte of them as well.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from pipeline.artifacts import (
    MANIFEST,
    SCHEMA,
    Manifest,
    misfit,
    read_json,
    read_manifest,
    readable,
    verify_files,
    verify_names,
    write_json,
)
from pipeline.errors import ArtifactError, InputError
from pipeline.folders import make_folder, put, sync, sync_all

BUNDLE = "bundle.json"
CURRENT = "current"
PREVIOUS = "previous"
BINDING = ("catalogue", "features")
_ID: Final = re.compile(r"b-[0-9a-f]{12}")
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]*")
_KINDS: Final[Mapping[str, type]] = {
    **dict.fromkeys(("id", *BINDING), str),
    **dict.fromkeys(("schema", "cutoff"), int),
    "parts": dict,
}
_STORED: Final[Mapping[str, type]] = {"id": str, "seq": int}


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


@dataclass(frozen=True, slots=True)
class Listed:
    """What a bundles root holds. broken: name -> why it cannot serve."""

    bundles: tuple[Bundle, ...]
    broken: Mapping[str, str]


def bind(root: Path, parts: Mapping[str, Path], cutoff: int, stored: Taken | None = None) -> Bundle:
    """Make a bundle of published artifacts under `root`; its id is made of what is in it. One that is there already is
    made anew when it is no longer what was bound.

    Raises ArtifactError when a part was built for another catalogue or feature set.
    """
    manifests = {name: read_manifest(folder) for name, folder in parts.items()}
    digests = {name: manifest.digest for name, manifest in manifests.items()}
    name = _identity(digests, cutoff, stored)
    into = root / name
    bundle = Bundle(into, name, cutoff, digests["catalogue"], digests["features"], digests, stored)
    _fit(bundle, manifests)
    if not _is_whole(into):
        make_folder(root)
        draft = root / f".draft-{name}"
        shutil.rmtree(draft, ignore_errors=True)
        for part, folder in parts.items():
            for file in (MANIFEST, *manifests[part].files):
                _link(folder / file, draft / part / file)
        values = {"schema": SCHEMA, "id": name, "cutoff": cutoff, "parts": digests}
        values |= {key: digests[key] for key in BINDING}
        if stored is not None:
            values["stored"] = asdict(stored)
        write_json(draft / BUNDLE, values)
        sync_all(draft)
        put(draft, into)
    return bundle


def _identity(digests: Mapping[str, str], cutoff: int, stored: Taken | None) -> str:
    text = json.dumps([sorted(digests.items()), cutoff, *([asdict(stored)] if stored else [])])
    return "b-" + sha256(text.encode()).hexdigest()[:12]


def _fit(bundle: Bundle, manifests: Mapping[str, Manifest]) -> None:
    for name, manifest in manifests.items():
        for key in BINDING:
            if manifest.inputs.get(key, getattr(bundle, key)) != getattr(bundle, key):
                expected = f"a part built for the same {key} as the others, this bundle's {key}; train it again"
                raise ArtifactError(f"{name}.{key}", expected, place=str(bundle.root))


def _link(source: Path, target: Path) -> None:
    """Artifacts never change, so a hard link is a copy; another file system gets a real one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def open_bundle(path: Path) -> Bundle:
    """Open a bundle, or the current one of a bundles root, after checking every byte of it.

    Raises InputError when there is nothing there, ArtifactError when it is not what was published.
    """
    folder = path
    if not (path / BUNDLE).is_file():
        folder = path / CURRENT
        if not (folder / BUNDLE).is_file():
            raise InputError(
                "--bundle", "a bundle, or a folder with a `current` one; run `podium train`", place=str(path)
            )
    bundle = _verified(folder.resolve())
    if folder != path and folder.is_symlink() and bundle.root != path.resolve() / bundle.id:
        to = str(folder.readlink())
        raise ArtifactError(CURRENT, f"a link to {bundle.id} beside it", place=str(path), received=to)
    return bundle


def read_bundle(folder: Path) -> Bundle:
    """What a bundle tells of itself, once its parts, their manifests and its id agree; the parts' files are only named.

    The folder may have any name, but one that is an id must be the bundle's own. Raises ArtifactError.
    """
    return _read(folder)[0]


def _verified(folder: Path) -> Bundle:
    bundle, manifests = _read(folder)
    for name, manifest in manifests.items():
        verify_files(folder / name, manifest)
    return bundle


def _is_whole(folder: Path) -> bool:
    try:
        _verified(folder)
    except ArtifactError:
        return False
    return True


def _read(folder: Path) -> tuple[Bundle, Mapping[str, Manifest]]:
    bundle = _told(folder)
    with readable(folder):
        there = {entry.name: entry.is_symlink() for entry in folder.iterdir()}
    if surplus := there.keys() - bundle.parts.keys() - {BUNDLE}:
        expected = f"nothing but {BUNDLE} and the bundle's parts; remove it"
        raise ArtifactError(min(surplus), expected, place=str(folder))
    if links := [name for name, link in there.items() if link]:
        raise ArtifactError(min(links), "the bundle's own, no link; copy what it leads to", place=str(folder))
    manifests = {name: read_manifest(folder / name) for name in bundle.parts}
    for name, manifest in manifests.items():
        verify_names(folder / name, manifest)
        if manifest.digest != bundle.parts[name]:
            expected, received = "the part this bundle was made with", manifest.digest[:12]
            raise ArtifactError(name, expected, place=str(folder), received=received)
    _fit(bundle, manifests)
    made_of = _identity(bundle.parts, bundle.cutoff, bundle.stored)
    named = (bundle.id, folder.name) if _ID.fullmatch(folder.name) else (bundle.id,)
    if wrong := [name for name in named if name != made_of]:
        expected = f"{made_of}, which follows from what is in it; copy the whole bundle again"
        raise ArtifactError("id", expected, place=str(folder), received=wrong[0])
    return bundle, manifests


def _told(folder: Path) -> Bundle:
    """What stands in bundle.json, of which nothing is believed yet but that it has the form."""
    path = folder / BUNDLE
    try:
        values: Any = read_json(path)
    except (ValueError, OSError) as error:
        raise ArtifactError(BUNDLE, f"readable JSON ({error})", place=str(folder)) from error
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        raise ArtifactError("schema", f"{SCHEMA}; train again with this version", place=str(path))
    stored = values.pop("stored", None)
    if wrong := misfit(values, _KINDS) or (stored is not None and misfit(stored, _STORED)):
        raise ArtifactError(BUNDLE, f"the fields of a bundle ({wrong})", place=str(path))
    parts = values["parts"]
    if bad := [name for name in parts if not _PART.fullmatch(name)]:
        raise ArtifactError("parts", "plain names", place=str(path), received=bad)
    for name in BINDING:
        if name not in parts:
            raise ArtifactError("parts", f"`{name}` among them; train again", place=str(path))
        if parts[name] != values[name]:
            raise ArtifactError(name, f"the digest of the part {name}", place=str(path), received=values[name])
    taken = None if stored is None else Taken(**stored)
    return Bundle(folder, values["id"], values["cutoff"], values["catalogue"], values["features"], parts, taken)


def current(root: Path) -> str | None:
    """The id of the bundle that serves, None when there is none yet."""
    link = root / CURRENT
    return link.resolve().name if link.is_symlink() and link.exists() else None


def promote(root: Path, bundle_id: str) -> None:
    """Make a bundle the current one, atomically, after checking every byte of it; the one before is remembered for
    `rollback`. Raises InputError or ArtifactError, and then nothing is changed."""
    make_current(root, opened(root, bundle_id).id)


def opened(root: Path, bundle_id: str) -> Bundle:
    """A bundle of a root, every byte of it checked. Raises InputError where none has that id, or ArtifactError."""
    if not (_ID.fullmatch(bundle_id) and (root / bundle_id / BUNDLE).is_file()):
        known = ", ".join(bundles(root)) or "none"
        raise InputError("bundle", f"one of {known}", place=str(root), received=bundle_id)
    return _verified(_own(root, bundle_id))


def make_current(root: Path, bundle_id: str) -> None:
    """As `promote`, for whoever has opened the bundle just now."""
    before = current(root)
    if before == bundle_id:
        return
    if before is not None:
        _point(root / PREVIOUS, before)
    _point(root / CURRENT, bundle_id)


def previous(root: Path) -> str:
    """The id of the bundle before the current one. Raises InputError when there is none."""
    link = root / PREVIOUS
    if not link.is_symlink() or not link.exists():
        raise InputError("rollback", "an earlier bundle to go back to; there is none", place=str(root))
    return link.resolve().name


def rollback(root: Path) -> str:
    """Make the bundle before the current one current again, as `promote` does; returns its id."""
    promote(root, bundle_id := previous(root))
    return bundle_id


def listed(root: Path) -> Listed:
    """Every bundle of a root, by id, and what is the matter with those that are none; their files are not read."""
    found, broken = [], {}
    for folder in sorted(root.iterdir() if root.is_dir() else ()):
        if folder.name in (CURRENT, PREVIOUS) or not (_ID.fullmatch(folder.name) or (folder / BUNDLE).exists()):
            continue
        try:
            found.append(read_bundle(_own(root, folder.name)))
        except ArtifactError as error:
            if folder.exists() or folder.is_symlink():  # else it was pruned meanwhile
                broken[folder.name] = str(error)
    return Listed(tuple(found), broken)


def bundles(root: Path) -> list[str]:
    """The ids of the bundles of a root that are none of its broken ones."""
    return [bundle.id for bundle in listed(root).bundles]


def _own(root: Path, name: str) -> Path:
    folder = root / name
    if folder.is_symlink() or not _ID.fullmatch(name):
        raise ArtifactError(name, "a folder of the root's own, named as the bundle's id", place=str(root))
    return folder


def _point(link: Path, target: str) -> None:
    draft = link.with_name(f".{link.name}.draft")
    try:
        draft.unlink(missing_ok=True)
        draft.symlink_to(target, target_is_directory=True)
        draft.replace(link)
        sync(link.parent)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        expected = f"a link in a folder that can be written to ({error.strerror})"
        raise InputError(link.name, expected, place=str(link.parent)) from error


def describe(bundle: Bundle) -> dict[str, object]:
    """What `podium bundle show` prints."""
    parts = {name: asdict(bundle.manifest(name)) for name in bundle.parts}
    return {"schema": SCHEMA, "id": bundle.id, "cutoff": bundle.cutoff, "parts": parts}
