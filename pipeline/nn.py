"""Small pieces every network here is made of. Only jobs import this: the service runs networks as ONNX."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pipeline.errors import InputError

DEVICES = ("auto", "cpu", "cuda")


def seeded(seed: int) -> None:
    """Make what follows repeatable: the same bytes on a CPU, the nearest there is on an accelerator."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(mode=True, warn_only=torch.cuda.is_available())
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # what is empty is written before it is read


def device_of(name: str) -> torch.device:
    """`auto` is the accelerator where there is one. Raises InputError for a device that is not there."""
    if name not in DEVICES or (name == "cuda" and not torch.cuda.is_available()):
        raise InputError("--device", "auto, cpu, or cuda where this machine has it", received=name)
    chosen = "cuda" if name == "auto" and torch.cuda.is_available() else name
    return torch.device("cpu" if chosen == "auto" else chosen)


class MLP(nn.Sequential):
    """Linear layers of these sizes with ReLU between. quiet: the last one begins at zero, so that what it is added to
    is where training starts from."""

    def __init__(self, sizes: Sequence[int], *, quiet: bool = False) -> None:
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        last = layers[-2]
        if quiet and isinstance(last, nn.Linear):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        super().__init__(*layers[:-1])


def masked_mean(values: Tensor, weight: Tensor) -> Tensor:
    """`[..., D]`: the mean of values `[..., H, D]` by weight `[..., H]` >= 0; zero where all weights are."""
    share = weight / weight.sum(-1, keepdim=True).clamp(min=1e-9)
    return (share.unsqueeze(-2) @ values).squeeze(-2)
