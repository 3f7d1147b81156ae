"""A simulated market taken through the main job, for tests that need a trained bundle."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.logs.ingest import ingest
from pipeline.logs.split import split
from pipeline.market.simulate import simulate
from pipeline.market.world import load_world
from serving.jobs import train


@dataclass(frozen=True)
class Shop:
    """A simulated market taken through the main job: `log`, `split/{train,valid,test}`, `bundles`, `truth`."""

    root: Path

    @property
    def bundles(self) -> Path:
        return self.root / "bundles"

    @property
    def test(self) -> Path:
        return self.root / "split/test"


def make_shop(root: Path, world: str, config: Path | None = None) -> Shop:
    simulate(load_world(world, {}, None), root)
    ingest("podium", [root / "events"], root / "log")
    split(root / "log", root / "split", gap_ms=3 * 3_600_000)
    train(root / "split/train", root / "bundles", config=config)
    return Shop(root)
