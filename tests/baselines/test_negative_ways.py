"""What papers do with negatives, as switches of the contrastive baseline: hand numbers, and nothing at their zeros."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.stats import spearmanr
from torch.nn import functional

from baselines.contrast import (
    LearnedTemperature,
    ScoreTable,
    Selector,
    blend,
    contrast,
    exposure_weights,
    extrapolate,
    extrapolation_factors,
    group_log_weight,
    group_sizes,
    mix_negatives,
    whisker,
    within_margin,
)
from baselines.contrastive import Contrastive
from buir.errors import InputError
from tests.baselines.test_contrastive import MATRIX, N_ITEMS, batch, fit, learner_of, quick

CPU = torch.device("cpu")


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


# Mixtures (MoCHi).

U, N1, N2 = (torch.tensor(v) for v in ([1.0, 0, 0], [0.6, 0.8, 0], [0.0, 0, 1]))


def test_mixtures_by_hand():
    assert (U @ blend(N1, N2, 0.5)).item() == pytest.approx(0.424264, abs=1e-6)
    assert (U @ blend(U, N1, 0.25)).item() == pytest.approx(0.759257, abs=1e-6)
    assert (U @ blend(U, N2, 0.5)).item() == pytest.approx(0.707107, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 0.5), st.floats(0.0, 0.5), st.floats(0.0, 1.0))
def test_a_mixture_is_never_easier_than_its_parents(seed, b, c, a):
    user, one, other = unit(3, 5, seed=seed)
    low, high = sorted((b, c))
    scores = [(user @ blend(user, one, share)).item() for share in (0.0, low, high)]
    assert scores[0] - 1e-12 <= scores[1] <= scores[2] + 1e-12
    assert scores[0] == pytest.approx((user @ one).item())
    one, other = (part * torch.sign(user @ part) for part in (one, other))
    assert user @ blend(one, other, a) >= min(user @ one, user @ other) - 1e-12


@pytest.mark.parametrize("own", [False, True])
def test_mixtures_are_made_of_the_hardest(own):
    users, items = unit(4, 6), unit(30, 6, seed=1)
    scores = users @ items.T
    scores[0, 3:] = -torch.inf
    held = items.expand(4, 30, 6).contiguous() if own else items
    vectors, sound = mix_negatives(users, held, scores, hardest=5, pairs=40, with_user=20, key=9)
    assert vectors.shape == (4, 60, 6)
    torch.testing.assert_close(vectors.norm(dim=2), torch.ones(4, 60, dtype=torch.float64))
    assert sound[1:].all()
    assert 0 < sound[0].sum() < 60
    for row in range(4):
        best = items[scores[row].topk(3 if row == 0 else 5).indices]
        basis = torch.linalg.qr(best.T).Q
        for mixture in vectors[row, :40][sound[row, :40]]:
            torch.testing.assert_close(basis @ (basis.T @ mixture), mixture, atol=1e-9, rtol=0)
        low = scores[row].topk(3 if row == 0 else 5).values.min()
        assert (vectors[row, 40:][sound[row, 40:]] @ users[row]).min() >= low - 1e-9
    again, _ = mix_negatives(users, held, scores, hardest=5, pairs=40, with_user=20, key=9)
    assert torch.equal(vectors, again)


def test_interpolation_draws_from_all_candidates():
    users, items = unit(1, 3), unit(6, 3, seed=1)
    scores = users @ items.T
    vectors, sound = mix_negatives(users, items, scores, hardest=0, pairs=0, with_user=600, key=2)
    assert sound.all()
    # b u + (1 - b) n is n's side of the plane of u and n: which n it was can be told
    plane = items - (items @ users.T) * users
    parent = (
        functional.normalize(vectors[0] - (vectors[0] @ users.T) * users, dim=1) @ functional.normalize(plane, dim=1).T
    ).argmax(1)
    assert (torch.bincount(parent, minlength=6) > 60).all()


def test_no_gradient_flows_into_a_mixtures_items():
    users, items = batch()
    learner = learner_of(mixed_pairs=4, mixed_with_user=4, hardest=3, warmup=0)
    plain = learner_of(hardest=3, warmup=0)
    learner.loss(users, items, 5).backward()
    plain.loss(users, items, 5).backward()
    found, bare = (one.table.grad.to_dense()[MATRIX.shape[0] :] for one in (learner, plain))
    table = learner.table.detach()
    # more competitors take mass from the true negatives: items are pushed less, and in the same direction
    untouched = ~torch.isin(torch.arange(N_ITEMS), items)
    assert untouched.any()
    assert (found[untouched].norm(dim=1) <= bare[untouched].norm(dim=1) + 1e-9).all()
    assert torch.isfinite(table).all()
    assert learner.loss(users, items, 5).item() > plain.loss(users, items, 5).item()


# Feature transformation.


def test_extrapolation_by_hand():
    x, y = torch.tensor([1.0, 0.0]), torch.tensor([0.5, math.sqrt(0.75)])
    a, b = extrapolate(x, y, 1.5)
    assert (a @ b).item() == pytest.approx(-0.25, abs=1e-6)
    assert functional.cosine_similarity(a, b, dim=0).item() == pytest.approx(-0.142857, abs=1e-6)
    a, b = extrapolate(x, y, 2.0)
    assert (a @ b).item() == pytest.approx(-1.5, abs=1e-6)
    assert functional.cosine_similarity(a, b, dim=0).item() == pytest.approx(-0.5, abs=1e-6)
    a, b = extrapolate(x, y, 1.0)
    assert torch.equal(a, x)
    assert torch.equal(b, y)
    a, b = extrapolate(x, x, 1.7)
    assert (a @ b).item() == pytest.approx(1, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_extrapolation_lowers_the_score_by_its_closed_form(seed):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, 7, 5, generator=generator, dtype=torch.float64)
    factor = extrapolation_factors((7, 5), 2, seed, CPU).double()
    assert factor.min() >= 1
    assert factor.max() <= 2
    a, b = extrapolate(x, y, factor)
    expected = (x * y).sum(1) - (factor * (factor - 1) * (x - y).square()).sum(1)
    torch.testing.assert_close((a * b).sum(1), expected)
    assert ((a * b).sum(1) <= (x * y).sum(1) + 1e-12).all()


@pytest.mark.parametrize("alpha", [1, 2, 5])
def test_factors_have_the_moments_of_beta(alpha):
    draws = extrapolation_factors((200, 200), alpha, 3, CPU) - 1
    assert draws.mean().item() == pytest.approx(0.5, abs=0.005)
    assert draws.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.03)


def test_expected_extrapolation_is_a_factor():
    x, y = unit(2, 8)
    s = (x @ y).item()
    a, b = extrapolate(x, y, extrapolation_factors((10_000, 8), 2, 1, CPU).double())
    scores = (a * b).sum(1)
    assert abs(scores.mean().item() - (2.6 * s - 1.6)) < 3 * scores.std().item() / 100


# UNPG's filter and pool, and the margin.

SCORES = torch.tensor([0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.95])


def test_whiskers_by_hand():
    assert whisker(SCORES, 1.5).tolist() == [True] * 7 + [False]
    assert whisker(SCORES, 3).tolist() == [True] * 7 + [False]
    assert whisker(SCORES, 3.3).all()
    # the bounds: [-.2, .6] at 1.5, [-.5, .9] at 3
    edge = torch.tensor([-0.21, -0.19, 0.59, 0.61])
    assert whisker(torch.cat([SCORES, edge]), 1.5, torch.arange(12) < 8)[8:].tolist() == [False, True, True, False]
    edge = torch.tensor([-0.51, -0.49, 0.89, 0.91])
    assert whisker(torch.cat([SCORES, edge]), 3, torch.arange(12) < 8)[8:].tolist() == [False, True, True, False]
    assert whisker(SCORES, math.inf).all()
    assert whisker(torch.full((5,), 0.3), 0.0).all()
    assert whisker(SCORES, 1.5, torch.zeros(8, dtype=torch.bool)).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(-8, 8), st.sampled_from([0.25, 0.5, 2.0, 8.0]))
def test_whiskers_move_with_the_scores(seed, shift, scale):
    scores = torch.randn(40, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).mul(64).round()
    assert torch.equal(whisker(scores), whisker(scores * scale + shift))


def test_the_margin_by_hand():
    scores = torch.tensor([[0.94, 0.96, 1.0, 1.01], [-1.1, -1.04, -1.0, 0.0]])
    positive = torch.tensor([1.0, -1.0])
    assert within_margin(scores, positive, 0.05).tolist() == [[True, False, False, False], [True, False, False, False]]
    assert within_margin(scores, positive, 0.0).tolist() == [[True, True, True, False], [True, True, True, False]]


def test_every_pair_pays_for_the_batchs_items():
    learner, plain = learner_of(pooled=True), learner_of()
    users, items = batch()
    vectors = functional.normalize(learner.table.detach(), dim=1)
    scores = vectors[: MATRIX.shape[0]] @ vectors[MATRIX.shape[0] :].T / 0.3
    taken = torch.from_numpy(MATRIX.toarray() > 0)
    own = scores.masked_fill(taken, -torch.inf).logsumexp(1)
    shared = scores[users.unique()][:, items.unique()]
    extra = shared[~taken[users.unique()][:, items.unique()]].logsumexp(0)
    expected = (torch.logaddexp(own[users], extra) - scores[users, items]).mean()
    assert learner.loss(users, items, 1).item() == pytest.approx(expected.item(), rel=1e-5)
    assert plain.loss(users, items, 1) < learner.loss(users, items, 1)


# CET.


def test_exposure_weights_by_hand():
    logits = torch.tensor([2.0, 0.0, -2.0])
    raw = 1 / (1 - torch.sigmoid(logits / 2))
    assert raw.tolist() == pytest.approx([3.718282, 2, 1.367879], abs=1e-6)
    assert exposure_weights(logits, 2).tolist() == pytest.approx([1.574173, 0.846721, 0.579106], abs=1e-6)
    assert exposure_weights(logits, 10).tolist() == pytest.approx([1.103321, 0.993356, 0.903323], abs=1e-6)
    assert exposure_weights(logits, 1e9).tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    assert exposure_weights(torch.full((7,), 0.37), 2).tolist() == [1] * 7
    assert exposure_weights(logits, 1e-3).tolist() == [3, 0, 0]  # nothing overflows


def test_the_selector_learns_who_is_seen():
    rng = np.random.default_rng(0)
    exposure = 1 / (1 + np.arange(40)) ** 0.7
    seen = rng.random((1500, 40)) < exposure
    taken = seen & (rng.random((1500, 40)) < 0.5)
    model = Contrastive(embedding_dim=8, exposure="coupled", epochs=5, batch_size=256, valid_metric="ndcg_at_5")
    matrix = csr_array(taken.astype(np.float32))
    learner = model._learner(matrix, None, CPU)
    users, items = (torch.from_numpy(part.astype(np.int64)) for part in matrix.nonzero())
    for key in range(40):
        learner.step(users, items, key)
    weights = learner.selector.log_weight(torch.arange(40)).exp()
    assert spearmanr(weights.numpy(), exposure).statistic > 0.9
    assert weights.mean().item() == pytest.approx(1, abs=1e-5)
    assert learner.validate()["exposure_slope"] > 0.3


def test_a_constant_or_a_users_own_part_teaches_the_selector_nothing():
    selector = Selector(torch.full((5,), 3.0), 2.0)
    table = ScoreTable(torch.randn(2, 5, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 5), None)
    selector.learn(torch.tensor([1, 2]), torch.arange(5), table, 0.1)
    assert selector.slope.item() == 0
    assert selector.log_weight(torch.arange(5)).tolist() == [0] * 5


# AMCL's temperature.


def test_the_learned_temperature_is_where_the_penalty_is_least():
    temperature = LearnedTemperature(20, CPU, penalty=1e6, learning_rate=0.05)
    table = ScoreTable(torch.zeros(2, 3), torch.zeros(2, 3), None)
    for _ in range(400):
        temperature.learn(torch.zeros(2), table)
    assert temperature.value == pytest.approx(2 / 20, rel=0.01)


def test_the_learned_temperature_falls_where_pairs_stand_out_and_rises_where_they_do_not():
    table = ScoreTable(torch.zeros(2, 3), torch.zeros(2, 3), None)
    for score, falls in ((0.9, True), (-0.9, False)):
        temperature = LearnedTemperature(8, CPU, penalty=0.0)
        for _ in range(5):
            temperature.learn(torch.full((2,), score), table)
        assert (temperature.value < 0.1) is falls
    for _ in range(1000):
        temperature.learn(torch.full((2,), -0.9), table)
    assert temperature.value == pytest.approx(1.0)


# LEMON's groups.


def test_group_weights_by_hand():
    groups = torch.tensor([0, 0, 1, 1, 1, 1, -1, 0])
    assert group_sizes(groups).tolist() == [3, 4]
    found = group_log_weight(groups, group_sizes(groups), torch.tensor([0, 3, 6]), torch.tensor([1, 2, 6]), 0.3).exp()
    expected = [[0.7 + 0.3 * 8 / 3, 0.7, 0.7], [0.7, 0.7 + 0.3 * 2, 0.7], [1, 1, 1]]
    torch.testing.assert_close(found, torch.tensor(expected))
    # over all items, a row's weights sum to their number
    whole = group_log_weight(groups, group_sizes(groups), torch.tensor([0, 3]), torch.arange(8), 0.3).exp()
    torch.testing.assert_close(whole.sum(1), torch.tensor([8.0, 8.0]))
    own = group_log_weight(groups, group_sizes(groups), torch.tensor([0, 3]), torch.tensor([[1, 2], [6, 3]]), 0.3).exp()
    torch.testing.assert_close(own, torch.tensor([[1.5, 0.7], [0.7, 1.3]]))


# All of them.

GROUPS = np.arange(N_ITEMS) % 3
SHUT = {
    "mixed before the warm-up": {"mixed_pairs": 8, "mixed_with_user": 4, "warmup": 1},
    "mixed": {"mixed_pairs": 0, "mixed_with_user": 0, "warmup": 0},
    "extrapolation": {"extrapolation": 0},
    "whisker": {"keep": "whisker", "reach": 1e6},
    "exposure": {"exposure": "coupled"},
    "even exposure": {"exposure": "coupled", "exposure_temperature": 1e30},
    "groups": {"groups": GROUPS, "group_share": 0.0},
    "no groups": {"groups": np.full(N_ITEMS, -1), "group_share": 0.5},
    "temperature": {"temperature": "auto"},
}


@pytest.mark.parametrize("way", SHUT)
@pytest.mark.parametrize("loss", ["dcl", "info_nce"])
@pytest.mark.parametrize(
    "drawn",
    [
        {},
        {"uniform": 6, "in_batch": 5},
        {"sampler": lambda u, i, k: (u[:, None] + i[:, None] + torch.arange(4)) % N_ITEMS},
    ],
    ids=["all", "drawn", "own"],
)
def test_at_its_zero_a_way_is_the_plain_loss_bit_for_bit(way, loss, drawn):
    users, items = batch()
    temperature = {"temperature": 0.1}
    plain, found = (learner_of(**({"loss": loss} | temperature | drawn | more)) for more in ({}, SHUT[way]))
    losses = [learner.loss(users, items, 7) for learner in (plain, found)]
    assert losses[0].item() == losses[1].item()
    for learner, value in zip((plain, found), losses, strict=True):
        value.backward()
        learner.gradient = learner.table.grad.to_dense()
    torch.testing.assert_close(plain.gradient, found.gradient, atol=1e-7, rtol=1e-5)


OPEN = {
    "mixed": {"mixed_pairs": 8, "mixed_with_user": 4, "hardest": 6, "warmup": 2},
    "interpolation": {"mixed_pairs": 8, "hardest": 0, "warmup": 0},
    "extrapolation": {"extrapolation": 2},
    "pooled": {"pooled": True},
    "whisker": {"keep": "whisker"},
    "margin": {"keep": "margin"},
    "exposure": {"exposure": "coupled"},
    "temperature": {"temperature": "auto"},
    "groups": {"groups": np.arange(40) % 3, "group_share": 0.3},
    "everything": {
        "mixed_pairs": 4,
        "mixed_with_user": 4,
        "warmup": 1,
        "extrapolation": 2,
        "pooled": True,
        "keep": "margin",
        "exposure": "coupled",
        "temperature": "auto",
        "groups": np.arange(40) % 4,
    },
}


@pytest.mark.parametrize(
    "drawn",
    [
        {},
        {"uniform": 16, "in_batch": 16},
        {"sampler": lambda u, _, key: (u[:, None] * 7 + key + torch.arange(16)) % 40},
    ],
    ids=["all", "drawn", "own"],
)
@pytest.mark.parametrize("way", OPEN)
def test_a_fit_with_a_way_is_another_one_and_repeats(way, drawn):
    options = {"epochs": 4, "valid": None} | drawn
    plain, model, again = fit(**options), fit(**options, **OPEN[way]), fit(**options, **OPEN[way])
    assert not np.array_equal(plain.item_factors, model.item_factors)
    np.testing.assert_array_equal(again.item_factors, model.item_factors)
    assert np.isfinite(model.item_factors).all()


def test_the_plain_loss_with_pool_of_nothing():
    scores = torch.zeros(2, 3)
    assert contrast(torch.zeros(2), scores, temperature=1.0, pool=torch.zeros(0)).item() == pytest.approx(math.log(3))


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (np.zeros(3, dtype=int), "one for each of 40 items"),
        (np.zeros(40), "float64"),
        (np.full(40, -2), "holds -2"),
    ],
)
def test_wrong_groups_are_one_error(groups, words):
    with pytest.raises(InputError, match=words) as caught:
        fit(groups=groups)
    assert caught.value.argument == "groups"


@pytest.mark.parametrize(
    "way", [{"mixed_pairs": 1}, {"keep": "margin"}, {"groups": np.zeros(40, dtype=int)}, {"sampler": print}]
)
def test_direct_au_has_no_negatives_to_do_something_with(way):
    with pytest.raises(InputError, match="since that loss has no negatives") as caught:
        quick(loss="direct_au", **way)
    assert caught.value.argument == next(iter(way))


def test_groups_may_be_called_by_any_numbers():
    names = np.where(np.arange(40) % 4 == 0, -1, np.arange(40) % 4 * 10**15)
    one, other = (learner_of(groups=groups, group_share=0.3) for groups in (names, np.arange(40) % 4 - 1))
    assert one.groups.tolist() == other.groups.tolist()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"mixed_pairs": 10**7}, "mixed_pairs is 10000000; expected a whole number of at least 0 and at most 10,000"),
        ({"temperature": 1e-40}, "temperature is 1e-40; expected a number of at least 0.001"),
        ({"loss": "direct_au", "temperature": "auto"}, "a number, since that loss has none to learn"),
        ({"groups": [0] * 10_000}, "characters); expected an array or None"),
    ],
)
def test_what_would_fail_later_is_refused(wrong, said):
    with pytest.raises((InputError, TypeError)) as caught:
        Contrastive(**wrong).fit(csr_array(np.eye(10)), show_progress=False)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("sampler", [None, lambda users, *_: users[:, None]])
def test_mixtures_count_as_memory(sampler):
    with pytest.raises(InputError, match=r"batch_size is 750, whose scores would take"):
        Contrastive(mixed_pairs=10_000, batch_size=750, sampler=sampler).fit(csr_array(np.eye(3000)))
