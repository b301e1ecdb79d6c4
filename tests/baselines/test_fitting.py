"""The fit in one go: its record, and what is measured on held-out pairs."""

import time
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.sparse import csr_array

from baselines.fitting import FittedAtOnce

TRAIN = csr_array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])


@dataclass(kw_only=True, eq=False)
class Fixed(FittedAtOnce):
    iterations: int = 7

    def _learn(self, train, *, show_progress, look):
        time.sleep(0.1)
        self.user_factors = np.ones((3, 1), np.float32)
        self.item_factors = np.array([[3], [2], [1]], np.float32)


def test_the_record_holds_time_and_validation_metrics_of_the_masked_ranking():
    valid = csr_array([[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    seen = []
    model = Fixed().fit(TRAIN, valid, callback=seen.append)
    assert model.history == seen
    record = seen[0]
    assert record["epoch"] == 7
    assert 0.1 <= record["seconds"] < 60
    # The first user's item is the best of the two left, the second user's the last of two.
    assert record["recall_at_10"] == 1
    assert record["ndcg_at_10"] == pytest.approx((1 + 1 / np.log2(3)) / 2)
    assert {"ndcg_at_20", "recall_at_50", "coverage_at_20"} <= set(record)


def test_without_validation_data_the_record_is_time_alone():
    seen = []
    assert Fixed().fit(TRAIN, callback=seen.append).history == seen
    assert set(seen[0]) == {"epoch", "seconds"}


def test_what_the_callback_raises_passes_through():
    def stop(_):
        msg = "pruned"
        raise InterruptedError(msg)

    with pytest.raises(InterruptedError, match="pruned"):
        Fixed().fit(TRAIN, callback=stop)
