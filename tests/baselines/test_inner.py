"""The traps of `implicit` that the wrapper keeps away, each shown to be there and not to go off."""

import warnings

import implicit.utils
import numpy as np
import pytest
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.lmf import LogisticMatrixFactorization
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_info, threadpool_limits

from baselines.implicit_models import ALS, BPR, LMF
from baselines.inner import fit_inner, make_inner
from baselines.neighbours import ItemKNN
from buir.errors import InputError, ShapeError

MODELS = [
    ALS(factors=4, iterations=3),
    BPR(factors=4, iterations=3),
    LMF(factors=4, iterations=3),
    ItemKNN(neighbours=3),
]


def random_train(n_users: int = 40, n_items: int = 25, seed: int = 0) -> csr_array:
    dense = np.random.default_rng(seed).random((n_users, n_items)) < 0.2
    dense[np.arange(n_users), np.arange(n_users) % n_items] = True
    return csr_array(dense.astype(np.float32))


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_no_warning_and_no_bar_and_the_blas_threads_come_back(monkeypatch, capfd, model):
    monkeypatch.setattr(implicit.utils, "_checked_blas_config", False)
    with threadpool_limits(2, "blas"):
        before = blas_threads()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.fit(random_train())
        assert blas_threads() == before
    assert capfd.readouterr() == ("", "")


def test_implicit_itself_warns_of_blas_threads(monkeypatch):
    monkeypatch.setattr(implicit.utils, "_checked_blas_config", False)
    with threadpool_limits(2, "blas"), pytest.warns(RuntimeWarning, match="OpenBLAS is configured to use 2 threads"):
        AlternatingLeastSquares(use_gpu=False)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_a_second_fit_with_more_users_and_items_starts_fresh(model):
    small, large = random_train(), random_train(90, 60, seed=1)
    fresh = type(model)(**model.get_params()).fit(large).recommend(np.arange(90), N=5)
    again = model.fit(small).fit(large).recommend(np.arange(90), N=5)
    np.testing.assert_array_equal(again[0], fresh[0])
    np.testing.assert_array_equal(again[1], fresh[1])


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_what_implicit_reads_silently_is_an_error(model):
    for value, word in ((np.nan, "NaN"), (np.inf, "infinite"), (-1.0, "negative")):
        bad = random_train()
        bad.data[7] = value
        with pytest.raises(InputError, match=word) as caught:
            model.fit(bad)
        assert caught.value.argument == "user_items"
    with pytest.raises(ShapeError, match=r"valid has shape \(25, 40\)"):
        model.fit(random_train(), random_train().T)


def test_the_matrix_is_copied_into_the_class_that_implicit_supports():
    train, received = random_train(), []

    class Spy:
        def fit(self, matrix, show_progress):
            received.append((matrix, show_progress, max(blas_threads())))
            matrix.data *= 3

    spy = Spy()
    with threadpool_limits(2, "blas"):
        assert fit_inner(spy, train, show_progress=True) is spy
    matrix, bar, threads = received[0]
    assert type(matrix) is csr_matrix
    assert matrix.dtype == np.float32
    assert (bar, threads) == (False, 1)
    assert set(train.data) == {1}


@pytest.mark.parametrize(
    "model", [BPR(factors=4, learning_rate=1e4), LMF(factors=4, learning_rate=1e20)], ids=["BPR", "LMF"]
)
def test_a_fit_that_diverges_says_what_to_lower(model):
    with pytest.raises(FloatingPointError, match=r"stopped being numbers: lower learning_rate"):
        model.fit(random_train())


def test_implicits_code_for_the_cpu_is_used():
    for factory in (AlternatingLeastSquares, BayesianPersonalizedRanking, LogisticMatrixFactorization):
        assert type(make_inner(factory, seed=3)).__module__.startswith("implicit.cpu")
