r"""Representations of users and items that training never saw, in closed form, and the score of one item taken apart.

The encoder is linear: a user's vector is her own embedding plus a sum over her items,

.. math::
    f(u) = \frac{1}{L+1}\Bigl(e_u + \frac{1}{\sqrt{d_u}} \sum_{i \in H_u} w_{ui} s_i\Bigr),
    \qquad s_i = \frac{1}{\sqrt{d_i}} \sum_{k<L} (\tilde A^k E)_i

with the weights w of the pairs (1 without), and a stranger lacks only :math:`e_u`. It is estimated from the sum itself
by the least-squares map that does this best for the users of the training data. Their sums contain :math:`e_u` itself,
which walks over two edges return, and a stranger's does not: so it is taken out before the map is fitted.
(`benchmarks/folding.py` compares this with other choices, and finds that lists are best from the estimate alone: see
``Folding.scoring_vectors``.) BUIR-id has no sum in its encoder; there the same regression, with the item vectors for
:math:`s_i`, estimates the whole vector. Items are folded in from their users in the same way.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_array
from torch import Tensor

from buir.data import degrees
from buir.graph import BipartiteGraph, neighbour_sum, sum_of_layers

__all__ = ["Folding", "explain_score", "fit_folding"]

RIDGE = 1e-3
"""Ridge of the regression, relative to the mean squared entry of its inputs' Gram diagonal."""


@dataclass(frozen=True, eq=False)
class Folding:
    """How the nodes of one side are represented by their neighbours on the other side."""

    sums: Tensor
    """What each neighbour contributes before scaling (s_i above), shape (n_neighbours, d)."""
    own: Tensor
    """The regression: estimated own part = scaled sum @ own, shape (d, d)."""
    n_layers: int
    """L; 0 for BUIR-id."""

    def to(self, device: torch.device | str) -> "Folding":
        """Return the tables on another device."""
        return Folding(self.sums.to(device), self.own.to(device), self.n_layers)

    def scaled_sum(self, rows: csr_array) -> Tensor:
        """Return the neighbours' part of each row's vector, before division by L + 1; shape (n_rows, d)."""
        rowptr, col, weight = _scaled_rows(rows, self.sums)
        return neighbour_sum(rowptr, col, weight, self.sums)

    def vectors(self, rows: csr_array) -> Tensor:
        """Represent nodes of which only the neighbours are known.

        Parameters
        ----------
        rows
            Shape (n_rows, n_neighbours): the neighbours of each node, with the weights of the pairs.

        Returns
        -------
        Shape (n_rows, d); zeros for a node without neighbours.
        """
        summed = self.scaled_sum(rows)
        own = summed @ self.own
        return own if self.n_layers == 0 else (summed + own) / (self.n_layers + 1)

    def scoring_vectors(self, rows: csr_array) -> Tensor:
        """Represent nodes of which only the neighbours are known, for ranking the other side.

        Of an encoder with layers this is the estimated own part alone: lists from it are better than lists from
        ``vectors`` on every data set measured in ``benchmarks/folding.py``, since the neighbours' part draws all nodes
        towards what is popular. ``vectors`` is the closer estimate of the encoder's output, and the one to compare with
        other nodes.

        Parameters
        ----------
        rows
            As for ``vectors``.

        Returns
        -------
        Shape (n_rows, d); zeros for a node without neighbours.
        """
        return self.scaled_sum(rows) @ self.own / (self.n_layers + 1)

    def neighbours(self, row: csr_array) -> Tensor:
        """Split ``scaled_sum`` of one row into what each of its neighbours adds, in its order.

        Shape (n_neighbours, d).
        """
        _, col, weight = _scaled_rows(row, self.sums)
        return self.sums.index_select(0, col) * weight.unsqueeze(1)


def fit_folding(table: Tensor, graph: BipartiteGraph, n_layers: int, user_items: csr_array) -> tuple[Folding, Folding]:
    """Prepare the folding-in of users (from items) and of items (from users).

    Parameters
    ----------
    table
        The online embeddings, shape (n_users + n_items, d).
    graph
        The training graph.
    n_layers
        L of a graph encoder; 0 for BUIR-id.
    user_items
        The training matrix, shape (n_users, n_items).
    """
    table = table.detach()
    total = table
    if n_layers:
        total = sum_of_layers(table, graph, n_layers - 1).mul_(_rsqrt(graph.degree).unsqueeze(1))
    users, items = table[: graph.n_users], table[graph.n_users :]
    user_sums, item_sums = total[: graph.n_users], total[graph.n_users :]
    return (
        _regressed(item_sums, users, n_layers, user_items),
        _regressed(user_sums, items, n_layers, csr_array(user_items.T.tocsr())),
    )


def explain_score(
    folding: Folding,
    history: csr_array,
    own: Tensor | None,
    transform: Tensor,
    bias: Tensor,
    item: Tensor,
    item_ids: np.ndarray,
) -> pd.DataFrame:
    r"""Split :math:`((W + W^T) u + b) \cdot v` into parts that add up to it.

    Parameters
    ----------
    folding
        How users are represented by their items.
    history
        The user's items, shape (1, n_items).
    own
        The user's own embedding, shape (d,); None for a user who is folded in, whose vector is that of
        ``Folding.scoring_vectors``.
    transform
        W + W^T, shape (d, d).
    bias
        b, shape (d,).
    item
        v, shape (d,).
    item_ids
        Labels of the items.

    Returns
    -------
    Columns ``part`` ("item", "own embedding" if there is one, "bias"), ``item`` (the label, None elsewhere) and
    ``contribution`` (float64), the items first, the largest contribution first.
    """
    vector = item.double()
    direction = transform.double() @ vector  # the transform is symmetric
    vectors = folding.neighbours(history)
    vectors = vectors @ folding.own if own is None else vectors
    shares = (vectors.double() @ direction).numpy() / (folding.n_layers + 1)
    others = {} if own is None else {"own embedding": float(own.double() @ direction) / (folding.n_layers + 1)}
    others |= {"bias": float(bias.double() @ vector)}
    order = np.argsort(-shares, kind="stable")
    return pd.DataFrame(
        {
            "part": [*["item"] * len(shares), *others],
            "item": pd.Series([*item_ids[history.indices[order]].tolist(), *[None] * len(others)], dtype=object),
            "contribution": [*shares[order], *others.values()],
        }
    )


def _regressed(sums: Tensor, own: Tensor, n_layers: int, rows: csr_array) -> Folding:
    """Find the linear map from scaled sums to own embeddings that fits the training nodes best (ridge regression)."""
    dim = sums.shape[1]
    blank = Folding(sums, torch.zeros(dim, dim, dtype=sums.dtype, device=sums.device), n_layers)
    inputs = blank.scaled_sum(rows)
    if n_layers > 1:
        inputs -= _returned(rows).to(sums.device, sums.dtype).unsqueeze(1) * own
    inputs = inputs.double()
    gram = inputs.T @ inputs
    gram.diagonal().add_(RIDGE * gram.diagonal().mean() + torch.finfo(sums.dtype).tiny)
    # by rows, as a file keeps it: products with another layout may round otherwise
    regression = torch.linalg.solve(gram, inputs.T @ own.double()).to(sums.dtype).contiguous()
    return Folding(sums, regression, n_layers)


def _returned(rows: csr_array) -> Tensor:
    r"""Return the weight of each node's own embedding in its layer 2, :math:`\sum_{i \in H_u} w_{ui}^2 / (d_u d_i)`.

    With up to three layers this is all that comes back; returns over four edges, from the fourth layer on, are smaller
    and stay in.
    """
    mine, theirs = degrees(rows)
    node = np.repeat(np.arange(len(mine)), np.diff(rows.indptr))
    share = np.square(rows.data, dtype=np.float64) / (mine[node] * theirs[rows.indices])
    return torch.from_numpy(np.bincount(node, weights=share, minlength=len(mine)))


def _scaled_rows(rows: csr_array, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Turn rows of neighbours into a CSR whose weights are those of the pairs / sqrt(their sum)."""
    rowptr = torch.from_numpy(rows.indptr).to(like.device, torch.int32)
    col = torch.from_numpy(rows.indices).to(like.device, torch.int32)
    scale = _rsqrt(torch.from_numpy(degrees(rows)[0]).to(like.device, like.dtype))
    own = torch.from_numpy(rows.data).to(like.device, like.dtype)
    return rowptr, col, scale.repeat_interleave((rowptr[1:] - rowptr[:-1]).long()).mul_(own)


def _rsqrt(degree: Tensor) -> Tensor:
    """Return 1 / sqrt(degree), 1 where there is nothing to divide."""
    return torch.where(degree > 0, degree, 1).rsqrt()
