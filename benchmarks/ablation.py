"""What each group of features, and the correction for places, is worth: the ranker without it, by true NDCG@10.

    python -m benchmarks.ablation --out runs/stages base:1 [--sample 1500] [--side valid]

On simulated worlds, those that `benchmarks.stages` made, or makes them. The rest of the cascade stays as it is.
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

# Without the smoothed rates of the windows, which a ranker falls back on and cannot be without.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "windows and decay": ("log_shown_*", "log_clicks_*", "trend*", "ctr_decayed_*"),
    "query": ("query_ctr", "query_log_*"),
    "match of words": (
        "title_*",
        "text_*",
        "*_idf_share",
        "*_in_title",
        "first_place",
        "last_place",
        "*clos*",
        "letters_*",
    ),
    "segment": ("segment_*", "region_match"),
    "tastes": ("taste_*", "log_actions", "log_hours_since_category_*", "log_hours_since_brand"),
    "past": ("past_*", "last_likeness", "last_same_categories", "times_before", "log_hours_since_last"),
    "price": ("log_price", "relative_price", "price_place*", "usual_dearness", "dearness_distance"),
    "facts and age": ("kind", "sponsored", "has_text", "log_age_hours", "log_hours_known"),
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
        rankers = {name: trained(folder, forbidding(patterns)) for name, patterns in GROUPS.items()}
        rankers["correction for places"] = trained(folder, '[ranking]\nposition_bias = "none"\n')
        variants = {"all features": lambda parts: parts} | {
            f"without {name}": lambda parts, other=other: replace(parts, ranker=other.ranker)
            for name, other in rankers.items()
        }
        for mode, measured in measure(engine, folder, given.side, given.sample, variants).items():
            found.setdefault(mode, []).append(measured)
    for mode, worlds in found.items():
        report(mode, worlds)


def forbidding(patterns: tuple[str, ...]) -> str:
    listed = ", ".join(f'"{pattern}"' for pattern in patterns)
    return f"[features]\nforbidden = [{listed}]\n"


def trained(folder: Path, settings: str) -> Parts:
    """The parts of a bundle whose ranker was trained under these settings."""
    with TemporaryDirectory() as scratch:
        config = Path(scratch) / "podium.toml"
        config.write_text(settings, encoding="utf-8")
        stages = ("retrieval", "suggest", "ranking")
        done = train(folder / "split/train", folder / "bundles", config=config, stages=stages)
    return Engine(folder / "bundles" / done.bundle).parts


if __name__ == "__main__":
    main()
