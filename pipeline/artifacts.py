"""What a job publishes: files with a passport, all of it or none.

Artifacts are untrusted when read: sizes and SHA-256 are checked, names may not leave the folder, and no
format that runs code on loading is ever used.
"""

import hashlib
import json
import math
import os
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pipeline.errors import ArtifactError
from pipeline.folders import files_in, make_folder, open_to_readers, put, sync, sync_all

SCHEMA = 1
CODE_VERSION = "0.1.0"
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """kind: who can read it (`retrieval.lexical`); config: what it was built with; inputs: name -> digest of
    what it was built from; metrics: held-out numbers, those that could be measured; files: relative name -> {sha256,
    size in bytes}; created: when, a note for people on which nothing hangs."""

    kind: str
    config: Mapping[str, object]
    inputs: Mapping[str, str]
    metrics: Mapping[str, float]
    files: Mapping[str, Mapping[str, object]]
    code: str = CODE_VERSION
    created: str = ""
    schema: int = SCHEMA

    @property
    def digest(self) -> str:
        """Identity of the content: what it is, from what, and every file; not when it was made."""
        about = {k: v for k, v in asdict(self).items() if k != "created"}
        return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()


_LOCK: Final = re.compile(r"\.[^/]*\.lock")  # opening an index left one of no bytes in it once
_KINDS: Final[Mapping[str, type]] = {
    **dict.fromkeys(("kind", "code", "created"), str),
    **dict.fromkeys(("config", "inputs", "metrics", "files"), dict),
    "schema": int,
}


@dataclass(frozen=True, slots=True)
class Draft:
    """What a job hands over to be published."""

    kind: str
    config: Mapping[str, object]
    inputs: Mapping[str, str]
    metrics: Mapping[str, float] = field(default_factory=dict)


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def finite(value: object) -> object:
    """The value as JSON has it: what is no number there is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value


def write_json(path: Path, value: object, *, private: bool = False) -> None:
    """Write beside and rename, synced: a reader sees the old file or the new one. private: only the owner."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if private else 0o666)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(finite(value), stream, indent=1, sort_keys=True, allow_nan=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync(path.parent)


def read_json(path: Path) -> object:
    """What `write_json` wrote. Two readers of a file whose keys repeat may understand different things by it, so such a
    file is refused. Raises ValueError, in words, or OSError."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError(f"the key {Counter(key for key, _ in pairs).most_common(1)[0][0]!r} stands twice")
        return found

    if path.exists() and not path.is_file():
        raise ValueError("no plain file")
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except RecursionError:
        raise ValueError("nested too deep") from None


def publish(into: Path, draft: Draft, write: Callable[[Path], Mapping[str, float] | None]) -> Manifest:
    """Let `write` fill a draft folder, then rename it to `into`: all of it or none.

    `write` may return held-out metrics. An artifact that is already there is replaced only after the new one is whole.
    """
    make_folder(into.parent)
    folder = into.with_name(f".draft-{into.name}-{secrets.token_hex(8)}")
    folder.mkdir()
    try:
        metrics = {**draft.metrics, **(write(folder) or {})}
        metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
        files: dict[str, Mapping[str, object]] = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            files[path.relative_to(folder).as_posix()] = {"sha256": sha256(path), "size": path.stat().st_size}
        open_to_readers(folder)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = Manifest(draft.kind, draft.config, draft.inputs, metrics, files, created=created)
        write_json(folder / MANIFEST, asdict(manifest))
        sync_all(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    put(folder, into)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Raises ArtifactError when there is none, it is not JSON, or it is of another schema."""
    path = folder / MANIFEST
    try:
        values = read_json(path)
    except FileNotFoundError:
        raise ArtifactError(MANIFEST, "a published artifact has one; train again", place=str(folder)) from None
    except (ValueError, OSError) as error:
        raise ArtifactError(MANIFEST, f"readable JSON ({error})", place=str(folder)) from error
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        received = values.get("schema") if isinstance(values, dict) else values
        raise ArtifactError("schema", f"{SCHEMA}; train again with this version", place=str(path), received=received)
    if wrong := misfit(values, _KINDS) or _misfit_of_tables(values):
        raise ArtifactError(MANIFEST, f"the fields of a manifest ({wrong})", place=str(path))
    return Manifest(**values)


def misfit(values: object, kinds: Mapping[str, type]) -> str:
    """What keeps a JSON value from being an object of just these fields, each of its type (`true` is no int), "" when
    nothing does."""
    if not isinstance(values, dict):
        return f"{values!r} is no object"
    for name in sorted(kinds.keys() ^ values.keys()):
        return f"{name} is {'unknown' if name in values else 'missing'}"
    return next((f"{name} is no {kind.__name__}" for name, kind in kinds.items() if type(values[name]) is not kind), "")


def _misfit_of_tables(values: Mapping[str, Any]) -> str:
    if not all(isinstance(digest, str) for digest in values["inputs"].values()):
        return "inputs are digests"
    for name, about in values["files"].items():
        if wrong := misfit(about, {"sha256": str, "size": int}):
            return f"{name}: {wrong}"
    try:
        datetime.fromisoformat(values["created"])
    except ValueError:
        return "created is no moment"
    return ""


def open_artifact(folder: Path, kind: str) -> Manifest:
    """Check kind, names, sizes and digests of everything in the folder before anyone reads it.

    Raises ArtifactError naming the file that differs.
    """
    manifest = read_manifest(folder)
    if manifest.kind != kind:
        raise ArtifactError("kind", f"an artifact of kind {kind}", place=str(folder), received=manifest.kind)
    verify_names(folder, manifest)
    verify_files(folder, manifest)
    return manifest


def verify_names(folder: Path, manifest: Manifest) -> None:
    """Check that the folder holds what the manifest lists, and nothing else. Raises ArtifactError."""
    if out := [name for name in manifest.files if name.startswith("/") or ".." in name.split("/")]:
        raise ArtifactError(out[0], "a file inside the artifact", place=str(folder))
    with readable(folder):
        there = set(files_in(folder))
        locks = {name for name in there if _LOCK.fullmatch(name) and not (folder / name).stat().st_size}
    if missing := manifest.files.keys() - there:
        expected = "a file the manifest lists, and no link; copy the whole artifact again"
        raise ArtifactError(min(missing), expected, place=str(folder))
    if surplus := there - manifest.files.keys() - locks - {MANIFEST}:
        raise ArtifactError(min(surplus), "no file but those the manifest lists; remove it", place=str(folder))


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Check that the files of a folder whose names are right are what was published, byte by byte. Raises
    ArtifactError."""
    with readable(folder):
        for name, about in manifest.files.items():
            path = folder / name
            if path.stat().st_size != about["size"]:
                raise ArtifactError(name, f"{about['size']} bytes", place=str(folder), received=path.stat().st_size)
            if sha256(path) != about["sha256"]:
                raise ArtifactError(name, "the content that was published (SHA-256 differs)", place=str(folder))


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """What is read in here is read, or refused as an artifact that cannot be."""
    try:
        yield
    except OSError as error:
        expected = f"files that this user can read ({error.strerror})"
        raise ArtifactError(str(error.filename or "files"), expected, place=str(folder)) from error
