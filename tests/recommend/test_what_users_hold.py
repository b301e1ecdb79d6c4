"""Users, items and histories as people hold them: in frames, columns and dicts of every library, by every name."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy.sparse import csr_array

from baselines import Popularity
from buir import BUIR, Interactions
from buir.errors import InputError, UnknownIdError, ValuesIgnoredWarning

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
