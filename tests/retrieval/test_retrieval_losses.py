"""The loss of the towers, by arithmetic a reader can redo."""

from math import exp, log

import pytest
import torch

from retrieval.losses import accidental_hits, log_expected, sampled_softmax


def test_an_item_is_expected_as_often_as_it_is_a_positive_and_is_drawn() -> None:
    # 8 pairs of which a quarter are item 1, and 6 drawn from 3 items: 8 / 4 + 6 / 3.
    share = torch.tensor([0.0, 0.25, 0.75], dtype=torch.float64)
    expected = log_expected(share, 8, 6)
    assert expected.tolist() == pytest.approx([log(2), log(4), log(8)])


def test_the_loss_is_the_log_likelihood_of_the_pairs_own_item() -> None:
    score = torch.tensor([[1.0, 0.0, 2.0], [0.0, 3.0, 1.0]])
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    first = -log(exp(1) / (exp(1) + exp(0) + exp(2)))
    second = -log(exp(3) / (exp(0) + exp(3) + exp(1)))
    assert float(sampled_softmax(score, torch.eye(3), torch.zeros(3), nothing)) == pytest.approx(
        (first + second) / 2, rel=1e-6
    )


def test_the_correction_is_taken_from_the_positive_too() -> None:
    score, correction = torch.tensor([[1.0, 2.0]]), torch.tensor([log(4.0), log(2.0)])
    loss = float(sampled_softmax(score, torch.eye(2), correction, torch.zeros(1, 2, dtype=torch.bool)))
    assert loss == pytest.approx(-log((exp(1) / 4) / (exp(1) / 4 + exp(2) / 2)), rel=1e-6)


def test_an_accidental_hit_is_left_out_of_the_denominator() -> None:
    score, hit = torch.tensor([[1.0, 5.0, 2.0]]), torch.tensor([[False, True, False]])
    loss = float(sampled_softmax(score, torch.eye(3), torch.zeros(3), hit))
    assert loss == pytest.approx(-log(exp(1) / (exp(1) + exp(2))), rel=1e-6)


def test_what_a_subject_also_chose_is_no_negative_and_its_own_item_never_is() -> None:
    subject, item = torch.tensor([7, 7, 0, 0]), torch.tensor([1, 2, 3, 1])
    candidate = torch.tensor([1, 2, 3, 1, 2, 9])
    hit = accidental_hits(subject, item, candidate).int().tolist()
    assert hit == [
        [0, 1, 0, 1, 0, 0],  # 2 is of the same subject, the other 1 is its own item
        [1, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0],  # nobody known shares nothing with nobody known
        [1, 0, 0, 0, 0, 0],
    ]


def _learned(corrected: bool) -> list[float]:
    """What one request scores three items of which it chooses 70, 20 and 10 %, in batches with themselves."""
    share = torch.tensor([0.7, 0.2, 0.1])
    generator = torch.Generator().manual_seed(0)
    score = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.Adam([score], lr=0.1)
    correction = log_expected(share, 64, 0) if corrected else torch.zeros(3)
    for _ in range(150):
        item = torch.multinomial(share, 64, replacement=True, generator=generator)
        loss = sampled_softmax(
            torch.ones(64, 1), score[item][:, None], correction[item], torch.zeros(64, 64, dtype=torch.bool)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [float(one) for one in torch.softmax(score.detach(), 0)]


def test_the_correction_takes_away_what_sampling_holds_against_the_popular() -> None:
    assert _learned(corrected=True) == pytest.approx([0.7, 0.2, 0.1], abs=0.05)
    # Without it an item is a negative as often as it is chosen, and all come out alike.
    assert _learned(corrected=False) == pytest.approx([1 / 3] * 3, abs=0.05)
