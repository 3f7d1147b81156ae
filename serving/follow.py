"""How one worker learns what others did: events, forgotten users, rules, the bundle in use.

The files and tables of the root are the only channel between workers, the command line and restarts: a worker that
reads them in order knows what every other one knows. What changes the engine runs on the engine's thread.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from pipeline.bundle import CURRENT, current
from pipeline.errors import PodiumError
from pipeline.logs.store import EventStore, Forgotten, Stored
from serving.events import to_frames
from serving.ports import Engine
from serving.rulebook import Rulebook
from serving.settings import Settings
from serving.telemetry import Metrics

LOG = logging.getLogger("podium.serving")
_STEP: Final = 20_000  # events the engine learns at once


class Follower:
    def __init__(self, engine: Engine, store: EventStore, settings: Settings, metrics: Metrics) -> None:
        self._engine, self._store, self._bundles, self._metrics = engine, store, settings.bundles, metrics
        self.rulebook = Rulebook(settings.root)
        self._first = self.seq = self._learned_to()
        self.forgotten = Forgotten()
        self._rules: object = None
        self._opened: tuple[str, Callable[[], None]] | None = None  # a bundle that is about to be served
        self._current = self._promoted()
        self._timed = False  # what happened before the service started was not late
        self._replay = settings.replay
        metrics.serve(engine.bundle_id)

    def look(self) -> object:
        """Differs when anything may have changed; cheap, and from any thread. Raises StoreBrokenError."""
        return self._store.version(), self.rulebook.stamp, self._link()

    def anything(self) -> bool:
        """Whether there is anything this worker does not know; from any thread."""
        return (
            self._store.head() > self.seq
            or self.rulebook.stamp != self._rules
            or self._promoted() != self._current
            or self._store.forgotten() != self.forgotten
        )

    def open_ahead(self, bundle_id: str) -> None:
        """Open a bundle of the bundles root for `swap`, from any thread, while requests are answered. Raises
        ArtifactError."""
        assert self._bundles is not None
        self._opened = (bundle_id, self._engine.opened(self._bundles / bundle_id))

    def open_promoted(self) -> None:
        """Open the bundle that was made current, if it is another; what is the matter with it, `catch_up` tells."""
        wanted = self._promoted()
        if wanted is not None and wanted not in (self._current, self._engine.bundle_id):
            with suppress(PodiumError):
                self.open_ahead(wanted)

    def catch_up(self) -> None:
        """Look everywhere."""
        self.forgotten = self._store.forgotten()
        self._follow_bundle()
        self._follow_rules()
        self.learn()
        self._timed = not self._replay

    def learn(self) -> None:
        """Give the engine the events it has not seen, in the order of the store.

        Events it cannot learn stay in the store, are counted and passed over: one bad batch must not hold up
        all that come after it.
        """
        # Only where the bundle does not say what of the store it knows must the time of events tell.
        learn = self._engine.learn if self._first else self._engine.absorb
        more = True
        while more and (stored := self._store.since(self.seq, _STEP)):
            more = len(stored) == _STEP
            self.seq = stored[-1].seq
            self.forgotten = self._store.forgotten()  # after the rows: who wrote one as a newcomer is known as such
            try:
                frames, unreadable = to_frames(stored, self.forgotten)
                self._metrics.absorb_failures.inc(unreadable)
                self._metrics.joins.learned(frames)
                learn(frames)
                self._note_lag(stored)
            except Exception:
                LOG.exception("events up to %d could not be learned", self.seq)
                self._metrics.absorb_failures.inc()
        self._metrics.count_items(self._engine.census())

    def swap(self, bundle_id: str) -> None:
        """Serve another bundle of the bundles root, with all rules and events; at once when it was opened before.
        Raises ArtifactError."""
        assert self._bundles is not None
        opened, self._opened = self._opened, None
        if opened is None or opened[0] != bundle_id:
            opened = (bundle_id, self._engine.opened(self._bundles / bundle_id))
        opened[1]()
        self._metrics.serve(self._engine.bundle_id)
        self._first = self.seq = self._learned_to()
        self._rules = None
        self._follow_rules()
        timed, self._timed = self._timed, False  # what is learned again is not late
        self.learn()
        self._timed = timed

    def _learned_to(self) -> int:
        """Where the bundle ends in the store; 0 where it does not say, or says more than a store holds that was
        brought back from a backup."""
        seq = self._engine.learned_to(self._store.id)
        return seq if seq <= self._store.head() else 0

    def _note_lag(self, stored: Sequence[Stored]) -> None:
        if self._timed:
            now = time.time_ns() // 1_000_000
            for row in stored:
                self._metrics.lag.observe(max(0, now - row.received) / 1000)

    def _link(self) -> str | None:
        """What `current` says, without a look whether it is there."""
        try:
            return str((self._bundles / CURRENT).readlink()) if self._bundles is not None else None
        except OSError:
            return None

    def _promoted(self) -> str | None:
        return current(self._bundles) if self._bundles is not None else None

    def _follow_bundle(self) -> None:
        before, self._current = self._current, self._promoted()
        wanted = self._current
        # Only a change counts: a service may have been started with a bundle that is not the current one.
        if wanted is None or wanted in (before, self._engine.bundle_id):
            return
        try:
            self.swap(wanted)
        except PodiumError as error:
            self._metrics.follow_failures.inc()
            LOG.error("the bundle %s is refused, %s stays: %s", wanted, self._engine.bundle_id, error)

    def _follow_rules(self) -> None:
        stamp = self.rulebook.stamp
        if stamp == self._rules:
            return
        self._rules = stamp
        try:
            self._engine.use_rules(self.rulebook.read())
        except (PodiumError, ValueError) as error:
            self._metrics.follow_failures.inc()
            LOG.error("the rules in use stay: %s", error)
