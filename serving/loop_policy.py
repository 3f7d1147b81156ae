"""Who answers the simulated market in a closed loop: a bundle through the cascade that serves, or a dull control."""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.logs.decode import decode_lines
from pipeline.logs.events import COLUMNS, subject
from pipeline.market.catalogue import NONE, Ints
from pipeline.market.policy import Requests, Slate, shuffle
from pipeline.market.rows import item_numbers
from pipeline.state import Frames
from serving.replay.answers import Slates, chunks
from serving.replay.ports import ReplayEngine
from serving.replay.requests import Asking, asks_of

SERVED: Final = ("podium", "popularity", "random")


class Served:
    """A bundle under the market's requests, against its whole catalogue.

    Explored requests get a uniform order of the first `width` items of their slate, with the chances it was drawn
    with. served: `podium` is the cascade that serves, `popularity` its dull baseline, `random` draws from all items on
    offer, whoever asks.
    """

    def __init__(self, engine: ReplayEngine, width: int, served: str = "podium") -> None:
        if served not in SERVED:
            raise InputError("served", f"one of {', '.join(SERVED)}", received=served)
        self._engine, self._width, self._served = engine, width, served

    def hear(self, lines: pl.Series) -> None:
        """What was delivered, each event once. Raises InputError for a line that is no event."""
        if len(lines):
            self._engine.learn(frames_of(lines))

    def rank(self, requests: Requests, depth: int, rng: np.random.Generator) -> Slate:
        """The cascade's slates as the market's items; explored ones shuffled."""
        if self._served == "random":
            return self._any(requests, depth, rng)
        item = self._numbers()[self._answers(requests, max(depth, self._width))]
        order, propensity, marginal = shuffle(item != NONE, rng)
        drawn = requests.visits.explored[:, None] & (item != NONE)
        shown = np.where(drawn, np.take_along_axis(item, order, axis=1), item)
        return Slate(
            shown[:, :depth],
            np.where(drawn, propensity, 1.0)[:, :depth],
            np.where(drawn, marginal, 1.0)[:, :depth],
        )

    def _answers(self, requests: Requests, width: int) -> NDArray[np.int32]:
        """`[R, width]`: dense items, in blocks as replay asks them."""
        engine = self._engine
        state = engine.state
        rows = requests.asked().with_columns(subject(), page=pl.lit(0, pl.Int32), filters=pl.lit("{}"))
        asks = asks_of(rows, Asking(state.catalogue, state.segment))
        slates = Slates.blank(len(asks), width)
        cascade = None if self._served == "podium" else self._served
        for name, some in chunks(engine, asks, cascade):
            slates.write(some, engine.cascade(name).run(engine.batch([asks[row] for row in some])).batch)
        return slates.item

    def _any(self, requests: Requests, depth: int, rng: np.random.Generator) -> Slate:
        """Uniform draws from what is on offer when the first of the requests is asked."""
        available = self._engine.state.catalogue.at(int(requests.visits.time.min())).available
        offered = self._numbers()[:-1][available]
        offered = offered[offered != NONE]
        item = np.stack([rng.choice(offered, depth, replace=False) for _ in requests.visits.time])
        left = 1.0 / (len(offered) - np.arange(depth))
        return Slate(item, np.broadcast_to(left, item.shape), np.full(item.shape, 1.0 / len(offered)))

    def _numbers(self) -> Ints:
        """The market's number of each dense item; the last entry is that of no item, -1."""
        known = item_numbers(self._engine.state.catalogue.rows["item_id"])
        return np.append(known, NONE)


def frames_of(lines: pl.Series) -> Frames:
    """Event lines as frames by type, each event once."""
    chunk = decode_lines("\n".join(lines.to_list()).encode(), "the market's events")
    if chunk.rejects:
        raise InputError(chunk.rejects[0].field, f"sound events ({chunk.rejects[0].reason})", place=chunk.place)
    return {
        kind: frame.select(*COLUMNS[kind])
        .unique("event_id", keep="first", maintain_order=True)
        .sort("time", "event_id")
        for kind, frame in chunk.frames.items()
    }


def starts_of(hours: float, seal: int) -> Ints:
    """When within a day the engine hears news, ms after midnight: each `hours`, once a tick is sealed."""
    step = round(hours * 3_600_000)
    return np.arange(step, 86_400_000, step, dtype=np.int64) + seal
