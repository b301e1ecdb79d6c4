"""The two filters against dense float64 oracles; and the corners that have names of their own, written out by hand."""

import math

import numpy as np
import pytest
from scipy.sparse import csr_array

from baselines.filters import CooccurrenceFilter, LowRankFilter
from baselines.neighbours import ItemKNN
from buir.data import Interactions

HAND = np.array([[1, 1, 0, 1], [1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0]], dtype=np.float64)
"""Item degrees 2, 4, 1, 1; user degrees 3, 2, 2, 1."""


def random_dense(n_users: int = 60, n_items: int = 23, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    dense = (rng.random((n_users, n_items)) < rng.uniform(0.05, 0.5, n_items)).astype(np.float64)
    dense[:, 4] = dense[7] = 0
    return dense


def pairs(dense: np.ndarray) -> Interactions:
    return Interactions.from_matrix(csr_array(dense))


def powers(degree: np.ndarray, exponent: float) -> np.ndarray:
    return np.array([d**exponent if d else 0.0 for d in degree])


def cooccurrences(dense: np.ndarray, x: float, y: float, z: float, keep: int) -> np.ndarray:
    users, items = dense.sum(axis=1), dense.sum(axis=0)
    g = powers(items, -x)[:, None] * (dense.T @ (powers(users, -y)[:, None] * dense)) * powers(items, -z)
    np.fill_diagonal(g, 0)
    for row in g:
        row[np.argsort(-row, kind="stable")[keep:]] = 0
    return g


def low_rank(dense: np.ndarray, rank: int, exponent: float, regularisation: float) -> np.ndarray:
    users, items = dense.sum(axis=1), dense.sum(axis=0)
    row, column = (
        powers((degree + regularisation * degree[degree > 0].mean()) * (degree > 0), -0.5) for degree in (users, items)
    )
    normal = row[:, None] * dense * column
    _, values, vh = np.linalg.svd(normal, full_matrices=False)
    values, vh = values[:rank], vh[:rank]
    h = np.array([(s / values[0]) ** (2 * exponent - 1) if s > 1e-9 else 0 for s in values])
    return normal @ (vh.T * h) @ vh


def scores(model, n_users: int) -> np.ndarray:
    return model.scorer().score_block(np.arange(n_users)).numpy()


def proportional(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The users' scores in the scale of the expected ones, which is one number for all."""
    return found * (np.abs(expected).max() / np.abs(found).max())


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_sharpened_filter_is_less_by_its_square(share):
    dense = random_dense()
    model = CooccurrenceFilter(x=0.5, y=0.75, z=0.25, keep=100, sharpening=share).fit(pairs(dense), show_progress=False)
    plain = cooccurrences(dense, 0.5, 0.75, 0.25, 100)
    once, twice = dense @ plain, dense @ plain @ plain
    weights = plain - share * np.sqrt(once.var(axis=1).mean() / twice.var(axis=1).mean()) * plain @ plain
    weights = np.maximum(weights, 0) * (plain > 0)
    np.testing.assert_allclose(model.weights.toarray(), weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scores(model, 60), dense @ weights, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("exponents", "keep"),
    [
        ((0.5, 0.5, 0.25), 1),
        ((0.5, 0.5, 0.25), 5),
        ((0.5, 0.5, 0.25), 100),
        ((1.0, 0.75, 0.0), 5),
        ((0.0, 0.0, 0.0), 100),
    ],
)
def test_cooccurrences_are_those_of_the_dense_product(exponents, keep):
    dense = random_dense()
    x, y, z = exponents
    model = CooccurrenceFilter(x=x, y=y, z=z, keep=keep).fit(pairs(dense), show_progress=False)
    weights = cooccurrences(dense, *exponents, keep)
    np.testing.assert_allclose(model.weights.toarray(), weights, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(scores(model, 60), dense @ weights, rtol=1e-5, atol=1e-6)


def test_the_cosine_corner():
    # items 0 and 1 share two of 2 and 4 users, 0 and 3 one of 2 and 1, 1 and 2 one of 4 and 1, as 1 and 3 do
    model = CooccurrenceFilter(x=0.5, y=0.0, z=0.5).fit(csr_array(HAND), show_progress=False)
    near, half, far = 2 / math.sqrt(8), 1 / math.sqrt(2), 1 / math.sqrt(4)
    expected = [[0, near, 0, half], [near, 0, far, far], [0, far, 0, 0], [half, far, 0, 0]]
    np.testing.assert_allclose(model.weights.toarray(), expected, rtol=1e-6)
    dense = pairs(random_dense())
    model = CooccurrenceFilter(x=0.5, y=0.0, z=0.5, keep=50).fit(dense, show_progress=False)
    knn = ItemKNN(similarity="cosine", neighbours=50).fit(dense, show_progress=False)
    np.testing.assert_allclose(scores(model, 60), scores(knn, 60), rtol=1e-5, atol=1e-6)


def test_the_corner_of_gf_cfs_linear_filter():
    # R' R of R = D_U^-1/2 R D_I^-1/2: each shared user of degree d counts 1/d
    model = CooccurrenceFilter(x=0.5, y=1.0, z=0.5).fit(csr_array(HAND), show_progress=False)
    weights = model.weights.toarray()
    np.testing.assert_allclose(weights[0, 1], (1 / 3 + 1 / 2) / math.sqrt(2 * 4), rtol=1e-6)
    np.testing.assert_allclose(weights[3, 0], (1 / 3) / math.sqrt(1 * 2), rtol=1e-6)
    dense = random_dense()
    normal = powers(dense.sum(axis=1), -0.5)[:, None] * dense * powers(dense.sum(axis=0), -0.5)
    published = dense @ (normal.T @ normal)
    found = scores(CooccurrenceFilter(x=0.5, y=1.0, z=0.5, keep=50).fit(pairs(dense), show_progress=False), 60)
    unseen = dense == 0  # the diagonal, which is left out, scores seen items
    np.testing.assert_allclose(found[unseen], published[unseen], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.77, 0.42)])
def test_the_corner_of_rp3beta(alpha, beta):
    dense = random_dense()
    n_users = len(dense)
    users, items = dense.sum(axis=1), dense.sum(axis=0)
    published = np.zeros(dense.shape)
    for u in range(n_users):
        for j in np.flatnonzero(dense[u]):
            for v in np.flatnonzero(dense[:, j]):
                for i in np.flatnonzero(dense[v]):
                    walk = (1 / users[u]) * (1 / items[j]) * (1 / users[v])
                    published[u, i] += walk**alpha / items[i] ** beta
    model = CooccurrenceFilter(x=alpha, y=alpha, z=beta, keep=50).fit(pairs(dense), show_progress=False)
    found = powers(users, -alpha)[:, None] * scores(model, n_users)
    unseen = dense == 0
    np.testing.assert_allclose(found[unseen], published[unseen], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rank", [1, 4, 500])
@pytest.mark.parametrize(("exponent", "regularisation"), [(0.5, 1.0), (0.5, 0.0), (2.0, 0.3), (0.0, 3.0)])
def test_the_low_rank_filter_is_the_dense_one(rank, exponent, regularisation):
    dense = random_dense()
    model = LowRankFilter(rank=rank, exponent=exponent, regularisation=regularisation)
    found = scores(model.fit(pairs(dense), show_progress=False), 60)
    expected = low_rank(dense, rank, exponent, regularisation)
    # all but four of the singular vectors are carried along: the last of four is found, but not to the last digit
    close = 1e-3 if rank == 4 else 3e-5
    np.testing.assert_allclose(proportional(found, expected), expected, atol=close * np.abs(expected).max())


def test_the_ideal_low_pass_by_hand():
    """At exponent 0.5 and without regularisation scores are GF-CF's A V V', up to the root of an item's degree."""
    users, items = HAND.sum(axis=1), HAND.sum(axis=0)
    normal = users[:, None] ** -0.5 * HAND * items**-0.5
    vectors = np.linalg.eigh(normal.T @ normal)[1][:, -2:]
    expected = normal @ vectors @ vectors.T
    model = LowRankFilter(rank=2, exponent=0.5, regularisation=0).fit(csr_array(HAND), show_progress=False)
    np.testing.assert_allclose(proportional(scores(model, 4), expected), expected, atol=1e-5)


def test_the_randomised_vectors_of_a_larger_matrix_come_close():
    rng = np.random.default_rng(1)
    tastes = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 150))
    dense = (tastes + rng.normal(size=tastes.shape) > 2).astype(np.float64)
    found = scores(LowRankFilter(rank=4).fit(pairs(dense), show_progress=False), 200)
    expected = low_rank(dense, 4, 1.0, 1.0)
    np.testing.assert_allclose(proportional(found, expected), expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("model", [CooccurrenceFilter(), LowRankFilter(rank=5)], ids=["item filter", "low rank"])
def test_a_new_user_scores_as_a_training_user_with_the_same_items(model):
    dense = random_dense()
    model.fit(pairs(dense), show_progress=False)
    ids, found = model.recommend([9, 7], N=6)
    new_ids, new_found = model.recommend([500, 501], csr_array(dense[[9, 7]]), N=6, recalculate_user=True)
    np.testing.assert_array_equal(new_ids, ids)
    np.testing.assert_allclose(new_found, found, rtol=1e-6)
    assert set(found[1]) == {0.0}  # without a history all items are equal
