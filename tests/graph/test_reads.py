"""Weighted reads of rows: sums by hand, gradients as transposes of what was read, copies of rows."""

import pytest
import torch

from buir.graph.reads import Bags, csr_product, neighbour_sum, read, take_rows, transpose, transpose_compact
from buir.graph.walks import sample_walks
from tests.support import dense

GRAPH = dense.graph_of(dense.random_matrix(density=0.3, seed=4))
WIDTHS = [5, 64, 130]


def table_of(width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(GRAPH.n_nodes, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_neighbour_sum_by_hand():
    rowptr = torch.tensor([0, 3, 3, 4], dtype=torch.int32)
    col = torch.tensor([2, 0, 2, 1], dtype=torch.int32)
    weight = torch.tensor([1.0, 2.0, 4.0, 8.0])
    table = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    expected = [[7.0, 5.0], [0.0, 0.0], [0.0, 8.0]]
    assert neighbour_sum(rowptr, col, weight, table).tolist() == expected
    assert csr_product(rowptr, col, weight, table).tolist() == expected


def test_neighbour_sum_carries_no_gradient():
    table = table_of(3).requires_grad_()
    assert not neighbour_sum(GRAPH.rowptr, GRAPH.col, GRAPH.weight, table).requires_grad


@pytest.mark.parametrize("width", WIDTHS)
def test_the_product_of_another_device_equals_it(width: int):
    table = table_of(width)
    torch.testing.assert_close(
        csr_product(GRAPH.rowptr, GRAPH.col, GRAPH.weight, table),
        neighbour_sum(GRAPH.rowptr, GRAPH.col, GRAPH.weight, table),
        rtol=0,
        atol=1e-13,
    )


def test_transpose_by_hand():
    nodes, weight = torch.tensor([2, 0, 2, 3]), torch.tensor([1.0, 2.0, 4.0, 8.0])
    rowptr, col, value = transpose(nodes, weight, 5)
    assert (rowptr.tolist(), col.tolist(), value.tolist()) == ([0, 1, 1, 3, 4, 4], [1, 0, 2, 3], [2, 1, 4, 8])
    assert (rowptr.dtype, col.dtype) == (torch.int32, torch.int32)
    rowptr, col, value = transpose(nodes, weight, 5, torch.tensor([0, 0, 1, 1], dtype=torch.int32))
    assert (rowptr.tolist(), col.tolist(), value.tolist()) == ([0, 1, 1, 3, 4, 4], [0, 0, 1, 1], [2, 1, 4, 8])


def test_transpose_compact_leaves_out_what_nobody_reads():
    nodes, weight = torch.tensor([7, 2, 7, 0], dtype=torch.int32), torch.tensor([1.0, 2.0, 4.0, 8.0])
    outputs = torch.tensor([0, 0, 1, 1], dtype=torch.int32)
    unique, (rowptr, col, value) = transpose_compact(nodes, weight, outputs)
    assert (unique.tolist(), unique.dtype) == ([0, 2, 7], torch.int64)
    assert (rowptr.tolist(), col.tolist(), value.tolist()) == ([0, 1, 2, 4], [1, 0, 0, 1], [8, 2, 1, 4])
    assert (rowptr.dtype, col.dtype) == (torch.int32, torch.int32)


@pytest.mark.parametrize("is_cpu", [True, False])
def test_rows_taken_are_copies_in_the_order_asked(is_cpu: bool, monkeypatch: pytest.MonkeyPatch):
    table = table_of(3)
    expected = table[[4, 0, 4, 20]]
    monkeypatch.setattr(torch.Tensor, "is_cpu", is_cpu)
    taken = take_rows(table.requires_grad_(), torch.tensor([4, 0, 4, 20]))
    assert torch.equal(taken, expected)
    taken.detach().zero_()
    assert torch.equal(table[[4, 0, 4, 20]], expected)


@pytest.mark.parametrize("width", [5, 130])
def test_read_and_its_gradient_are_a_matrix_and_its_transpose(width: int):
    rows = torch.tensor([0, 3, 19, 0, 7, 20])
    bags = sample_walks(GRAPH, rows, 2, 3, key=4)
    matrix = dense.reading_matrix(bags, GRAPH.n_nodes)
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(GRAPH.n_nodes, width, dtype=torch.float64, generator=generator)
    cotangent = torch.randn(len(rows), width, dtype=torch.float64, generator=generator)
    grads = []
    for sparse in (False, True):
        leaf = table.clone().requires_grad_()
        out = read(leaf, bags, sparse=sparse)
        torch.testing.assert_close(out.detach(), matrix @ table, rtol=0, atol=1e-13)
        (out * cotangent).sum().backward()
        grads.append(leaf.grad)
    assert not grads[0].is_sparse
    torch.testing.assert_close(grads[0], matrix.T @ cotangent, rtol=0, atol=1e-13)
    assert grads[1].is_sparse
    # distinct and ascending: the optimiser and the target rely on it
    assert grads[1]._indices()[0].tolist() == sorted(set(bags.node.tolist()))
    assert torch.equal(grads[1].to_dense(), grads[0])


@pytest.mark.parametrize("sparse", [False, True])
def test_the_path_of_another_device_gives_the_same(sparse: bool, monkeypatch: pytest.MonkeyPatch):
    bags = sample_walks(GRAPH, torch.tensor([0, 7, 7]), 2, 3, key=4)
    matrix = dense.reading_matrix(bags, GRAPH.n_nodes)
    cotangent = torch.arange(9, dtype=torch.float64).view(3, 3)
    table = torch.eye(GRAPH.n_nodes, 3, dtype=torch.float64, requires_grad=True)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    out = read(table, bags, sparse=sparse)
    out.backward(cotangent)
    torch.testing.assert_close(out.detach(), matrix @ table.detach())
    torch.testing.assert_close(table.grad.to_dense(), matrix.T @ cotangent)


@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_that_are_views(sparse: bool):
    # the gradients of a sum are one number expanded, those of columns are strided
    bags = sample_walks(GRAPH, torch.tensor([0, 7, 7]), 2, 3, key=4)
    matrix = dense.reading_matrix(bags, GRAPH.n_nodes)
    table = torch.zeros(GRAPH.n_nodes, 3, dtype=torch.float64, requires_grad=True)
    read(table, bags, sparse=sparse).sum().backward()
    torch.testing.assert_close(table.grad.to_dense(), matrix.T @ torch.ones(3, 3, dtype=torch.float64))
    table.grad = None
    columns = torch.arange(9, dtype=torch.float64).view(3, 3).T
    read(table, bags, sparse=sparse).backward(columns)
    torch.testing.assert_close(table.grad.to_dense(), matrix.T @ columns)


def test_gradcheck():
    bags = sample_walks(GRAPH, torch.tensor([0, 14, 14, 3]), 2, 2, key=9)
    table = torch.randn(GRAPH.n_nodes, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.autograd.gradcheck(lambda t: read(t, bags), table.requires_grad_())


def test_float64_tables_read_float32_weights():
    bags = Bags(torch.tensor([1, 0], dtype=torch.int32), torch.tensor([0.5, 0.25]), 2)
    table = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    assert read(table, bags).tolist() == [[1.25]]
