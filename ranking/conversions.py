"""P(convert | click): from pages old enough for conversions to have come in, by whichever model the latest bear out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.binary import auc, pcoc
from ranking.boosted import Boosted, Examples, train
from ranking.calibration import logit
from ranking.clicks import place_offset, usual
from ranking.config import RankingConfig
from ranking.heads import Head
from ranking.inputs import Inputs
from ranking.model import CONVERT_RATE, surfaces
from ranking.parts import Parts
from ranking.rows import Rows
from ranking.unexposed import mixed

HELD_OUT: Final = 30  # conversions of a held-out part below which it can neither choose nor calibrate
ENOUGH: Final = 2_000  # conversions to calibrate with: their number alone is then uncertain by 2 %
_FOLDS: Final = 4
_HOUR_MS: Final = 3_600_000
Floats = NDArray[np.float64]
Name = Literal["rate", "clicked", "entire", "net"]
Score = Callable[[Inputs], Floats]  # log-odds of a conversion once clicked, `[n]`


@dataclass(frozen=True, slots=True)
class Clicked:
    """The clicked items of a part: converted `[n]`, 0 or 1; told: `[n]`, the same with each conversion standing for
    those of its age that have not come in yet; surface: `[n]` or None."""

    inputs: Inputs
    converted: Floats
    told: Floats
    surface: NDArray[np.float32] | None

    @classmethod
    def of(cls, rows: Rows, have: tuple[str, ...]) -> "Clicked":
        which = rows.grade > 0
        inputs, converted = rows.inputs.rows(which), rows.later.converted[which].astype(np.float64)
        return cls(inputs, converted, converted / np.maximum(rows.later.seen[which], 1e-9), surfaces(inputs, have))

    @property
    def conversions(self) -> int:
        return int(self.converted.sum())


@dataclass(frozen=True, slots=True)
class Option:
    """score: what a model says; unseen: what it would say of the items it learned from had it not, where that can be
    known, so that they can calibrate."""

    score: Score
    unseen: Callable[[], Floats] | None = None


Options = Mapping[Name, Option]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What says P(convert | click), its calibration, and the report."""

    name: Name
    head: Head
    metrics: dict[str, float]


def by_rate(parts: Parts, have: tuple[str, ...]) -> Option:
    """The item's smoothed rate, whatever was learned."""
    column = have.index(CONVERT_RATE)

    def score(inputs: Inputs) -> Floats:
        return logit(inputs.features[:, column])

    return Option(score, lambda: score(Clicked.of(parts.learn, have).inputs))


def enough(parts: Parts, least: int, have: tuple[str, ...]) -> bool:
    """Whether a model of conversions can be learned, and told from the rate."""
    learn, choose = Clicked.of(parts.learn, have), Clicked.of(parts.choose, have)
    return learn.conversions >= least and choose.conversions >= HELD_OUT


def clicked_trees(parts: Parts, have: tuple[str, ...], config: RankingConfig, seed: int) -> tuple[Boosted, Option]:
    """Trees of clicked items alone."""
    learn, choose = (
        Examples(part.inputs.features, part.converted)
        for part in (Clicked.of(parts.learn, have), Clicked.of(parts.choose, have))
    )
    trees = train(learn, choose, config=config, seed=seed)

    def unseen() -> Floats:
        return cross_fitted(learn, trees.booster.num_trees(), config, seed)

    return trees, Option(lambda inputs: trees.predict(inputs.features, config.threads), unseen)


def cross_fitted(rows: Examples, trees: int, config: RankingConfig, seed: int) -> Floats:
    """Scores `[n]`, each from trees that have not seen the row, nor those of the days around it."""
    fold = np.arange(len(rows.rows)) * _FOLDS // max(len(rows.rows), 1)
    scores = np.zeros(len(fold))
    for out in range(_FOLDS):
        others = Examples(rows.rows[fold != out], rows.target[fold != out])
        scores[fold == out] = train(others, trees, config=config, seed=seed).predict(
            rows.rows[fold == out], config.threads
        )
    return scores


def entire_trees(parts: Parts, ratios: Floats, unexposed: Inputs, config: RankingConfig, seed: int) -> Boosted:
    """Trees of P(click and conversion) at the first place, over all that was shown and what was not."""
    learn, choose = (_both(part, ratios) for part in (parts.learn, parts.choose))
    learn = mixed(learn, unexposed.features, config.unexposed_weight, usual(learn.target))
    return train(learn, choose, config=config, seed=seed)


def _both(rows: Rows, ratios: Floats) -> Examples:
    target = rows.later.converted.astype(np.float64)
    return Examples(rows.features, target, offset=place_offset(rows, target, ratios))


def choose_conversions(parts: Parts, options: Options, have: tuple[str, ...], how: str) -> Chosen:
    """The model with the least log loss on the part to choose by, calibrated on the latest clicks.

    Anything but the smoothed rate has to be ahead of it by more than one standard error of the paired difference.
    Where the conversions are too few to calibrate with, the smoothed rate is shipped as it is.
    """
    choose, report, latest = (Clicked.of(part, have) for part in (parts.choose, parts.report, parts.latest))
    about = {
        "convert_delay_hours": parts.learn.mature_ms / _HOUR_MS,
        "convert_rows": float(len(latest.inputs)),
        "convert_positives": float(latest.conversions),
    }
    if min(choose.conversions, len(choose.inputs) - choose.conversions) < HELD_OUT:
        calibrated = dict.fromkeys(("convert_calibrated", "convert_clicked", "convert_entire", "convert_net"), 0.0)
        return Chosen("rate", Head(), about | calibrated)
    raw: dict[Name, Floats] = {name: option.score(choose.inputs) for name, option in options.items()}
    heads = {name: Head.fitted(raw[name], choose.told, choose.surface, how) for name in options}
    losses = {name: _losses(choose, heads[name].probability(raw[name], choose.surface)) for name in options}
    best = least_loss(losses)
    about |= {"convert_calibrated": 1.0} | {
        f"convert_{name}": float(best == name) for name in ("clicked", "entire", "net")
    }
    if len(report.inputs):
        for name, option in options.items():
            p = heads[name].probability(option.score(report.inputs), report.surface)
            about[f"convert_log_loss {name}"] = float(_losses(report, p).mean())
            if name == best:
                about |= {"convert_auc": auc(report.converted, p), "convert_pcoc": pcoc(report.told, p)}
    return Chosen(best, _calibrated(options[best], Clicked.of(parts.learn, have), latest, how), about)


def _calibrated(option: Option, learn: Clicked, latest: Clicked, how: str) -> Head:
    """From the latest clicks that hold `ENOUGH` conversions, as far back as the model can be asked."""
    raw = option.score(latest.inputs)
    if option.unseen is None or latest.conversions >= ENOUGH:
        return Head.fitted(raw, latest.told, latest.surface, how)
    raw, told, converted = (
        np.concatenate(both)
        for both in ((option.unseen(), raw), (learn.told, latest.told), (learn.converted, latest.converted))
    )
    kept = np.cumsum(converted[::-1])[::-1] <= ENOUGH
    surface = None
    if learn.surface is not None and latest.surface is not None:
        surface = np.concatenate([learn.surface, latest.surface])[kept]
    return Head.fitted(raw[kept], told[kept], surface, how)


def least_loss(losses: Mapping[Name, Floats]) -> Name:
    """losses: `[n]` of each model over the same rows; `rate` among them."""
    best = min(losses, key=lambda name: float(losses[name].mean()))
    ahead = losses["rate"] - losses[best]
    return best if ahead.mean() > ahead.std() / np.sqrt(len(ahead)) else "rate"


def _losses(rows: Clicked, p: Floats) -> Floats:
    """Log loss of each, by the conversions that will have come in."""
    p = np.clip(p, 1e-9, 1.0 - 1e-9)
    return np.asarray(-rows.told * np.log(p) - (1.0 - rows.told) * np.log1p(-p))
