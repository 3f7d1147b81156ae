"""Random signs: the sums of n values under every sign pattern, or under many drawn ones. Knows arrays, nothing else."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FLIPS: Final = 10_000
_BITS: Final = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).T
_SIGNS: Final = 2.0 * _BITS - 1.0  # [8, 256]: the signs that a byte stands for
_BLOCK: Final = 64  # octets of values at once: their random bytes stay in the cache


def flip_p_value(totals: Floats, seed: int, flips: int = FLIPS) -> float:
    """Two-sided p value of the sum of `totals` `[G]` under random signs, never 0.

    Exact, over all 2^G patterns, where these are no more than `flips`; else (1 + b) / (1 + flips) with b of the drawn
    patterns at least as far from 0 (Davison & Hinkley 1997, section 4.3), seeded. Totals of 0 have no sign to turn.
    """
    totals = totals[totals != 0.0]
    # Sums that are equal on paper differ in the last bits by the order of their terms.
    bound = abs(float(totals.sum())) - 1e-12 * float(np.abs(totals).sum())
    if len(totals) <= np.log2(flips):
        return float(np.mean(np.abs(all_sums(totals)) >= bound))
    sums = drawn_sums(totals, flips, np.random.default_rng(seed))
    return float((1 + np.count_nonzero(np.abs(sums) >= bound)) / (1 + flips))


def all_sums(values: Floats) -> Floats:
    """`[2^n]`: the sum of `values` `[n]` under each pattern of signs."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def drawn_sums(values: Floats, flips: int, generator: np.random.Generator) -> Floats:
    """`[flips]`: the sum of `values` `[n]` under independent fair signs.

    Eight values at a time: their 256 signed sums are a table, and a random byte looks one up. So a million values
    cost an eighth of a million look-ups a flip, and no sign is ever written out.
    """
    octets = np.zeros((-(-len(values) // 8), 8))
    octets.ravel()[: len(values)] = values
    sums = np.zeros(flips)
    for start in range(0, len(octets), _BLOCK):
        tables = octets[start : start + _BLOCK] @ _SIGNS
        drawn = np.frombuffer(generator.bytes(tables.shape[0] * flips), dtype=np.uint8).reshape(-1, flips)
        for table, byte in zip(tables, drawn, strict=True):
            sums += table.take(byte)
    return sums
