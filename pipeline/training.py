"""A small training loop: the same module, examples and seed give the same weights on one CPU, bit for bit.

It knows nothing of the examples but how many there are: the caller gives their loss by place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from pipeline.config import Config

if TYPE_CHECKING:
    import torch

    Loss = Callable[[torch.Tensor], torch.Tensor]


class TrainingConfig(Config):
    """How a network is fitted: AdamW (Loshchilov & Hutter, ICLR 2019), the rate falling to 0 within each epoch."""

    epochs: int = Field(2, ge=1, le=100, description="most passes over the examples; the best by held-out loss is kept")
    patience: int = Field(1, ge=1, description="epochs without improvement before training stops")
    batch: int = Field(128, ge=1, description="examples of a step")
    learning_rate: float = Field(4e-3, gt=0, le=1, description="largest step of AdamW")
    weight_decay: float = Field(1e-2, ge=0, description="share of each weight taken off, times the learning rate")
    clip: float = Field(1.0, gt=0, description="largest norm of a gradient")


@dataclass(frozen=True, slots=True)
class History:
    """loss: mean over the steps of each epoch; held_out: after each; best: the epoch that was kept, from 1."""

    loss: tuple[float, ...]
    held_out: tuple[float, ...]
    best: int


def fit(
    module: "torch.nn.Module",
    loss: "Loss",
    size: int,
    *,
    held_out: Callable[[], float],
    config: TrainingConfig,
    seed: int,
) -> History:
    """Train in place; ends with the weights of the epoch that `held_out` (less is better) liked best.

    loss: of the examples at these places `[b]` (int64, below `size`, on the CPU). Deep click models with ids of many
    rare values collapse at the start of their second epoch (Zhang et al., CIKM 2022, the one-epoch phenomenon); the
    guard is that an epoch that is worse, or gives no number, is not kept. Raises FloatingPointError when none does.
    """
    import torch

    shuffle = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    losses: list[float] = []
    found: list[float] = []
    best, kept = 0, {name: value.clone() for name, value in module.state_dict().items()}
    for epoch in range(1, config.epochs + 1):
        module.train()
        order = torch.randperm(size, generator=shuffle)
        losses.append(_epoch(module, loss, torch.split(order, config.batch), optimiser, config))
        module.eval()
        with torch.no_grad():
            found.append(held_out())
        if found[-1] < (found[best - 1] if best else float("inf")):
            best, kept = epoch, {name: value.clone() for name, value in module.state_dict().items()}
        elif epoch - best >= config.patience:
            break
    if not best:
        raise FloatingPointError(f"the held-out loss was never a number: {found}")
    module.load_state_dict(kept)
    return History(tuple(losses), tuple(found), best)


def _epoch(
    module: "torch.nn.Module",
    loss: "Loss",
    batches: "tuple[torch.Tensor, ...]",
    optimiser: "torch.optim.Optimizer",
    config: TrainingConfig,
) -> float:
    """One pass; the mean loss of its steps."""
    import torch

    steps = []
    for step, places in enumerate(batches):
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * (1.0 - step / len(batches))
        optimiser.zero_grad(set_to_none=True)
        value = loss(places)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(module.parameters(), config.clip)
        optimiser.step()
        steps.append(value.detach())
    return float(torch.stack(steps).mean())
