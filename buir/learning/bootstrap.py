"""BUIR itself: an online network learns to predict a target network that follows it."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from buir.errors import InputError
from buir.graph import Encoder, stream
from buir.learning.losses import bootstrap_loss, uniformity_loss
from buir.learning.targets import LazyTarget, TableTarget, Target

__all__ = ["Bootstrap", "Weights", "initial_weights"]

UNIFORMITY_SAMPLE = 512
"""Rows of a batch among which uniformity is measured, so that its n^2 never dominates the step."""


@dataclass(eq=False)
class Weights:
    """Everything that is learned, users' rows first."""

    table: Tensor
    """The online embeddings, shape (n_users + n_items, d)."""
    predictor_weight: Tensor
    """W of q(x) = W x + b, shape (d, d)."""
    predictor_bias: Tensor
    """b, shape (d,)."""

    def clone(self) -> "Weights":
        """Return a copy without gradients."""
        return Weights(*(part.detach().clone() for part in self.parts()))

    def to(self, device: torch.device) -> "Weights":
        """Return the weights on another device, without gradients."""
        return Weights(*(part.detach().to(device) for part in self.parts()))

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the three tensors."""
        return self.table, self.predictor_weight, self.predictor_bias

    @classmethod
    def of(cls, table: Tensor) -> "Weights":
        """Put a predictor that changes nothing beside a table."""
        width, kind = table.shape[1], {"dtype": table.dtype, "device": table.device}
        return cls(table, torch.eye(width, **kind), torch.zeros(width, **kind))


def initial_weights(n_users: int, n_items: int, dim: int, kind: Literal["id", "graph"], seed: int) -> Weights:
    """Draw the author's initial weights.

    Xavier-normal for ``id``; Xavier-uniform with torch's default predictor for ``graph``.

    Users and items are initialised as two tables, whose widths of distribution differ with their number of rows.
    """
    generator = torch.Generator().manual_seed(seed)
    users, items = torch.empty(n_users, dim), torch.empty(n_items, dim)
    weight, bias = torch.empty(dim, dim), torch.empty(dim)
    if kind == "id":
        for part in (users, items, weight):
            torch.nn.init.xavier_normal_(part, generator=generator)
        torch.nn.init.normal_(bias, generator=generator)
    else:
        for part in (users, items):
            torch.nn.init.xavier_uniform_(part, generator=generator)
        bound = 1 / math.sqrt(dim)
        torch.nn.init.uniform_(weight, -bound, bound, generator=generator)
        torch.nn.init.uniform_(bias, -bound, bound, generator=generator)
    return Weights(torch.cat([users, items]), weight, bias)


class Bootstrap:
    r"""The two networks and the loss between them.

    For a pair (u, v), with f the encoder under the online table, f' under the target table and q the predictor:

    .. math:: [2 - 2\cos(q(f(u)), f'(v))] + [2 - 2\cos(q(f(v)), f'(u))]

    Parameters
    ----------
    weights
        Online table and predictor; they learn in place.
    encoder
        What turns a table into vectors.
    n_users
        Rows of the table that are users; items follow.
    momentum
        tau of the target's moving average.
    predictor
        Whether q learns, as in the paper; otherwise it is passed over.
    uniformity
        Weight of the uniformity term, an extension; 0 in the paper.
    row_sparse
        Touch only the rows of a step: a sparse gradient of the table and a lazy target.

    Raises
    ------
    InputError
        If q is passed over but has learned: scores would not be those of what is trained.

    References
    ----------
    Lee et al., SIGIR 2021, section 3.
    """

    def __init__(
        self,
        weights: Weights,
        encoder: Encoder,
        n_users: int,
        *,
        momentum: float,
        predictor: bool = True,
        uniformity: float = 0.0,
        row_sparse: bool = False,
    ) -> None:
        if not predictor and any(
            not torch.equal(mine, none)
            for mine, none in zip(weights.parts()[1:], Weights.of(weights.table).parts()[1:], strict=True)
        ):
            msg = "predictor is 'none', but the weights hold one that has learned; expected 'linear', or a new fit"
            raise InputError(msg, argument="predictor")
        self.weights, self.predictor = weights, predictor
        for part in self.learned:
            part.requires_grad_(True)
        self.encoder, self.n_users, self.uniformity, self.row_sparse = encoder, n_users, uniformity, row_sparse
        kind = LazyTarget if row_sparse else TableTarget
        # a lazy target excludes GraphEncoder, which says so itself
        self.target: Target = kind(weights.table, encoder, momentum)  # type: ignore[arg-type]

    @property
    def learned(self) -> tuple[Tensor, ...]:
        """The weights that training moves, the table first."""
        return self.weights.parts() if self.predictor else (self.weights.table,)

    def predict(self, vectors: Tensor) -> Tensor:
        """Return q(vectors) = W vectors + b, row by row."""
        if not self.predictor:
            return vectors
        return functional.linear(vectors, self.weights.predictor_weight, self.weights.predictor_bias)

    def loss(self, users: Tensor, items: Tensor, key: int, weight: Tensor | None = None) -> Tensor:
        """Return the loss of a batch of observed pairs.

        Parameters
        ----------
        users, items
            User and item rows of the pairs, int64, shape (n_pairs,) each.
        key
            Hash key of what the encoders draw; online and target draw independently.
        weight
            Of the pairs, shape (n_pairs,), as ``bootstrap_loss`` takes it.
        """
        n = len(users)
        rows = torch.cat([users, items + self.n_users])
        online = self.encoder.encode(self.weights.table, rows, stream(key, 0), sparse=self.row_sparse)
        target = self.target.encode(rows, stream(key, 1))
        predicted = self.predict(online)
        loss = bootstrap_loss(predicted[:n], target[n:], weight) + bootstrap_loss(predicted[n:], target[:n], weight)
        if self.uniformity and n > 1:
            m = min(n, UNIFORMITY_SAMPLE)
            spread = uniformity_loss(online[:m]) + uniformity_loss(online[n : n + m])
            loss = loss + self.uniformity * spread / 2
        return loss

    @torch.no_grad()
    def vectors(self) -> Tensor:
        """Return the online representations of all nodes, shape (n_users + n_items, d)."""
        return self.encoder.encode_all(self.weights.table)

    @torch.no_grad()
    def factors(self, vectors: Tensor | None = None) -> tuple[Tensor, Tensor]:
        r"""Return user and item factors whose inner products rank like the paper's score.

        .. math:: q(f(u)) \cdot f(v) + f(u) \cdot q(f(v)) = ((W + W^T) f(u) + b) \cdot f(v) + b \cdot f(u)

        The last term is constant for a user and left out.

        Parameters
        ----------
        vectors
            What ``vectors()`` returned, to save computing it again.

        Returns
        -------
        Shapes (n_users, d) and (n_items, d).
        """
        vectors = self.vectors() if vectors is None else vectors
        users, items = vectors[: self.n_users], vectors[self.n_users :]
        weight = self.weights.predictor_weight
        return torch.addmm(self.weights.predictor_bias, users, weight + weight.T), items
