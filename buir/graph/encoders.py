"""Encoders: from a table of embeddings to vectors of users and items.

An encoder holds no weights. It maps rows of a table (users first, then items) to representations, linearly, so that the
online and the target network of a bootstrap are one encoder with two tables. Every call names a hash key: what an
encoder draws (edge masks, walks) depends on nothing else.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from buir.graph.bipartite import BipartiteGraph
from buir.graph.hashing import stream
from buir.graph.propagation import propagate, sum_of_layers
from buir.graph.reads import Bags, read
from buir.graph.walks import sample_walks


@dataclass(frozen=True, eq=False)
class EmbeddingEncoder:
    """One vector for each user and each item: BUIR-id.

    References
    ----------
    Lee et al., SIGIR 2021, section 4.1.
    """

    def bags(self, rows: Tensor, key: int) -> Bags:
        """Each output reads its own row."""
        return Bags(rows.to(torch.int32), torch.ones(len(rows), device=rows.device), 1)

    def encode(self, table: Tensor, rows: Tensor, key: int, *, sparse: bool = False) -> Tensor:
        """Return the vectors of ``rows``, shape (len(rows), d)."""
        return read(table, self.bags(rows, key), sparse=sparse)

    def encode_all(self, table: Tensor) -> Tensor:
        """Return the vectors of all nodes for prediction, shape (n_nodes, d)."""
        return table.detach()


@dataclass(frozen=True, eq=False)
class GraphEncoder:
    """LightGCN over the whole graph: BUIR-nb.

    References
    ----------
    Lee et al., SIGIR 2021, section 4.2; He et al., SIGIR 2020.
    """

    graph: BipartiteGraph
    n_layers: int
    edge_drop_rate: float = 0.0
    """Each call drops edges at its own rate, drawn from U(0, edge_drop_rate)."""

    def encode(self, table: Tensor, rows: Tensor, key: int, *, sparse: bool = False) -> Tensor:
        """Return the vectors of ``rows``, shape (len(rows), d); the gradient of a whole-graph product is dense."""
        if sparse:
            msg = "the whole-graph encoder moves every row in a step; row-sparse training needs encoder 'walk' or 'id'"
            raise ValueError(msg)
        rate = self.edge_drop_rate * (stream(key, 1) / 2**32 + 0.5)
        return propagate(table, self.graph, self.n_layers, rows, drop_rate=rate, key=key)

    def encode_all(self, table: Tensor) -> Tensor:
        """Return the vectors of all nodes for prediction, with all edges, shape (n_nodes, d)."""
        return mean_of_layers(table, self.graph, self.n_layers)


@dataclass(frozen=True, eq=False)
class WalkEncoder:
    """LightGCN seen through random walks: an extension of the paper whose step costs the batch and not the graph.

    Training reads a random subset of each node's neighbourhood (unbiased, see ``sample_walks``); prediction is the
    whole-graph encoder's.
    """

    graph: BipartiteGraph
    n_layers: int
    walks: int

    def bags(self, rows: Tensor, key: int) -> Bags:
        """Draw each row's walks."""
        return sample_walks(self.graph, rows, self.n_layers, self.walks, key)

    def encode(self, table: Tensor, rows: Tensor, key: int, *, sparse: bool = False) -> Tensor:
        """Return sampled vectors of ``rows``, shape (len(rows), d)."""
        return read(table, self.bags(rows, key), sparse=sparse)

    def encode_all(self, table: Tensor) -> Tensor:
        """Return the exact vectors of all nodes for prediction, shape (n_nodes, d)."""
        return mean_of_layers(table, self.graph, self.n_layers)


Encoder = EmbeddingEncoder | GraphEncoder | WalkEncoder


def mean_of_layers(table: Tensor, graph: BipartiteGraph, n_layers: int) -> Tensor:
    """Return (E + A E + ... + A^L E) / (L + 1) without gradient, shape (n_nodes, d)."""
    return sum_of_layers(table, graph, n_layers).div_(n_layers + 1)
