"""How two towers are trained: batches of pairs against each other and against items drawn evenly."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.nn import seeded
from pipeline.state import State
from retrieval.config import TowerConfig
from retrieval.dataset import SURFACES, Asked, Bags, Pairs, Spec
from retrieval.losses import accidental_hits, log_expected, sampled_softmax
from retrieval.towers import UNKNOWN_ID, Towers

Vectors = NDArray[np.float32]
Score = Callable[["Learner"], float]
_ROWS_AT_ONCE = 4096


@dataclass(slots=True)
class Learner:
    """Two towers in training. own: `[N]`, the row of the id table of each item: an item nobody chose has none of its
    own, for it would only learn that it never was."""

    state: State
    spec: Spec
    config: TowerConfig
    bags: Bags
    own: Tensor
    towers: Towers
    optimizer: torch.optim.Optimizer
    device: torch.device
    random: np.random.Generator

    @classmethod
    def of(
        cls,
        state: State,
        spec: Spec,
        config: TowerConfig,
        bags: Bags,
        chosen: NDArray[np.int64],
        *,
        seed: int,
        device: torch.device,
    ) -> "Learner":
        """chosen: `[N]`, how often each item was."""
        seeded(seed)
        scale = torch.from_numpy(_loudness(bags, spec.buckets))
        towers = Towers(len(chosen), scale, spec.history, spec.segments, len(SURFACES), config.dimensions).to(device)
        own = np.where(chosen > 0, np.arange(len(chosen)), UNKNOWN_ID)
        optimizer = torch.optim.Adam(towers.parameters(), lr=config.learning_rate, fused=True)
        random = np.random.default_rng(seed)
        return cls(state, spec, config, bags, torch.from_numpy(own).to(device), towers, optimizer, device, random)

    def widen(self, state: State, chosen: NDArray[np.int64]) -> None:
        """Go on with more: items chosen for the first time get an id of their own, which starts as the common one."""
        own = np.where(chosen > 0, np.arange(len(chosen)), UNKNOWN_ID)
        new = self._tensor(np.flatnonzero((own != UNKNOWN_ID) & (self.own.cpu().numpy() == UNKNOWN_ID)))
        with torch.no_grad():
            self.towers.ids.weight[new] = self.towers.ids.weight[UNKNOWN_ID].clone()
        self.state, self.own = state, self._tensor(own)

    def epoch(self, pairs: Pairs, pace: tuple[float, float] = (1.0, 1.0)) -> float:
        """One pass over at most `most_pairs` of the pairs; the mean loss.

        pace: share of the learning rate at the first step, and at the one after the last; straight between them.
        """
        order = self.random.permutation(len(pairs))[: self.config.most_pairs]
        share = np.bincount(pairs.item, minlength=len(self.own)) / max(len(pairs), 1)
        batch = min(self.config.batch, len(order))
        expected = log_expected(torch.from_numpy(share).to(self.device), batch, self.config.uniform).to(torch.float32)
        self.towers.train()
        losses = []
        starts = range(0, len(order) - batch + 1, batch)
        for first, rate in zip(starts, np.linspace(*pace, len(starts), endpoint=False), strict=True):
            self.optimizer.param_groups[0]["lr"] = self.config.learning_rate * float(rate)
            rows = pairs.rows(np.sort(order[first : first + batch]))
            loss = self._loss(rows, rows.asked(self.state, self.spec.history), expected)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            losses.append(float(loss.detach()))
        return float(np.mean(losses))

    def _loss(self, rows: Pairs, asked: Asked, expected: Tensor) -> Tensor:
        drawn = self.random.integers(1, len(self.own), self.config.uniform)
        candidate = np.concatenate([rows.item, drawn])
        needed, place = np.unique(np.concatenate([asked.history.ravel(), candidate]), return_inverse=True)
        context = self._contexts(np.maximum(needed, 0))
        history = self._tensor(place[: asked.history.size].reshape(asked.history.shape))
        item = self.towers.item(context[self._tensor(place[asked.history.size :])])
        user = self.towers.louder(self._users(functional.embedding(history, context), asked))
        subject, own = self._tensor(rows.subject_key), self._tensor(rows.item)
        hit = accidental_hits(subject, own, self._tensor(candidate.astype(np.int32)))
        return sampled_softmax(user, item, expected[self._tensor(candidate)], hit)

    def _users(self, history: Tensor, asked: Asked) -> Tensor:
        known = self._tensor((asked.history >= 0).astype(np.float32))
        query = self.towers.query(self._tensor(asked.words))
        users: Tensor = self.towers.user(
            history, known, query, self._tensor(asked.segment), self._tensor(asked.surface)
        )
        return users

    def _contexts(self, item: NDArray[np.int64]) -> Tensor:
        length = np.diff(self.bags.start)[item]
        ends = np.append(0, np.cumsum(length))
        flat = np.repeat(self.bags.start[item] - ends[:-1], length) + np.arange(ends[-1])
        own = self.own[self._tensor(item)]
        if self.towers.training and self.config.id_dropout:
            hidden = self._tensor(self.random.random(len(item)) < self.config.id_dropout)
            own = torch.where(hidden, UNKNOWN_ID, own)
        bucket, weight = self._tensor(self.bags.bucket[flat]), self._tensor(self.bags.weight[flat])
        return self.towers.context(own, bucket, weight, self._tensor(ends))

    @torch.no_grad()
    def items(self) -> tuple[Vectors, Vectors]:
        """Vectors and contexts of all items, `[N, D]`; those of the item nobody knows are zero."""
        self.towers.eval()
        vectors, contexts = [], []
        for part in _parts(len(self.own)):
            context = self._contexts(np.arange(part.start, part.stop))
            vectors.append(self.towers.item(context).cpu().numpy())
            contexts.append(context.cpu().numpy())
        both = np.concatenate(vectors), np.concatenate(contexts)
        for array in both:
            array[UNKNOWN_ID] = 0
        return both

    @torch.no_grad()
    def users(self, asked: Asked, contexts: Vectors) -> Vectors:
        """Vectors of requests, `[R, D]`."""
        self.towers.eval()
        found = []
        for part in _parts(len(asked.history)):
            rows = asked.rows(part)
            found.append(self._users(self._tensor(contexts[np.maximum(rows.history, 0)]), rows).cpu().numpy())
        return np.concatenate(found)

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


def _parts(rows: int) -> Iterator[slice]:
    for first in range(0, rows, _ROWS_AT_ONCE):
        yield slice(first, min(first + _ROWS_AT_ONCE, rows))


def _loudness(bags: Bags, buckets: int) -> Vectors:
    """`[buckets]`: inverse document frequency, about 1 for the usual word, so that the rare ones say more at first."""
    items = max(len(bags.start) - 1, 1)
    count = np.bincount(bags.bucket, minlength=buckets)
    idf = np.log1p(items / np.maximum(count, 1))
    return (idf / idf[count > 0].mean() if count.any() else np.ones(buckets)).astype(np.float32)
