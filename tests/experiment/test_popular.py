"""How far lists are what is popular, by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_array

from buir.experiment.run.popular import popularity_overlap

# degrees 5, 4, 3, 2, 1, 1, 1, 0
COLUMNS = [[1] * n + [0] * (6 - n) for n in (5, 4, 3, 2, 1, 1, 1, 0)]
TRAIN = csr_array(np.array(COLUMNS).T.astype(np.float32))
NOBODY = csr_array(TRAIN.shape, dtype=np.float32)


def overlap(*lists, valid=NOBODY, k=4, users=None):
    split = SimpleNamespace(train=SimpleNamespace(matrix=TRAIN), valid=SimpleNamespace(matrix=valid))
    users = np.array([5] * len(lists) if users is None else users)  # user 5 has nothing
    return popularity_overlap(SimpleNamespace(users=users, ranked=np.array(lists)), split, k)


def test_of_a_user_without_history():
    assert overlap([0, 1, 2, 3]) == 1.0
    assert overlap([3, 2, 1, 0]) == 1.0
    assert overlap([0, 1, 4, 7]) == 0.5
    assert overlap([7, 6, 5, 4]) == 0.0
    assert overlap([0, 1, 2, 3], [0, 1, 2, 7]) == pytest.approx(0.875)
    # lists are cut at k, and a short one has fewer places of its own only
    assert overlap([0, 1, 2, 3, 7, 6]) == 1.0
    assert overlap([0, 1, -1, -1]) == 0.5


def test_what_a_user_has_is_not_expected():
    valid = np.zeros(TRAIN.shape, dtype=np.float32)
    valid[5, 0] = 1
    assert overlap([1, 2, 3, 4], valid=csr_array(valid)) == 1.0


def test_ties_at_the_end_of_the_list_count_while_places_are_left():
    for last in (4, 5, 6):
        assert overlap([0, 1, 2, 3, last], k=5) == 1.0
    assert overlap([0, 1, 4, 5, 6], k=5) == pytest.approx(3 / 5)  # one place only is for one of them


def test_where_ties_leave_more_than_half_open_nothing_is_said():
    assert overlap([4, 5, 6], users=[0], k=3) is None  # user 0 has all others
