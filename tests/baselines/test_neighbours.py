"""Item-KNN against loops over dense columns."""

import math

import numpy as np
import pytest
from scipy.sparse import csr_array

from baselines.neighbours import ItemKNN, nearest_others


def random_dense(n_users: int = 160, n_items: int = 13, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    dense = rng.random((n_users, n_items)) < rng.uniform(0.1, 0.6, n_items)
    dense[np.arange(n_users), np.arange(n_users) % n_items] = True
    return dense.astype(np.float32)


def weighted(dense: np.ndarray, similarity: str, k1: float = 1.2, b: float = 0.75) -> np.ndarray:
    """Users of each item, weighted; one number at a time."""
    n_users, n_items = dense.shape
    out = np.zeros((n_users, n_items))
    mean_length = dense.sum() / n_items
    for u in range(n_users):
        for i in range(n_items):
            if dense[u, i]:
                length = dense[:, i].sum()
                if similarity == "cosine":
                    out[u, i] = 1 / math.sqrt(length)
                else:
                    rarity = math.log(n_items) - math.log1p(dense[u].sum())
                    out[u, i] = (k1 + 1) / (k1 * (1 - b + b * length / mean_length) + 1) * rarity
    return out


def brute_scores(dense: np.ndarray, similarity: str, k: int, **bm25: float) -> np.ndarray:
    vectors = weighted(dense, similarity, **bm25)
    n_users, n_items = dense.shape
    scores = np.zeros((n_users, n_items))
    for j in range(n_items):
        alike = {i: float(vectors[:, j] @ vectors[:, i]) for i in range(n_items) if i != j}
        ordered = sorted(alike, key=lambda i: -alike[i])
        nearest = ordered[:k]
        if k < n_items - 1:
            assert alike[ordered[k - 1]] - alike[ordered[k]] > 1e-9, "choose data without ties at the last neighbour"
        for u in range(n_users):
            if dense[u, j]:
                for i in nearest:
                    scores[u, i] += alike[i]
    return scores


def test_cosine_by_hand():
    # Items 0 and 1 share two of 2 and 3 users, items 1 and 2 share one of 3 and 1.
    train = csr_array([[1, 1, 0], [1, 1, 0], [0, 1, 1]])
    model = ItemKNN(neighbours=2).fit(train, show_progress=False)
    near, far = 2 / math.sqrt(6), 1 / math.sqrt(3)
    np.testing.assert_allclose(model.weights.toarray(), [[0, near, 0], [near, 0, far], [0, far, 0]], rtol=1e-6)
    ids, scores = model.recommend([0, 2], N=1)
    assert ids.tolist() == [[2], [0]]
    np.testing.assert_allclose(scores, [[far], [near]], rtol=1e-6)


@pytest.mark.parametrize("k", [1, 3, 8, 50])
@pytest.mark.parametrize("similarity", ["cosine", "bm25"])
def test_scores_are_those_of_the_loops(similarity, k):
    dense = random_dense()
    model = ItemKNN(similarity=similarity, neighbours=k).fit(csr_array(dense), show_progress=False)
    scores = model.scorer().score_block(np.arange(160)).numpy()
    np.testing.assert_allclose(scores, brute_scores(dense, similarity, k), rtol=1e-5, atol=1e-6)
    assert np.diff(model.weights.indptr).max() <= k


def test_bm25_settings_reach_the_weights():
    dense = random_dense()
    model = ItemKNN(similarity="bm25", neighbours=4, bm25_k1=50.0, bm25_b=0.2).fit(csr_array(dense))
    expected = brute_scores(dense, "bm25", 4, k1=50.0, b=0.2)
    np.testing.assert_allclose(model.scorer().score_block(np.arange(160)).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_only_the_asked_users_are_made_dense():
    model = ItemKNN().fit(csr_array(random_dense()))
    scores = model.scorer().score_block(np.array([7, 2]))
    assert scores.shape == (2, 13)
    everybody = model.scorer().score_block(np.arange(160))
    np.testing.assert_array_equal(scores, everybody[[7, 2]])


def test_the_number_of_threads_changes_nothing():
    train = csr_array(random_dense(200, 40))
    one, two = (ItemKNN(neighbours=5, num_threads=n).fit(train).weights.toarray() for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_a_new_user_scores_by_their_items():
    dense = random_dense()
    model = ItemKNN(neighbours=5).fit(csr_array(dense))
    ids, scores = model.recommend(9, N=4)
    new_ids, new_scores = model.recommend(500, csr_array(dense[[9]]), N=4, recalculate_user=True)
    np.testing.assert_array_equal(new_ids, ids)
    np.testing.assert_array_equal(new_scores, scores)


@pytest.mark.parametrize("similarity", ["cosine", "bm25"])
def test_similar_items_are_cosines_of_the_weighted_columns(similarity):
    dense = random_dense()
    dense[:, 5] = dense[:, 2] = np.maximum(dense[:, 2], dense[:, 5])  # twins: none may take the other's first place
    model = ItemKNN(similarity=similarity, neighbours=1).fit(csr_array(dense))
    vectors = weighted(dense, similarity)
    vectors /= np.linalg.norm(vectors, axis=0)
    ids, scores = model.similar_items(np.arange(13), N=13)
    np.testing.assert_array_equal(ids[:, 0], np.arange(13))
    assert ids[5, 1] == 2
    np.testing.assert_allclose(scores, np.take_along_axis(vectors.T @ vectors, ids.astype(int), 1), rtol=1e-5)
    np.testing.assert_array_equal(model.similar_items(5, N=3, filter_items=[5, 2])[0], ids[5, 2:5])
    assert model.similar_items(5, N=3, items=[2, 5])[0].tolist() == [5, 2]
    with pytest.raises(ValueError, match="ItemKNN cannot recalculate items"):
        model.similar_items(0, recalculate_item=True)


def test_nearest_others_by_hand():
    similarity = csr_array([[9.0, 2.0, 2.0, 3.0], [5.0, 1.0, 0.0, 4.0], [0.0, 0.0, 1.0, 0.0], [1.0, 2.0, 3.0, 0.0]])
    expected = [[0, 2, 0, 3], [5, 0, 0, 4], [0, 0, 0, 0], [0, 2, 3, 0]]
    nearest = nearest_others(similarity, 2)
    np.testing.assert_array_equal(nearest.toarray(), expected)
    assert nearest.dtype == np.float32
    assert nearest.has_sorted_indices
