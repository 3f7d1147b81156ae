"""What a job publishes: files with a passport, all of it or none.

Artifacts are untrusted when read: sizes and SHA-256 are checked, names may not leave the folder, and no
format that runs code on loading is ever used.
"""

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from pipeline.errors import ArtifactError
from pipeline.folders import make_folder, put, sync, sync_all

SCHEMA = 1
CODE_VERSION = "0.1.0"
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """kind: who can read it (`retrieval.lexical`); config: what it was built with; inputs: name -> digest of
    what it was built from; metrics: held-out numbers, those that could be measured; files: relative name -> {sha256,
    size in bytes}."""

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


def write_json(path: Path, value: object) -> None:
    """Write beside and rename, synced: a reader sees the old file or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(finite(value), stream, indent=1, sort_keys=True, allow_nan=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync(path.parent)


def publish(into: Path, draft: Draft, write: Callable[[Path], Mapping[str, float] | None]) -> Manifest:
    """Let `write` fill a draft folder, then rename it to `into`: all of it or none.

    `write` may return held-out metrics. An artifact that is already there is replaced only after the new one is whole.
    """
    make_folder(into.parent)
    folder = Path(tempfile.mkdtemp(dir=into.parent, prefix=f".draft-{into.name}-"))
    try:
        metrics = {**draft.metrics, **(write(folder) or {})}
        metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
        files = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            files[path.relative_to(folder).as_posix()] = {"sha256": sha256(path), "size": path.stat().st_size}
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
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(MANIFEST, "a published artifact has one; train again", place=str(folder)) from None
    except (ValueError, OSError) as error:
        raise ArtifactError(MANIFEST, f"readable JSON ({error})", place=str(folder)) from error
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        received = values.get("schema") if isinstance(values, dict) else values
        raise ArtifactError("schema", f"{SCHEMA}; train again with this version", place=str(path), received=received)
    try:
        manifest = Manifest(**values)
        tables = (manifest.files, manifest.inputs, *dict(manifest.files).values())
        if not all(isinstance(table, dict) for table in tables):
            raise TypeError("files and inputs must be objects")
        if lacking := [name for name, about in manifest.files.items() if not {"sha256", "size"} <= about.keys()]:
            raise TypeError(f"{lacking[0]} has no digest")
    except (TypeError, ValueError) as error:
        raise ArtifactError(MANIFEST, f"the fields of a manifest ({error})", place=str(path)) from error
    return manifest


def open_artifact(folder: Path, kind: str) -> Manifest:
    """Check kind, names, sizes and digests of everything in the folder before anyone reads it.

    Raises ArtifactError naming the file that differs.
    """
    manifest = read_manifest(folder)
    if manifest.kind != kind:
        raise ArtifactError("kind", f"an artifact of kind {kind}", place=str(folder), received=manifest.kind)
    verify_files(folder, manifest)
    return manifest


def verify_files(folder: Path, manifest: Manifest) -> None:
    for name, about in manifest.files.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ArtifactError(name, "a file inside the artifact", place=str(folder))
        path = folder / name
        if not path.is_file() or path.is_symlink():
            raise ArtifactError(name, "a file the manifest lists; copy the whole artifact again", place=str(folder))
        if path.stat().st_size != about["size"]:
            raise ArtifactError(name, f"{about['size']} bytes", place=str(folder), received=path.stat().st_size)
        if sha256(path) != about["sha256"]:
            raise ArtifactError(name, "the content that was published (SHA-256 differs)", place=str(folder))
