"""The models a ranker can have, each learned from the same rows behind one interface."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ranking.boosted import Boosted, Examples, train
from ranking.clicks import place_offset, usual
from ranking.config import RankingConfig
from ranking.conversions import Name, Option, Options, by_rate, clicked_trees, enough, entire_trees
from ranking.inputs import Inputs, Scorer
from ranking.parts import Parts
from ranking.rows import Rows
from ranking.scorers import Trees, conditional
from ranking.unexposed import mixed

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Task:
    """All that a model is learned from. parts: of the clicks; mature: of the conversions; ratios: examination of the
    places; groups: `[N, L + 1]` categories and brand of each item."""

    parts: Parts
    mature: Parts
    ratios: Floats
    unexposed: Inputs
    have: tuple[str, ...]
    config: RankingConfig
    seed: int
    groups: Codes | None
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class Learned:
    """scorer: of clicks; options: what may say P(convert | click); finished: the scorer of both, once one is chosen."""

    scorer: Scorer
    options: Options
    finished: Callable[[Name], Scorer]
    metrics: dict[str, float]


def learn_trees(task: Task) -> Learned:
    """Boosted trees of clicks; and where conversions are not too few, of those of clicked items and of all."""
    parts, config, ratios = task.parts, task.config, task.ratios
    learn, choose = (
        Examples(part.features, part.clicked, offset=place_offset(part, part.clicked, ratios))
        for part in (parts.learn, parts.choose)
    )
    learn = mixed(learn, task.unexposed.features, config.unexposed_weight, usual(learn.target))
    click = train(learn, choose, config=config, seed=task.seed)
    options: dict[Name, Option] = {"rate": by_rate(task.mature, task.have)}
    convert: dict[Name, Boosted] = {}
    if enough(task.mature, config.least_positives, task.have):
        few = config.model_copy(update={"leaves": config.convert_leaves, "learning_rate": config.convert_learning_rate})
        convert["clicked"], options["clicked"] = clicked_trees(task.mature, task.have, few, task.seed)
        convert["entire"] = entire = entire_trees(task.mature, ratios, task.unexposed, config, task.seed)

        def over_all(inputs: Inputs) -> Floats:
            rows = inputs.features
            return conditional(entire.predict(rows, config.threads), click.predict(rows, config.threads))

        options["entire"] = Option(over_all)
    sizes = {f"convert_trees {name}": float(trees.booster.num_trees()) for name, trees in convert.items()}
    metrics = {"trees": float(click.booster.num_trees())} | sizes
    return Learned(Trees(click), options, lambda name: Trees(click, convert.get(name), name == "entire"), metrics)


def learn_net(task: Task) -> Learned:
    """The deep model, of clicks and conversions at once; its module is loaded only where it is asked for."""
    from ranking.deep_train import Labelled, train_deep

    def labelled(rows: Rows, unexposed: Inputs | None = None) -> Labelled:
        offset = place_offset(rows, rows.clicked, task.ratios)
        early = (rows.grade > 0) & ~rows.later.mature
        convert = np.where(early, np.nan, rows.later.converted.astype(np.float64))
        size = 0 if unexposed is None else len(unexposed)
        if unexposed is None or not size or not task.config.unexposed_weight:
            return Labelled(rows.inputs, rows.clicked, convert, offset)
        shown, none = len(rows.grade), np.zeros(size)
        weight = np.append(np.ones(shown), np.full(size, task.config.unexposed_weight * shown / size))
        place = None if offset is None else np.append(offset, np.full(size, usual(rows.clicked)))
        inputs = Inputs.joined([rows.inputs, unexposed])
        return Labelled(inputs, np.append(rows.clicked, none), np.append(convert, none), place, weight)

    known, held_out = labelled(task.parts.learn, task.unexposed), labelled(task.parts.choose)
    groups = np.empty((1, 0), dtype=np.int64) if task.groups is None else task.groups
    net = train_deep(known, held_out, groups, config=task.config.deep, seed=task.seed, device=task.device)
    by_net = Option(lambda inputs: net.raw(inputs, task.config.threads)[1])
    options: dict[Name, Option] = {"rate": by_rate(task.mature, task.have), "net": by_net}
    return Learned(net, options, lambda _: net, {})
