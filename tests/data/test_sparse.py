"""The canonical binary matrix: by hand, and against dense arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array, csc_matrix, csr_array, csr_matrix

from buir.data import binary, canonical, keep, take


def assert_canonical(matrix):
    fresh = csr_array((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
    assert fresh.has_canonical_format
    assert matrix.data.all()


def test_pairs_by_hand():
    matrix = binary(np.array([2, 0, 2, 2]), np.array([1, 3, 0, 1]), (4, 5))
    assert matrix.indptr.tolist() == [0, 1, 1, 3, 3]
    assert matrix.indices.tolist() == [3, 0, 1]
    assert matrix.data.tolist() == [1, 1, 1]
    assert (matrix.dtype, matrix.indices.dtype, matrix.indptr.dtype) == (np.float32, np.int32, np.int32)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (2, 2)])
def test_no_pairs(shape):
    nothing = np.empty(0, dtype=np.int64)
    assert binary(nothing, nothing, shape).shape == shape


def test_numbers_whose_product_is_beyond_32_bits():
    rows, columns = np.array([99_999, 70_000], dtype=np.int32), np.array([99_998, 3], dtype=np.int32)
    found = binary(rows, columns, (100_000, 100_000)).tocoo()
    assert list(zip(*(part.tolist() for part in found.coords), strict=True)) == [(70_000, 3), (99_999, 99_998)]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), max_size=40))
def test_pairs_in_any_order_equal_the_dense_pattern(pairs):
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    dense = np.zeros((6, 7))
    dense[rows, columns] = 1
    matrix = binary(rows, columns, (6, 7))
    assert_canonical(matrix)
    np.testing.assert_array_equal(matrix.toarray(), dense)


def test_a_canonical_matrix_is_handed_back_and_no_other_is_changed():
    matrix = csr_array(np.array([[0, 2, 0], [3, 0, 1]]))
    assert canonical(matrix) is matrix
    stored = csr_array((np.array([1.0, 0.0, 5.0, 1.0]), np.array([2, 1, 2, 0]), np.array([0, 3, 4])), shape=(2, 3))
    found = canonical(stored)
    np.testing.assert_array_equal(found.toarray(), [[0, 0, 1], [1, 0, 0]])
    assert_canonical(found)
    assert stored.data.tolist() == [1, 0, 5, 1]
    assert stored.indices.tolist() == [2, 1, 2, 0]


def test_every_format_has_the_same_pattern():
    pattern = np.array([[0, 1, 1], [1, 0, 0]])
    repeated = coo_array((np.full(4, 200, np.uint8), ([0, 0, 1, 0], [1, 2, 0, 1])), shape=(2, 3))
    for matrix in (csr_matrix(pattern), csc_matrix(pattern), csr_array(pattern, dtype=bool), repeated, pattern):
        found = canonical(matrix)
        assert isinstance(found, csr_array)
        np.testing.assert_array_equal(found.toarray() != 0, pattern)


def test_keep_and_take_by_hand():
    matrix = csr_array(np.array([[1, 2, 0], [0, 0, 0], [0, 4, 3]]))
    kept = keep(matrix, np.array([False, True, True, False]))
    np.testing.assert_array_equal(kept.toarray(), [[0, 2, 0], [0, 0, 0], [0, 4, 0]])
    assert kept.nnz == 2
    np.testing.assert_array_equal(take(matrix, np.array([2, 0, 2])).toarray(), [[0, 4, 3], [1, 2, 0], [0, 4, 3]])
    np.testing.assert_array_equal(take(matrix, np.array([2, 1, 0])).toarray(), matrix.toarray()[::-1])
    assert take(matrix, np.arange(3)) is matrix
