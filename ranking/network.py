"""The deep multi-task network. Only jobs import this: scoring needs no torch.

Letters: R requests, K items of the longest, H history, F features, B bins, M patterns of missing values, N items,
C codes of an item, E = C * width numbers of an item.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.nn import MLP
from ranking.deep_config import DeepConfig
from ranking.encoding import LARGEST, Bins


class Encode(nn.Module):
    """`[..., F]` to `[..., B + M]`: bins less their mean, 0 where the feature is missing, and signs of that."""

    column: Tensor
    low: Tensor
    slope: Tensor
    mean: Tensor
    missing: Tensor

    def __init__(self, bins: Bins) -> None:
        super().__init__()
        for name in ("column", "low", "slope", "mean", "missing"):
            self.register_buffer(name, torch.from_numpy(getattr(bins, name)), persistent=False)
        self.size = len(bins.column) + len(bins.missing)

    def forward(self, features: Tensor) -> Tensor:
        absent = torch.isnan(features)
        values = torch.where(absent, 0.0, features).clamp(-LARGEST, LARGEST)
        inside = ((values[..., self.column] - self.low) * self.slope).clamp(0.0, 1.0) - self.mean
        inside = torch.where(absent[..., self.column], 0.0, inside)
        return torch.cat([inside, absent[..., self.missing].to(inside.dtype)], dim=-1)


class Head(nn.Module):
    """From features and item vectors to log-odds of a click and of a conversion once clicked, `[R, K]` each.

    Target attention in dot form (after DIN; Zhou et al., KDD 2018): each past item counts as much as it is like the
    candidate, `sigmoid(scale * <candidate, past> + bias[place in the history])`, not normalised, so that many like
    ones weigh more than one and no history is a sum of nothing. Departure: a dot product where DIN has a small
    network, which would need the history once a candidate. Then one bottom for both tasks (Caruana, 1997), and a
    tower each. usual: `[2]`, the log-odds that both start from.
    """

    usual: Tensor

    def __init__(self, encode: Encode, items: int, config: DeepConfig) -> None:
        super().__init__()
        self.encode = encode
        self.register_buffer("usual", torch.zeros(2), persistent=False)
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.bias = nn.Parameter(torch.full((config.history,), -1.0))
        self.bottom = nn.Sequential(MLP((encode.size + 3 * items, *config.bottom)), nn.ReLU())
        self.click, self.convert = (MLP((config.bottom[-1], config.tower, 1), quiet=True) for _ in range(2))

    def forward(self, features: Tensor, own: Tensor, past: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """features: `[R, K, F]`; own: `[R, K, E]`; past: `[R, H, E]`; there: `[R, H]`, 0 where there is no past."""
        like = torch.matmul(own, past.transpose(1, 2))
        attention = torch.sigmoid(self.scale * like + self.bias) * there[:, None, :]
        pooled = torch.matmul(attention, past) / float(past.shape[1]) ** 0.5
        shared = self.bottom(torch.cat([self.encode(features), own, pooled, own * pooled], dim=-1))
        click, convert = self.click(shared).squeeze(-1), self.convert(shared).squeeze(-1)
        return click + self.usual[0], convert + self.usual[1]


class Network(nn.Module):
    """A head and the vectors of items: what an item is by itself, its categories and its brand, side by side.

    The vectors start long enough that equal codes already stand out in a dot product. Code 0 is the zero vector:
    an item nobody knows resembles nothing.
    """

    codes: Tensor

    def __init__(self, codes: NDArray[np.int64], total: int, encode: Encode, config: DeepConfig) -> None:
        super().__init__()
        self.register_buffer("codes", torch.from_numpy(codes), persistent=False)
        self.id_dropout = config.id_dropout
        self.embedding = nn.Embedding(total, config.width, padding_idx=0)
        with torch.no_grad():
            self.embedding.weight *= config.width**-0.5
        self.head = Head(encode, codes.shape[1] * config.width, config)

    def vectors(self, items: Tensor) -> Tensor:
        """`[..., E]`. In training an item's own part is now and then left out, so that the rest must do."""
        parts: Tensor = self.embedding(self.codes[items])
        if self.training and self.id_dropout:
            kept = torch.rand(items.shape, device=parts.device) >= self.id_dropout
            parts = torch.cat([parts[..., :1, :] * kept[..., None, None], parts[..., 1:, :]], dim=-2)
        return parts.flatten(-2)

    def forward(self, features: Tensor, item: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
        """item: `[R, K]`; history: `[R, H]`; -1 = none, or one that `codes` does not know, in both."""
        own, past = self.vectors(item.clamp(min=0)), self.vectors(history.clamp(min=0))
        known, there = (item >= 0).to(own.dtype), (history >= 0).to(own.dtype)
        found: tuple[Tensor, Tensor] = self.head(features, own * known[..., None], past, there)
        return found
