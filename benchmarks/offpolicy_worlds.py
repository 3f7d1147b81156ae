"""Self-preference: a log of the worse ranking A is asked which of A and the better B is better.

One world: every request has 20 items whose chance to be clicked when looked at is Beta(0.4, 2); A and B order them by
it plus normal noise of 0.26 and 0.16; a place is looked at with 1/rank or 1/sqrt(rank). Requests are drawn anew in
each replication; the truth is the mean over the requests of all of them, so an interval is to cover it in 95 of 100.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.offpolicy import rankings
from pipeline.metrics.offpolicy.estimate import Contrast, Estimate, contrast, estimate
from pipeline.metrics.offpolicy.intervals import resampled
from pipeline.metrics.offpolicy.logged import ExaminationTable, examination_table, examination_variance

Floats = NDArray[np.float64]
ITEMS, K = 20, 10
NOISE = {"A": 0.26, "B": 0.16}
LAWS: dict[str, Callable[[Floats], Floats]] = {"1/rank": lambda r: 1 / r, "1/sqrt(rank)": lambda r: 1 / np.sqrt(r)}
CLIPS = (5.0, 10.0)


@dataclass(frozen=True, slots=True)
class World:
    """One replication. relevance, click, each item's rank under A and B and as logged: `[R, 20]`; explored `[R]`."""

    relevance: Floats
    click: Floats
    ranks: dict[str, NDArray[np.int64]]
    logged: NDArray[np.int64]
    explored: NDArray[np.bool_]

    @property
    def mask(self) -> NDArray[np.bool_]:
        return np.ones(self.click.shape, dtype=np.bool_)


def draw(requests: int, law: str, explored: float, seed: int) -> World:
    """A log of A, `explored` of whose requests are shuffled."""
    rng = np.random.default_rng(seed)
    relevance = rng.beta(0.4, 2.0, (requests, ITEMS))
    scores = {name: relevance + noise * rng.normal(size=relevance.shape) for name, noise in NOISE.items()}
    ranks = {name: _ranks(score) for name, score in scores.items()}
    drawn = rng.random(requests) < explored
    logged = np.where(drawn[:, None], _ranks(rng.random(relevance.shape)), ranks["A"])
    examined = LAWS[law](np.arange(1.0, ITEMS + 1))[logged - 1]
    click = (rng.random(relevance.shape) < examined * relevance).astype(np.float64)
    return World(relevance, click, ranks, logged, drawn)


def _ranks(score: Floats) -> NDArray[np.int64]:
    order = np.argsort(-score, axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, score.shape[1] + 1)[None, :], axis=1)
    return ranks


class Tally:
    """What the replications found: means of numbers, and how often an interval held the truth of its quantity."""

    def __init__(self) -> None:
        self.numbers: dict[str, list[float]] = defaultdict(list)
        self.intervals: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)

    def note(self, name: str, value: float) -> None:
        self.numbers[name].append(float(value))

    def hold(self, quantity: str, method: str, found: Estimate | Contrast | tuple[float, float]) -> None:
        ends = found if isinstance(found, tuple) else (found.low, found.high)
        self.intervals[quantity, method].append(ends)

    def mean(self, name: str) -> float:
        return float(np.mean(self.numbers[name]))

    def covered(self, quantity: str, method: str, truth: float) -> float:
        ends = np.array(self.intervals[quantity, method])
        return float(np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])))

    def width(self, quantity: str, method: str) -> float:
        ends = np.array(self.intervals[quantity, method])
        return float(np.mean(ends[:, 1] - ends[:, 0]))


def known_examination(law: str, requests: int, replications: int, say: Callable[[str], None]) -> None:
    """Naive NDCG against IPS-DCG, and how often each interval covers, with the examination known."""
    tally = Tally()
    for seed in range(replications):
        _one_known(draw(requests, law, 0.0, seed), law, seed, tally)
    say(f"\nexamination {law}, known; {replications} replications of {requests} requests with {ITEMS} items")
    truth = {name: tally.mean(f"true {name}") for name in ("A", "B")}
    say(f"  true NDCG@10   A {tally.mean('ndcg A'):.3f}  B {tally.mean('ndcg B'):.3f}")
    say(f"  true DCG@10    A {truth['A']:.4f}  B {truth['B']:.4f}")
    for name in ("naive", "per-request normalised IPS", "IPS", "SNIPS", *(f"IPS clipped at {c:g}" for c in CLIPS)):
        won = np.mean(np.array(tally.numbers[f"{name} B"]) > np.array(tally.numbers[f"{name} A"]))
        means = f"A {tally.mean(f'{name} A'):.4f}  B {tally.mean(f'{name} B'):.4f}"
        say(f"  {name:<28}{means}  prefers B in {won:.1%} of the replications")
    share = tally.mean("true B") / tally.mean("mass")
    for quantity, value in (("DCG of B", truth["B"]), ("difference B - A", truth["B"] - truth["A"]), ("SNIPS", share)):
        for method in ("t", "bootstrap"):
            inside, width = tally.covered(quantity, method, value), tally.width(quantity, method)
            say(f"  {quantity:<18}{method:<10} truth {value:.4f} inside {inside:.1%}, mean width {width:.4f}")


def _one_known(world: World, law: str, seed: int, tally: Tally) -> None:
    mask, clicks = world.mask, world.click
    examined = LAWS[law](np.arange(1.0, ITEMS + 1))[world.logged - 1]
    weight = rankings.inverse_weights(examined, mask)
    mass = rankings.relevance_mass(clicks, weight, mask)
    tally.note("mass", world.relevance.sum(axis=1).mean())
    best = -np.sort(-world.relevance, axis=1) @ rankings.discount(np.arange(1, ITEMS + 1), K)
    ideal = -np.sort(-clicks * weight, axis=1) @ rankings.discount(np.arange(1, ITEMS + 1), K)
    values = {}
    for name, rank in world.ranks.items():
        true = (world.relevance * rankings.discount(rank, K)).sum(axis=1)
        values[name] = rankings.ips_dcg(clicks, weight, rank, mask, K)
        tally.note(f"true {name}", true.mean())
        tally.note(f"ndcg {name}", (true / best).mean())
        tally.note(f"naive {name}", float(np.nanmean(rankings.click_ndcg(clicks, rank, mask, K))))
        tally.note(f"per-request normalised IPS {name}", (values[name][ideal > 0] / ideal[ideal > 0]).mean())
        tally.note(f"IPS {name}", values[name].mean())
        tally.note(f"SNIPS {name}", values[name].sum() / mass.sum())
        for clip in CLIPS:
            cut = rankings.inverse_weights(examined, mask, clip)
            tally.note(f"IPS clipped at {clip:g} {name}", rankings.ips_dcg(clicks, cut, rank, mask, K).mean())
    ones, carried = np.ones(len(mass)), weight[clicks > 0]
    a, b = values["A"], values["B"]
    tally.hold("DCG of B", "t", estimate([(b, ones)], carried))
    tally.hold("difference B - A", "t", contrast([(b, ones)], [(a, ones)], carried))
    tally.hold("SNIPS", "t", estimate([(b, mass)], carried))
    sums = resampled(np.stack([a, b, mass], axis=1), seed)
    drawn = {
        "DCG of B": sums[:, 1] / len(mass),
        "difference B - A": (sums[:, 1] - sums[:, 0]) / len(mass),
        "SNIPS": sums[:, 1] / sums[:, 2],
    }
    for quantity, each in drawn.items():
        low, high = np.quantile(each, [0.025, 0.975])
        tally.hold(quantity, "bootstrap", (float(low), float(high)))


def estimated_examination(
    law: str, requests: int, explored: float, replications: int, say: Callable[[str], None]
) -> None:
    """The same with the examination read off the shuffled requests of the log, its own error counted or not."""
    tally = Tally()
    for seed in range(replications):
        _one_estimated(draw(requests, law, explored, seed), tally)
    log = f"{explored:.0%} shuffled of {requests} requests"
    say(f"\nexamination {law}, estimated from {log}; {replications} replications")
    truth = {name: tally.mean(f"true {name}") for name in ("A", "B")}
    won = np.mean(np.array(tally.numbers["IPS B"]) > np.array(tally.numbers["IPS A"]))
    say("  IPS  " + "  ".join(f"{name} {tally.mean(f'IPS {name}'):.4f} (true {truth[name]:.4f})" for name in truth))
    claims = "  ".join(f"{name} {tally.mean(f'slice {name}'):.1%}" for name in truth)
    say(f"  prefers B in {won:.1%}; the shuffled requests alone claim {claims}")
    for quantity, value in (("DCG of B", truth["B"]), ("difference B - A", truth["B"] - truth["A"])):
        for method in ("its error ignored", "its error counted"):
            inside, width = tally.covered(quantity, method, value), tally.width(quantity, method)
            say(f"  {quantity:<18}{method:<19} truth {value:.4f} inside {inside:.1%}, mean width {width:.4f}")


def read_off(world: World) -> ExaminationTable:
    """Click rates of the shuffled requests over that of rank 1, with the interval of a ratio of proportions."""
    logged, clicked = world.logged[world.explored], world.click[world.explored]
    count = np.bincount(logged.ravel() - 1, weights=clicked.ravel(), minlength=ITEMS)
    rate = count / len(logged)
    ratio = rate / rate[0]
    error = ratio * np.sqrt((1 - rate) / count + (1 - rate[0]) / count[0])
    error[0] = 0.0
    return examination_table([(ratio, ratio - 1.96 * error, ratio + 1.96 * error)], ("",))


def _one_estimated(world: World, tally: Tally) -> None:
    mask, clicks = world.mask, world.click
    table = read_off(world)
    weight = rankings.inverse_weights(table.p[0][world.logged - 1], mask)
    cells, values = {}, {}
    for name, rank in world.ranks.items():
        tally.note(f"true {name}", (world.relevance * rankings.discount(rank, K)).sum(axis=1).mean())
        cells[name] = clicks * weight * rankings.discount(rank, K) / len(clicks)
        values[name] = cells[name].sum(axis=1) * len(clicks)
        tally.note(f"IPS {name}", values[name].mean())
    ones, carried, place = np.ones(len(clicks)), weight[clicks > 0], world.logged - 1
    own = examination_variance(cells["B"], place, table)
    both = examination_variance(cells["B"] - cells["A"], place, table)
    b, a = [(values["B"], ones)], [(values["A"], ones)]
    for method, more in (("its error ignored", (0.0, 0.0)), ("its error counted", (own, both))):
        tally.hold("DCG of B", method, estimate(b, carried, variance=more[0]))
        tally.hold("difference B - A", method, contrast(b, a, carried, variance=more[1]))
    drawn = world.explored
    plain = [(clicks * rankings.discount(world.ranks[name], K)).sum(axis=1)[drawn] for name in ("B", "A")]
    found = contrast([(plain[0], ones[drawn])], [(plain[1], ones[drawn])], np.ones(int(clicks[drawn].sum())))
    tally.note("slice B", found.sign > 0)
    tally.note("slice A", found.sign < 0)
