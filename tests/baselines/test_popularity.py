"""Popularity, by hand."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from baselines.popularity import Popularity
from buir.data.interactions import Interactions
from buir.errors import ValuesIgnoredWarning

# Items have 2, 4, 0, 1 and 2 users.
TRAIN = csr_array([[1, 1, 0, 0, 0], [0, 1, 0, 1, 1], [1, 1, 0, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]])


def fit() -> Popularity:
    return Popularity().fit(Interactions.from_matrix(TRAIN), show_progress=False)


def test_counts_and_lists_by_hand():
    model = fit()
    np.testing.assert_array_equal(model.counts, [2, 4, 0, 1, 2])
    ids, scores = model.recommend([0, 3, 4], N=5)
    np.testing.assert_array_equal(ids, [[4, 3, 2, -1, -1], [0, 4, 3, 2, -1], [1, 0, 4, 3, 2]])
    np.testing.assert_array_equal(scores[2], [4, 2, 2, 1, 0])


def test_values_do_not_count_only_pairs_do():
    with pytest.warns(ValuesIgnoredWarning):
        model = Popularity().fit(csr_array([[9.0, 1.0], [0.0, 1.0]]))
    np.testing.assert_array_equal(model.counts, [1, 2])


def test_a_stranger_gets_the_popular_items_but_not_what_they_have():
    ids, scores = fit().recommend(99, csr_array([[0, 1, 0, 0, 0]]), N=3, recalculate_user=True)
    assert ids.tolist() == [0, 4, 3]
    assert scores.tolist() == [2, 2, 1]


def test_the_history_is_one_record():
    model = fit()
    assert [set(record) for record in model.history] == [{"epoch", "seconds"}]
