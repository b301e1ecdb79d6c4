"""Bounds of scores: they hold, and lists that are made by them are the same."""

from functools import partial

import numpy as np
import pytest
import torch

from buir.ranking import FactorScorer, PopularityTerm, SumScorer, TermScorer, bounds, top_k
from buir.ranking.bounds import Heads, Rounded


def tables(n_users=60, n_items=4000, d=80, decay=1.0, seed=0):
    """Factors whose scores lie mostly in a few directions, none of them an axis."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0] * np.arange(1.0, d + 1) ** -decay
    users, items = rng.normal(size=(n_users, d)), rng.normal(size=(n_items, d))
    return [np.ascontiguousarray(table @ turn.T, dtype=np.float32) for table in (users, items)]


def fixed(users, items):
    users.flags.writeable = items.flags.writeable = False
    return FactorScorer(users, items)


@pytest.fixture(params=[None, 63], ids=["heads", "rounded"])
def kind(request, monkeypatch):
    """Bounds are made of heads, or of items in eight bits, whatever this machine would take."""
    monkeypatch.setattr(bounds, "_largest_of_user", lambda _: request.param)
    return request.param


@pytest.fixture
def everywhere(monkeypatch, kind):
    """Bounds are used for small tables too, whether they pay or not."""
    monkeypatch.setattr(bounds, "_LEAST", 0)
    monkeypatch.setattr(bounds, "_PAYS", np.inf)


KINDS = [partial(Heads, width=width) for width in (1, 5, 30, 79)] + [partial(Rounded, most=most) for most in (63, 127)]


@pytest.mark.parametrize("make", KINDS)
def test_no_score_is_above_its_bound(make):
    users, items = tables()
    made, exact = make(users, items), users.astype(np.float64) @ items.astype(np.float64).T
    for user in range(0, 60, 7):
        bound = made.of(user)
        assert (bound.upper.astype(np.float64) >= exact[user]).all()
        np.testing.assert_allclose(bound.scores(np.arange(50)), exact[user, :50], rtol=1e-5, atol=1e-6)
        assert (bound.slack >= 0).all()


def test_bounds_by_hand():
    # Scores of one direction: the head says all, and the rest is 0.
    users, items = np.array([[2.0, 0.0]], dtype=np.float32), np.array([[3.0, 0.0], [-1.0, 0.0]], dtype=np.float32)
    bound = Heads(users, items, 1).of(0)
    np.testing.assert_allclose(bound.upper, [6, -2], atol=1e-3)
    # Two users with a direction each: the stronger one is the head, the other is the rest.
    users, items = np.diag([3.0, 1.0]).astype(np.float32), np.eye(2, dtype=np.float32)
    made = Heads(users, items, 1)
    np.testing.assert_allclose(made.of(0).upper, [3, 0], atol=1e-3)
    np.testing.assert_allclose(made.of(1).upper, [0, 1], atol=1e-3)


@pytest.mark.parametrize("make", [partial(Heads, width=8), partial(Rounded, most=63)])
@pytest.mark.parametrize("empty", ["user", "direction", "items"])
def test_what_is_empty_has_bounds_too(empty, make):
    users, items = tables(d=40)
    if empty == "user":
        users[3] = 0
    elif empty == "direction":
        users[:, 5:] = 0
    else:
        items[:, :] = 0
    exact = users.astype(np.float64) @ items.T.astype(np.float64)
    for user in (3, 4):
        upper = make(users, items).of(user).upper
        assert np.isfinite(upper).all()
        assert (upper >= exact[user]).all()


@pytest.mark.parametrize("k", [1, 10, 3999, 5000])
@pytest.mark.usefixtures("everywhere")
def test_lists_are_those_of_all_scores(k):
    users, items = tables()
    rng, plain, bounded = np.random.default_rng(1), FactorScorer(users, items), fixed(users.copy(), items.copy())
    assert plain.bounds_of(0) is None
    assert bounded.bounds_of(0) is not None
    for user in range(0, 60, 11):
        seen, deny = np.sort(rng.permutation(4000)[:300]), np.sort(rng.permutation(4000)[:50])
        want = top_k(plain, np.array([user]), k, exclude=seen, deny=deny)
        got = top_k(bounded, np.array([user]), k, exclude=seen, deny=deny)
        np.testing.assert_array_equal(got[0], want[0])
        np.testing.assert_allclose(got[1], want[1], rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("everywhere")
def test_equal_scores_are_in_the_order_of_their_items():
    rng = np.random.default_rng(0)
    users, items = (rng.integers(-2, 3, size=size).astype(np.float32) for size in ((20, 40), (3000, 40)))
    items[1500:] = items[:1500]
    whole = users @ items.T
    scorer = fixed(users, items)
    for user in range(20):
        ids = top_k(scorer, np.array([user]), 25)[0][0]
        np.testing.assert_array_equal(ids, np.argsort(-whole[user], kind="stable")[:25])


@pytest.mark.usefixtures("everywhere")
def test_terms_without_coordinates_are_added_to_the_bounds():
    class Further:
        def __init__(self):
            self.scores = np.random.default_rng(5).normal(size=(60, 4000)).astype(np.float32)
            self.n_users, self.n_items = self.scores.shape

        def score_block(self, users):
            return torch.from_numpy(self.scores[users])

    users, items = tables()
    further = Further()
    plain, bounded = (
        SumScorer(f, [(0.5, further)]) for f in (FactorScorer(users, items), fixed(users.copy(), items.copy()))
    )
    assert bounded.bounds_of(0) is not None
    for user in range(0, 60, 13):
        want, got = (top_k(scorer, np.array([user]), 12) for scorer in (plain, bounded))
        np.testing.assert_array_equal(got[0], want[0])
        np.testing.assert_allclose(got[1], want[1], rtol=1e-4, atol=1e-5)


def test_rounded_bounds_by_hand():
    # One direction that users and items share alike: nothing is left of the vectors after rounding.
    users, items = np.array([[2.0]], dtype=np.float32), np.array([[2.0], [-1.0]], dtype=np.float32)
    bound = Rounded(users, items, 127).of(0)
    np.testing.assert_allclose(bound.upper - bound.slack, [4, -2], rtol=1e-5)
    # yet the slack allows for a user's vector that is not exact: a 127th of the lengths
    np.testing.assert_allclose(bound.slack, [4 / 127, 2 / 127], rtol=0.01)


def test_products_of_eight_bits_are_tried_before_they_are_believed(monkeypatch):
    real = torch._int_mm

    def saturating(rows, column):
        """Shift rows to 0 to 255 and add up pairs of products in sixteen bits, as some processors do."""
        rows, column = rows.to(torch.int32), column.to(torch.int32)
        pairs = ((rows + 128) * column.T).view(len(rows), -1, 2).sum(dim=2).clamp(-(2**15), 2**15 - 1)
        return (pairs.sum(dim=1, keepdim=True) - 128 * column.sum()).to(torch.int32)

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert bounds._largest_of_user((100, 64)) in (None, 63, 127)
    monkeypatch.setattr(bounds, "_product", saturating)
    assert bounds._largest_of_user((100, 64)) == 63
    monkeypatch.setattr(bounds, "_product", lambda rows, column: real(rows, column) + 1)
    assert bounds._largest_of_user((100, 64)) is None
    # 150,000 times 127 squared has no room in 32 bits: the sum comes round, and so would what it is compared with
    monkeypatch.setattr(bounds, "_product", lambda rows, column: (rows.long() @ column.long()).to(torch.int32))
    assert bounds._largest_of_user((100, 150_000)) == 63
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(bounds, "_product", real)
    assert bounds._largest_of_user((100, 64)) is None


def test_bounds_are_made_where_they_pay(kind):
    users, items = tables(n_items=20_000, decay=2)
    assert fixed(users, items).bounds_of(0) is not None
    flat = np.random.default_rng(0).normal(size=(20_000, 80)).astype(np.float32)
    # every direction says as much as the next: no head is enough, the rounded vectors are
    assert (fixed(flat[:500].copy(), flat).bounds_of(0) is None) == (kind is None)
    assert fixed(*tables(n_items=500)).bounds_of(0) is None  # small
    users, items = tables(n_items=20_000, decay=2)
    items[7, 7] = np.nan
    assert fixed(users, items).bounds_of(0) is None
    assert fixed(np.zeros((3, 80), dtype=np.float32), tables(n_items=20_000)[1]).bounds_of(0) is None


def test_terms_of_a_score_keep_the_bounds():
    users, items = tables(n_items=20_000, decay=2)
    users.flags.writeable = items.flags.writeable = False
    scorer = TermScorer(FactorScorer(users, items), {})
    assert scorer.bounds_of(0) is not None
    popular = PopularityTerm(torch.ones(20_000), strength=0.5)
    assert TermScorer(FactorScorer(users, items), {"popularity": popular}).bounds_of(0) is None  # tables of its own
