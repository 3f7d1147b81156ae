"""Off-policy value of a policy that chooses one action, from what another one's choices earned.

Conventions, the same for every function. n logged rows: reward `[n]`; propensity `[n]`, P(logged action) under the
logging policy; target `[n]`, P(logged action) under the evaluated one; expected `[n]`, the evaluated policy's mean of
a reward model, `sum_a target(a | x) q(x, a)`; predicted `[n]`, the model for the logged action, `q(x, a)`. The weight
is target / propensity. groups, interval, seed: as `estimate` takes them.

Every function raises InputError for a propensity that is missing, 0 or above 1, and refuses (an Estimate without a
number) when the effective number of the weights is below max(100, 1 % of n).
"""

from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.metrics.offpolicy.estimate import Estimate, IntervalKind, checked, estimate

Numbers = NDArray[Any]
Floats = NDArray[np.float64]


class Sampling(TypedDict, total=False):
    """How the interval is made."""

    groups: Numbers | None
    interval: IntervalKind
    seed: int


def action_weights(target: Numbers, propensity: Numbers) -> Floats:
    """target / propensity `[n]`. Raises InputError for a propensity that is missing, 0 or above 1, or a target outside
    [0, 1]."""
    wanted = np.asarray(target, dtype=np.float64)
    if bool((~((wanted >= 0) & (wanted <= 1))).any()):
        raise InputError("target", "probabilities from 0 to 1 of the logged actions under the evaluated policy")
    return wanted / checked(propensity)


def ips(
    reward: Numbers, target: Numbers, propensity: Numbers, clip: float | None = None, **sampling: Unpack[Sampling]
) -> Estimate:
    """`mean w r` (Horvitz & Thompson 1952). clip: weights are cut to it, which biases toward 0 (Ionides 2008)."""
    full = action_weights(target, propensity)
    weight = full if clip is None else np.minimum(full, clip)
    parts = [(weight * reward, np.ones(len(weight)))]
    return estimate(parts, weight, clipped_share=clipped_share(full, clip), **sampling)


def snips(
    reward: Numbers, target: Numbers, propensity: Numbers, clip: float | None = None, **sampling: Unpack[Sampling]
) -> Estimate:
    """`sum w r / sum w` (Swaminathan & Joachims, NeurIPS 2015): bounded by the rewards, indifferent to their zero."""
    full = action_weights(target, propensity)
    weight = full if clip is None else np.minimum(full, clip)
    return estimate([(weight * reward, weight)], weight, clipped_share=clipped_share(full, clip), **sampling)


def direct(expected: Numbers, **sampling: Unpack[Sampling]) -> Estimate:
    """`mean expected`: the model alone. Its interval knows nothing of the model's error."""
    ones = np.ones(len(expected))
    return estimate([(np.asarray(expected, dtype=np.float64), ones)], ones, **sampling)


def dr(
    reward: Numbers,
    target: Numbers,
    propensity: Numbers,
    expected: Numbers,
    predicted: Numbers,
    **sampling: Unpack[Sampling],
) -> Estimate:
    """Doubly robust, `mean (expected + w (r - predicted))` (Dudík, Langford & Li, ICML 2011).

    predicted must come from a model that has not seen the row's reward (another fold), or the interval is too short.
    """
    weight = action_weights(target, propensity)
    return estimate([(expected + weight * (reward - predicted), np.ones(len(weight)))], weight, **sampling)


def sndr(
    reward: Numbers,
    target: Numbers,
    propensity: Numbers,
    expected: Numbers,
    predicted: Numbers,
    **sampling: Unpack[Sampling],
) -> Estimate:
    """Self-normalised DR, `mean expected + sum w (r - predicted) / sum w` (Thomas & Brunskill, ICML 2016)."""
    weight = action_weights(target, propensity)
    model = (np.asarray(expected, dtype=np.float64), np.ones(len(weight)))
    return estimate([model, (weight * (reward - predicted), weight)], weight, **sampling)


def switch_dr(
    reward: Numbers,
    target: Numbers,
    propensity: Numbers,
    expected: Numbers,
    predicted: Numbers,
    switch: float,
    **sampling: Unpack[Sampling],
) -> Estimate:
    """DR that leaves rows whose weight is above `switch` to the model (Wang, Agarwal & Dudík, ICML 2017)."""
    full = action_weights(target, propensity)
    weight = np.where(full <= switch, full, 0.0)
    parts = [(expected + weight * (reward - predicted), np.ones(len(weight)))]
    lost = 1.0 - float(weight.sum()) / float(full.sum()) if full.any() else 0.0
    return estimate(parts, weight, clipped_share=lost, **sampling)


def clipped_share(weight: Numbers, clip: float | None) -> float:
    """The share of the weight above the clip level, which is what the estimate may be short of."""
    total = float(np.sum(weight))
    return 0.0 if clip is None or total <= 0 else float(np.sum(np.maximum(weight - clip, 0.0))) / total
