"""How likely it is that a user saw an item: what one did not take although it was seen is a surer negative."""

import torch
from torch import Tensor

from buir.learning import DenseAdam

from .loss import contrast
from .table import ScoreTable


def exposure_weights(logits: Tensor, temperature: float) -> Tensor:
    r"""Return :math:`1 / (1 - \sigma(o / T))`, scaled to mean 1 over the last dimension.

    A candidate that was surely seen is a surer negative and weighs more.

    Parameters
    ----------
    logits
        o, of seeing an item.
    temperature
        T: the larger, the more even.

    Returns
    -------
    All exactly 1 where the logits are equal.
    """
    # 1 / (1 - sigmoid(x)) = 1 + exp(x); in float64, so that the ratio of equal numbers rounds to 1, and over exp(most),
    # which drops out, so that nothing overflows
    x = logits.double() / temperature
    most = x.amax(dim=-1, keepdim=True).clamp_min(0)
    raw = (-most).exp() + (x - most).exp()
    return (raw / raw.mean(dim=-1, keepdim=True)).to(logits.dtype)


class Selector:
    r"""Exposure as a function of popularity alone, :math:`o_j = b \log(1 + d_j)`, learned beside the model.

    Model and selector are trained on the same pairs and candidates, each with the other's weights of the negatives.
    What is the same for all candidates of a user, a constant or the user's own activity, drops out of the softmax and
    cannot be learned; the logits are centred over the items instead. b starts at 0: all weights are 1.

    Parameters
    ----------
    popularity
        Training users of each item, shape (n_items,).
    temperature
        T of the weights, both ways.
    learning_rate
        Of b, by Adam.

    References
    ----------
    Cai et al., "Hard negatives or false negatives: correcting pooling bias in training neural ranking models" (CET),
    CIKM 2022. There both are one kind of network trained on the same data, which nothing tells apart; here the selector
    knows no taste.
    """

    def __init__(self, popularity: Tensor, temperature: float, learning_rate: float = 0.05) -> None:
        feature = popularity.float().log1p()
        self.feature, self.temperature = feature - feature.mean(), temperature
        self.slope = torch.zeros((), device=feature.device, requires_grad=True)
        self.optimiser = DenseAdam([self.slope], learning_rate, weight_decay=0.0)

    def log_weight(self, items: Tensor) -> Tensor:
        """Return the log of the weights of candidates as negatives of the model, of the shape of ``items``."""
        return exposure_weights(self.slope.detach() * self.feature[items], self.temperature).log()

    def learn(self, positive: Tensor, candidates: Tensor, table: ScoreTable, temperature: float) -> None:
        """Take a step on a batch.

        Parameters
        ----------
        positive
            Items of the pairs, shape (B,).
        candidates
            Items of the table's columns, shape (C,) or (R, C).
        table
            The model's scores, before its own exposure weights.
        temperature
            Of the model, which makes its scores logits.
        """
        relevance = exposure_weights(table.scores.detach() / temperature, self.temperature).log()
        of_candidates = (self.slope * self.feature[candidates]).expand_as(relevance)
        self.optimiser.zero_grad()
        contrast(
            self.slope * self.feature[positive],
            of_candidates,
            table.log_weight + relevance,
            temperature=1.0,
            rows=table.rows,
            coupled=True,
        ).backward()
        self.optimiser.step()
