"""Matrix factorisation or LightGCN trained with a softmax loss: the strongest of the models with negatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isqrt
from typing import Annotated, Any, Literal

import torch
from scipy.sparse import csr_array
from torch import Tensor

from buir.errors import InputError
from buir.learning import Validation
from buir.recommend import Above, AtLeast

from .contrastive_learner import ContrastiveLearner, n_uniform
from .fitting import FittedInEpochs

Sampler = Callable[[Tensor, Tensor, int], Tensor]

MOST_BYTES = 4 << 30
"""Most bytes that the scores of a step may take with their gradient."""


@dataclass(frozen=True)
class ChosenScore:
    """What a fit decided."""

    score: Literal["cosine", "inner"]


@dataclass(kw_only=True, eq=False)
class Contrastive(FittedInEpochs):
    r"""Unit vectors of users and items, trained so that pairs are nearer than a user is to other items.

    .. math:: -\frac{s_{ui}}{\tau} + c \log \sum_j e^{s_{uj}/\tau + w_j}

    averaged over training pairs (u, i), with s the cosine and j the items that u does not have: all of them up to 8,192
    items, beyond that some of the batch and some drawn evenly, shared by the users of a batch. A known pair never
    counts as a negative. Users who have every item teach nothing.

    Examples
    --------
    A sampler draws negatives for each pair in place of shared candidates; here 16 evenly:

    >>> def even(users, items, key):
    ...     generator = torch.Generator().manual_seed(key)
    ...     return torch.randint(1000, (len(users), 16), generator=generator)
    >>> model = Contrastive(sampler=even)

    References
    ----------
    Yeh et al., "Decoupled contrastive learning", ECCV 2022; Wu et al., "On the effectiveness of sampled softmax loss
    for item recommendation", TOIS 2024; Wu et al., "BSL", ICDE 2024; Wang et al., "DirectAU", KDD 2022.
    """

    embedding_dim: Annotated[int, AtLeast(1)] = 64
    """Width of the vectors."""
    n_layers: Annotated[int, AtLeast(0)] = 0
    """Layers of LightGCN's propagation; 0 is matrix factorisation."""
    learning_rate: Annotated[float, Above(0)] = 1e-2
    """Adam's step size. Vectors are scaled to length 1, so what counts is its ratio to their entries, about 0.1 at the
    start."""
    weight_decay: Annotated[float, AtLeast(0)] = 0.0
    """Weight of the squared rows of a batch."""
    loss: Literal["dcl", "info_nce", "dclw", "direct_au"] = "dcl"
    """"dcl" leaves the pair itself out of the sum, "info_nce" counts it, "dclw" gives weight to pairs that are far
    apart. "direct_au" has no negatives: squared distances of pairs, and users and items spread evenly."""
    temperature: Annotated[float, Above(0)] = 0.1
    r"""\tau: the lower, the more the items near a user weigh among those to be pushed away."""
    negative_weight: Annotated[float, AtLeast(0)] = 1.0
    """c, the weight of the second part; of uniformity with "direct_au"."""
    uniform: Annotated[int, AtLeast(0, most=10**6)] | Literal["auto"] = "auto"
    """Candidates drawn evenly for a step. "auto" takes all items once where there are at most 8,192, which is exact,
    and otherwise draws 256."""
    in_batch: Annotated[int, AtLeast(0)] = 256
    """Pairs of the batch whose items are candidates as well, the whole batch if it is smaller; none where all items
    are candidates anyway."""
    correction: Annotated[float, AtLeast(0)] = 0.0
    """How far drawn candidates are corrected for how often they come up (log Q): 1 estimates the exact loss, 0 takes
    popularity out of the score, which terms can add again. All items are not drawn: it says nothing there."""
    sampler: Sampler | None = None
    """Function of users, their items (int64 tensors of shape (B,)) and an integer key: items of shape (B, N), which
    are then the candidates of each pair. Known pairs among them do not count."""
    score: Literal["auto", "cosine", "inner"] = "auto"
    """What ranks: the cosine, or the inner product of the vectors as they are. "auto" trains by the cosine and keeps
    what validates better; without held-out pairs the cosine."""

    chosen_: ChosenScore = field(init=False, repr=False)
    """What the fit decided: the score."""

    _needs = "a contrast needs an item to be pushed away"

    @classmethod
    def _conflict(cls, parameters: Mapping[str, Any]) -> tuple[str, str, str] | None:
        if parameters["uniform"] == 0 and parameters["in_batch"] == 0 and parameters["sampler"] is None:
            return "uniform", "in_batch", "candidates from at least one of them"
        return None

    def _learner(
        self, user_items: csr_array, validation: Validation | None, device: torch.device
    ) -> ContrastiveLearner:
        check_memory(self, *user_items.shape)
        return ContrastiveLearner(self, user_items, validation, device)

    def _decide(self, learner: ContrastiveLearner) -> None:
        self.chosen_ = ChosenScore(learner.choose_score())


def check_memory(model: Contrastive, n_users: int, n_items: int) -> None:
    """Refuse a batch whose scores would not fit, and name one that does.

    Raises
    ------
    buir.errors.InputError
        If scores, softmax and gradient of a step take more than ``MOST_BYTES``.
    """
    uniform = n_uniform(model.uniform, n_items)
    columns = n_items if uniform is None else min(n_items, model.in_batch + uniform)
    if model.loss == "direct_au":
        rows, columns, most = model.batch_size, model.batch_size, isqrt(MOST_BYTES // 12)
    else:
        rows, most = min(model.batch_size, n_users), MOST_BYTES // (12 * columns)
    if model.sampler is None and 12 * rows * columns > MOST_BYTES:
        msg = (
            f"batch_size is {model.batch_size:,}, whose scores would take {12 * rows * columns / 2**30:.1f} GiB; "
            f"expected at most {MOST_BYTES / 2**30:.0f}: batch_size={max(1, most)} fits"
        )
        raise InputError(msg, argument="batch_size")
