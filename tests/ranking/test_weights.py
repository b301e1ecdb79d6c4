"""Weights in the terms of a score: a weight of 2 is a pair written twice."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from buir.ranking import ItemFilter
from buir.recommend import make_terms
from tests.support.written import COUNTS, rows_of


@pytest.mark.parametrize("exponents", [(0.5, 0.5, 0.25), (0.0, 0.0, 0.0), (1.0, 0.3, 0.0)])
def test_the_filter_counts_every_row(exponents):
    rows = rows_of(COUNTS)
    of_users = np.bincount([user for user, _ in rows], minlength=COUNTS.shape[0])
    of_items = np.bincount([item for _, item in rows], minlength=COUNTS.shape[1])
    expected = np.zeros((COUNTS.shape[1], COUNTS.shape[1]))
    x, y, z = exponents
    for user, had in rows:
        for other, scored in rows:
            if user == other and had != scored:
                expected[had, scored] += 1.0 / (of_items[had] ** x * of_users[user] ** y * of_items[scored] ** z)
    item_filter = ItemFilter.from_matrix(COUNTS, exponents=exponents)
    np.testing.assert_allclose(item_filter.weights.toarray(), expected, rtol=1e-5)
    scores = sum(expected[item] for user, item in rows if user == 2)
    np.testing.assert_allclose(item_filter.score_block(np.array([2]))[0], scores, rtol=1e-5)


def test_popularity_and_blocks_take_the_number_of_rows():
    terms = make_terms(COUNTS, {"popularity": 1.0, "block": 1.0}, width=3)
    of_items = np.bincount([item for _, item in rows_of(COUNTS)], minlength=COUNTS.shape[1])
    assert terms["popularity"].degree.tolist() == of_items.tolist()
    assert terms["block"].degree.tolist() == of_items.tolist()


def test_weights_below_one_are_no_floor():
    light = csr_array(COUNTS * np.float32(1e-3))
    plain, scaled = (ItemFilter.from_matrix(matrix, exponents=(0.5, 0.5, 0.0)) for matrix in (COUNTS, light))
    # two weights over the roots of two degrees: the same power above and below
    factor = 1e-6 / 1e-3
    torch.testing.assert_close(
        torch.from_numpy(scaled.weights.toarray()),
        torch.from_numpy(plain.weights.toarray() * factor),
        rtol=1e-4,
        atol=0,
    )
