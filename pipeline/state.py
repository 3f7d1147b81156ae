"""What a request may know: the catalogue, counts by tick and what each subject did, all read as of a moment.

Training, replay and the service hold the same State and grow it by the same `advance`, so that a number computed
for a logged request is the number the service would have used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.catalogue import Catalogue
from pipeline.errors import ArtifactError
from pipeline.features.counters import Counters
from pipeline.features.ids import key_column, pair
from pipeline.features.layers import CounterLayers, SequenceLayers
from pipeline.features.sequences import Sequences
from pipeline.features.text import normalise
from pipeline.features.ticks import FOREVER, first_tick, usable_tick
from pipeline.logs.events import empty, subject
from pipeline.stored import read_table

Frames = Mapping[str, pl.DataFrame]  # event type -> rows as `pipeline.logs.events.COLUMNS`

ACTIONS = ("view", "click", "cart", "purchase", "like", "hide")
COUNTED = ("shown", "positive", "clicked", *ACTIONS)
SETS = ("items", "segments", "query_items", "affinity", "queries")
DAY = 24  # ticks


@dataclass(frozen=True, slots=True)
class State:
    """counters: name -> counts of COUNTED (`clicked`: clicks that name a page counted no later), keyed
    items: dense item · segments: (segment, item) · query_items: (query, item) ·
    affinity: (subject, category prefix) and (subject, brand) · queries: query.

    history: positive actions; marks: hides and purchases. referred: what feedback may refer to by request_id;
    waiting: feedback whose page has not come, which may come later and still be counted no later than it.
    gains: action -> gain; an action with a gain above 0 is positive. segment: the key of `context` to segment by.
    """

    clock: str
    catalogue: Catalogue
    counters: Mapping[str, CounterLayers]
    history: SequenceLayers
    marks: SequenceLayers
    referred: pl.DataFrame
    waiting: pl.DataFrame
    gains: Mapping[str, float]
    segment: str

    def tick(self, time: NDArray[np.int64]) -> NDArray[np.int64]:
        """The tick a request may use; on a log without clock time all of the history."""
        return usable_tick(time) if self.clock == "exact" else np.full(len(time), FOREVER, dtype=np.int64)

    def advance(self, events: Frames) -> "State":
        """The state that knows these events as well; what they change shows from their own time on."""
        events = {kind: events.get(kind, empty(kind)) for kind in ("item", "impression", "feedback")}
        mentioned = [events["feedback"]["item_id"], _shown(events["impression"])["item_id"]]
        catalogue = self.catalogue.extend(events["item"], pl.concat(mentioned))
        facts = _facts(events, catalogue, self)
        counters = {name: layers.add(facts.counters[name]) for name, layers in self.counters.items()}
        return replace(
            self,
            catalogue=catalogue,
            counters=counters,
            history=self.history.add(facts.history),
            marks=self.marks.add(facts.marks),
            referred=facts.referred,
            waiting=facts.waiting,
        )

    def save(self, folder: Path) -> None:
        """Counts and sequences; the catalogue is an artifact of its own."""
        for name, layers in self.counters.items():
            layers.base.merge(layers.recent).save(folder, name)
        for name, sequence in (("history", self.history), ("marks", self.marks)):
            whole = sequence.base if sequence.recent is None else sequence.base.merge(sequence.recent)
            whole.save(folder, name)
        self.referred.write_parquet(folder / "referred.parquet")
        self.waiting.write_parquet(folder / "waiting.parquet")
        about = {"clock": self.clock, "gains": dict(self.gains), "segment": self.segment, "counted": COUNTED}
        (folder / "state.json").write_bytes(msgspec.json.encode(about))

    @classmethod
    def open(cls, folder: Path, catalogue: Catalogue) -> "State":
        try:
            about = msgspec.json.decode((folder / "state.json").read_bytes(), type=_About)
        except (OSError, msgspec.DecodeError) as error:
            raise ArtifactError("state.json", f"the description of a state ({error})", place=str(folder)) from error
        if about.counted != COUNTED:
            raise ArtifactError("state.json: counted", f"{', '.join(COUNTED)}; train again", place=str(folder))
        counters = {name: CounterLayers.of(Counters.open(folder, name, COUNTED)) for name in SETS}
        history, marks = (SequenceLayers(Sequences.open(folder, name)) for name in ("history", "marks"))
        referred = read_table(folder / "referred.parquet", _REFERRED)
        waiting = read_table(folder / "waiting.parquet", _ACTS)
        return cls(about.clock, catalogue, counters, history, marks, referred, waiting, about.gains, about.segment)


class _About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    clock: Literal["exact", "order"]
    gains: dict[str, float]
    segment: str
    counted: tuple[str, ...]


def initial_state(clock: str, catalogue: Catalogue, gains: Mapping[str, float], segment: str = "region") -> State:
    """A state that has seen no event yet."""
    counters = {name: CounterLayers.of(Counters.empty(COUNTED)) for name in SETS}
    nothing = np.empty(0, dtype=np.int64)
    blank = Sequences.of(nothing, nothing, nothing, nothing.astype(np.int32), nothing.astype(np.int8))
    referred, waiting = pl.DataFrame(schema=_REFERRED), pl.DataFrame(schema=_ACTS)
    history, marks = SequenceLayers(blank), SequenceLayers(blank)
    return State(clock, catalogue, counters, history, marks, referred, waiting, gains, segment)


_REFERRED = {
    "request_id": pl.String(),
    "tick": pl.Int64(),
    "query_key": pl.Int64(),
    "segment_key": pl.Int64(),
}
_ACTS = {
    "action": pl.String(),
    "time": pl.Int64(),
    "received": pl.Int64(),
    "request_id": pl.String(),
    "subject_key": pl.Int64(),
    "item": pl.Int32(),
    "tick": pl.Int64(),
    "what": pl.Int32(),
    "positive": pl.Boolean(),
}
_PATIENCE = 2 * DAY  # ticks that feedback waits for its page; one that is longer on its way is counted later anyway


@dataclass(frozen=True, slots=True)
class _Facts:
    counters: Mapping[str, Counters]
    history: Sequences
    marks: Sequences
    referred: pl.DataFrame
    waiting: pl.DataFrame


def _facts(events: Frames, catalogue: Catalogue, state: State) -> _Facts:
    """What the events add, as counts and sequences over the catalogue's dense ids."""
    pages = _pages(events["impression"], state.segment)
    referred = state.referred if not len(pages) else _first_pages(pl.concat([state.referred, pages.select(*_REFERRED)]))
    shown = _shown_rows(events["impression"], pages, catalogue)
    acts = _act_rows(events["feedback"], catalogue, state.gains)
    positive = acts.filter(pl.col("positive"))
    placed, waiting = _placed(pl.concat([state.waiting, acts.filter(pl.col("request_id").is_not_null())]), referred)
    # A rate needs clicks and showings of the same pages; clicks without a page would make it exceed one.
    clicked = _as(placed.filter(pl.col("action") == "click"), "clicked")
    named = pl.concat([_named(acts), _as(positive, "positive"), clicked], how="diagonal")
    on_pages = pl.concat([_named(placed), _as(placed.filter(pl.col("positive")), "positive"), clicked])
    searches = pages.filter(pl.col("query_key").is_not_null() & (pl.col("page") == 0))
    items = pl.concat([shown, named], how="diagonal")
    counters = {
        "items": _count(items, items["item"].cast(pl.Int64).to_numpy()),
        "segments": _paired(on_pages.filter(pl.col("what") == COUNTED.index("positive")), "segment_key"),
        "query_items": _paired(pl.concat([shown, on_pages.select(shown.columns)]), "query_key"),
        "affinity": _affinity(positive, catalogue),
        "queries": _count(searches.with_columns(what=pl.lit(0)), searches["query_key"].to_numpy()),
    }
    marked = acts.filter(pl.col("action").is_in(["hide", "purchase"]))
    return _Facts(counters, _sequence(positive), _sequence(marked), referred, waiting)


def _placed(acts: pl.DataFrame, referred: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Actions whose page was counted no later than themselves, with its query and segment; and those that wait.

    Which pages are known depends on delivery; which ones are counted no later does not, for these have come before
    the tick is used.
    """
    rows = acts.join(referred, on="request_id", how="left", maintain_order="left", suffix="_page")
    in_time = (pl.col("tick_page") <= pl.col("tick")).fill_null(False)
    waiting = rows.filter(~in_time & (pl.col("tick") > pl.col("tick").max() - _PATIENCE))
    return rows.filter(in_time), waiting.select(*_ACTS)


def _named(acts: pl.DataFrame) -> pl.DataFrame:
    return acts.filter(pl.col("what") >= 0).select(name for name in _ROWS if name in acts.columns)


def _first_pages(referred: pl.DataFrame) -> pl.DataFrame:
    """A request's pages are counted from the first of them on."""
    return referred.sort("request_id", "tick").unique("request_id", keep="first", maintain_order=True)


def _shown(impressions: pl.DataFrame) -> pl.DataFrame:
    pages = impressions.select("request_id", "page", pl.col("items").list.eval(pl.element().struct["item_id"]))
    return pages.explode("items", empty_as_null=False).rename({"items": "item_id"})


def _pages(impressions: pl.DataFrame, segment: str) -> pl.DataFrame:
    """One row an impression: its tick, and the keys of its query and segment (null where it has none)."""
    query = pl.Series("query", [None if q is None else normalise(q) for q in impressions["query"]], dtype=pl.String)
    place = impressions["context"].str.json_path_match(f"$.{segment}")
    tick = first_tick(impressions["time"].to_numpy(), impressions["received"].to_numpy())
    return impressions.select("request_id", "page", "event_id").with_columns(
        tick=pl.Series(tick, dtype=pl.Int64),
        query_key=_key_or_null(query),
        segment_key=_key_or_null(place),
    )


def _key_or_null(column: pl.Series) -> pl.Series:
    keyed = pl.Series("key", key_column(column), dtype=pl.Int64)
    return pl.select(pl.when(column.is_not_null()).then(keyed)).to_series()


_ROWS = ("item", "tick", "what", "query_key", "segment_key")


def _shown_rows(impressions: pl.DataFrame, pages: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    items = impressions.select("event_id", pl.col("items").list.eval(pl.element().struct["item_id"]).alias("item_id"))
    rows = pages.join(items, on="event_id", maintain_order="left").explode("item_id", empty_as_null=False)
    return rows.with_columns(
        item=pl.Series(catalogue.dense(rows["item_id"]), dtype=pl.Int32), what=pl.lit(0, dtype=pl.Int32)
    ).select(_ROWS)


def _act_rows(feedback: pl.DataFrame, catalogue: Catalogue, gains: Mapping[str, float]) -> pl.DataFrame:
    """One row an action."""
    tick = first_tick(feedback["time"].to_numpy(), feedback["received"].to_numpy())
    places = {action: COUNTED.index(action) for action in ACTIONS}
    return feedback.select(
        "action",
        "time",
        "received",
        "request_id",
        subject_key=pl.Series(key_column(feedback.select(subject())["subject"]), dtype=pl.Int64),
        item=pl.Series(catalogue.dense(feedback["item_id"]), dtype=pl.Int32),
        tick=pl.Series(tick, dtype=pl.Int64),
        what=pl.col("action").replace_strict(places, default=-1, return_dtype=pl.Int32),
        positive=pl.col("action").is_in([action for action, gain in gains.items() if gain > 0]),
    )


def _as(acts: pl.DataFrame, what: str) -> pl.DataFrame:
    rows = acts.select(name for name in _ROWS if name in acts.columns)
    return rows.with_columns(what=pl.lit(COUNTED.index(what), dtype=pl.Int32))


def _count(rows: pl.DataFrame, key: NDArray[np.int64]) -> Counters:
    return Counters.count(COUNTED, key, rows["tick"].to_numpy(), rows["what"].to_numpy())


def _paired(rows: pl.DataFrame, with_: str) -> Counters:
    rows = rows.filter(pl.col(with_).is_not_null())
    return _count(rows, pair(rows[with_].to_numpy(), rows["item"].cast(pl.Int64).to_numpy()))


def _affinity(positive: pl.DataFrame, catalogue: Catalogue) -> Counters:
    """Positive actions of each subject by category prefix and by brand, and in all (under the key 0)."""
    item = positive["item"].to_numpy()
    groups = np.column_stack([catalogue.category[item], catalogue.brand[item], np.zeros(len(item), dtype=np.int64)])
    subject_key = positive["subject_key"].to_numpy()[:, None]
    wanted = np.column_stack([groups[:, :-1] != 0, np.ones(len(item), dtype=np.bool_)])
    key = pair(np.broadcast_to(subject_key, groups.shape), groups)[wanted]
    tick = np.broadcast_to(positive["tick"].to_numpy()[:, None], groups.shape)[wanted]
    return Counters.count(COUNTED, key, tick, np.full(len(key), COUNTED.index("positive")))


def _sequence(acts: pl.DataFrame) -> Sequences:
    action = acts["action"].replace_strict({a: i for i, a in enumerate(ACTIONS)}, default=-1, return_dtype=pl.Int8)
    columns = (acts["subject_key"], acts["time"], acts["received"], acts["item"], action)
    return Sequences.of(*(column.to_numpy() for column in columns))
