"""Random walks: weights by hand, unbiased against the dense propagation, gradients as transposes of what was read."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.sparse import csr_array

from buir.graph.hashing import stream
from buir.graph.reads import read
from buir.graph.walks import sample_walks
from tests.support import dense

MATRIX = dense.random_matrix(density=0.3, seed=4)
GRAPH = dense.graph_of(MATRIX)
A = dense.as_dense(GRAPH, GRAPH.weight)
ISOLATED = [3, 14 + 5]


def test_by_hand_on_a_path():
    # user 0 - item 0 - user 1: from an end, the walk's first two steps have no choice but the way back
    graph = dense.graph_of(csr_array(np.array([[1.0], [1.0]])))
    bags = sample_walks(graph, torch.tensor([0, 2]), 2, 3, key=1)
    assert bags.width == 7
    assert bags.offsets.tolist() == [0, 7, 14]
    node, weight = bags.node.view(2, 7), bags.weight.view(2, 7)
    assert node[0, :4].tolist() == [0, 2, 2, 2]
    assert set(node[0, 4:].tolist()) <= {0, 1}
    assert node[1, 0] == 2
    assert node[1, 4:].tolist() == [2, 2, 2]
    # sqrt(d_start / d_end) / (3 walks * 3 layers); ends have degree 1, the item degree 2
    assert weight[0].tolist() == pytest.approx([1 / 3, *[0.5**0.5 / 9] * 3, *[1 / 9] * 3])
    assert weight[1].tolist() == pytest.approx([1 / 3, *[2**0.5 / 9] * 3, *[1 / 9] * 3])


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_an_isolated_node_reads_only_itself(n_layers: int):
    bags = sample_walks(GRAPH, torch.tensor(ISOLATED), n_layers, 4, key=3)
    matrix = dense.reading_matrix(bags, GRAPH.n_nodes)
    expected = torch.zeros_like(matrix)
    expected[[0, 1], ISOLATED] = 1 / (n_layers + 1)
    assert torch.equal(matrix, expected)


def test_every_step_goes_to_a_neighbour():
    rows = torch.arange(GRAPH.n_nodes).repeat(20)
    nodes = sample_walks(GRAPH, rows, 3, 5, key=8).node.view(len(rows), 16)
    here = nodes[:, :1].repeat(1, 5)
    pattern = A > 0
    pattern |= torch.diag(GRAPH.degree == 0)
    for step in range(3):
        following = nodes[:, 1 + 5 * step : 6 + 5 * step]
        assert pattern[here, following].all()
        here = following


def test_the_largest_draw_is_the_last_neighbour_of_any_degree():
    degree = torch.cat([torch.arange(1.0, 2**20), 2.0**24 - torch.arange(2**18), 2.0 ** torch.arange(25)])
    assert torch.equal((degree * (1 - 2**-24)).to(torch.int32), degree.to(torch.int32) - 1)


def test_neighbours_are_equally_likely_at_every_step():
    node = int(GRAPH.degree.argmax())
    degree = int(GRAPH.degree[node])
    assert degree >= 5
    steps = sample_walks(GRAPH, torch.full((4000,), node), 3, 2, key=-7).node.view(4000, 7)
    first = np.bincount(steps[:, 1:3].reshape(-1).numpy())
    assert stats.chisquare(first[first > 0]).pvalue > 1e-3
    assert np.count_nonzero(first) == degree
    # from wherever a walk stands, the next step is uniform too
    for start in torch.unique(steps[:, 1:3]):
        at = steps[:, 1:3] == start
        after = np.bincount(steps[:, 3:5][at].numpy())
        assert stats.chisquare(after[after > 0]).pvalue > 1e-4


@pytest.mark.parametrize("n_layers", [0, 1, 2, 3])
def test_the_mean_over_many_draws_converges_to_the_propagation(n_layers: int):
    expected = dense.mean_of_powers(A, n_layers)
    everything = torch.eye(GRAPH.n_nodes, dtype=torch.float64)
    n = 4000
    for node in (0, 1, 3, 14, 14 + 7):
        draws = read(everything, sample_walks(GRAPH, torch.full((n,), node), n_layers, 4, key=stream(2, node)))
        error = (draws.mean(dim=0) - expected[node]).abs()
        assert (error <= 4.5 * draws.std(dim=0) / n**0.5 + 1e-7).all()


def test_walks_are_independent_of_each_other():
    # the variance of a mean over w independent walks is a w-th of one walk's
    table = torch.randn(GRAPH.n_nodes, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    n = 20_000
    for node in (int(GRAPH.degree.argmax()), 1):
        rows = torch.full((n,), node)
        one, eight = (read(table, sample_walks(GRAPH, rows, 3, walks, key=5)).var().item() for walks in (1, 8))
        assert eight / one == pytest.approx(1 / 8, rel=0.06)


def test_walks_of_neighbouring_rows_are_independent():
    # the draws of one walk at one step must not come back in another walk at another step
    node = int(GRAPH.degree.argmax())
    steps = sample_walks(GRAPH, torch.full((20_000,), node), 3, 1, key=6).node.view(-1, 4)
    first, third = steps[:, 1].double().numpy(), steps[:, 3].double().numpy()
    for offset in (1, 2, 3):
        shifted = first.reshape(-1, 4)[:, np.arange(4) ^ offset].reshape(-1)
        assert abs(np.corrcoef(shifted, third)[0, 1]) < 4.5 / 20_000**0.5
        assert abs(np.corrcoef(shifted, first)[0, 1]) < 4.5 / 20_000**0.5


def test_same_key_same_walks_other_key_other_walks():
    rows = torch.arange(GRAPH.n_nodes)
    one, again, other = (sample_walks(GRAPH, rows, 2, 6, key=key).node for key in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_graph_without_edges():
    graph = dense.graph_of(csr_array((2, 2), dtype=np.float32))
    matrix = dense.reading_matrix(sample_walks(graph, torch.tensor([0, 3]), 2, 2, key=0), 4)
    assert torch.equal(matrix, torch.eye(4, dtype=torch.float64)[[0, 3]] / 3)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 6), st.floats(0, 1), st.integers(0, 3), st.integers(1, 4), st.integers(0, 10**6)
)
def test_what_a_constant_over_root_degree_reads(n_users, n_items, density, n_layers, walks, seed):
    # E_t = sqrt(d_t) makes every walk worth sqrt(d_s), whatever it visits: any path gives the exact value
    rng = np.random.default_rng(seed)
    graph = dense.graph_of(csr_array((rng.random((n_users, n_items)) < density).astype(np.float32)))
    rows = torch.from_numpy(rng.integers(0, graph.n_nodes, size=5))
    table = graph.degree.sqrt().unsqueeze(1)
    out = read(table, sample_walks(graph, rows, n_layers, walks, key=seed))
    torch.testing.assert_close(out, table[rows], rtol=1e-12, atol=1e-12)
