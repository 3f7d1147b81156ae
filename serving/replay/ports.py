"""What replay needs of an engine: the served one, seen from the side that asks in batches."""

from collections.abc import Sequence
from typing import Protocol

from pipeline.batch import Batch
from pipeline.bundle import Bundle
from pipeline.cascade import Cascade
from pipeline.state import Frames, State
from serving.ports import Ask


class ReplayEngine(Protocol):
    """The served engine. Everything it answers is as of the request's time, so that a state may hold the future."""

    @property
    def state(self) -> State: ...
    @property
    def bundle(self) -> Bundle: ...
    def learn(self, events: Frames) -> None:
        """Make events known, as the service does when they arrive."""
        ...

    def beside(self) -> "ReplayEngine":
        """One of the same answers, for another thread."""
        ...

    def batch(self, asks: Sequence[Ask]) -> Batch:
        """Requests as columns; with candidates where the asks bring items."""
        ...

    def cascade(self, name: str) -> Cascade:
        """`search`, `recommend`, `rank`, and the baselines `bm25` and `popularity`."""
        ...

    def cascade_name(self, ask: Ask) -> str:
        """`rank` where the ask brings items, `search` where it has a query, else `recommend`."""
        ...
