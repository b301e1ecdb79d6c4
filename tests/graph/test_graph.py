"""The bipartite graph: both directions in one CSR, degrees, normalisation, keys of the edges."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from buir.graph.bipartite import BipartiteGraph
from tests.support import dense


def test_by_hand():
    # user 0 has items 0 and 2, user 1 has nothing, user 2 has item 2
    graph = BipartiteGraph.from_matrix(csr_array(np.array([[1.0, 0, 1], [0, 0, 0], [0, 0, 1]])))
    assert (graph.n_users, graph.n_items, graph.n_nodes) == (3, 3, 6)
    assert graph.rowptr.tolist() == [0, 2, 2, 3, 4, 4, 6]
    assert graph.col.tolist() == [3, 5, 5, 0, 0, 2]
    assert graph.degree.tolist() == [2, 0, 1, 1, 0, 2]
    half, root = 0.5, 0.5**0.5
    assert graph.weight.tolist() == pytest.approx([root, half, root, root, half, root], abs=1e-7)
    assert (graph.rowptr.dtype, graph.col.dtype) == (torch.int32, torch.int32)
    assert (graph.degree.dtype, graph.weight.dtype) == (torch.float32, torch.float32)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.floats(0, 1), st.integers(0, 10**6))
def test_equals_the_dense_normalised_adjacency(n_users: int, n_items: int, density: float, seed: int):
    pattern = (np.random.default_rng(seed).random((n_users, n_items)) < density).astype(np.float32)
    matrix = csr_array(pattern)
    graph = BipartiteGraph.from_matrix(matrix)
    built = dense.as_dense(graph, graph.weight)
    torch.testing.assert_close(built.double(), dense.adjacency(matrix), rtol=0, atol=1e-7)
    assert torch.equal(built, built.T)
    assert graph.degree.tolist() == [*pattern.sum(axis=1), *pattern.sum(axis=0)]


def test_equal_weights_change_nothing_but_degrees_and_the_matrix_is_not_modified():
    matrix = dense.random_matrix()
    scaled = matrix * 7
    before = [part.copy() for part in (scaled.data, scaled.indices, scaled.indptr)]
    graph = BipartiteGraph.from_matrix(scaled)
    torch.testing.assert_close(graph.weight, BipartiteGraph.from_matrix(matrix).weight, rtol=1e-6, atol=0)
    assert torch.equal(graph.degree, 7 * BipartiteGraph.from_matrix(matrix).degree)
    for part, old in zip((scaled.data, scaled.indices, scaled.indptr), before, strict=True):
        np.testing.assert_array_equal(part, old)


def test_edge_keys_of_the_reverse_edge_are_swapped():
    graph = BipartiteGraph.from_matrix(dense.random_matrix(seed=2))
    forward, backward = graph.edge_keys
    rows = torch.repeat_interleave(torch.arange(graph.n_nodes), graph.rowptr.diff()).tolist()
    ends = list(zip(rows, graph.col.tolist(), strict=True))
    of = dict(zip(ends, zip(forward.tolist(), backward.tolist(), strict=True), strict=True))
    for row, col in ends:
        assert of[row, col] == (dense.hash_pair(row, col), dense.hash_pair(col, row))
        assert of[row, col] == of[col, row][::-1]


def test_to_changes_the_kind_of_number_of_what_is_multiplied():
    graph = BipartiteGraph.from_matrix(dense.random_matrix()).to("cpu", torch.float64)
    assert (graph.weight.dtype, graph.degree.dtype, graph.col.dtype) == (torch.float64, torch.float64, torch.int32)
    torch.testing.assert_close(
        dense.as_dense(graph, graph.weight), dense.adjacency(dense.random_matrix()), rtol=0, atol=1e-7
    )


def test_edge_keys_do_not_ask_the_device():
    graph = BipartiteGraph.from_matrix(dense.random_matrix()).to("meta")
    forward, backward = graph.edge_keys
    assert forward.shape == backward.shape == graph.col.shape
    assert forward.device.type == "meta"
