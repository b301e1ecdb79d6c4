"""Random walks as a sampled, unbiased view of the propagation."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from buir.graph.bipartite import BipartiteGraph
from buir.graph.hashing import stream, uniform
from buir.graph.propagation import neighbour_sum, transpose, transpose_compact

__all__ = ["Bags", "read", "sample_walks"]


@dataclass(frozen=True, eq=False)
class Bags:
    """Which rows of the table each output reads, and with which weight.

    Every output reads the same number of rows (an isolated node reads itself only, with weights 0 elsewhere), so one width says it all.
    """

    node: Tensor
    """int32, shape (n_outputs * width,)."""
    weight: Tensor
    """floating, shape (n_outputs * width,)."""
    width: int

    @property
    def offsets(self) -> Tensor:
        """int32, shape (n_outputs + 1,): the bounds of each output's entries."""
        return torch.arange(0, len(self.node) + 1, self.width, dtype=torch.int32, device=self.node.device)


def sample_walks(graph: BipartiteGraph, rows: Tensor, n_layers: int, walks: int, key: int) -> Bags:
    r"""Draw walks from each of ``rows``; read with the returned weights, they are an unbiased view of the propagation.

    With :math:`\tilde A^k = D^{1/2} (D^{-1} A)^k D^{-1/2}`, row s of :math:`\tilde A^k E` is the expectation of
    :math:`\sqrt{d_s / d_t}\, E_t` over a k-step walk from s that ends in t. Every step of a walk serves its own layer, so an output averages its
    own row and n_layers * walks others, whatever the size of the graph.

    Parameters
    ----------
    graph
        Where to walk.
    rows
        Nodes to start from, int64 (n_rows,); a repeated node gets its own walks.
    n_layers
        Steps of a walk.
    walks
        Walks from each row.
    key
        Hash key of the draws.

    Returns
    -------
    Bags of width 1 + n_layers * walks.
    """
    start = rows.to(torch.int32)
    here = start.repeat_interleave(walks)
    counter = torch.arange(len(here), dtype=torch.int32, device=rows.device)
    nodes = [start.unsqueeze(1)]
    degrees = [graph.degree.index_select(0, start).unsqueeze(1)]
    degree = degrees[0].view(-1).repeat_interleave(walks)
    for step in range(n_layers):
        # u < 1, but u * degree can round up to degree, hence the clamp; it also keeps an isolated node (degree 0) at an edge that exists.
        choice = (uniform(counter, stream(key, step)) * degree).clamp_(max=(degree - 1).clamp_(min=0)).to(torch.int32)
        edge = graph.rowptr.index_select(0, here).add_(choice).clamp_(max=max(len(graph.col) - 1, 0))
        here = torch.where(degree > 0, graph.col.index_select(0, edge), here) if len(graph.col) else here
        degree = graph.degree.index_select(0, here)
        nodes.append(here.view(-1, walks))
        degrees.append(degree.view(-1, walks))
    end_degree = torch.cat(degrees, dim=1)
    # Layer 0 is the row itself with weight 1; an isolated start has no further layer.
    weight = torch.sqrt(degrees[0] / end_degree.clamp(min=1)) / (walks * (n_layers + 1))
    weight[:, 0] = 1 / (n_layers + 1)
    return Bags(torch.cat(nodes, dim=1).view(-1), weight.view(-1), 1 + n_layers * walks)


def read(table: Tensor, bags: Bags, *, sparse: bool = False) -> Tensor:
    """Return the weighted sums of the bags, shape (n_outputs, d).

    Parameters
    ----------
    table
        Shape (n_nodes, d); receives a gradient, dense or (``sparse``) as a coalesced COO tensor of the rows read.
    bags
        What to read.
    sparse
        Let the cost of the backward pass follow the number of reads instead of the size of the table.
    """
    return _Read.apply(table, bags, sparse)


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, bags: Bags, sparse: bool) -> Tensor:  # noqa: FBT001 (autograd passes by place)
        ctx.bags, ctx.sparse, ctx.shape = bags, sparse, table.shape
        return neighbour_sum(bags.offsets, bags.node, bags.weight.to(table.dtype), table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (grad,), bags = grad_outputs, ctx.bags
        entries = torch.arange(len(bags.node), dtype=torch.int32, device=bags.node.device)
        outputs, weight = entries.div_(bags.width, rounding_mode="floor"), bags.weight.to(grad.dtype)
        if ctx.sparse:
            nodes, readers = transpose_compact(bags.node, weight, outputs)
            summed = torch.sparse_coo_tensor(
                nodes.unsqueeze(0), neighbour_sum(*readers, grad), ctx.shape, is_coalesced=True, check_invariants=False
            )
        else:
            summed = neighbour_sum(*transpose(bags.node, weight, ctx.shape[0], outputs), grad)
        return summed, None, None
