"""The scores of a batch against its candidates, and how much each counts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores with weights; every change is a new table."""

    scores: Tensor
    """Shape (R, C)."""
    log_weight: Tensor
    """Shape (R, C); -inf where a candidate does not count."""
    rows: Tensor | None
    """The row of each pair, shape (B,); None where row b is that of pair b."""

    @property
    def sound(self) -> Tensor:
        """Which candidates count, shape (R, C)."""
        return ~self.log_weight.isneginf()

    def by_pair(self) -> ScoreTable:
        """Give each pair a row of its own, for weights that depend on its item."""
        if self.rows is None:
            return self
        return ScoreTable(functional.embedding(self.rows, self.scores), self.log_weight[self.rows], None)

    def keep(self, kept: Tensor) -> ScoreTable:
        """Drop candidates where ``kept``, shape (R, C), is false."""
        return replace(self, log_weight=self.log_weight.masked_fill(~kept, -torch.inf))

    def weigh(self, log_weight: Tensor) -> ScoreTable:
        """Add to the log of the weights, shape (C,) or (R, C)."""
        return replace(self, log_weight=self.log_weight + log_weight)

    def append(self, scores: Tensor, sound: Tensor) -> ScoreTable:
        """Add candidates of weight 1 to each row; those not ``sound`` do not count. Both of shape (R, P)."""
        further = torch.zeros_like(scores).masked_fill(~sound, -torch.inf)
        return replace(
            self,
            scores=torch.cat([self.scores, scores], dim=1),
            log_weight=torch.cat([self.log_weight, further], dim=1),
        )
