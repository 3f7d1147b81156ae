"""The smallest real bundles, for tests that ask nothing of one but that it is a bundle."""

from pathlib import Path

from pipeline.artifacts import Draft, publish
from pipeline.bundle import Bundle, Taken, bind


def make_bundle(root: Path, cutoff: int, stored: Taken | None = None) -> Bundle:
    """A bundle of two parts of one small file each under the bundles root `root`, cut off at `cutoff` (ms)."""
    parts = {name: root / "artifacts" / name for name in ("catalogue", "features")}
    for name, folder in parts.items():
        if not folder.exists():
            publish(folder, Draft(name, {}, {}), lambda draft: (draft / "content").write_text("the same") and None)
    return bind(root, parts, cutoff, stored)


def spoil(folder: Path) -> Path:
    """Change one byte of a bundle, and of it alone: its files are other bundles' too, by hard links."""
    path = folder / "features" / "content"
    changed = path.read_text().swapcase()
    path.unlink()
    path.write_text(changed)
    return folder
