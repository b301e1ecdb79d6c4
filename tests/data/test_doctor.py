import re
import warnings

import numpy as np
import pandas as pd
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import (
    bsr_array,
    coo_array,
    coo_matrix,
    csc_array,
    csc_matrix,
    csr_array,
    csr_matrix,
    dia_array,
    dok_array,
    lil_array,
    lil_matrix,
)

from baselines.popularity import Popularity
from buir import errors
from buir.data import doctor
from buir.data.inputs import as_csr, fit_inputs, partial_fit_inputs
from buir.data.interactions import Interactions
from buir.model.estimator import BUIR
from tests.support.factors import Svd

FULL = np.array([[1, 0, 1], [0, 1, 1]])


def entries(values, shape=(2, 3)):
    """A matrix with the given {(row, column): value}, nothing summed and nothing dropped."""
    rows, columns = zip(*values, strict=True)
    return coo_array((np.array(list(values.values()), dtype=float), (rows, columns)), shape=shape)


def kinds(findings):
    return [type(finding).__name__ for finding in findings]


def test_a_clean_matrix_has_no_findings():
    assert doctor.examine(csr_array(FULL), shape=(2, 3), batch_size=4, list_length=2) == []


FINDINGS = {
    "NaN": (entries({(0, 0): 1, (1, 1): np.nan, (1, 2): np.inf}), {}, "InputError", [1], "NaN or infinite"),
    "dislikes": (entries({(0, 0): 1, (1, 2): -2}), {}, "InputError", [1], "negative values"),
    "turned over": (csr_array(FULL), {"shape": (3, 2)}, "ShapeError", [], "user_items.T"),
    "another shape": (csr_array(FULL), {"shape": (2, 4)}, "ShapeError", [], "shape=(2, 4)"),
    "nothing": (csr_array((2, 3)), {}, "InputError", [], "no interaction"),
    "stored zeros": (
        entries({(0, 0): 1, (0, 1): 0, (0, 2): 1, (1, 1): 1, (1, 0): 0}),
        {},
        "ExplicitZerosWarning",
        [0, 1],
        "2 explicit zeros",
    ),
    "values": (
        csr_array(np.array([[1, 5, 1], [0, 1, 2]])),
        {},
        "ValuesIgnoredWarning",
        [0, 1],
        "2 values other than 1",
    ),
    "a user without items": (csr_array(np.array([[1, 1, 1], [0, 0, 0]])), {}, "EmptyRowsWarning", [1], "1 of 2 users"),
    "items without users": (
        csr_array(np.array([[1, 0, 0], [1, 0, 0]])),
        {},
        "EmptyColumnsWarning",
        [1, 2],
        "columns 1, 2",
    ),
    "less than a batch": (csr_array(FULL), {"batch_size": 1024}, "SmallDataWarning", [], "set batch_size to 1"),
    "less than a list": (csr_array(FULL), {"list_length": 10}, "SmallCatalogueWarning", [], "at most 1"),
}


@pytest.mark.parametrize("name", FINDINGS)
def test_each_finding_by_name_rows_and_word(name):
    matrix, options, kind, rows, word = FINDINGS[name]
    found = doctor.examine(matrix, **options)
    assert kinds(found) == [kind]
    assert found[0].argument == "user_items"
    assert found[0].rows.tolist() == rows
    assert word in str(found[0])
    assert doctor.examine(matrix, **options, what="valid")[0].argument == "valid"


def test_duplicate_pairs():
    twice = coo_array((np.ones(5), ([0, 1, 0, 1, 1], [0, 1, 0, 2, 1])), shape=(2, 3))
    (found,) = doctor.examine(twice)
    assert isinstance(found, errors.DuplicatePairsWarning)
    assert found.rows.tolist() == [0, 1]
    assert "2 pairs" in str(found)
    assert "user_items.sum_duplicates()" in str(found)


def test_indices_outside_the_matrix():
    broken = csr_array(FULL)
    broken.indices[0] = 7
    (found,) = doctor.examine(broken)
    assert isinstance(found, errors.OutOfRangeError)
    assert isinstance(found, IndexError)
    assert found.argument == "user_items"
    assert "(0, 7)" in str(found)


@pytest.mark.parametrize("form", [csr_array, csc_array])
@pytest.mark.parametrize(
    ("pointers", "said"),
    [
        ([0, 3, 2, 4], "4 numbers from 0 to 4"),
        ([0, 1, 2, 9], "4 numbers from 0 to 9"),
        ([1, 2, 3, 4], "4 numbers from 1 to 4"),
        ([0, 2, 4], "3 numbers from 0 to 4"),
        ([], "0 numbers from 0 to 0"),
    ],
)
def test_broken_pointers(form, pointers, said):
    broken = form(np.array([[1, 0, 1], [0, 1, 0], [1, 0, 0]]))
    broken.indptr = np.array(pointers, dtype=np.int32)
    (found,) = doctor.examine(broken)
    assert isinstance(found, errors.ShapeError)
    for read in (as_csr, Interactions.from_matrix, Svd().fit):
        with pytest.raises(errors.ShapeError, match=f"indptr has {said}; expected 4 that never fall"):
            read(broken)


def test_room_behind_the_last_entry_is_not_read():
    roomy = csr_array((np.array([1.0, 1, 7]), np.array([2, 0, 9]), np.array([0, 1, 2])), shape=(2, 3))
    roomy.indptr, roomy.indices, roomy.data = np.array([0, 1, 2]), np.array([2, 0, 9]), np.array([1.0, 1, 7])
    assert kinds(doctor.examine(roomy)) == ["EmptyColumnsWarning"]
    assert as_csr(roomy).matrix.toarray().tolist() == [[0, 0, 1], [1, 0, 0]]


def test_errors_come_first_and_hide_what_follows_from_them():
    ill = entries({(0, 0): -1, (1, 1): np.nan, (1, 2): 0})
    assert kinds(doctor.examine(ill)) == ["InputError", "InputError", "ExplicitZerosWarning"]


def test_everything_at_once():
    ill = coo_array((np.array([2.0, 1, 1, 0]), ([0, 1, 1, 1], [0, 1, 1, 3])), shape=(4, 5))
    found = doctor.examine(ill, batch_size=10, list_length=5)
    assert kinds(found) == [
        "ExplicitZerosWarning",
        "DuplicatePairsWarning",
        "ValuesIgnoredWarning",
        "EmptyRowsWarning",
        "EmptyColumnsWarning",
        "SmallDataWarning",
        "SmallCatalogueWarning",
    ]


def test_examine_changes_and_raises_nothing():
    matrix = csr_array((np.array([0.0, 2.0, 1.0]), np.array([2, 0, 0]), np.array([0, 2, 3])), shape=(2, 3))
    before = [part.copy() for part in (matrix.data, matrix.indices, matrix.indptr)]
    doctor.examine(matrix)
    for part, old in zip((matrix.data, matrix.indices, matrix.indptr), before, strict=True):
        np.testing.assert_array_equal(part, old)


def test_many_rows_are_counted_not_listed():
    assert errors.show_rows(np.array([4])) == "row 4"
    assert errors.show_rows(np.array([4, 2, 2])) == "rows 2, 4"
    assert errors.show_rows(np.arange(1200), "column") == "columns 0, 1, 2, 3, 4 and 1,195 more"


def test_one_is_counted_in_the_singular():
    assert [errors.counted(n, "pair") for n in (0, 1, 2, 1200)] == ["0 pairs", "1 pair", "2 pairs", "1,200 pairs"]
    (found,) = doctor.examine(entries({(0, 0): 1, (0, 1): 1, (1, 2): 1, (1, 0): 0}))
    assert str(found).startswith("user_items stores 1 explicit zero in row 1, read as absent: ")


# Before every fit


def test_fit_raises_the_first_error_only():
    # The zero would be a warning, which the tests turn into an error.
    with pytest.raises(errors.InputError, match="in row 1"):
        Svd().fit(entries({(0, 0): 0, (1, 1): np.nan}))


@pytest.mark.parametrize(
    ("matrix", "kind"),
    [
        (entries({(0, 0): 1, (0, 1): 0, (0, 2): 1, (1, 1): 1}), errors.ExplicitZerosWarning),
        (
            coo_array((np.ones(4), ([0, 0, 1, 0], [0, 0, 1, 2])), shape=(2, 3)),
            errors.DuplicatePairsWarning,
        ),
        (csr_array(FULL * 3), errors.ValuesIgnoredWarning),
        (csr_array(np.vstack([FULL, [0, 0, 0]])), errors.EmptyRowsWarning),
        (csr_array(np.hstack([FULL, [[0], [0]]])), errors.EmptyColumnsWarning),
    ],
)
def test_fit_warns_once_by_name_at_the_callers_line(matrix, kind):
    with pytest.warns(kind) as caught:
        Popularity().fit(matrix)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_interactions_may_be_wider_than_their_pairs():
    whole = Interactions.from_matrix(csr_array(FULL))
    part = whole.keep(np.array([True, False, False, False]))
    assert Svd().fit(part).n_items == 3
    assert doctor.examine(part) == []


def test_findings_that_need_the_models_settings():
    with pytest.warns(errors.SmallDataWarning, match="fewer than one batch of 50"):
        fit_inputs(csr_array(FULL), batch_size=50)
    with pytest.warns(errors.SmallCatalogueWarning, match="lists hold 20"):
        fit_inputs(csr_array(FULL), csr_array(1 - FULL), valid_metric="ndcg_at_20")
    fit_inputs(csr_array(FULL), valid_metric="ndcg_at_20")


def test_valid_is_read_like_the_training_matrix():
    train, valid = fit_inputs(csr_array(FULL), coo_matrix(1 - FULL))
    assert valid is not None
    np.testing.assert_array_equal(valid.toarray(), 1 - FULL)
    np.testing.assert_array_equal(train.matrix.toarray(), FULL)
    assert fit_inputs(csr_array(FULL), None)[1] is None


FRAME = pd.DataFrame({"user": ["a", "a", "b", "b"], "item": [1, 3, 2, 3]})


def test_a_valid_frame_goes_by_its_ids_not_by_their_order():
    held_out = pd.DataFrame({"user": ["b", "a"], "item": [1, 2]})
    valid = fit_inputs(FRAME, held_out)[1]
    assert valid is not None
    # Rows a, b and columns 1, 3, 2: the order in which the training frame names them.
    np.testing.assert_array_equal(valid.toarray(), [[0, 0, 1], [1, 0, 0]])
    by_number = fit_inputs(csr_array(FULL), pd.DataFrame({"user": [1, 0], "item": [0, 1]}))[1]
    assert by_number is not None
    np.testing.assert_array_equal(by_number.toarray(), 1 - FULL)


def test_a_valid_frame_that_overlaps_is_warned_of():
    held_out = pd.DataFrame({"user": ["b", "a"], "item": [3, 2]})
    with pytest.warns(errors.ValidSeenWarning, match="valid holds 2 pairs, 1 of them also in user_items") as caught:
        fit_inputs(FRAME, held_out)
    (warning,) = caught
    assert isinstance(warning.message, errors.ValidSeenWarning)
    assert warning.message.rows.tolist() == [1]


@pytest.mark.parametrize(
    ("valid", "text"),
    [
        (
            pd.DataFrame({"user": ["b", "a"], "item": [1, 2], "rating": [5, 0]}),
            "valid: the column 'rating' holds ratings, 1 of them zero or negative: 0 (1 row), 5 (1 row); min_rating=5 keeps 1 of 2",
        ),
        (
            csr_array(np.array([[0, 0, 4], [4, 0, 0]])),
            "2 values other than 1",
        ),
    ],
)
def test_ratings_in_valid_are_warned_of(valid, text):
    with pytest.warns(errors.ValuesIgnoredWarning, match=re.escape(text)):
        fit_inputs(FRAME, valid)


@pytest.mark.parametrize(
    ("arrived", "text"),
    [
        (
            FRAME.assign(rating=[1, 1, -2, 1]),
            "holds ratings, 1 of them zero or negative: -2 (1 row), 1 (3 rows); min_rating=1 keeps 3 of 4",
        ),
        (
            csr_array(FULL * 2),
            "4 values other than 1",
        ),
    ],
)
def test_ratings_in_what_partial_fit_is_given_are_warned_of(arrived, text):
    with pytest.warns(errors.ValuesIgnoredWarning, match=re.escape(text)) as caught:
        matrix = partial_fit_inputs(arrived).matrix
    assert len(caught) == 1
    assert matrix.nnz == 4
    assert partial_fit_inputs(FRAME).user_ids is not None


@pytest.mark.parametrize("make", [pd.DataFrame, polars.DataFrame])
def test_repeated_rows_of_a_frame_are_warned_of(make):
    twice = make({"user": ["a", "b", "a", "b", "a"], "item": [1, 2, 2, 2, 1]})
    for name, read in (("user_items", fit_inputs), ("new_interactions", partial_fit_inputs)):
        with pytest.warns(errors.DuplicatePairsWarning, match="holds 2 pairs") as caught:
            read(twice)
        assert len(caught) == 1
        assert caught[0].message.rows.tolist() == [3, 4]
        assert caught[0].message.argument == name
    # Whoever makes Interactions has their report.
    assert fit_inputs(Interactions.from_frame(twice))[0].matrix.nnz == 3


def test_partial_fit_warns_at_the_callers_line():
    model = BUIR(embedding_dim=4, epochs=1, batch_size=4, device="cpu").fit(FRAME, show_progress=False)
    with pytest.warns(errors.ValuesIgnoredWarning, match="new_interactions: the column 'rating' holds") as caught:
        model.partial_fit(FRAME.assign(rating=3), show_progress=False)
    assert caught[0].filename == __file__


# as_csr, through which every fit goes


@pytest.mark.parametrize(
    "form",
    [
        csr_array,
        csc_array,
        coo_array,
        lil_array,
        dok_array,
        bsr_array,
        dia_array,
        csr_matrix,
        csc_matrix,
        coo_matrix,
        lil_matrix,
    ],
)
@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.float32, np.float64])
def test_every_format_and_type_of_value(form, dtype):
    matrix, user_ids, item_ids, _ = as_csr(form(FULL.astype(dtype)))
    assert isinstance(matrix, csr_array)
    assert matrix.dtype == np.float32
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
    assert matrix.has_canonical_format
    np.testing.assert_array_equal(matrix.toarray(), FULL)
    assert user_ids is None
    assert item_ids is None


def test_long_and_unsorted_indices_are_read_and_left_alone():
    matrix = csr_array(
        (np.ones(4), np.array([2, 0, 2, 1], dtype=np.int64), np.array([0, 2, 4], dtype=np.int64)), shape=(2, 3)
    )
    np.testing.assert_array_equal(as_csr(matrix).matrix.indices, [0, 2, 1, 2])
    assert matrix.indices.tolist() == [2, 0, 2, 1]
    assert matrix.indices.dtype == np.int64


@pytest.mark.parametrize("make", [pd.DataFrame, polars.DataFrame])
def test_frames_bring_their_ids(make):
    matrix, user_ids, item_ids, _ = as_csr(make({"user": ["b", "a", "b"], "item": [9, 9, 4]}))
    np.testing.assert_array_equal(matrix.toarray(), [[1, 1], [1, 0]])
    assert user_ids.tolist() == ["b", "a"]
    assert item_ids.tolist() == [9, 4]
    assert item_ids.dtype == np.int64


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1))
def test_reading_agrees_with_a_loop(seed):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
    n = int(rng.integers(0, 15))
    rows, columns = rng.integers(0, shape[0], n), rng.integers(0, shape[1], n)
    values = rng.integers(0, 3, n).astype(float)
    expected = np.zeros(shape)
    for row, column, value in zip(rows, columns, values, strict=True):
        if value > 0:
            expected[row, column] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.InputWarning)
        matrix = as_csr(coo_array((values, (rows, columns)), shape=shape)).matrix
    np.testing.assert_array_equal(matrix.toarray(), expected)
    assert matrix.has_canonical_format
    assert not np.any(matrix.data != 1)


def test_messages_speak_of_the_argument():
    with pytest.raises(errors.InputError, match=re.escape("valid holds negative values in rows 0, 1")):
        fit_inputs(csr_array(FULL), csr_array(-FULL))
