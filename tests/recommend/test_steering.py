"""Users' vectors turned by hand, what never changes by it, and what cannot be turned."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from baselines import ALS, BPR, EASE, LMF, Contrastive, CooccurrenceFilter, ItemKNN, LightGCN, LowRankFilter, Popularity
from buir import BUIR, Interactions
from buir.errors import InputError, OutOfRangeError, UnknownIdError
from buir.recommend import Steering, steer
from tests.support.contract import training_matrix
from tests.support.factors import Fixed

ZERO = torch.zeros(2)


def direction(*vectors) -> torch.Tensor:
    table = torch.from_numpy(np.array(vectors, dtype=np.float64))
    return table / table.norm(dim=1, keepdim=True)


def test_by_hand():
    u, v = torch.tensor([[2.0, 0.0]]), torch.tensor([1.0, 1.0])
    # |u| = 2, |v| = sqrt 2, and the part of v across u is (0, 1): a strength of sqrt(2) / 4 moves by a half
    turned = steer(u, direction([1.0, 1.0]), 2**0.5 / 4, ZERO)
    torch.testing.assert_close(turned, torch.tensor([[2.0, -0.5]]))
    assert (turned @ u[0]).item() == pytest.approx(4)  # as before
    assert (turned @ v).item() == pytest.approx(1.5)  # 2 before
    assert steer(u, direction([1.0, 1.0]), 0.0, ZERO) is u
    torch.testing.assert_close(steer(u, direction([3.0, 0.0]), 5.0, ZERO), u)  # what she is herself
    torch.testing.assert_close(steer(u, direction([-3.0, 0.0]), 5.0, ZERO), u)
    centre = torch.tensor([5.0, 7.0])
    torch.testing.assert_close(steer(u + centre, direction([1.0, 1.0]), 2**0.5 / 4, centre), turned + centre)
    torch.testing.assert_close(steer(centre[None], direction([1.0, 1.0]), 1.0, centre), centre[None])


@given(seed=st.integers(0, 10**6), d=st.integers(2, 6), n=st.integers(1, 4), strength=st.floats(0.01, 3))
@settings(max_examples=60, deadline=None)
def test_what_is_her_own_stays_and_turning_the_space_turns_all(seed, d, n, strength):
    rng = np.random.default_rng(seed)
    users, items = torch.from_numpy(rng.standard_normal((5, d))), direction(*rng.standard_normal((n, d)))
    centre = torch.from_numpy(rng.standard_normal(d))
    turned = steer(users, items, strength, centre)
    own, new = users - centre, turned - centre
    torch.testing.assert_close((own * new).sum(1), own.square().sum(1))
    unit = own / own.norm(dim=1, keepdim=True)
    across = sum(v - (unit @ v)[:, None] * unit for v in items)
    expected = own.square().sum(1) * (1 + strength**2 * across.square().sum(1))
    torch.testing.assert_close(new.square().sum(1), expected)
    rotation = torch.from_numpy(np.linalg.qr(rng.standard_normal((d, d)))[0])
    torch.testing.assert_close(
        steer(users @ rotation, items @ rotation, strength, centre @ rotation), turned @ rotation
    )
    twice = steer(users, torch.cat([items, items]), strength, centre)
    torch.testing.assert_close(twice, steer(users, 2 * items, strength, centre))
    torch.testing.assert_close(twice - users, 2 * (turned - users))


# models

SEEN = csr_array(np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
# in both tables the first two coordinates have mean 0, and the third is the same for all users: a bias of the items
USERS = np.array([[2.0, 0, 1], [-2, 0, 1], [0, 2, 1], [0, -2, 1]])
ITEMS = np.array([[1.0, 1, 5], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]])


def lists(model, users, **options):
    return model.recommend(users, N=4, filter_already_liked_items=False, **options)


def test_a_bias_is_no_taste_and_scores_are_by_hand():
    model = Fixed(USERS, ITEMS, SEEN)
    ids, scores = lists(model, 0, less_like=0, strength=2**0.5 / 4)
    # the user is (2, -.5) now: 1.5, -2.5, -1.5 and 2.5, and the bias of item 0 stays
    assert dict(zip(ids.tolist(), scores.tolist(), strict=True)) == pytest.approx({0: 6.5, 1: -2.5, 2: -1.5, 3: 2.5})
    ids, scores = lists(model, 0, more_like=[0], strength=2**0.5 / 4)
    assert dict(zip(ids.tolist(), scores.tolist(), strict=True)) == pytest.approx({0: 7.5, 1: -1.5, 2: -2.5, 3: 1.5})
    before, after = lists(model, [0, 1, 2]), lists(model, [0, 1, 2], less_like=[1], strength=0)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_strangers_are_turned_by_the_vector_of_their_history():
    model = Fixed(USERS, ITEMS, SEEN)
    row = csr_array(np.array([[0, 0, 0, 2.0]]))
    options = {"user_items": row, "recalculate_user": True, "less_like": [0]}
    _, scores = model.recommend(0, N=4, filter_already_liked_items=False, **options)
    own = model._recalculated_users(csr_array((row > 0).astype(np.float32))).user_factors[0]
    taste = torch.cat([own[:2], torch.zeros(1)])
    turned = steer(taste[None], direction([1.0, 1.0, 0.0]), 0.5, torch.zeros(3))[0] - taste + own
    np.testing.assert_allclose(scores, np.sort(ITEMS @ turned.numpy())[::-1], rtol=1e-6)


def test_ids_and_rows_give_the_same_lists():
    data = Interactions.from_matrix(SEEN, user_ids=["ann", "bob", "cat", "dan"], item_ids=[10, 20, 30, 40])
    model = Fixed(USERS, ITEMS, data)
    ids, scores = lists(model, [1, 2], less_like=[2], more_like=[3], strength=1)
    frame = model.recommend_frame(["bob", "cat"], 4, exclude_seen=False, less_like=30, more_like=[40], strength=1)
    assert frame["item"].tolist() == (10 * (ids + 1)).ravel().tolist()
    np.testing.assert_allclose(frame["score"], scores.ravel(), rtol=1e-6)
    told = {"eve": [10], "bob": [10, 20]}
    frame = model.recommend_frame(["eve", "ann", "bob"], 4, exclude_seen=False, histories=told, less_like=30)
    rows = csr_array(np.array([[1.0, 0, 0, 0], [1, 1, 0, 0]]))
    _, of_told = lists(model, [0, 1], user_items=rows, recalculate_user=True, less_like=2)
    np.testing.assert_allclose(
        frame["score"], np.concatenate([of_told[0], lists(model, 0, less_like=2)[1], of_told[1]])
    )


FACTORS = {
    "als": lambda **terms: ALS(factors=4, iterations=3, **terms),
    "bpr": lambda **terms: BPR(factors=4, iterations=5, learning_rate=0.1, **terms),
    "lmf": lambda **terms: LMF(factors=4, iterations=5, **terms),
    "low-rank": lambda **terms: LowRankFilter(rank=4, **terms),
    "lightgcn": lambda **terms: LightGCN(embedding_dim=4, epochs=2, batch_size=32, device="cpu", **terms),
    "contrastive": lambda **terms: Contrastive(embedding_dim=4, epochs=2, batch_size=32, device="cpu", **terms),
    "buir": lambda **terms: BUIR(embedding_dim=4, epochs=2, batch_size=32, device="cpu", start="random", **terms),
}


@pytest.mark.parametrize("name", FACTORS)
def test_every_model_with_factors_turns_and_its_terms_stay(name):
    matrix = training_matrix()
    terms = {"filter": 0.5, "popularity": 0.4, "block": 0.3}
    for some in ({}, terms):
        model = FACTORS[name](terms=some).fit(matrix, show_progress=False)
        users = np.arange(matrix.shape[0])
        before, after = (
            model.recommend(users, N=14, **options) for options in ({}, {"less_like": [3], "strength": 0.7})
        )
        scores = [np.full(matrix.shape, np.nan) for _ in range(2)]
        for table, (ids, values) in zip(scores, (before, after), strict=True):
            for user in users:
                table[user, ids[user][ids[user] >= 0]] = values[user][ids[user] >= 0]
        # slow oracle: the difference is that of the own coordinates, whatever else the score is made of
        width = model._likeness(model.item_factors).shape[1]
        user, item = model.user_factors[:, :width].astype(float), model.item_factors[:, :width].astype(float)
        taste = (np.ptp(user, axis=0) > 0) & (np.ptp(item, axis=0) > 0)
        own, apart = (user - user.mean(0))[:, taste], (item[3] - item.mean(0))[taste]
        unit = own / np.linalg.norm(own, axis=1, keepdims=True)
        across = apart - (unit @ apart)[:, None] * unit
        moved = -0.7 * np.linalg.norm(own, axis=1, keepdims=True) * across / np.linalg.norm(apart)
        expected = np.where(matrix.toarray() > 0, np.nan, moved @ item[:, taste].T)
        np.testing.assert_allclose(scores[1] - scores[0], expected, atol=1e-4 * np.nanmax(np.abs(scores[0])))
        for user in users:  # nothing seen, nothing denied
            ids, _ = model.recommend(user, N=14, less_like=[3], filter_items=[5])
            assert not matrix.toarray()[user, ids].any()
            assert 5 not in ids


@pytest.mark.parametrize("make", [EASE, ItemKNN, CooccurrenceFilter, Popularity])
def test_a_model_without_vectors_says_why(make):
    model = make().fit(training_matrix(), show_progress=False)
    with pytest.raises(InputError, match=f"{make.__name__} has none, since it scores by items alone; expected a model"):
        model.recommend(0, less_like=[1])
    assert model.recommend(0, less_like=[], strength=3)[0].size


@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf"), "much", None, True])
def test_a_strength_out_of_range(strength):
    model = Fixed(USERS, ITEMS, SEEN)
    for ask in (
        lambda: model.recommend(0, less_like=[1], strength=strength),
        lambda: model.recommend_frame(strength=strength),
    ):
        with pytest.raises(InputError, match="expected a number from 0") as caught:
            ask()
        assert caught.value.argument == "strength"


def test_an_item_that_nobody_has_is_no_taste_whatever_its_vector():
    seen = SEEN.toarray()
    seen[:, 3] = 0
    model = Fixed(USERS, ITEMS, Interactions.from_matrix(csr_array(seen)))
    with pytest.raises(InputError, match="less_like names item 3, which has no vector, since Fixed saw no user of it"):
        model.recommend(0, less_like=[3])


def test_an_item_named_twice_counts_once():
    model = Fixed(USERS, ITEMS, SEEN)
    once, twice = (model.recommend(0, N=4, less_like=less)[1] for less in ([1], [1, 1]))
    np.testing.assert_array_equal(once, twice)


def test_what_cannot_be_turned():
    users, items, seen = (np.array(part) for part in (USERS, ITEMS, SEEN.toarray()))
    users[1], items[3], seen[2] = 0, 0, 0
    data = Interactions.from_matrix(csr_array(seen), user_ids=["ann", "bob", "cat", "dan"], item_ids=[10, 20, 30, 40])
    model = Fixed(users, items, data)
    with pytest.raises(InputError, match=r"user 1 has no vector .* give her a history"):
        model.recommend(1, less_like=[0])
    with pytest.raises(InputError, match="user 'cat' and 1 more has no vector"):
        model.recommend_frame(["ann", "cat", "bob"], less_like=10)
    with pytest.raises(InputError, match="less_like names item 40, which has no vector") as caught:
        model.recommend_frame("ann", less_like=[40])
    assert caught.value.argument == "less_like"
    with pytest.raises(InputError, match="less_like and more_like both name item 1; expected each item on one side"):
        model.recommend(0, less_like=[1, 0], more_like=[1])
    with pytest.raises(OutOfRangeError, match="less_like holds 4"):
        model.recommend(0, less_like=[4])
    with pytest.raises(UnknownIdError, match="more_like holds item ids unknown to the model: 99") as caught:
        model.recommend_frame("ann", more_like=[99])
    assert caught.value.argument == "more_like"
    with pytest.raises(UnknownIdError, match="'eve', which cannot be turned by less_like or more_like"):
        model.recommend_frame(["ann", "eve"], unknown="popular", less_like=10)
    # what is to be passed over is
    assert model.recommend_frame(["ann", "eve"], unknown="skip", less_like=[99]).equals(model.recommend_frame("ann"))
    assert Steering.of(model, [], [], 0.5) is None
