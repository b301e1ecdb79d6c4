"""Weighted reads of table rows and their transposes: what encoders, targets and optimisers are made of.

Everything here is a weighted sum of rows over the entries of a CSR. On a CPU ``embedding_bag`` computes it in one pass
over the entries with no temporary; on CUDA cuSPARSE does (row-parallel, so the result is deterministic).
"""

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


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


@dataclass(frozen=True, eq=False)
class Bags:
    """Which rows of the table each output reads, and with which weight.

    Every output reads the same number of rows (an isolated node reads itself only, with weights 0 elsewhere), so one
    width says it all.
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
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
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


def take_rows(table: Tensor, rows: Tensor) -> Tensor:
    """Copy rows of a table that are far apart; on a CPU as bags of one row, which is faster than ``index_select``."""
    if not table.is_cpu:
        return table.index_select(0, rows)
    bounds = torch.arange(len(rows) + 1)
    return functional.embedding_bag(rows, table.detach(), bounds, mode="sum", include_last_offset=True)


def transpose(
    nodes: Tensor, weight: Tensor, n_nodes: int, outputs: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the CSR (rowptr, col, weight) that says which outputs read each node, and with which weight.

    A gradient is then a sum over a sorted CSR rather than a scatter: no atomics on a GPU, so the result is
    deterministic.

    Parameters
    ----------
    nodes, weight
        What is read, one entry a read, shape (n_reads,).
    n_nodes
        Rows of the result.
    outputs
        The output that each entry belongs to; None says that entry j is output j.
    """
    rowptr, order, weight = (_counted if nodes.is_cpu else _searched)(nodes, weight, n_nodes)
    return rowptr, (order if outputs is None else outputs.index_select(0, order)).to(torch.int32), weight


def _counted(nodes: Tensor, weight: Tensor, n_nodes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sort reads by node: the bounds of each node, the order, and the weights in it. SciPy's sort does not compare."""
    one_a_row = np.arange(len(nodes) + 1, dtype=np.int32)
    by_node = csr_array((weight.numpy(), nodes.numpy(), one_a_row), shape=(len(nodes), n_nodes)).tocsc()
    return torch.from_numpy(by_node.indptr).int(), torch.from_numpy(by_node.indices), torch.from_numpy(by_node.data)


def _searched(nodes: Tensor, weight: Tensor, n_nodes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Do the same on a device, where counting would need atomics or a read by the host."""
    by_node = torch.sort(nodes, stable=True)
    bounds = torch.arange(n_nodes + 1, device=nodes.device, dtype=nodes.dtype)
    rowptr = torch.searchsorted(by_node.values, bounds, out_int32=True)
    return rowptr, by_node.indices, weight.index_select(0, by_node.indices)


def transpose_compact(nodes: Tensor, weight: Tensor, outputs: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Return the distinct nodes, ascending (int64), and the CSR of ``transpose`` with a row for each of them only."""
    by_node = torch.sort(nodes, stable=True)
    first = torch.ones_like(by_node.values, dtype=torch.bool)
    torch.ne(by_node.values[1:], by_node.values[:-1], out=first[1:])
    starts = first.nonzero().squeeze(1)
    rowptr = functional.pad(starts.to(torch.int32), (0, 1), value=len(nodes))
    readers = outputs.index_select(0, by_node.indices), weight.index_select(0, by_node.indices)
    return by_node.values.index_select(0, starts).long(), (rowptr, *readers)
