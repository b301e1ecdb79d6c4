"""Propagation forward and backward against dense float64 matrices and torch_geometric's LGConv."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from buir.graph.bipartite import BipartiteGraph
from buir.graph.propagation import BLOCK, drop_edges, propagate, sum_of_layers
from tests.support import dense

MATRIX = dense.random_matrix()
GRAPH = dense.graph_of(MATRIX)
A = dense.as_dense(GRAPH, GRAPH.weight)
ROWS = torch.tensor([0, 3, 19, 19, 24, 7, 0, 0, 15])  # 3 and 19 are isolated; rows repeat
WIDTHS = [5, BLOCK, 130]


def table_of(width: int, seed: int = 0, n: int = GRAPH.n_nodes) -> torch.Tensor:
    return torch.randn(n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gradient(function, table: torch.Tensor, seed: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    """The output, and the gradient of its inner product with a random tensor."""
    leaf = table.clone().requires_grad_()
    out = function(leaf)
    cotangent = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(seed))
    (out * cotangent).sum().backward()
    assert leaf.grad is not None
    return out.detach(), leaf.grad


@pytest.mark.parametrize(("n_layers", "width"), [*itertools.product(range(4), WIDTHS)])
def test_equals_the_dense_mean_and_its_transpose(n_layers: int, width: int):
    encoder = dense.mean_of_powers(A, n_layers)[ROWS]
    table = table_of(width)
    out, grad = gradient(lambda t: propagate(t, GRAPH, n_layers, ROWS), table)
    expected_out, expected_grad = gradient(lambda t: encoder @ t, table)
    torch.testing.assert_close(out, expected_out, rtol=0, atol=1e-13)
    torch.testing.assert_close(grad, expected_grad, rtol=0, atol=1e-13)


@pytest.mark.parametrize("width", WIDTHS)
def test_float32_is_the_dense_result_to_rounding(width: int):
    graph = BipartiteGraph.from_matrix(MATRIX)
    encoder = dense.mean_of_powers(dense.adjacency(MATRIX), 3)[ROWS]
    out, grad = gradient(lambda t: propagate(t, graph, 3, ROWS), table_of(width).float())
    expected_out, expected_grad = gradient(lambda t: encoder @ t, table_of(width))
    torch.testing.assert_close(out.double(), expected_out, rtol=0, atol=2e-6)
    cotangent = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(9)).double()
    expected_grad = encoder.T @ cotangent
    torch.testing.assert_close(grad.double(), expected_grad, rtol=0, atol=5e-6)


@pytest.mark.parametrize(("n_layers", "rate"), [*itertools.product(range(4), (0.0, 0.3))])
def test_gradcheck(n_layers: int, rate: float):
    rows = torch.tensor([0, 15, 15, 3])
    torch.autograd.gradcheck(
        lambda table: propagate(table, GRAPH, n_layers, rows, drop_rate=rate, key=5), table_of(3).requires_grad_()
    )


@pytest.mark.parametrize("n_layers", range(4))
def test_equals_lgconv(n_layers: int):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        lgconv = pytest.importorskip("torch_geometric.nn").LGConv(normalize=True).double()
    source = torch.repeat_interleave(torch.arange(GRAPH.n_nodes), GRAPH.rowptr.diff())
    edges = torch.stack([source, GRAPH.col.long()])

    def mean(table: torch.Tensor) -> torch.Tensor:
        layers = [table]
        for _ in range(n_layers):
            layers.append(lgconv(layers[-1], edges))
        return torch.stack(layers).mean(dim=0)[ROWS]

    table = table_of(6)
    out, grad = gradient(lambda t: propagate(t, GRAPH, n_layers, ROWS), table)
    expected_out, expected_grad = gradient(mean, table)
    # our weights are rounded to float32 when the graph is built
    torch.testing.assert_close(out, expected_out, rtol=0, atol=1e-6)
    torch.testing.assert_close(grad, expected_grad, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("n_layers", "width"), [*itertools.product((1, 2, 3), (5, 130))])
def test_backward_of_dropped_edges_is_the_exact_transpose(n_layers: int, width: int):
    rate, key = 0.35, 77
    masked = A * dense.mask_matrix(GRAPH, rate, key)
    encoder = dense.mean_of_powers(masked, n_layers)[ROWS]
    assert not torch.equal(masked, masked.T)
    table = table_of(width)
    out, grad = gradient(lambda t: propagate(t, GRAPH, n_layers, ROWS, drop_rate=rate, key=key), table)
    expected_out, expected_grad = gradient(lambda t: encoder @ t, table)
    torch.testing.assert_close(out, expected_out, rtol=0, atol=1e-12)
    torch.testing.assert_close(grad, expected_grad, rtol=0, atol=1e-12)


def test_drop_edges_is_the_hashed_mask_and_its_transpose():
    masked = A * dense.mask_matrix(GRAPH, 0.5, -3)
    torch.testing.assert_close(dense.as_dense(GRAPH, drop_edges(GRAPH, 0.5, -3)), masked, rtol=0, atol=1e-15)
    transposed = dense.as_dense(GRAPH, drop_edges(GRAPH, 0.5, -3, transposed=True))
    torch.testing.assert_close(transposed, masked.T, rtol=0, atol=1e-15)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.6])
def test_drop_edges_share_rescaling_and_independence_of_directions(rate: float):
    pattern = csr_array((np.random.default_rng(1).random((200, 150)) < 0.4).astype(np.float32))
    graph = BipartiteGraph.from_matrix(pattern)
    weight = drop_edges(graph, rate, 31)
    kept = weight != 0
    torch.testing.assert_close(weight[kept], graph.weight[kept] / (1 - rate), rtol=1e-6, atol=0)
    n = len(weight)
    assert abs((~kept).double().mean().item() - rate) < 4 * np.sqrt(rate * (1 - rate) / n)
    other_direction = drop_edges(graph, rate, 31, transposed=True) != 0
    correlation = np.corrcoef(kept.double().numpy(), other_direction.double().numpy())[0, 1]
    # a symmetric pattern pairs every edge with its reverse twice, hence half the sample
    assert abs(correlation) < 4.5 / np.sqrt(n / 2)
    other_key = drop_edges(graph, rate, 32) != 0
    assert abs(np.corrcoef(kept.double().numpy(), other_key.double().numpy())[0, 1]) < 4.5 / np.sqrt(n)
    assert torch.equal(graph.weight, BipartiteGraph.from_matrix(pattern).weight)


def test_mean_over_masks_converges_to_the_whole_graph():
    # one layer: the expectation of a masked and rescaled product is the product
    table = table_of(4)
    draws = torch.stack([propagate(table, GRAPH, 1, ROWS, drop_rate=0.4, key=key) for key in range(600)])
    error = (draws.mean(dim=0) - propagate(table, GRAPH, 1, ROWS)).abs()
    assert (error <= 5 * draws.std(dim=0) / 600**0.5 + 1e-12).all()


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_the_path_of_another_device_gives_the_same(rate: float, monkeypatch: pytest.MonkeyPatch):
    table = table_of(70)
    expected_out, expected_grad = gradient(lambda t: propagate(t, GRAPH, 3, ROWS, drop_rate=rate, key=2), table)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    out, grad = gradient(lambda t: propagate(t, GRAPH, 3, ROWS, drop_rate=rate, key=2), table)
    torch.testing.assert_close(out, expected_out, rtol=0, atol=1e-13)
    torch.testing.assert_close(grad, expected_grad, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("n_layers", "width"), [*itertools.product(range(4), WIDTHS)])
def test_the_sum_of_layers_is_the_dense_one(n_layers: int, width: int):
    table = table_of(width)
    before = table.clone()
    expected = (n_layers + 1) * dense.mean_of_powers(A, n_layers) @ table
    for rows in (None, ROWS):
        total = sum_of_layers(table.requires_grad_(), GRAPH, n_layers, rows=rows)
        assert not total.requires_grad
        torch.testing.assert_close(total, expected if rows is None else expected[rows], rtol=0, atol=1e-12)
        total.zero_()
        assert torch.equal(table.detach(), before)


def test_gradients_that_are_views():
    encoder = dense.mean_of_powers(A, 2)[ROWS]
    for width in (3, 70):
        table = torch.zeros(GRAPH.n_nodes, width, dtype=torch.float64, requires_grad=True)
        propagate(table, GRAPH, 2, ROWS).sum().backward()
        torch.testing.assert_close(table.grad, encoder.T @ torch.ones(len(ROWS), width, dtype=torch.float64))
        table.grad = None
        columns = torch.arange(len(ROWS) * width, dtype=torch.float64).view(width, len(ROWS)).T
        propagate(table, GRAPH, 2, ROWS).backward(columns)
        torch.testing.assert_close(table.grad, encoder.T @ columns)


def test_rows_of_nothing_and_a_graph_without_edges():
    assert propagate(table_of(5), GRAPH, 2, torch.empty(0, dtype=torch.int64)).shape == (0, 5)
    empty = dense.graph_of(csr_array((3, 2), dtype=np.float32))
    table = table_of(4, n=5)
    out, grad = gradient(lambda t: propagate(t, empty, 2, torch.tensor([1, 4, 4])), table)
    torch.testing.assert_close(out, table[[1, 4, 4]] / 3)
    assert torch.count_nonzero(grad[[0, 2, 3]]) == 0


def test_the_table_is_not_modified():
    table = table_of(70)
    before = table.clone()
    gradient(lambda t: propagate(t, GRAPH, 3, ROWS, drop_rate=0.2, key=1), table)
    assert torch.equal(table, before)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 7),
    st.integers(1, 7),
    st.floats(0, 1),
    st.integers(0, 3),
    st.sampled_from([1, 3, 65]),
    st.floats(0, 0.9),
    st.integers(0, 10**6),
)
def test_propagation_of_any_graph(n_users, n_items, density, n_layers, width, rate, seed):
    rng = np.random.default_rng(seed)
    graph = dense.graph_of(csr_array((rng.random((n_users, n_items)) < density).astype(np.float32)))
    rows = torch.from_numpy(rng.integers(0, graph.n_nodes, size=6))
    masked = dense.as_dense(graph, graph.weight)
    if rate:
        masked *= dense.mask_matrix(graph, rate, seed)
    encoder = dense.mean_of_powers(masked, n_layers)[rows]
    table = table_of(width, n=graph.n_nodes)
    out, grad = gradient(lambda t: propagate(t, graph, n_layers, rows, drop_rate=rate, key=seed), table)
    expected_out, expected_grad = gradient(lambda t: encoder @ t, table)
    torch.testing.assert_close(out, expected_out, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-11, atol=1e-11)
