"""Users, items and histories as people hold them: in frames, columns and dicts of every library, by every name."""

import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy.sparse import csr_array

from baselines import Popularity
from buir import BUIR, Interactions
from buir.data import fit_inputs
from buir.errors import (
    InputError,
    InputWarning,
    OutOfRangeError,
    PairsDroppedWarning,
    RowsNotIdsWarning,
    UnknownIdError,
    ValidSeenWarning,
    ValuesIgnoredWarning,
)

PAIRS = pd.DataFrame(
    {
        "user": ["ann", "ann", "bob", "bob", "cat", "cat", "dan", "dan"],
        "item": [10, 20, 10, 30, 20, 40, 30, 40],
    }
)


@pytest.fixture(scope="module")
def model():
    settings = {"embedding_dim": 4, "epochs": 1, "batch_size": 4, "device": "cpu", "terms": {}, "uniformity": 0.0}
    return BUIR(**settings, inner_validation=False).fit(PAIRS, show_progress=False)


def lists(model, **arguments) -> dict[str, list[int]]:
    frame = model.recommend_frame(k=4, **arguments)
    return {user: part["item"].tolist() for user, part in frame.groupby("user", sort=False)}


FRAMES = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "pyarrow": lambda columns: pa.table({name: pa.array(values) for name, values in columns.items()}),
    "categories": lambda columns: pd.DataFrame(columns).astype("category"),
    "columns of arrow": lambda columns: pd.DataFrame(columns).convert_dtypes(dtype_backend="pyarrow"),
}


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("name", ["item", "item_id", "MovieId", "asin"])
def test_a_frame_of_items_is_its_items(model, kind, name):
    frame = FRAMES[kind]({"title": ["lamp", "desk"], name: [20, 30]})
    assert lists(model, deny=frame) == lists(model, deny=[20, 30])
    assert all(not {20, 30} & set(found) for found in lists(model, deny=frame).values())
    assert lists(model, allow=frame) == lists(model, allow=[20, 30])
    assert lists(model, allow=frame) == {"ann": [30], "bob": [20], "cat": [30], "dan": [20]}


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("name", ["user", "user_id", "userId", "customer_id"])
def test_a_frame_with_users_is_read_by_user(model, kind, name):
    frame = FRAMES[kind]({name: ["ann", "ann", "cat"], "item_id": [30, 40, 10], "rating": [1, 5, 0]})
    by_user = {"ann": [30, 40], "cat": [10]}
    assert lists(model, deny=frame) == lists(model, deny=by_user)
    assert lists(model, deny=frame)["cat"] == [30]
    assert "ann" not in lists(model, deny=frame)
    assert lists(model, allow=frame) == lists(model, allow=by_user)
    assert list(lists(model, users=frame)) == ["ann", "cat"]


@pytest.mark.parametrize("kind", FRAMES)
def test_histories_of_every_library(model, kind):
    columns = {"reviewerID": ["eve", "eve", "fay"], "Item": [10, 20, 40]}
    by_user = {"eve": [10, 20], "fay": [40]}
    assert lists(model, histories=FRAMES[kind](columns)) == lists(model, histories=by_user)
    assert list(lists(model, histories=FRAMES[kind](columns), users="eve")) == ["eve"]


def test_histories_with_ratings_say_that_every_row_counts(model):
    frame = pd.DataFrame({"user": ["eve", "eve"], "item": [10, 20], "stars": [0, 5]})
    with pytest.warns(ValuesIgnoredWarning, match="histories: the column 'stars' holds ratings, 1 of them zero"):
        assert lists(model, histories=frame) == lists(model, histories={"eve": [10, 20]})
    kept = Interactions.from_frame(frame, min_rating=4)
    assert lists(model, histories=kept) == lists(model, histories={"eve": [20]})


def test_interactions_are_lists_by_user(model):
    data = Interactions.from_pairs(["cat", "ann", "ann"], [10, 30, 40])
    assert lists(model, deny=data) == lists(model, deny={"ann": [30, 40], "cat": [10]})
    assert list(lists(model, users=data)) == ["cat", "ann"]
    assert lists(model, histories=data) == lists(model, histories={"cat": [10], "ann": [30, 40]})


COLLECTIONS = {
    "a column": lambda ids: pd.Series(ids, name="item"),
    "an index": pd.Index,
    "a column of polars": lambda ids: pl.Series("item", ids),
    "an array of pyarrow": pa.array,
    "chunks of pyarrow": lambda ids: pa.chunked_array([ids[:1], ids[1:]]),
    "a tensor": torch.tensor,
    "small integers": lambda ids: np.array(ids, dtype=np.uint8),
    "a set": set,
    "a tuple": tuple,
    "keys": lambda ids: dict.fromkeys(ids).keys(),
    "values": lambda ids: dict(enumerate(ids)).values(),
    "a generator": lambda ids: (one for one in ids),
    "a part of a range": lambda ids: range(ids[0], ids[-1] + 1, 10),
    "categories": pd.Categorical,
}


@pytest.mark.parametrize("name", COLLECTIONS)
def test_every_collection_of_ids(model, name):
    assert lists(model, deny=COLLECTIONS[name]([20, 30])) == lists(model, deny=[20, 30])
    assert lists(model, allow={"ann": COLLECTIONS[name]([30, 40])}) == lists(model, allow={"ann": [30, 40]})
    assert lists(model, histories={"eve": COLLECTIONS[name]([20, 30])}) == lists(model, histories={"eve": [20, 30]})


@pytest.mark.parametrize("kind", FRAMES)
def test_an_empty_frame_lists_nobody_and_denies_nothing(model, kind):
    nothing = FRAMES[kind]({"user": ["ann"], "item": [10]})[:0]
    assert lists(model, deny=nothing) == lists(model)
    assert lists(model, histories=nothing) == {}
    assert lists(model, users=nothing) == {}


NO_LISTS = {
    "a dict of titles": ("deny", {"ann": {10: "lamp"}}, r"deny\['ann'\] is of type dict; expected a list of item ids: a dict holds more"),
    "a dict of users": ("users", {"ann": 1}, "users is of type dict; expected a list of user ids: a dict holds more"),
    "a table without items": ("deny", pd.DataFrame({"sku": [10]}), r"deny is a frame that has no column that is known to hold the item; it has \['sku'\]: rename the one that does to 'item'"),
    "a table indexed by items": ("deny", pd.DataFrame({"title": ["lamp"]}, index=pd.Index([10], name="item_id")), r"and an index of that name: pass \.reset_index\(\)"),
    "a table of users alone": ("allow", pl.DataFrame({"user": ["ann"]}), r"allow is a frame that has no column that is known to hold the item"),
    "a table of items alone": ("histories", pd.DataFrame({"item": [10]}), r"histories is a frame that has no column that is known to hold the user"),
    "counts of items": ("deny", PAIRS["item"].value_counts(), "deny is of type Series; expected a list of item ids: its index holds 'item' too"),
    "items by user": ("deny", PAIRS.set_index("user")["item"], r"its index holds 'user' too, pass \.reset_index\(\) for both"),
    "lists by user": ("histories", PAIRS.groupby("user")["item"].agg(list), "histories is of type Series; expected a dict .* its index holds 'user' too"),
    "a mask": ("deny", np.array([True, False]), r"deny holds True and False; expected a list of item ids: a mask picks them, as in ids\[mask\]"),
    "a mask in a list": ("users", [True], "users holds True and False; expected a list of user ids"),
    "pairs": ("deny", [("ann", 10)], r"deny holds \('ann', 10\) of type tuple; expected a list of item ids, integers or strings"),
    "rows of an array": ("allow", np.array([[10, 20]]), r"allow holds \[10, 20\] of type list"),
    "records": ("users", np.array([("ann", 10)], dtype=[("user", "U3"), ("item", int)]), "users is of type ndarray; expected a list of user ids: wrap it in pandas.DataFrame"),
    "groups of a table": ("users", PAIRS.groupby("user"), r"^users holds \('ann', user item .*\) of type tuple; expected a list of user ids"),
    "missing ids": ("users", ["ann", None], "users holds None of type NoneType; expected a list of user ids"),
    "a lazy frame": ("deny", pl.LazyFrame({"item": [10]}), r"deny is of type LazyFrame; expected a list of item ids: call .collect\(\) first"),
    "a lazy frame of histories": ("histories", pl.LazyFrame({"user": ["ann"], "item": [10]}), r"got LazyFrame: call .collect\(\) first"),
    "a matrix of users": ("users", csr_array([[1]]), "users is a sparse matrix; expected a list of user ids"),
    "a matrix of histories": ("histories", csr_array([[1]]), "histories is of type csr_array; expected a dict from user id"),
}  # fmt: skip


@pytest.mark.parametrize("unknown", ["error", "skip", "popular"])
@pytest.mark.parametrize("name", NO_LISTS)
def test_what_holds_more_than_ids_is_refused_in_one_sentence(model, name, unknown):
    argument, value, text = NO_LISTS[name]
    with pytest.raises((TypeError, InputError), match=text):
        model.recommend_frame(**{argument: value}, unknown=unknown)


def test_a_frame_of_unknown_ids_is_as_wrong_as_a_list_of_them(model):
    with pytest.raises(UnknownIdError, match=r"^deny holds item ids unknown to the model: 99"):
        model.recommend_frame(deny=pd.DataFrame({"item": [99]}))
    with pytest.raises(UnknownIdError, match=r"^deny holds user ids unknown to the model: 'eve'"):
        model.recommend_frame(deny=pd.DataFrame({"user": ["eve"], "item": [10]}))
    with pytest.raises(UnknownIdError, match=r"^users holds user ids unknown to the model: 'eve'"):
        model.recommend_frame(users=pl.DataFrame({"user_id": ["ann", "eve"]}))


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize(
    "names", [("user_id", "item_id"), ("userId", "movieId"), ("reviewerID", "asin"), ("UID", "IID")]
)
def test_a_fit_knows_the_names_that_files_are_read_by(model, kind, names):
    renamed = dict(zip(names, (PAIRS["user"].tolist(), PAIRS["item"].tolist()), strict=True))
    frame = FRAMES[kind](renamed)
    other = BUIR(**model.get_params()).fit(frame, show_progress=False)
    assert lists(other) == lists(model)
    new = FRAMES[kind]({names[0]: ["eve"], names[1]: [50]})
    other.partial_fit(new, epochs=0, show_progress=False)
    assert other.user_ids_.tolist() == ["ann", "bob", "cat", "dan", "eve"]
    assert other.item_ids_.tolist() == [10, 20, 30, 40, 50]


def test_a_column_of_the_plain_name_comes_first():
    frame = pd.DataFrame({"user_id": [7, 8], "User": [1, 2], "user": ["ann", "bob"], "item": [10, 20]})
    with pytest.warns(InputWarning, match="'user' is read as the user, and 'user_id' and 'User' may hold it too"):
        assert Interactions.from_frame(frame).user_ids.tolist() == ["ann", "bob"]
    assert Interactions.from_frame(frame, user="user_id").user_ids.tolist() == [7, 8]
    with pytest.raises(InputError, match=re.escape("the frame has no column 'uzer'; it has")):
        Interactions.from_frame(frame, user="uzer")


@pytest.mark.parametrize("name", ["rating", "stars", "Overall", "ratings"])
def test_ratings_of_every_name_are_told(name):
    frame = PAIRS.assign(**{name: [1, 1, 1, 0, 1, -1, 5, 1]})
    text = f": the column '{name}' holds ratings, 2 of them zero or negative: -1 .1 row., 0 .1 row., 1 .5 rows., 5"
    for read in (Popularity().fit, Interactions.from_frame):
        with pytest.warns(ValuesIgnoredWarning, match=text) as caught:
            read(frame)
        assert len(caught) == 1
    assert Interactions.from_frame(frame, min_rating=1).n_pairs == 6


@pytest.mark.parametrize("name", ["plays", "playcount", "PlayCount"])
def test_a_column_of_plays_is_a_rating_with_a_threshold_or_a_weight(name):
    plays = [1, 8, 2, 1, 4, 1, 1, 16]
    frame = PAIRS.assign(**{name: plays})
    text = f"the column '{name}' holds ratings: 1 .4 rows.*keeps . of 8.*to weigh pairs by them pass weights='values'"
    for read in (Popularity().fit, Interactions.from_frame):
        with pytest.warns(ValuesIgnoredWarning, match=text) as caught:
            read(frame)
        assert len(caught) == 1
    weighed = Popularity().fit(frame, weights="values")
    np.testing.assert_allclose(weighed.seen_.data, np.array(plays) / 4.25, rtol=1e-6)
    assert Interactions.from_frame(frame, min_rating=4).to_frame()["weight"].tolist() == [8, 4, 16]
    assert Interactions.from_frame(frame, weight=name).weights.tolist() == plays
    assert Interactions.from_frame(frame, weight=name, rating=name, min_rating=4).weights.tolist() == [8, 4, 16]


@pytest.mark.parametrize("name", ["weight", "Weight", "count", "play_count"])
def test_a_column_of_weights_is_no_rating(name):
    frame = PAIRS.assign(**{name: [1, 8, 2, 1, 4, 1, 1, 16]})
    assert Interactions.from_frame(frame).weights.tolist() == [1, 8, 2, 1, 4, 1, 1, 16]
    text = f"^user_items has a column '{name}' with 4 values other than 1, which is not read; to weigh pairs by them"
    with pytest.warns(ValuesIgnoredWarning, match=text) as caught:
        Popularity().fit(frame)
    assert len(caught) == 1
    assert Interactions.from_frame(frame, rating=name, min_rating=4).n_pairs == 3


def test_weights_of_held_out_pairs_and_of_histories_are_not_missed():
    frame = PAIRS.assign(plays=[1, 8, 2, 1, 4, 1, 1, 16])
    valid = pd.DataFrame({"user": ["ann"], "item": [30], "plays": [3]})
    model = Popularity().fit(frame, valid, weights="values")
    assert model.weight_unit_ == 4.25
    assert model.recommend_frame(histories=valid.assign(user="eve"), k=4)["user"].tolist() == ["eve"] * 3


# Held-out pairs that fit is given.


@pytest.mark.parametrize(
    "kind", [pd.DataFrame, pl.DataFrame, lambda columns: Interactions.from_frame(pd.DataFrame(columns))]
)
def test_held_out_pairs_of_strangers_are_counted_and_left_out(kind):
    known = {"user": ["ann", "cat"], "item": [30, 10]}
    valid = kind({"user": [*known["user"], "eve", "bob"], "item": [*known["item"], 10, 99]})
    with pytest.warns(
        PairsDroppedWarning, match=r"^valid holds 4 pairs, 1 of unknown users, 1 of unknown items, .* left out$"
    ):
        _, matrix = fit_inputs(PAIRS, valid)
    np.testing.assert_array_equal(matrix.toarray(), fit_inputs(PAIRS, pd.DataFrame(known))[1].toarray())
    assert matrix.nnz == 2


@pytest.mark.parametrize("kind", [pd.DataFrame, lambda columns: Interactions.from_frame(pd.DataFrame(columns))])
def test_held_out_pairs_that_training_has_are_counted_and_left_out(kind):
    valid = kind({"user": ["ann", "cat"], "item": [30, 20]})
    with pytest.warns(ValidSeenWarning, match="valid holds 2 pairs, 1 of them also in user_items, .* are left out"):
        _, matrix = fit_inputs(PAIRS, valid)
    assert matrix.toarray().tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


# Rows and ids.

NUMBERS = pd.DataFrame({"user": [3, 3, 1, 1, 2, 2, 7], "item": [5, 0, 5, 1, 0, 1, 9]})
"""Ids that are numbers of other rows."""


def of_numbers():
    model = Popularity().fit(NUMBERS, show_progress=False)
    model.user_factors, model.item_factors = np.eye(4, 3, dtype=np.float32), np.eye(4, 3, dtype=np.float32)
    return model


@pytest.mark.parametrize(
    ("verb", "asked", "text"),
    [
        ("recommend", 1, None),  # user 1 is in row 1: both say the same
        ("recommend", 3, "userid 3 is row 3, the user whose id is 7, and lists hold rows; recommend_frame goes by ids"),
        ("recommend", [0, 2], None),
        ("recommend", np.arange(4), None),
        ("similar_users", 2, None),
        ("similar_users", [0, 3], "similar_users goes by rows, .* userid 3 is row 3, the user whose id is 7"),
        ("similar_items", 0, "similar_items goes by rows, .* itemid 0 is row 0, the item whose id is 5"),
        ("similar_items", 2, None),
    ],
)
def test_a_number_that_is_a_row_and_another_ones_id_is_told_once(verb, asked, text):
    model = of_numbers()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        getattr(model, verb)(asked)
        getattr(model, verb)(asked)
    assert len(caught) == (text is not None)
    if text is not None:
        assert issubclass(caught[0].category, RowsNotIdsWarning)
        assert re.search(text, str(caught[0].message))


def test_ids_beyond_the_rows_are_told():
    model = of_numbers()
    with pytest.raises(
        OutOfRangeError,
        match=r"^userid holds 7, an id, where recommend expects rows, 0 to 3; recommend_frame goes by ids$",
    ):
        model.recommend([0, 7])
    with pytest.raises(OutOfRangeError, match=r"^itemid holds 9, an id, where similar_items expects rows"):
        model.similar_items(9)
    with pytest.raises(OutOfRangeError, match=r"^userid holds 8, but the model's user rows are 0 to 3"):
        model.recommend(8)


def test_rows_of_a_matrix_are_their_own_ids():
    board = csr_array(np.eye(6, dtype=np.float32) + np.eye(6, k=1, dtype=np.float32))
    model = Popularity().fit(board, show_progress=False)
    assert model.recommend(3, N=2)[0].tolist() == model.recommend_frame(3, k=2)["item"].tolist()


# Similar items and users by their ids.


def test_similar_by_ids_are_the_lists_by_rows_without_the_thing_itself(model):
    for verb, ids in (("similar_items", model.item_ids_), ("similar_users", model.user_ids_)):
        noun = verb.removeprefix("similar_")[:-1]
        frame = getattr(model, f"{verb}_frame")(k=2)
        assert frame.columns.tolist() == [noun, f"similar_{noun}", "score", "rank"]
        rows, scores = getattr(model, verb)(np.arange(4), N=3)
        assert frame[noun].tolist() == np.repeat(ids, 2).tolist()
        assert frame[f"similar_{noun}"].tolist() == ids[rows[:, 1:].ravel()].tolist()
        assert frame["rank"].tolist() == [1, 2] * 4
        np.testing.assert_array_equal(frame["score"], scores[:, 1:].ravel())
        assert type(frame[f"similar_{noun}"].tolist()[0]) is type(ids.tolist()[0])


def test_similar_by_ids_with_lists(model):
    everything = model.similar_items_frame(20)["similar_item"].tolist()
    assert sorted(everything) == [10, 30, 40]
    assert model.similar_items_frame(20, deny=[20, 30])["similar_item"].tolist() == [i for i in everything if i != 30]
    assert model.similar_items_frame(20, allow=pd.DataFrame({"item_id": [40, 20]}))["similar_item"].tolist() == [40]
    assert model.similar_items_frame(pl.DataFrame({"item": [20, 20, 30]}), k=1)["item"].tolist() == [20, 30]
    assert model.similar_users_frame("bob", k=1)["rank"].tolist() == [1]
    assert model.similar_users_frame(["bob", "eve"], unknown="skip")["user"].unique().tolist() == ["bob"]
    with pytest.raises(UnknownIdError, match=r"^users holds user ids unknown to the model: 'eve'; .*: leave them out"):
        model.similar_users_frame(["bob", "eve"])
    with pytest.raises(UnknownIdError, match=r"^deny holds item ids unknown to the model: 99"):
        model.similar_items_frame(20, deny=[99])
    with pytest.raises(InputError, match="unknown is 'popular'; expected one of 'error', 'skip'"):
        model.similar_items_frame(20, unknown="popular")


@pytest.mark.parametrize("n", [6, 64, 256])
@pytest.mark.parametrize("encoder", ["walk", "id"])
def test_an_item_that_is_recalculated_from_its_own_users_is_first(n, encoder):
    board = csr_array(((np.arange(n)[:, None] + np.arange(n)) % 2 == 0).astype(np.float32))
    settings = {"embedding_dim": 4, "epochs": 1, "terms": {}, "uniformity": 0.0, "inner_validation": False}
    model = BUIR(encoder=encoder, **settings, device="cpu").fit(board, show_progress=False)
    asked = np.arange(0, n, 3)
    by_users = csr_array(board.T.tocsr()[asked])
    for given in (by_users, None):
        ids, scores = model.similar_items(asked, N=5, recalculate_item=True, item_users=given)
        assert ids[:, 0].tolist() == asked.tolist()
        assert (scores[:, 0] == 1).all()
        assert all(len(set(row)) == len(row) for row in ids.tolist())
    alone, _ = model.similar_items(int(asked[1]), N=5, recalculate_item=True, item_users=by_users[[1]])
    assert alone[0] == asked[1]
    # of other users it is another item, which may be called by any number
    others = csr_array(board.T.tocsr()[(asked + 1) % n])
    ids, _ = model.similar_items(asked, N=n, recalculate_item=True, item_users=others)
    assert (ids[:, 0] % 2 != asked % 2).all()
    ids, _ = model.similar_items([n + 5], N=1, recalculate_item=True, item_users=by_users[[0]])
    assert ids.shape == (1, 1)
    assert model.similar_items(0, recalculate_item=True, item_users=by_users[[0]], filter_items=[0])[0][0] != 0


def test_an_item_that_is_recalculated_from_its_own_weights_is_first():
    board = np.where((np.arange(6)[:, None] + np.arange(6)) % 2 == 0, 1.0 + np.arange(6)[:, None], 0)
    settings = {"embedding_dim": 4, "epochs": 1, "terms": {}, "uniformity": 0.0, "inner_validation": False}
    model = BUIR(encoder="id", **settings, device="cpu").fit(csr_array(board), weights="values", show_progress=False)
    own = csr_array(board.T)
    for given in (own, csr_array(own > 0)):  # what has no weights has these very users too
        assert model.similar_items(np.arange(6), recalculate_item=True, item_users=given)[0][:, 0].tolist() == [
            *range(6)
        ]
    known = model._is_known_by(
        np.arange(6), csr_array(board.T * np.where(np.arange(6) < 2, 2, 1)[:, None] / model.weight_unit_)
    )
    assert known.tolist() == [False, False, True, True, True, True]
