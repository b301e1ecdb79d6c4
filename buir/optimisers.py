"""The optimisers: Adam over whole tables, and Adam that touches only the rows of a step."""

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["RowAdam", "dense_adam"]

CHUNK = 4096
"""Rows moved at once: the temporaries then stay in a core's cache, and are not fresh pages from the system."""


def dense_adam(parameters: Iterable[Tensor], learning_rate: float, weight_decay: float) -> torch.optim.Adam:
    """Return torch's Adam with L2 decay (the author's optimiser), fused into one pass where the device can."""
    parameters = list(parameters)
    fused = parameters[0].device.type in {"cpu", "cuda"}
    return torch.optim.Adam(parameters, lr=learning_rate, weight_decay=weight_decay, fused=fused)


class RowAdam:
    r"""Adam for one table whose gradient is a coalesced COO tensor: rows without gradient do not move.

    For the rows of the gradient, with step count t over all steps:

    .. math::
        m \leftarrow \beta_1 m + (1-\beta_1) g,\quad v \leftarrow \beta_2 v + (1-\beta_2) g^2,\quad
        \theta \leftarrow (1 - \eta\lambda)\,\theta - \eta\,\hat m / (\sqrt{\hat v} + \epsilon)

    Another optimiser than dense Adam, which also moves rows without gradient (by their momentum); its decay is decoupled, since an L2 gradient
    would be dense.

    Parameters
    ----------
    table
        The parameter, shape (n_rows, d); changed in place.
    learning_rate
        eta.
    weight_decay
        lambda, applied to the rows of the step.
    betas, epsilon
        Adam's constants.
    """

    def __init__(
        self,
        table: Tensor,
        learning_rate: float,
        weight_decay: float = 0.0,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self.table, self.learning_rate, self.weight_decay = table, learning_rate, weight_decay
        self.betas, self.epsilon = betas, epsilon
        self.steps = 0
        self.mean = torch.zeros_like(table, requires_grad=False)
        self.square = torch.zeros_like(table, requires_grad=False)

    @torch.no_grad()
    def step(self) -> None:
        """Move the rows of ``table.grad``."""
        grad = self.table.grad
        if grad is None:
            return
        self.steps += 1
        for rows, values in zip(grad._indices()[0].split(CHUNK), grad._values().split(CHUNK), strict=True):
            self._move(rows, values)

    def _move(self, rows: Tensor, grad: Tensor) -> None:
        beta_1, beta_2 = self.betas
        mean = self.mean.index_select(0, rows).lerp_(grad, 1 - beta_1)
        self.mean.index_copy_(0, rows, mean)
        square = self.square.index_select(0, rows).mul_(beta_2).addcmul_(grad, grad, value=1 - beta_2)
        self.square.index_copy_(0, rows, square)
        denominator = square.sqrt_().div_((1 - beta_2**self.steps) ** 0.5).add_(self.epsilon)
        update = mean.div_(denominator).mul_(self.learning_rate / (1 - beta_1**self.steps))
        current = self.table.index_select(0, rows).mul_(1 - self.learning_rate * self.weight_decay)
        self.table.index_copy_(0, rows, current.sub_(update))

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.table.grad = None
