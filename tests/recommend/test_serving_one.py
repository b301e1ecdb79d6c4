"""One model, asked by one user after another and by many threads at once."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from buir import BUIR
from buir.errors import NotFittedError
from buir.ranking import FactorScorer, ItemFilter, top_k
from buir.ranking.selection import largest_of_one
from tests.support import oracles
from tests.support.factors import Fixed

TERMS = {"popularity": 0.3, "filter": 1.0, "block": 0.5, "dial": 0.2}


def pairs(seed: int = 0) -> csr_array:
    rng = np.random.default_rng(seed)
    drawn = rng.random((80, 300)) < 0.05 + 0.1 * rng.random(300)
    drawn[np.arange(300) % 80, np.arange(300)] = True
    return csr_array(drawn.astype(np.float32))


@pytest.fixture(scope="module")
def model() -> BUIR:
    settings = {"embedding_dim": 48, "epochs": 1, "inner_validation": False, "uniformity": 0.0, "device": "cpu"}
    return BUIR(**settings, terms=TERMS).fit(pairs(), show_progress=False)


@settings(deadline=None, max_examples=80)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 400), k=st.integers(1, 90), high=st.sampled_from([1, 3, 1000]))
def test_one_row_against_sorting(seed, n, k, high):
    rng = np.random.default_rng(seed)
    row = rng.integers(-high, high, n).astype(np.float32)  # few numbers, so that many tie
    row[rng.random(n) < rng.choice([0.0, 0.3, 1.0])] = -np.inf
    values, columns = largest_of_one(row, k)
    expected = sorted((-score, column) for column, score in enumerate(row.tolist()) if score > -np.inf)[:k]
    assert [(-value, column) for value, column in zip(values.tolist(), columns.tolist(), strict=True)] == expected


@pytest.mark.parametrize("place", [0, 63, 64, 129])
def test_a_row_with_nan_says_so(place):
    row = np.zeros(130, dtype=np.float32)
    row[place] = np.nan
    assert np.isnan(largest_of_one(row, 3)[0]).all()


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), width=st.sampled_from([3, 100]), k=st.integers(1, 20))
def test_one_user_against_a_dense_oracle(seed, width, k):
    rng = np.random.default_rng(seed)
    users, items = rng.integers(-2, 3, (4, width)), rng.integers(-2, 3, (150, width))  # exact in float32
    seen, deny = rng.random((4, 150)) < 0.3, np.flatnonzero(rng.random(150) < 0.2)
    scorer = FactorScorer(users.astype(np.float32), items.astype(np.float32))
    for user in range(4):
        row = csr_array(seen[[user]].astype(np.float32))
        denied = [set(deny.tolist())]
        ids, scores = oracles.rank((users @ items.T)[[user]], k, oracles.sets(seen[[user]]), None, denied)
        for exclude in (row, row.indices):
            found = top_k(scorer, np.array([user]), k, exclude=exclude, deny=deny)
            np.testing.assert_array_equal(found[0], ids)
            np.testing.assert_array_equal(found[1], scores)
        some = np.flatnonzero(rng.random(150) < 0.5)
        ids, _ = oracles.rank((users @ items.T)[[user]], k, oracles.sets(seen[[user]]), [set(some.tolist())], denied)
        found = top_k(scorer, np.array([user]), k, exclude=row.indices, allow=some, deny=deny)
        np.testing.assert_array_equal(found[0], ids)


def test_the_filter_of_one_user_has_the_bits_of_the_product_of_matrices():
    rng = np.random.default_rng(3)
    history = csr_array(np.vstack([pairs().toarray(), np.ones((1, 300), dtype=np.float32)]))  # one who has everything
    history.data = rng.random(history.nnz).astype(np.float32)
    term = ItemFilter.from_matrix(history, keep=40)
    expected = (history @ term.weights).toarray()
    for user in range(81):
        np.testing.assert_array_equal(term.score_block(np.array([user]))[0].numpy(), expected[user])
    nobody = ItemFilter(csr_array((1, 300), dtype=np.float32), term.weights)
    assert not nobody.score_block(np.array([0])).any()


def test_scores_of_one_user_are_those_of_the_score_function(model):
    everything = model.scorer().score_block(np.arange(80)).numpy()
    for user in range(0, 80, 7):
        ids, scores = model.recommend(user, N=25)
        np.testing.assert_allclose(scores, everything[user, ids], rtol=1e-5, atol=1e-6)
        row = np.where(pairs().toarray()[user] > 0, -np.inf, everything[user])
        assert np.sort(row)[-25] <= scores[-1] + 1e-5
        np.testing.assert_array_equal(model.recommend([user], N=25)[0][0], ids)
        np.testing.assert_array_equal(model.recommend(user, pairs()[[user]], N=25)[0], ids)


def test_the_kept_scorer_follows_what_replaces_its_parts(model):
    model = copy.deepcopy(model)
    assert model.scorer() is model.scorer()
    before = model.recommend(3, N=5)[0].tolist()
    model.item_factors[before[0]] -= 1000 * np.sign(model.user_factors[3])  # in place
    assert before[0] not in model.recommend(3, N=5)[0]
    kept = model.scorer()
    model.item_factors = model.item_factors[::-1].copy()
    assert model.scorer() is not kept
    kept = model.scorer()
    model.partial_fit(csr_array(([1.0], ([80], [2])), shape=(81, 300)), epochs=0, show_progress=False)
    assert model.scorer() is not kept
    assert model.scorer().n_users == 81
    kept = model.scorer()
    model.fit(pairs(1), show_progress=False)
    assert model.scorer() is not kept
    assert model.scorer().n_users == 80


def test_a_table_of_other_numbers_is_read_anew():
    model = Fixed(np.eye(2), np.eye(2), csr_array((2, 2), dtype=np.float32))
    model.item_factors = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert model.recommend(0, N=1)[0].tolist() == [0]
    model.item_factors[1] = [9.0, 9.0]
    assert model.recommend(0, N=1)[0].tolist() == [1]


def test_a_table_that_nobody_may_write_to_is_not_copied(tmp_path):
    table = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    np.save(tmp_path / "table.npy", table)
    mapped = np.load(tmp_path / "table.npy", mmap_mode="r")
    scorer = FactorScorer(mapped, mapped)
    assert scorer.item_factors.data_ptr() == mapped.ctypes.data
    np.testing.assert_array_equal(top_k(scorer, [1], 9)[0], top_k(FactorScorer(table, table), [1], 9)[0])


def test_copies_and_pickles_hold_no_scorer(model):
    size = len(pickle.dumps(copy.deepcopy(model)))
    model.recommend(0)
    model.recommend_frame(0)
    assert len(pickle.dumps(model)) == size
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.recommend(0)[1], model.recommend(0)[1])


def test_serve_threads(model):
    model = copy.deepcopy(model)  # nothing is kept yet: the first look is taken by many at once
    rng = np.random.default_rng(5)
    tasks = [(kind, int(row)) for kind in range(5) for row in rng.integers(0, 80, 60)]
    rng.shuffle(tasks)

    def answer(task) -> tuple[np.ndarray, ...]:
        kind, row = task
        if kind == 0:
            return model.recommend(row, N=12)
        if kind == 1:
            return model.similar_items(row, N=12)
        if kind == 2:
            frame = model.recommend_frame([row, (row + 1) % 80], k=7, deny=[3, 4])
        elif kind == 3:
            frame = model.recommend_frame(histories={"new": [row, row + 1, 2 * row]}, k=7)
        else:
            frame = model.similar_items_frame(row, k=7)
        return tuple(frame[column].to_numpy() for column in frame)

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(answer, tasks))
    assert len(found) == 300
    for task, answers in zip(tasks, found, strict=True):
        for mine, expected in zip(answers, answer(task), strict=True):
            np.testing.assert_array_equal(mine, expected)
    pd.testing.assert_frame_equal(model.recommend_frame(k=3), copy.deepcopy(model).recommend_frame(k=3))


def test_a_frozen_model_gives_the_same_lists_and_cannot_be_written_to(monkeypatch, model):
    monkeypatch.setattr("buir.ranking.bounds._LEAST", 0)
    monkeypatch.setattr("buir.ranking.bounds._PAYS", np.inf)
    frozen = copy.deepcopy(model)
    frozen.recommend(0)  # the scorer is kept from before
    assert frozen.freeze() is frozen
    asked = []
    monkeypatch.setattr(
        FactorScorer,
        "bounds_of",
        lambda self, user, of=FactorScorer.bounds_of: asked.append(of(self, user)) or asked[-1],
    )
    for user in range(0, 80, 7):
        np.testing.assert_array_equal(frozen.recommend(user, N=9)[0], model.recommend(user, N=9)[0])
    assert any(bound is not None for bound in asked)
    with pytest.raises(ValueError, match="read-only"):
        frozen.item_factors[0] = 0
    pd.testing.assert_frame_equal(frozen.explain(3, 5), model.explain(3, 5))
    frozen.partial_fit(csr_array(([1.0], ([80], [2])), shape=(81, 300)), epochs=0, show_progress=False)
    frozen.item_factors[0] = 0  # new ones
    assert copy.deepcopy(model).freeze().fit(pairs(1), show_progress=False).item_factors.flags.writeable


def test_what_the_filter_says_to_long_histories_is_kept_within_the_memory_of_the_filter(monkeypatch, model):
    monkeypatch.setattr("buir.ranking.item_filter._MANY", 20)
    weights, lengths = ItemFilter.from_matrix(model.seen_, keep=3).weights, np.diff(model.seen_.indptr)
    kept, plain = ItemFilter(model.seen_, weights, keeps_sums=True), ItemFilter(model.seen_, weights)
    for user in range(80):
        ours, theirs = (part.score_block(np.array([user])).numpy() for part in (kept, plain))
        assert ours.tobytes() == theirs.tobytes()
    room = (weights.data.nbytes + weights.indices.nbytes) // (4 * 300)
    assert 0 < len(kept._sums) == room < np.count_nonzero(lengths > 20)
    assert min(lengths[list(kept._sums)]) >= max(lengths[np.setdiff1d(np.arange(80), list(kept._sums))])
    frozen = copy.deepcopy(model).freeze()
    assert frozen.scorer().further[0][1].keeps_sums
    assert not model.scorer().further[0][1].keeps_sums
    for user in range(80):
        np.testing.assert_array_equal(frozen.recommend(user, N=9)[0], model.recommend(user, N=9)[0])


def test_nothing_is_frozen_before_a_fit():
    with pytest.raises(NotFittedError, match="call fit"):
        BUIR().freeze()


def test_ids_in_the_place_of_rows_are_told_of_the_methods_that_go_by_ids(model):
    with pytest.raises(TypeError, match="similar_items_frame"):
        model.similar_items("i1")
