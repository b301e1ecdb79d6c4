"""The optimisers: Adam over whole tables, and Adam that touches only the rows of a step."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.optim.adam import adam

from buir.graph import take_rows

__all__ = ["RowAdam", "dense_adam"]

CHUNK = 2048
"""Rows moved at once: the temporaries then stay in a core's cache, and are not fresh pages from the system."""

_FUSED = {"cpu", "cuda"}
"""Devices on which torch has Adam as one pass over parameter, gradient and moments."""


def dense_adam(parameters: Iterable[Tensor], learning_rate: float, weight_decay: float) -> torch.optim.Adam:
    """Return torch's Adam with L2 decay (the author's optimiser), fused into one pass where the device can."""
    parameters = list(parameters)
    fused = parameters[0].device.type in _FUSED
    return torch.optim.Adam(parameters, lr=learning_rate, weight_decay=weight_decay, fused=fused)


class RowAdam(torch.optim.Optimizer):
    r"""Adam for one table whose gradient is a coalesced COO tensor: rows without gradient do not move.

    For the rows of the gradient, with step count t over all steps:

    .. math::
        m \leftarrow \beta_1 m + (1-\beta_1) g,\quad v \leftarrow \beta_2 v + (1-\beta_2) g^2,\quad
        \theta \leftarrow (1 - \eta\lambda)\,\theta - \eta\,\hat m / (\sqrt{\hat v} + \epsilon)

    Another optimiser than dense Adam, which also moves rows without gradient (by their momentum); its decay is
    decoupled, since an L2 gradient would be dense.

    Parameters
    ----------
    table
        The parameter, shape (n_rows, d); changed in place.
    learning_rate
        eta.
    weight_decay
        lambda, applied to the rows of the step.
    before
        Told of some rows that are about to move and their present values, shape (len(rows), d), while these lie in the
        cache.
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
        super().__init__([table], {"lr": learning_rate, "weight_decay": weight_decay, "betas": betas, "eps": epsilon})
        self.before = before

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore
        """Move the rows of the gradient; what ``closure`` returned, if it is given and makes the gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        (group,) = self.param_groups
        (table,) = group["params"]
        if table.grad is None:
            return loss
        state = self.state[table]
        if not state:
            state["step"] = torch.tensor(0)
            state["exp_avg"], state["exp_avg_sq"] = (torch.zeros_like(table, requires_grad=False) for _ in range(2))
        state["step"] += 1
        tables, done = (table, state["exp_avg"], state["exp_avg_sq"]), int(state["step"]) - 1
        for rows, values in zip(table.grad._indices()[0].split(CHUNK), table.grad._values().split(CHUNK), strict=True):
            self._move(tables, rows, values, done)
        return loss

    def _move(self, tables: tuple[Tensor, Tensor, Tensor], rows: Tensor, grad: Tensor, done: int) -> None:
        (group,) = self.param_groups
        current, mean, square = moved = [take_rows(table, rows) for table in tables]
        if self.before is not None:
            self.before(rows, current)
        if group["weight_decay"]:
            current *= 1 - group["lr"] * group["weight_decay"]
        adam(
            *([current], [grad], [mean], [square], []),
            [torch.full((), done, dtype=torch.float32, device=rows.device)],
            fused=rows.device.type in _FUSED,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=0.0,
            eps=group["eps"],
            maximize=False,
        )
        for table, part in zip(tables, moved, strict=True):
            table.index_copy_(0, rows, part)
