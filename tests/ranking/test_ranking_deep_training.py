"""The training loop: which epoch is kept, when it ends, and that it repeats."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pipeline.nn import seeded
from pipeline.training import History, TrainingConfig, fit

X = torch.linspace(-1, 1, 64)[:, None]
Y = 3 * X[:, 0] - 1


def line(seed: int, **settings: float) -> tuple[nn.Linear, History]:
    seeded(seed)
    module = nn.Linear(1, 1)
    config = TrainingConfig.model_validate({"epochs": 30, "batch": 8, "learning_rate": 0.1, **settings})
    squared = squared_error(module)
    return module, fit(
        module, squared, len(X), held_out=lambda: float(squared(torch.arange(64))), config=config, seed=seed
    )


def squared_error(module: nn.Module) -> Callable[[Tensor], Tensor]:
    def loss(places: Tensor) -> Tensor:
        return torch.mean((module(X[places])[:, 0] - Y[places]) ** 2)

    return loss


def test_a_line_is_found() -> None:
    module, history = line(0, weight_decay=0.0, patience=30)
    assert module.weight.item() == pytest.approx(3.0, abs=0.05)
    assert module.bias.item() == pytest.approx(-1.0, abs=0.05)
    assert history.loss[0] > history.loss[-1]


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    (one, first), (two, second), (other, _) = line(1, epochs=2), line(1, epochs=2), line(2, epochs=2)
    assert torch.equal(one.weight, two.weight)
    assert first == second
    assert not torch.equal(one.weight, other.weight)


def judged_by(values: list[float], **settings: int) -> tuple[list[float], float, History]:
    """The weight after each epoch, the weight that was kept, and the history, under a judge who says these values."""
    seeded(0)
    module, weights = nn.Linear(1, 1), []
    said = iter(values)

    def held_out() -> float:
        weights.append(module.weight.item())
        return next(said)

    config = TrainingConfig.model_validate({"epochs": len(values), "batch": 16, **settings})
    history = fit(module, squared_error(module), len(X), held_out=held_out, config=config, seed=0)
    return weights, module.weight.item(), history


def test_the_best_epoch_is_kept_and_the_first_worse_one_is_the_last() -> None:
    weights, kept, history = judged_by([3.0, 1.0, 2.0, 0.0])
    assert history.held_out == (3.0, 1.0, 2.0)
    assert (history.best, kept) == (2, weights[1])


def test_patience_waits_for_a_better_one() -> None:
    weights, kept, history = judged_by([3.0, 1.0, 2.0, 0.0], patience=2)
    assert (history.best, kept) == (4, weights[3])


def test_an_epoch_that_gives_no_number_is_not_kept() -> None:
    weights, kept, history = judged_by([1.0, float("nan")])
    assert (history.best, kept) == (1, weights[0])
    with pytest.raises(FloatingPointError, match="never a number"):
        judged_by([float("nan")])


def test_a_large_gradient_is_clipped() -> None:
    module = nn.Linear(1, 1)

    def steep(places: Tensor) -> Tensor:
        return 1e6 * module(X[places]).sum()

    config = TrainingConfig(epochs=1, batch=64, clip=0.5)  # type: ignore[call-arg]
    fit(module, steep, len(X), held_out=lambda: 0.0, config=config, seed=0)
    gradient = torch.cat([each.grad.flatten() for each in module.parameters() if each.grad is not None])
    assert float(gradient.norm()) == pytest.approx(0.5, rel=1e-3)
