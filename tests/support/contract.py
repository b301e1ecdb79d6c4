"""What every recommender promises, as checks that take a case: how to make the model, and what it cannot do.

A check trains at most a few tiny models. Checks that only read share one fitted model per case.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_array, csc_array, csc_matrix, csr_array, csr_matrix

from buir.data.interactions import Interactions
from buir.errors import EmptyColumnsWarning, EmptyRowsWarning, NotFittedError
from buir.ranking.evaluation import evaluate
from buir.recommend.recommender import Recommender

N_USERS, N_ITEMS = 18, 14


@dataclass(frozen=True)
class Case:
    """A model with settings so small that a fit takes a fraction of a second."""

    name: str
    make: Callable[..., Any]
    patient: tuple[tuple[str, Any], ...] = ()
    """Settings with which it solves the checkerboard, where they differ."""
    personal: bool = True
    """Whether lists depend on more than the user's own items."""
    item_vectors: bool = True
    user_vectors: bool = True
    folds_users: bool = False
    folds_items: bool = False

    def __repr__(self) -> str:
        return self.name


def training_matrix() -> csr_array:
    """Two groups of users with two groups of items, half of the pairs present, and some noise; nobody is empty or has it all."""
    rng = np.random.default_rng(7)
    same = np.arange(N_USERS)[:, None] % 2 == np.arange(N_ITEMS)[None, :] % 2
    taken = rng.random((N_USERS, N_ITEMS)) < np.where(same, 0.7, 0.1)
    taken[np.arange(N_USERS), np.arange(N_USERS) % N_ITEMS] = True
    matrix = csr_array(taken.astype(np.float32))
    assert np.diff(matrix.indptr).max() < N_ITEMS - 3
    return matrix


def checkerboard(n: int = 12) -> csr_array:
    """User u has the items of the same parity, except the item u: that one is the answer."""
    board = (np.arange(n)[:, None] + np.arange(n)[None, :]) % 2 == 0
    board[np.arange(n), np.arange(n)] = False
    return csr_array(board.astype(np.float32))


def with_ids(matrix: csr_array) -> Interactions:
    user_ids = [f"u{row}" for row in range(matrix.shape[0])]
    return Interactions.from_matrix(matrix, user_ids=user_ids, item_ids=np.arange(matrix.shape[1]) * 10 + 5)


def fit(model: Any, user_items: Any, valid: Any = None) -> Any:
    return model.fit(user_items, valid, show_progress=False)


@cache
def fitted(case: Case) -> Any:
    return fit(case.make(), training_matrix())


def everybody(model: Any, n: int = 5) -> tuple[np.ndarray, np.ndarray]:
    return model.recommend(np.arange(model.n_users), N=n)


def assert_same_lists(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


# What fit promises.


def check_fit_returns_self(case: Case) -> None:
    model = case.make()
    assert isinstance(model, Recommender)
    assert fit(model, training_matrix()) is model


def check_second_fit_starts_fresh(case: Case) -> None:
    model = fit(case.make(), checkerboard())
    assert_same_lists(everybody(fit(model, training_matrix())), everybody(fitted(case)))


def check_same_seed_same_lists(case: Case) -> None:
    assert_same_lists(everybody(fit(case.make(), training_matrix())), everybody(fitted(case)))


def check_input_is_not_modified(case: Case) -> None:
    matrix = training_matrix()
    shuffled = csr_array(matrix[:, ::-1])[:, ::-1]
    before = copy.deepcopy(shuffled)
    shuffled.data.flags.writeable = shuffled.indices.flags.writeable = shuffled.indptr.flags.writeable = False
    fit(case.make(), shuffled)
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(shuffled, part), getattr(before, part))


def check_other_formats_give_the_same_lists(case: Case) -> None:
    # Which formats are read, and that all read alike, is tested for as_csr, through which every fit goes.
    for other in (csc_matrix(training_matrix(), dtype=bool), coo_array(training_matrix(), dtype=np.int64)):
        assert_same_lists(everybody(fit(case.make(), other)), everybody(fitted(case)))


def check_interactions_give_the_same_rows_and_their_ids(case: Case) -> None:
    model = fit(case.make(), with_ids(training_matrix()))
    assert_same_lists(everybody(model), everybody(fitted(case)))
    frame = model.recommend_frame(["u3", "u0"], k=2)
    assert frame.columns.tolist() == ["user", "item", "score", "rank"]
    assert frame["user"].tolist() == ["u3", "u3", "u0", "u0"]
    assert frame["rank"].tolist() == [1, 2, 1, 2]
    assert frame["item"].dtype == np.int64
    ids, scores = model.recommend([3, 0], N=2)
    assert frame["item"].tolist() == (ids.ravel() * 10 + 5).tolist()
    np.testing.assert_array_equal(frame["score"], scores.ravel())


def check_a_data_frame_is_taken(case: Case) -> None:
    data = with_ids(training_matrix())
    frame = pd.DataFrame({"user": data.user_ids[data.users], "item": data.item_ids[data.items]})
    lists = fit(case.make(), frame).recommend_frame(k=3)
    assert set(lists["user"]) == set(data.user_ids)
    assert set(lists["item"]) <= set(data.item_ids)


def check_valid_is_measured(case: Case) -> None:
    whole = with_ids(training_matrix())
    mask = np.ones(whole.n_pairs, dtype=bool)
    mask[::9] = False
    records = []
    model = case.make()
    model.fit(whole.keep(mask), whole.keep(~mask), show_progress=False, callback=records.append)
    assert records, "the callback never ran"
    assert any(name.startswith("ndcg_at_") for name in records[-1])
    scores = records[-1]["scores"]
    assert {"positive", "held_out"} <= scores.keys()
    assert all(values == sorted(values) and len(values) == 5 for values in scores.values())

    # what is only tried is heard of, too, beside the training that the history tells of
    def plain(record: dict[str, Any]) -> dict[str, Any]:
        return {
            k: v
            for k, v in record.items()
            if k not in ("branch", "watched", "began", "best") and not k.startswith("best_")
        }

    told = list(map(plain, records))
    assert all(plain(record) in told for record in model.history)


def check_a_bool_as_valid_names_show_progress(case: Case) -> None:
    with pytest.raises(TypeError, match="write show_progress=False"):
        case.make().fit(training_matrix(), False)


def check_get_params_makes_the_same_model(case: Case) -> None:
    model = case.make()
    assert type(model)(**model.get_params()).get_params() == model.get_params()
    assert "seed" in model.get_params()


# What lists promise.


def check_checkerboard_is_solved(case: Case) -> None:
    board = checkerboard()
    ids, _ = fit(case.make(**dict(case.patient)), board).recommend(np.arange(board.shape[0]), N=1)
    if case.personal:
        np.testing.assert_array_equal(ids[:, 0], np.arange(board.shape[0]))


def check_batch_equals_scalar(case: Case) -> None:
    model = fitted(case)
    ids, scores = everybody(model)
    assert ids.shape == scores.shape == (N_USERS, 5)
    assert ids.dtype == np.int32
    assert scores.dtype == np.float32
    for user in range(N_USERS):
        one_ids, one_scores = model.recommend(user, N=5)
        assert one_ids.dtype == np.int32
        np.testing.assert_array_equal(one_ids, ids[user][ids[user] >= 0])
        np.testing.assert_allclose(one_scores, scores[user][ids[user] >= 0], rtol=1e-5, atol=1e-6)


def check_order_of_asking_does_not_matter(case: Case) -> None:
    model = fitted(case)
    ids, scores = everybody(model)
    order = np.random.default_rng(0).permutation(N_USERS)
    asked_ids, asked_scores = model.recommend(order, N=5)
    np.testing.assert_array_equal(asked_ids, ids[order])
    np.testing.assert_allclose(asked_scores, scores[order], rtol=1e-5, atol=1e-6)


def check_scores_decrease_and_are_the_scorers(case: Case) -> None:
    model = fitted(case)
    ids, scores = model.recommend(np.arange(N_USERS), N=N_ITEMS, filter_already_liked_items=False)
    assert np.all(np.diff(scores, axis=1) <= 0)
    np.testing.assert_array_equal(np.sort(ids, axis=1), np.tile(np.arange(N_ITEMS), (N_USERS, 1)))
    table = model.scorer().score_block(np.arange(N_USERS)).cpu().numpy()
    np.testing.assert_allclose(scores, np.take_along_axis(table, ids, axis=1), rtol=1e-5, atol=1e-6)


def check_equal_scores_come_by_row(case: Case) -> None:
    model = fitted(case)
    ids, scores = model.recommend(np.arange(N_USERS), N=N_ITEMS, filter_already_liked_items=False)
    tied = np.diff(scores, axis=1) == 0
    assert np.all(np.diff(ids, axis=1)[tied] > 0)


def check_nothing_seen_and_nothing_twice(case: Case) -> None:
    seen = training_matrix().toarray() > 0
    ids, scores = everybody(fitted(case), N_ITEMS)
    for user in range(N_USERS):
        listed = ids[user][ids[user] >= 0]
        assert sorted(listed) == np.flatnonzero(~seen[user]).tolist()
        assert np.isfinite(scores[user][: len(listed)]).all()


def check_long_lists_end_in_minus_one(case: Case) -> None:
    model, n_seen = fitted(case), np.diff(training_matrix().indptr)
    for n in (N_ITEMS + 6, 10**12):  # no list is longer than the catalogue, nor takes memory as if it were
        ids, scores = everybody(model, n)
        assert ids.shape == (N_USERS, N_ITEMS)
        padding = np.arange(N_ITEMS)[None, :] >= (N_ITEMS - n_seen)[:, None]
        np.testing.assert_array_equal(ids == -1, padding)
        np.testing.assert_array_equal(scores == -np.inf, padding)
        assert len(model.recommend(2, N=n)[0]) == N_ITEMS - n_seen[2]
        assert len(model.recommend_frame(2, k=n)) == N_ITEMS - n_seen[2]


def check_allow_and_deny_together(case: Case) -> None:
    model, seen = fitted(case), training_matrix().toarray() > 0
    ids, _ = model.recommend(np.arange(N_USERS), N=6, items=[9, 1, 4, 7, 4, 2], filter_items=[4, 0])
    for user in range(N_USERS):
        assert sorted(ids[user][ids[user] >= 0]) == [item for item in (1, 2, 7, 9) if not seen[user, item]]
    ids, _ = model.recommend([3, 4], N=3, items=csr_array(np.eye(2, N_ITEMS)), filter_already_liked_items=False)
    np.testing.assert_array_equal(ids, [[0, -1, -1], [1, -1, -1]])


def check_user_items_may_be_given(case: Case) -> None:
    model, matrix = fitted(case), training_matrix()
    users = np.array([5, 2])
    expected = model.recommend(users, N=5)
    for form in (csr_array, csr_matrix, csc_array, coo_array):
        assert_same_lists(
            model.recommend(users, form(matrix)[users] if form is not coo_array else coo_array(matrix[users]), N=5),
            expected,
        )
    assert_same_lists(model.recommend(5, matrix[[5]], N=5), model.recommend(5, N=5))
    assert_same_lists(model.recommend(5, matrix[5], N=5), model.recommend(5, N=5))
    nothing = csr_array((1, N_ITEMS), dtype=np.float32)
    assert len(model.recommend(5, nothing, N=N_ITEMS)[0]) == N_ITEMS


def check_wrong_rows_and_shapes(case: Case) -> None:
    model, matrix = fitted(case), training_matrix()
    for users in (-1, N_USERS, [0, -1], [0, N_USERS]):
        with pytest.raises(IndexError, match=f"user rows are 0 to {N_USERS - 1}"):
            model.recommend(users)
    for argument in ("items", "filter_items"):
        with pytest.raises(IndexError, match=f"{argument} holds {N_ITEMS}"):
            model.recommend(0, **{argument: [N_ITEMS]})
    with pytest.raises(ValueError, match="not the whole matrix"):
        model.recommend([0, 1], matrix)
    with pytest.raises(ValueError, match="user_items has shape"):
        model.recommend([0, 1], matrix[:2, :5])


def check_a_user_without_history(case: Case) -> None:
    dense = training_matrix().toarray()
    dense[4] = 0
    with pytest.warns(EmptyRowsWarning, match="row 4"):
        model = fit(case.make(), csr_array(dense))
    ids, scores = model.recommend(4, N=N_ITEMS)
    assert sorted(ids) == list(range(N_ITEMS))
    assert np.isfinite(scores).all()


def check_an_item_without_users(case: Case) -> None:
    dense = training_matrix().toarray()
    dense[:, 6] = 0
    with pytest.warns(EmptyColumnsWarning, match="column 6"):
        model = fit(case.make(), csr_array(dense))
    ids, scores = everybody(model, N_ITEMS)
    assert np.isfinite(scores[ids >= 0]).all()
    assert np.all((ids == 6).sum(axis=1) == 1)
    assert 6 not in set(model.recommend_frame(k=N_ITEMS, trained_only=True)["item"])


def check_it_is_measured_like_any_other(case: Case) -> None:
    train = training_matrix()
    test = csr_array((train.toarray() == 0).astype(np.float32))
    result = evaluate(fitted(case), train, test, ks=(N_ITEMS,))
    assert result.means[f"recall_at_{N_ITEMS}"] == 1


# What similarity and recalculation promise.


def check_similar_items(case: Case) -> None:
    _check_similar(fitted(case), "item", N_ITEMS, case.item_vectors)


def check_similar_users(case: Case) -> None:
    _check_similar(fitted(case), "user", N_USERS, case.user_vectors)


def _check_similar(model: Any, noun: str, n: int, possible: bool) -> None:
    ask = getattr(model, f"similar_{noun}s")
    if not possible:
        with pytest.raises(ValueError, match=f"{type(model).__name__} .*similar_{noun}s"):
            ask(0)
        return
    ids, scores = ask(np.arange(n), N=n)
    assert ids.shape == scores.shape == (n, n)
    assert ids.dtype == np.int32
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(ids[:, 0], np.arange(n))
    np.testing.assert_array_equal(scores[:, 0], 1)
    np.testing.assert_array_equal(np.sort(ids, axis=1), np.tile(np.arange(n), (n, 1)))
    assert np.all(np.diff(scores, axis=1) <= 0)
    assert np.abs(scores).max() <= 1
    table = np.empty((n, n))
    np.put_along_axis(table, ids, scores, axis=1)
    np.testing.assert_allclose(table, table.T, atol=1e-5)
    one_ids, one_scores = ask(3, N=4)
    np.testing.assert_array_equal(one_ids, ids[3, :4])
    np.testing.assert_allclose(one_scores, scores[3, :4], atol=1e-6)
    only = {f"{noun}s": [5, 1, 3], f"filter_{noun}s": [3]}
    np.testing.assert_array_equal(np.sort(ask(3, N=5, **only)[0]), [1, 5])
    with pytest.raises(IndexError, match=f"{noun}id holds -1"):
        ask(-1)


def check_recalculated_users(case: Case) -> None:
    model, matrix = fitted(case), training_matrix()
    if not case.folds_users:
        with pytest.raises(ValueError, match=f"{type(model).__name__} cannot recalculate users"):
            model.recommend(0, matrix[[0]], recalculate_user=True)
        return
    stored = model.recommend([1, 4], N=5, recalculate_user=True)
    assert_same_lists(model.recommend([1, 4], matrix[[1, 4]], N=5, recalculate_user=True), stored)
    # The number of a stranger means nothing: the history alone counts.
    assert_same_lists(model.recommend([7000, 7001], matrix[[1, 4]], N=5, recalculate_user=True), stored)
    seen = matrix.toarray()[[1, 4]] > 0
    assert not np.take_along_axis(seen, stored[0].astype(int), axis=1).any()
    frame = model.recommend_frame(histories={"new": np.flatnonzero(seen[0]).tolist()}, k=5)
    assert frame["item"].tolist() == stored[0][0].tolist()
    assert frame["user"].tolist() == ["new"] * 5


def check_recalculated_items(case: Case) -> None:
    model, matrix = fitted(case), training_matrix()
    audiences = csr_array(matrix.T.tocsr()[[2, 9]])
    if not (case.folds_items and case.item_vectors):
        with pytest.raises(ValueError, match=type(model).__name__):
            model.similar_items([2, 9], recalculate_item=True, item_users=audiences)
        return
    stored = model.similar_items([2, 9], N=4, recalculate_item=True)
    assert_same_lists(model.similar_items([2, 9], N=4, recalculate_item=True, item_users=audiences), stored)
    assert np.abs(stored[1]).max() <= 1


# What storage promises.


def check_not_fitted_raises(case: Case) -> None:
    model = case.make()
    name = type(model).__name__
    asks: list[Callable[[], Any]] = [
        lambda: model.recommend(0),
        lambda: model.similar_items(0),
        lambda: model.similar_users(0),
        model.recommend_frame,
        model.scorer,
        lambda: model.history,
    ]
    for ask in asks:
        with pytest.raises(NotFittedError, match=rf"this {name} is not fitted.*call fit\(user_items\) first"):
            ask()
    assert not hasattr(model, "user_factors")


def check_copies_answer_alike(case: Case) -> None:
    model = fitted(case)
    expected = everybody(model)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert_same_lists(everybody(other), expected)
        pd.testing.assert_frame_equal(other.recommend_frame(k=3), model.recommend_frame(k=3))
        assert other.get_params() == model.get_params()


def check_save_and_load(case: Case) -> None:
    model = fit(case.make(), with_ids(training_matrix()))
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    other = type(model).load(file)
    assert_same_lists(everybody(other), everybody(model))
    pd.testing.assert_frame_equal(other.recommend_frame(k=3), model.recommend_frame(k=3))
    assert other.get_params() == model.get_params()


CHECKS = [check for name, check in list(globals().items()) if name.startswith("check_")]


def applies(check: Callable[[Case], None], case: Case) -> bool:
    """A model without a file format of its own is stored as a copy, which is a check of its own."""
    return check is not check_save_and_load or hasattr(case.make(), "save")
