"""The record of a fit in one go."""

import time

import numpy as np
import pytest
from scipy.sparse import csr_array

from baselines.fitting import report_fit
from buir.ranking.top_k import FactorScorer


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
