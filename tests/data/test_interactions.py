"""Interactions: rows, labels, filters, conversions and digests."""

from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from buir import errors
from buir.data.files.description import describe
from buir.data.interactions import Interactions
from buir.errors import InputError, InputWarning

# torch_geometric still compiles with torch.jit when it is imported
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")


def pairs_of(data: Interactions) -> set:
    return set(zip(data.user_ids[data.users].tolist(), data.item_ids[data.items].tolist(), strict=True))


def accounted(data: Interactions) -> int:
    report = data.report
    return data.n_pairs + report.below_rating + report.below_minimum + report.merged + report.outside_core


def test_rows_by_hand(toy):
    assert toy.user_ids.tolist() == ["ann", "bob", "cat", "dan"]
    assert toy.item_ids.tolist() == [30, 10, 20, 50, 40]
    assert toy.item_ids.dtype == np.int64
    assert toy.matrix.toarray().tolist() == [[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [0, 0, 0, 1, 1], [1, 0, 0, 0, 0]]
    assert toy.matrix.dtype == np.float32
    assert toy.matrix.indices.dtype == toy.matrix.indptr.dtype == np.int32
    assert toy.matrix.has_canonical_format
    assert toy.users.tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 3]
    assert toy.items.tolist() == [0, 1, 2, 3, 0, 1, 3, 4, 0]
    assert toy.positions.tolist() == [0, 1, 3, 8, 2, 5, 4, 7, 6]
    assert toy.times.tolist() == [5, 1, 9, 7, 2, 3, 4, 8, 6]
    assert (toy.n_users, toy.n_items, toy.n_pairs, toy.density) == (4, 5, 9, 9 / 20)
    assert repr(toy) == "Interactions(4 users, 5 items, 9 pairs)"


def test_a_repeated_pair_keeps_its_first_row():
    data = Interactions.from_pairs([7, 7, 7, 8], [1, 2, 1, 1], times=[30, 20, 10, 40])
    assert data.positions.tolist() == [0, 1, 3]
    assert data.times.tolist() == [30, 20, 40]
    assert (data.report.rows_read, data.report.merged) == (4, 1)
    assert data.matrix.data.tolist() == [1, 1, 1]


def test_rating_threshold():
    data = Interactions.from_pairs([1, 1, 2, 2], [5, 6, 5, 7], ratings=[4, 3.9, 0, 5], min_rating=4)
    assert pairs_of(data) == {(1, 5), (2, 7)}
    assert data.report.below_rating == 2


def test_without_a_threshold_every_row_is_positive():
    with pytest.warns(
        errors.ValuesIgnoredWarning, match=r"1 of them zero or negative, 1 row without a number: 0 \(1 row\)"
    ):
        assert Interactions.from_pairs([1, 1], [5, 6], ratings=[0, np.nan]).n_pairs == 2


def test_minimum_counts_are_one_pass_on_rows():
    # user 1 has three rows (two pairs); item 9 has two rows, one of them by user 2, who leaves
    users, items = [1, 1, 1, 2, 3, 3, 3], [8, 8, 9, 9, 8, 7, 7]
    data = Interactions.from_pairs(users, items, min_user=3, min_item=2)
    assert pairs_of(data) == {(1, 8), (1, 9), (3, 8), (3, 7)}  # 9 stays with one row: counts are not taken again
    assert (data.report.below_minimum, data.report.merged) == (1, 2)


def test_minimum_counts_come_after_the_threshold():
    users, items, ratings = [1, 1, 2, 2], [5, 6, 5, 6], [1, 5, 5, 5]
    data = Interactions.from_pairs(users, items, ratings=ratings, min_rating=5, min_user=2)
    assert pairs_of(data) == {(2, 5), (2, 6)}
    assert (data.report.below_rating, data.report.below_minimum) == (1, 1)


def test_core_is_iterated_on_distinct_pairs():
    # a 2 x 2 block, and a tail 3-7-4-8 that peels off from its end
    users, items = [1, 1, 2, 2, 3, 3, 4, 4, 4], [5, 6, 5, 6, 6, 7, 7, 8, 8]
    data = Interactions.from_pairs(users, items, core=2)
    assert pairs_of(data) == {(1, 5), (1, 6), (2, 5), (2, 6)}
    assert (data.report.merged, data.report.outside_core) == (1, 4)


def test_rows_are_numbered_by_what_stays():
    data = Interactions.from_pairs([1, 2, 1, 1], [9, 8, 8, 7], ratings=[0, 1, 1, 1], min_rating=1)
    assert data.user_ids.tolist() == [2, 1]
    assert data.item_ids.tolist() == [8, 7]
    assert data.positions.tolist() == [1, 2, 3]


labels = st.integers(0, 6)
rows = st.lists(st.tuples(labels, labels, st.integers(0, 3)), min_size=1, max_size=40)


def slow_filter(table, min_rating, min_user, min_item, core):
    table = [row for row in table if row[2] >= min_rating]
    by_user = {u: sum(row[0] == u for row in table) for u, _, _ in table}
    by_item = {i: sum(row[1] == i for row in table) for _, i, _ in table}
    pairs = {(u, i) for u, i, _ in table if by_user[u] >= min_user and by_item[i] >= min_item}
    while True:
        rest = {
            (u, i) for u, i in pairs if sum(p[0] == u for p in pairs) >= core and sum(p[1] == i for p in pairs) >= core
        }
        if rest == pairs:
            return pairs
        pairs = rest


@settings(max_examples=50)
@given(rows, st.integers(0, 2), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_filters_equal_a_slow_oracle(table, min_rating, min_user, min_item, core):
    expected = slow_filter(table, min_rating, min_user, min_item, core)
    users, items, ratings = zip(*table, strict=True)
    filters = {"min_rating": min_rating, "min_user": min_user, "min_item": min_item, "core": core}
    if not expected:
        with pytest.raises(ValueError, match="no pair is left"):
            Interactions.from_pairs(users, items, ratings=ratings, **filters)
        return
    data = Interactions.from_pairs(users, items, ratings=ratings, times=range(len(table)), **filters)
    assert pairs_of(data) == expected
    assert accounted(data) == data.report.rows_read == len(table)
    assert np.array_equal(data.times, data.positions)
    first = {}
    for place, row in enumerate(table):
        if row[2] >= min_rating:
            first.setdefault(row[:2], place)
    found = zip(data.user_ids[data.users].tolist(), data.item_ids[data.items].tolist(), data.positions, strict=True)
    assert all(first[u, i] == position for u, i, position in found)
    # rows are in the order of first appearance
    order = np.argsort(data.positions)
    assert pd.unique(data.users[order]).tolist() == list(range(data.n_users))
    assert pd.unique(data.items[order]).tolist() == list(range(data.n_items))


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_frames(make, toy):
    columns = {
        "user": ["ann", "ann", "bob", "ann", "cat", "bob", "dan", "cat", "ann"],
        "item": [30, 10, 30, 20, 50, 10, 30, 40, 50],
        "time": [5, 1, 2, 9, 4, 3, 6, 8, 7],
    }
    data = Interactions.from_frame(make(columns))
    assert data.digest == toy.digest
    assert data.report.format == "frame"
    renamed = make({"who": columns["user"], "what": columns["item"], "when": columns["time"]})
    assert Interactions.from_frame(renamed, user="who", item="what", time="when").digest == toy.digest


def test_default_rating_column_is_used_for_the_threshold_only():
    frame = pd.DataFrame({"user": [1, 1], "item": [2, 3], "rating": [1.0, 5.0]})
    with pytest.warns(errors.ValuesIgnoredWarning, match="min_rating=5 keeps 1 of 2"):
        assert Interactions.from_frame(frame).n_pairs == 2
    assert Interactions.from_frame(frame, min_rating=2).n_pairs == 1


def test_frame_of_categories_and_datetimes():
    frame = pd.DataFrame(
        {
            "user": pd.Categorical(["b", "a"]),
            "item": pd.array([1, 2], dtype="Int64"),
            "time": pd.to_datetime(["1970-01-02", "1970-01-01"]),
        }
    )
    data = Interactions.from_frame(frame)
    assert data.user_ids.tolist() == ["b", "a"]
    assert data.item_ids.tolist() == [1, 2]
    assert data.times.tolist() == [86400.0, 0.0]
    zoned = frame.assign(time=frame["time"].dt.tz_localize("UTC"))
    assert Interactions.from_frame(zoned).digest == data.digest


def test_string_labels_of_a_frame_stay_strings():
    data = Interactions.from_frame(pd.DataFrame({"user": ["1", "007"], "item": ["1.0", "+1"]}))
    assert data.user_ids.tolist() == ["1", "007"]
    assert data.item_ids.tolist() == ["1.0", "+1"]


def test_to_frame_is_in_source_order(toy):
    frame = toy.to_frame()
    assert frame["user"].tolist() == ["ann", "ann", "bob", "ann", "cat", "bob", "dan", "cat", "ann"]
    assert frame["item"].tolist() == [30, 10, 30, 20, 50, 10, 30, 40, 50]
    assert frame["time"].tolist() == [5, 1, 2, 9, 4, 3, 6, 8, 7]
    assert Interactions.from_frame(frame).digest == toy.digest


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "bsr"])
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_every_sparse_format(form, kind):
    dense = np.array([[0, 2, 0], [0, 0, 0], [1, 0, 3.5]])
    data = Interactions.from_matrix(getattr(sp, f"{form}_{kind}")(dense))
    assert data.matrix.toarray().tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 1]]
    assert data.user_ids.tolist() == [0, 1, 2]
    assert data.positions.tolist() == [0, 1, 2]
    assert data.digest == Interactions.from_matrix(sp.csr_array(dense)).digest


def test_matrix_zeros_and_repeats_are_counted_and_the_input_is_left_alone():
    matrix = sp.coo_array(([1.0, 0.0, 1.0, 2.0], ([0, 1, 0, 1], [1, 0, 1, 1])), shape=(2, 2))
    data = Interactions.from_matrix(matrix, user_ids=["x", "y"])
    assert pairs_of(data) == {("x", 1), ("y", 1)}
    assert (data.report.zeros, data.report.merged, data.report.rows_read) == (1, 1, 3)
    assert matrix.nnz == 4
    assert matrix.data.tolist() == [1, 0, 1, 2]


def test_keep_shares_the_label_space(toy):
    part = toy.keep(toy.users == 2)
    assert part.matrix.shape == toy.matrix.shape
    assert pairs_of(part) == {("cat", 50), ("cat", 40)}
    assert part.positions.tolist() == [4, 7]
    assert part.times.tolist() == [4, 8]
    assert part.digest != toy.digest
    assert part.users.tolist() == [2, 2]  # not the cached rows of the whole


def test_keep_refuses_anything_but_a_mask(toy):
    with pytest.raises(ValueError, match=r"mask is int64 of shape \(2,\), expected bool of shape \(9,\)"):
        toy.keep(np.array([0, 1]))


def test_aligned_moves_pairs_into_another_space(toy):
    users = np.array(["zoe", "dan", "cat", "bob", "ann"], dtype=object)
    moved = toy.aligned(users, np.arange(60))
    assert moved.matrix.shape == (5, 60)
    assert pairs_of(moved) == pairs_of(toy)
    assert dict(zip(moved.positions, moved.times, strict=True)) == dict(zip(toy.positions, toy.times, strict=True))
    with pytest.raises(ValueError, match="the new space has no user 'ann'; give one that holds all users"):
        toy.aligned(users[:-1], np.arange(60))


def test_hetero_data_round_trip(toy):
    graph = toy.to_hetero_data()
    edges = graph["user", "interacts", "item"]
    assert edges.edge_index.tolist() == [[0, 0, 1, 0, 2, 1, 3, 2, 0], [0, 1, 0, 2, 3, 1, 0, 4, 3]]
    assert graph["user"].num_nodes == 4
    assert Interactions.from_hetero_data(graph).digest == toy.digest
    part = toy.keep(toy.times > 4)
    assert Interactions.from_hetero_data(part.to_hetero_data()).digest == part.digest


def test_a_foreign_graph():
    import torch
    from torch_geometric.data import HeteroData

    graph = HeteroData()
    graph["user"].num_nodes = 3
    graph["movie"].x = torch.zeros(4, 2)
    graph["user", "rates", "movie"].edge_index = torch.tensor([[2, 0, 2, 2], [3, 1, 0, 3]])
    graph["movie", "rated_by", "user"].edge_index = torch.tensor([[3], [2]])
    data = Interactions.from_hetero_data(graph)
    assert data.matrix.toarray().tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]]
    assert data.positions.tolist() == [1, 2, 0]
    assert data.report.merged == 1
    graph["user", "follows", "page"].edge_index = torch.tensor([[0], [0]])
    with pytest.raises(ValueError, match=r"cannot tell which edges.*pass edge_type"):
        Interactions.from_hetero_data(graph)
    with pytest.raises(ValueError, match="no edges"):
        Interactions.from_hetero_data(graph, edge_type=("user", "x", "movie"))
    with pytest.raises(ValueError, match="does not say how many 'page' nodes"):
        Interactions.from_hetero_data(graph, edge_type=("user", "follows", "page"))
    graph["page"].num_nodes = 0
    with pytest.raises(ValueError, match="an edge names page 0"):
        Interactions.from_hetero_data(graph, edge_type=("user", "follows", "page"))


def test_digest_sees_every_part(toy):
    variants = [
        replace(toy, user_ids=np.array(["ann", "bob", "cat", "eve"], dtype=object)),
        replace(toy, item_ids=toy.item_ids[::-1].copy()),
        replace(toy, positions=toy.positions + 1),
        replace(toy, times=toy.times + 1),
        replace(toy, times=toy.times.astype(float)),
        replace(toy, times=None),
        toy.keep(np.arange(9) != 3),
    ]
    digests = {data.digest for data in [toy, *variants]}
    assert len(digests) == 8
    assert all(len(digest) == 16 for digest in digests)


def test_digest_tells_labels_that_look_alike():
    def digest(*users):
        return Interactions.from_pairs(users, [1] * len(users)).digest

    assert len({digest("1", "2"), digest(1, 2), digest("12", "x"), digest("1", "2x")}) == 4


def test_digest_is_the_same_on_every_machine(toy):
    assert toy.digest == "5f60fd0f25cd2ab9"


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ([1.0, 2.0], "user ids are float64.*expected integers or strings"),
        ([1.0, np.nan], r"the user id in row 1 \(from 0\) is missing"),
        (["a", None], r"the user id in row 1 \(from 0\) is missing"),
        (["a", ""], r"the user id in row 1 \(from 0\) is missing"),
        ([1, "a"], "user ids are mixed-integer"),
        ([True, False], "user ids are bool"),
        (np.array([1, 2**63], dtype=np.uint64), "does not fit into 64 bits"),
        ([[1, 2]], r"shape \(1, 2\), expected one dimension"),
        ([1, 2, 3], "items has 2 rows, expected 3"),
    ],
)
def test_bad_labels(users, message):
    users = np.array(users, dtype=object) if isinstance(users, list) and "a" in users else users
    with pytest.raises(ValueError, match=message):
        Interactions.from_pairs(users, [1, 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_rating": 3}, "min_rating is 3, but there are no ratings"),
        ({"min_rating": 3, "ratings": [1, np.nan]}, r"the rating in row 1 \(from 0\) is nan"),
        ({"min_rating": 3, "ratings": [1, 2]}, "no pair is left of 2 rows .2 below the rating threshold"),
        ({"min_user": 2}, "no pair is left of 2 rows .0 below the rating threshold, 2 below the minimum"),
        ({"core": -1}, "core is -1, expected 0"),
        ({"times": [1.0, np.nan]}, r"the time in row 1 \(from 0\) is missing"),
        ({"times": ["yesterday", "today?"]}, "times are neither numbers nor datetimes"),
        ({"times": [1]}, "times has 1 row, expected 2"),
        ({"ratings": [1]}, "ratings has 1 row, expected 2"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Interactions.from_pairs([1, 2], [3, 4], **arguments)


def test_no_rows_at_all():
    with pytest.raises(ValueError, match="no pair is left of 0 rows"):
        Interactions.from_pairs([], [])


def test_bad_frames():
    with pytest.raises(
        ValueError,
        match=r"no column that is known to hold the user; it has \['who', 'item'\]: rename the one .*from_frame\(frame, user=\.\.\.\)$",
    ):
        Interactions.from_frame(pd.DataFrame({"who": [1], "item": [1]}))
    with pytest.raises(TypeError, match=r"got LazyFrame: call \.collect\(\) first"):
        Interactions.from_frame(pl.LazyFrame({"user": [1], "item": [1]}))
    with pytest.raises(errors.InputError, match=r"the item id in rows 1, 3 \(from 0\) is missing") as caught:
        Interactions.from_frame(pl.DataFrame({"user": [1, 2, 3, 4], "item": [1, None, 2, None]}))
    assert caught.value.rows.tolist() == [1, 3]
    rated = pd.DataFrame({"user": [1, 2, 3], "item": [1, 2, 3], "rating": [None, 5, "good"], "time": [1.0, np.nan, 3]})
    with pytest.raises(errors.InputError, match=r"the time in row 1 \(from 0\) is missing") as caught:
        Interactions.from_frame(rated)
    assert caught.value.rows.tolist() == [1]
    with pytest.raises(errors.InputError, match=r"the rating in row 0 \(from 0\) is None, expected a number") as caught:
        Interactions.from_frame(rated.drop(columns="time"), min_rating=3)
    assert caught.value.rows.tolist() == [0, 2]


def test_bad_matrices():
    with pytest.raises(TypeError, match="got ndarray; wrap it in csr_array"):
        Interactions.from_matrix(np.eye(2))
    with pytest.raises(errors.InputError, match=r"matrix holds negative values in row 1 .*positives only") as caught:
        Interactions.from_matrix(sp.csr_array([[0.0, 1.0], [-1.0, 0.0]]))
    assert caught.value.rows.tolist() == [1]
    for wrong in (np.nan, np.inf):
        with pytest.raises(errors.InputError, match=r"matrix holds NaN or infinite values in row 1 \(1 in all\)"):
            Interactions.from_matrix(sp.csr_array([[0.0, 1.0], [0.0, wrong]]))
    outside = sp.csr_array((np.ones(2), np.array([0, 5]), np.array([0, 1, 2])), shape=(2, 6))
    outside._shape = (2, 3)
    with pytest.raises(errors.OutOfRangeError, match=r"matrix stores an entry at \(1, 5\), outside its shape \(2, 3\)"):
        Interactions.from_matrix(outside)
    with pytest.raises(ValueError, match=r"user_ids has 2 labels \(1 distinct\), expected 2 distinct ones"):
        Interactions.from_matrix(sp.eye_array(2).tocsr(), user_ids=["a", "a"])


def test_description_by_hand(toy):
    told = describe(toy)
    assert (told.n_users, told.n_items, told.n_pairs, told.density) == (4, 5, 9, 0.45)
    assert told.per_user == (1, 2.0, 4)
    assert told.per_item == (1, 2.0, 3)
    assert (told.first_time, told.last_time) == (1, 9)
    text = str(told)
    assert "per user        1 / 2 / 4 (minimum / median / maximum)" in text
    assert "distinct pairs  9" in text
    assert "merged" not in text
    assert told.to_dict()["report"]["rows_read"] == 9


def test_description_counts_what_has_no_pair():
    told = describe(Interactions.from_matrix(sp.csr_array([[0, 1, 0], [0, 0, 0]])))
    assert (told.per_user, told.per_item) == ((0, 0.5, 1), (0, 0.0, 1))
    empty = describe(Interactions.from_matrix(sp.csr_array((0, 0))))
    assert (empty.n_pairs, empty.density, empty.per_user) == (0, 0.0, (0, 0.0, 0))


def test_two_columns_for_one_thing():
    frame = pd.DataFrame([[1, 2, 3]], columns=["user", "item", "item"])
    with pytest.raises(InputError, match="has 2 columns of the name 'item'; expected one"):
        Interactions.from_frame(frame)
    frame = pd.DataFrame({"user": ["a", "a"], "product": ["L", "L"], "product_id": [7, 8]})
    with pytest.warns(InputWarning, match="'product_id' is read as the item, and 'product' may hold it too"):
        assert Interactions.from_frame(frame).n_items == 2
    assert Interactions.from_frame(frame, item="product").n_items == 1


def test_a_notebook_shows_sizes_and_no_arrays():
    frame = pd.DataFrame({"user": ["ann", "ann", "bob", "ann"], "item": ["x", "y", "x", "x"], "time": [1, 2, 3, 4]})
    text = Interactions.from_frame(frame, source="<b>shop</b>")._repr_html_()
    assert "2, 2, 3" in text
    assert "75.000%" in text
    assert "1 to 2, median 1.5" in text
    assert "yes, yes" in text  # a pair that comes twice weighs 2
    assert "&lt;b&gt;shop&lt;/b&gt; (frame), 4 rows" in text
    assert "1 repeating a pair" in text
    assert "<b>shop" not in text
    assert "ann" not in text
    assert "none" in Interactions.from_matrix(sp.csr_array((0, 0)))._repr_html_()
