"""Two real policies, each judged from the other's log (see `benchmarks.offpolicy`): the Open Bandit data.

`random` shows every item with 1 / items. `bts` (Bernoulli Thompson sampling) does not look at who asks, but its
probabilities move with time, and those for what it did not show are not in the data: its share of shows of each item at
each place of its own log stands for them, an average over time. (The mean of the logged propensities of an item's rows
would be too large: a row is there because its propensity was high. They add up to 1.7 to 3.8 a place, not to 1.)
From bts's log the weights use either the logged propensity of the moment or that same average.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.metrics.offpolicy import actions
from pipeline.metrics.offpolicy.estimate import Estimate, effective_size, plain_mean
from pipeline.metrics.offpolicy.matching import replay

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CAMPAIGNS, PLACES, FOLDS, PRIOR = ("all", "men", "women"), 3, 5, 100.0


@dataclass(frozen=True, slots=True)
class Rows:
    """One policy's log: item, place (0-based), click and logged propensity `[n]`; items: how many there are."""

    item: Ints
    place: Ints
    click: Floats
    propensity: Floats
    items: int

    @property
    def shares(self) -> Floats:
        """Share of shows `[items, 3]` of each item at each place."""
        count = np.bincount(self.item * PLACES + self.place, minlength=self.items * PLACES).reshape(-1, PLACES)
        return np.asarray(count / count.sum(axis=0), dtype=np.float64)


def read(data: Path, campaign: str) -> dict[str, Rows]:
    """Each policy's rows, in order of time."""
    table = pl.read_parquet(data / f"{campaign}.parquet").sort("timestamp")
    items = int(table["item_id"].cast(pl.Int64).to_numpy().max()) + 1
    found = {}
    for policy in ("random", "bts"):
        own = table.filter(pl.col("behavior_policy") == policy)
        item, place = own["item_id"].to_numpy().astype(np.int64), own["position"].to_numpy().astype(np.int64) - 1
        click, propensity = own["click"].to_numpy().astype(np.float64), own["propensity_score"].to_numpy()
        found[policy] = Rows(item, place, click, propensity.astype(np.float64), items)
    return found


def model(log: Rows) -> Floats:
    """Click rate `[n, items]` of each item for each row, from the other four fifths of the log, drawn to the mean as by
    100 shows."""
    fold = np.arange(len(log.item)) * FOLDS // len(log.item)
    rates = np.empty((FOLDS, log.items))
    for each in range(FOLDS):
        rest = fold != each
        clicks = np.bincount(log.item[rest], log.click[rest], log.items)
        shows = np.bincount(log.item[rest], minlength=log.items)
        rates[each] = (clicks + PRIOR * log.click[rest].mean()) / (shows + PRIOR)
    return rates[fold]


def estimates(log: Rows, target: Floats, propensity: Floats) -> dict[str, Estimate]:
    """The value of a policy with probabilities `target` `[items, 3]` from the log."""
    chosen, q = target[log.item, log.place], model(log)
    expected = (q * target.T[log.place]).sum(axis=1)
    given = (log.click, chosen, propensity)
    modelled = (expected, q[np.arange(len(q)), log.item])
    return {
        "IPS": actions.ips(*given),
        "IPS, bootstrap": actions.ips(*given, interval="bootstrap"),
        "SNIPS": actions.snips(*given),
        "DM": actions.direct(expected),
        "DR": actions.dr(*given, *modelled),
        "SNDR": actions.sndr(*given, *modelled),
        "switch-DR at 10": actions.switch_dr(*given, *modelled, 10.0),
        "IPS clipped at 10": actions.ips(*given, clip=10.0),
    }


def run(data: Path, *, with_obp: bool, say: Callable[[str], None]) -> None:
    """Every campaign, both ways."""
    for campaign in CAMPAIGNS:
        logs = read(data, campaign)
        bts, random = logs["bts"], logs["random"]
        uniform = np.full((random.items, PLACES), 1.0 / random.items)
        sums = [float(np.bincount(bts.item[bts.place == 0], bts.propensity[bts.place == 0]).sum())]
        say(f"\n{campaign}: {random.items} items, {len(bts.item)} shows a policy (propensity of bts, place 1: mean")
        say(f"  {sums[0] / (bts.place == 0).sum():.3f}, least {bts.propensity.min():.1e})")
        ways = (
            ("bts from random's log", random, bts, bts.shares, random.propensity),
            ("random from bts's log, logged propensity", bts, random, uniform, bts.propensity),
            ("random from bts's log, average propensity", bts, random, uniform, bts.shares[bts.item, bts.place]),
        )
        for title, log, own, target, propensity in ways:
            _one(title, log, own, (target, propensity), with_obp=with_obp, say=say)


def _one(
    title: str, log: Rows, own: Rows, how: tuple[Floats, Floats], *, with_obp: bool, say: Callable[[str], None]
) -> None:
    target, propensity = how
    truth, there = plain_mean(own.click), plain_mean(log.click)
    weight = target[log.item, log.place] / propensity
    ess = f"ESS {effective_size(weight):.0f} of {len(weight)}, largest weight {weight.max():.1f}"
    say(f"  {title}: had {_rate(truth)} with {own.click.sum():.0f} clicks; the log's own rate {there.mean:.3%}; {ess}")
    for name, found in estimates(log, target, propensity).items():
        say(f"    {name:<19}{_line(found, truth)}")
    if title.startswith("bts"):
        drawn = np.random.default_rng(0).random(len(log.item))
        matched = drawn < target[log.item, log.place]
        kept = replay(log.click, matched, propensity)
        say(f"    {'replay':<19}{_line(kept.value, truth)}  kept {kept.kept} rows, {kept.share:.1%}")
    if with_obp:
        for name, found in obp_estimates(log, target, propensity).items():
            say(f"    obp {name:<15}{_line(found, truth)}")


def _line(found: Estimate, truth: Estimate) -> str:
    if found.refused is not None:
        return f"refused: {found.refused}"
    inside = "yes" if found.low <= truth.mean <= found.high else "NO"
    return f"{_rate(found)}  width {found.high - found.low:.3%}  truth inside: {inside}"


def _rate(found: Estimate) -> str:
    return f"{found.mean:.3%} [{found.low:.3%}, {found.high:.3%}]"


def obp_estimates(log: Rows, target: Floats, propensity: Floats) -> dict[str, Estimate]:
    """The same of the package `obp`: its estimators, its bootstrap of 1,000 draws, our model."""
    from obp import ope  # type: ignore[import-not-found]

    n = len(log.item)
    given: dict[str, Any] = {"reward": log.click, "action": log.item, "pscore": propensity, "position": log.place}
    given["action_dist"] = np.broadcast_to(target, (n, *target.shape))
    q = np.repeat(model(log)[:, :, None], PLACES, axis=2)
    makers = {
        "IPW": (ope.InverseProbabilityWeighting(), False),
        "SNIPW": (ope.SelfNormalizedInverseProbabilityWeighting(), False),
        "DR": (ope.DoublyRobust(), True),
        "SNDR": (ope.SelfNormalizedDoublyRobust(), True),
    }
    found = {}
    for name, (estimator, modelled) in makers.items():
        more = {"estimated_rewards_by_reg_model": q} if modelled else {}
        mean = float(estimator.estimate_policy_value(**given, **more))
        ends = estimator.estimate_interval(**given, **more, n_bootstrap_samples=1000, random_state=0)
        low, high = sorted(value for key, value in ends.items() if "CI" in key)
        found[name] = Estimate(mean, low, high, n, float("nan"), float("nan"))
    return found
