"""What an experiment of this size can show, and how large one must be: power of the paired t test.

`Spread` is read off differences already measured. With groups (a user's requests) n counts requests, and the sample
size assumes that more requests come with more groups of the same kind.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.metrics.statistics.compare import mean_error
from pipeline.metrics.statistics.distributions import t_power

Numbers = NDArray[Any]
_MOST: Final = 2**50  # requests; more than that is no plan


@dataclass(frozen=True, slots=True)
class Spread:
    """error: the standard error of the mean of n differences; dof: its degrees of freedom; design: its square over
    that of n independent ones (Kish 1965), 1 without groups."""

    error: float
    dof: float
    n: int
    design: float

    def at(self, n: float) -> "Spread":
        """The same kind of differences, n of them."""
        return Spread(self.error * (self.n / n) ** 0.5, self.dof * n / self.n, int(n), self.design)


def spread_of(differences: Numbers, groups: Numbers | None = None) -> Spread:
    """Of paired differences `[n]`; nan left out. dof 0 and error nan where fewer than two groups have a value."""
    differences = np.asarray(differences, dtype=np.float64)
    known = ~np.isnan(differences)
    groups = None if groups is None else np.asarray(groups)[known]
    error, dof = mean_error(differences[known], groups)
    alone, _ = mean_error(differences[known])
    design = (error / alone) ** 2 if alone > 0 else 1.0
    return Spread(error, dof, int(known.sum()), design)


def power_of(effect: float, spread: Spread, alpha: float = 0.05) -> float:
    """The chance that a true mean difference of `effect` is found at two-sided `alpha`; nan where nothing is known."""
    if not spread.dof > 0:
        return float("nan")
    if spread.error == 0.0:
        return 1.0 if effect else alpha
    return t_power(effect / spread.error, spread.dof, alpha)


def detectable_effect(spread: Spread, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest true mean difference that is found with probability `power`; nan where nothing is known."""
    _check(alpha, power)
    if not spread.dof > 0 or spread.error == 0.0:
        return spread.error
    top = spread.error
    while power_of(top, spread, alpha) < power:
        top *= 2.0
    return _smallest(lambda effect: power_of(effect, spread, alpha) >= power, 0.0, top)


def requests_needed(effect: float, spread: Spread, alpha: float = 0.05, power: float = 0.8) -> int:
    """How many requests find a true mean difference of `effect` with probability `power`.

    Raises InputError for an effect of 0, for a spread of nothing, and where no thinkable number would do.
    """
    _check(alpha, power)
    if not effect:
        raise InputError("effect", "a difference other than 0, such as 0.005", received=effect)
    if not spread.dof > 0:
        raise InputError("differences", "at least two requests (or two groups) to take the spread from")
    if power_of(effect, spread.at(_MOST), alpha) < power:
        raise InputError("effect", "one that some number of requests can show", received=effect)
    fewest = 2 * max(1.0, spread.n / (spread.dof + 1.0))  # two groups
    if power_of(effect, spread.at(fewest), alpha) >= power:
        return int(np.ceil(fewest))
    top = fewest
    while power_of(effect, spread.at(top), alpha) < power:
        top *= 2.0
    return int(np.ceil(_smallest(lambda n: power_of(effect, spread.at(n), alpha) >= power, top / 2.0, top)))


def _check(alpha: float, power: float) -> None:
    for field, value in (("alpha", alpha), ("power", power)):
        if not 0.0 < value < 1.0:
            raise InputError(field, "a number between 0 and 1", received=value)
    if power <= alpha:
        raise InputError("power", f"more than alpha, {alpha}", received=power)


def _smallest(enough: Callable[[float], bool], low: float, high: float) -> float:
    """By bisection, to nine digits: `low` is not enough, `high` is."""
    while high - low > 1e-9 * high:
        middle = (low + high) / 2.0
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
