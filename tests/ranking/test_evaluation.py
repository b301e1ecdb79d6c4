from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array, csr_matrix

from baselines import Popularity
from buir.data import datasets, nested_split
from buir.data.interactions import Interactions
from buir.errors import InputError, ShapeError
from buir.ranking.evaluation import as_scorer, evaluate
from buir.ranking.metrics import METRICS
from buir.ranking.top_k import FactorScorer
from tests.support import oracles

# Scores by user: item 0 best for user 0, and so on; user 3 has no test item.
SCORES = np.array([[9, 8, 7, 6, 5], [1, 2, 3, 4, 5], [5, 1, 4, 2, 3], [1, 1, 1, 1, 1]])
TRAIN = csr_array(np.array([[1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0]]))
VALID = csr_array(np.array([[0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 1, 0, 0]]))
TEST = csr_array(np.array([[0, 0, 0, 1, 0], [1, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]))


def model():
    return SimpleNamespace(user_factors=SCORES, item_factors=np.eye(5))


def test_by_hand():
    found = evaluate(model(), TRAIN, TEST, ks=(1, 2), metrics=["recall", "mrr"])
    np.testing.assert_array_equal(found.users, [0, 1, 2])
    np.testing.assert_array_equal(found.ranked, [[1, 2], [3, 2], [0, 2]])
    assert list(found.per_user) == ["recall_at_1", "mrr_at_1", "recall_at_2", "mrr_at_2"]
    np.testing.assert_array_equal(found.per_user["recall_at_1"], [0, 1 / 2, 0])
    np.testing.assert_array_equal(found.per_user["recall_at_2"], [0, 1 / 2, 1])
    np.testing.assert_array_equal(found.per_user["mrr_at_2"], [0, 1, 1 / 2])
    assert found.means == {
        "recall_at_1": 1 / 6,
        "mrr_at_1": 1 / 3,
        "recall_at_2": 1 / 2,
        "mrr_at_2": 1 / 2,
        "coverage_at_1": 3 / 5,
        "coverage_at_2": 4 / 5,
    }
    assert found.n_users == 3


def test_valid_is_masked_but_is_not_activity():
    found = evaluate(model(), TRAIN, TEST, valid=VALID, ks=(2,), metrics=["recall"])
    np.testing.assert_array_equal(found.ranked, [[2, 3], [3, 2], [2, 4]])
    np.testing.assert_array_equal(found.per_user["recall_at_2"], [1, 1 / 2, 1])
    np.testing.assert_array_equal(found.train_degree, [1, 1, 0])


def test_frame():
    frame = evaluate(model(), TRAIN, TEST, ks=(1,), metrics=["recall"]).to_frame()
    assert list(frame.columns) == ["user", "train_degree", "recall_at_1"]
    assert frame["user"].tolist() == [0, 1, 2]
    assert frame["train_degree"].tolist() == [1, 1, 0]
    assert frame["recall_at_1"].tolist() == [0, 1 / 2, 0]


def test_nobody_to_evaluate():
    found = evaluate(model(), TRAIN, csr_array((4, 5)), ks=(3,))
    assert found.n_users == 0
    assert np.isnan(found.means["ndcg_at_3"])
    assert found.means["coverage_at_3"] == 0
    assert len(found.to_frame()) == 0


def test_all_metrics_against_loops_on_random_data():
    rng = np.random.default_rng(0)
    users, items = rng.integers(-2, 3, size=(40, 3)), rng.integers(-2, 3, size=(70, 3))
    train, test = rng.random((40, 70)) < 0.2, rng.random((40, 70)) < 0.05
    found = evaluate(
        SimpleNamespace(user_factors=users, item_factors=items), csr_array(train), csr_matrix(test), ks=(5, 80)
    )
    ranked, _ = oracles.rank(users @ items.T, 80, oracles.sets(train))
    held = oracles.sets(test)
    asked = [user for user in range(40) if held[user]]
    np.testing.assert_array_equal(found.users, asked)
    np.testing.assert_array_equal(found.ranked, ranked[asked, :70])
    assert list(found.per_user) == [f"{name}_at_{k}" for k in (5, 80) for name in METRICS]
    for k in (5, 80):
        for name in METRICS:
            expected = [oracles.metric(name, ranked[user], held[user], k) for user in asked]
            np.testing.assert_allclose(found.per_user[f"{name}_at_{k}"], expected, rtol=1e-12)
            assert found.means[f"{name}_at_{k}"] == pytest.approx(np.mean(expected), rel=1e-12)


def test_a_cut_off_beyond_the_catalogue_takes_no_memory():
    whole, beyond = (evaluate(model(), TRAIN, TEST, ks=(k,)) for k in (5, 10**9))
    np.testing.assert_array_equal(beyond.ranked, whole.ranked)
    assert beyond.means["precision_at_1000000000"] == pytest.approx(4 / 3 / 10**9)
    for name in set(METRICS) - {"precision"}:
        assert beyond.means[f"{name}_at_1000000000"] == whole.means[f"{name}_at_5"]


def test_takes_interactions_and_leaves_matrices_alone():
    train = Interactions.from_matrix(TRAIN)
    stored = csr_array((np.array([1.0, 0.0, 1.0]), np.array([3, 1, 3]), np.array([0, 3, 3, 3, 3])), shape=(4, 5))
    found = evaluate(model(), train, stored, ks=(2,), metrics=["recall"], valid=Interactions.from_matrix(VALID))
    np.testing.assert_array_equal(found.per_user["recall_at_2"], [1])
    assert stored.nnz == 3
    assert TRAIN.nnz == 4


def test_models_that_can_score():
    scorer = FactorScorer(SCORES, np.eye(5))
    assert as_scorer(scorer) is scorer
    assert as_scorer(SimpleNamespace(scorer=lambda: scorer)) is scorer
    assert as_scorer(model()).n_items == 5
    with pytest.raises(TypeError, match=r"cannot score with SimpleNamespace: expected a scorer\(\) method"):
        as_scorer(SimpleNamespace(user_factors=SCORES))


def test_errors():
    with pytest.raises(ShapeError, match=r"test has shape \(5, 4\); expected \(4, 5\), .* pass test\.T"):
        evaluate(model(), TRAIN, csr_array(TEST.T))
    with pytest.raises(ShapeError, match=r"valid has shape \(2, 5\)"):
        evaluate(model(), TRAIN, TEST, valid=VALID[:2])
    with pytest.raises(TypeError, match=r"test is a data frame, expected .*; pass Interactions.from_frame\(frame\)"):
        evaluate(model(), TRAIN, pd.DataFrame({"user": [0], "item": [3]}))
    with pytest.raises(ValueError, match="unknown metric 'auc'"):
        evaluate(model(), TRAIN, TEST, metrics=["auc"])
    with pytest.raises(ValueError, match=r"ks is \(\), expected at least one"):
        evaluate(model(), TRAIN, TEST, ks=())


def test_rows_in_another_order_than_the_models_are_refused_and_not_measured():
    frame = datasets.load("synthetic", n_users=60, n_items=40, n_pairs=600).to_frame()
    split = nested_split(Interactions.from_frame(frame), 1.0)
    model = Popularity().fit(split.train.to_frame())
    with pytest.raises(InputError, match=r"train has its .* ids in another order") as caught:
        evaluate(model, split.train, split.test)
    assert caught.value.argument == "train"
    users, items = model.user_ids_, model.item_ids_
    if set(users) == set(split.train.user_ids) and set(items) == set(split.train.item_ids):
        same = evaluate(model, split.train.aligned(users, items), split.test.aligned(users, items)).means
        plain = evaluate(Popularity().fit(split.train), split.train, split.test).means
        assert same["recall_at_20"] == pytest.approx(plain["recall_at_20"])
