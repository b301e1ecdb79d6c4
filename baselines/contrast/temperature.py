"""A temperature that is learned with the vectors."""

import math

import torch
from torch import Tensor

from buir.learning import DenseAdam

from .loss import contrast
from .table import ScoreTable

LOWEST, HIGHEST, START = 0.01, 1.0, 0.1
PENALTY = 0.1


class LearnedTemperature:
    r"""One temperature for all pairs, learned by InfoNCE on scores that it does not move, and a penalty.

    .. math:: \mathrm{InfoNCE}(\tau) + \beta \Bigl(\frac d2 \log \tau + \frac1\tau\Bigr)

    The penalty is about the normalisation of a distribution over the sphere of d dimensions that is 1 / tau
    concentrated, and is least at tau = 2 / d. Of AMCL's temperatures, one for each head and each pair, this is what
    leaves the score one inner product. DCL itself cannot decide: without the positive in its sum it falls without end
    as tau goes to 0.

    Parameters
    ----------
    dim
        d.
    device
        Where the scores are.
    penalty
        beta; 0.1 in the paper's code.
    learning_rate
        Of log tau, by Adam.

    References
    ----------
    "Adaptive multi-head contrastive learning", ECCV 2024.
    """

    def __init__(self, dim: int, device: torch.device, penalty: float = PENALTY, learning_rate: float = 0.01) -> None:
        self.dim, self.penalty = dim, penalty
        self.log = torch.tensor(math.log(START), dtype=torch.float64, device=device, requires_grad=True)
        self.optimiser = DenseAdam([self.log], learning_rate, weight_decay=0.0)

    @property
    def value(self) -> float:
        """The temperature as it is."""
        return math.exp(self.log.item())

    def learn(self, positive: Tensor, table: ScoreTable) -> None:
        """Take a step on a batch; the temperature stays from 0.01 to 1."""
        self.optimiser.zero_grad()
        temperature = self.log.exp()
        loss = contrast(
            positive.detach(),
            table.scores.detach(),
            table.log_weight,
            temperature=temperature,
            rows=table.rows,
            coupled=True,
        )
        (loss + self.penalty * (self.dim / 2 * self.log + 1 / temperature)).backward()
        self.optimiser.step()
        with torch.no_grad():
            self.log.clamp_(math.log(LOWEST), math.log(HIGHEST))
