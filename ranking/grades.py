"""A ranker from judged grades, from the match of query and item alone: nothing else is known of such logs."""

from typing import Final

import numpy as np

from pipeline.features.match import MATCH_NAMES
from ranking.boosted import Examples, train
from ranking.calibration import line
from ranking.config import RankingConfig
from ranking.heads import Curve, Head
from ranking.model import About, Ranker
from ranking.parts import Parts, mean_ndcg
from ranking.rows import Rows
from ranking.scorers import Trees

JUDGED: Final = (*MATCH_NAMES, "query_terms", "query_letters")


def fit_grades(
    rows: Rows, have: tuple[str, ...], config: RankingConfig, seed: int
) -> tuple[Ranker, dict[str, float]] | None:
    """Trees for judged grades and held-out metrics; None for too few queries."""
    if rows.requests < config.least_requests // 4:
        return None
    parts = Parts.of(rows, config.latest_share)
    used = tuple(name for name in have if name in JUDGED)
    columns = np.array([have.index(name) for name in used])
    learn, choose = (
        Examples(part.features[:, columns], part.grade, np.bincount(part.request))
        for part in (parts.learn, parts.choose)
    )
    trees = train(learn, choose, config=config, seed=seed)
    head = Head(Curve(*line(trees.predict(choose.rows), choose.target)))
    about = About("grade", have, used, "", 1.0, head, dict(config.gains), runtime=config.runtime)
    ranker = Ranker(about, Trees(trees, columns=columns))
    score, _ = ranker.predict(parts.report.inputs, config.threads)
    lexical = np.nan_to_num(parts.report.features[:, have.index("title_bm25")])
    return ranker, {
        "requests": float(parts.report.requests),
        "rmse": float(np.sqrt(np.mean((score - parts.report.grade) ** 2))),
        "ndcg_exp@10": mean_ndcg(parts.report, score, exponential=True),
        "ndcg_exp@10 title_bm25": mean_ndcg(parts.report, lexical, exponential=True),
        "trees": float(trees.booster.num_trees()),
        "long_queries": float(learn.long),
    }
