"""What is kept of what was trained: the newest bundles, the one that serves and the one to go back to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts import MANIFEST, read_manifest
from pipeline.bundle import BUNDLE, CURRENT, PREVIOUS, Bundle, listed
from pipeline.errors import ArtifactError, InputError
from pipeline.folders import discard


@dataclass(frozen=True, slots=True)
class Pruned:
    """Names of what was removed; artifacts: parts that no kept bundle was made of; broken: bundles that stay as they
    are, and why."""

    bundles: tuple[str, ...]
    artifacts: tuple[str, ...]
    broken: Mapping[str, str]


def prune(root: Path, keep: int) -> Pruned:
    """Remove all but the `keep` bundles of the latest cutoff, `current` and `previous`, then the artifacts of none.

    Nobody may train into `root` meanwhile. What cannot be read is left where it is: it is for a person to look at.
    Raises InputError when `keep` is below 1.
    """
    if keep < 1:
        raise InputError("keep", "at least 1 bundle", received=keep)
    pointed = {link.resolve().name for link in (root / CURRENT, root / PREVIOUS) if link.is_symlink()}
    found = listed(root)
    known = sorted(found.bundles, key=lambda bundle: (bundle.cutoff, _made(bundle)), reverse=True)
    gone = [bundle for place, bundle in enumerate(known) if place >= keep and bundle.id not in pointed]
    for bundle in gone:
        # Renamed first, so that a bundle is there whole or not at all.
        grave = root / f".draft-{bundle.id}"
        bundle.root.replace(grave)
        discard(grave)
    removed = {bundle.id for bundle in gone}
    held = {digest for bundle in known if bundle.id not in removed for digest in bundle.parts.values()}
    unused = [path.parent for path in sorted(root.glob(f"artifacts/*/{MANIFEST}")) if _digest(path.parent) not in held]
    unused = [folder for folder in unused if _digest(folder) is not None]
    for folder in unused:
        grave = folder.with_name(f".draft-{folder.name}")
        folder.replace(grave)
        discard(grave)
    return Pruned(tuple(sorted(removed)), tuple(folder.name for folder in unused), found.broken)


def _made(bundle: Bundle) -> int:
    return (bundle.root / BUNDLE).stat().st_mtime_ns


def _digest(folder: Path) -> str | None:
    try:
        return read_manifest(folder).digest
    except ArtifactError:
        return None
