"""The contrast and its candidates: hand numbers, a slow loop, and what must not matter."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from baselines.contrast import Candidates, KnownPairs, contrast, draw_candidates, top_k_weights, vmf_weights
from tests.support import dense

CPU = torch.device("cpu")
POSITIVE, NEGATIVES = torch.tensor([0.8]), torch.tensor([[0.5, 0.0, -0.5]])


def leaves(n_pairs: int = 6, n_candidates: int = 9, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.rand(shape, generator=generator, dtype=torch.float64) for shape in (n_pairs, (n_pairs, n_candidates))]
    return tuple((2 * part - 1).requires_grad_() for part in draw)


def slow(positive, negatives, log_weight, temperature, *, coupled, negative_weight=1.0) -> float:
    """One pair and one candidate at a time."""
    total = 0.0
    for s, row, weights in zip(positive.tolist(), negatives.tolist(), log_weight.tolist(), strict=True):
        mass = math.exp(s / temperature) if coupled else 0.0
        mass += sum(math.exp(score / temperature + w) for score, w in zip(row, weights, strict=True))
        total += -s / temperature + (negative_weight * math.log(mass) if mass else 0.0)
    return total / len(positive)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"coupled": True}, 0.601570), ({}, -0.192394), ({"negative_weight": 1.2}, 0.089127)],
    ids=["info_nce", "dcl", "bsl"],
)
def test_losses_by_hand(options, expected):
    assert contrast(POSITIVE, NEGATIVES, temperature=0.5, **options).item() == pytest.approx(expected, abs=1e-6)


def test_weights_of_the_pairs_by_hand():
    # s = .8, .2 against the ends of the lists .5, .6: sigma(.3), sigma(-.4) at a temperature of 1
    positive, limit = torch.tensor([0.8, 0.2]), torch.tensor([0.5, 0.6])
    weights = top_k_weights(positive.requires_grad_(), limit, 1.0)
    torch.testing.assert_close(weights, torch.tensor([0.574443, 0.401312]), atol=1e-6, rtol=0)
    assert not weights.requires_grad
    torch.testing.assert_close(
        top_k_weights(positive, limit, 0.1), torch.tensor([0.952574, 0.017986]), atol=1e-6, rtol=0
    )
    one = contrast(POSITIVE, NEGATIVES, temperature=0.5, pair_weight=weights[:1]).item()
    assert one == pytest.approx(-0.192394 * 0.574443, abs=1e-6)


def test_dcl_is_info_nce_without_its_coupling():
    info, dcl = (contrast(POSITIVE, NEGATIVES, temperature=0.5, coupled=c).item() for c in (True, False))
    p = math.exp(1.6) / (math.exp(1.6) + math.exp(1.0) + 1 + math.exp(-1.0))
    assert p == pytest.approx(0.547951, abs=1e-6)
    assert dcl == pytest.approx(info + math.log(1 - p), abs=1e-6)
    ratios = []
    for coupled in (True, False):
        scores = [part.clone().requires_grad_() for part in (POSITIVE, NEGATIVES)]
        contrast(*scores, temperature=0.5, coupled=coupled).backward()
        ratios.append(torch.cat([scores[0].grad, scores[1].grad[0]]))
    torch.testing.assert_close(ratios[0] / ratios[1], torch.full((4,), 0.452049), atol=1e-5, rtol=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 2.0))
def test_the_gradient_of_info_nce_is_one_minus_p_times_that_of_dcl(seed, temperature):
    positive, negatives = leaves(seed=seed)
    found = [
        torch.autograd.grad(
            contrast(positive, negatives, temperature=temperature, coupled=coupled), (positive, negatives)
        )
        for coupled in (True, False)
    ]
    p = torch.cat([positive[:, None], negatives], dim=1).div(temperature).softmax(1)[:, 0].detach()
    torch.testing.assert_close(found[0][0], (1 - p) * found[1][0], atol=1e-12, rtol=1e-6)
    torch.testing.assert_close(found[0][1], (1 - p)[:, None] * found[1][1], atol=1e-12, rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.floats(0.0, 2.0))
def test_the_loss_is_that_of_the_loop_and_its_gradient_the_finite_difference(seed, coupled, negative_weight):
    positive, negatives = leaves(4, 5, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    log_weight = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    log_weight[torch.rand(4, 5, generator=generator) < 0.3] = -torch.inf
    options = {"coupled": coupled, "negative_weight": negative_weight}
    loss = contrast(positive, negatives, log_weight, temperature=0.4, **options)
    assert loss.item() == pytest.approx(slow(positive, negatives, log_weight, 0.4, **options), abs=1e-9)
    assert torch.autograd.gradcheck(
        lambda s, S: contrast(s, S, log_weight, temperature=0.4, **options), (positive, negatives)
    )


def test_a_constant_in_the_weights_moves_info_nce_alone():
    positive, negatives = leaves()
    for coupled in (False, True):
        found = [
            torch.autograd.grad(
                contrast(
                    positive,
                    negatives,
                    torch.full((9,), constant, dtype=torch.float64),
                    temperature=0.5,
                    coupled=coupled,
                ),
                (positive, negatives),
            )
            for constant in (0.0, 1.5)
        ]
        same = torch.allclose(found[0][0], found[1][0]) and torch.allclose(found[0][1], found[1][1])
        assert same is not coupled


def test_coupled_is_torchs_cross_entropy():
    positive, negatives = leaves()
    dropped = torch.rand(6, 9, generator=torch.Generator().manual_seed(1)) < 0.4
    log_weight = torch.zeros(6, 9, dtype=torch.float64).masked_fill(dropped, -torch.inf)
    logits = torch.cat([positive[:, None], negatives.masked_fill(dropped, -torch.inf)], dim=1) / 0.3
    expected = functional.cross_entropy(logits, torch.zeros(6, dtype=torch.int64))
    assert contrast(positive, negatives, log_weight, temperature=0.3, coupled=True).item() == pytest.approx(
        expected.item(), rel=1e-12
    )


def test_pairs_of_one_user_may_share_a_row():
    positive, negatives = leaves()
    rows = torch.tensor([2, 0, 2, 1, 5, 2])
    shared = contrast(positive, negatives, temperature=0.2, rows=rows)
    apart = contrast(positive, negatives[rows], temperature=0.2)
    assert shared.item() == apart.item()
    for one, other in zip(*(torch.autograd.grad(x, (positive, negatives)) for x in (shared, apart)), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("coupled", [False, True])
def test_a_pair_without_candidates_is_pulled_alone_and_stays_a_number(coupled):
    positive, negatives = leaves(2, 3)
    log_weight = torch.zeros(2, 3, dtype=torch.float64)
    log_weight[0] = -torch.inf
    loss = contrast(positive, negatives, log_weight, temperature=0.5, coupled=coupled)
    other = contrast(positive[1:], negatives[1:], temperature=0.5, coupled=coupled).item()
    own = 0.0 if coupled else -2 * positive[0].item()
    assert loss.item() == pytest.approx((own + other) / 2, abs=1e-12)
    gradient = torch.autograd.grad(loss, (positive, negatives))
    assert gradient[1][0].tolist() == [0, 0, 0]
    assert gradient[0][0].item() == (0 if coupled else -1)


def test_every_row_pays_for_the_pool():
    positive, negatives = leaves()
    pool = torch.tensor([0.3, -0.2], dtype=torch.float64)
    wide = torch.cat([negatives, pool.expand(6, 2)], dim=1)
    for coupled in (False, True):
        found = contrast(positive, negatives, temperature=0.5, coupled=coupled, pool=pool)
        assert found.item() == pytest.approx(contrast(positive, wide, temperature=0.5, coupled=coupled).item())
    empty = contrast(positive, negatives, temperature=0.5, pool=pool[:0])
    assert empty.item() == contrast(positive, negatives, temperature=0.5).item()


def test_a_learned_temperature_gets_its_gradient():
    positive, negatives = leaves()
    temperature = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda t: contrast(positive.detach(), negatives.detach(), torch.ones(9).double(), temperature=t, coupled=True),
        (temperature,),
    )


def test_dclws_weights_by_hand():
    weights = vmf_weights(torch.tensor([0.8, 0.2]))
    assert weights.tolist() == pytest.approx([0.462950, 1.537050], abs=1e-6)
    assert weights.mean().item() == pytest.approx(1)
    even = vmf_weights(torch.full((4,), 0.3))
    positive, negatives = leaves(4)
    assert contrast(positive, negatives, temperature=0.1, positive_weight=even.double()).item() == pytest.approx(
        contrast(positive, negatives, temperature=0.1).item()
    )


# Candidates.

POPULARITY = torch.tensor([5.0, 1, 0, 3, 1, 0, 2, 8], dtype=torch.float64)


def test_candidates_are_distinct_and_counted():
    items = torch.tensor([3, 3, 7, 0, 7, 7])
    found = draw_candidates(items, POPULARITY, uniform=0, key=1)
    assert found.items.tolist() == [0, 3, 7]
    assert found.drawn.tolist() == [1, 2, 3]
    assert found.expected.tolist() == pytest.approx([6 * 5 / 20, 6 * 3 / 20, 6 * 8 / 20])
    assert found.place(torch.tensor([7, 1, 0]), 8).tolist() == [2, -1, 0]
    many = draw_candidates(items, POPULARITY, uniform=400, key=1)
    assert many.items.tolist() == list(range(8))
    assert many.drawn.sum() == 406
    assert many.expected.sum().item() == pytest.approx(406)
    assert torch.equal(many.drawn, draw_candidates(items, POPULARITY, uniform=400, key=1).drawn)
    assert not torch.equal(many.drawn, draw_candidates(items, POPULARITY, uniform=400, key=2).drawn)


def test_all_items_have_nothing_to_correct():
    whole = Candidates.whole(5, CPU)
    assert whole.log_weight(1.0).tolist() == whole.log_weight(0.0).tolist() == [0] * 5
    assert whole.place(torch.tensor([4, 0]), 5).tolist() == [4, 0]


def test_corrected_draws_estimate_the_sum_over_all_items():
    scores = torch.tensor([0.9, 0.1, -0.4, 0.3, 0.8, -0.9, 0.0, 0.5]) / 0.5
    rng, sums = np.random.default_rng(0), []
    batches = torch.from_numpy(rng.choice(8, size=(5000, 4), p=(POPULARITY / 20).numpy()))
    for key, items in enumerate(batches):
        found = draw_candidates(items, POPULARITY, uniform=3, key=key)
        sums.append((found.log_weight(1.0) + scores[found.items]).exp().sum().item())
    error = np.std(sums) / math.sqrt(len(sums))
    assert abs(np.mean(sums) - scores.exp().sum().item()) < 3 * error


def test_even_draws_need_no_correction_in_dcl():
    positive, negatives = leaves(4, 8)
    found = draw_candidates(torch.tensor([], dtype=torch.int64), POPULARITY, uniform=50, key=3)
    gradients = [
        torch.autograd.grad(
            contrast(positive, negatives[:, found.items], found.log_weight(k).double(), temperature=0.3), negatives
        )[0]
        for k in (0.0, 1.0)
    ]
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_known_pairs_are_all_found(seed):
    matrix = dense.random_matrix(seed=seed)
    rng = np.random.default_rng(seed)
    users = torch.from_numpy(rng.choice(14, size=6, replace=False))
    items = np.unique(rng.choice(11, size=rng.integers(1, 12)))
    chosen = Candidates(torch.from_numpy(items), torch.ones(len(items)), torch.ones(len(items)))
    found = torch.zeros(6, len(items), dtype=torch.bool)
    rows, columns = KnownPairs(matrix, CPU).among(users, chosen)
    found[rows, columns] = True
    np.testing.assert_array_equal(found.numpy(), matrix.toarray()[users][:, items] > 0)
    assert len(rows) == found.sum()
