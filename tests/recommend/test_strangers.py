"""How the scripts that measure folding and growing hold pairs out, and their file of results."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from benchmarks.folding import parted, turned, two_step_returns, without
from benchmarks.growing import early_first, fifth_of_each, picked
from benchmarks.ledger import Ledger


@pytest.fixture
def matrix():
    rng = np.random.default_rng(0)
    return csr_array((rng.random((80, 50)) < 0.2).astype(np.float32))


def test_strangers_are_a_tenth_of_the_rows_and_lose_a_fifth_of_their_pairs(matrix):
    rows, test = parted(matrix, np.random.default_rng(1))
    sizes = np.diff(matrix.indptr)
    assert len(rows) == (sizes >= 5).sum() // 10
    assert (sizes[rows] >= 5).all()
    assert test.shape == matrix.shape
    np.testing.assert_array_equal(np.diff(test.indptr)[rows], sizes[rows] // 5)
    assert test.nnz == (sizes[rows] // 5).sum()
    assert (matrix.multiply(test) != test).nnz == 0


def test_without_rows_by_hand():
    matrix = csr_array(np.array([[1, 0], [0, 1], [1, 1]]))
    assert without(matrix, np.array([1])).toarray().tolist() == [[1, 0], [1, 1]]
    assert turned(matrix).toarray().tolist() == [[1, 0, 1], [0, 1, 1]]


def test_two_step_returns_are_the_diagonal_of_the_squared_adjacency(matrix):
    dense = matrix.toarray()
    scaled = dense / np.sqrt(np.maximum(dense.sum(1), 1)[:, None] * np.maximum(dense.sum(0), 1))
    np.testing.assert_allclose(two_step_returns(matrix)[:, 0].numpy(), np.diag(scaled @ scaled.T), rtol=1e-5)


def test_a_fifth_of_each_user_is_tested(matrix):
    mask = fifth_of_each(matrix, np.random.default_rng(2))
    test, rest = picked(matrix, np.flatnonzero(mask)), picked(matrix, np.flatnonzero(~mask))
    np.testing.assert_array_equal(np.diff(test.indptr), np.diff(matrix.indptr) // 5)
    assert (test + rest != matrix).nnz == 0


def test_those_who_come_late_come_last():
    early = csr_array(np.array([[0, 0, 0], [1, 0, 1], [0, 0, 0], [0, 0, 1]]))
    users, items = early_first(early, early)
    assert users.tolist() == [1, 3, 0, 2]
    assert items.tolist() == [0, 2, 1]


def test_a_ledger_goes_on_and_averages(tmp_path):
    file = tmp_path / "new" / "rows.csv"
    first = Ledger(file, ("data", "seed"))
    first.add({"data": "a", "seed": 0, "value": 1.0})
    first.add({"data": "a", "seed": 1, "value": 2.0})
    again = Ledger(file, ("data", "seed"))
    assert ("a", 1) in again
    assert ("b", 1) not in again
    again.add({"data": "b", "seed": 1, "value": 5.0})
    assert Ledger(file, ("data", "seed")).means(("data",), "value") == {("a",): (1.5, 2), ("b",): (5.0, 1)}
    assert file.read_text(encoding="utf-8").splitlines()[0] == "data,seed,value"
