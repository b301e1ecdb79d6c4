"""Matrix factorisation or LightGCN trained with a softmax loss: the strongest of the models with negatives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isqrt
from typing import Annotated, Any, Literal

import numpy as np
import torch
from scipy.sparse import csr_array

from buir.errors import InputError
from buir.learning import Validation
from buir.recommend import Above, AtLeast, estimator

from .contrast import Sampler
from .contrastive_learner import ContrastiveLearner, n_uniform
from .fitting import FittedInEpochs

MOST_BYTES = 4 << 30
"""Most bytes that the scores of a step may take with their gradient."""

_OFF = {"sampler": None, "mixed_pairs": 0, "mixed_with_user": 0, "extrapolation": 0, "pooled": False}
_OFF |= {"keep": "all", "exposure": "none", "groups": None, "top_k": 0}


@dataclass(frozen=True)
class ChosenScore:
    """What a fit decided."""

    score: Literal["cosine", "inner"]


@estimator
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
    """Width of the vectors. Raise it for large data: 32 to 256."""
    n_layers: Annotated[int, AtLeast(0)] = 0
    """Layers of LightGCN's propagation; 0 is matrix factorisation. Set 2 or 3 for sparse data, at the cost of steps
    over the whole graph."""
    learning_rate: Annotated[float, Above(0)] = 2e-2
    """Adam's step size. Vectors are scaled to length 1, so what counts is its ratio to their entries, about 0.1 at the
    start. Lower it where the first validations are the best."""
    weight_decay: Annotated[float, AtLeast(0)] = 0.0
    """Weight of the squared rows of a batch. Leave it: a cosine takes no notice of lengths."""
    loss: Literal["dcl", "info_nce", "dclw", "direct_au"] = "dcl"
    """"dcl" leaves the pair itself out of the sum, "info_nce" counts it, "dclw" gives weight to pairs that are far
    apart. "direct_au" has no negatives: squared distances of pairs, and users and items spread evenly. Take another to
    compare with its paper."""
    temperature: Annotated[float, AtLeast(0.001)] | Literal["auto"] = 0.2
    """tau: the lower, the more the items near a user weigh among those to be pushed away. "auto" learns it with the
    vectors (after AMCL). Lower it for dense data: 0.05 to 0.5."""
    negative_weight: Annotated[float, AtLeast(0)] = 1.0
    """c, the weight of the second part; of uniformity with "direct_au". Raise it to spread the vectors more: 0.1 to
    2."""
    uniform: Annotated[int, AtLeast(0, most=10**6)] | Literal["auto"] = "auto"
    """Candidates drawn evenly for a step. "auto" takes all items once where there are at most 8,192, which is exact,
    and otherwise draws 256. Raise it where memory allows."""
    in_batch: Annotated[int, AtLeast(0)] = 256
    """Pairs of the batch whose items are candidates as well, the whole batch if it is smaller; none where all items
    are candidates anyway. Raise it for more popular negatives."""
    correction: Annotated[float, AtLeast(0)] = 0.0
    """How far drawn candidates are corrected for how often they come up (log Q): 1 estimates the exact loss, 0 takes
    popularity out of the score, which terms can add again. All items are not drawn: it says nothing there. Raise it
    where lists should be popular."""
    sampler: Sampler | None = None
    """Function of users, their items (int64 tensors of shape (B,)) and an integer key, which may be negative (seed
    NumPy with ``key % 2**32``): items of shape (B, N), which are then the candidates of each pair. Known pairs among
    them do not count. Set it to try negatives of your own."""
    score: Literal["auto", "cosine", "inner"] = "auto"
    """What ranks: the cosine, or the inner product of the vectors as they are. "auto" trains by the cosine and keeps
    what validates better; without held-out pairs the cosine. Set it where nothing is held out."""

    mixed_pairs: Annotated[int, AtLeast(0, most=10_000)] = 0
    """Negatives mixed from two of a user's candidates, for each user of a step (MoCHi); they do not move. Raise it
    where evenly drawn negatives have become too easy."""
    mixed_with_user: Annotated[int, AtLeast(0, most=10_000)] = 0
    """Negatives mixed from one of a user's candidates and the user. Raise it likewise: these are harder still."""
    hardest: Annotated[int, AtLeast(0)] = 64
    """Candidates of the highest scores that mixtures are made of; 0 takes all, which is interpolation of negatives.
    Lower it for harder ones."""
    warmup: Annotated[int, AtLeast(0)] = 5
    """Epochs before the first mixture. Raise it where mixtures spoil the start."""
    extrapolation: Annotated[int, AtLeast(0, most=16)] = 0
    """alpha > 0 moves the vectors of a pair apart by factors of 1 + Beta(alpha, alpha), one for each coordinate; 2 in
    the paper on feature transformation. 0 leaves pairs alone. Raise it where pairs are learned by heart."""
    pooled: bool = False
    """Let every pair also pay for the scores of all users of the batch with its items, as far as these are candidates
    (UNPG); with groups or margins a user counts once for each of her pairs. Set it to compare with that paper."""
    keep: Literal["all", "whisker", "margin"] = "all"
    """Which negatives are believed: "whisker" drops scores outside the whiskers of a box plot (UNPG), in the upper tail
    also what a softmax learns most from; "margin" those not clearly below their pair. Set it where many negatives are
    likely to be wanted after all."""
    reach: Annotated[float, AtLeast(0)] = 1.5
    """Where whiskers end, in interquartile ranges beyond the quartiles. Lower it to drop more."""
    margin: Annotated[float, AtLeast(0)] = 0.05
    """How far below its pair a negative must score, as a share of the pair's score. Raise it to drop more."""
    top_k: Annotated[int, AtLeast(0)] = 0
    """K > 0 lets a pair count the more, the farther it is above the K-th best score of its user (SL@K). Set it to the
    length of list that you are judged by."""
    top_k_temperature: Annotated[float, AtLeast(0.001)] = 1.0
    """The larger, the more even those weights; .75 to 2.25 in the paper. Lower it to look at the ends of lists only."""
    exposure: Literal["none", "coupled"] = "none"
    """"coupled" gives weight to negatives that were likely seen, with a model of exposure learned beside (CET). Set
    it where most items were never shown to most users."""
    exposure_temperature: Annotated[float, AtLeast(0.001)] = 2.0
    """The larger, the more even those weights; 2 or 10 in the paper's code. Lower it to trust exposure more."""
    groups: np.ndarray | None = None
    """Group of each item as whole numbers from 0, -1 for none, shape (n_items,), in the order of the rows, that of
    ``item_ids_``: such as clusters of texts (LEMON). Set it where items have kinds that users choose within."""
    group_share: Annotated[float, AtLeast(0, below=1)] = 0.1
    """Share of the negatives that come from the group of the pair's item; they may be more often false. Raise it for
    harder ones."""

    chosen_: ChosenScore = field(init=False, repr=False)
    """What the fit decided: the score."""

    _needs = "a contrast needs an item to be pushed away"

    @classmethod
    def _conflict(cls, parameters: Mapping[str, Any]) -> tuple[str, str, str] | None:
        if parameters["uniform"] == 0 and parameters["in_batch"] == 0 and parameters["sampler"] is None:
            return "uniform", "in_batch", "candidates from at least one of them"
        if parameters["loss"] == "direct_au":
            if parameters["temperature"] == "auto":
                return "temperature", "loss", "a number, since that loss has none to learn"
            for name, off in _OFF.items():
                # not by != alone, which an array answers for each of its numbers
                if parameters[name] is not None if off is None else parameters[name] != off:
                    return name, "loss", f"{off!r}, since that loss has no negatives"
        return None

    def _learner(
        self, user_items: csr_array, validation: Validation | None, device: torch.device
    ) -> ContrastiveLearner:
        check_memory(self, *user_items.shape)
        if self.groups is not None:
            check_groups(self.groups, user_items.shape[1])
        return ContrastiveLearner(self, user_items, validation, device)

    def _decided(self) -> dict[str, Any]:
        return super()._decided() | {"score": self.chosen_.score}

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
    if model.sampler is not None:
        columns = 0  # how many it draws is not known before it does
    # a mixture is a vector of its own for each row
    columns += (model.mixed_pairs + model.mixed_with_user) * (1 + model.embedding_dim)
    if model.loss == "direct_au":
        rows, columns, most = model.batch_size, model.batch_size, isqrt(MOST_BYTES // 12)
    else:
        by_pair = model.keep == "margin" or model.groups is not None or model.sampler is not None
        rows = model.batch_size if by_pair else min(model.batch_size, n_users)
        most = MOST_BYTES // (12 * max(columns, 1))
    if 12 * rows * columns > MOST_BYTES:
        msg = (
            f"batch_size is {model.batch_size:,}, whose scores would take {12 * rows * columns / 2**30:.1f} GiB; "
            f"expected at most {MOST_BYTES / 2**30:.0f}: batch_size={max(1, most)} fits"
        )
        raise InputError(msg, argument="batch_size")


def check_groups(groups: np.ndarray, n_items: int) -> None:
    """Make sure that each item has a group, or -1.

    Raises
    ------
    buir.errors.InputError
        If there are not as many groups as items, or they are not whole numbers from -1 on.
    """
    if groups.shape != (n_items,) or groups.dtype.kind not in "iu":
        came = f"groups holds {groups.dtype} of shape {groups.shape}"
        msg = f"{came}; expected whole numbers, one for each of {n_items:,} items"
        raise InputError(msg, argument="groups")
    if groups.min() < -1:
        msg = f"groups holds {groups.min()}; expected numbers from 0, or -1 for items without a group"
        raise InputError(msg, argument="groups")
