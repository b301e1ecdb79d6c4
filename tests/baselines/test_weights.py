"""Weights of pairs in the models to beat: those that take them against oracles, the others by what they say."""

from functools import partial

import numpy as np
import pytest
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_array, csr_matrix

from baselines import ALS, BPR, EASE, LMF, Contrastive, CooccurrenceFilter, ItemKNN, LightGCN, LowRankFilter, Popularity
from buir import BUIR
from buir.errors import InputError
from tests.support.written import COUNTS, rows_of

TABLE = COUNTS.toarray()[np.arange(14) != 3][:, np.arange(11) != 5]
PLAYS, ONES = csr_array(TABLE), csr_array((TABLE > 0).astype(np.float32))
UNITS = TABLE / TABLE[TABLE > 0].mean()
TERMS = {"filter": 0.5, "popularity": 0.5, "block": 0.3}
TAKING = [
    Popularity,
    partial(ALS, factors=3, iterations=4),
    partial(ALS, factors=3, iterations=4, terms=TERMS),
    ItemKNN,
    partial(ItemKNN, similarity="bm25"),
    CooccurrenceFilter,
    partial(LowRankFilter, rank=3),
]
REFUSING = [BPR, LMF, EASE, LightGCN, Contrastive]


def fit(make, matrix=PLAYS, weights="values"):
    return make().fit(matrix, weights=weights, show_progress=False)


def scores(model):
    return np.asarray(model.scorer().score_block(np.arange(model.n_users)))


@pytest.mark.parametrize("make", TAKING)
def test_equal_weights_are_none_and_the_unit_does_not_matter(make):
    plain = scores(fit(make, ONES, None))
    np.testing.assert_array_equal(scores(fit(make, ONES * 0.3)), plain)
    heavy = scores(fit(make))
    np.testing.assert_array_equal(scores(fit(make, PLAYS * 8)), heavy)
    assert not np.allclose(heavy, plain, rtol=0.05)


@pytest.mark.parametrize("make", TAKING)
def test_a_stranger_with_weights_is_scored_like_the_training_row(make):
    model = fit(make)
    stored, given = (model.recommend([0, 4], rows, recalculate_user=True) for rows in (None, PLAYS[[0, 4]]))
    np.testing.assert_array_equal(given[0], stored[0])
    np.testing.assert_allclose(given[1], stored[1], rtol=1e-5)


@pytest.mark.parametrize("make", REFUSING)
def test_a_model_that_cannot_take_weights_says_so_in_one_sentence(make):
    with pytest.raises(
        InputError, match=f"{make.__name__} cannot take weights of pairs; expected weights=None"
    ) as caught:
        fit(make)
    assert caught.value.argument == "weights"
    assert not make.takes_weights
    assert BUIR.takes_weights


def test_popularity_is_the_sum_of_the_weights():
    model = fit(Popularity)
    np.testing.assert_allclose(model.counts, UNITS.sum(axis=0), rtol=1e-6)


def test_als_has_the_weights_as_confidences():
    model = fit(partial(ALS, factors=3, iterations=4, alpha=5.0, regularization=0.5))
    inner = AlternatingLeastSquares(3, regularization=0.5, alpha=5.0, iterations=4, random_state=0, num_threads=1)
    inner.fit(csr_matrix(UNITS.astype(np.float32)), show_progress=False)
    np.testing.assert_allclose(model.user_factors, inner.user_factors, rtol=1e-3, atol=1e-4)


def test_neighbours_have_the_cosine_of_the_weights_and_sum_by_the_weights():
    unit = TABLE / np.linalg.norm(TABLE, axis=0)
    cosine = unit.T @ unit
    np.fill_diagonal(cosine, 0)
    np.testing.assert_allclose(scores(fit(ItemKNN)), UNITS @ cosine, rtol=1e-5)


def test_the_filter_counts_every_row():
    of_users, of_items = TABLE.sum(axis=1), TABLE.sum(axis=0)
    expected = np.zeros((10, 10))
    for user, had in rows_of(PLAYS):
        for other, scored in rows_of(PLAYS):
            if user == other and had != scored:
                expected[had, scored] += 1 / (of_items[had] * of_users[user]) ** 0.5 / of_items[scored] ** 0.25
    found, wanted = scores(fit(CooccurrenceFilter)), TABLE @ expected
    np.testing.assert_allclose(found / found.mean(), wanted / wanted.mean(), rtol=1e-4)


def test_low_rank_scores_are_projections_of_the_weighted_matrix():
    of_users, of_items = TABLE.sum(axis=1), TABLE.sum(axis=0)
    scaled = TABLE / np.sqrt(np.outer(of_users + of_users.mean(), of_items + of_items.mean()))
    _, values, right = np.linalg.svd(scaled)
    right, values = right[:3], values[:3] / values[0]
    expected = scaled @ right.T @ np.diag(values) @ right
    found = scores(fit(partial(LowRankFilter, rank=3)))
    np.testing.assert_allclose(found / found.std(), expected / expected.std(), atol=1e-4)
