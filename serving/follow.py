"""How one worker learns what others did: events, forgotten users, rules, the bundle in use.

The files and tables of the root are the only channel between workers, the command line and restarts: a worker that
reads them in order knows what every other one knows. Everything here runs on the engine's thread.
"""

import logging
from collections.abc import Mapping
from typing import Final

from pipeline.bundle import current
from pipeline.errors import PodiumError
from pipeline.logs.store import EventStore
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
        self.seq = 0
        self.forgotten: Mapping[str, int] = {}
        self._rules: object = None
        self._current = self._promoted()
        metrics.serve(engine.bundle_id)

    def catch_up(self) -> None:
        """Look everywhere."""
        self.forgotten = self._store.forgotten()
        self._follow_bundle()
        self._follow_rules()
        self.learn()

    def learn(self) -> None:
        """Give the engine the events it has not seen, in the order of the store.

        Events it cannot learn stay in the store, are counted and passed over: one bad batch must not hold up
        all that come after it.
        """
        while stored := self._store.since(self.seq, _STEP):
            self.seq = stored[-1].seq
            try:
                frames, unreadable = to_frames(stored, self.forgotten)
                self._metrics.absorb_failures.inc(unreadable)
                self._engine.absorb(frames)
            except Exception:
                LOG.exception("events up to %d could not be learned", self.seq)
                self._metrics.absorb_failures.inc()

    def swap(self, bundle_id: str) -> None:
        """Serve another bundle of the bundles root, with all rules and events. Raises ArtifactError."""
        assert self._bundles is not None
        self._engine.swap(self._bundles / bundle_id)
        self._metrics.serve(self._engine.bundle_id)
        self.seq, self._rules = 0, None
        self._follow_rules()
        self.learn()

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
