import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from buir.data.interactions import Interactions
from buir.experiment.run.groups import group_metrics
from buir.ranking.evaluation import Evaluation, evaluate
from buir.ranking.metrics import user_metrics
from buir.ranking.top_k import FactorScorer
from tests.support import oracles


def evaluated(ranked, test, degrees, ks=(1, 2), metrics=("recall", "ndcg")):
    ranked, test = np.asarray(ranked), csr_array(test)
    per_user = user_metrics(ranked, test, metrics, ks)
    return Evaluation(np.arange(len(ranked)), per_user, {}, ranked, np.asarray(degrees))


def test_users_by_hand():
    ranked = [[0, 1], [1, 0], [2, 0], [0, 2], [1, 2]]
    test = np.eye(3)[[0, 0, 0, 0, 0]]
    found = group_metrics(evaluated(ranked, test, [30, 10, 50, 20, 40]), csr_array((5, 3)), csr_array(test))["user"]
    assert [(r["group"], r["low"], r["high"], r["n_users"]) for r in found] == [
        (1, 10, 10, 1),
        (2, 20, 20, 1),
        (3, 30, 30, 1),
        (4, 40, 40, 1),
        (5, 50, 50, 1),
    ]
    assert [r["recall_at_1"] for r in found] == [0, 1, 1, 0, 0]
    assert [r["recall_at_2"] for r in found] == [1, 1, 1, 0, 1]
    assert list(found[0]) == ["group", "low", "high", "n_users", "recall_at_1", "ndcg_at_1", "recall_at_2", "ndcg_at_2"]


def test_tied_users_stay_together():
    """Seven users of degree 1, then 2, 3, 4: the seven fill 0 to .7 of the users, middle .35, so group 2."""
    degrees = [1] * 7 + [2, 3, 4]
    test = np.ones((10, 1))
    found = group_metrics(evaluated([[0]] * 10, test, degrees, ks=(1,)), csr_array((10, 1)), csr_array(test))["user"]
    assert [(r["group"], r["low"], r["high"], r["n_users"]) for r in found] == [
        (2, 1, 1, 7),
        (4, 2, 2, 1),
        (5, 3, 4, 2),
    ]


def test_items_by_hand():
    # Popularity 0, 1, 1, 2, 6: ten interactions, middles of the ties at 0, .1, .1, .3, .7.
    columns = [1, 2, 3, 3, 4, 4, 4, 4, 4, 4]
    train = csr_array((np.ones(10), (np.arange(10), columns)), shape=(10, 5))
    test = np.zeros((10, 5))
    test[0, [0, 3]], test[1, [4, 2]], test[2, 4] = 1, 1, 1
    ranked = np.full((10, 2), -1)
    ranked[:3] = [[0, 3], [4, 0], [3, 2]]
    found = group_metrics(evaluated(ranked, test, np.ones(10)), train, csr_array(test))["item"]
    assert [(r["group"], r["low"], r["high"], r["n_users"], r["n_items"]) for r in found] == [
        (1, 0, 1, 2, 3),
        (2, 2, 2, 1, 1),
        (4, 6, 6, 2, 1),
    ]
    assert [r["recall_at_1"] for r in found] == [1 / 2, 0, 1 / 2]
    assert [r["recall_at_2"] for r in found] == [1 / 2, 1, 1 / 2]
    # User 0 finds item 3, the only one of group 2, in the second place of the whole list.
    assert found[1]["ndcg_at_2"] == pytest.approx(1 / np.log2(3))


def test_from_an_evaluation_of_real_lists():
    rng = np.random.default_rng(0)
    popularity = rng.random(60) ** 3
    train, test = (rng.random((80, 60)) < share * popularity for share in (0.8, 0.4))
    train, test = csr_array(train), csr_array(test & ~train)
    found = evaluate(FactorScorer(rng.standard_normal((80, 4)), rng.standard_normal((60, 4))), train, test, ks=(5, 20))
    records = group_metrics(found, Interactions.from_matrix(train), Interactions.from_matrix(test))
    users = records["user"]
    assert sum(r["n_users"] for r in users) == found.n_users
    for key, mean in found.means.items():
        if not key.startswith("coverage"):
            assert sum(r[key] * r["n_users"] for r in users) / found.n_users == pytest.approx(mean)
    popular = train.sum(axis=0)
    held = oracles.sets(test)
    for record in records["item"]:
        inside = set(np.flatnonzero((popular >= record["low"]) & (popular <= record["high"])).tolist())
        assert record["n_items"] == len(inside)
        for name in ("recall", "ndcg", "map"):
            values = [
                oracles.metric(name, row, held[user] & inside, 20)
                for user, row in zip(found.users, found.ranked, strict=True)
            ]
            assert record["n_users"] == np.count_nonzero(~np.isnan(values))
            assert record[f"{name}_at_20"] == pytest.approx(np.nanmean(values))
    assert sum(r["n_items"] for r in records["item"]) == 60


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=40), st.integers(1, 6), st.integers(0, 2**32))
def test_user_groups_equal_the_definition(degrees, n_groups, seed):
    ones = np.ones((len(degrees), 1))
    found = group_metrics(
        evaluated(np.zeros((len(degrees), 1), int), ones, degrees, ks=(1,)), csr_array(ones), csr_array(ones), n_groups
    )["user"]
    expected = oracles.groups(degrees, [1] * len(degrees), n_groups)
    assert [r["group"] for r in found] == sorted({group + 1 for group in expected})
    for record in found:
        inside = [d for d, group in zip(degrees, expected, strict=True) if group + 1 == record["group"]]
        assert (record["low"], record["high"], record["n_users"]) == (min(inside), max(inside), len(inside))
    order = np.random.default_rng(seed).permutation(len(degrees))
    again = group_metrics(
        evaluated(np.zeros((len(degrees), 1), int), ones, np.array(degrees)[order], ks=(1,)),
        csr_array(ones),
        csr_array(ones),
        n_groups,
    )["user"]
    assert again == found


def test_without_training_all_items_are_unpopular():
    test = csr_array(np.eye(3))
    found = evaluate(FactorScorer(np.eye(3), np.eye(3)), csr_array((3, 3)), test, ks=(1,))
    (record,) = group_metrics(found, csr_array((3, 3)), test)["item"]
    assert (record["group"], record["low"], record["high"], record["n_users"], record["n_items"]) == (1, 0, 0, 3, 3)
    assert record["recall_at_1"] == 1
