import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_array, csr_matrix

from baselines import Popularity
from buir.data import datasets, nested_split
from buir.data.interactions import Interactions
from buir.errors import InputError, PairsDroppedWarning, ShapeError, ShortListsWarning, TestSeenWarning
from buir.ranking.evaluation import Evaluation, evaluate
from buir.ranking.metrics import METRICS
from buir.ranking.sources import as_scorer
from buir.ranking.top_k import FactorScorer
from tests.support import oracles

# Scores by user: item 0 best for user 0, and so on; user 3 has no test item.
SCORES = np.array([[9, 8, 7, 6, 5], [1, 2, 3, 4, 5], [5, 1, 4, 2, 3], [1, 1, 1, 1, 1]])
TRAIN = csr_array(np.array([[1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0]]))
VALID = csr_array(np.array([[0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 1, 0, 0]]))
TEST = csr_array(np.array([[0, 0, 0, 1, 0], [1, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]))


def model():
    return SimpleNamespace(user_factors=SCORES, item_factors=np.eye(5))


def test_by_hand():
    found = evaluate(model(), TRAIN, TEST, ks=(1, 2), metrics=["recall", "mrr"])
    np.testing.assert_array_equal(found.users, [0, 1, 2])
    np.testing.assert_array_equal(found.ranked, [[1, 2], [3, 2], [0, 2]])
    assert list(found.per_user) == ["recall_at_1", "mrr_at_1", "recall_at_2", "mrr_at_2"]
    np.testing.assert_array_equal(found.per_user["recall_at_1"], [0, 1 / 2, 0])
    np.testing.assert_array_equal(found.per_user["recall_at_2"], [0, 1 / 2, 1])
    np.testing.assert_array_equal(found.per_user["mrr_at_2"], [0, 1, 1 / 2])
    assert found.means == {
        "recall_at_1": 1 / 6,
        "mrr_at_1": 1 / 3,
        "recall_at_2": 1 / 2,
        "mrr_at_2": 1 / 2,
        "coverage_at_1": 3 / 5,
        "coverage_at_2": 4 / 5,
    }
    assert found.n_users == 3


def test_valid_is_masked_but_is_not_activity():
    found = evaluate(model(), TRAIN, TEST, valid=VALID, ks=(2,), metrics=["recall"])
    np.testing.assert_array_equal(found.ranked, [[2, 3], [3, 2], [2, 4]])
    np.testing.assert_array_equal(found.per_user["recall_at_2"], [1, 1 / 2, 1])
    np.testing.assert_array_equal(found.train_degree, [1, 1, 0])


def test_frame():
    frame = evaluate(model(), TRAIN, TEST, ks=(1,), metrics=["recall"]).to_frame()
    assert list(frame.columns) == ["user", "train_degree", "recall_at_1"]
    assert frame["user"].tolist() == [0, 1, 2]
    assert frame["train_degree"].tolist() == [1, 1, 0]
    assert frame["recall_at_1"].tolist() == [0, 1 / 2, 0]


def test_all_metrics_against_loops_on_random_data():
    rng = np.random.default_rng(0)
    users, items = rng.integers(-2, 3, size=(40, 3)), rng.integers(-2, 3, size=(70, 3))
    train, test = rng.random((40, 70)) < 0.2, rng.random((40, 70)) < 0.05
    test &= ~train
    found = evaluate(
        SimpleNamespace(user_factors=users, item_factors=items), csr_array(train), csr_matrix(test), ks=(5, 80)
    )
    ranked, _ = oracles.rank(users @ items.T, 80, oracles.sets(train))
    held = oracles.sets(test)
    asked = [user for user in range(40) if held[user]]
    np.testing.assert_array_equal(found.users, asked)
    np.testing.assert_array_equal(found.ranked, ranked[asked, :70])
    assert list(found.per_user) == [f"{name}_at_{k}" for k in (5, 80) for name in METRICS]
    for k in (5, 80):
        for name in METRICS:
            expected = [oracles.metric(name, ranked[user], held[user], k) for user in asked]
            np.testing.assert_allclose(found.per_user[f"{name}_at_{k}"], expected, rtol=1e-12)
            assert found.means[f"{name}_at_{k}"] == pytest.approx(np.mean(expected), rel=1e-12)


def test_a_cut_off_beyond_the_catalogue_takes_no_memory():
    whole, beyond = (evaluate(model(), TRAIN, TEST, ks=(k,)) for k in (5, 10**9))
    np.testing.assert_array_equal(beyond.ranked, whole.ranked)
    assert beyond.means["precision_at_1000000000"] == pytest.approx(4 / 3 / 10**9)
    for name in set(METRICS) - {"precision"}:
        assert beyond.means[f"{name}_at_1000000000"] == whole.means[f"{name}_at_5"]


def test_takes_interactions_and_leaves_matrices_alone():
    train = Interactions.from_matrix(TRAIN)
    stored = csr_array((np.array([1.0, 0.0, 1.0]), np.array([3, 1, 3]), np.array([0, 3, 3, 3, 3])), shape=(4, 5))
    found = evaluate(model(), train, stored, ks=(2,), metrics=["recall"], valid=Interactions.from_matrix(VALID))
    np.testing.assert_array_equal(found.per_user["recall_at_2"], [1])
    assert stored.nnz == 3
    assert TRAIN.nnz == 4


def test_models_that_can_score():
    scorer = FactorScorer(SCORES, np.eye(5))
    assert as_scorer(scorer, TRAIN) is scorer
    assert as_scorer(SimpleNamespace(scorer=lambda: scorer), TRAIN) is scorer
    assert as_scorer(model(), TRAIN).n_items == 5
    with pytest.raises(TypeError, match=r"model is of type SimpleNamespace; expected scorer\(\), user_factors and"):
        as_scorer(SimpleNamespace(user_factors=SCORES), TRAIN)


def test_errors():
    with pytest.raises(ShapeError, match=r"test has shape \(5, 4\); expected \(4, 5\), .* pass test\.T"):
        evaluate(model(), TRAIN, csr_array(TEST.T))
    with pytest.raises(ShapeError, match=r"valid has shape \(2, 5\)"):
        evaluate(model(), TRAIN, TEST, valid=VALID[:2])
    with pytest.raises(ValueError, match="unknown metric 'auc'"):
        evaluate(model(), TRAIN, TEST, metrics=["auc"])
    with pytest.raises(ValueError, match=r"ks is \(\), expected at least one"):
        evaluate(model(), TRAIN, TEST, ks=())
    for wrong in (0, True, 10.0, None, [1.5], ["10"], "10", [10, -1]):
        with pytest.raises(ValueError, match="expected at least one length of a list"):
            evaluate(model(), TRAIN, TEST, ks=wrong)


def test_one_length_needs_no_list():
    for k in (2, np.int64(2)):
        assert evaluate(model(), TRAIN, TEST, ks=k).means == evaluate(model(), TRAIN, TEST, ks=[2]).means


def test_rows_in_another_order_than_the_models_go_by_their_ids():
    split = nested_split(datasets.load("synthetic", n_users=60, n_items=40, n_pairs=600), 1.0)
    rng = np.random.default_rng(0)
    shape = split.train.matrix.shape
    users, items = (rng.normal(size=(size, 3)) for size in shape)
    plain = evaluate(FactorScorer(users, items), split.train, split.test, valid=split.valid)
    turned = [rng.permutation(size) for size in shape]
    model = SimpleNamespace(user_factors=users[turned[0]], item_factors=items[turned[1]])
    model.user_ids_, model.item_ids_ = split.train.user_ids[turned[0]], split.train.item_ids[turned[1]]
    frames = [part.to_frame() for part in (split.train, split.test, split.valid)]
    for train, test, valid in ((split.train, split.test, split.valid), frames, map(pl.from_pandas, frames)):
        same = evaluate(model, train, test, valid=valid)
        assert dict(zip(same.user_ids, same.per_user["recall_at_20"], strict=True)) == pytest.approx(
            dict(zip(plain.user_ids, plain.per_user["recall_at_20"], strict=True))
        )
        assert same.dropped == {}


LABELLED = Interactions.from_matrix(TRAIN, user_ids=["ann", "bob", "cat", "dan"], item_ids=[10, 20, 30, 40, 50])


def labelled_model():
    return SimpleNamespace(
        user_factors=SCORES, item_factors=np.eye(5), user_ids_=LABELLED.user_ids, item_ids_=LABELLED.item_ids
    )


def pairs(*rows):
    return pd.DataFrame(rows, columns=["user_id", "item_id"])


def test_pairs_that_cannot_be_measured_are_counted_dropped_and_said():
    # recall of each by hand: cat's list is 10, 30; bob's is 40, 30
    test = pairs(("cat", 30), ("ann", 10), ("bob", 40), ("bob", 20), ("zoe", 10), ("zoe", 99), ("ann", 99), ("ann", 20))
    text = "test holds 8 pairs, 4 measured; dropped: 2 of unknown users, 1 of unknown items, 1 that are in training"
    for given in (test, Interactions.from_frame(test)):
        with pytest.warns(PairsDroppedWarning, match=f"^{text}$"):
            found = evaluate(labelled_model(), LABELLED, given, ks=2, metrics="recall")
        assert found.dropped == {"of unknown users": 2, "of unknown items": 1, "that are in training": 1}
        assert found.n_pairs == 4
        assert found.user_ids.tolist() == ["ann", "bob", "cat"]
        assert found.per_user["recall_at_2"].tolist() == [1, 0.5, 1]
    with pytest.warns(PairsDroppedWarning) as caught:
        found = evaluate(labelled_model(), LABELLED, test[:4], valid=pairs(("bob", 20), ("eve", 20)), ks=2)
    assert [str(warning.message) for warning in caught] == [
        "valid holds 2 pairs, 1 of unknown users, which are left out",
        "test holds 4 pairs, 2 measured; dropped: 1 that are in training, 1 that are in valid",
    ]
    assert found.dropped == {"that are in training": 1, "that are in valid": 1}


@pytest.mark.parametrize("form", [csr_array, csr_matrix, lambda dense: Interactions.from_matrix(csr_array(dense))])
def test_overlap_of_matrices(form):
    overlapping = TEST.toarray() + TRAIN.toarray()
    with pytest.warns(PairsDroppedWarning, match="test holds 8 pairs, 4 measured; dropped: 4 that are in training"):
        found = evaluate(model(), form(TRAIN.toarray()), form(overlapping), ks=2)
    assert found.means == evaluate(model(), TRAIN, TEST, ks=2).means


@pytest.mark.parametrize(
    ("test", "text"),
    [
        (csr_array((4, 5)), "test holds 0 pairs; expected held-out pairs"),
        (TRAIN, "test holds 4 pairs, all 4 that are in training; expected held-out pairs"),
        (LABELLED.to_frame(), "test holds 4 pairs, all 4 that are in training"),
        (pairs(("eve", 10)), "test holds 1 pair, all 1 of unknown users: its ids are such as 'eve', 10, those of the model 'ann', 10"),
        (pairs((0, 3)), "test holds 1 pair, all 1 of unknown users: its ids are such as 0, 3"),
    ],
)  # fmt: skip
def test_nothing_to_measure_is_an_error(test, text):
    with pytest.raises(InputError, match=f"^{text}") as caught:
        evaluate(labelled_model(), LABELLED, test)
    assert caught.value.argument == "test"


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ({"ann": [10]}, "is of type dict; expected a SciPy sparse matrix"),
        ([("ann", 10)], "is of type list; expected"),
        (TEST.toarray(), r"is of type ndarray; .*: wrap it: scipy.sparse.csr_array\((train|test|valid)\)"),
        (pl.LazyFrame({"user": ["ann"], "item": [10]}), r"is of type LazyFrame; .*: call \.collect\(\) first"),
    ],
)
@pytest.mark.parametrize("name", ["train", "test", "valid"])
def test_what_holds_no_pairs_is_refused(part, text, name):
    parts = {"train": TRAIN, "test": TEST, "valid": VALID} | {name: part}
    with pytest.raises(TypeError, match=f"^{name} {text}"):
        evaluate(model(), **parts)


def test_a_frame_without_a_row_is_refused():
    with pytest.raises(InputError, match=r"^test is a frame without a row; expected interactions$"):
        evaluate(labelled_model(), LABELLED, pairs(("ann", 30))[:0])


def test_an_integer_and_its_spelling_are_one_id():
    numbers = SimpleNamespace(
        user_factors=SCORES, item_factors=np.eye(5), user_ids_=np.arange(7, 11), item_ids_=np.arange(5)
    )
    train = Interactions.from_matrix(TRAIN, user_ids=["7", "8", "9", "x"])
    with pytest.warns(PairsDroppedWarning) as caught:
        found = evaluate(numbers, train, pairs(("7", "3"), ("y", "3")), ks=3, metrics="recall")
    assert [str(warning.message) for warning in caught] == [
        "train holds 4 pairs, 2 of unknown users, which are left out",
        "test holds 2 pairs, 1 measured; dropped: 1 of unknown users",
    ]
    assert found.user_ids.tolist() == [7]
    assert found.per_user["recall_at_3"].tolist() == [1]


# Lists that somebody else made.

LISTS = pd.DataFrame(
    {
        "user": ["bob", "ann", "ann", "bob", "cat", "zoe"],
        "item": [40, 30, 20, 60, 50, 10],
        "rank": [1, 2, 1, 2, 1, 1],
    }
)
HELD = pairs(("ann", 30), ("bob", 60), ("bob", 50), ("cat", 40))


@pytest.mark.parametrize(
    "make", [lambda f: f, pl.from_pandas, lambda f: f[::-1], lambda f: f.rename(columns=str.upper)]
)
def test_a_frame_of_lists_by_hand(make):
    # train: ann 10, bob 50 (so that his 50 is dropped), dan 10 and 20
    with pytest.warns(PairsDroppedWarning, match="4 pairs, 3 measured; dropped: 1 that are in training"):
        found = evaluate(make(LISTS), LABELLED, HELD, ks=(1, 2), metrics=["recall", "mrr"])
    assert found.user_ids.tolist() == ["ann", "bob", "cat"]
    assert found.per_user["recall_at_1"].tolist() == [0, 0, 0]
    assert found.per_user["recall_at_2"].tolist() == [1, 1, 0]
    assert found.per_user["mrr_at_2"].tolist() == [0.5, 0.5, 0]
    assert found.means["coverage_at_1"] == pytest.approx(3 / 6)  # 20, 40 and 50 of the five items and 60


def test_lists_by_score_and_ranks_from_zero():
    by_rank = evaluate(LISTS, LABELLED, HELD[:2], ks=2).per_user
    assert (
        evaluate(LISTS.assign(rank=LISTS["rank"] - 1), LABELLED, HELD[:2], ks=2).per_user["mrr_at_2"].tolist()
        == by_rank["mrr_at_2"].tolist()
    )
    scored = LISTS.drop(columns="rank").assign(score=-LISTS["rank"] / 7)
    assert evaluate(scored, LABELLED.to_frame(), HELD[:2], ks=2).per_user["mrr_at_2"].tolist() == [0.5, 0.5]


def test_lists_of_our_own_models_are_worth_what_the_model_is():
    whole = datasets.load("synthetic", n_users=60, n_items=40, n_pairs=600)
    split = nested_split(whole, 1.0)
    model = Popularity().fit(split.train)
    lists = model.recommend_frame(k=20, deny=split.valid)
    plain = evaluate(model, split.train, split.test, valid=split.valid, ks=(5, 20))
    for train in (split.train, split.train.to_frame()):
        assert evaluate(lists, train, split.test, valid=split.valid, ks=(5, 20)).means == pytest.approx(plain.means)
    rows = model.recommend_frame(k=20, deny=split.valid)
    rows["user"], rows["item"] = (
        pd.Index(ids).get_indexer(rows[noun])
        for noun, ids in (("user", split.train.user_ids), ("item", split.train.item_ids))
    )
    matrices = (split.train.matrix, split.test.matrix)
    assert evaluate(rows, *matrices, valid=split.valid.matrix, ks=(5, 20)).means == pytest.approx(plain.means)


def test_lists_that_are_short_missing_or_hold_training_pairs_are_told():
    with pytest.warns(ShortListsWarning) as caught:
        found = evaluate(LISTS, LABELLED, pairs(("ann", 30), ("dan", 30)), ks=3)
    assert [str(warning.message) for warning in caught] == [
        "model, a frame of lists, has none for 1 of 2 test users: theirs are measured as empty; drop these users from test to leave them out",
        "no list of the test users is longer than 2, and ks asks for 3: what is called so is measured on shorter lists",
    ]
    assert found.per_user["recall_at_3"].tolist() == [1, 0]
    seen = LISTS.assign(item=[40, 30, 10, 60, 20, 10])
    with pytest.warns(ShortListsWarning, match="the lists hold 1 pair of train or valid, which take places"):
        assert evaluate(seen, LABELLED, HELD[:1], ks=2).per_user["mrr_at_2"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("lists", "text"),
    [
        (LISTS.drop(columns="rank"), r"with columns \['user', 'item'\]; expected user, item, and rank or score"),
        (LISTS.drop(columns="item"), "model is a frame that has no column that is known to hold the item"),
        (LISTS.assign(rank=1), "has a rank twice for user 'ann', in row 2"),
        (LISTS.assign(item=20, rank=range(6)), "lists an item twice for user 'ann', in row 2"),
        (LISTS.assign(rank=[1, 2, 1, 2, None, 1]), r"has rank nan in row 4 \(from 0\)"),
        (LISTS.assign(user=range(6)), "has none for 1 of 1 test user; expected lists for these users, whose ids are such as 'ann', its own such as '0'"),
    ],
)  # fmt: skip
def test_frames_that_are_no_lists(lists, text):
    with pytest.raises(InputError, match=text) as caught:
        evaluate(lists, LABELLED, HELD[:1])
    assert caught.value.argument == "model"


def test_lists_beside_a_matrix_go_by_row_numbers():
    rows = pd.DataFrame({"user": [0, 0], "item": [1, 2], "rank": [1, 2]})
    assert evaluate(rows, TRAIN, pairs((0, 2)), ks=2).per_user["mrr_at_2"].tolist() == [0.5]
    with pytest.raises(InputError, match=r"has item 7; train is a matrix, so that ids are its item numbers, 0 to 4"):
        evaluate(rows.assign(item=[1, 7]), TRAIN, pairs((0, 2)), ks=2)


class Asked:
    """Has nothing but implicit's recommend."""

    def recommend(self, userid, user_items, N=10, filter_already_liked_items=True):
        order = np.argsort(-SCORES[userid], kind="stable", axis=1)[:, :N]
        return order, np.take_along_axis(SCORES[userid], order, axis=1)


def test_an_object_that_recommends_is_ranked_as_it_ranks():
    found, plain = (evaluate(one, TRAIN, TEST, valid=VALID, ks=(1, 2)) for one in (Asked(), model()))
    assert found.means == plain.means
    np.testing.assert_array_equal(found.ranked, plain.ranked)
    frame = evaluate(Asked(), LABELLED, pairs(("bob", 40)), ks=1)
    assert frame.per_user["recall_at_1"].tolist() == [1]
    with pytest.raises(TypeError, match=r"SimpleNamespace.recommend takes \(user, k\); expected implicit's recommend"):
        evaluate(SimpleNamespace(recommend=lambda user, k: []), TRAIN, TEST)


@pytest.mark.parametrize("known", [TRAIN, csr_array(TRAIN + VALID)])
def test_swapped_parts_are_an_error_of_a_model_that_remembers_its_own(known):
    remembers = SimpleNamespace(user_factors=SCORES, item_factors=np.eye(5), seen_=known)
    with pytest.raises(
        InputError, match=r"^test holds 4 pairs, 4 of which the model was trained on, and train 4 pairs, 0"
    ):
        evaluate(remembers, TEST, TRAIN, ks=1)
    assert evaluate(remembers, TRAIN, TEST, ks=1).n_pairs == 4


def test_pairs_that_the_model_was_trained_on_are_told():
    remembers = SimpleNamespace(user_factors=SCORES, item_factors=np.eye(5), seen_=csr_array(TRAIN + VALID))
    with pytest.warns(
        TestSeenWarning, match=r"test holds 7 pairs, 3 of which the model was trained on and train does not"
    ):
        assert evaluate(remembers, TRAIN, csr_array(TEST + VALID), ks=1).n_pairs == 7
    empty = csr_array(TRAIN.shape)
    with pytest.warns(TestSeenWarning, match="test holds 4 pairs, 4 of which"):  # as whoever measures training does
        evaluate(remembers, empty, TRAIN, ks=1)


def test_a_class_is_no_model():
    with pytest.raises(TypeError, match=r"model is the class Popularity; expected a fitted model: Popularity\(\).fit"):
        evaluate(Popularity, TRAIN, TEST)


def test_what_is_shown_has_no_arrays():
    per_user = {"ndcg_at_20": np.array([0.25, 0.75])}
    means = {"ndcg_at_10": 0.2, "ndcg_at_20": 0.5, "recall_at_20": 0.125, "coverage_at_20": 1.0}
    made = Evaluation(
        np.arange(2), per_user, means, np.zeros((2, 20), np.int32), np.ones(2), n_pairs=3, dropped={"of <b>": 4, "": 0}
    )
    assert repr(made) == (
        "Evaluation(2 users, 3 pairs: ndcg_at_10=0.2000, ndcg_at_20=0.5000, recall_at_20=0.1250, coverage_at_20=1.0000)"
    )
    text = made._repr_html_()
    assert "means over 2 users, 3 pairs, 4 of &lt;b&gt; left out" in text
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", text)]
    assert rows == [
        ["", "@10", "@20"],
        ["NDCG", "0.2000", "0.5000"],
        ["Recall", "", "0.1250"],
        ["Coverage", "", "1.0000"],
    ]
