"""How often the tests of a mean difference err, and how often they find what is there; on drawn differences.

    python -m benchmarks.significance [--runs 2000] [--part single|grouped|many|power|speed]

Differences are as those of NDCG: 40 % are exactly 0, the others of either sign with a beta(.8, 2) size. Grouped: the
requests of one user share half of their variance; users have 5 requests each, or sizes like 1 / rank. n and the number
of runs are printed; a share of 5 % over 2,000 runs has a standard error of .5 %.
"""

import argparse
import time
from collections.abc import Callable

from pipeline.threads import configure_threads

configure_threads(1)

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from pipeline.metrics.slates import kernels  # noqa: E402
from pipeline.metrics.statistics.compare import Difference, paired_bootstrap, paired_permutation, paired_t  # noqa: E402
from pipeline.metrics.statistics.corrections import bonferroni, holm, tukey_hsd  # noqa: E402
from pipeline.metrics.statistics.power import detectable_effect, spread_of  # noqa: E402

Floats = NDArray[np.float64]
Groups = NDArray[np.int64] | None
FLIPS = 1000
TESTS: dict[str, Callable[[Floats, int, Groups], Difference]] = {
    "t": lambda d, _, groups: paired_t(d, np.zeros(len(d)), groups),
    "permutation": lambda d, seed, groups: paired_permutation(d, np.zeros(len(d)), seed, groups, FLIPS),
    "bootstrap": lambda d, seed, groups: paired_bootstrap(d, np.zeros(len(d)), seed, groups, FLIPS),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=2000)
    parts = {"single": single, "grouped": grouped, "many": many, "power": power, "speed": speed}
    arguments.add_argument("--part", choices=parts, action="append")
    given = arguments.parse_args()
    for part in given.part or parts:
        parts[part](given.runs)


def differences(generator: np.random.Generator, n: int) -> Floats:
    return generator.choice([-1.0, 1.0], n) * generator.beta(0.8, 2.0, n) * (generator.random(n) < 0.6)


def single(runs: int) -> None:
    """Independent requests: p < .05 and interval without the truth where there is no difference; found where it is 2.8
    standard errors."""
    print(f"independent requests, {runs} runs, {FLIPS} draws: p < .05 without a difference, interval misses 0, power")
    spread = differences(np.random.default_rng(0), 1_000_000).std()
    for n in (6, 10, 20, 30, 100, 500):
        effect, found = 2.8 * spread / n**0.5, {name: np.zeros(3) for name in TESTS}
        for run in range(runs):
            drawn = differences(np.random.default_rng([n, run]), n)
            for name, test in TESTS.items():
                none, some = test(drawn, run, None), test(drawn + effect, run, None)
                found[name] += none.p_value < 0.05, not none.low <= 0 <= none.high, some.p_value < 0.05
        print(
            f"  n {n:<5}", "  ".join(f"{name} " + " ".join(f"{x / runs:.3f}" for x in f) for name, f in found.items())
        )


def grouped(runs: int) -> None:
    """Requests of users, no difference: taken as independent, and by user."""
    print(f"requests of users, no difference, {runs} runs: p < .05 blind to users, then by user")
    even = np.repeat(np.arange(60), 5)
    uneven = np.repeat(np.arange(60), np.maximum(1, 100 // np.arange(1, 61)))
    for label, users in (("60 users, 5 each", even), (f"60 users, 100 to 1 each, n {len(uneven)}", uneven)):
        found = {name: np.zeros(2) for name in TESTS}
        for run in range(runs):
            generator = np.random.default_rng([7, run])
            drawn = generator.normal(size=60)[users] + generator.normal(size=len(users))
            for name, test in TESTS.items():
                found[name] += test(drawn, run, None).p_value < 0.05, test(drawn, run, users).p_value < 0.05
        print(f"  {label}:", "  ".join(f"{name} {f[0] / runs:.3f} {f[1] / runs:.3f}" for name, f in found.items()))


def many(runs: int) -> None:
    """Five systems, ten pairs, 100 requests that differ more than the systems do."""
    print(
        f"five systems, ten pairs, 100 requests, {runs // 4} runs: none better: any pair found; one better: found of 4"
    )
    found, better = np.zeros(4), np.zeros(4)
    pairs = [(a, b) for a in range(5) for b in range(a)]
    for run in range(runs // 4):
        values = np.random.default_rng([11, run]).normal(size=(100, 1)) + np.random.default_rng(run).normal(
            size=(100, 5)
        )
        for shift, counts in ((0.0, found), (0.45, better)):
            moved = values + np.array([0.0, 0.0, 0.0, 0.0, shift])
            p = np.array([paired_t(moved[:, a], moved[:, b]).p_value for a, b in pairs])
            tukey = tukey_hsd(moved, run, flips=500)
            corrected = p, bonferroni(p), holm(p), np.array([tukey[pair] for pair in pairs])
            of_best = np.array([4 in pair for pair in pairs])
            counts += [(each[of_best] < 0.05).mean() if shift else (each < 0.05).any() for each in corrected]
    for name, values in (("any found", found), ("power", better)):
        said = zip(("none", "bonferroni", "holm", "tukey"), values / (runs // 4), strict=True)
        print(f"  {name}:", "  ".join(f"{label} {value:.3f}" for label, value in said))


def power(runs: int) -> None:
    """A pilot of n requests foretells the smallest effect; new requests with that effect: how often is it found?"""
    print(f"power foretold .80 from a pilot of n, {runs} pilots each with one experiment: share found")
    for n in (30, 100, 500):
        found = 0
        for run in range(runs):
            generator = np.random.default_rng([13, n, run])
            effect = detectable_effect(spread_of(differences(generator, n)))
            found += paired_t(differences(generator, n) + effect, np.zeros(n)).p_value < 0.05
        print(f"  n {n:<5} {found / runs:.3f}")


def speed(_: int) -> None:
    """CPU seconds on this machine, one thread."""
    generator = np.random.default_rng(0)
    values, matrix = generator.normal(size=1_000_000), generator.normal(size=(2000, 5))
    items, vectors = (
        generator.integers(0, 20_000, (100_000, 10)),
        generator.normal(size=(20_000, 64)).astype(np.float32),
    )
    topics = np.sort(generator.permuted(np.tile(np.arange(50), (20_000, 1)), axis=1)[:, :3], axis=1)
    relevant = generator.random(items.shape) < 0.4
    pool = np.where(relevant, items, -1)
    timed: dict[str, Callable[[], object]] = {
        "permutation, 1,000,000 pairs, 10,000 flips": lambda: paired_permutation(values, np.zeros(1_000_000), 0),
        "tukey, 2,000 requests, 5 systems, 10,000 permutations": lambda: tukey_hsd(matrix, 0),
        "ild@10 of vectors, 100,000 pages, 64 dimensions": lambda: kernels.intra_list_distance(items, vectors, 10),
        "ild@10 of 3 topics, 100,000 pages": lambda: kernels.intra_list_difference(items, topics, 10),
        "entropy@10, 100,000 pages": lambda: kernels.entropy(items, topics[:, 0], 10),
        "alpha_ndcg@10, 100,000 pages": lambda: kernels.alpha_ndcg(items, relevant, pool, topics, 10),
        "gini@10, 100,000 pages": lambda: kernels.gini(kernels.exposure(items, 20_000, 10)),
    }
    print("CPU seconds, one thread")
    for label, call in timed.items():
        start = time.process_time()
        call()
        print(f"  {label}: {time.process_time() - start:.2f} s")


if __name__ == "__main__":
    main()
