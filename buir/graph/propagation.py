r"""LightGCN's encoder, :math:`\frac{1}{L+1}\sum_{k=0}^{L} \tilde A^k E`, forward and backward: the hot path."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from buir.graph.bipartite import BipartiteGraph
from buir.graph.hashing import bernoulli
from buir.graph.reads import neighbour_sum, transpose

BLOCK = 64
"""Columns worked on at once: 25 MB of 100,000 rows stay in the last-level cache (twice as fast at d = 256)."""


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


class _Propagate(torch.autograd.Function):
    """Mean over the layers at some rows; backward by Horner's scheme on the same CSR."""

    @staticmethod
    def forward(
        ctx: Any, table: Tensor, graph: BipartiteGraph, n_layers: int, rows: Tensor, drop_rate: float, key: int
    ) -> Tensor:
        ctx.graph, ctx.n_layers, ctx.drop_rate, ctx.key, ctx.shape = graph, n_layers, drop_rate, key, table.shape
        ctx.save_for_backward(rows)
        weight = drop_edges(graph, drop_rate, key) if drop_rate and n_layers else graph.weight
        return sum_of_layers(table, graph, n_layers, rows=rows, weight=weight).div_(n_layers + 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        (grad,), graph, (rows,) = grad_outputs, ctx.graph, ctx.saved_tensors
        weight = drop_edges(graph, ctx.drop_rate, ctx.key, transposed=True) if ctx.drop_rate else graph.weight
        readers = transpose(rows, torch.full_like(rows, 1 / (ctx.n_layers + 1), dtype=grad.dtype), graph.n_nodes)
        result = grad.new_empty(ctx.shape)
        for block, target in zip(columns(grad), columns(result), strict=True):
            source = neighbour_sum(*readers, block.contiguous())
            total = source
            # sum_k (A^T)^k g = g + A^T (g + A^T (g + ...))
            for _ in range(ctx.n_layers):
                total = neighbour_sum(graph.rowptr, graph.col, weight, total).add_(source)
            target.copy_(total)
        return result, None, None, None, None, None


def sum_of_layers(
    table: Tensor, graph: BipartiteGraph, n_layers: int, *, rows: Tensor | None = None, weight: Tensor | None = None
) -> Tensor:
    r"""Return :math:`\sum_{k=0}^{L} \tilde A^k E` or rows of it, without gradient; ``weight`` replaces the graph's."""
    table, weight = table.detach(), graph.weight if weight is None else weight

    def taken(layer: Tensor) -> Tensor:
        return layer if rows is None else layer.index_select(0, rows)

    out = table.clone() if rows is None else taken(table)
    if n_layers == 0:
        return out
    last = _last_layer(graph, rows, weight)
    for block, total in zip(columns(table), columns(out), strict=True):
        layer = block.contiguous()
        for _ in range(n_layers - 1):
            layer = neighbour_sum(graph.rowptr, graph.col, weight, layer)
            total.add_(taken(layer))
        total.add_(last(layer))
    return out


def _last_layer(graph: BipartiteGraph, rows: Tensor | None, weight: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the product with A at ``rows``: nothing reads it again, so that a batch's part of the CSR is enough."""
    if rows is None:
        return lambda layer: neighbour_sum(graph.rowptr, graph.col, weight, layer)
    if not rows.is_cpu:
        # the size of a selection must not travel to the host: the whole product, then its rows
        return lambda layer: neighbour_sum(graph.rowptr, graph.col, weight, layer).index_select(0, rows)
    wanted = torch.zeros(graph.n_nodes, dtype=torch.bool)
    wanted[rows] = True
    unique = wanted.nonzero().squeeze(1)
    place = torch.empty(graph.n_nodes, dtype=torch.int64)
    place[unique] = torch.arange(len(unique))
    inverse = place.index_select(0, rows)
    start = graph.rowptr.index_select(0, unique)
    length = graph.rowptr.index_select(0, unique + 1) - start
    rowptr = functional.pad(length.cumsum(0, dtype=torch.int32), (1, 0))
    edges = torch.repeat_interleave(start - rowptr[:-1], length)
    edges += torch.arange(len(edges), dtype=torch.int32)
    col, weight = graph.col.index_select(0, edges), weight.index_select(0, edges)
    return lambda layer: neighbour_sum(rowptr, col, weight, layer).index_select(0, inverse)


def columns(table: Tensor) -> tuple[Tensor, ...]:
    """Split a table into equally wide views of at most BLOCK columns; in one piece on a GPU."""
    if table.is_cuda:
        return (table,)
    n_blocks = -(-table.shape[1] // BLOCK)
    return table.tensor_split(n_blocks, dim=1)


def drop_edges(graph: BipartiteGraph, rate: float, key: int, *, transposed: bool = False) -> Tensor:
    """Return the edge weights with a share ``rate`` of the directed edges set to zero and the rest divided by 1 - rate.

    The two directions of an interaction drop independently. With ``transposed`` the same mask is drawn for the
    transposed matrix, on the same CSR, by hashing every edge's swapped end points.
    """
    forward, backward = graph.edge_keys
    kept = bernoulli(backward if transposed else forward, key, 1 - rate)
    return (graph.weight * kept).div_(1 - rate)
