"""Events as JSON lines: columns become text without a Python object per row, and files follow delivery.

No value holds a character that JSON escapes: the market's words are plain, its ids are letters and digits.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.market.world import DAY, START, World

LATE_FROM, LATE_TO = 120_000, 2 * DAY


def field(key: str, value: pl.Expr, *, text: bool = True) -> pl.Expr:
    """`,"key":value`, or null where the value is: a line leaves out what is absent."""
    quote = '"' if text else ""
    return pl.lit(f',"{key}":{quote}') + value.cast(pl.String()) + pl.lit(quote)


def event_lines(kind: str, rows: pl.DataFrame, fields: Mapping[str, bool]) -> pl.DataFrame:
    """`received` and `line` of events of one type.

    rows: `event_id`, `time`, `received` and the named columns; fields: column -> whether it is text to be
    quoted (else it is a number, a boolean or JSON already).
    """
    line = pl.concat_str(
        pl.lit('{"event_id":"') + pl.col("event_id") + pl.lit(f'","type":"{kind}"'),
        field("time", pl.col("time"), text=False),
        field("received", pl.col("received"), text=False),
        *(field(name, pl.col(name), text=text) for name, text in fields.items()),
        pl.lit("}"),
        ignore_nulls=True,
    )
    return rows.select("received", line=line)


def delivered(world: World, rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """`rows` with `received`: seconds after `time`, for the world's late share minutes to days."""
    soon = rng.integers(50, 4000, len(rows)).astype(np.float64)
    late = np.exp(rng.uniform(np.log(LATE_FROM), np.log(LATE_TO), len(rows)))
    delay = np.where(rng.random(len(rows)) < world.late, late, soon).astype(np.int64)
    return rows.with_columns(received=pl.col("time") + pl.Series(delay))


class EventFiles:
    """`part-DAY.jsonl`: each day's file holds what was received that day, in order; what is to come waits."""

    def __init__(
        self, folder: Path, world: World, rng: np.random.Generator, waiting: Sequence[pl.DataFrame] = ()
    ) -> None:
        """waiting: what an earlier day left to be delivered, as `self.waiting` held it."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._world, self._rng = folder, world, rng
        self.waiting, self._untold = list(waiting), list(waiting)
        self.written = 0

    def add(self, lines: pl.DataFrame) -> None:
        """Lines to be delivered, a share of them twice."""
        again = self._rng.random(len(lines)) < self._world.duplicates
        self.waiting += [lines, lines.filter(pl.Series(again))]
        self._untold += self.waiting[-2:]

    def told(self, moment: int) -> pl.Series:
        """The lines received before the moment that no earlier call has told, in order of delivery."""
        untold = pl.concat(self._untold).sort("received", maintain_order=True)
        come = untold["received"].search_sorted(moment)
        self._untold = [untold[come:]]
        return untold["line"][:come]

    def flush(self, day: int, *, last: bool) -> None:
        """Write the day's file; the last day takes everything that is left."""
        waiting = pl.concat(self.waiting).sort("received", maintain_order=True)
        due = len(waiting) if last else waiting["received"].search_sorted(START + (day + 1) * DAY)
        self.waiting = [waiting[due:]]
        self.written += due
        with (self._folder / f"part-{day:03d}.jsonl").open("wb") as file:
            for block in waiting[:due].iter_slices(50_000):
                file.write(("\n".join(block["line"].to_list()) + "\n").encode())
