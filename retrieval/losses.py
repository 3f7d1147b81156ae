"""The loss two towers are trained with: softmax over sampled items, corrected for how they were sampled.

Letters: B pairs of a batch, C candidates, the first B of them the pairs' own items, N items.
"""

import torch
from torch import Tensor
from torch.nn import functional


def log_expected(share: Tensor, pairs: int, uniform: int) -> Tensor:
    """`[N]`: log of how often each item is expected among the candidates.

    share: `[N]`, of the positives that are the item; pairs: B; uniform: how many are drawn evenly from all N.
    (Yi et al., RecSys 2019, for the mixed sampling of Yang et al., WWW Companion 2020.)
    """
    return torch.log(pairs * share + (uniform / len(share)) + 1e-12)


def accidental_hits(subject: Tensor, item: Tensor, candidate: Tensor) -> Tensor:
    """`[B, C]`: candidates that are no negatives of a pair: its own item once more, or what its subject chose too.

    subject: `[B]`, 0 = nobody known; item: `[B]`; candidate: `[C]`, the first B are `item`.
    """
    hit = candidate[None, :] == item[:, None]
    rows = len(item)
    person = torch.where(subject == 0, -1 - torch.arange(rows, device=subject.device), subject)
    hit[:, :rows] |= person[:, None] == person[None, :]
    hit.diagonal().fill_(False)
    return hit


def sampled_softmax(user: Tensor, item: Tensor, log_expected: Tensor, hit: Tensor) -> Tensor:
    """Mean negative log-likelihood of each pair's own item among the candidates, scored by inner product.

    user: `[B, D]`; item: `[C, D]`; log_expected: `[C]`, subtracted from every logit, the positive's included; hit:
    `[B, C]`, left out.
    """
    bias = (-log_expected).expand(hit.shape).masked_fill(hit, float("-inf"))  # takes no part in the gradient
    logits = torch.addmm(bias, user, item.T)
    return functional.cross_entropy(logits, torch.arange(len(user), device=user.device))
