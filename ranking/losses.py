"""Losses of clicks and of what follows them, over shown items. Tensors in, a tensor out.

Letters: any shape `[...]`, the same for all arguments; a weight of 0 leaves an item out, so padding has no label.
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid


def log_both(a: Tensor, b: Tensor) -> Tensor:
    """`log(sigmoid(a) * sigmoid(b))`, finite wherever a and b are."""
    return logsigmoid(a) + logsigmoid(b)


def log_not_both(a: Tensor, b: Tensor) -> Tensor:
    """`log(1 - sigmoid(a) * sigmoid(b))`, finite wherever a and b are.

    1 - 1 / ((1 + e^-a) (1 + e^-b)) = (e^-a + e^-b + e^(-a - b)) / ((1 + e^-a) (1 + e^-b)), which subtracts nothing.
    """
    return torch.logsumexp(torch.stack([-a, -b, -a - b]), dim=0) + log_both(a, b)


def click_loss(click_logit: Tensor, click: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of the log loss of clicks (0 or 1)."""
    loss = binary_cross_entropy_with_logits(click_logit, click, reduction="none")
    return (weight * loss).sum() / weight.sum()


def both_loss(click_logit: Tensor, convert_logit: Tensor, both: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of the log loss of `both` = clicked and converted (0 or 1), as P(click) P(convert | click).

    Items of which `both` is nan are left out; 0 when all are.
    """
    known = ~torch.isnan(both)
    both, weight = torch.where(known, both, 0.0), torch.where(known, weight, 0.0)
    loss = both * log_both(click_logit, convert_logit) + (1.0 - both) * log_not_both(click_logit, convert_logit)
    return -(weight * loss).sum() / weight.sum().clamp(min=1e-9)


def entire_space_loss(
    click_logit: Tensor, convert_logit: Tensor, click: Tensor, convert: Tensor, weight: Tensor
) -> Tensor:
    """ESMM (Ma et al., SIGIR 2018): the loss of clicks plus that of clicks that converted, both over all shown items.

    convert: 0 or 1, or nan where it is too early to say. P(convert | click) is never fitted on clicked items alone,
    which are not those it will be asked about. Departure: the second term teaches nothing to the click side.
    Conversions are few, and P(click) decides the order, so it is not bent to explain them.
    """
    both = both_loss(click_logit.detach(), convert_logit, click * convert, weight)
    return click_loss(click_logit, click, weight) + both
