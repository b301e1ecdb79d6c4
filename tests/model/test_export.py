"""Exported factors served elsewhere: NumPy, implicit and faiss give the lists of the model."""

import faiss
import implicit.cpu.topk
import numpy as np
import pytest
from implicit.cpu.matrix_factorization_base import MatrixFactorizationBase
from scipy.sparse import csr_matrix

from buir import BUIR
from buir.data.datasets import load

K = 10


@pytest.fixture(scope="module", params=["id", "graph", "walk"])
def model(request) -> BUIR:
    data = load("synthetic", n_users=80, n_items=60, n_pairs=900, seed=3)
    settings = {"encoder": request.param, "embedding_dim": 16, "epochs": 3, "batch_size": 256, "device": "cpu"}
    return BUIR(**settings).fit(data, show_progress=False)


@pytest.fixture(scope="module")
def expected(model) -> tuple[np.ndarray, np.ndarray]:
    """Lists and scores of the model itself; no two scores are so near that rounding could swap them."""
    ids, scores = model.recommend(np.arange(model.n_users), N=K + 1, filter_already_liked_items=False)
    assert (scores[:, :-1] - scores[:, 1:]).min() > 1e-7 * np.abs(scores).max()
    return ids[:, :K], scores[:, :K]


def test_factors_are_copies_of_one_inner_product(model):
    users, items = model.export_factors()
    assert users.shape == (model.n_users, 16)
    assert items.shape == (model.n_items, 16)
    assert users.dtype == items.dtype == np.float32
    users[:] = 0
    assert model.user_factors.any()


def test_numpy(model, expected):
    users, items = model.export_factors()
    scores = users @ items.T
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_allclose(np.take_along_axis(scores, ids, axis=1), expected[1], rtol=1e-4, atol=1e-6)


def test_implicits_topk(model, expected):
    users, items = model.export_factors()
    ids, scores = implicit.cpu.topk.topk(items, users, K, num_threads=1)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_allclose(scores, expected[1], rtol=1e-4, atol=1e-6)


def test_a_model_of_implicit_with_these_factors(model):
    class Served(MatrixFactorizationBase):
        def fit(self, user_items, show_progress=True, callback=None):
            raise AssertionError("the factors are given")

        def save(self, file):
            raise AssertionError("not asked for")

    served = Served(num_threads=1)
    served.user_factors, served.item_factors = model.export_factors()
    asked = np.arange(0, model.n_users, 7)
    ids, _ = served.recommend(asked, csr_matrix(model.seen_)[asked], N=5)
    np.testing.assert_array_equal(ids, model.recommend(np.arange(model.n_users), N=5)[0][asked])


def test_faiss(model, expected):
    users, items = model.export_factors()
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    scores, ids = index.search(users, K)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_allclose(scores, expected[1], rtol=1e-4, atol=1e-6)


def test_before_fit():
    with pytest.raises(ValueError, match=r"this BUIR is not fitted: call fit\(user_items\) first"):
        BUIR().export_factors()
