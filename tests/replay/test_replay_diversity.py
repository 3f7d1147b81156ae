"""Diversity of slates on category paths, and podium over its own trade-off."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
import pytest

from pipeline.batch import Batch
from pipeline.cascade import Cascade, Step
from pipeline.catalogue import Catalogue, build_catalogue
from pipeline.logs.read import Log
from pipeline.stage import Effect
from serving.ports import Ask
from serving.replay.diversity import VALUES, distances, entropy
from serving.replay.run import EvaluateOptions, evaluate
from serving.replay.stretches import stretches
from tests.frames import frame, item
from tests.replay import market
from tests.replay.fake_engine import FakeEngine


@pytest.fixture
def catalogue() -> Catalogue:
    paths = {"a": ["x", "y"], "b": ["x", "y"], "c": ["x", "z"], "d": ["w"], "e": None}
    items = frame("item", *(item(name, category=path) for name, path in paths.items()))
    return build_catalogue(items, items["item_id"])


def rows(catalogue: Catalogue, *lists: str) -> np.ndarray:
    width = max(map(len, lists))
    return np.array(
        [[*(catalogue.index[name] for name in each), *[-1] * (width - len(each))] for each in lists], dtype=np.int32
    )


def test_distance_is_what_two_paths_do_not_share(catalogue: Catalogue) -> None:
    lists = rows(catalogue, "ab", "ac", "ad", "acd")
    assert distances(lists, catalogue) == pytest.approx([0.0, 0.5, 1.0, (0.5 + 1 + 1) / 3])


def test_items_without_a_category_say_nothing(catalogue: Catalogue) -> None:
    assert distances(rows(catalogue, "ae", "ace"), catalogue) == pytest.approx([np.nan, 0.5], nan_ok=True)
    assert entropy(rows(catalogue, "e", "ade"), catalogue) == pytest.approx([np.nan, log(2)], nan_ok=True)


def test_entropy_is_of_the_shares_of_top_categories(catalogue: Catalogue) -> None:
    expected = -(3 / 4 * log(3 / 4) + 1 / 4 * log(1 / 4))
    assert entropy(rows(catalogue, "abcd", "ab"), catalogue) == pytest.approx([expected, 0.0])


def test_only_the_first_k_places_count(catalogue: Catalogue) -> None:
    assert distances(rows(catalogue, "abd"), catalogue, 2) == pytest.approx([0.0])


@dataclass(frozen=True)
class Turn:
    """Puts the last item first where more than half of diversity is asked for."""

    name: str = "turn"
    effect: Effect = Effect.ORDER
    reads: frozenset[str] = frozenset({"score", "request.diversity"})
    writes: frozenset[str] = frozenset()

    def run(self, batch: Batch) -> Batch:
        places = np.tile(np.arange(batch.item.shape[1]), (batch.size, 1))
        much = batch.request("diversity") > 0.5
        places[much] = places[much][:, ::-1]
        return batch.take(places)


class Turned(FakeEngine):
    def batch(self, asks: Sequence[Ask]) -> Batch:
        return super().batch(asks).with_requests(diversity=np.full(len(asks), np.nan, dtype=np.float32))

    def cascade(self, name: str) -> Cascade:
        plain = super().cascade(name)
        return Cascade(name, (*plain.steps, Step(Turn())), plain.given | {"request.diversity"})


def test_the_curve_asks_for_every_value_and_the_default_is_its_beginning(
    engine_of: Callable[..., FakeEngine], write_log: Callable[..., Log], tmp_path: object
) -> None:
    plain = engine_of({"item": market.items()}, quality=market.GOOD)
    engine = Turned(plain.state, plain.bundle, quality=market.GOOD)
    report = evaluate(engine, write_log(market.log()), EvaluateOptions(), tmp_path)  # type: ignore[arg-type]
    found = report.diversity["funnel"]
    curve = {row["diversity"]: row["ndcg@10"]["mean"] for row in found["curve"]}
    assert tuple(curve) == VALUES
    assert found["sample"] == 100
    assert curve[0.0] == curve[0.5] > curve[0.7] == curve[0.9]
    assert found["systems"]["podium"]["ild@10"]["mean"] == pytest.approx(9 / 15)  # 9 of 15 pairs are of both kinds


def test_without_a_knob_there_is_no_curve(
    engine_of: Callable[..., FakeEngine], write_log: Callable[..., Log], tmp_path: object
) -> None:
    engine = engine_of({"item": market.items()}, quality=market.GOOD)
    report = evaluate(engine, write_log(market.log()), EvaluateOptions(), tmp_path)  # type: ignore[arg-type]
    assert report.diversity["funnel"]["curve"] == []


def test_a_stretch_is_of_neighbours_in_time_from_the_first_to_the_last() -> None:
    asks = [Ask(str(time), time) for time in reversed(range(100))]
    times = [asks[row].time for row in stretches(asks, np.arange(100), 8)]
    assert times == [0, 1, 32, 33, 65, 66, 98, 99]
    assert [asks[row].time for row in stretches(asks, np.array([0, 99]), 8)] == [0, 99]
