"""ALS, BPR and LMF: equal to `implicit` where it is right, and to dense algebra."""

import numpy as np
import pytest
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.lmf import LogisticMatrixFactorization
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_limits

from baselines.implicit_models import ALS, BPR, LMF
from buir.data.interactions import Interactions

N_USERS, N_ITEMS = 60, 45


def random_train(seed: int = 0) -> csr_array:
    """Two overlapping groups, nobody empty, everybody with more than 20 items left to recommend."""
    rng = np.random.default_rng(seed)
    taste = rng.random((N_USERS, 3)) @ rng.random((3, N_ITEMS))
    dense = rng.random((N_USERS, N_ITEMS)) < 0.25 * taste / taste.mean()
    dense[np.arange(N_USERS), np.arange(N_USERS) % N_ITEMS] = True
    assert dense.sum(axis=1).max() < N_ITEMS - 20
    return csr_array(dense.astype(np.float32))


PAIRS = [
    (
        ALS(factors=8, alpha=3.0, regularization=0.5, iterations=4, seed=5),
        AlternatingLeastSquares,
        {"factors": 8, "alpha": 3.0, "regularization": 0.5, "iterations": 4, "random_state": 5, "use_gpu": False},
    ),
    (
        BPR(factors=8, learning_rate=0.1, regularization=0.02, iterations=20, seed=5),
        BayesianPersonalizedRanking,
        {
            "factors": 8,
            "learning_rate": 0.1,
            "regularization": 0.02,
            "iterations": 20,
            "random_state": 5,
            "num_threads": 1,
            "use_gpu": False,
        },
    ),
    (
        LMF(factors=8, learning_rate=0.5, regularization=0.3, iterations=10, negatives=5, seed=5),
        LogisticMatrixFactorization,
        {
            "factors": 8,
            "learning_rate": 0.5,
            "regularization": 0.3,
            "iterations": 10,
            "neg_prop": 5,
            "random_state": 5,
            "num_threads": 1,
        },
    ),
]


@pytest.mark.parametrize(("ours", "factory", "settings"), PAIRS, ids=["als", "bpr", "lmf"])
def test_lists_are_implicits_own_where_it_is_right(ours, factory, settings):
    train = random_train()
    with threadpool_limits(1, "blas"):
        theirs = factory(**settings)
        theirs.fit(csr_matrix(train), show_progress=False)
    users = np.arange(N_USERS)
    ids, scores = ours.fit(train, show_progress=False).recommend(users, N=10)
    their_ids, their_scores = theirs.recommend(users, csr_matrix(train), N=10)
    np.testing.assert_array_equal(ids, their_ids)
    np.testing.assert_allclose(scores, their_scores, rtol=1e-4, atol=1e-6)
    ids, scores = ours.similar_items(3, N=5)
    their_ids, their_scores = theirs.similar_items(3, N=5)
    np.testing.assert_array_equal(ids, their_ids)
    np.testing.assert_allclose(scores, their_scores, rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "extra"), [(PAIRS[0][0], 0), (PAIRS[1][0], 1), (PAIRS[2][0], 2)], ids=["als", "bpr", "lmf"]
)
def test_biases_are_columns_and_scores_are_inner_products(model, extra):
    model.fit(random_train(), show_progress=False)
    assert model.user_factors.shape == (N_USERS, 8 + extra)
    assert model.item_factors.shape == (N_ITEMS, 8 + extra)
    ids, scores = model.recommend(np.arange(N_USERS), N=5)
    table = model.user_factors.astype(np.float64) @ model.item_factors.T.astype(np.float64)
    np.testing.assert_allclose(scores, np.take_along_axis(table, ids.astype(int), axis=1), rtol=1e-4, atol=1e-6)
    if extra:
        assert np.all(model.user_factors[:, 8] == 1)
    if extra == 2:
        assert np.all(model.item_factors[:, 9] == 1)


def solve_user(items: np.ndarray, table: np.ndarray, alpha: float, regularization: float) -> np.ndarray:
    """Normal equations of weighted least squares, dense float64: weight alpha on the items, 1 on all others."""
    weight = np.ones(len(table))
    weight[items] = alpha
    wanted = np.zeros(len(table))
    wanted[items] = 1
    gram = table.T @ (weight[:, None] * table) + regularization * np.eye(table.shape[1])
    return np.linalg.solve(gram, table.T @ (weight * wanted))


@pytest.mark.parametrize(("alpha", "regularization"), [(1.0, 0.1), (20.0, 0.1), (20.0, 10.0)])
def test_als_converges_to_the_normal_equations_of_alpha(alpha, regularization):
    train = random_train()
    model = ALS(factors=4, alpha=alpha, regularization=regularization, iterations=200).fit(train, show_progress=False)
    items = model.item_factors.astype(np.float64)
    expected = [solve_user(train[[u]].indices, items, alpha, regularization) for u in range(N_USERS)]
    np.testing.assert_allclose(model.user_factors, expected, rtol=0.01, atol=3e-3)


def test_als_folds_a_stranger_in_by_the_normal_equations():
    train = random_train()
    model = ALS(factors=6, alpha=7.0, regularization=0.3, iterations=3).fit(train, show_progress=False)
    stranger = csr_array(([1.0, 1.0, 1.0], ([0, 0, 0], [4, 17, 30])), shape=(1, N_ITEMS))
    ids, scores = model.recommend(12345, stranger, N=N_ITEMS, recalculate_user=True)
    table = model.item_factors.astype(np.float64)
    expected = table @ solve_user(np.array([4, 17, 30]), table, 7.0, 0.3)
    assert sorted(ids) == [i for i in range(N_ITEMS) if i not in (4, 17, 30)]
    np.testing.assert_allclose(scores, expected[ids], atol=1e-5)
    nobody_ids, nobody_scores = model.recommend(0, csr_array((1, N_ITEMS)), N=3, recalculate_user=True)
    assert nobody_ids.tolist() == [0, 1, 2]
    assert not nobody_scores.any()


def test_als_folds_an_item_in_by_the_normal_equations():
    train = random_train()
    model = ALS(factors=6, alpha=7.0, regularization=0.3, iterations=3).fit(train, show_progress=False)
    audience = csr_array(([1.0, 1.0], ([0, 0], [8, 20])), shape=(1, N_USERS))
    ids, scores = model.similar_items(0, N=5, recalculate_item=True, item_users=audience)
    vector = solve_user(np.array([8, 20]), model.user_factors.astype(np.float64), 7.0, 0.3)
    cosine = model.item_factors @ vector / np.linalg.norm(model.item_factors, axis=1) / np.linalg.norm(vector)
    np.testing.assert_array_equal(ids, np.argsort(-cosine)[:5])
    np.testing.assert_allclose(scores, cosine[ids], atol=1e-5)


def test_als_does_not_depend_on_the_number_of_threads():
    one, two = (ALS(factors=8, num_threads=n, iterations=3).fit(random_train(), show_progress=False) for n in (1, 2))
    np.testing.assert_array_equal(one.user_factors, two.user_factors)
    np.testing.assert_array_equal(one.item_factors, two.item_factors)


@pytest.mark.parametrize("model", [ALS, BPR, LMF])
def test_another_seed_is_another_model(model):
    one, two = (model(factors=4, iterations=2, seed=seed).fit(random_train(), show_progress=False) for seed in (0, 1))
    assert np.abs(one.user_factors - two.user_factors).max() > 1e-3


def test_explicit_zeros_of_a_split_are_no_pairs():
    data = Interactions.from_matrix(random_train())
    part = data.keep(np.arange(data.n_pairs) % 3 > 0)
    model = BPR(factors=4, iterations=3).fit(part, show_progress=False)
    ids, _ = model.recommend(np.arange(N_USERS), N=N_ITEMS)
    assert np.sum(ids >= 0) == N_USERS * N_ITEMS - part.n_pairs


def test_users_and_items_without_pairs_score_by_bias_alone():
    dense = random_train().toarray()
    dense[4], dense[:, 9] = 0, 0
    model = BPR(factors=8, iterations=10).fit(Interactions.from_matrix(csr_array(dense)), show_progress=False)
    _, scores = model.recommend(4, N=N_ITEMS)
    np.testing.assert_allclose(scores, np.sort(model.item_factors[:, -1])[::-1], rtol=1e-6)
    assert not model.item_factors[9].any()


@pytest.mark.parametrize("kind", [ALS, BPR, LMF])
def test_a_few_sweeps_are_looked_at_and_nothing_changes_by_it(kind):
    train, valid = random_train(), random_train(1)
    valid = csr_array(((valid - train) > 0).astype(np.float32))
    watched = kind(factors=4, iterations=6).fit(train, valid, show_progress=False)
    blind = kind(factors=4, iterations=6).fit(train, show_progress=False)
    np.testing.assert_array_equal(watched.user_factors, blind.user_factors)
    (record,) = watched.history
    assert [look["epoch"] for look in record["looks"]] == [1, 2, 4]
    assert "scores" not in blind.history[0]
    # each look is of its own sweep: four sweeps end where the look at the fourth was
    short = kind(factors=4, iterations=4).fit(train, valid, show_progress=False)
    for name, values in short.history[0]["scores"].items():
        assert record["looks"][2]["scores"][name] == pytest.approx(values, abs=1e-5)
