"""The bipartite graph of users and items: one fixed CSR for both directions."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from buir.data import degrees, has_weights
from buir.graph.hashing import premix


@dataclass(frozen=True, eq=False)
class BipartiteGraph:
    """Users and items as nodes, interactions as edges in both directions, stored once as CSR.

    Node ``u`` is user u, node ``n_users + v`` is item v. The pattern is symmetric, so the same CSR serves the adjacency
    matrix and its transpose. An edge of weight 2 is as good as two edges.
    """

    n_users: int
    n_items: int
    rowptr: Tensor
    """int32, shape (n_nodes + 1,): the edges of node r are ``rowptr[r]:rowptr[r + 1]``."""
    col: Tensor
    """int32, shape (n_edges,), n_edges = twice the number of interactions: the other end of each edge."""
    degree: Tensor
    """float32, shape (n_nodes,): the sum of the weights of each node's edges, their number where edges have none."""
    weight: Tensor
    """float32, shape (n_edges,): 1 / sqrt(degree[row] degree[col]), LightGCN's normalisation without self-loops, times
    the weight of the edge."""
    reach: Tensor | None = None
    """float64, shape (n_edges + 1,): the sum of the weights of all edges before each; None if edges have no weights."""

    @classmethod
    def from_matrix(cls, user_items: csr_array) -> "BipartiteGraph":
        """Build the graph of a canonical matrix of shape (n_users, n_items), whose values are the edges' weights."""
        n_users, n_items = user_items.shape
        item_users = user_items.T.tocsr()
        rowptr = np.concatenate([user_items.indptr, item_users.indptr[1:] + user_items.nnz]).astype(np.int32)
        col = np.concatenate([user_items.indices + n_users, item_users.indices]).astype(np.int32)
        degree = np.concatenate(degrees(user_items))
        row = np.repeat(np.arange(len(degree)), np.diff(rowptr))
        weight, reach = 1 / np.sqrt(degree[row] * degree[col]), None
        if has_weights(user_items):
            of_edges = np.concatenate([user_items.data, item_users.data]).astype(np.float64)
            weight *= of_edges
            reach = torch.from_numpy(np.concatenate([[0.0], np.cumsum(of_edges)]))
        return cls(
            n_users=n_users,
            n_items=n_items,
            rowptr=torch.from_numpy(rowptr),
            col=torch.from_numpy(col),
            degree=torch.from_numpy(degree.astype(np.float32)),
            weight=torch.from_numpy(weight.astype(np.float32)),
            reach=reach,
        )

    @property
    def n_nodes(self) -> int:
        """Number of users plus number of items."""
        return self.n_users + self.n_items

    @cached_property
    def edge_keys(self) -> tuple[Tensor, Tensor]:
        """Hash keys of the ordered pairs (row, col) and of the swapped pairs (col, row), int32, shape (n_edges,) each.

        A mask drawn from the first and a mask drawn from the second under the same key are transposes of each other.
        """
        nodes = torch.arange(self.n_nodes, device=self.col.device)
        # with the size of the result given, the device need not report it to the host
        row = nodes.repeat_interleave(self.rowptr.diff(), output_size=len(self.col))
        col = self.col.long()
        return premix(row, col), premix(col, row)

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> "BipartiteGraph":
        """Return the graph on another device; ``dtype`` is that of the degrees and weights."""
        return replace(
            self,
            rowptr=self.rowptr.to(device),
            col=self.col.to(device),
            degree=self.degree.to(device, dtype),
            weight=self.weight.to(device, dtype),
            reach=None if self.reach is None else self.reach.to(device),
        )
