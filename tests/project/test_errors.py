"""Wrong calls of the library, and what each is told: what came, what was expected, what to do."""

import re

import numpy as np
import pandas as pd
import polars
import pytest
from scipy.sparse import coo_array, csr_array
from threadpoolctl import threadpool_limits

import buir.data.doctor
import buir.data.inputs
from baselines.popularity import Popularity
from buir.data import doctor
from buir.data.interactions import Interactions
from buir.errors import NotFittedError, UnknownIdError
from buir.recommend import Recommender, recommend_frame
from tests.support.factors import Fixed, Svd

SEEN = csr_array(np.array([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 1, 1]]))
SHOP = Interactions.from_matrix(SEEN, user_ids=["ann", "bob", "cat"], item_ids=[10, 20, 30, 40])
FACTORS = np.arange(6).reshape(3, 2), np.arange(8).reshape(4, 2)


def model():
    return Fixed(*FACTORS, SEEN)


def shop():
    return Fixed(*FACTORS, SHOP)


def forgetful():
    one = Fixed(*FACTORS, SHOP)
    one.seen_ = None
    return one


class Named:
    """Something with a type name, to be passed where it does not belong."""


class HeteroData:
    """Goes by the name of PyG's class."""


WRONG_CALLS = {
    # fit
    "a list of pairs to fit": (
        lambda: Svd().fit([(0, 1)]),
        TypeError,
        "user_items is of type list; expected a SciPy sparse matrix (users x items), Interactions or a data frame: build one, for "
        "example with Interactions.from_pairs(users, items)",
    ),
    "a dense array to fit": (
        lambda: Svd().fit(SEEN.toarray()),
        TypeError,
        "user_items is of type ndarray; expected a SciPy sparse matrix (users x items), Interactions or a data frame: wrap it: "
        "scipy.sparse.csr_array(user_items)",
    ),
    "a lazy frame to fit": (
        lambda: Svd().fit(polars.LazyFrame({"user": [1], "item": [2]})),
        TypeError,
        "user_items is of type LazyFrame; expected a SciPy sparse matrix (users x items), Interactions or a data frame: call "
        ".collect() first",
    ),
    "a lazy frame as valid": (
        lambda: Svd().fit(SEEN, polars.LazyFrame({"user": [1], "item": [2]})),
        TypeError,
        "valid is of type LazyFrame; expected a SciPy sparse matrix (users x items), Interactions or a data frame: call .collect() first",
    ),
    "a lazy frame of histories": (
        lambda: shop().recommend_frame(histories=polars.LazyFrame({"user": ["eve"], "item": [10]})),
        TypeError,
        "expected a pandas, polars or pyarrow table, got LazyFrame: call .collect() first",
    ),
    "a graph to fit": (
        lambda: Svd().fit(HeteroData()),
        TypeError,
        "user_items is of type HeteroData; expected a SciPy sparse matrix (users x items), Interactions or a data frame: convert "
        "it: Interactions.from_hetero_data(data)",
    ),
    "one row to fit": (
        lambda: Svd().fit(SEEN[0]),
        doctor.ShapeError,
        "user_items has shape (4,); expected two dimensions, users x items: reshape it to (1, -1) if it is one user's row",
    ),
    "complex values": (
        lambda: Svd().fit(SEEN.astype(complex)),
        TypeError,
        "user_items has values of type complex128; expected bool, int or float: convert them first, user_items.astype(float)",
    ),
    "a frame without the columns": (
        lambda: Svd().fit(pd.DataFrame({"who": [1], "what": [2]})),
        ValueError,
        "the frame has no column 'user'; it has ['who', 'what']; rename the one that holds it, or name it: "
        "Interactions.from_frame(frame, user=...)",
    ),
    "NaN": (
        lambda: Svd().fit(csr_array(np.array([[1, np.nan], [1, 1]]))),
        doctor.NotFiniteError,
        "user_items holds NaN or infinite values in row 0 (1 in all); expected a finite value above zero",
    ),
    "a dislike": (
        lambda: Svd().fit(csr_array(np.array([[1, 1], [1, -1]]))),
        doctor.NegativeValuesError,
        "user_items holds negative values in row 1 (1 in all); expected positives only: remove dislikes first",
    ),
    "an empty matrix": (
        lambda: Svd().fit(csr_array((3, 4))),
        doctor.NoInteractionsError,
        "user_items has shape (3, 4) and no interaction at all; expected at least one stored value above zero",
    ),
    "a matrix without rows": (
        lambda: Svd().fit(csr_array((0, 4))),
        doctor.NoInteractionsError,
        "user_items has shape (0, 4) and no interaction at all",
    ),
    "show_progress in the place of valid": (
        lambda: Svd().fit(SEEN, False),
        TypeError,
        "valid is False; expected held-out interactions or None: to switch the progress bar write show_progress=False",
    ),
    "valid of another shape": (
        lambda: Svd().fit(SEEN, SEEN[:2]),
        doctor.ShapeError,
        "valid has shape (2, 4), user_items (3, 4); expected one shape: take both from one split",
    ),
    "valid transposed": (
        lambda: Svd().fit(SEEN, SEEN.T),
        doctor.TransposedError,
        "valid has shape (4, 3) and user_items (3, 4): one of them is transposed; expected users x items for both: pass .T",
    ),
    "valid with other ids": (
        lambda: Svd().fit(
            SHOP, Interactions.from_matrix(SEEN, user_ids=["ann", "bob", "dan"], item_ids=[10, 20, 30, 40])
        ),
        doctor.ShapeError,
        "valid and user_items give their user rows different ids; expected one id space: take both from one split",
    ),
    "valid as a frame of other users": (
        lambda: Svd().fit(SHOP, pd.DataFrame({"user": ["ann", "dan", "eve"], "item": [20, 20, 20]})),
        doctor.ShapeError,
        "valid holds 2 of 3 user ids that user_items does not have, such as 'dan'; those of user_items look like 'ann': expected "
        "held-out pairs of users and items that training sees: drop the others",
    ),
    "valid as a frame of labels for a matrix": (
        lambda: Svd().fit(SEEN, pd.DataFrame({"user": ["ann"], "item": [1]})),
        doctor.ShapeError,
        "valid holds 1 of 1 user ids that user_items does not have, such as 'ann'; those of user_items look like 0",
    ),
    "an empty frame as valid": (
        lambda: Svd().fit(SHOP, pd.DataFrame({"user": [], "item": []})),
        ValueError,
        "valid: no pair is left of 0 rows",
    ),
    "training data as valid, as frames": (
        lambda: Svd().fit(SHOP.to_frame(), SHOP.to_frame()[::-1]),
        doctor.ValidSeenError,
        "valid holds 5 pairs, 5 of them also in user_items",
    ),
    "an empty valid": (
        lambda: Svd().fit(SEEN, csr_array((3, 4))),
        doctor.NoInteractionsError,
        "valid holds no interaction; expected at least one: pass valid=None to train without validation",
    ),
    "training data as valid": (
        lambda: Svd().fit(SEEN, SEEN),
        doctor.ValidSeenError,
        "valid holds 5 pairs, 5 of them also in user_items, where they are masked and can never be found; expected held-out "
        "pairs: take both from one split",
    ),
    "a list as valid": (
        lambda: Svd().fit(SEEN, [1, 2]),
        TypeError,
        "valid is of type list; expected a SciPy sparse matrix (users x items)",
    ),
    # before fit
    "recommend before fit": (
        lambda: Svd().recommend(0),
        NotFittedError,
        "this Svd is not fitted: call fit(user_items) first, or load a fitted model",
    ),
    "factors before fit": (
        lambda: Svd().user_factors,
        NotFittedError,
        "this Svd is not fitted: call fit(user_items) first",
    ),
    "a field of the fit before fit": (
        lambda: Popularity().counts,
        NotFittedError,
        "this Popularity is not fitted: call fit(user_items) first",
    ),
    "a misspelt attribute": (lambda: Svd().user_factor, AttributeError, "Svd has no attribute 'user_factor'"),
    # recommend: who
    "a negative user": (
        lambda: model().recommend(-1),
        doctor.OutOfRangeError,
        "userid holds -1, but the model's user rows are 0 to 2; for a user unknown to the model use recalculate_user=True or "
        "partial_fit",
    ),
    "a user too large": (
        lambda: model().recommend([0, 3]),
        IndexError,
        "userid holds 3, but the model's user rows are 0 to 2",
    ),
    "a negative number for a stranger": (
        lambda: model().recommend(-4, SEEN[[0]], recalculate_user=True),
        IndexError,
        "userid holds -4, but the model's user rows are 0 or more",
    ),
    "a user's own id": (
        lambda: model().recommend("ann"),
        TypeError,
        "userid holds str values such as 'ann'; expected integers, the user rows: for your own ids use recommend_frame",
    ),
    "a fraction of a user": (
        lambda: model().recommend([0.5]),
        TypeError,
        "userid holds float values such as 0.5; expected integers, the user rows",
    ),
    "no user": (
        lambda: model().recommend(None),
        TypeError,
        "userid holds NoneType values such as None; expected integers",
    ),
    "a mask of users": (
        lambda: model().recommend([True, False, True]),
        TypeError,
        "userid is boolean; expected user row numbers: np.flatnonzero(mask) turns a mask into them",
    ),
    "a table of users": (
        lambda: model().recommend([[0, 1]]),
        ValueError,
        "userid has shape (1, 2); expected one user row number or one dimension of them",
    ),
    # recommend: how many
    "no items asked": (
        lambda: model().recommend(0, N=0),
        ValueError,
        "N is 0; expected at least 1, the length of a list",
    ),
    "half an item asked": (
        lambda: model().recommend(0, N=2.5),
        TypeError,
        "N is 2.5 of type float; expected an integer, the length of a list",
    ),
    "a bool asked": (lambda: model().recommend(0, N=True), TypeError, "N is True of type bool; expected an integer"),
    # recommend: history
    "the whole matrix": (
        lambda: model().recommend([0, 1], SEEN),
        doctor.ShapeError,
        "user_items has shape (3, 4); expected (2, 4), one row for each asked user: pass user_items[userid], not the whole matrix",
    ),
    "a history of other items": (
        lambda: model().recommend([0], csr_array((1, 9))),
        doctor.ShapeError,
        "user_items has shape (1, 9); expected (1, 4), one row for each asked user: take the rows from the matrix that the model "
        "was fitted on",
    ),
    "a transposed history": (
        lambda: model().recommend([0, 1], SEEN[:2].T),
        doctor.TransposedError,
        "user_items has shape (4, 2); expected (2, 4), one row for each asked user: it looks transposed, pass .T",
    ),
    "a dense history": (
        lambda: model().recommend(0, [[1, 0, 0, 0]]),
        TypeError,
        "user_items is of type list; expected a SciPy sparse matrix with one row for each of the 1 asked users: for a data frame "
        "or lists of ids use recommend_frame(histories=...)",
    ),
    "a frame as history": (
        lambda: model().recommend(0, pd.DataFrame({"user": [0], "item": [1]})),
        TypeError,
        "user_items is of type DataFrame; expected a SciPy sparse matrix",
    ),
    "a history with NaN": (
        lambda: model().recommend(0, csr_array(np.array([[np.nan, 1, 1, 1]]))),
        doctor.NotFiniteError,
        "user_items holds NaN or infinite values in row 0",
    ),
    "no training rows to filter": (
        lambda: forgetful().recommend(0),
        ValueError,
        "this Fixed was saved without its training rows, which filter_already_liked_items needs; pass "
        "user_items with one row for each asked user, or save the model with its training matrix",
    ),
    "no training rows to recalculate": (
        lambda: forgetful().recommend(0, filter_already_liked_items=False, recalculate_user=True),
        ValueError,
        "saved without its training rows, which recalculate_user needs",
    ),
    "no training columns to recalculate": (
        lambda: forgetful().similar_items(0, recalculate_item=True),
        ValueError,
        "saved without its training rows, which recalculate_item needs; pass item_users with one row for each asked item, or save",
    ),
    "a model that cannot fold in": (
        lambda: Svd().fit(SEEN).similar_items(0, recalculate_item=True),
        ValueError,
        "Svd cannot recalculate items, here from 1 row; expected items of the training data: fit again with the new rows, or use "
        "a model that folds items in, such as BUIR",
    ),
    # recommend: lists
    "an unknown denied item": (
        lambda: model().recommend(0, filter_items=[1, 4]),
        IndexError,
        "filter_items holds 4, but the model's item rows are 0 to 3",
    ),
    "a negative allowed item": (
        lambda: model().recommend(0, items=[-1]),
        IndexError,
        "items holds -1, but the model's item rows are 0 to 3; for an item unknown to the model leave it out, or train",
    ),
    "a mask of items": (
        lambda: model().recommend(0, items=np.ones(4, dtype=bool)),
        TypeError,
        "items is boolean; expected item row numbers: np.flatnonzero(mask) turns a mask into them",
    ),
    "names of items": (
        lambda: model().recommend(0, filter_items=["tea"]),
        TypeError,
        "filter_items holds str values such as 'tea'; expected integers, the item rows",
    ),
    "allow rows for other users": (
        lambda: model().recommend([0, 1], items=SEEN[[0]]),
        doctor.ShapeError,
        "items has shape (1, 4); expected (2, 4), one row for each asked user",
    ),
    # similar
    "an unknown item": (
        lambda: model().similar_items(9),
        IndexError,
        "itemid holds 9, but the model's item rows are 0 to 3; for an item unknown to the model use "
        "recalculate_item=True or partial_fit",
    ),
    "an unknown user": (
        lambda: model().similar_users([0, -2]),
        IndexError,
        "userid holds -2, but the model's user rows are 0 to 2; for a user unknown to the model leave it out, or train",
    ),
    "an unknown user to leave out": (
        lambda: model().similar_users(0, filter_users=[3]),
        IndexError,
        "filter_users holds 3, but the model's user rows are 0 to 2",
    ),
    "a model without vectors": (
        lambda: Popularity().fit(SEEN).similar_items(0),
        ValueError,
        "Popularity has no item_factors, which similar_items compares; use a model with factors",
    ),
    "users of an item, dense": (
        lambda: model().similar_items(0, recalculate_item=True, item_users=[[1, 0, 0]]),
        TypeError,
        "item_users is of type list; expected a SciPy sparse matrix with one row of users for each of the 1 asked items",
    ),
    "users of an item, of another shape": (
        lambda: model().similar_items([0, 1], recalculate_item=True, item_users=SEEN.T),
        doctor.ShapeError,
        "item_users has shape (4, 3); expected (2, 3), one row for each asked item: pass item_users[itemid], not the whole matrix",
    ),
    # recommend_frame
    "an id nobody knows": (
        lambda: shop().recommend_frame(["ann", "eve"]),
        UnknownIdError,
        "users holds user ids unknown to the model: 'eve'; its user ids look like 'ann': pass unknown='skip' or 'popular', or "
        "give their histories",
    ),
    "ids of another type": (
        lambda: shop().recommend_frame([1, 2, 3, 4, 5]),
        LookupError,
        "users holds user ids unknown to the model: 1, 2, 3 and 2 more; its user ids look like 'ann'",
    ),
    "a user twice": (
        lambda: shop().recommend_frame(["ann", "bob", "ann"]),
        ValueError,
        "users names 'ann' more than once; expected each user once: drop the repeats",
    ),
    "an unknown policy": (
        lambda: shop().recommend_frame(unknown="ignore"),
        ValueError,
        "unknown is 'ignore'; expected one of 'error', 'skip', 'popular'",
    ),
    "a list length in letters": (
        lambda: shop().recommend_frame(k="3"),
        TypeError,
        "k is '3' of type str; expected an integer, the length of a list",
    ),
    "one item to allow, bare": (
        lambda: shop().recommend_frame(allow=10),
        TypeError,
        "allow is 10 of type int; expected a list of item ids: write [10]",
    ),
    "one item to deny a user, bare": (
        lambda: shop().recommend_frame(deny={"ann": "tea"}),
        TypeError,
        "deny['ann'] is 'tea' of type str; expected a list of item ids: write ['tea']",
    ),
    "a matrix to deny": (
        lambda: shop().recommend_frame(deny=SEEN),
        TypeError,
        "deny is a sparse matrix; expected item ids",
    ),
    "an unknown item to deny": (
        lambda: shop().recommend_frame(deny=[10, "20"]),
        UnknownIdError,
        "deny holds item ids unknown to the model: '20'; its item ids look like 10: pass unknown='skip' to pass them over",
    ),
    "ids as long as a file": (
        lambda: shop().recommend_frame(["x" * 5000]),
        UnknownIdError,
        f"users holds user ids unknown to the model: '{'x' * 27}...{'x' * 28}'; its user ids look like 'ann'",
    ),
    "an unknown item to allow a user": (
        lambda: shop().recommend_frame(allow={"ann": [10, 11]}),
        UnknownIdError,
        "allow holds item ids unknown to the model: 11",
    ),
    "a denied item under a misspelt user": (
        lambda: shop().recommend_frame("ann", deny={"Ann": [10]}),
        UnknownIdError,
        "deny holds user ids unknown to the model: 'Ann'; its user ids look like 'ann': correct these keys, which must be of the ids' "
        "own type, or pass unknown='skip' to pass them over",
    ),
    "users of another type to allow items": (
        lambda: Fixed(*FACTORS, SEEN).recommend_frame(allow={0: [1], "1": [2], "2": [2]}),
        UnknownIdError,
        "allow holds user ids unknown to the model: '1', '2'; its user ids look like 0: correct these keys",
    ),
    "an unknown item in a history": (
        lambda: shop().recommend_frame(histories={"eve": [10, 99]}),
        UnknownIdError,
        "histories holds item ids unknown to the model: 99; its item ids look like 10",
    ),
    "a stranger with an empty history": (
        lambda: shop().recommend_frame(histories={"ann": [10], "eve": []}),
        UnknownIdError,
        "histories is empty for users unknown to the model: 'eve'; give at least one known item, or pass unknown='popular' or 'skip'",
    ),
    "a bare history": (
        lambda: shop().recommend_frame(histories=[10, 20]),
        TypeError,
        "histories is of type list; expected a dict from user id to item ids, a data frame with columns user and item, or "
        "Interactions",
    ),
    "a history of one item, bare": (
        lambda: shop().recommend_frame(histories={"eve": 10}),
        TypeError,
        "histories['eve'] is 10 of type int; expected a list of item ids: write [10]",
    ),
    "histories without a frame's columns": (
        lambda: shop().recommend_frame(histories=pd.DataFrame({"user": [1]})),
        ValueError,
        "no column 'item'",
    ),
    "histories for a model that cannot": (
        lambda: _cannot_fold().recommend_frame(histories={"eve": [10]}),
        ValueError,
        "NoFold cannot recalculate users, here from 1 row",
    ),
    "seen items without training rows": (
        lambda: forgetful().recommend_frame(),
        ValueError,
        "exclude_seen needs the training rows, without which this Fixed was saved; pass exclude_seen=False or histories",
    ),
    "popular items without training rows": (
        lambda: forgetful().recommend_frame(["eve"], unknown="popular", exclude_seen=False),
        ValueError,
        "unknown='popular' needs the training rows, without which this Fixed was saved; save it with its training matrix",
    ),
    "trained items without training rows": (
        lambda: forgetful().recommend_frame(exclude_seen=False, trained_only=True),
        ValueError,
        "trained_only needs the training rows",
    ),
    # the free recommend_frame
    "something that is no model": (
        lambda: recommend_frame(Named(), SHOP),
        TypeError,
        "model is of type Named; expected scorer(), user_factors and item_factors, or recommend(userid, user_items, ...)",
    ),
    "a model fitted on the transpose": (
        lambda: recommend_frame(Fixed(FACTORS[1], FACTORS[0], SEEN.T), SHOP),
        doctor.TransposedError,
        "this Fixed scores 4 users and 3 items, but interactions has shape (3, 4); expected users x items: the model was fitted on "
        "the transposed matrix, fit it on interactions.matrix",
    ),
    "a model fitted on something else": (
        lambda: recommend_frame(Fixed(FACTORS[0], FACTORS[1][:2], SEEN[:, :2]), SHOP),
        doctor.ShapeError,
        "this Fixed scores 3 users and 2 items, but interactions has shape (3, 4); expected the interactions that the model was "
        "fitted on",
    ),
    "a foreign model before its fit": (
        lambda: recommend_frame(_unfitted_als(), SHOP),
        ValueError,
        "this AlternatingLeastSquares is not fitted; call fit(interactions.matrix) first",
    ),
    "neighbours before their fit": (
        lambda: recommend_frame(_unfitted_neighbours(), SHOP),
        ValueError,
        "this CosineRecommender is not fitted; call fit(interactions.matrix) first",
    ),
    "interactions that are none": (
        lambda: recommend_frame(model(), [1]),
        TypeError,
        "interactions is of type list; expected a SciPy sparse matrix",
    ),
}


def _cannot_fold():
    class NoFold(Svd):
        _recalculated_users = Recommender._recalculated_users

    return NoFold().fit(SHOP)


def _unfitted_als():
    from implicit.cpu.als import AlternatingLeastSquares

    with threadpool_limits(1, "blas"):  # implicit warns of more threads, once in a process
        return AlternatingLeastSquares()


def _unfitted_neighbours():
    from implicit.nearest_neighbours import CosineRecommender

    return CosineRecommender()


@pytest.mark.parametrize(("call", "kind", "text"), WRONG_CALLS.values(), ids=WRONG_CALLS)
def test_a_wrong_call_is_told(call, kind, text):
    with pytest.raises(kind, match=re.escape(text)):
        call()


def test_enough_kinds_are_told_apart():
    assert len(WRONG_CALLS) >= 60


def test_every_input_error_is_a_value_error_with_rows():
    kinds = [value for value in vars(buir.data.doctor).values() if isinstance(value, type)]
    errors = [kind for kind in kinds if issubclass(kind, doctor.InputError)]
    assert len(errors) >= 7
    for kind in errors:
        assert issubclass(kind, ValueError)
        assert kind("text").rows.tolist() == []
    assert issubclass(doctor.OutOfRangeError, IndexError)
    assert issubclass(NotFittedError, AttributeError)


def test_rows_travel_with_the_error():
    with pytest.raises(doctor.NegativeValuesError) as caught:
        buir.data.inputs.as_csr(coo_array((np.array([-1.0, 1, -1]), ([2, 1, 0], [0, 0, 0])), shape=(3, 1)))
    assert caught.value.rows.tolist() == [0, 2]


def test_some_training_pairs_in_valid_are_counted():
    with pytest.warns(doctor.ValidSeenWarning, match="valid holds 3 pairs, 1 of them also in user_items") as caught:
        Svd().fit(SEEN, csr_array(np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]])))
    assert len(caught) == 1


def test_ratings_of_a_frame_are_not_ignored_silently():
    frame = pd.DataFrame({"user": [1, 1, 2], "item": [1, 2, 1], "rating": [1, -1, 0]})
    text = "2 values other than 1, 2 of them zero or negative, the first in row 1; every row is read as one positive"
    with pytest.warns(doctor.ValuesIgnoredWarning, match=text) as caught:
        Svd().fit(frame)
    assert "Interactions.from_frame(frame, min_rating=...)" in str(caught[0].message)
    assert Popularity().fit(frame.assign(rating=1)).n_users == 2


def test_huge_lists_take_no_more_than_the_catalogue():
    assert len(shop().recommend_frame(k=10**11, exclude_seen=False)) == 12
    assert len(model().recommend(0, N=10**11)[0]) == 2
    assert len(model().similar_items(0, N=10**11)[0]) == 4
    assert len(model().similar_users(0, N=10**11)[0]) == 3


def test_an_empty_history_is_none():
    empty = shop().recommend_frame(["ann"], histories={"ann": []})
    pd.testing.assert_frame_equal(empty, shop().recommend_frame(["ann"]))
    popular = shop().recommend_frame(histories={"eve": []}, unknown="popular", k=1)
    assert popular[["user", "item"]].to_numpy().tolist() == [["eve", 30]]
    assert shop().recommend_frame(histories={"eve": []}, unknown="skip").empty
