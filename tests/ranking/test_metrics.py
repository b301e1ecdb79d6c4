import doctest
import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import buir.ranking.metrics
from buir.ranking.metrics import (
    METRICS,
    capped_precision_at_k,
    coverage,
    hit_matrix,
    hit_rate_at_k,
    map_at_k,
    metric_label,
    mrr_at_k,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
    user_metrics,
)
from tests.support import oracles

DISCOUNT = [1 / math.log2(place + 1) for place in range(1, 6)]

# Three users: hits at places 2 and 4 of three relevant items; none of one; a list of two that holds both of two.
RANKED = np.array([[9, 1, 8, 2, 7], [3, 4, 5, 6, 7], [0, 4, -1, -1, -1]])
RELEVANT = csr_array(([1.0] * 6, ([0, 0, 0, 1, 2, 2], [1, 2, 5, 0, 4, 0])), shape=(3, 10))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (recall_at_k, [2 / 3, 0, 1]),
        (precision_at_k, [2 / 5, 0, 2 / 5]),
        (capped_precision_at_k, [2 / 3, 0, 1]),
        (hit_rate_at_k, [1, 0, 1]),
        (ndcg_at_k, [(DISCOUNT[1] + DISCOUNT[3]) / sum(DISCOUNT[:3]), 0, 1]),
        (map_at_k, [(1 / 2 + 2 / 4) / 3, 0, 1]),
        (mrr_at_k, [1 / 2, 0, 1]),
    ],
)
def test_by_hand(function, expected):
    values = function(RANKED, RELEVANT)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, expected, rtol=1e-15)


def test_labels():
    assert metric_label("ndcg_at_20") == "NDCG@20"
    assert metric_label("capped_precision_at_5") == "Capped precision@5"
    assert metric_label("loss") == "loss"


def test_cut_by_hand():
    values = user_metrics(RANKED, RELEVANT, ks=(1, 2))
    expected = {
        "recall": ([0, 0, 1 / 2], [1 / 3, 0, 1]),
        "precision": ([0, 0, 1], [1 / 2, 0, 1]),
        "capped_precision": ([0, 0, 1], [1 / 2, 0, 1]),
        "hit_rate": ([0, 0, 1], [1, 0, 1]),
        "ndcg": ([0, 0, 1], [DISCOUNT[1] / sum(DISCOUNT[:2]), 0, 1]),
        "map": ([0, 0, 1], [1 / 4, 0, 1]),
        "mrr": ([0, 0, 1], [1 / 2, 0, 1]),
    }
    assert list(values) == [f"{name}_at_{k}" for k in (1, 2) for name in METRICS]
    for name, pair in expected.items():
        for k, numbers in zip((1, 2), pair, strict=True):
            np.testing.assert_allclose(values[f"{name}_at_{k}"], numbers, rtol=1e-15, err_msg=f"{name}@{k}")


def test_capped_precision_differs_from_both_others_where_k_is_small():
    ranked, relevant = np.array([[0, 5]]), csr_array(np.ones((1, 4)))
    assert recall_at_k(ranked, relevant) == [1 / 4]
    assert precision_at_k(ranked, relevant) == [1 / 2]
    assert capped_precision_at_k(ranked, relevant) == [1 / 2]
    assert capped_precision_at_k(np.array([[0, 5, -1, -1, -1]]), relevant) == [1 / 4]
    assert precision_at_k(np.array([[0, 5, -1, -1, -1]]), relevant) == [1 / 5]


def test_padding_is_never_a_hit():
    """The trap: the flat key of (user 1, item -1) is that of (user 0, last item)."""
    relevant = csr_array(np.array([[0, 0, 1], [1, 0, 1]]))
    ranked = np.array([[0, 1, -1], [-1, -1, -1]])
    assert not hit_matrix(ranked, relevant).any()
    for values in user_metrics(ranked, relevant, ks=(1, 3)).values():
        np.testing.assert_array_equal(values, [0, 0])


def test_a_user_without_relevant_items_is_nan():
    relevant = csr_array(np.array([[1, 0], [0, 0]]))
    for values in user_metrics(np.array([[0, 1], [1, -1]]), relevant, ks=(2,)).values():
        assert values[0] > 0
        assert np.isnan(values[1])
    for values in user_metrics(np.array([[0, 1]]), csr_array((1, 2)), ks=(1,)).values():
        assert np.isnan(values).all()
    assert all(len(values) == 0 for values in user_metrics(np.empty((0, 3), int), csr_array((0, 5)), ks=(3,)).values())


def test_unsorted_or_repeated_relevant_items_count_once():
    unsorted = csr_array(([1.0, 1.0], [2, 0], [0, 2]), shape=(1, 3))
    assert recall_at_k(np.array([[2, 1]]), unsorted) == [1 / 2]
    np.testing.assert_array_equal(unsorted.indices, [2, 0])
    repeated = csr_array(([1.0, 1.0, 1.0, 0.0], [2, 2, 0, 1], [0, 4]), shape=(1, 3))
    assert recall_at_k(np.array([[2]]), repeated) == [1 / 2]
    assert recall_at_k(np.array([[1]]), repeated) == [0]
    assert repeated.nnz == 4


@pytest.mark.parametrize("k", range(1, 60, 7))
def test_a_perfect_list_is_exactly_one(k):
    relevant = csr_array(np.tri(40, 60))
    values = user_metrics(np.tile(np.arange(60), (40, 1)), relevant, ks=(k,))
    for name in ("capped_precision", "hit_rate", "ndcg", "mrr"):
        np.testing.assert_array_equal(values[f"{name}_at_{k}"], 1)
    np.testing.assert_allclose(values[f"map_at_{k}"], 1, rtol=1e-15)


def test_a_full_list_scores_one_and_int32_keys_do_not_overflow():
    n_items = 2**31 - 1
    relevant = csr_array(([1.0, 1.0], [n_items - 1, n_items - 1], [0, 1, 2]), shape=(2, n_items))
    ranked = np.array([[0], [n_items - 1]], dtype=np.int32)
    for values in user_metrics(ranked, relevant, ks=(1,)).values():
        np.testing.assert_array_equal(values, [0, 1])


def lists(data):
    n_users, n_items = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 15))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    k = data.draw(st.integers(1, n_items))
    relevant = rng.random((n_users, n_items)) < data.draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    ranked = np.stack([rng.permutation(n_items)[:k] for _ in range(n_users)])
    ranked[np.arange(k) >= rng.integers(0, k + 1, size=n_users)[:, None]] = -1
    return ranked, relevant


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_equals_loops_and_invariants(data):
    ranked, relevant = lists(data)
    k = ranked.shape[1]
    ks = sorted({1, (k + 1) // 2, k})
    found = user_metrics(ranked, csr_array(relevant), ks=ks)
    for at in ks:
        for name in METRICS:
            expected = [
                oracles.metric(name, row, held, at) for row, held in zip(ranked, oracles.sets(relevant), strict=True)
            ]
            np.testing.assert_allclose(found[f"{name}_at_{at}"], expected, rtol=1e-12)
    some = relevant.any(axis=1)
    for key, values in found.items():
        assert np.isnan(values[~some]).all(), key
        assert ((values[some] >= 0) & (values[some] <= 1)).all(), key
    for less, more in itertools.pairwise(ks):
        for name in ("recall", "hit_rate", "mrr"):
            assert (found[f"{name}_at_{less}"][some] <= found[f"{name}_at_{more}"][some]).all()
    shuffled = np.random.default_rng(0).permutation(len(ranked))
    again = user_metrics(ranked[shuffled], csr_array(relevant[shuffled]), ks=ks)
    for key, values in found.items():
        np.testing.assert_array_equal(again[key], values[shuffled])


@pytest.mark.parametrize("k", [1, 5, 20])
def test_equals_torch_geometric(k):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch_geometric still compiles with torch.jit when it is imported
        from torch_geometric import metrics as pyg
    rng = np.random.default_rng(k)
    n_users, n_items = 60, 90
    relevant = csr_array(rng.random((n_users, n_items)) < 0.08)
    ranked = np.stack([rng.permutation(n_items)[:20] for _ in range(n_users)])
    found = user_metrics(ranked, relevant, ks=(k,))
    users, items = relevant.nonzero()
    labels = torch.from_numpy(np.stack([users, items]))
    theirs = {
        "recall": pyg.LinkPredRecall(k),
        "precision": pyg.LinkPredPrecision(k),
        "ndcg": pyg.LinkPredNDCG(k),
        "map": pyg.LinkPredMAP(k),
        "mrr": pyg.LinkPredMRR(k),
        "hit_rate": pyg.LinkPredHitRatio(k),
    }
    for name, metric in theirs.items():
        metric.update(torch.from_numpy(ranked), labels)
        assert np.nanmean(found[f"{name}_at_{k}"]) == pytest.approx(float(metric.compute()), rel=1e-5), name
    covered = pyg.LinkPredCoverage(k, num_dst_nodes=n_items)
    covered.update(torch.from_numpy(ranked), labels)
    assert coverage(ranked[:, :k], n_items) == pytest.approx(float(covered.compute()), rel=1e-6)


def test_coverage_by_hand():
    assert coverage(np.array([[0, 1], [1, -1]]), 4) == 0.5
    assert coverage(np.array([[-1, -1]]), 4) == 0.0
    assert coverage(np.empty((0, 2), dtype=int), 4) == 0.0
    assert coverage(np.empty((3, 2), dtype=int) * 0 - 1, 0) == 0.0


def test_errors():
    with pytest.raises(ValueError, match=r"ranked has shape \(2, 5\), expected one list for each of the 3 rows"):
        recall_at_k(RANKED[:2], RELEVANT)
    with pytest.raises(ValueError, match="unknown metric 'recal', expected some of recall, ndcg"):
        user_metrics(RANKED, RELEVANT, names=["recal"])
    with pytest.raises(ValueError, match="cannot cut lists of 5 places at 10: rank at least"):
        user_metrics(RANKED, RELEVANT, ks=(5, 10))
    with pytest.raises(ValueError, match=r"ks is \(0,\), expected at least one length"):
        user_metrics(RANKED, RELEVANT, ks=(0,))


def test_examples():
    assert doctest.testmod(buir.ranking.metrics).failed == 0
    assert doctest.testmod(buir.ranking.metrics).attempted >= 2
