"""Building a saved state from a log in bounded memory, and growing it by new days.

The log is counted a few days at a time; what they add goes to disk, and what belongs to one key is put together in the
end. The files are byte for byte those of `initial_state(...).advance(everything).save(...)`. New days only add to the
part of a state that holds its latest week: the other one is linked, and written again once a week.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.catalogue import Catalogue
from pipeline.counting import PAIR_SETS, SETS, Facts, affinity, count, read_columns
from pipeline.errors import InputError
from pipeline.features.asking import UserLayers
from pipeline.features.counters import Counters
from pipeline.features.declared import Declarations, as_told, wanted
from pipeline.features.declaring import Declaring
from pipeline.features.gather import Part, gather, rewritten
from pipeline.features.pairs import PairCounters
from pipeline.features.runs import TICK_BITS, TICK_MASK, Run, coded
from pipeline.features.sequences import Sequences
from pipeline.features.ticks import first_tick
from pipeline.logs.partitions import DAY_MS, link
from pipeline.logs.read import Log
from pipeline.observed import nothing
from pipeline.pages import Pages
from pipeline.state import DAY, PARTS, About, State, boundary, save_rest

MOST_ROWS: Final = 100_000  # impressions and feedback counted at once

Column = NDArray[Any]
Dense = NDArray[np.int64]  # `[N + 1]`: the new dense id of each old one, and -1 for -1


@dataclass(frozen=True, slots=True)
class Earlier:
    """A state that was built of all that happened and arrived before `since`, ms."""

    state: State
    folder: Path
    since: int


def build_state(
    log: Log,
    catalogue: Catalogue,
    gains: Mapping[str, float],
    folder: Path,
    *,
    segment: str = "region",
    declared: Declarations = (),
    earlier: Earlier | None = None,
    most: int = MOST_ROWS,
) -> State:
    """Count the log's impressions and feedback, save the state into `folder` and open it.

    catalogue: knows every item the log names. earlier: what is already counted; only what came since is read.
    Raises InputError when `earlier` cannot be grown, see `misfit`.
    """
    if earlier is not None and (fault := misfit(earlier, catalogue, gains, segment, declared)):
        raise fault
    since = None if earlier is None else earlier.since
    declaring = Declaring(declared, _users(log, wanted(declared).users), log.clock)
    columns = read_columns(declared)
    with tempfile.TemporaryDirectory(prefix=".parts-", dir=folder) as scratch:
        before = None if earlier is None else _carried(earlier, catalogue, Path(scratch) / "earlier")
        pages = Pages.none(declared) if before is None else before.pages
        added: list[Facts | Path] = []  # a day's worth stays in memory; of a longer log the rest is written
        for frames in log.slices(columns, most, since=since):
            facts = count(frames, catalogue, gains, segment, pages, declaring)
            pages = facts.pages
            added.append(_written(facts, Path(scratch) / str(len(added))) if added else facts)
        if before is None and not added:
            added = [count({kind: nothing(kind) for kind in columns}, catalogue, gains, segment, pages, declaring)]
        for name, kind in _KINDS.items():
            _join(name, kind, before, [kind.added(name, some) for some in added], boundary(pages.latest), folder)
    about = About(log.clock, dict(gains), segment, pages.latest, as_told(declared))
    save_rest(folder, pages, about, declaring.users)
    return State.open(folder, catalogue)


def _users(log: Log, names: tuple[str, ...]) -> UserLayers:
    """All rows of users, since a page may be counted before a row it knows is read; none where nothing asks."""
    known = UserLayers.empty(names)
    if not names:
        return known
    return known.add(log.frame("user", columns=["user_id", "attributes", "time", "received"]))


@dataclass(frozen=True, slots=True)
class _Kind:
    """Runs of one name. day: how long one is where the runs are parted, in ticks or ms; dense: the column that holds
    dense ids, and what becomes of it when items get new ones."""

    columns: tuple[str, ...]
    make: Callable[..., Any]
    together: Callable[[Sequence[Any]], Any]
    day: int = DAY
    dense: tuple[str, Callable[[Dense, Column], Column]] | None = None

    def stored(self, folder: Path, name: str) -> Part[Any]:
        return Part.stored(folder, name, self.columns, self.make)

    def added(self, name: str, some: "Facts | Path") -> Part[Any]:
        """Of what some events add, in memory or saved."""
        if isinstance(some, Path):
            return self.stored(some, name)
        return Part.held(_runs(some)[name], self.columns, self.make)

    def files(self, name: str) -> dict[str, str]:
        """The file of each column."""
        return {column: f"{name}.{column}.npy" for column in ("keys", "start", *self.columns)}


def _items(item: Dense, items: Column) -> Column:
    return item[items].astype(items.dtype)


def _codes(item: Dense, code: Column) -> Column:
    return coded(item[code >> TICK_BITS], code & TICK_MASK)


def _kinds() -> dict[str, _Kind]:
    counts, acts = ("code", "total"), ("time", "received", "item", "action")
    dense = {"items": ("keys", _items), "segments": ("code", _codes), "query_items": ("code", _codes)}
    sets = ((Counters, SETS), (PairCounters, PAIR_SETS))
    return {
        **{
            name: _Kind(counts, partial(run, names), run.combined, dense=dense.get(name))
            for run, known in sets
            for name, names in known.items()
        },
        **{name: _Kind(acts, Sequences, Sequences.combined, DAY_MS, ("item", _items)) for name in ("history", "marks")},
    }


_KINDS: Final = _kinds()


def _runs(facts: Facts) -> Mapping[str, Run | Sequences]:
    return {**facts.counters, **facts.pairs, "history": facts.history, "marks": facts.marks}


def _written(facts: Facts, folder: Path) -> Path:
    """What some events add, saved."""
    folder.mkdir()
    for name, run in _runs(facts).items():
        run.save(folder, name)
    return folder


@dataclass(frozen=True, slots=True)
class _Carried:
    """The files of an earlier state over the new catalogue's dense ids. day: where its parts meet."""

    folder: Path
    pages: Pages
    day: int


def _join(name: str, kind: _Kind, before: _Carried | None, parts: list[Part[Any]], day: int, folder: Path) -> None:
    """Save what was carried and what was added of one name, parted at a day."""
    base, recent = (f"{part}.{name}" for part in PARTS)
    if before is not None and before.day == day:
        for file in kind.files(base).values():
            link(before.folder / file, folder / file)
        gather([kind.stored(before.folder, recent), *parts], lambda runs: [kind.together(runs)], folder, [recent])
        return
    if before is None:
        gather(parts, lambda runs: kind.together(runs).parted(day * kind.day), folder, [base, recent])
        return

    def turned(runs: Sequence[Any]) -> tuple[Any, Any]:
        # What was the base is all earlier than the day: only the rest has to be parted.
        early, late = kind.together(runs[1:]).parted(day * kind.day)
        return kind.together([runs[0], early]), late

    gather([kind.stored(before.folder, name) for name in (base, recent)] + parts, turned, folder, [base, recent])


def misfit(
    earlier: Earlier,
    catalogue: Catalogue,
    gains: Mapping[str, float],
    segment: str = "region",
    declared: Declarations = (),
) -> InputError | None:
    """Why a state cannot be grown: it was built with other gains, segment or declared features, or knows items the
    catalogue does not, or, where declared features count them, items with other values."""
    state, fix = earlier.state, "; build from the whole log"
    if dict(state.gains) != dict(gains):
        return InputError("gains", f"those of the earlier state: {dict(state.gains)}{fix}", received=dict(gains))
    if state.segment != segment:
        return InputError("segment", f"the earlier state's: {state.segment}{fix}", received=segment)
    item = _renumbering(state.catalogue, catalogue)[:-1]
    if (item < 0).any() or (item[1:] <= item[:-1]).any():
        return InputError("catalogue", f"every item of the earlier state, in the same order{fix}")
    if state.declared != declared:
        return InputError("declared", f"the features that the earlier state counted for{fix}")
    for each in (each for each in declared if each.counted):
        before, now = (known.item_field(each.item).keys for known in (state.catalogue, catalogue))
        if not np.array_equal(before, now[item]):
            return InputError(f"declared: {each.name}", f"items with the values they had in the earlier state{fix}")
    return None


def _renumbering(old: Catalogue, new: Catalogue) -> Dense:
    if old.rows["item_id"].equals(new.rows["item_id"]):
        return np.append(np.arange(len(old)), -1)
    return np.append(new.dense(old.rows["item_id"]).astype(np.int64), -1)


def _carried(earlier: Earlier, catalogue: Catalogue, folder: Path) -> _Carried:
    old, pages = earlier.state.catalogue, earlier.state.pages
    item = _renumbering(old, catalogue)
    same = len(old) == len(catalogue)
    day = boundary(pages.latest)
    regrouped = _regrouped(old, catalogue, item[:-1])
    if same and not regrouped:
        return _Carried(earlier.folder, pages, day)
    folder.mkdir()
    for name, kind in _KINDS.items():
        if name == "affinity" and regrouped:
            continue
        column, change = kind.dense or ("", _items)
        for part in PARTS:
            for own, file in kind.files(f"{part}.{name}").items():
                if own == column and not same:
                    rewritten(earlier.folder / file, folder / file, partial(change, item))
                else:
                    link(earlier.folder / file, folder / file)
    if regrouped:
        for part, run in zip(PARTS, _affinity(earlier.state, catalogue, item).parted(day * DAY), strict=True):
            run.save(folder, f"{part}.affinity")
    if not same:
        waiting = pages.waiting
        waiting = waiting.with_columns(item=pl.Series(item[waiting["item"].to_numpy()], dtype=pl.Int32))
        pages = replace(pages, awaiting=Pages.of(pages.referred, waiting, pages.latest).awaiting)
    return _Carried(folder, pages, day)


def _regrouped(old: Catalogue, new: Catalogue, item: Dense) -> bool:
    """Whether a known item has another category or brand now."""
    return not (np.array_equal(old.category, new.category[item]) and np.array_equal(old.brand, new.brand[item]))


def _affinity(state: State, catalogue: Catalogue, item: Dense) -> PairCounters:
    """An item's category is what is known of it now, for what was done with it before as well."""
    whole = state.history.whole()
    subjects = np.repeat(whole.keys, np.diff(whole.start))
    return affinity(catalogue, subjects, _items(item, whole.item), first_tick(whole.time, whole.received))
