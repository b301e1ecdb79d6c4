"""Table, loss and optimiser of the contrastive baseline: what the training loop sees of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional

from buir.errors import InputError
from buir.graph import EmbeddingEncoder
from buir.learning import RowAdam, Validation, dense_adam, effective_rank, uniformity_loss
from buir.ranking import FactorScorer

from .contrast import Candidates, KnownPairs, contrast, draw_candidates, score_figures, vmf_weights
from .lightgcn import INITIAL_SCALE, Propagation
from .negatives import NegativeSampler

if TYPE_CHECKING:
    from .contrastive import Contrastive

MOST_EXACT = 8192
"""Items up to which "auto" takes all of them."""
DRAWS = 256
"""Even draws of "auto" beyond."""
WATCHED = 256
"""Users whose scores the figures of a validation look at."""


def n_uniform(uniform: int | Literal["auto"], n_items: int) -> int | None:
    """Return how many candidates are drawn evenly; None says that all items are candidates."""
    if uniform != "auto":
        return uniform
    return None if n_items <= MOST_EXACT else DRAWS


class ContrastiveLearner:
    """Table and optimiser.

    Parameters
    ----------
    settings
        The model whose hyper-parameters are used.
    user_items
        Training pairs, binary, canonical.
    validation
        None trains without looking at held-out data.
    device
        Where to train.
    """

    def __init__(
        self, settings: Contrastive, user_items: csr_array, validation: Validation | None, device: torch.device
    ) -> None:
        self.settings, self.validation = settings, validation
        self.n_users, self.n_items = user_items.shape
        self.uniform = n_uniform(settings.uniform, self.n_items)
        self.propagation = Propagation(user_items, settings.n_layers, device)
        self.known = KnownPairs(user_items, device)
        self.popularity = torch.bincount(self.known.items, minlength=self.n_items).double()
        self.is_positive = NegativeSampler(user_items, device).is_positive
        self.score: Literal["cosine", "inner"] = "inner" if settings.score == "inner" else "cosine"
        generator = torch.Generator().manual_seed(settings.seed)
        # Drawn on the CPU so that every device starts from the same table.
        table = torch.randn(sum(user_items.shape), settings.embedding_dim, generator=generator) * INITIAL_SCALE
        self.table = table.to(device).requires_grad_()
        self.by_rows = settings.n_layers == 0
        self.optimiser = (
            RowAdam(self.table, settings.learning_rate)
            if self.by_rows
            else dense_adam([self.table], settings.learning_rate, weight_decay=0.0)
        )

    def loss(self, users: Tensor, items: Tensor, key: int) -> Tensor:
        """Return the loss of the pairs plus the decay of the table's rows they are made of."""
        settings = self.settings
        asked, owner = users.unique(return_inverse=True)
        found = None if settings.sampler is not None else self.candidates(items, key)
        drawn = self._drawn(users, items, key) if found is None else found.items
        if settings.loss == "direct_au":
            drawn = items[:0]
        read, decay = self._read([asked, items, drawn.flatten()], owner)
        of_asked, item, others = (functional.normalize(part, dim=1) for part in read)
        user = functional.embedding(owner, of_asked)
        if settings.loss == "direct_au":
            return alignment_and_uniformity(user, item, settings.negative_weight) + decay
        if found is not None:
            negatives = of_asked @ others.T
            log_weight = found.log_weight(settings.correction).repeat(len(asked), 1)
            log_weight[self.known.among(asked, found)] = -torch.inf
        else:
            negatives = torch.einsum("bd,bnd->bn", user, others.view(*drawn.shape, -1))
            known = self.is_positive(users[:, None].expand_as(drawn), drawn)
            log_weight = torch.zeros_like(negatives).masked_fill_(known, -torch.inf)
        positive = (user * item).sum(dim=1)
        return decay + contrast(
            positive,
            negatives,
            log_weight,
            temperature=settings.temperature,
            rows=None if found is None else owner,
            coupled=settings.loss == "info_nce",
            negative_weight=settings.negative_weight,
            positive_weight=vmf_weights(positive) if settings.loss == "dclw" else None,
        )

    def candidates(self, items: Tensor, key: int) -> Candidates:
        """Give the items that all users of a batch with these items are pushed from."""
        if self.uniform is None:
            return Candidates.whole(self.n_items, items.device)
        return draw_candidates(items[: self.settings.in_batch], self.popularity, uniform=self.uniform, key=key)

    def _drawn(self, users: Tensor, items: Tensor, key: int) -> Tensor:
        assert self.settings.sampler is not None
        return checked_draws(self.settings.sampler(users, items, key), len(users), self.n_items).to(users.device)

    def _read(self, parts: list[Tensor], owner: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the vectors of distinct users, of their pairs' items and of other items; and the decay of the pairs.

        Both are read at once, since each gradient would be as large as the table.
        """
        rows = torch.cat([parts[0], *(part + self.n_users for part in parts[1:])])
        if self.by_rows:
            vectors = own = EmbeddingEncoder().encode(self.table, rows, 0, sparse=True)
        else:
            # embedding() and not an index: its gradient adds up in a fixed order for any number of threads.
            vectors = functional.embedding(rows, self.propagation(self.table))
            own = functional.embedding(rows, self.table) if self.settings.weight_decay else vectors
        sizes = [len(part) for part in parts]
        decay = torch.zeros((), device=rows.device)
        if self.settings.weight_decay:
            of_users, of_items, _ = own.square().sum(dim=1).split(sizes)
            squares = functional.embedding(owner, of_users.unsqueeze(1)).sum() + of_items.sum()
            decay = self.settings.weight_decay / (2 * len(owner)) * squares
        return vectors.split(sizes), decay

    def step(self, users: Tensor, items: Tensor, key: int) -> Tensor:
        """Learn from a batch of pairs; return its loss."""
        self.optimiser.zero_grad()
        loss = self.loss(users, items, key)
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def factors(self) -> tuple[Tensor, Tensor]:
        """Propagate the table as it is; return the vectors whose inner product is the score."""
        vectors = self.propagation(self.table.detach())
        if self.score == "cosine":
            vectors = functional.normalize(vectors, dim=1)
        return vectors[: self.n_users], vectors[self.n_users :]

    def validate(self) -> dict[str, float]:
        """Measure effective rank, uniformity and scores of all vectors, and the held-out pairs."""
        users, items = self.factors()
        record = {"effective_rank": effective_rank(torch.cat([users, items]))}
        record |= score_figures(users, items, self.known, self.settings.temperature, most=WATCHED)
        return record if self.validation is None else record | self.validation(FactorScorer(users, items))

    def choose_score(self) -> Literal["cosine", "inner"]:
        """Take the score that validates better, where the settings leave it open; of equal ones the cosine."""
        if self.settings.score == "auto" and self.validation is not None:
            values = {}
            for self.score in ("cosine", "inner"):
                values[self.score] = self.validation(FactorScorer(*self.factors()))[self.validation.metric]
            self.score = "inner" if values["inner"] > values["cosine"] else "cosine"
        return self.score

    def snapshot(self) -> Tensor:
        """Copy the table."""
        return self.table.detach().clone()

    @torch.no_grad()
    def restore(self, snapshot: Tensor) -> None:
        """Take a copy's values."""
        self.table.copy_(snapshot)


def alignment_and_uniformity(users: Tensor, items: Tensor, weight: float) -> Tensor:
    r"""DirectAU's loss, :math:`\mathrm{mean}|u - i|^2 + \gamma (\mathrm{unif}(u) + \mathrm{unif}(i)) / 2`.

    Parameters
    ----------
    users, items
        Unit vectors of pairs, shape (B, d). Uniformity needs two of them: with one there is the first part alone.
    weight
        :math:`\gamma`.
    """
    alignment = (users - items).square().sum(dim=1).mean()
    if len(users) < 2:
        return alignment
    return alignment + weight * (uniformity_loss(users) + uniformity_loss(items)) / 2


def checked_draws(drawn: Tensor, n_pairs: int, n_items: int) -> Tensor:
    """Make sure that a sampler returned items, some for each pair."""
    whole = isinstance(drawn, Tensor) and not drawn.is_floating_point() and drawn.dtype != torch.bool
    if not whole or drawn.ndim != 2 or len(drawn) != n_pairs or not drawn.shape[1]:
        came = f"{drawn.dtype} of shape {tuple(drawn.shape)}" if isinstance(drawn, Tensor) else type(drawn).__name__
        msg = f"sampler returned {came}; expected items as whole numbers in a tensor of shape ({n_pairs}, N)"
        raise InputError(msg, argument="sampler")
    low, high = int(drawn.min()), int(drawn.max())
    if low < 0 or high >= n_items:
        msg = f"sampler returned items {low} to {high}; expected some from 0 to {n_items - 1}"
        raise InputError(msg, argument="sampler")
    return drawn.long()
