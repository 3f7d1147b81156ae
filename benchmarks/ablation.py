"""What each group of features is worth: the ranker trained without it, on simulated worlds, by true NDCG@10.

    python -m benchmarks.ablation --out runs/stages base:1 [--sample 1500] [--side valid]

The rest of the cascade stays as it is. Uses the worlds that `benchmarks.stages` made, or makes them.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pipeline.threads import configure_threads

configure_threads(2)

from benchmarks.stages import Measured, measure, prepared, report  # noqa: E402
from serving.assembly import Parts  # noqa: E402
from serving.engine import Engine  # noqa: E402
from serving.jobs import train  # noqa: E402

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "windows and decay": ("ctr_?*", "log_shown_*", "log_clicks_*", "trend*"),
    "query": ("query_*",),
    "match of words": ("title_*", "text_*", "brand_match*", "category_match*"),
    "segment": ("segment_*", "region_match"),
    "tastes": ("taste_*", "log_actions"),
    "past": ("past_*", "last_*", "times_before", "log_hours_since*", "usual_dearness", "*_distance"),
    "facts and price": ("log_price", "relative_price", "price_place", "kind", "sponsored", "has_text", "log_age_hours"),
    "seed": ("seed_*",),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("worlds", nargs="+", metavar="WORLD:SEED")
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--sample", type=int, default=1_500)
    arguments.add_argument("--side", default="valid")
    given = arguments.parse_args()
    found: dict[str, list[Measured]] = {}
    for spec in given.worlds:
        world, _, seed = spec.rpartition(":")
        folder = given.out / spec.replace("/", "_").replace("#", "_")
        engine = prepared(world, int(seed), folder, None)
        rankers = {name: without(folder, patterns) for name, patterns in GROUPS.items()}
        variants = {"all features": lambda parts: parts} | {
            f"without {name}": lambda parts, other=other: replace(parts, ranker=other.ranker)
            for name, other in rankers.items()
        }
        for mode, measured in measure(engine, folder, given.side, given.sample, variants).items():
            found.setdefault(mode, []).append(measured)
    for mode, worlds in found.items():
        report(mode, worlds)


def without(folder: Path, patterns: tuple[str, ...]) -> Parts:
    """The parts of a bundle whose ranker was not given these features."""
    with TemporaryDirectory() as scratch:
        config = Path(scratch) / "podium.toml"
        listed = ", ".join(f'"{pattern}"' for pattern in patterns)
        config.write_text(f"[features]\nforbidden = [{listed}]\n", encoding="utf-8")
        done = train(
            folder / "split/train", folder / "bundles", config=config, stages=("retrieval", "suggest", "ranking")
        )
    return Engine(folder / "bundles" / done.bundle).parts


if __name__ == "__main__":
    main()
