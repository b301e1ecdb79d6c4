"""Weights of edges: a weight of 2 is an edge written twice, in the matrix, the walks and the spectrum."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.sparse import csr_array

from buir.graph import BipartiteGraph, read, sample_walks, spectral_factors, stream
from tests.support import dense
from tests.support.written import COUNTS, adjacency, rows_of

GRAPH = dense.graph_of(COUNTS)
A = adjacency(COUNTS)


def test_by_hand():
    # user 0 has item 0 three times and item 1 once
    graph = BipartiteGraph.from_matrix(csr_array(np.array([[3, 1], [0, 1]], dtype=np.float32)))
    assert graph.degree.tolist() == [4, 1, 3, 2]
    assert graph.weight.tolist() == pytest.approx([3 / 12**0.5, 8**-0.5, 2**-0.5, 3 / 12**0.5, 8**-0.5, 2**-0.5])
    assert graph.reach is not None
    assert graph.reach.tolist() == [0, 3, 4, 5, 8, 9, 10]


def test_the_adjacency_is_that_of_the_graph_with_every_edge_written_out():
    torch.testing.assert_close(dense.as_dense(GRAPH, GRAPH.weight), A, rtol=1e-6, atol=1e-8)
    written = np.zeros(GRAPH.n_nodes)
    for user, item in rows_of(COUNTS):
        written[[user, GRAPH.n_users + item]] += 1
    assert GRAPH.degree.tolist() == written.tolist()


def test_walks_take_edges_in_proportion_to_their_weights():
    node = int(GRAPH.rowptr.diff()[: GRAPH.n_users].argmax())
    first = sample_walks(GRAPH, torch.full((8000,), node), 1, 2, key=-3).node.view(8000, 3)[:, 1:]
    taken = np.bincount(first.reshape(-1).numpy(), minlength=GRAPH.n_nodes)[GRAPH.n_users :]
    wanted = COUNTS[[node]].toarray().ravel().astype(np.float64)
    assert taken[wanted == 0].sum() == 0
    there = wanted > 0
    assert there.sum() >= 4
    assert len(set(wanted[there])) >= 3
    assert stats.chisquare(taken[there], 16_000 * wanted[there] / wanted.sum()).pvalue > 1e-3


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_the_mean_over_many_walks_is_the_propagation(n_layers):
    expected = dense.mean_of_powers(A, n_layers)
    everything = torch.eye(GRAPH.n_nodes, dtype=torch.float64)
    for node in (0, 1, 3, GRAPH.n_users, GRAPH.n_users + 5, GRAPH.n_users + 7):
        draws = read(everything, sample_walks(GRAPH, torch.full((4000,), node), n_layers, 4, key=stream(2, node)))
        error = (draws.mean(dim=0) - expected[node]).abs()
        assert (error <= 4.5 * draws.std(dim=0) / 4000**0.5 + 1e-7).all()


@pytest.mark.parametrize("size", [3.0, 1 / 8, 1e-6])
def test_equal_weights_walk_like_none(size):
    plain = dense.random_matrix(40, 30, seed=2)
    rows = torch.arange(70)
    walked, heavy = (sample_walks(dense.graph_of(matrix), rows, 3, 8, key=9) for matrix in (plain, plain * size))
    assert torch.equal(walked.node, heavy.node)
    torch.testing.assert_close(walked.weight, heavy.weight, rtol=1e-6, atol=0)


def test_no_walk_leaves_for_the_edge_of_another_node():
    # weights so different that sums of many edges round single ones away
    rng = np.random.default_rng(0)
    matrix = dense.random_matrix(60, 50, seed=3)
    matrix.data = np.exp(rng.normal(0, 12, matrix.nnz)).astype(np.float32)
    graph = dense.graph_of(matrix)
    rows = torch.arange(graph.n_nodes).repeat(50)
    steps = sample_walks(graph, rows, 2, 2, key=4).node.view(len(rows), 5).long()
    linked = dense.as_dense(graph, torch.ones_like(graph.weight)) + torch.diag((graph.degree == 0).double())
    for here, following in ((0, 1), (0, 2), (1, 3), (2, 4)):
        assert (linked[steps[:, here], steps[:, following]] > 0).all()


def test_the_spectrum_is_that_of_the_written_out_matrix():
    table = np.zeros(COUNTS.shape)
    for user, item in rows_of(COUNTS):
        table[user, item] += 1
    scaled = table.copy()
    for axis in (1, 0):
        degree = table.sum(axis=axis)
        root = np.sqrt(degree + degree[degree > 0].mean())
        scaled /= np.expand_dims(root, axis)
    expected = np.linalg.svd(scaled)
    found = spectral_factors(COUNTS, 4)
    np.testing.assert_allclose(found.values, expected.S[:4], rtol=1e-5)
    np.testing.assert_allclose(np.abs(found.users.numpy()), np.abs(expected.U[:, :4]), atol=1e-5)
    randomised = spectral_factors(dense.random_matrix(80, 70, seed=1) * 2, 4, oversampling=8)
    plain = spectral_factors(dense.random_matrix(80, 70, seed=1), 4, oversampling=8)
    torch.testing.assert_close(randomised.items, plain.items, rtol=1e-3, atol=1e-4)


def test_what_a_history_adds_gives_the_spectrum_back():
    spectrum = spectral_factors(COUNTS, 5)
    of_users, of_items = COUNTS.sum(axis=1), COUNTS.sum(axis=0)
    lifted = COUNTS @ spectrum.lift(of_items, 1.0).numpy()
    there = of_users > 0
    scale = 1 / np.sqrt(of_users + of_users[there].mean())
    expected = spectrum.users * spectrum.values
    np.testing.assert_allclose((scale[:, None] * lifted)[there], expected[there], atol=1e-5)
