"""What a request may know: the catalogue, counts by tick and what each subject did, all read as of a moment.

Training, replay and the service hold the same State and grow it by the same `advance`, so that a number computed
for a logged request is the number the service would have used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.catalogue import Catalogue
from pipeline.counting import COUNTED, PAIR_SETS, SETS, count
from pipeline.errors import ArtifactError
from pipeline.features.asking import UserLayers, user_schema
from pipeline.features.counters import Counters
from pipeline.features.declared import Declarations, as_told, declarations, wanted
from pipeline.features.declaring import Declaring
from pipeline.features.layers import CounterLayers, PairLayers, SequenceLayers
from pipeline.features.pairs import PairCounters
from pipeline.features.sequences import Sequences
from pipeline.features.ticks import FOREVER, SEAL_MS, usable_tick
from pipeline.logs.partitions import CLOCKS, DAY_MS
from pipeline.observed import ACTIONS, mentioned, nothing
from pipeline.pages import WAITING, Pages, referred_schema
from pipeline.stored import read_table

__all__ = ["ACTIONS", "COUNTED", "DAY", "PARTS", "About", "Frames", "State", "boundary", "initial_state", "save_rest"]

Frames = Mapping[str, pl.DataFrame]  # event type -> rows as `pipeline.logs.events.COLUMNS`

DAY = 24  # ticks
PARTS = ("base", "recent")  # of a saved state
_WEEK = 7  # days


@dataclass(frozen=True, slots=True)
class State:
    """counters: name -> counts of some of COUNTED (`clicked`: clicks that name a page counted no later), keyed
    items: dense item · queries: query. pairs: segments: (segment, item) · query_items: (query, item) ·
    affinity: (subject, category prefix), (subject, brand) and, for all that a subject did, (subject, 0).

    history: positive actions; marks: hides and purchases. pages: what feedback may refer to by request_id, and
    feedback whose page has not come, which may come later and still be counted no later than it.
    gains: action -> gain; an action with a gain above 0 is positive. segment: the key of `context` to segment by.
    declared: the features that the pairs `declared` are counted for; users: the attributes these read.
    """

    clock: str
    catalogue: Catalogue
    counters: Mapping[str, CounterLayers]
    pairs: Mapping[str, PairLayers]
    history: SequenceLayers
    marks: SequenceLayers
    pages: Pages
    gains: Mapping[str, float]
    segment: str
    declared: Declarations = ()
    users: UserLayers = field(default_factory=UserLayers.empty)

    def tick(self, time: NDArray[np.int64]) -> NDArray[np.int64]:
        """The tick a request may use; on a log without clock time all of the history."""
        return usable_tick(time) if self.clock == "exact" else np.full(len(time), FOREVER, dtype=np.int64)

    def advance(self, events: Frames) -> "State":
        """The state that knows these events as well; what they change shows from their own time on."""
        events = {kind: events.get(kind, nothing(kind)) for kind in ("item", "user", "impression", "feedback")}
        catalogue = self.catalogue.extend(events["item"], mentioned(events["impression"], events["feedback"]))
        users = self.users.add(events["user"])
        declaring = Declaring(self.declared, users, self.clock)
        facts = count(events, catalogue, self.gains, self.segment, self.pages, declaring)
        counters = {name: layers.add(facts.counters[name]) for name, layers in self.counters.items()}
        pairs = {name: layers.add(facts.pairs[name]) for name, layers in self.pairs.items()}
        return replace(
            self,
            catalogue=catalogue,
            counters=counters,
            pairs=pairs,
            history=self.history.add(facts.history),
            marks=self.marks.add(facts.marks),
            pages=facts.pages,
            users=users,
        )

    def save(self, folder: Path) -> None:
        """Counts and sequences, in two parts (see `boundary`); the catalogue is an artifact of its own."""
        day = boundary(self.pages.latest)
        for name, layers in self.counters.items():
            for part, run in zip(PARTS, layers.whole().parted(day * DAY), strict=True):
                run.save(folder, f"{part}.{name}")
        for name, paired in self.pairs.items():
            for part, pairs in zip(PARTS, paired.whole().parted(day * DAY), strict=True):
                pairs.save(folder, f"{part}.{name}")
        for name, sequence in (("history", self.history), ("marks", self.marks)):
            for part, acts in zip(PARTS, sequence.whole().parted(day * DAY_MS), strict=True):
                acts.save(folder, f"{part}.{name}")
        about = About(self.clock, dict(self.gains), self.segment, self.pages.latest, as_told(self.declared))
        save_rest(folder, self.pages, about, self.users)

    @classmethod
    def open(cls, folder: Path, catalogue: Catalogue) -> "State":
        try:
            about = msgspec.json.decode((folder / "state.json").read_bytes(), type=About)
        except (OSError, msgspec.DecodeError) as error:
            raise ArtifactError("state.json", f"the description of a state ({error})", place=str(folder)) from error
        if about.clock not in CLOCKS:
            raise ArtifactError(
                "state.json: clock", f"one of {', '.join(CLOCKS)}", place=str(folder), received=about.clock
            )
        if about.counted != COUNTED:
            raise ArtifactError("state.json: counted", f"{', '.join(COUNTED)}; train again", place=str(folder))
        counters = {
            name: CounterLayers.opened(*(Counters.open(folder, f"{part}.{name}", of) for part in PARTS))
            for name, of in SETS.items()
        }
        pairs = {
            name: PairLayers.opened(*(PairCounters.open(folder, f"{part}.{name}", of) for part in PARTS))
            for name, of in PAIR_SETS.items()
        }
        history, marks = (
            SequenceLayers.opened(*(Sequences.open(folder, f"{part}.{name}") for part in PARTS))
            for name in ("history", "marks")
        )
        declared = declarations(about.declared, str(folder))
        referred = read_table(folder / "referred.parquet", referred_schema(declared))
        pages = Pages.of(referred, read_table(folder / "waiting.parquet", WAITING), about.latest)
        names = wanted(declared).users
        users = UserLayers.empty()
        if names:
            users = UserLayers.opened(names, read_table(folder / "users.parquet", user_schema(names)))
        known = (about.gains, about.segment, declared, users)
        return cls(about.clock, catalogue, counters, pairs, history, marks, pages, *known)


def boundary(latest: int) -> int:
    """The day (from 1970-01-01) that the parts of a saved state meet at: `base` holds what counts up to its first
    tick, `recent` what counts later. latest: the time of the latest event, ms.

    Weeks from 1970-01-01, so that a state of the same events has the same files however it was built. Whatever
    happens or arrives after `latest` counts later than at the first tick of that day, which is sealed by then: new
    events leave `base` as it is but once a week.
    """
    return (latest - SEAL_MS) // (_WEEK * DAY_MS) * _WEEK


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a saved state is besides its arrays. latest: see `Pages`."""

    clock: str
    gains: dict[str, float]
    segment: str
    latest: int
    declared: tuple[dict[str, Any], ...] = ()
    counted: tuple[str, ...] = COUNTED


def save_rest(folder: Path, pages: Pages, about: About, users: UserLayers | None = None) -> None:
    """What a saved state holds besides counts and sequences."""
    if users is not None and users.names:
        users.whole().table().write_parquet(folder / "users.parquet")
    pages.referred.write_parquet(folder / "referred.parquet")
    pages.waiting.write_parquet(folder / "waiting.parquet")
    (folder / "state.json").write_bytes(msgspec.json.encode(about))


def initial_state(
    clock: str,
    catalogue: Catalogue,
    gains: Mapping[str, float],
    segment: str = "region",
    declared: Declarations = (),
) -> State:
    """A state that has seen no event yet."""
    counters = {name: CounterLayers.of(Counters.empty(of)) for name, of in SETS.items()}
    pairs = {name: PairLayers.of(PairCounters.empty(of)) for name, of in PAIR_SETS.items()}
    nothing = np.empty(0, dtype=np.int64)
    blank = Sequences.of(nothing, nothing, nothing, nothing.astype(np.int32), nothing.astype(np.int8))
    history, marks = SequenceLayers(blank), SequenceLayers(blank)
    known = (Pages.none(declared), gains, segment, declared, UserLayers.empty(wanted(declared).users))
    return State(clock, catalogue, counters, pairs, history, marks, *known)
