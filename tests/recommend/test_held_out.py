"""Held-out pairs in the rows of a model."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from buir.data import Interactions
from buir.errors import InputError
from buir.ranking import evaluate
from buir.recommend import held_out_pairs
from tests.support.factors import Fixed

SEEN = csr_array(np.array([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 1, 1]]))


def model(user_ids=("ann", "bob", "cat")):
    train = Interactions.from_matrix(SEEN, user_ids=list(user_ids), item_ids=[10, 20, 30, 40])
    return Fixed(np.arange(6).reshape(3, 2), np.arange(8).reshape(4, 2), train)


def pairs(*rows):
    return Interactions.from_pairs(*zip(*rows, strict=True))


def test_what_can_be_measured_and_what_cannot():
    found = held_out_pairs(model(), pairs(("cat", 10), ("ann", 10), ("bob", 40), ("zoe", 10), ("zoe", 99), ("ann", 99)))
    assert found.pairs.toarray().tolist() == [[0, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]]
    assert (found.of_unknown_users, found.of_unknown_items, found.in_training) == (2, 1, 1)
    assert found.dropped == "2 of unknown users, 1 of unknown items, 1 that are in training"
    assert evaluate(model(), found.seen, found.pairs, ks=[3]).users.tolist() == [1, 2]


def test_an_integer_and_its_spelling_are_one_id():
    # Beside "x" the file's labels are texts; alone, "7" would be an integer.
    found = held_out_pairs(model(user_ids=(7, 8, 9)), pairs(("7", "20"), ("x", "20")))
    assert found.pairs.toarray().tolist()[0] == [0, 1, 0, 0]
    assert held_out_pairs(model(user_ids=("7", "8", "x")), pairs((7, 20))).pairs.nnz == 1


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (pairs(("ann", 10), ("bob", 20)), "2 that are in training"),
        (pairs((1, 10)), "'ann', 10, these are such as 1, 10"),
    ],
)
def test_nothing_to_measure(data, word):
    with pytest.raises(InputError) as caught:
        held_out_pairs(model(), data)
    assert caught.value.argument == "data"
    assert word in str(caught.value)


def test_a_model_without_training_rows():
    forgetful = model()
    forgetful.seen_ = None
    with pytest.raises(InputError, match="training matrix"):
        held_out_pairs(forgetful, pairs(("ann", 20)))
