import copy
import inspect
import pickle

import implicit.cpu.als
import implicit.cpu.bpr
import implicit.nearest_neighbours
import numpy as np
import pandas as pd
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from implicit.recommender_base import RecommenderBase
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_limits

import buir.ranking.sources
from buir.data.interactions import Interactions
from buir.recommend import Recommender, recommend_frame
from tests.support.factors import Fixed, Svd

# Users 0 and 1, items 0..4. Scores of user 0: 5 4 3 2 1; of user 1: 1 2 3 4 5. User 2 scores all items alike.
SEEN = csr_array(np.array([[1, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 1, 0, 0, 0]]))
ITEMS = np.array([[5, 1], [4, 2], [3, 3], [2, 4], [1, 5]])
USERS = np.array([[1, 0], [0, 1], [0, 0]])


@pytest.fixture
def model():
    return Fixed(USERS, ITEMS, SEEN)


@pytest.fixture
def shop():
    """The same model with labels: users ann, bob, cat; items 10, 20, 30, 40, 50."""
    data = Interactions.from_matrix(SEEN, user_ids=["ann", "bob", "cat"], item_ids=[10, 20, 30, 40, 50])
    return Fixed(USERS, ITEMS, data)


def lists(frame: pd.DataFrame) -> dict:
    return {user: part["item"].tolist() for user, part in frame.groupby("user", sort=False)}


# recommend

STEERING = ["less_like", "more_like", "strength"]


@pytest.mark.parametrize("name", ["recommend", "similar_items", "similar_users"])
def test_arguments_are_implicits(name):
    ours = inspect.signature(getattr(Recommender, name)).parameters
    theirs = inspect.signature(getattr(RecommenderBase, name)).parameters
    more = [parameter for parameter in ours.values() if parameter.kind is parameter.KEYWORD_ONLY]
    assert [parameter.name for parameter in more] == (STEERING if name == "recommend" else [])
    ours = {key: value for key, value in ours.items() if value not in more}
    assert list(ours) == list(theirs)
    defaults = {key: value.default for key, value in theirs.items()}
    defaults |= {"user_items": None} if name == "recommend" else {}  # the one we may leave out
    assert {key: value.default for key, value in ours.items()} == defaults


def test_recommend_by_hand(model):
    ids, scores = model.recommend(0, N=2)
    np.testing.assert_array_equal(ids, [1, 3])
    np.testing.assert_array_equal(scores, [4, 2])
    ids, scores = model.recommend([1, 0], N=4)
    np.testing.assert_array_equal(ids, [[3, 2, 1, 0], [1, 3, 4, -1]])
    np.testing.assert_array_equal(scores, [[4, 3, 2, 1], [4, 2, 1, -np.inf]])


def test_equal_scores_by_lower_row(model):
    np.testing.assert_array_equal(model.recommend(2, N=5)[0], [0, 2, 3, 4])


def test_filters_by_hand(model):
    np.testing.assert_array_equal(model.recommend(0, N=5, filter_already_liked_items=False)[0], [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(model.recommend(0, N=5, filter_items=[1, 1])[0], [3, 4])
    np.testing.assert_array_equal(model.recommend(0, N=5, filter_items={1})[0], [3, 4])
    np.testing.assert_array_equal(model.recommend(0, N=5, items=[4, 3, 0, 3])[0], [3, 4])
    np.testing.assert_array_equal(
        model.recommend(0, N=5, items=np.array([4, 3, 1]), filter_items=np.array([3]))[0], [1, 4]
    )
    assert len(model.recommend(0, N=5, items=[])[0]) == 0
    np.testing.assert_array_equal(model.recommend([0], N=2, items=[])[0], [[-1, -1]])


def test_lists_by_user(model):
    allowed = csr_array(np.array([[0, 1, 0, 1, 0], [1, 1, 0, 0, 1]]))
    denied = csr_array(np.array([[0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]))
    np.testing.assert_array_equal(model.recommend([0, 1], N=2, items=allowed)[0], [[1, 3], [1, 0]])
    np.testing.assert_array_equal(
        model.recommend([0, 1], N=2, items=allowed, filter_items=denied)[0], [[3, -1], [1, 0]]
    )


def test_one_row_of_a_matrix_is_a_list_of_one_user(model):
    """A csr_array hands out its rows in one dimension."""
    allowed, denied = csr_array(np.array([[0, 1, 0, 1, 0]])), csr_array(np.array([[0, 1, 0, 0, 0]]))
    assert allowed[0].ndim == 1
    for user in (0, [0]):
        one, two = (model.recommend(user, N=2, items=rows)[0] for rows in (allowed[0], allowed))
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(np.ravel(model.recommend(user, N=2, filter_items=denied[0])[0]), [3, 4])
    with pytest.raises(ValueError, match=r"items has shape \(5,\); expected two dimensions, users x items: reshape it"):
        model.recommend([0, 1], N=2, items=allowed[0])


def test_nobody_asked(model):
    ids, scores = model.recommend([], N=3)
    assert ids.shape == scores.shape == (0, 3)
    assert model.recommend_frame([]).columns.tolist() == ["user", "item", "score", "rank"]


def test_a_user_asked_twice_in_a_batch(model):
    ids, _ = model.recommend([1, 0, 1], N=1)
    np.testing.assert_array_equal(ids, [[3], [1], [3]])


def test_an_array_of_one_user_gives_two_dimensions(model):
    assert model.recommend(np.array([0]), N=2)[0].shape == (1, 2)
    assert model.recommend(np.int64(0), N=2)[0].shape == (2,)
    assert model.recommend(np.array(0), N=2)[0].shape == (2,)


def test_user_items_replace_the_stored_rows(model):
    other = csr_array(np.array([[0, 1, 0, 0, 0]]))
    np.testing.assert_array_equal(model.recommend(0, other, N=5)[0], [0, 2, 3, 4])
    np.testing.assert_array_equal(model.recommend(0, other, N=5, recalculate_user=True)[0], [0, 2, 3, 4])


def test_recalculated_users_by_hand(model):
    history = csr_array(np.array([[0, 0, 0, 1, 1]]))
    ids, scores = model.recommend(99, history, N=2, recalculate_user=True)
    # (2, 4) + (1, 5) = (3, 9); items 2 and 1 score 9 + 27 and 12 + 18.
    np.testing.assert_array_equal(ids, [2, 1])
    np.testing.assert_array_equal(scores, [36, 30])
    np.testing.assert_array_equal(model.recommend(0, recalculate_user=True, N=1)[1], [4 * 8 + 2 * 4])


def test_unneeded_user_items_are_not_looked_at(model):
    # Code written for implicit may pass the whole matrix here.
    np.testing.assert_array_equal(model.recommend(0, SEEN, N=1, filter_already_liked_items=False)[0], [0])


def test_without_training_rows(model):
    model.seen_ = None
    np.testing.assert_array_equal(model.recommend(0, SEEN[[0]], N=2)[0], [1, 3])
    np.testing.assert_array_equal(model.recommend(0, N=2, filter_already_liked_items=False)[0], [0, 1])
    assert len(model.recommend_frame(exclude_seen=False, k=1)) == 3
    assert len(model.recommend_frame(histories={0: [1]}, k=1)) == 1


matrices = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@settings(deadline=None, max_examples=60)
@given(rng=matrices, n_users=st.integers(1, 9), n_items=st.integers(1, 12), k=st.integers(1, 15))
def test_lists_against_loops(rng, n_users, n_items, k):
    # Small integers make ties, which must come by row.
    user_factors, item_factors = rng.integers(-2, 3, (n_users, 3)), rng.integers(-2, 3, (n_items, 3))
    seen = rng.random((n_users, n_items)) < 0.3
    items, filtered = np.flatnonzero(rng.random(n_items) < 0.7), np.flatnonzero(rng.random(n_items) < 0.2)
    asked = rng.integers(0, n_users, 5)
    model = Fixed(user_factors, item_factors, csr_array(seen.astype(np.float32)))
    ids, scores = model.recommend(asked, N=k, items=items, filter_items=filtered)
    for place, user in enumerate(asked):
        allowed = [item for item in items if item not in filtered and not seen[user, item]]
        table = {item: float(user_factors[user] @ item_factors[item]) for item in allowed}
        expected = sorted(allowed, key=lambda item: (-table[item], item))[:k]
        none = min(k, n_items) - len(expected)
        assert ids[place].tolist() == expected + [-1] * none
        assert scores[place].tolist() == [table[item] for item in expected] + [-np.inf] * none


# similar_items, similar_users


def test_similarity_by_hand():
    items = [[3, 0], [4, 0], [0, 5], [-2, 0], [0, 0], [1, 1]]
    model = Fixed(np.eye(2), items, csr_array(np.ones((2, 6))))
    ids, scores = model.similar_items(1, N=6)
    np.testing.assert_array_equal(ids, [1, 0, 5, 2, 4, 3])
    np.testing.assert_allclose(scores, [1, 1, 0.5**0.5, 0, 0, -1], rtol=1e-6)
    # A vector of zeros is like itself, and like nothing else.
    ids, scores = model.similar_items(4, N=3)
    np.testing.assert_array_equal(ids, [4, 0, 1])
    np.testing.assert_array_equal(scores, [1, 0, 0])


def test_the_first_place_is_given_even_among_twins():
    items = np.tile([[0.1, 0.7, 0.3]], (50, 1))
    model = Fixed(np.ones((2, 3)), items, csr_array(np.ones((2, 50))))
    ids, scores = model.similar_items(np.arange(50), N=2)
    np.testing.assert_array_equal(ids[:, 0], np.arange(50))
    assert scores.max() == 1


def test_similarity_lists(model):
    np.testing.assert_array_equal(model.similar_items(2, N=5, items=[0, 4, 1])[0], [1, 0, 4])
    np.testing.assert_array_equal(model.similar_items(2, N=5, filter_items=[2, 0])[0], [1, 3, 4])
    np.testing.assert_array_equal(model.similar_items([2, 0], N=2, items=[0, 1])[0], [[1, 0], [0, 1]])
    np.testing.assert_array_equal(model.similar_users(0, N=9)[0], [0, 1, 2])
    np.testing.assert_array_equal(model.similar_users([0], N=4, users=[1, 2])[0], [[1, 2, -1]])
    assert model.similar_users([0], N=4, users=[1, 2])[1][0, 2:].tolist() == [-np.inf]


@pytest.mark.parametrize("n", [6, 10**12, 10**30])
def test_no_list_is_longer_than_the_catalogue(shop, n):
    for asked, width in (([0, 1, 2], None), (1, 4)):
        ids, scores = shop.recommend(asked, N=n)
        assert ids.shape == scores.shape == ((3, 5) if width is None else (width,))
        assert shop.similar_items(asked, N=n)[0].shape == ((3, 5) if width is None else (5,))
        assert shop.similar_users(asked, N=n)[0].shape == ((3, 3) if width is None else (3,))
    np.testing.assert_array_equal(shop.recommend([0, 1], N=n)[0], [[1, 3, 4, -1, -1], [3, 2, 1, 0, -1]])
    pd.testing.assert_frame_equal(shop.recommend_frame(k=n), shop.recommend_frame(k=5))
    pd.testing.assert_frame_equal(shop.similar_items_frame(k=n), shop.similar_items_frame(k=4))
    pd.testing.assert_frame_equal(shop.similar_users_frame(k=n), shop.similar_users_frame(k=2))
    others = recommend_frame(shop, Interactions.from_matrix(SEEN), k=n)
    pd.testing.assert_frame_equal(others, recommend_frame(shop, Interactions.from_matrix(SEEN), k=5))


def test_recalculated_items_by_hand(model):
    # An item liked by user 1 alone is the vector (0, 1): the item 4 = (1, 5) is nearest.
    ids, scores = model.similar_items(77, N=1, recalculate_item=True, item_users=csr_array([[0, 1, 0]]))
    np.testing.assert_array_equal(ids, [4])
    np.testing.assert_allclose(scores, 5 / 26**0.5, rtol=1e-6)
    np.testing.assert_array_equal(model.similar_items(4, N=1, recalculate_item=True)[0], [4])


@settings(deadline=None, max_examples=30)
@given(rng=matrices, n=st.integers(1, 20))
def test_similarity_against_loops(rng, n):
    vectors = rng.normal(size=(n, 3)).astype(np.float32)
    vectors[rng.random(n) < 0.2] = 0
    model = Fixed(vectors, vectors, csr_array(np.ones((n, n))))
    ids, scores = model.similar_users(np.arange(n), N=n)
    for user in range(n):
        assert ids[user, 0] == user
        for other, score in zip(ids[user, 1:], scores[user, 1:], strict=True):
            norms = np.linalg.norm(vectors[user]) * np.linalg.norm(vectors[other])
            assert score == pytest.approx(vectors[user] @ vectors[other] / norms if norms else 0, abs=1e-5)


# recommend_frame


def test_frame_by_hand(shop):
    frame = shop.recommend_frame(["bob", "ann"], k=4)
    expected = pd.DataFrame(
        {
            "user": ["bob"] * 4 + ["ann"] * 3,
            "item": [40, 30, 20, 10, 20, 40, 50],
            "score": np.array([4, 3, 2, 1, 4, 2, 1], dtype=np.float32),
            "rank": np.array([1, 2, 3, 4, 1, 2, 3], dtype=np.int32),
        }
    )
    pd.testing.assert_frame_equal(frame, expected)


def test_frame_for_everybody_and_for_one(shop):
    assert list(lists(shop.recommend_frame(k=1))) == ["ann", "bob", "cat"]
    assert lists(shop.recommend_frame("ann", k=1)) == {"ann": [20]}
    assert lists(shop.recommend_frame(pd.Series(["ann", "cat"]), k=1)) == {"ann": [20], "cat": [10]}
    assert lists(shop.recommend_frame(polars.Series(["ann", "cat"]), k=1)) == {"ann": [20], "cat": [10]}


def test_frame_with_seen_items(shop):
    assert lists(shop.recommend_frame("ann", k=2, exclude_seen=False)) == {"ann": [10, 20]}


def test_frame_allow_and_deny_for_everybody(shop):
    assert lists(shop.recommend_frame(["ann", "bob"], k=3, allow=[10, 20, 50], deny={50})) == {
        "ann": [20],
        "bob": [20, 10],
    }
    assert shop.recommend_frame(["ann"], allow=[]).empty


def test_frame_allow_and_deny_by_user(shop):
    frame = shop.recommend_frame(k=5, allow={"ann": [50, 40]}, deny={"bob": [40, 20], "cat": []})
    assert lists(frame) == {"ann": [40, 50], "bob": [30, 10], "cat": [10, 30, 40, 50]}
    assert frame["rank"].tolist() == [1, 2, 1, 2, 1, 2, 3, 4]
    both = shop.recommend_frame(k=5, allow={"ann": [50, 40], "bob": [30, 40]}, deny=[40])
    assert lists(both) == {"ann": [50], "bob": [30], "cat": [10, 30, 50]}


def test_frame_trained_only(shop):
    # Item 40 has no user.
    assert lists(shop.recommend_frame(["ann"], k=5, trained_only=True)) == {"ann": [20, 50]}
    assert lists(shop.recommend_frame(["ann"], k=5, trained_only=True, allow=[40, 50])) == {"ann": [50]}
    by_user = shop.recommend_frame(["ann", "bob"], k=5, trained_only=True, allow={"ann": [40, 20]})
    assert lists(by_user) == {"ann": [20], "bob": [30, 20, 10]}


def test_unknown_users(shop):
    assert lists(shop.recommend_frame(["eve", "ann"], k=1, unknown="skip")) == {"ann": [20]}
    data = Interactions.from_pairs([1, 2, 3, 1, 2, 3], ["a", "b", "b", "c", "c", "c"])
    popular = Svd().fit(data).recommend_frame([9, 2, 8], k=2, unknown="popular", deny={8: ["c"]})
    assert popular["user"].tolist() == [9, 9, 2, 8, 8]
    assert popular["user"].dtype == np.int64
    assert popular["item"].tolist() == ["c", "b", "a", "b", "a"]
    assert popular["score"].isna().tolist() == [True, True, False, True, True]


def test_unknown_items_are_passed_over_on_request(shop):
    frame = shop.recommend_frame("ann", k=3, allow=[20, 999, 50], deny=[50, "x"], unknown="skip")
    assert lists(frame) == {"ann": [20]}
    by_user = shop.recommend_frame(["ann"], k=3, allow={"ann": [999, 50]}, unknown="skip")
    assert lists(by_user) == {"ann": [50]}


def test_histories(shop):
    # eve is new: 40 and 50 sum to (3, 9). ann is known: her training items stay out, her score comes from the history.
    frame = shop.recommend_frame(histories={"eve": [40, 50], "ann": [50]}, k=2)
    assert lists(frame) == {"eve": [30, 20], "ann": [40, 20]}
    np.testing.assert_array_equal(frame["score"], [36, 30, 22, 14])
    mixed = shop.recommend_frame(["bob", "eve"], histories={"eve": [40, 50]}, k=1)
    assert lists(mixed) == {"bob": [40], "eve": [30]}
    assert lists(shop.recommend_frame(["ann"], histories={"ann": [50]}, k=3, exclude_seen=False)) == {
        "ann": [50, 40, 30]
    }


@pytest.mark.parametrize("make", [pd.DataFrame, polars.DataFrame])
def test_histories_as_frames(shop, make):
    told = make({"user": ["eve", "eve", "max"], "item": [40, 50, 10]})
    expected = shop.recommend_frame(histories={"eve": [40, 50], "max": [10]}, k=3)
    pd.testing.assert_frame_equal(shop.recommend_frame(histories=told, k=3), expected)
    pd.testing.assert_frame_equal(shop.recommend_frame(histories=Interactions.from_frame(told), k=3), expected)


def test_histories_of_unknown_items_only(shop):
    assert shop.recommend_frame(histories={"eve": [999]}, unknown="skip").empty
    frame = shop.recommend_frame(["eve"], histories={"eve": [999]}, unknown="popular", k=2)
    assert frame["item"].tolist() == [10, 20]
    assert frame["score"].isna().all()


@pytest.mark.parametrize("make", [pd.DataFrame, polars.DataFrame])
def test_a_frame_in_gives_its_ids_out(make):
    frame = make({"user": [7, 7, 3, 9], "item": ["x", "y", "x", "z"], "rating": [1.0] * 4})
    got = Svd().fit(frame).recommend_frame([9, 3], k=3)
    assert got["user"].dtype == np.int64
    assert {user: set(items) for user, items in lists(got).items()} == {9: {"x", "y"}, 3: {"y", "z"}}


def test_lookups_follow_new_ids(shop):
    assert lists(shop.recommend_frame("ann", k=1)) == {"ann": [20]}
    again = shop.__class__(USERS, ITEMS, Interactions.from_matrix(SEEN, user_ids=[1, 2, 3]))
    shop.__dict__.update(again.__dict__)
    assert lists(shop.recommend_frame(1, k=1)) == {1: [1]}
    for other in (pickle.loads(pickle.dumps(shop)), copy.deepcopy(shop)):
        assert lists(other.recommend_frame(1, k=1)) == {1: [1]}


# recommend_frame for models of implicit


@pytest.fixture(scope="module")
def taken():
    rng = np.random.default_rng(3)
    matrix = (rng.random((20, 15)) < 0.3).astype(np.float32)
    matrix[np.arange(20), np.arange(20) % 15] = 1
    matrix[0] = 1
    matrix[0, 3] = 0
    return Interactions.from_matrix(
        csr_array(matrix), user_ids=[f"u{row}" for row in range(20)], item_ids=np.arange(15) + 100
    )


@pytest.fixture(scope="module", params=["als", "bpr", "knn"])
def foreign(request, taken):
    with threadpool_limits(1, "blas"):
        model = {
            "als": lambda: implicit.cpu.als.AlternatingLeastSquares(factors=4, random_state=1),
            "bpr": lambda: implicit.cpu.bpr.BayesianPersonalizedRanking(factors=4, random_state=1, num_threads=1),
            "knn": lambda: implicit.nearest_neighbours.ItemItemRecommender(K=5),
        }[request.param]()
        model.fit(csr_matrix(taken.matrix, dtype=np.float64), show_progress=False)
    return model


def test_implicit_models_never_list_a_seen_item(foreign, taken):
    frame = recommend_frame(foreign, taken, k=30)
    seen = set(zip(taken.user_ids[taken.users], taken.item_ids[taken.items], strict=True))
    pairs = list(zip(frame["user"], frame["item"], strict=True))
    assert not seen & set(pairs)
    assert len(pairs) == len(set(pairs))
    assert frame["score"].min() > -1e6
    assert lists(frame)["u0"] == [103]
    for _, part in frame.groupby("user"):
        assert part["score"].is_monotonic_decreasing
        assert part["rank"].tolist() == list(range(1, len(part) + 1))


def test_implicit_models_are_ranked_as_they_rank(foreign, taken):
    frame = recommend_frame(foreign, taken, ["u5", "u6"], k=4)
    for user in (5, 6):
        ids, scores = foreign.recommend(user, csr_matrix(taken.matrix[[user]]), N=4)
        part = frame[frame["user"] == f"u{user}"]
        np.testing.assert_allclose(part["score"], scores, rtol=1e-4)
        if hasattr(foreign, "item_factors"):  # neighbours tie often, and implicit then lists them in any order
            assert part["item"].tolist() == (ids + 100).tolist()


def test_implicit_models_with_lists(foreign, taken):
    frame = recommend_frame(
        foreign, taken, ["u5", "zz"], k=4, allow=[101, 102, 103], deny={"u5": [102]}, unknown="popular"
    )
    assert set(frame[frame["user"] == "u5"]["item"]) <= {101, 103}
    assert set(frame[frame["user"] == "zz"]["item"]) == {101, 102, 103}


def test_full_lists_of_factor_models_reach_every_item(taken):
    with threadpool_limits(1, "blas"):
        model = implicit.cpu.als.AlternatingLeastSquares(factors=4, random_state=1)
        model.fit(csr_matrix(taken.matrix, dtype=np.float64), show_progress=False)
    frame = recommend_frame(model, taken, k=99)
    assert len(frame) == 20 * 15 - taken.n_pairs


def test_our_models_and_matrices_and_gpu_factors(model):
    frame = recommend_frame(model, SEEN, [0], k=2)
    assert frame["item"].tolist() == [1, 3]
    assert frame["user"].tolist() == [0, 0]

    class Matrix:
        def __init__(self, table):
            self.table = np.array(table, dtype=np.float32)

        def to_numpy(self):
            return self.table

    class OnDevice:
        user_factors, item_factors = Matrix(USERS), Matrix(ITEMS)

    pd.testing.assert_frame_equal(recommend_frame(OnDevice(), SEEN, [0], k=2), frame)


def test_padding_of_implicit_is_dropped():
    class Padded:
        def recommend(self, userid, user_items, N=10, filter_already_liked_items=True):
            lowest = -np.finfo(np.float32).max
            return np.array([[4, 2, -1, 0, 0]]), np.array([[0.5, 0.25, lowest, lowest, lowest]])

    block = buir.ranking.sources.ListScorer(Padded(), SEEN).score_block(np.array([0])).numpy()
    np.testing.assert_array_equal(block, [[-np.inf, -np.inf, 0.25, -np.inf, 0.5]])
