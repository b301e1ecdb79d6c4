"""Weights of pairs: what came, what is made of it, and what fit takes into its matrix."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

from buir.data import Interactions, bm25, describe, half_life, log_counts, read, reading_weights, weighting
from buir.data.inputs import fit_inputs, partial_fit_inputs, weigh_rows
from buir.errors import ExplicitZerosWarning, InputError, ReadError, ShapeError, ValuesIgnoredWarning

DAY = 86_400
LOG = {
    "user": ["ann", "bob", "ann", "ann", "cat"],
    "item": [1, 1, 2, 1, 2],
    "time": [0, DAY, 2 * DAY, 3 * DAY, 4 * DAY],
}
PLAYS = pd.DataFrame({"user": ["ann", "ann", "bob"], "item": [1, 2, 2], "weight": [4.0, 1, 1]})


def by_pair(data):
    values = zip(data.user_ids[data.users], data.item_ids[data.items], data.weights, strict=True)
    return {(user, int(item)): value for user, item, value in values}


def matrix_of(user_items, weights="values"):
    return fit_inputs(user_items, weights=weights)[0]


def test_rows_of_a_pair_are_counted_and_weights_of_rows_add_up():
    assert by_pair(Interactions.from_frame(pd.DataFrame(LOG))) == {
        ("ann", 1): 2,
        ("ann", 2): 1,
        ("bob", 1): 1,
        ("cat", 2): 1,
    }
    weighed = Interactions.from_frame(pl.DataFrame(LOG | {"plays": [0.5, 2, 3, 4, 7]}), weight="plays")
    assert by_pair(weighed) == {("ann", 1): 4.5, ("ann", 2): 3, ("bob", 1): 2, ("cat", 2): 7}
    assert Interactions.from_frame(pd.DataFrame(LOG)[:3]).weights is None


def test_only_rows_that_count_are_summed():
    rows = {"ratings": [5, 5, 5, 1, 5], "weights": [1, 2, 3, 100, 5]}
    data = Interactions.from_pairs(LOG["user"], LOG["item"], **rows, min_rating=3)
    assert by_pair(data) == {("ann", 1): 1, ("ann", 2): 3, ("bob", 1): 2, ("cat", 2): 5}


def test_values_of_a_matrix_are_weights_and_repeated_entries_add_up():
    matrix = sp.coo_array(([2.0, 1.0, 0.5, 3.0], ([1, 0, 1, 1], [0, 1, 0, 2])), shape=(2, 3))
    assert Interactions.from_matrix(matrix).weights.tolist() == [1, 2.5, 3]
    assert Interactions.from_matrix(sp.csr_array([[True, False, True]])).weights.tolist() == [1, 1]


def test_weights_stay_with_their_pairs():
    data = Interactions.from_frame(PLAYS)
    assert by_pair(data.keep(data.users == 0)) == {("ann", 1): 4, ("ann", 2): 1}
    moved = data.aligned(np.array(["bob", "eve", "ann"], dtype=object), np.array([2, 1]))
    assert by_pair(moved) == by_pair(data)
    assert by_pair(Interactions.from_frame(data.to_frame())) == by_pair(data)
    assert by_pair(Interactions.from_hetero_data(data.to_hetero_data())) == by_pair(data)
    assert len({data.digest, replace(data, weights=None).digest, replace(data, weights=data.weights * 2).digest}) == 3
    assert replace(data, weights=np.ones(3)).digest == replace(data, weights=None).digest


def test_fit_takes_weights_in_units_of_their_mean():
    labelled = matrix_of(PLAYS)
    assert labelled.weight_unit == 2
    assert labelled.matrix.toarray().tolist() == [[2, 0.5], [0, 0.5]]
    assert labelled.matrix.dtype == np.float32
    matrix = matrix_of(sp.csr_array([[4.0, 1], [0, 1]]))
    assert matrix.matrix.toarray().tolist() == [[2, 0.5], [0, 0.5]]
    assert matrix.user_ids is None
    made = matrix_of(Interactions.from_frame(PLAYS), lambda data: np.sqrt(data.weights))
    assert made.matrix.toarray() == pytest.approx(np.array([[1.5, 0.75], [0, 0.75]]))


@pytest.mark.parametrize("value", [1.0, 0.3, 1e9, 1 / 3])
def test_equal_weights_are_ones_to_the_bit(value):
    rng = np.random.default_rng(0)
    matrix = sp.csr_array((rng.random((30, 20)) < 0.5) * value)
    assert (matrix_of(matrix).matrix.data == 1).all()


def test_without_weights_the_matrix_is_binary_and_a_column_that_is_not_read_is_told():
    with pytest.warns(ValuesIgnoredWarning, match="column 'weight' with 1 value other than 1.*weights='values'"):
        labelled, _ = fit_inputs(PLAYS)
    assert labelled.weight_unit is None
    assert labelled.matrix.data.tolist() == [1, 1, 1]
    with pytest.warns(ValuesIgnoredWarning, match="weights='values'"):
        assert fit_inputs(sp.csr_array([[1.0, 2]]))[0].matrix.data.tolist() == [1, 1]
    assert fit_inputs(Interactions.from_frame(PLAYS))[0].matrix.data.tolist() == [1, 1, 1]


def test_held_out_pairs_have_no_weights():
    train, valid = (
        sp.csr_array(np.array(rows, dtype=float)) for rows in ([[3, 0, 1], [0, 2, 1]], [[0, 1, 0], [1, 0, 0]])
    )
    assert fit_inputs(train, valid, weights="values")[1].data.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, math.nan, 1], "the weights of (user_items|the data) are NaN or infinite for 1 pair, the first in row 0"),
        ([1, math.inf, 1], "NaN or infinite for 1 pair"),
        ([1, "many", 1], "NaN or infinite for 1 pair"),
        ([1, 2, -3], "negative for 1 pair, the first in row 1; expected a finite number of at least 0"),
        ([0, 0, 0], "are all 0; expected some above 0"),
    ],
)
@pytest.mark.parametrize("weights", ["values", log_counts])
def test_wrong_weights_are_errors(values, message, weights):
    frame = PLAYS.assign(weight=pd.Series(values, dtype=object))
    with pytest.raises(InputError, match=message) as caught:
        matrix_of(frame, weights)
    assert caught.value.argument == "weights"


def test_a_sum_does_not_hide_a_negative_row():
    frame = pd.DataFrame({"user": [1, 1], "item": [1, 1], "weight": [-1, 5]})
    with pytest.raises(InputError, match="negative for 1 pair"):
        matrix_of(frame)


@pytest.mark.parametrize(
    ("weights", "kind", "message"),
    [
        ("log", InputError, "weights is 'log'; expected None, 'values' or a function.*buir.data.log_counts"),
        (True, InputError, "weights is True; expected None"),
        (lambda _: [1.0], ShapeError, r"weights made an array of shape \(1,\); expected \(3,\), one number for each"),
    ],
)
def test_what_is_no_weighting_is_refused(weights, kind, message):
    with pytest.raises(kind, match=message):
        matrix_of(PLAYS, weights)


def test_values_that_nobody_gave_are_no_weights():
    with pytest.raises(
        InputError, match=r"user_items has no weights.*from_frame.frame, weight='plays'.*columns=.*'weight'"
    ):
        matrix_of(PLAYS[["user", "item"]])
    with pytest.raises(InputError, match="the data has no weights"):
        matrix_of(PLAYS[["user", "item"]], log_counts)


def test_pairs_of_weight_zero_are_absent_and_told():
    with pytest.warns(ExplicitZerosWarning, match="0 for 1 pair, the first in row 1, read as absent"):
        labelled = matrix_of(PLAYS.assign(weight=[3, 1, 0]))
    assert labelled.matrix.toarray().tolist() == [[1.5, 0.5], [0, 0]]
    with pytest.warns(ExplicitZerosWarning, match="explicit zero"):
        matrix = matrix_of(sp.csr_array(([2.0, 0.0, 1, 1], ([0, 1, 1, 0], [0, 1, 0, 1])))).matrix
    assert matrix.nnz == 3


def test_new_pairs_are_in_the_unit_of_the_old_ones():
    arrived = partial_fit_inputs(PLAYS, "values", 4.0)
    assert arrived.matrix.toarray().tolist() == [[1, 0.25], [0, 0.25]]
    assert partial_fit_inputs(PLAYS, "values", None).matrix.toarray().tolist() == [[4, 1], [0, 1]]


def test_a_history_of_ones_has_no_weights_and_any_other_has():
    assert weigh_rows(sp.csr_array([[1, 0, 1]]), "user_items", 50.0).toarray().tolist() == [[1, 0, 1]]
    assert weigh_rows(sp.csr_array([[100, 0, 25]]), "user_items", 50.0).toarray().tolist() == [[2, 0, 0.5]]
    assert weigh_rows(sp.csr_array((2, 3)), "user_items", 50.0).nnz == 0


def test_bm25_by_hand():
    # items 1 and 2 with sums 4 and 2; ann has both of 2 items, bob one
    data = Interactions.from_frame(PLAYS)
    common, rare = math.log(1 + 0.5 / 2.5), math.log(1 + 1.5 / 1.5)
    lengths = {1: 0.2 + 0.8 * 4 / 3, 2: 0.2 + 0.8 * 2 / 3}
    expected = {
        ("ann", 1): 4 * 101 / (4 + 100 * lengths[1]) * common,
        ("ann", 2): 101 / (1 + 100 * lengths[2]) * common,
        ("bob", 2): 101 / (1 + 100 * lengths[2]) * rare,
    }
    found = by_pair(replace(data, weights=bm25(data)))
    assert found == pytest.approx(expected)
    flat = bm25(replace(data, weights=None), k1=1.0, b=0.0)
    assert flat.tolist() == pytest.approx([common, common, rare])
    with pytest.raises(InputError, match=r"k1 is 0 and b is 0\.8; expected k1 above 0"):
        bm25(data, k1=0)


def test_bm25_orders_pairs_as_implicit_does():
    from implicit.nearest_neighbours import bm25_weight

    rng = np.random.default_rng(3)
    counts = sp.csr_array(rng.poisson(1.0, (40, 60)).astype(float) * (rng.random((40, 60)) < 0.3))
    counts.eliminate_zeros()
    ours = bm25(Interactions.from_matrix(counts))
    theirs = sp.csr_array(bm25_weight(sp.coo_matrix(counts.T), K1=100, B=0.8).T)
    # their logarithm is another one: within a user, where it is a constant, both agree
    for user in range(40):
        part = slice(counts.indptr[user], counts.indptr[user + 1])
        ratio = ours[part] / theirs.data[part]
        assert ratio == pytest.approx(np.full(len(ratio), ratio[:1].mean() if len(ratio) else 0), rel=1e-6)


def test_half_life_by_hand():
    data = Interactions.from_pairs(["a", "b", "c"], [1, 1, 1], times=[0, 3 * DAY, 6 * DAY])
    assert half_life(3)(data).tolist() == pytest.approx([0.25, 0.5, 1])
    assert half_life(3, now=9 * DAY)(data).tolist() == pytest.approx([0.125, 0.25, 0.5])
    weighed = replace(data, weights=np.array([4.0, 2, 1]))
    assert half_life(3)(weighed).tolist() == pytest.approx([1, 1, 1])
    with pytest.raises(InputError, match="now is 0, before the latest time"):
        half_life(3, now=0)(data)
    with pytest.raises(InputError, match="expected Unix seconds: divide milliseconds by 1,000"):
        half_life(3)(replace(data, times=data.times + 1_700_000_000_000))
    with pytest.raises(InputError, match="needs times, and the data have none"):
        half_life(3)(replace(data, times=None))
    for days in (0, -1, math.nan, math.inf):
        with pytest.raises(InputError, match="expected a number above 0"):
            half_life(days)


def test_weightings_by_name():
    assert weighting("values") == "values"
    assert weighting("log") is log_counts
    assert weighting("bm25") is bm25
    assert weighting("half-life=30") == half_life(30)
    assert weighting("half-life=0.5") == half_life(0.5)
    for wrong, said in (
        ("logs", r"expected one of values, log, bm25, half-life=DAYS.*'log'"),
        ("half-life", "write half-life=30"),
        ("half-life=0", "number of days above 0"),
        ("half-life=month", "number of days above 0"),
    ):
        with pytest.raises(InputError, match=said):
            weighting(wrong)


# Files

EVENTS = "user,item,event,time\nann,1,view,5\nann,1,buy,6\nann,2,cart,7\nbob,1,buy,8\nann,1,buy,9\nbob,2,view,9\n"


@pytest.fixture
def write(tmp_path):
    def written(text, name="log.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


def test_a_column_of_plays_is_read_as_weights_and_as_ratings_with_a_threshold(write):
    path = write("userID\tartistID\tweight\n7\t1\t13883\n7\t2\t4\n8\t1\t11\n", "user_artists.dat")
    with pytest.warns(
        ValuesIgnoredWarning, match=r"'weight' holds ratings.*to weigh pairs by them pass weights='values'"
    ):
        whole = read(path)
    assert by_pair(whole) == {(7, 1): 13883, (7, 2): 4, (8, 1): 11}
    with reading_weights("values"):
        assert read(path).digest == whole.digest
    assert by_pair(read(path, min_rating=10)) == {(7, 1): 13883, (8, 1): 11}
    named = read(path, columns={"user": 0, "item": 1, "weight": "weight"})
    assert named.digest == whole.digest
    assert read(path, columns={"user": 0, "item": 1}).weights is None
    both = write("user,item,rating,plays\na,1,5,10\na,2,3,20\n")
    assert by_pair(read(both, min_rating=4)) == {("a", 1): 10}
    with pytest.raises(InputError, match="reads one column as two things"):
        read(both, columns={"user": 0, "item": 1, "time": 3, "weight": 3})


def test_words_in_a_column_of_weights_matter_to_a_fit_alone(write):
    data = read(write("user,item,rating,weight\na,1,1,heavy\na,2,1,2\n"))
    assert np.isnan(data.weights[0])
    with pytest.raises(InputError, match="NaN or infinite for 1 pair"):
        matrix_of(data)


def test_only_the_events_asked_for_are_read(write):
    path = write(EVENTS)
    bought = read(path, where={"event": "buy"})
    assert by_pair(bought) == {("ann", 1): 2, ("bob", 1): 1}
    assert bought.times.tolist() == [6, 8]
    assert (bought.report.rows_read, bought.report.elsewhere, bought.report.merged) == (6, 3, 1)
    assert "left out" in str(describe(bought))
    either = read(path, where={"event": ["buy", "cart"]})
    assert by_pair(either) == {("ann", 1): 2, ("ann", 2): 1, ("bob", 1): 1}
    assert by_pair(read(path, where={"event": "buy", "user": "ann"})) == {("ann", 1): 2}
    headless = write(EVENTS.partition("\n")[2], "headless.csv")
    assert read(headless, columns={"user": 0, "item": 1}, where={"2": "buy"}).n_pairs == 2
    pd.read_csv(path).assign(event=lambda frame: frame["event"].astype("category")).to_parquet(
        path.with_suffix(".parquet")
    )
    assert by_pair(read(path.with_suffix(".parquet"), where={"event": "buy"})) == {("ann", 1): 2, ("bob", 1): 1}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"events": "buy"}, r"where names the column 'events'; did you mean 'event'\?; it has user, item, event, time"),
        ({"7": "buy"}, "where names the column '7'"),
        (
            {"event": "by"},
            r"where is event=by, which no row has; did you mean 'buy'\?; the column holds view, buy, cart",
        ),
        ({"event": "cart", "user": "bob"}, "where leaves no row: none has all of these values"),
    ],
)
def test_a_filter_that_finds_nothing_is_misspelt(write, where, message):
    with pytest.raises(ReadError, match=message):
        read(write(EVENTS), where=where)


def test_lists_have_no_events(write):
    with pytest.raises(ReadError, match="adjacency lists, which have no columns; pass format, or no where"):
        read(write("0 1 2\n1 2\n2 0 1 2\n", "lists.txt"), where={"event": "buy"})


def test_lines_of_mistakes_are_those_of_the_file(write):
    path = write("user,item,event,rating\na,1,view,1\na,1,buy,1\na,2,buy,lots\n")
    with pytest.raises(ReadError, match=r"line 4.*the rating 'lots' is not a number"):
        read(path, where={"event": "buy"})
