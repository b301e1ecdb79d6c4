"""Products with the graph and their gradients: the hot path.

Everything here is a weighted sum of table rows over the edges of a CSR. On a CPU ``embedding_bag`` computes it in one pass over the edges with
no temporary; on CUDA cuSPARSE does (row-parallel, so the result is deterministic).
"""

import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from buir.graph.bipartite import BipartiteGraph
from buir.graph.hashing import bernoulli

__all__ = ["drop_edges", "layer_tables", "neighbour_sum", "propagate", "transpose", "transpose_compact"]

BLOCK = 64
"""Columns worked on at once: a table of 100,000 rows then takes 25 MB and its gathered rows stay in the last-level cache (twice as fast at d = 256)."""


def neighbour_sum(rowptr: Tensor, col: Tensor, weight: Tensor, table: Tensor) -> Tensor:
    r"""Return :math:`y_r = \sum_{e \in r} w_e\, x_{c_e}` for each row of a CSR.

    Parameters
    ----------
    rowptr, col, weight
        The CSR: int32 (n_rows + 1,), int32 (n_edges,), floating (n_edges,).
    table
        Shape (n_cols, d).

    Returns
    -------
    Shape (n_rows, d). Carries no gradient: the callers know their transposes.
    """
    if table.is_cuda:
        return csr_product(rowptr, col, weight, table.detach())
    # detached: where a gradient is wanted, embedding_bag builds an index of the edges for its own backward
    return functional.embedding_bag(
        col, table.detach(), rowptr, mode="sum", per_sample_weights=weight, include_last_offset=True
    )


def csr_product(rowptr: Tensor, col: Tensor, weight: Tensor, table: Tensor) -> Tensor:
    """Return the same sum by torch's own CSR matrices: cuSPARSE on CUDA."""
    _accept_beta_state()
    size = (len(rowptr) - 1, len(table))
    return torch.sparse.mm(torch.sparse_csr_tensor(rowptr, col, weight, size, check_invariants=False), table)


@cache
def _accept_beta_state() -> None:
    """Make torch say once, to nobody, that its CSR matrices are in beta state."""
    none = torch.zeros(1, dtype=torch.int32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        torch.sparse_csr_tensor(none, none[:0], torch.zeros(0), (0, 0), check_invariants=False)


def drop_edges(graph: BipartiteGraph, rate: float, key: int, *, transposed: bool = False) -> Tensor:
    """Return the edge weights with a share ``rate`` of the directed edges set to zero and the rest divided by 1 - rate.

    The two directions of an interaction drop independently. With ``transposed`` the same mask is drawn for the transposed matrix, on the
    same CSR, by hashing every edge's swapped end points.
    """
    forward, backward = graph.edge_keys
    kept = bernoulli(backward if transposed else forward, key, 1 - rate)
    return (graph.weight * kept).div_(1 - rate)


def propagate(
    table: Tensor, graph: BipartiteGraph, n_layers: int, rows: Tensor, *, drop_rate: float = 0.0, key: int = 0
) -> Tensor:
    r"""Return rows of the mean over the layers, :math:`\frac{1}{L+1}\sum_{k=0}^{L} \tilde A^k E`, LightGCN's encoder.

    Parameters
    ----------
    table
        E, shape (n_nodes, d); receives a dense gradient.
    graph
        Gives A and its normalisation.
    n_layers
        L >= 0.
    rows
        Nodes to return, int64 (n_rows,); repeats are allowed.
    drop_rate, key
        One mask of edges, shared by all layers, with this rate and this hash key.

    Returns
    -------
    Shape (n_rows, d).

    References
    ----------
    He et al., SIGIR 2020, equations 3 and 4; Lee et al., SIGIR 2021, section 4.2.
    """
    return _Propagate.apply(table, graph, n_layers, rows, drop_rate, key)


def layer_tables(table: Tensor, graph: BipartiteGraph, n_layers: int) -> list[Tensor]:
    """Return E, A E, ..., A^L E, each of shape (n_nodes, d), without gradient and without dropped edges."""
    tables = [table.detach()]
    for _ in range(n_layers):
        tables.append(
            _by_columns(lambda block: neighbour_sum(graph.rowptr, graph.col, graph.weight, block), tables[-1])
        )
    return tables


def _by_columns(function: Any, table: Tensor) -> Tensor:
    """Apply a function of (n, width) tables to blocks of columns, on a CPU; in one piece on a GPU."""
    if table.is_cuda or table.shape[1] <= BLOCK:
        return function(table)
    return torch.cat([function(block.contiguous()) for block in _columns(table)], dim=1)


def _columns(table: Tensor) -> tuple[Tensor, ...]:
    """Split a table into equally wide views of at most BLOCK columns; in one piece on a GPU."""
    if table.is_cuda:
        return (table,)
    n_blocks = -(-table.shape[1] // BLOCK)
    return table.tensor_split(n_blocks, dim=1)


class _RowSelection:
    """The last layer is read at the batch's rows only: their part of the CSR, about a tenth of the edges."""

    def __init__(self, graph: BipartiteGraph, rows: Tensor, weight: Tensor) -> None:
        wanted = torch.zeros(graph.n_nodes, dtype=torch.bool, device=rows.device)
        wanted[rows] = True
        unique = wanted.nonzero().squeeze(1)
        place = torch.empty(graph.n_nodes, dtype=torch.int64, device=rows.device)
        place[unique] = torch.arange(len(unique), device=rows.device)
        self.inverse = place.index_select(0, rows)
        start = graph.rowptr.index_select(0, unique)
        length = graph.rowptr.index_select(0, unique + 1) - start
        self.rowptr = functional.pad(length.cumsum(0, dtype=torch.int32), (1, 0))
        edges = torch.repeat_interleave(start - self.rowptr[:-1], length)
        edges += torch.arange(len(edges), dtype=torch.int32, device=rows.device)
        self.col = graph.col.index_select(0, edges)
        self.weight = weight.index_select(0, edges)

    def product(self, table: Tensor) -> Tensor:
        return neighbour_sum(self.rowptr, self.col, self.weight, table).index_select(0, self.inverse)


class _WholeSelection:
    """The same on a device where the size of a selection must not travel to the host: the whole product, then its rows."""

    def __init__(self, graph: BipartiteGraph, rows: Tensor, weight: Tensor) -> None:
        self.graph, self.rows, self.weight = graph, rows, weight

    def product(self, table: Tensor) -> Tensor:
        return neighbour_sum(self.graph.rowptr, self.graph.col, self.weight, table).index_select(0, self.rows)


class _Propagate(torch.autograd.Function):
    """Mean over the layers at some rows; backward by Horner's scheme on the same CSR."""

    @staticmethod
    def forward(
        ctx: Any, table: Tensor, graph: BipartiteGraph, n_layers: int, rows: Tensor, drop_rate: float, key: int
    ) -> Tensor:
        ctx.graph, ctx.n_layers, ctx.drop_rate, ctx.key, ctx.shape = graph, n_layers, drop_rate, key, table.shape
        ctx.save_for_backward(rows)
        out = table.index_select(0, rows)
        if n_layers:
            weight = drop_edges(graph, drop_rate, key) if drop_rate else graph.weight
            selection = (_RowSelection if table.device.type == "cpu" else _WholeSelection)(graph, rows, weight)
            for block, total in zip(_columns(table), _columns(out), strict=True):
                layer = block.contiguous()
                for _ in range(n_layers - 1):
                    layer = neighbour_sum(graph.rowptr, graph.col, weight, layer)
                    total.add_(layer.index_select(0, rows))
                total.add_(selection.product(layer))
        return out.div_(n_layers + 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (grad,), graph, (rows,) = grad_outputs, ctx.graph, ctx.saved_tensors
        weight = drop_edges(graph, ctx.drop_rate, ctx.key, transposed=True) if ctx.drop_rate else graph.weight
        readers = transpose(rows, torch.full_like(rows, 1 / (ctx.n_layers + 1), dtype=grad.dtype), graph.n_nodes)
        result = grad.new_empty(ctx.shape)
        for block, target in zip(_columns(grad), _columns(result), strict=True):
            source = neighbour_sum(*readers, block.contiguous())
            total = source
            # sum_k (A^T)^k g = g + A^T (g + A^T (g + ...))
            for _ in range(ctx.n_layers):
                total = neighbour_sum(graph.rowptr, graph.col, weight, total).add_(source)
            target.copy_(total)
        return result, None, None, None, None, None


def transpose(
    nodes: Tensor, weight: Tensor, n_nodes: int, outputs: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the CSR (rowptr, col, weight) that says which outputs read each node, and with which weight.

    A gradient is then a sum over a sorted CSR rather than a scatter: no atomics on a GPU, so the result is deterministic.

    Parameters
    ----------
    nodes, weight
        What is read, one entry a read, shape (n_reads,).
    n_nodes
        Rows of the result.
    outputs
        The output that each entry belongs to; None says that entry j is output j.
    """
    by_node = torch.sort(nodes, stable=True)
    if nodes.is_cpu:
        rowptr = functional.pad(torch.bincount(nodes, minlength=n_nodes).cumsum(0, dtype=torch.int32), (1, 0))
    else:
        # counting would need atomics or a read by the host
        bounds = torch.arange(n_nodes + 1, device=nodes.device, dtype=nodes.dtype)
        rowptr = torch.searchsorted(by_node.values, bounds, out_int32=True)
    return rowptr, *_reads(by_node.indices, weight, outputs)


def transpose_compact(nodes: Tensor, weight: Tensor, outputs: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Return the distinct nodes, ascending (int64), and the CSR of ``transpose`` with a row for each of them only."""
    by_node = torch.sort(nodes, stable=True)
    first = torch.ones_like(by_node.values, dtype=torch.bool)
    torch.ne(by_node.values[1:], by_node.values[:-1], out=first[1:])
    starts = first.nonzero().squeeze(1)
    rowptr = functional.pad(starts.to(torch.int32), (0, 1), value=len(nodes))
    return by_node.values.index_select(0, starts).long(), (rowptr, *_reads(by_node.indices, weight, outputs))


def _reads(order: Tensor, weight: Tensor, outputs: Tensor | None) -> tuple[Tensor, Tensor]:
    reader = order.to(torch.int32) if outputs is None else outputs.index_select(0, order)
    return reader, weight.index_select(0, order)
