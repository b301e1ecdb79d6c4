"""Settings of the baselines, and the record of a fit in one go."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_array

from baselines.fitting import check_settings, report_fit
from baselines.implicit_models import ALS, BPR, LMF
from baselines.lightgcn import LightGCN
from baselines.linear import EASE
from baselines.neighbours import ItemKNN
from baselines.popularity import Popularity
from buir.ranking.top_k import FactorScorer


@pytest.mark.parametrize(
    ("model", "settings", "error", "text"),
    [
        (ALS, {"factors": 0}, ValueError, "factors of ALS is 0, expected a whole number of at least 1"),
        (ALS, {"factors": 8.0}, TypeError, "factors of ALS is 8.0, expected a whole number"),
        (ALS, {"alpha": 0}, ValueError, "alpha of ALS is 0, expected a number above 0"),
        (ALS, {"alpha": "40"}, TypeError, "alpha of ALS is '40', expected a number above 0"),
        (ALS, {"regularization": -1.0}, ValueError, "regularization of ALS is -1.0, expected a number of at least 0"),
        (BPR, {"learning_rate": float("nan")}, ValueError, "learning_rate of BPR is nan"),
        (BPR, {"seed": np.random.RandomState(0)}, TypeError, "seed of BPR is RandomState.*expected a whole number"),
        (BPR, {"seed": np.random.default_rng(0)}, TypeError, "seed of BPR is Generator"),
        (LMF, {"negatives": True}, TypeError, "negatives of LMF is True"),
        (LMF, {"seed": -1}, ValueError, "seed of LMF is -1"),
        (ItemKNN, {"neighbours": 0}, ValueError, "neighbours of ItemKNN is 0"),
        (ItemKNN, {"similarity": "jaccard"}, ValueError, "similarity is 'jaccard', expected one of 'cosine', 'bm25'"),
        (EASE, {"regularization": 0.0}, ValueError, "regularization of EASE is 0.0, expected a number above 0"),
        (LightGCN, {"n_layers": -1}, ValueError, "n_layers of LightGCN is -1"),
        (LightGCN, {"learning_rate": float("inf")}, ValueError, "learning_rate of LightGCN is inf"),
        (Popularity, {"seed": None}, TypeError, "seed of Popularity is None"),
    ],
)
def test_a_wrong_setting_is_named_when_the_model_is_made(model, settings, error, text):
    with pytest.raises(error, match=text):
        model(**settings)


def test_settings_may_be_numpy_numbers_and_touch_their_bounds():
    model = SimpleNamespace(n=np.int64(1), x=np.float32(0.5), y=0)
    check_settings(model, at_least={"n": 1}, positive=("x",), not_negative=("y",))


class Fixed:
    def scorer(self):
        return FactorScorer(np.ones((2, 1), np.float32), np.array([[3], [2], [1]], np.float32))


def test_the_record_holds_time_and_validation_metrics_of_the_masked_ranking():
    train, valid = csr_array([[1, 0, 0], [0, 1, 0]]), csr_array([[0, 1, 0], [0, 0, 1]])
    seen = []
    history = report_fit(Fixed(), train, valid, epoch=7, started=time.perf_counter() - 2, callback=seen.append)
    assert history == seen
    record = history[0]
    assert record["epoch"] == 7
    assert 2 <= record["seconds"] < 60
    # The first user's item is the best of the two left, the second user's the last of two.
    assert record["recall_at_10"] == 1
    assert record["ndcg_at_10"] == pytest.approx((1 + 1 / np.log2(3)) / 2)
    assert {"ndcg_at_20", "recall_at_50", "coverage_at_20"} <= set(record)


def test_without_validation_data_the_record_is_time_alone():
    seen = []
    history = report_fit(Fixed(), csr_array((2, 3)), None, epoch=1, started=time.perf_counter(), callback=seen.append)
    assert history == seen
    assert set(history[0]) == {"epoch", "seconds"}


def test_what_the_callback_raises_passes_through():
    def stop(_):
        msg = "pruned"
        raise InterruptedError(msg)

    with pytest.raises(InterruptedError, match="pruned"):
        report_fit(Fixed(), csr_array((2, 3)), None, epoch=1, started=0.0, callback=stop)
