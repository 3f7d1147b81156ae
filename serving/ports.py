"""What the service asks of an engine. The HTTP side knows these values and nothing of models or catalogues."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.filters import NO_FILTERS, Filters
from pipeline.rules import Rule

DEPTH = 200  # items of a slate that can be paged through
Ahead = Callable[[], Callable[[], None]]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, validated. time: ms; subject: "" for nobody; query: "" for none; item_id: the seed of a similar
    request; segment: the value of the configured key of `context`; items: the caller's own, to be ranked; context:
    its plain values as text (`pipeline.values.plain_text`); explore: whether the answer may be explored.
    """

    id: str
    time: int
    subject: str = ""
    query: str = ""
    surface: str = "search"
    item_id: str | None = None
    filters: Filters = NO_FILTERS
    sort: str = "relevance"
    segment: str = ""
    diversity: float | None = None
    weights: Mapping[str, float] | None = None
    items: tuple[str, ...] | None = None
    context: Mapping[str, str] = field(default_factory=dict)
    explore: bool = True


@dataclass(frozen=True, slots=True)
class Slate:
    """The ranked answer, best first, as plain lists of one length: what is kept for paging.

    trace: one object a stage with stage, rows_in, rows_out, ms, fallback, reason; beyond: items that count in total and
    facets but cannot be paged to. explored: whether chance had a hand in the order; then `propensity` is P(item at this
    place | request, items above it) and `marginal` P(item at this place | request), None where it is not known.
    """

    request_id: str
    bundle: str
    tick: int
    cascade: str
    item_ids: list[str] = field(default_factory=list)
    score: Sequence[float | None] = field(default_factory=list)
    p_click: Sequence[float | None] = field(default_factory=list)
    p_convert: Sequence[float | None] = field(default_factory=list)
    kind: list[str] = field(default_factory=list)
    sponsored: list[bool] = field(default_factory=list)
    channels: list[list[str]] = field(default_factory=list)
    reason: list[str | None] = field(default_factory=list)
    total: int = 0
    facets: dict[str, dict[str, int]] = field(default_factory=dict)
    refinements: list[object] = field(default_factory=list)
    corrected_query: str | None = None
    degraded: list[str] = field(default_factory=list)
    trace: list[dict[str, object]] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)
    explored: bool = False
    propensity: Sequence[float | None] = field(default_factory=list)
    marginal: Sequence[float | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Still:
    """What of a kept slate may still be shown. gone: items that may not; total, facets: without them."""

    gone: frozenset[str]
    total: int
    facets: dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Used:
    """The feature values one answer was ranked by, and what they were computed from. terms: as analysed, with those of
    synonyms; names: of the features; items: of the candidates; values: `[K, F]`."""

    ask: Ask
    bundle: str
    tick: int
    corrected: str
    terms: Sequence[str]
    names: tuple[str, ...]
    items: Sequence[str]
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SuggestAsk:
    """A request for suggestions; which of prefix, query and item_id is given depends on the placement."""

    id: str
    placement: str
    prefix: str
    query: str
    subject: str
    limit: int
    time: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    """highlight: `[start, end)` pairs of the characters in `display` that the user typed."""

    query: str
    display: str
    score: float
    source: str
    highlight: list[list[int]]


class Engine(Protocol):
    """Answers from one bundle and from what it absorbed since. The service calls it from one thread only."""

    @property
    def bundle_id(self) -> str: ...

    def answer(self, ask: Ask, deadline: float | None = None, used: Callable[[Used], None] | None = None) -> Slate:
        """Rank. deadline: the `time.perf_counter()` moment at which the answer is due; used: is told the feature
        values, where there are any."""
        ...

    def still(self, slate: Slate, ask: Ask) -> Still:
        """What of a slate, answered before, may be shown at `ask.time`; `ask` is what it answers."""
        ...

    def suggest(self, ask: SuggestAsk) -> list[Suggestion]: ...

    def explain(self, ask: Ask, item_id: str) -> dict[str, object]:
        """What became of one item: shown, position, found_by, lost_by, margin, trace."""
        ...

    def absorb(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """Learn events, by type in the log's columns. They come once each, in the order of the store; those the
        bundle was trained on come too, and the engine leaves them out by its cutoff.
        """
        ...

    def learned_to(self, store: str) -> int:
        """Up to which number of an event store the bundle has learned, 0 where it does not say."""
        ...

    def learn(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """As `absorb`, of events that the bundle was not trained on."""
        ...

    def ahead(self, tick: int, *, final: bool) -> Ahead | None:
        """What computes in another thread what all requests of a tick share, and returns what puts it to use. final:
        whether the engine knows all that counts at the tick. None where there is nothing to compute."""
        ...

    def use_rules(self, rules: Sequence[Rule]) -> None:
        """Obey these merchandising rules, and no others, from the next answer on."""
        ...

    def describe(self) -> dict[str, object]:
        """The bundle, its cutoff and parts, the size of the catalogue, the cascades as text."""
        ...

    def opened(self, bundle: Path) -> Callable[[], None]:
        """Open another bundle in another thread; what is returned answers from it, and knows no events and no rules
        then: the service brings them again.

        Raises ArtifactError when it cannot be opened.
        """
        ...

    def item(self, item_id: str) -> dict[str, Any] | None:
        """What is said of an item, whether it was `removed`, and the `time` of the latest; None for one that nothing
        describes."""
        ...

    def told(self, ids: Sequence[str], names: Sequence[str], time: int) -> list[dict[str, object]]:
        """Fields of items as of a moment, null where there is none: columns of item events, and `attributes.NAME`."""
        ...

    def census(self) -> dict[str, int]:
        """How many items are described, how many only named, how many removed."""
        ...

    def items(self, ids: Sequence[str]) -> list[dict[str, object]]:
        """Title, brand, price, currency, category of known items, for the playground."""
        ...

    def sample_users(self, limit: int) -> list[str]:
        """Some users with a history, for the playground."""
        ...
