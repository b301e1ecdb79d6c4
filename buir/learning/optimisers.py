"""The optimisers: Adam over whole tables, and Adam that touches only the rows of a step."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.adam import adam

__all__ = ["RowAdam", "dense_adam", "take_rows"]

CHUNK = 2048
"""Rows moved at once: the temporaries then stay in a core's cache, and are not fresh pages from the system."""

_FUSED = {"cpu", "cuda"}
"""Devices on which torch has Adam as one pass over parameter, gradient and moments."""


def dense_adam(parameters: Iterable[Tensor], learning_rate: float, weight_decay: float) -> torch.optim.Adam:
    """Return torch's Adam with L2 decay (the author's optimiser), fused into one pass where the device can."""
    parameters = list(parameters)
    fused = parameters[0].device.type in _FUSED
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
    before
        Told of some rows that are about to move and their present values, shape (len(rows), d), while these lie in the cache.
    betas, epsilon
        Adam's constants.
    """

    def __init__(
        self,
        table: Tensor,
        learning_rate: float,
        weight_decay: float = 0.0,
        *,
        before: Callable[[Tensor, Tensor], None] | None = None,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self.table, self.learning_rate, self.weight_decay = table, learning_rate, weight_decay
        self.before, self.betas, self.epsilon = before, betas, epsilon
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
        current, mean, square = (take_rows(table, rows) for table in (self.table, self.mean, self.square))
        if self.before is not None:
            self.before(rows, current)
        if self.weight_decay:
            current *= 1 - self.learning_rate * self.weight_decay
        done = torch.full((), self.steps - 1, dtype=torch.float32, device=rows.device)
        adam(
            *([current], [grad], [mean], [square], [], [done]),
            fused=rows.device.type in _FUSED,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=self.epsilon,
            maximize=False,
        )
        for table, moved in ((self.table, current), (self.mean, mean), (self.square, square)):
            table.index_copy_(0, rows, moved)

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.table.grad = None


def take_rows(table: Tensor, rows: Tensor) -> Tensor:
    """Copy rows of a table that are far apart; on a CPU as bags of one row each, which is faster than ``index_select``."""
    if not table.is_cpu:
        return table.index_select(0, rows)
    bounds = torch.arange(len(rows) + 1)
    return functional.embedding_bag(rows, table.detach(), bounds, mode="sum", include_last_offset=True)
