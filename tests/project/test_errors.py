"""Wrong calls of the library, and what each is told: what came, what was expected, what to do."""

import ast
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import polars
import pytest
from scipy.sparse import coo_array, csr_array
from threadpoolctl import threadpool_limits

import buir.data.inputs
from baselines.popularity import Popularity
from buir import errors
from buir.cli.terminal import option
from buir.data.interactions import Interactions
from buir.errors import NotFittedError, UnknownIdError
from buir.recommend import Recommender, recommend_frame
from tests.support.factors import Fixed, Svd

ROOT = Path(__file__).parents[2]
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
    "a list of pairs to fit": (lambda: Svd().fit([(0, 1)]), TypeError, "user_items", "list"),
    "a dense array to fit": (lambda: Svd().fit(SEEN.toarray()), TypeError, "user_items", "csr_array(user_items)"),
    "a lazy frame to fit": (
        lambda: Svd().fit(polars.LazyFrame({"user": [1], "item": [2]})),
        TypeError,
        "user_items",
        ".collect()",
    ),
    "a lazy frame as valid": (
        lambda: Svd().fit(SEEN, polars.LazyFrame({"user": [1], "item": [2]})),
        TypeError,
        "valid",
        ".collect()",
    ),
    "a lazy frame of histories": (
        lambda: shop().recommend_frame(histories=polars.LazyFrame({"user": ["eve"], "item": [10]})),
        TypeError,
        None,
        ".collect()",
    ),
    "a graph to fit": (lambda: Svd().fit(HeteroData()), TypeError, "user_items", "from_hetero_data"),
    "one row to fit": (lambda: Svd().fit(SEEN[0]), errors.ShapeError, "user_items", "reshape"),
    "complex values": (lambda: Svd().fit(SEEN.astype(complex)), TypeError, "user_items", "complex128"),
    "a frame without the columns": (
        lambda: Svd().fit(pd.DataFrame({"who": [1], "what": [2]})),
        errors.InputError,
        "user",
        "['who', 'what']",
    ),
    "NaN": (lambda: Svd().fit(csr_array(np.array([[1, np.nan], [1, 1]]))), errors.InputError, "user_items", "row 0"),
    "a dislike": (lambda: Svd().fit(csr_array(np.array([[1, 1], [1, -1]]))), errors.InputError, "user_items", "row 1"),
    "an empty matrix": (lambda: Svd().fit(csr_array((3, 4))), errors.InputError, "user_items", "(3, 4)"),
    "a matrix without rows": (lambda: Svd().fit(csr_array((0, 4))), errors.InputError, "user_items", "(0, 4)"),
    "show_progress in the place of valid": (lambda: Svd().fit(SEEN, False), TypeError, "valid", "show_progress=False"),
    "valid of another shape": (lambda: Svd().fit(SEEN, SEEN[:2]), errors.ShapeError, "valid", "(2, 4)"),
    "valid transposed": (lambda: Svd().fit(SEEN, SEEN.T), errors.ShapeError, "valid", ".T"),
    "valid with other ids": (
        lambda: Svd().fit(
            SHOP, Interactions.from_matrix(SEEN, user_ids=["eve", "fay", "dan"], item_ids=[10, 20, 30, 40])
        ),
        errors.ShapeError,
        "valid",
        "5 of unknown users",
    ),
    "valid as a frame of other users": (
        lambda: Svd().fit(SHOP, pd.DataFrame({"user": ["dan", "eve"], "item": [20, 20]})),
        errors.ShapeError,
        "valid",
        "'dan'",
    ),
    "valid as a frame of labels for a matrix": (
        lambda: Svd().fit(SEEN, pd.DataFrame({"user": ["ann"], "item": [1]})),
        errors.ShapeError,
        "valid",
        "'ann'",
    ),
    "an empty frame as valid": (
        lambda: Svd().fit(SHOP, pd.DataFrame({"user": [], "item": []})),
        errors.InputError,
        None,
        "no pair",
    ),
    "training data as valid, as frames": (
        lambda: Svd().fit(SHOP.to_frame(), SHOP.to_frame()[::-1]),
        errors.InputError,
        "valid",
        "5 of them",
    ),
    "an empty valid": (lambda: Svd().fit(SEEN, csr_array((3, 4))), errors.InputError, "valid", "valid=None"),
    "training data as valid": (lambda: Svd().fit(SEEN, SEEN), errors.InputError, "valid", "5 of them"),
    "a list as valid": (lambda: Svd().fit(SEEN, [1, 2]), TypeError, "valid", "list"),
    # before fit
    "recommend before fit": (lambda: Svd().recommend(0), NotFittedError, None, "fit(user_items)"),
    "factors before fit": (lambda: Svd().user_factors, NotFittedError, None, "fit(user_items)"),
    "a field of the fit before fit": (lambda: Popularity().counts, NotFittedError, None, "Popularity"),
    "a misspelt attribute": (lambda: Svd().user_factor, AttributeError, None, "'user_factor'"),
    # recommend: who
    "a negative user": (lambda: model().recommend(-1), errors.OutOfRangeError, "userid", "0 to 2"),
    "a user too large": (lambda: model().recommend([0, 3]), IndexError, "userid", "holds 3"),
    "a negative number for a stranger": (
        lambda: model().recommend(-4, SEEN[[0]], recalculate_user=True),
        IndexError,
        "userid",
        "0 or more",
    ),
    "a user's own id": (lambda: model().recommend("ann"), TypeError, "userid", "'ann'"),
    "a fraction of a user": (lambda: model().recommend([0.5]), TypeError, "userid", "0.5"),
    "no user": (lambda: model().recommend(None), TypeError, "userid", "None"),
    "a mask of users": (lambda: model().recommend([True, False, True]), TypeError, "userid", "np.flatnonzero"),
    "a table of users": (lambda: model().recommend([[0, 1]]), ValueError, "userid", "(1, 2)"),
    # recommend: how many
    "no items asked": (lambda: model().recommend(0, N=0), ValueError, "N", "at least 1"),
    "half an item asked": (lambda: model().recommend(0, N=2.5), TypeError, "N", "2.5"),
    "a bool asked": (lambda: model().recommend(0, N=True), TypeError, "N", "True"),
    # recommend: history
    "the whole matrix": (
        lambda: model().recommend([0, 1], SEEN),
        errors.ShapeError,
        "user_items",
        "user_items[userid]",
    ),
    "a history of other items": (
        lambda: model().recommend([0], csr_array((1, 9))),
        errors.ShapeError,
        "user_items",
        "(1, 9)",
    ),
    "a transposed history": (lambda: model().recommend([0, 1], SEEN[:2].T), errors.ShapeError, "user_items", ".T"),
    "a dense history": (lambda: model().recommend(0, [[1, 0, 0, 0]]), TypeError, "user_items", "recommend_frame"),
    "a frame as history": (
        lambda: model().recommend(0, pd.DataFrame({"user": [0], "item": [1]})),
        TypeError,
        "user_items",
        "DataFrame",
    ),
    "a history with NaN": (
        lambda: model().recommend(0, csr_array(np.array([[np.nan, 1, 1, 1]]))),
        errors.InputError,
        "user_items",
        "row 0",
    ),
    "no training rows to filter": (lambda: forgetful().recommend(0), ValueError, None, "filter_already_liked_items"),
    "no training rows to recalculate": (
        lambda: forgetful().recommend(0, filter_already_liked_items=False, recalculate_user=True),
        ValueError,
        None,
        "recalculate_user",
    ),
    "no training columns to recalculate": (
        lambda: forgetful().similar_items(0, recalculate_item=True),
        ValueError,
        None,
        "recalculate_item",
    ),
    "a model that cannot fold in": (
        lambda: Svd().fit(SEEN).similar_items(0, recalculate_item=True),
        ValueError,
        None,
        "recalculate items",
    ),
    # recommend: lists
    "an unknown denied item": (lambda: model().recommend(0, filter_items=[1, 4]), IndexError, "filter_items", "0 to 3"),
    "a negative allowed item": (lambda: model().recommend(0, items=[-1]), IndexError, "items", "-1"),
    "a mask of items": (
        lambda: model().recommend(0, items=np.ones(4, dtype=bool)),
        TypeError,
        "items",
        "np.flatnonzero",
    ),
    "names of items": (lambda: model().recommend(0, filter_items=["tea"]), TypeError, "filter_items", "'tea'"),
    "allow rows for other users": (
        lambda: model().recommend([0, 1], items=SEEN[[0]]),
        errors.ShapeError,
        "items",
        "(1, 4)",
    ),
    # similar
    "an unknown item": (lambda: model().similar_items(9), IndexError, "itemid", "recalculate_item=True"),
    "an unknown user": (lambda: model().similar_users([0, -2]), IndexError, "userid", "-2"),
    "an unknown user to leave out": (
        lambda: model().similar_users(0, filter_users=[3]),
        IndexError,
        "filter_users",
        "0 to 2",
    ),
    "a model without vectors": (lambda: Popularity().fit(SEEN).similar_items(0), ValueError, None, "item_factors"),
    "users of an item, dense": (
        lambda: model().similar_items(0, recalculate_item=True, item_users=[[1, 0, 0]]),
        TypeError,
        "item_users",
        "list",
    ),
    "users of an item, of another shape": (
        lambda: model().similar_items([0, 1], recalculate_item=True, item_users=SEEN.T),
        errors.ShapeError,
        "item_users",
        "item_users[itemid]",
    ),
    # recommend_frame
    "an id nobody knows": (lambda: shop().recommend_frame(["ann", "eve"]), UnknownIdError, "users", "'eve'"),
    "ids of another type": (
        lambda: shop().recommend_frame([1, 2, 3, 4, 5]),
        LookupError,
        "users",
        "1, 2, 3 and 2 more",
    ),
    "a user twice": (lambda: shop().recommend_frame(["ann", "bob", "ann"]), ValueError, "users", "'ann'"),
    "an unknown policy": (lambda: shop().recommend_frame(unknown="ignore"), errors.InputError, "unknown", "'skip'"),
    "a list length in letters": (lambda: shop().recommend_frame(k="3"), TypeError, "k", "str"),
    "one item to allow, bare": (lambda: shop().recommend_frame(allow=10), TypeError, "allow", "[10]"),
    "one item to deny a user, bare": (
        lambda: shop().recommend_frame(deny={"ann": "tea"}),
        TypeError,
        "deny",
        "['tea']",
    ),
    "a matrix to deny": (lambda: shop().recommend_frame(deny=SEEN), TypeError, "deny", "sparse matrix"),
    "an unknown item to deny": (lambda: shop().recommend_frame(deny=[10, "20"]), UnknownIdError, "deny", "'20'"),
    "ids as long as a file": (
        lambda: shop().recommend_frame(["x" * 5000]),
        UnknownIdError,
        "users",
        f"'{'x' * 27}...{'x' * 28}'",
    ),
    "an unknown item to allow a user": (
        lambda: shop().recommend_frame(allow={"ann": [10, 11]}),
        UnknownIdError,
        "allow",
        "11",
    ),
    "a denied item under a misspelt user": (
        lambda: shop().recommend_frame("ann", deny={"Ann": [10]}),
        UnknownIdError,
        "deny",
        "'Ann'",
    ),
    "users of another type to allow items": (
        lambda: Fixed(*FACTORS, SEEN).recommend_frame(allow={0: [1], "1": [2], "2": [2]}),
        UnknownIdError,
        "allow",
        "'1', '2'",
    ),
    "an unknown item in a history": (
        lambda: shop().recommend_frame(histories={"eve": [10, 99]}),
        UnknownIdError,
        "histories",
        "99",
    ),
    "a stranger with an empty history": (
        lambda: shop().recommend_frame(histories={"ann": [10], "eve": []}),
        UnknownIdError,
        "histories",
        "'eve'",
    ),
    "a bare history": (lambda: shop().recommend_frame(histories=[10, 20]), TypeError, "histories", "list"),
    "a history of one item, bare": (
        lambda: shop().recommend_frame(histories={"eve": 10}),
        TypeError,
        "histories",
        "[10]",
    ),
    "histories without a frame's columns": (
        lambda: shop().recommend_frame(histories=pd.DataFrame({"user": [1]})),
        errors.InputError,
        "histories",
        "['user']",
    ),
    "histories for a model that cannot": (
        lambda: _cannot_fold().recommend_frame(histories={"eve": [10]}),
        ValueError,
        None,
        "NoFold",
    ),
    "seen items without training rows": (
        lambda: forgetful().recommend_frame(),
        errors.InputError,
        "exclude_seen",
        "exclude_seen=False",
    ),
    "popular items without training rows": (
        lambda: forgetful().recommend_frame(["eve"], unknown="popular", exclude_seen=False),
        errors.InputError,
        "unknown",
        "unknown='popular'",
    ),
    "trained items without training rows": (
        lambda: forgetful().recommend_frame(exclude_seen=False, trained_only=True),
        errors.InputError,
        "trained_only",
        "training rows",
    ),
    # the free recommend_frame
    "something that is no model": (lambda: recommend_frame(Named(), SHOP), TypeError, "model", "Named"),
    "a model fitted on the transpose": (
        lambda: recommend_frame(Fixed(FACTORS[1], FACTORS[0], SEEN.T), SHOP),
        errors.ShapeError,
        "interactions",
        "transposed",
    ),
    "a model fitted on something else": (
        lambda: recommend_frame(Fixed(FACTORS[0], FACTORS[1][:2], SEEN[:, :2]), SHOP),
        errors.ShapeError,
        "interactions",
        "(3, 4)",
    ),
    "a foreign model before its fit": (
        lambda: recommend_frame(_unfitted_als(), SHOP),
        ValueError,
        None,
        "AlternatingLeastSquares",
    ),
    "neighbours before their fit": (
        lambda: recommend_frame(_unfitted_neighbours(), SHOP),
        ValueError,
        None,
        "CosineRecommender",
    ),
    "interactions that are none": (lambda: recommend_frame(model(), [1]), TypeError, "interactions", "list"),
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


@pytest.mark.parametrize(("call", "kind", "argument", "word"), WRONG_CALLS.values(), ids=WRONG_CALLS)
def test_a_wrong_call_is_told(call, kind, argument, word):
    """By its type, the argument concerned and a word of what came or what to do."""
    with pytest.raises(kind) as caught:
        call()
    error = caught.value
    if isinstance(error, errors.Finding):
        assert error.argument == argument
    elif argument is not None:  # Python's own classes have the message alone
        assert str(error).startswith(argument)
    assert word in str(error)


def test_every_input_error_is_a_value_error_with_rows():
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    found = [kind for kind in kinds if issubclass(kind, errors.InputError)]
    assert {kind.__name__ for kind in found} == {
        "ConfigError",
        "InputError",
        "NotFittedError",
        "OutOfRangeError",
        "ReadError",
        "ShapeError",
        "StorageError",
        "UnknownIdError",
    }
    for kind in found:
        assert issubclass(kind, ValueError)
        assert kind("text").rows.tolist() == []
    assert issubclass(errors.OutOfRangeError, IndexError)
    assert issubclass(errors.UnknownIdError, LookupError)
    assert issubclass(errors.NotFittedError, AttributeError)


def test_arguments_in_a_message_are_written_as_who_reads_it_calls_them():
    ways = errors.Argument("columns", "rating"), " or ", errors.Argument("unknown", "skip")
    error = errors.InputError(errors.Argument("min_rating"), " is {3}; pass ", *ways, rows=[2])
    assert str(error) == "min_rating is {3}; pass columns={'rating': <name or position>} or unknown='skip'"
    assert error.written(option) == "--min-rating is {3}; pass --column rating=COLUMN or --unknown skip"
    assert error.argument == "min_rating"
    assert errors.InputError("no name", argument="valid").argument == "valid"
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.argument, copy.rows.tolist()) == (str(error), "min_rating", [2])
    assert copy.written(option) == error.written(option)


def test_near_names():
    assert errors.near("Grpah", ["id", "Graph"]) == "; did you mean 'Graph'?"
    assert errors.near("x", ["id", "graph"]) == ""


READ_AND_CUT = {
    "sub",
    "search",
    "match",
    "fullmatch",
    "findall",
    "replace",
    "removeprefix",
    "removesuffix",
    "partition",
    "rpartition",
}


def test_nobody_reads_the_text_of_an_error():
    """What a message is about stands in the error's fields; only ``shortage`` reads those of NumPy and torch, which have none."""
    told = {"error", "failure", "refusal", "caught"}

    def text_of_an_error(node):
        call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("str", "repr")
        return call and isinstance(node.args[0], ast.Name) and node.args[0].id in told

    wrong = []
    for file in sorted([*(ROOT / "buir").rglob("*.py"), *(ROOT / "baselines").rglob("*.py")]):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ExceptHandler) and node.name:
                assert node.name in told, f"{file}:{node.lineno}: call what is caught by a name that this test knows"
            reads = (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READ_AND_CUT
            )
            if reads and any(map(text_of_an_error, ast.walk(node))):
                wrong.append(f"{file.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    assert not wrong


def test_rows_travel_with_the_error():
    with pytest.raises(errors.InputError) as caught:
        buir.data.inputs.as_csr(coo_array((np.array([-1.0, 1, -1]), ([2, 1, 0], [0, 0, 0])), shape=(3, 1)))
    assert caught.value.rows.tolist() == [0, 2]


def test_some_training_pairs_in_valid_are_counted():
    with pytest.warns(errors.ValidSeenWarning, match="valid holds 3 pairs, 1 of them also in user_items") as caught:
        Svd().fit(SEEN, csr_array(np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]])))
    assert len(caught) == 1


def test_ratings_of_a_frame_are_not_ignored_silently():
    frame = pd.DataFrame({"user": [1, 1, 2], "item": [1, 2, 1], "rating": [1, -1, 0]})
    text = "the column 'rating' holds ratings, 2 of them zero or negative: .* every row is read as one positive"
    with pytest.warns(errors.ValuesIgnoredWarning, match=text) as caught:
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
