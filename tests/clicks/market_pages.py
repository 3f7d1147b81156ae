"""Pages made from known models, and an EM step written as on paper."""

import numpy as np

from pipeline.metrics.clicks.pages import ShownPages, page_rows


def shuffled_pages(
    pages: int, examination: np.ndarray, gamma: np.ndarray, seed: int, *, mark: bool = False
) -> ShownPages:
    """Every page shows that many of the pairs in a drawn order; clicks follow the position-based model."""
    rng = np.random.default_rng(seed)
    places = len(examination)
    pair = np.argsort(rng.random((pages, len(gamma))), axis=1)[:, :places]
    clicked = rng.random(pair.shape) < examination * gamma[pair]
    chance = np.full(pair.size, 1.0 / len(gamma)) if mark else None
    request = np.repeat(np.arange(pages), places)
    return page_rows(request, np.tile(np.arange(places), pages), pair.ravel(), clicked.ravel(), chance)


def step_on_paper(
    pair: list[int], place: list[int], clicked: list[bool], theta: list[float], gamma: list[float], share: list[float]
) -> tuple[dict[int, list[float]], list[float]]:
    """Posterior of gamma of each pair, and the new shares, by Bayes' rule row by row."""
    joint = {each: list(share) for each in set(pair)}
    for who, where, click in zip(pair, place, clicked, strict=True):
        for g, value in enumerate(gamma):
            chance = theta[where] * value
            joint[who][g] *= chance if click else 1.0 - chance
    posterior = {who: [part / sum(parts) for part in parts] for who, parts in joint.items()}
    new = [sum(parts[g] for parts in posterior.values()) / len(posterior) for g in range(len(share))]
    return posterior, new
