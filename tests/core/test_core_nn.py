"""The small pieces of networks."""

import pytest
import torch

from pipeline.errors import InputError
from pipeline.nn import MLP, device_of, masked_mean, seeded


def test_a_masked_mean_weighs_and_is_zero_where_nothing_counts() -> None:
    values = torch.tensor([[[1.0, 2.0], [3.0, 6.0]], [[5.0, 5.0], [7.0, 7.0]]])
    weight = torch.tensor([[1.0, 3.0], [0.0, 0.0]])
    assert masked_mean(values, weight).tolist() == [[2.5, 5.0], [0.0, 0.0]]


def test_a_quiet_network_adds_nothing_at_first() -> None:
    x = torch.randn(3, 4)
    assert MLP((4, 8, 2), quiet=True)(x).abs().sum() == 0
    assert MLP((4, 8, 2))(x).abs().sum() > 0


def test_a_seed_repeats_what_follows() -> None:
    seeded(3)
    first = MLP((4, 2))[0].weight.tolist()
    seeded(3)
    assert MLP((4, 2))[0].weight.tolist() == first
    seeded(4)
    assert MLP((4, 2))[0].weight.tolist() != first


def test_a_device_that_is_not_there_is_refused() -> None:
    assert device_of("cpu").type == "cpu"
    with pytest.raises(InputError, match="--device"):
        device_of("abacus")
