"""Two towers: what is asked and what there is as unit vectors of one space, so that retrieval is a nearest-neighbour
search (Huang et al., CIKM 2013; Yi et al., RecSys 2019). Search and recommendation are one model.

Both towers start as hashed bags of words and labels, whose cosine already says what is alike; training moves them
from there. Letters: R requests, M items, D dimensions, H history, W words or features of one.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nn import MLP, masked_mean

UNKNOWN_ID: Final = 0  # the row of every item without one of its own
_WARMEST: Final = 100.0  # bound of 1 / temperature


class Towers(nn.Module):
    """The two towers and the tables they share. scale: `[buckets]`, how loud each feature is at the start."""

    def __init__(self, items: int, scale: Tensor, history: int, segments: int, surfaces: int, dim: int = 64) -> None:
        super().__init__()
        self.features = nn.Embedding(len(scale), dim, padding_idx=0)
        with torch.no_grad():
            self.features.weight.mul_(scale[:, None] / dim**0.5)
        self.ids = nn.Embedding(items, dim)
        nn.init.normal_(self.ids.weight, std=0.01)
        self.item = ItemHead(dim)
        self.user = UserHead(history, segments, surfaces, dim)
        self.sharpness = nn.Parameter(torch.tensor(1 / 0.07).log())

    def context(self, own: Tensor, bucket: Tensor, weight: Tensor, start: Tensor) -> Tensor:
        """`[M, D]`: items as a history shows them. own: `[M]` rows of the id table; the rest: their bags end to end."""
        bag = functional.embedding_bag(
            bucket, self.features.weight, start, mode="sum", per_sample_weights=weight, include_last_offset=True
        )
        context: Tensor = self.ids(own) + bag
        return context

    def query(self, words: Tensor) -> Tensor:
        """`[R, D]` of words `[R, W]`, zero for none."""
        return masked_mean(self.features(words), (words > 0).to(torch.float32))

    def louder(self, user: Tensor) -> Tensor:
        """`[R, D]`: requests over temperature, whose inner products with items are the logits."""
        return user * self.sharpness.exp().clamp(max=_WARMEST)


class ItemHead(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mlp = MLP((dim, 2 * dim, dim), quiet=True)

    def forward(self, context: Tensor) -> Tensor:
        """The unit vectors `[M, D]` of items."""
        return functional.normalize(context + self.mlp(context), dim=-1)


class UserHead(nn.Module):
    def __init__(self, history: int, segments: int, surfaces: int, dim: int) -> None:
        super().__init__()
        self.recency = nn.Parameter(torch.linspace(-2.0, 0.0, history))
        self.no_history = nn.Parameter(torch.zeros(dim))
        self.no_query = nn.Parameter(torch.zeros(dim))
        self.segment = nn.Embedding(segments, dim)
        self.surface = nn.Embedding(surfaces, dim)
        for table in (self.segment, self.surface):
            nn.init.normal_(table.weight, std=0.01)
        self.mlp = MLP((5 * dim, 2 * dim, dim), quiet=True)
        # How much of each part passes straight through, by whether something was asked.
        self.straight = nn.Parameter(torch.tensor([[1.0, 1.0, 0.0], [0.2, 0.2, 2.0]]))

    def forward(self, history: Tensor, known: Tensor, query: Tensor, segment: Tensor, surface: Tensor) -> Tensor:
        """The unit vectors `[R, D]` of requests. history: `[R, H, D]` contexts; known: `[R, H]`, 1 where there is an
        item; query: `[R, D]`, zero for none; segment, surface: `[R]`."""
        past = masked_mean(history, known * self.recency.exp())
        last = history[:, -1] * known[:, -1:]
        any_past = known.amax(1, keepdim=True)
        asks = (query != 0).any(1, keepdim=True).to(query.dtype)
        past = past + (1 - any_past) * self.no_history
        query = query + (1 - asks) * self.no_query
        part = asks * self.straight[1] + (1 - asks) * self.straight[0]
        plain = part[:, :1] * past + part[:, 1:2] * last + part[:, 2:] * query
        mixed = self.mlp(torch.cat([past, last, query, self.segment(segment), self.surface(surface)], dim=1))
        return functional.normalize(plain + mixed, dim=-1)


class ItemTower(nn.Module):
    """For export: items that came after training, which have no id of their own."""

    def __init__(self, towers: Towers) -> None:
        super().__init__()
        self.features, self.ids, self.head = towers.features, towers.ids, towers.item

    def forward(self, bucket: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors and contexts `[M, D]` of bags `[M, W]`."""
        bag = (self.features(bucket) * weight.unsqueeze(-1)).sum(1)
        context = bag + self.ids.weight[UNKNOWN_ID]
        return self.head(context), context


class UserTower(nn.Module):
    """For export."""

    def __init__(self, towers: Towers) -> None:
        super().__init__()
        self.features, self.head = towers.features, towers.user

    def forward(self, history: Tensor, known: Tensor, words: Tensor, segment: Tensor, surface: Tensor) -> Tensor:
        """Vectors `[R, D]`; history: `[R, H, D]` contexts, words: `[R, W]`."""
        query = masked_mean(self.features(words), (words > 0).to(torch.float32))
        vector: Tensor = self.head(history, known, query, segment, surface)
        return vector
