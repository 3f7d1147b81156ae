"""The replay method: where logged choices were random, keep those that the evaluated policy would have made."""

from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.metrics.offpolicy.actions import Sampling
from pipeline.metrics.offpolicy.estimate import Estimate, checked, estimate, refused

Numbers = NDArray[Any]
EVEN = 1e-9  # propensities that differ by less were meant to be equal


@dataclass(frozen=True, slots=True)
class Matched:
    """value over the kept rows; kept: how many; share: of all rows."""

    value: Estimate
    kept: int
    share: float


def replay(reward: Numbers, matches: Numbers, propensity: Numbers, **sampling: Unpack[Sampling]) -> Matched:
    """Mean reward of the rows whose logged action the policy picks too (Li, Chu, Langford & Wang, WSDM 2011).

    reward, matches (bool), propensity: `[n]`; propensity: P(logged action) under the logging policy. Where it is the
    same in every row (uniform choice) the mean is plain and unbiased; where it differs, kept rows count 1 /
    propensity. Raises InputError for a propensity that is missing, 0 or above 1, or 1: a log without chance measures
    agreement with the logger, not value.
    """
    logged = checked(propensity)
    if len(logged) and bool((logged == 1.0).all()):
        raise InputError(
            "propensity", "choices made at random; a deterministic log has no value to replay", received=1.0
        )
    kept = np.asarray(matches, dtype=bool)
    share = float(kept.mean()) if len(kept) else 0.0
    if not kept.any():
        return Matched(refused("the policy picks no logged action", len(kept)), 0, share)
    even = float(np.ptp(logged)) < EVEN
    weight = np.where(kept, 1.0 if even else 1.0 / logged, 0.0)
    return Matched(estimate([(weight * reward, weight)], weight, **sampling), int(kept.sum()), share)
