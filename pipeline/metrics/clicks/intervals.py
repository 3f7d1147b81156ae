"""How sure ratios are: delete-a-group jackknife over subjects (Kott, J. Official Statistics 2001), and smoothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.metrics.clicks.pages import Floats, ShownPages

GROUPS: Final = 20
STUDENT: Final = 2.093  # 97.5 % of Student's t with GROUPS - 1 degrees of freedom
TAUS: Final = np.append(0.0, np.geomspace(0.005, 2.0, 40))
LEAST: Final = 1e-9


def jackknife(pages: ShownPages, ratios: Callable[[ShownPages], Floats], seed: int) -> Floats:
    """Covariance `[P, P]` of the logarithms of `ratios(pages)` `[P]`: each time without one of 20 groups of subjects.

    Subjects are dealt to groups at random, so that what one person does is never taken for independent. A position
    that nobody else was shown has no ratio without them, which is as unsure as can be.
    """
    subjects = int(pages.subject.max()) + 1
    group = (np.random.default_rng(seed).permutation(subjects) % GROUPS)[pages.subject]
    found = np.zeros((GROUPS, pages.places))
    for left in range(GROUPS):
        without = ratios(pages.take(group != left))
        found[left, : len(without)] = without
    logs = np.log(np.maximum(found, LEAST))
    apart = logs - logs.mean(axis=0)
    return np.asarray((GROUPS - 1) / GROUPS * apart.T @ apart)


def around(ratios: Floats, covariance: Floats) -> tuple[Floats, Floats]:
    """The 95 % interval of each ratio, symmetric in its logarithm."""
    width = np.exp(STUDENT * np.sqrt(np.diag(covariance)))
    return ratios / width, ratios * width


@dataclass(frozen=True, slots=True)
class Smoothed:
    """ratios `[P]`, covariance of their logarithms `[P, P]`; exponent: of the power law; tau: how far positions lie off
    it (standard deviation in logarithms)."""

    ratios: Floats
    covariance: Floats
    exponent: float
    tau: float


def smooth(ratios: Floats, covariance: Floats) -> Smoothed:
    """Ratios drawn to 1 / rank ** exponent as far as their errors warrant (empirical Bayes; Efron and Morris 1975).

    log ratio = -exponent * log rank + u, u normal with standard deviation tau; exponent and tau by maximum likelihood.
    Where positions do not follow a power law tau is large and the ratios stay what they are.
    """
    x, y, noise = -np.log(np.arange(2.0, len(ratios) + 1)), np.log(ratios[1:]), _structured(covariance[1:, 1:])
    found = [_posterior(x, y, noise, tau) for tau in TAUS]
    best = int(np.argmax([each[0] for each in found]))
    _, exponent, mean, spread = found[best]
    whole = np.zeros_like(covariance)
    whole[1:, 1:] = spread
    return Smoothed(np.exp(np.append(0.0, mean)), whole, exponent, float(TAUS[best]))


def _structured(covariance: Floats) -> Floats:
    """What positions share by being over the first, and what is each one's own: 20 groups say no more than that."""
    places = len(covariance)
    own = np.maximum(np.diag(covariance), 1e-12)
    off = (covariance.sum() - np.diag(covariance).sum()) / max(places * (places - 1), 1)
    shared = float(np.clip(off, 0.0, 0.95 * own.min()))
    return np.asarray(np.diag(own - shared) + shared)


def _posterior(x: Floats, y: Floats, noise: Floats, tau: float) -> tuple[float, float, Floats, Floats]:
    """Profile log-likelihood of tau, exponent, and mean and covariance of the logarithms given the data."""
    total = noise + tau**2 * np.eye(len(y))
    inverse = np.linalg.inv(total)
    precision = float(x @ inverse @ x)
    exponent = float(x @ inverse @ y) / precision
    rest = y - exponent * x
    likelihood = -0.5 * (float(np.linalg.slogdet(total)[1]) + float(rest @ inverse @ rest))
    pull = tau**2 * inverse
    mean = exponent * x + pull @ rest
    left = x - pull @ x
    spread = tau**2 * np.eye(len(y)) - tau**2 * pull + np.outer(left, left) / precision
    return likelihood, exponent, mean, spread
