"""EASE against ridge regressions solved one item at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from baselines import Refused, linear
from baselines.linear import EASE, solve_ease
from buir.data.interactions import Interactions


def ridge_without_itself(dense: np.ndarray, regularization: float) -> np.ndarray:
    """Column j: the ridge regression of item j on all other items."""
    x = dense.astype(np.float64)
    n = x.shape[1]
    weights = np.zeros((n, n))
    for j in range(n):
        others = [i for i in range(n) if i != j]
        gram = x[:, others].T @ x[:, others] + regularization * np.eye(n - 1)
        weights[others, j] = np.linalg.solve(gram, x[:, others].T @ x[:, j])
    return weights


def random_dense(n_users: int = 40, n_items: int = 17, density: float = 0.3, seed: int = 0) -> np.ndarray:
    dense = np.random.default_rng(seed).random((n_users, n_items)) < density
    dense[np.arange(n_items), np.arange(n_items)] = True
    return dense.astype(np.float32)


def test_two_items_by_hand():
    # G = [[2, 1], [1, 1]]: item 1 predicts item 0 by 1 / (1 + 1), item 0 predicts item 1 by 1 / (2 + 1).
    weights = solve_ease(csr_array([[1.0, 1.0], [1.0, 0.0]]), 1.0)
    np.testing.assert_allclose(weights, [[0, 1 / 3], [1 / 2, 0]], rtol=1e-6)
    assert weights.dtype == np.float32


@pytest.mark.parametrize("block", [1, 5, 17, 1024])
@pytest.mark.parametrize("regularization", [0.5, 30.0])
def test_weights_are_the_ridge_regressions(monkeypatch, block, regularization):
    monkeypatch.setattr(linear, "_BLOCK", block)
    dense = random_dense()
    weights = solve_ease(csr_array(dense), regularization)
    np.testing.assert_allclose(weights, ridge_without_itself(dense, regularization), atol=2e-6)
    assert np.all(np.diag(weights) == 0)


def test_lists_are_those_of_the_dense_product():
    dense = random_dense()
    model = EASE(regularization=4.0).fit(csr_array(dense), show_progress=False)
    scores = dense @ ridge_without_itself(dense, 4.0)
    ids, found = model.recommend(np.arange(40), N=5)
    scores[dense > 0] = -np.inf
    np.testing.assert_array_equal(ids, np.argsort(-scores, axis=1, kind="stable")[:, :5])
    np.testing.assert_allclose(found, np.take_along_axis(scores, ids.astype(int), axis=1), atol=1e-5)


def test_items_without_training_data_come_last_and_fill_lists():
    dense = random_dense()
    dense[:, [3, 8]] = 0
    dense[5] = 0
    model = EASE(regularization=4.0).fit(Interactions.from_matrix(csr_array(dense)), show_progress=False)
    assert model.weights.shape == (15, 15)
    assert model.known_items.tolist() == [i for i in range(17) if i not in (3, 8)]
    ids, scores = model.recommend(np.arange(40), N=17, filter_already_liked_items=False)
    np.testing.assert_array_equal(ids[:, -2:], np.tile([3, 8], (40, 1)))
    np.testing.assert_allclose(scores[:, -1], scores[:, -3] - 1, rtol=1e-6)
    # Without history nothing is known: all equal, in the order of their rows, the unknown ones last.
    np.testing.assert_array_equal(ids[5], [*model.known_items, 3, 8])


def test_a_new_user_scores_as_a_training_user_with_the_same_items():
    dense = random_dense()
    model = EASE(regularization=4.0).fit(csr_array(dense), show_progress=False)
    ids, scores = model.recommend(7, N=6)
    new_ids, new_scores = model.recommend(1000, csr_array(dense[[7]]), N=6, recalculate_user=True)
    np.testing.assert_array_equal(new_ids, ids)
    np.testing.assert_array_equal(new_scores, scores)


def test_twins_with_little_regularization_are_solved_in_double_precision(monkeypatch):
    dense = random_dense()
    dense[:, 4] = dense[:, 2]
    asked = []
    inverse = linear._inverse_gram
    monkeypatch.setattr(linear, "_inverse_gram", lambda x, r, dtype: (asked.append(dtype), inverse(x, r, dtype))[1])
    weights = solve_ease(csr_array(dense), 1e-5)
    assert asked == [np.float32, np.float64]
    np.testing.assert_allclose(weights, ridge_without_itself(dense, 1e-5), atol=1e-6)


def test_a_singular_matrix_names_the_way_out():
    dense = random_dense()
    dense[:, 4] = dense[:, 2]
    with pytest.raises(ValueError, match=r"cannot be inverted with regularization 1e-20, .*take 1 or more"):
        solve_ease(csr_array(dense), 1e-20)


def test_too_many_items_are_refused_with_what_they_would_take():
    with pytest.raises(Refused, match=r"square matrix over the 17 items .* the limit is 16 items: .*raise max_items"):
        EASE(max_items=16).fit(csr_array(random_dense()))
    # Items without training data take no memory and do not count.
    dense = random_dense()
    dense[:, 3] = 0
    EASE(max_items=16).fit(Interactions.from_matrix(csr_array(dense)), show_progress=False)


def test_the_refusal_states_the_memory():
    n = 30_000
    wide = csr_array((np.ones(n, np.float32), (np.zeros(n, int), np.arange(n))), shape=(1, n))
    with pytest.raises(Refused, match=r"over the 30,000 items with training data: 3\.4 GiB, up to 10\.1 GiB"):
        EASE().fit(Interactions.from_matrix(wide))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 50))
def test_permuting_users_changes_nothing_and_permuting_items_permutes(seed, regularization):
    rng = np.random.default_rng(seed)
    dense = random_dense(12, 6, 0.4, seed)
    weights = solve_ease(csr_array(dense), regularization)
    users, items = rng.permutation(12), rng.permutation(6)
    np.testing.assert_allclose(solve_ease(csr_array(dense[users]), regularization), weights, atol=1e-5)
    permuted = solve_ease(csr_array(np.ascontiguousarray(dense[:, items])), regularization)
    np.testing.assert_allclose(permuted, weights[np.ix_(items, items)], atol=1e-5)
