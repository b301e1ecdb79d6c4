"""Encoders: what each call draws, and prediction from the whole graph."""

import numpy as np
import pytest
import torch

from buir.graph.encoders import EmbeddingEncoder, GraphEncoder, WalkEncoder, mean_of_layers
from buir.graph.hashing import stream
from tests.support import dense

GRAPH = dense.graph_of(dense.random_matrix())
A = dense.as_dense(GRAPH, GRAPH.weight)
TABLE = torch.randn(GRAPH.n_nodes, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
ROWS = torch.tensor([4, 0, 4, 20, 3])


@pytest.mark.parametrize("sparse", [False, True])
def test_the_embedding_encoder_reads_rows(sparse: bool):
    leaf = TABLE.clone().requires_grad_()
    out = EmbeddingEncoder().encode(leaf, ROWS, 0, sparse=sparse)
    assert torch.equal(out, TABLE[ROWS])
    out[0].sum().backward()
    grad = leaf.grad.to_dense() if sparse else leaf.grad
    assert leaf.grad.is_sparse == sparse
    expected = torch.zeros_like(TABLE)
    expected[4] = 1
    assert torch.equal(grad, expected)
    assert torch.equal(EmbeddingEncoder().encode_all(leaf), TABLE)


@pytest.mark.parametrize("encoder", [GraphEncoder(GRAPH, 3, 0.5), WalkEncoder(GRAPH, 3, 2)])
def test_prediction_is_the_exact_mean_over_the_layers(encoder: GraphEncoder | WalkEncoder):
    leaf = TABLE.clone().requires_grad_()
    vectors = encoder.encode_all(leaf)
    assert not vectors.requires_grad
    torch.testing.assert_close(vectors, dense.mean_of_powers(A, 3) @ TABLE, rtol=0, atol=1e-13)
    assert torch.equal(leaf.detach(), TABLE)


def test_mean_of_layers_of_no_layer_is_a_copy():
    copy = mean_of_layers(TABLE, GRAPH, 0)
    assert torch.equal(copy, TABLE)
    assert copy.data_ptr() != TABLE.data_ptr()


def test_the_graph_encoder_masks_at_a_rate_of_its_own():
    encoder = GraphEncoder(GRAPH, 2, 0.6)
    for key in (stream(0, 1), stream(0, 2)):
        rate = 0.6 * (stream(key, 1) + 2**31) / 2**32
        masked = A * dense.mask_matrix(GRAPH, rate, key)
        expected = dense.mean_of_powers(masked, 2)[ROWS] @ TABLE
        torch.testing.assert_close(encoder.encode(TABLE, ROWS, key), expected, rtol=0, atol=1e-12)


def test_rates_are_uniform_below_the_upper_bound(monkeypatch: pytest.MonkeyPatch):
    rates = []
    monkeypatch.setattr("buir.graph.encoders.propagate", lambda *_, drop_rate, key: rates.append((drop_rate, key)))
    encoder = GraphEncoder(GRAPH, 2, 0.2)
    for step in range(2000):
        encoder.encode(TABLE, ROWS, stream(step, 0))
    drawn = np.array([rate for rate, _ in rates])
    assert drawn.min() >= 0
    assert drawn.max() < 0.2
    assert abs(drawn.mean() - 0.1) < 4 * 0.2 / np.sqrt(12 * len(drawn))
    assert np.bincount((drawn / 0.02).astype(int), minlength=10).min() > 140
    assert [key for _, key in rates] == [stream(step, 0) for step in range(2000)]


def test_the_rate_says_nothing_about_the_mask():
    # the same key gives rate and mask: their hashes must not be related
    rates, first_edge = [], []
    for step in range(3000):
        key = stream(9, step)
        rates.append((stream(key, 1) + 2**31) / 2**32)
        first_edge.append(dense.hash_int(dense.hash_pair(0, 15), key))
    assert abs(np.corrcoef(rates, first_edge)[0, 1]) < 4.5 / np.sqrt(3000)


def test_without_edge_dropping_the_key_does_not_matter():
    encoder = GraphEncoder(GRAPH, 2)
    assert torch.equal(encoder.encode(TABLE, ROWS, 1), encoder.encode(TABLE, ROWS, 2))


def test_the_whole_graph_encoder_refuses_row_sparse_training():
    with pytest.raises(ValueError, match="moves every row in a step; row-sparse training needs encoder 'walk' or 'id'"):
        GraphEncoder(GRAPH, 2).encode(TABLE, ROWS, 0, sparse=True)


def test_the_walk_encoder_is_random_and_named_by_its_key():
    encoder = WalkEncoder(GRAPH, 2, 4)
    one, again, other = (encoder.encode(TABLE, ROWS, key) for key in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    # a repeated row gets its own walks
    assert not torch.equal(one[0], one[2])
