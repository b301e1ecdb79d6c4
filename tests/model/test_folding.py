"""Folding in users and items against the encoder itself, and the explanation of a score."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array

from buir import BUIR
from buir.graph.bipartite import BipartiteGraph
from buir.model.folding import fit_folding


@pytest.fixture(scope="module")
def matrix():
    rng = np.random.default_rng(0)
    dense = rng.random((60, 40)) < 0.15
    dense[:, 0] = True
    dense[0, :] |= rng.random(40) < 0.5
    return csr_array(dense.astype(np.float32))


def dense_layers(matrix, table, n_layers):
    n_users, n_items = matrix.shape
    adjacency = np.zeros((n_users + n_items,) * 2)
    adjacency[:n_users, n_users:] = matrix.toarray()
    adjacency += adjacency.T
    degree = np.maximum(adjacency.sum(1), 1)
    adjacency /= np.sqrt(np.outer(degree, degree))
    layers = [table]
    for _ in range(n_layers):
        layers.append(adjacency @ layers[-1])
    return layers


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_sums_are_the_layers_above_the_first(matrix, n_layers):
    table = np.random.default_rng(1).normal(size=(100, 5))
    graph = BipartiteGraph.from_matrix(matrix).to("cpu", torch.float64)
    users, items = fit_folding(torch.from_numpy(table), graph, n_layers, matrix)
    upper = sum(dense_layers(matrix, table, n_layers)[1:])
    np.testing.assert_allclose(users.scaled_sum(matrix).numpy(), upper[:60], rtol=1e-5, atol=1e-7)
    transposed = csr_array(matrix.T.tocsr())
    np.testing.assert_allclose(items.scaled_sum(transposed).numpy(), upper[60:], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("n_layers", [1, 2, 3])
@pytest.mark.parametrize("side", [0, 1])
def test_own_part_is_the_ridge_regression_from_the_sums_of_strangers(matrix, n_layers, side):
    table = np.random.default_rng(2).normal(size=(100, 5))
    graph = BipartiteGraph.from_matrix(matrix).to("cpu", torch.float64)
    folding = fit_folding(torch.from_numpy(table), graph, n_layers, matrix)[side]
    rows, nodes = (csr_array(matrix.T.tocsr()), range(60, 100)) if side else (matrix, range(60))
    inputs = []
    for node in nodes:
        without = table.copy()
        without[node] = 0
        inputs.append(sum(dense_layers(matrix, without, n_layers)[1:])[node])
    inputs = np.array(inputs)
    gram = inputs.T @ inputs
    ridge = 1e-3 * np.trace(gram) / 5
    expected = np.linalg.solve(gram + ridge * np.eye(5), inputs.T @ table[list(nodes)])
    np.testing.assert_allclose(folding.own.numpy(), expected, rtol=1e-5, atol=1e-7)
    summed = folding.scaled_sum(rows).numpy()
    np.testing.assert_allclose(
        folding.vectors(rows).numpy(), (summed + summed @ expected) / (n_layers + 1), rtol=1e-5, atol=1e-7
    )


def test_the_own_part_of_strangers_is_recovered_where_it_is_a_linear_map_of_their_sum():
    # Every user has one item of her own, so layer 2 returns her own embedding whole; items' embeddings are theirs turned round, e_i = -2 e_u.
    own = np.random.default_rng(5).normal(size=(30, 4))
    table = torch.from_numpy(np.concatenate([own, -2 * own]))
    matrix = csr_array(np.eye(30, dtype=np.float32))
    users, _ = fit_folding(table, BipartiteGraph.from_matrix(matrix).to("cpu", torch.float64), 2, matrix)
    # a stranger's sum is e_i alone, of which the own part is -1/2
    np.testing.assert_allclose(users.own.numpy(), -0.5 * np.eye(4), atol=2e-3)


def test_id_folds_the_scaled_sum_of_the_items(matrix):
    table = np.random.default_rng(3).normal(size=(100, 5))
    users, _ = fit_folding(torch.from_numpy(table), BipartiteGraph.from_matrix(matrix), 0, matrix)
    summed = matrix.toarray() @ table[60:] / np.sqrt(matrix.toarray().sum(1, keepdims=True))
    gram = summed.T @ summed
    expected = np.linalg.solve(gram + 1e-3 * np.trace(gram) / 5 * np.eye(5), summed.T @ table[:60])
    np.testing.assert_allclose(users.own.numpy(), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(users.vectors(matrix).numpy(), summed @ expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(users.scoring_vectors(matrix), users.vectors(matrix))


def test_neighbours_add_up_to_the_sum(matrix):
    table = torch.randn(100, 5, generator=torch.Generator().manual_seed(0))
    for n_layers in (0, 2):
        users, _ = fit_folding(table, BipartiteGraph.from_matrix(matrix), n_layers, matrix)
        row = csr_array(matrix[[3]])
        torch.testing.assert_close(users.neighbours(row).sum(0), users.scaled_sum(row)[0], rtol=1e-4, atol=1e-6)


def test_a_stranger_without_history_is_zero(matrix):
    users, _ = fit_folding(torch.randn(100, 5), BipartiteGraph.from_matrix(matrix), 2, matrix)
    assert not users.vectors(csr_array((2, 40), dtype=np.float32)).any()
    assert not users.scoring_vectors(csr_array((2, 40), dtype=np.float32)).any()


@pytest.mark.parametrize("encoder", ["graph", "walk"])
def test_explanation_adds_up_to_the_returned_score(matrix, encoder):
    model = BUIR(encoder=encoder, embedding_dim=8, epochs=5, batch_size=64).fit(matrix, show_progress=False)
    ids, scores = model.recommend(7, N=3)
    for item, score in zip(ids, scores, strict=True):
        frame = model.explain(7, int(item))
        assert frame["contribution"].sum() == pytest.approx(score, rel=1e-4, abs=1e-6)
        assert frame["part"].tolist()[-2:] == ["own embedding", "bias"]
        assert sorted(frame["item"][:-2].tolist()) == matrix[[7]].indices.tolist()
        assert frame["contribution"][:-2].is_monotonic_decreasing


@pytest.mark.parametrize("encoder", ["id", "graph", "walk"])
@pytest.mark.parametrize(
    "terms",
    [{}, {"filter": 0.5, "popularity": 0.2, "block": 0.3, "dial": 0.4}, {"popularity": 0.3}, {"filter": 1.0}],
)
def test_an_explanation_of_a_stranger_adds_up_to_her_score(matrix, encoder, terms):
    settings = {"embedding_dim": 8, "epochs": 3, "batch_size": 64, "inner_validation": False, "uniformity": 0.0}
    model = BUIR(encoder=encoder, terms=terms, **settings).fit(matrix, show_progress=False)
    history = [30, 2, 11]
    for user in (1000, 7):  # of a known user the history counts too, and not her training
        listed = model.recommend_frame(user, histories={user: history}, k=3)
        for item, score in zip(listed["item"], listed["score"], strict=True):
            frame = model.explain(user, item, histories={user: history})
            assert frame["contribution"].sum() == pytest.approx(score, rel=1e-4, abs=1e-6)
            assert sorted(frame["item"][:3].tolist()) == sorted(history)
            assert set(frame["part"][3:]) == {"bias", *terms} - {"dial"}
    as_frame = pd.DataFrame({"user_id": [1000] * 3, "item_id": history})
    own = model.explain(1000, 5, histories={1000: history})
    pd.testing.assert_frame_equal(model.explain(1000, 5, histories=as_frame), own)
    if encoder != "id":  # who is not named goes by training
        pd.testing.assert_frame_equal(model.explain(7, 5, histories=as_frame), model.explain(7, 5))
    with pytest.raises(ValueError, match=r"user is 999, .* and histories say what others have liked"):
        model.explain(999, 5, histories=as_frame)


def test_explanation_refuses_what_has_none(matrix):
    model = BUIR(encoder="id", embedding_dim=8, epochs=2, batch_size=64).fit(matrix, show_progress=False)
    with pytest.raises(ValueError, match="no sum over her history to explain; expected encoder 'graph' or 'walk'"):
        model.explain(0, 0)
    with pytest.raises(ValueError, match="item is 40, an id unknown to the model"):
        model.explain(0, 40)


@pytest.mark.parametrize("encoder", ["id", "walk"])
def test_strangers_are_scored_from_their_scoring_vectors(matrix, encoder):
    model = BUIR(encoder=encoder, embedding_dim=8, epochs=5, batch_size=64).fit(matrix, show_progress=False)
    history = csr_array((np.ones(3, dtype=np.float32), ([0, 0, 0], [2, 5, 11])), shape=(1, 40))
    ids, scores = model.recommend(10**6, history, N=40, recalculate_user=True)
    weight, bias = model.weights_.predictor_weight.numpy(), model.weights_.predictor_bias.numpy()
    user = model.folding_[0].scoring_vectors(history)[0].numpy()
    expected = model.item_factors @ (user @ (weight + weight.T) + bias)
    np.testing.assert_allclose(scores, expected[ids], rtol=1e-4, atol=1e-6)
    assert sorted(ids) == sorted(set(range(40)) - {2, 5, 11})
