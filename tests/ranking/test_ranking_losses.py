"""Losses by hand, and where their parts would overflow."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ranking.losses import both_loss, click_loss, entire_space_loss, log_both, log_not_both

LOGIT = st.floats(-50, 50, width=32)


def one(value: float) -> torch.Tensor:
    return torch.tensor([float(value)])


def test_even_odds_of_both_are_a_quarter() -> None:
    assert float(log_both(one(0), one(0))) == pytest.approx(math.log(1 / 4))
    assert float(log_not_both(one(0), one(0))) == pytest.approx(math.log(3 / 4))


def test_three_to_one_and_two_to_one_make_one_half() -> None:
    # sigmoid(log 3) = 3/4, sigmoid(log 2) = 2/3: their product is 1/2.
    a, b = one(math.log(3)), one(math.log(2))
    assert float(log_both(a, b)) == pytest.approx(math.log(1 / 2))
    assert float(log_not_both(a, b)) == pytest.approx(math.log(1 / 2))


@given(LOGIT, LOGIT, st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0]))
def test_losses_and_gradients_are_finite_at_any_log_odds(a: float, b: float, click: float, convert: float) -> None:
    logits = [one(a).requires_grad_(), one(b).requires_grad_()]
    loss = entire_space_loss(*logits, one(click), one(convert), one(1.0))
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss).all()
    for each in logits:
        assert each.grad is not None
        assert torch.isfinite(each.grad).all()


@pytest.mark.parametrize("a", [-50.0, 50.0])
@pytest.mark.parametrize("b", [-50.0, 50.0])
def test_both_and_not_both_are_finite_at_fifty(a: float, b: float) -> None:
    assert torch.isfinite(log_both(one(a), one(b))).all()
    assert torch.isfinite(log_not_both(one(a), one(b))).all()
    # At log-odds 50 and 50, 1 - p is about 2 e^-50, which a subtraction from 1 would lose.
    assert float(log_not_both(one(50), one(50))) == pytest.approx(math.log(2) - 50, abs=1e-4)


def test_clicks_are_weighed() -> None:
    # Log losses: log 2 of the first, log 4 of the second (log-odds log 3, not clicked).
    loss = click_loss(torch.tensor([0.0, math.log(3)]), torch.tensor([1.0, 0.0]), torch.tensor([1.0, 3.0]))
    assert float(loss) == pytest.approx((math.log(2) + 3 * math.log(4)) / 4)


def test_the_entire_space_counts_clicks_without_conversion_and_items_without_click() -> None:
    # Both log-odds 0 everywhere: P(click) = 1/2, P(both) = 1/4. Clicks: log 2 each. Both: once 1/4, twice 3/4.
    zeros, ones = torch.zeros(3), torch.ones(3)
    loss = entire_space_loss(zeros, zeros, torch.tensor([1.0, 1, 0]), torch.tensor([1.0, 0, 0]), ones)
    assert float(loss) == pytest.approx(math.log(2) + (math.log(4) + 2 * math.log(4 / 3)) / 3)


def test_what_cannot_be_known_yet_is_left_out() -> None:
    nan = float("nan")
    told = both_loss(torch.zeros(2), torch.zeros(2), torch.tensor([1.0, nan]), torch.ones(2))
    assert float(told) == pytest.approx(math.log(4))
    assert float(both_loss(torch.zeros(1), torch.zeros(1), one(nan), one(1.0))) == 0.0
    logits = torch.zeros(2, requires_grad=True)
    both_loss(logits, logits, torch.tensor([1.0, nan]), torch.ones(2)).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[1] == 0.0


def test_a_weight_of_zero_leaves_an_item_out() -> None:
    full = entire_space_loss(one(0.3), one(-1), one(1.0), one(0.0), one(1.0))
    padded = entire_space_loss(
        torch.tensor([0.3, 7]), torch.tensor([-1.0, 7]), torch.tensor([1.0, 0]), torch.zeros(2), torch.tensor([1.0, 0])
    )
    assert float(full) == pytest.approx(float(padded))


def test_conversions_teach_the_click_side_nothing() -> None:
    click, convert = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    entire_space_loss(click, convert, one(1.0), one(1.0), one(1.0)).backward()  # type: ignore[no-untyped-call]
    # Of clicks alone: sigmoid(0) - 1. Of both, d/db -logsigmoid(b) = sigmoid(0) - 1.
    assert click.grad is not None
    assert convert.grad is not None
    assert float(click.grad) == pytest.approx(-0.5)
    assert float(convert.grad) == pytest.approx(-0.5)
