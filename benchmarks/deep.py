"""The deep ranker against boosted trees: the same rows, features and offsets; order, probabilities, seconds, latency.

    python -m benchmarks.deep --logs demo/split/train [--seeds 3] [--most-rows 800000]

Requests in order of time: the earlier ones are learned from, one part of the latest stops both, the other is
reported on. NDCG@10 counts each gain over the examination of its place. The interval is that of a paired bootstrap
over requests.
"""

import argparse
from pathlib import Path
from time import perf_counter

from pipeline.threads import configure_threads

configure_threads(2)

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from benchmarks.kernel import reference_seconds  # noqa: E402
from pipeline.catalogue import build_catalogue  # noqa: E402
from pipeline.features.fitted import fit_features  # noqa: E402
from pipeline.features.plain import FeatureSet  # noqa: E402
from pipeline.logs.attribution import AttributionConfig  # noqa: E402
from pipeline.logs.read import Log  # noqa: E402
from pipeline.metrics.binary import auc, grouped_auc, log_loss  # noqa: E402
from pipeline.metrics.clicks.explored import examination  # noqa: E402
from pipeline.metrics.ranking import ndcg  # noqa: E402
from pipeline.metrics.statistics.compare import paired_bootstrap  # noqa: E402
from pipeline.state import State, initial_state  # noqa: E402
from ranking.boosted import Examples, train  # noqa: E402
from ranking.calibration import platt, sigmoid  # noqa: E402
from ranking.clicks import place_offset, place_ratios  # noqa: E402
from ranking.config import RankingConfig  # noqa: E402
from ranking.dataset import shown_rows  # noqa: E402
from ranking.deep_train import Labelled, train_deep  # noqa: E402
from ranking.inputs import Inputs, Scorer  # noqa: E402
from ranking.parts import Parts  # noqa: E402
from ranking.rows import Rows  # noqa: E402
from ranking.scorers import Trees  # noqa: E402

CANDIDATES = 500
CALLS, WARM = 400, 50
Floats = NDArray[np.float64]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--logs", type=Path, required=True, help="a log of pages, such as split/train")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--most-rows", type=int, default=800_000)
    arguments.add_argument("--device", default="auto")
    given = arguments.parse_args()
    config = RankingConfig.model_validate({})
    log = Log.open(given.logs)
    state = state_of(log)
    features = FeatureSet.of(fit_features(state))
    rows = shown_rows(log, state, features, gains=config.gains, most_rows=given.most_rows)
    groups = np.column_stack([state.catalogue.category, state.catalogue.brand])
    parts = Parts.of(rows, config.latest_share)
    sizes = ", ".join(f"{len(part.grade):,}" for part in (parts.learn, parts.choose, parts.report))
    print(f"rows to learn, choose, report: {sizes}; {rows.features.shape[1]} features; {len(groups):,} items")
    print(f"reference kernel {reference_seconds() * 1e3:.1f} ms")
    ratios = place_ratios(parts.learn)
    trees = trees_of(parts, ratios, config)
    baseline = report("trees", trees, parts, ratios)
    found = []
    for seed in range(given.seeds):
        started = perf_counter()
        known, held_out = (labelled(part, ratios) for part in (parts.learn, parts.choose))
        net = train_deep(known, held_out, groups, config=config.deep, seed=seed, device=given.device)
        seconds = perf_counter() - started
        passed = len(parts.learn.grade) * len(net.about.held_out) / seconds
        losses = ", ".join(f"{loss:.5f}" for loss in net.about.held_out)
        print(f"deep, seed {seed}: {seconds:.0f} s, {passed:,.0f} rows/s; epoch {net.about.epoch} of {losses}")
        found.append(report(f"deep, seed {seed}", net, parts, ratios))
        compare(f"deep, seed {seed}, over trees", found[-1], baseline)
    compare("deep, mean of the seeds, over trees", np.mean(found, axis=0), baseline)
    latency("trees", trees, parts.report.inputs)
    latency("deep", net, parts.report.inputs)
    print(f"reference kernel afterwards {reference_seconds() * 1e3:.1f} ms")


def state_of(log: Log) -> State:
    frames = {kind: log.everything().frame(kind) for kind in ("item", "impression", "feedback")}
    shown = frames["impression"]["items"].explode().struct.field("item_id")
    catalogue = build_catalogue(frames["item"], pl.concat([shown, frames["feedback"]["item_id"]]).drop_nulls())
    return initial_state(log.clock, catalogue, AttributionConfig().gains).advance(frames)


def labelled(rows: Rows, ratios: Floats) -> Labelled:
    convert = np.where(rows.later.mature, rows.later.converted.astype(np.float64), np.nan)
    return Labelled(rows.inputs, rows.clicked, convert, place_offset(rows, rows.clicked, ratios))


def trees_of(parts: Parts, ratios: Floats, config: RankingConfig) -> Trees:
    started = perf_counter()
    learn, choose = (
        Examples(part.features, part.clicked, offset=place_offset(part, part.clicked, ratios))
        for part in (parts.learn, parts.choose)
    )
    click = train(learn, choose, config=config, seed=0)
    print(f"trees: {perf_counter() - started:.0f} s, {click.booster.num_trees()} of them, of clicks alone")
    return Trees(click)


def report(name: str, scorer: Scorer, parts: Parts, ratios: Floats) -> Floats:
    """Print what the last part says; NDCG@10 of each request `[R]`."""
    rows = parts.report
    raw, convert = scorer.raw(rows.inputs, 2)
    # The place is given to the probabilities and kept from the order; the level is what the part to choose by says.
    chosen = scorer.raw(parts.choose.inputs, 2)[0] + placed(parts.choose, ratios)
    slope, intercept = platt(chosen, parts.choose.clicked)
    p = sigmoid(slope * (raw + placed(rows, ratios)) + intercept)
    gains = ndcgs(rows, raw, ratios)
    area, grouped = auc(rows.clicked, raw), grouped_auc(rows.clicked, raw, rows.request)
    line = (
        f"NDCG@10 {np.nanmean(gains):.4f}  AUC {area:.4f}  gAUC {grouped:.4f}  log loss {log_loss(rows.clicked, p):.5f}"
    )
    told = (rows.grade > 0) & rows.later.mature
    if told.any() and not np.isnan(convert).any():
        line += f"  AUC of conversions {auc(rows.later.converted[told].astype(np.float64), convert[told]):.4f}"
    print(f"{name:<14} {line}")
    return gains


def placed(rows: Rows, ratios: Floats) -> Floats:
    return np.log(examination(ratios, rows.placed.position))


def ndcgs(rows: Rows, score: Floats, ratios: Floats) -> Floats:
    """`[R]`, nan without a positive."""
    sizes = np.bincount(rows.request, minlength=rows.requests)
    mask = np.arange(int(sizes.max())) < sizes[:, None]
    gains, scores = np.zeros(mask.shape), np.zeros(mask.shape)
    gains[mask] = rows.grade / examination(ratios, rows.placed.position)
    scores[mask] = score
    return ndcg(gains, scores, mask, 10, ties="expected")


def compare(name: str, one: Floats, other: Floats) -> None:
    found = paired_bootstrap(one, other, 0)
    print(
        f"{name}: NDCG@10 {found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]  p {found.p_value:.3f}  n {found.n}"
    )


def latency(name: str, scorer: Scorer, rows: Inputs) -> None:
    """One request of 500 candidates on one thread, of whom is known the longest history there is."""
    busy = int((rows.history >= 0).sum(axis=1).argmax())
    place = np.resize(np.arange(len(rows)), (CALLS + WARM, CANDIDATES))
    history, request = rows.history[[busy]], np.zeros(CANDIDATES, dtype=np.int64)
    ms = []
    for which in place:
        inputs = Inputs(rows.features[which], rows.item[which], request, history)
        started = perf_counter()
        scorer.raw(inputs, 1)
        ms.append((perf_counter() - started) * 1e3)
    p50, p99 = np.percentile(ms[WARM:], [50, 99])
    print(f"{name:<14} {CANDIDATES} candidates, one thread: p50 {p50:.2f} ms  p99 {p99:.2f} ms  n={CALLS}")


if __name__ == "__main__":
    main()
