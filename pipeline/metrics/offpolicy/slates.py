"""Off-policy value of a policy that fills a page, from pages that another one filled.

Letters: R pages, K places, A actions. reward `[R, K]`: what each place earned; target and propensity `[R, K]`: P(item
at the place) under the evaluated and the logging policy, as a *marginal* (whatever stands above) for item-position
and pseudo-inverse, and *conditional* on the items above for the cascades; mask `[R, K]`: where there is an item.
The value is the expected sum of rewards of a page. Each assumes what a place's reward depends on:

    item_position    the item there and nothing else
    cascade          the item there and those above it
    pseudo_inverse   a page's reward is a sum of parts, one an (item, place); only the sum need be seen
    whole_list       anything: the weights are a product over all places, and explode

Errors and refusals are those of `actions`; the effective number is that of the last place's weights.
"""

from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.metrics.offpolicy.actions import Sampling, action_weights
from pipeline.metrics.offpolicy.estimate import Estimate, Numbers, estimate

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Ints = NDArray[Any]


def item_position(
    reward: Numbers, target: Numbers, propensity: Numbers, mask: Mask, **sampling: Unpack[Sampling]
) -> Estimate:
    """`mean sum_k r_k target_k / propensity_k` over marginals (Li et al., KDD 2018)."""
    weight = _ratios(target, propensity, mask)
    values = (weight * np.where(mask, reward, 0.0)).sum(axis=1)
    return estimate([(values, np.ones(len(values)))], weight[mask], **sampling)


def cascade_ips(
    reward: Numbers, target: Numbers, propensity: Numbers, mask: Mask, **sampling: Unpack[Sampling]
) -> Estimate:
    """`mean sum_k r_k prod_{j<=k} target_j / propensity_j`: RIPS of McInerney et al. (KDD 2020), not normalised."""
    weight = _cumulative(target, propensity, mask)
    values = (weight * np.where(mask, reward, 0.0)).sum(axis=1)
    return estimate([(values, np.ones(len(values)))], weight[:, -1], **sampling)


def rips(reward: Numbers, target: Numbers, propensity: Numbers, mask: Mask, **sampling: Unpack[Sampling]) -> Estimate:
    """Reward-interaction IPS (McInerney et al., KDD 2020): each place's weights are normalised over the log."""
    weight = _cumulative(target, propensity, mask)
    earned = np.where(mask, reward, 0.0)
    parts = [(weight[:, k] * earned[:, k], weight[:, k]) for k in range(weight.shape[1])]
    return estimate(parts, weight[:, -1], **sampling)


def cascade_dr(
    reward: Numbers,
    target: Numbers,
    propensity: Numbers,
    mask: Mask,
    expected: Numbers,
    predicted: Numbers,
    **sampling: Unpack[Sampling],
) -> Estimate:
    """Cascade-DR (Kiyohara et al., WSDM 2022): `mean sum_k w_{1:k} (r_k - predicted_k) + w_{1:k-1} expected_k`.

    predicted `[R, K]`: a model of what the places k, k + 1, ... earn together, given the items at 1..k; expected
    `[R, K]`: its mean over the evaluated policy's item at k, given the items above. Any model is unbiased; a perfect
    one leaves no weight in the estimate.
    """
    weight = _cumulative(target, propensity, mask)
    before = np.concatenate([np.ones((len(weight), 1)), weight[:, :-1]], axis=1)
    ahead = np.where(mask, np.asarray(predicted, dtype=np.float64), 0.0)
    values = weight * (np.where(mask, reward, 0.0) - ahead) + before * np.where(mask, expected, 0.0)
    return estimate([(values.sum(axis=1), np.ones(len(values)))], weight[:, -1], **sampling)


def whole_list(
    reward: Numbers, target: Numbers, propensity: Numbers, mask: Mask, **sampling: Unpack[Sampling]
) -> Estimate:
    """IPS of whole pages: a warning of what the others avoid. Its weights are products over all places."""
    weight = _cumulative(target, propensity, mask)[:, -1]
    values = weight * np.where(mask, reward, 0.0).sum(axis=1)
    return estimate([(values, np.ones(len(values)))], weight, **sampling)


def uniform_gamma(places: int, actions: int) -> Floats:
    """`E[1_s 1_s']` `[K * A, K * A]` of pages that are uniform orders of K of A actions without repetition."""
    same_place = np.eye(places, dtype=bool)[:, None, :, None]
    same_action = np.eye(actions, dtype=bool)[None, :, None, :]
    apart = 1.0 / (actions * (actions - 1)) if actions > 1 else 0.0
    gamma = np.where(same_place, np.where(same_action, 1.0 / actions, 0.0), np.where(same_action, 0.0, apart))
    return gamma.reshape(places * actions, places * actions)


def pseudo_inverse_weights(chosen: Ints, target: Numbers, gamma: Numbers) -> Floats:
    """`q' pinv(gamma) 1_s` `[R]` (Swaminathan et al., NeurIPS 2017).

    chosen `[R, K]`: the logged actions, 0..A-1; target `[K, A]` or `[R, K, A]`: marginals of the evaluated policy;
    gamma `[K * A, K * A]`: of the logging policy, the same for these pages.
    """
    pages, places = chosen.shape
    actions = target.shape[-1]
    if gamma.shape != (places * actions, places * actions):
        size = places * actions
        raise InputError("gamma", f"{size} x {size}, places times actions", received=gamma.shape)
    marginal = np.broadcast_to(target, (pages, places, actions)).reshape(pages, places * actions)
    projected = marginal @ np.linalg.pinv(gamma, hermitian=True)
    column = np.arange(places) * actions + chosen
    return np.asarray(np.take_along_axis(projected, column, axis=1).sum(axis=1), dtype=np.float64)


def independent_weights(target: Numbers, propensity: Numbers, mask: Mask) -> Floats:
    """The same `[R]` in closed form for a logger that fills each place on its own: `sum_k w_k - (K - 1)`."""
    ratios = _ratios(target, propensity, mask)
    return np.asarray(ratios.sum(axis=1) - (mask.sum(axis=1) - 1), dtype=np.float64)


def pseudo_inverse(total: Numbers, weight: Numbers, **sampling: Unpack[Sampling]) -> Estimate:
    """`mean total * weight` of whole pages' rewards `[R]`. weight: as above; some may be negative."""
    return estimate([(total * weight, np.ones(len(weight)))], weight, **sampling)


def _ratios(target: Numbers, propensity: Numbers, mask: Mask) -> Floats:
    return np.where(mask, action_weights(np.where(mask, target, 0.0), np.where(mask, propensity, 1.0)), 0.0)


def _cumulative(target: Numbers, propensity: Numbers, mask: Mask) -> Floats:
    ratios = action_weights(np.where(mask, target, 1.0), np.where(mask, propensity, 1.0))
    return np.asarray(np.cumprod(ratios, axis=1), dtype=np.float64)
