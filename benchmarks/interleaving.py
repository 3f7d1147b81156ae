"""How many requests tell two rankings apart: by team-draft interleaving, and by an A/B test on clicks per request.

    python -m benchmarks.interleaving [--requests 200000] [--seeds 3] [--out table.json]

Simulated people: each has a taste for clicking (lognormal) and makes a few requests; a page of 10 is looked at from
the top, slot k with probability k ** -0.7; a looked-at item is clicked with a chance that grows with its relevance, and
by noise. System A ranks by relevance seen through noise; B through less noise, A/A through as much. Both methods
see the same people. For each, the requests for 80 % power at two-sided 5 % come from the size and the spread of what it
measures (over people, t); then 400 experiments of that size are drawn and the share that finds B is given: it should be
near .80. The A/B test counts the requests of both arms. It compares orders of the same candidates, nothing else:
interleaving cannot judge diversity or blending.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.threads import configure_threads

configure_threads(1)

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from pipeline.metrics.interleaving import credit, preference, team_draft  # noqa: E402
from pipeline.metrics.ranking import ndcg  # noqa: E402
from pipeline.metrics.statistics.power import requests_needed, spread_of  # noqa: E402

Floats = NDArray[np.float64]
K, CANDIDATES, PER_PERSON = 10, 30, 4
GRADE_CLICK = np.array([0.02, 0.10, 0.30, 0.60])  # chance of a click when looked at, by relevance
NOISE_A = 1.0
EXPERIMENTS = 400


@dataclass(frozen=True, slots=True)
class People:
    """Who asks `[R]` (PER_PERSON requests each), taste `[R]`, grades `[R, CANDIDATES]`, and both rankings `[R, K]`."""

    person: NDArray[np.int64]
    taste: Floats
    grades: NDArray[np.int64]
    a: NDArray[np.int64]
    b: NDArray[np.int64]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--requests", type=int, default=200_000, help="simulated for each row of the table")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--out", type=Path, help="the table as JSON")
    given = arguments.parse_args()
    rows = [row(gain, seed, given.requests) for gain in (0.0, 0.02, 0.05, 0.1, 0.2) for seed in range(given.seeds)]
    print(f"{given.requests} requests a row, {PER_PERSON} a person; A's noise {NOISE_A}, B's less by `gain`")
    for each in rows:
        print("  ".join(f"{name} {value}" for name, value in each.items()))
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def row(gain: float, seed: int, requests: int) -> dict[str, object]:
    """One line of the table."""
    generator = np.random.default_rng([seed, 7])
    people = make_people(requests, gain, generator)
    quality = [quality_of(people.grades, ranking) for ranking in (people.a, people.b)]
    sign = interleaved(people, generator)
    page_a, page_b = (clicks_of(people, ranking, generator).sum(axis=1) for ranking in (people.a, people.b))
    found = preference(np.maximum(-sign, 0), np.maximum(sign, 0), seed, people.person)
    line: dict[str, object] = {
        "gain": gain,
        "seed": seed,
        "ndcg@10 A, B": " ".join(f"{value:.4f}" for value in quality),
        "clicks A, B": f"{page_a.mean():.4f} {page_b.mean():.4f}",
        "B wins": f"{found.share:.4f} [{found.low:.4f}, {found.high:.4f}] p {found.p_value:.3f}",
    }
    if gain:
        line |= compared(sign, page_a, page_b, people.person, generator)
    return line


def compared(
    sign: Floats, page_a: Floats, page_b: Floats, person: NDArray[np.int64], generator: np.random.Generator
) -> dict[str, object]:
    """The requests each method needs, their ratio, and the power seen with that many."""
    mixed = requests_needed(float(sign.mean()), spread_of(sign, person))
    # A person is in one arm: half the requests see A. Twice the variance of an arm, on twice the requests.
    arms = np.concatenate([page_a, page_b]) - np.repeat([page_a.mean(), page_b.mean()], len(page_a))
    lift = float(page_b.mean() - page_a.mean())
    if lift <= 0:
        return {"interleaving needs": mixed, "A/B needs": "lift not seen in all requests"}
    apart = 4 * requests_needed(lift, spread_of(arms, np.concatenate([person, person + len(person)])))
    people = len(sign) // PER_PERSON
    by_person = [each.reshape(people, PER_PERSON).sum(axis=1) for each in (sign, page_a, page_b)]
    power = share_found(by_person[:1], mixed, generator), share_found(by_person[1:], apart, generator)
    return {
        "interleaving needs": mixed,
        "A/B needs": apart,
        "ratio": round(apart / mixed, 1),
        "power seen": "{:.3f} {:.3f}".format(*power),
    }


def share_found(by_person: list[Floats], requests: int, generator: np.random.Generator) -> float:
    """Of EXPERIMENTS with that many requests, drawn from the people, the share where |t| > 1.96 for B.

    One array: the sum of a person's signs, against 0. Two: a person's clicks under A and B, half of the people each.
    """
    size = max(2, round(requests / PER_PERSON / len(by_person)))

    def draw(values: Floats) -> tuple[Floats, Floats]:
        seen = [values[generator.integers(0, len(values), size)] for _ in range(EXPERIMENTS)]
        return np.array([each.mean() for each in seen]), np.array([each.var(ddof=1) / size for each in seen])

    if len(by_person) == 1:
        mean, variance = draw(by_person[0])
    else:
        (mean_a, of_a), (mean_b, of_b) = draw(by_person[0]), draw(by_person[1])
        mean, variance = mean_b - mean_a, of_a + of_b
    return float(np.mean(mean > 1.96 * np.sqrt(variance)))


def make_people(requests: int, gain: float, generator: np.random.Generator) -> People:
    """CANDIDATES items a request, a tenth of them of grade 3, most of grade 0."""
    people = requests // PER_PERSON
    person = np.repeat(np.arange(people), PER_PERSON)
    grades = generator.choice(4, p=[0.55, 0.2, 0.15, 0.1], size=(len(person), CANDIDATES))
    # The two share most of their mistakes, as two versions of one system do.
    shared = generator.normal(size=grades.shape)
    own = generator.normal(size=(2, *grades.shape)) * 0.3
    a, b = (
        np.argsort(-(grades + noise * (shared + own[side])), axis=1)[:, :K]
        for side, noise in enumerate((NOISE_A, NOISE_A - gain))
    )
    return People(person, np.repeat(generator.lognormal(-0.125, 0.5, people), PER_PERSON), grades, a, b)


def clicks_of(people: People, page: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.bool_]:
    """`[R, K]`: looked at by the slot, clicked by the grade and the person's taste."""
    looked = np.arange(1, K + 1) ** -0.7
    chance = GRADE_CLICK[np.take_along_axis(people.grades, page, axis=1)] * people.taste[:, None]
    return np.asarray(generator.random(page.shape) < looked * np.minimum(chance, 1.0))


def interleaved(people: People, generator: np.random.Generator) -> Floats:
    """`[R]`: +1 where B's picks were clicked more, -1 where A's, 0 a tie."""
    page, owner = team_draft(people.a, people.b, K, generator)
    to_a, to_b = credit(owner, clicks_of(people, page, generator))
    return np.asarray(np.sign(to_b - to_a), dtype=np.float64)


def quality_of(grades: NDArray[np.int64], page: NDArray[np.int64]) -> float:
    gains = np.take_along_axis(grades, page, axis=1).astype(np.float64)
    order = np.broadcast_to(-np.arange(K, dtype=np.float64), gains.shape)
    return float(np.nanmean(ndcg(gains, order, np.ones(gains.shape, bool), K, ideal=grades.astype(np.float64))))


if __name__ == "__main__":
    main()
