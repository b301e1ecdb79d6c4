"""The optimisers: Adam over whole tables, and Adam that touches only the rows of a step.

Both are torch's arithmetic, ``torch.optim.adam.adam``, without ``torch.optim.Optimizer``: making one of those imports
torch's compiler, which nothing here uses and which takes as long as torch itself.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adam import adam

from buir.graph import take_rows

__all__ = ["DenseAdam", "Moments", "RowAdam"]

CHUNK = 2048
"""Rows moved at once: the temporaries then stay in a core's cache, and are not fresh pages from the system."""

_FUSED = {"cpu", "cuda"}
"""Devices on which torch has Adam as one pass over parameter, gradient and moments."""


@dataclass(eq=False)
class Moments:
    """What Adam keeps of one weight; changed in place."""

    mean: Tensor
    """Moving average of the gradient, of the weight's shape and device."""
    square: Tensor
    """That of its square."""
    steps: Tensor
    """Number of steps done, shape ()."""

    @classmethod
    def none(cls, weight: Tensor, steps: Tensor) -> "Moments":
        """Begin with zeros."""
        return cls(torch.zeros_like(weight, requires_grad=False), torch.zeros_like(weight, requires_grad=False), steps)

    def beside(self, weight: Tensor) -> "Moments":
        """Return moments of the type and the device of their weight."""
        return Moments(self.mean.to(weight), self.square.to(weight), self.steps)


class DenseAdam:
    """Adam with an L2 gradient (the author's optimiser), fused into one pass where the device can.

    The same numbers as ``torch.optim.Adam(weights, learning_rate, weight_decay=weight_decay, fused=...)``.

    Parameters
    ----------
    weights
        The parameters, all on one device; changed in place. One without gradient does not move.
    learning_rate
        Step size.
    weight_decay
        Times the weight, added to its gradient.
    """

    def __init__(self, weights: Iterable[Tensor], learning_rate: float, weight_decay: float) -> None:
        self.weights = list(weights)
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.fused = self.weights[0].device.type in _FUSED
        self.moments: dict[int, Moments] = {}
        """By the place of the weight, from its first step on."""

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for weight in self.weights:
            weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move all weights that have a gradient."""
        moved = [(place, weight, weight.grad) for place, weight in enumerate(self.weights) if weight.grad is not None]
        for place, weight, _ in moved:
            if place not in self.moments:
                self.moments[place] = Moments.none(weight, self._steps(torch.tensor(0.0), weight))
        kept = [self.moments[place] for place, _, _ in moved]
        adam(
            [weight for _, weight, _ in moved],
            [grad for _, _, grad in moved],
            [moments.mean for moments in kept],
            [moments.square for moments in kept],
            [],
            [moments.steps for moments in kept],
            fused=self.fused,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )

    def resume(self, moments: Mapping[int, Moments]) -> None:
        """Go on from moments by the place of their weight; they become this optimiser's own."""
        self.moments = {place: kept.beside(self.weights[place]) for place, kept in moments.items()}
        for place, kept in self.moments.items():
            kept.steps = self._steps(kept.steps, self.weights[place])

    def _steps(self, steps: Tensor, weight: Tensor) -> Tensor:
        """Put the count where one pass reads it: beside the weight, or on the CPU, which the steps one by one ask."""
        return steps.to(dtype=torch.float32, device=weight.device if self.fused else "cpu")


class RowAdam:
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
        self.weights = [table]
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.betas, self.epsilon, self.before = betas, epsilon, before
        self.moments: dict[int, Moments] = {}
        """Of the table, at place 0, from its first step on."""

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.weights[0].grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the rows of the gradient, if there is one."""
        (table,) = self.weights
        if table.grad is None:
            return
        if not self.moments:
            self.moments[0] = Moments.none(table, torch.tensor(0))
        kept = self.moments[0]
        kept.steps += 1
        tables, done = (table, kept.mean, kept.square), int(kept.steps) - 1
        for rows, values in zip(table.grad._indices()[0].split(CHUNK), table.grad._values().split(CHUNK), strict=True):
            self._move(tables, rows, values, done)

    def resume(self, moments: Mapping[int, Moments]) -> None:
        """Go on from moments by the place of their weight; they become this optimiser's own."""
        self.moments = {place: kept.beside(self.weights[place]) for place, kept in moments.items()}

    def _move(self, tables: tuple[Tensor, Tensor, Tensor], rows: Tensor, grad: Tensor, done: int) -> None:
        current, mean, square = moved = [take_rows(table, rows) for table in tables]
        if self.before is not None:
            self.before(rows, current)
        if self.weight_decay:
            current *= 1 - self.learning_rate * self.weight_decay
        adam(
            *([current], [grad], [mean], [square], []),
            [torch.full((), done, dtype=torch.float32, device=rows.device)],
            fused=rows.device.type in _FUSED,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=self.epsilon,
            maximize=False,
        )
        for table, part in zip(tables, moved, strict=True):
            table.index_copy_(0, rows, part)
