"""Table, loss and optimiser of the contrastive baseline: what the training loop sees of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional

from buir.graph import EmbeddingEncoder
from buir.learning import DenseAdam, RowAdam, Validation, effective_rank
from buir.ranking import FactorScorer, top_k

from .contrast import (
    Candidates,
    KnownPairs,
    LearnedTemperature,
    ScoreTable,
    Selector,
    alignment_and_uniformity,
    checked_draws,
    contrast,
    draw_candidates,
    extrapolate,
    extrapolation_factors,
    group_log_weight,
    group_sizes,
    mix_negatives,
    score_figures,
    top_k_weights,
    vmf_weights,
    whisker,
    within_margin,
)
from .lightgcn import Propagation, initial_table

if TYPE_CHECKING:
    from .contrastive import Contrastive

MOST_EXACT = 8192
"""Items up to which "auto" takes all of them."""
DRAWS = 256
"""Even draws of "auto" beyond."""
WATCHED = 256
"""Users whose scores the figures of a validation look at."""
RENEWED = 5
"""Epochs after which the ends of the users' lists are looked up again."""


def n_uniform(uniform: int | Literal["auto"], n_items: int) -> int | None:
    """Return how many candidates are drawn evenly; None says that all items are candidates."""
    if uniform != "auto":
        return uniform
    return None if n_items <= MOST_EXACT else DRAWS


class Forward(NamedTuple):
    """A batch's loss, and what else learns from it."""

    loss: Tensor
    positive: Tensor | None = None
    """Scores of the pairs; None where there are no negatives."""
    table: ScoreTable | None = None
    """Scores of the candidates, before the weights of exposure."""
    candidates: Tensor | None = None
    """Items of the table's columns, shape (C,) or (B, C)."""


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

    remedy = "lower learning_rate, or raise temperature, and exposure_temperature if it is coupled"

    def __init__(
        self, settings: Contrastive, user_items: csr_array, validation: Validation | None, device: torch.device
    ) -> None:
        self.settings, self.validation = settings, validation
        self.n_users, self.n_items = user_items.shape
        self.uniform = n_uniform(settings.uniform, self.n_items)
        self.propagation = Propagation(user_items, settings.n_layers, device)
        self.known = KnownPairs(user_items, device)
        self.popularity = torch.bincount(self.known.items, minlength=self.n_items).double()
        self.score: Literal["cosine", "inner"] = "inner" if settings.score == "inner" else "cosine"
        self.table = initial_table(user_items.shape, settings.embedding_dim, settings.seed, device)
        self.by_rows = settings.n_layers == 0
        self.optimiser = (
            RowAdam(self.table, settings.learning_rate)
            if self.by_rows
            else DenseAdam([self.table], settings.learning_rate, weight_decay=0.0)
        )
        in_epoch = -(-user_items.nnz // settings.batch_size)
        self.steps, self.warm, self.renewed = 0, settings.warmup * in_epoch, RENEWED * in_epoch
        self.limits = torch.empty(0)  # the K-th best score of each user, as it was when it was looked up
        self.temperature = (
            LearnedTemperature(settings.embedding_dim, device) if settings.temperature == "auto" else None
        )
        coupled = settings.exposure == "coupled"
        self.selector = Selector(self.popularity, settings.exposure_temperature) if coupled else None
        self.groups: Tensor | None = None
        if settings.groups is not None:
            names, groups = np.unique(settings.groups, return_inverse=True)  # a group may be called by any number
            self.groups = torch.from_numpy(groups - (names[0] == -1)).long().to(device)

    def loss(self, users: Tensor, items: Tensor, key: int) -> Tensor:
        """Return the loss of the pairs plus the decay of the table's rows they are made of."""
        return self._forward(users, items, key).loss

    def _forward(self, users: Tensor, items: Tensor, key: int) -> Forward:
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
            return Forward(alignment_and_uniformity(user, item, settings.negative_weight) + decay)
        if found is not None:
            log_weight = found.log_weight(settings.correction).repeat(len(asked), 1)
            log_weight[self.known.among(asked, found)] = -torch.inf
            table = ScoreTable(of_asked @ others.T, log_weight, owner)
        else:
            others = others.view(*drawn.shape, -1)
            known = self.known.contain(users[:, None], drawn)
            log_weight = torch.zeros(drawn.shape, device=users.device).masked_fill_(known, -torch.inf)
            table = ScoreTable(torch.einsum("bd,bnd->bn", user, others), log_weight, None)
        positive = (user * item).sum(dim=1)
        learnt = table = self._believed(table, positive, items, drawn)
        if self.selector is not None:
            table = table.weigh(self.selector.log_weight(drawn))
        pool = None
        if settings.pooled:
            shown = slice(None) if found is None else found.place(items, self.n_items).unique()
            shown = shown if isinstance(shown, slice) else shown[shown >= 0]
            pool = table.scores[:, shown][table.sound[:, shown]]
        table = self._mixed(table, user if table.rows is None else of_asked, others, key)
        pulled = positive
        if settings.extrapolation:
            factors = extrapolation_factors((len(users), item.shape[1]), settings.extrapolation, key, users.device)
            apart = extrapolate(user, item, factors)
            pulled = (apart[0] * apart[1]).sum(dim=1)
        loss = contrast(
            pulled,
            table.scores,
            table.log_weight,
            temperature=self._temperature,
            rows=table.rows,
            coupled=settings.loss == "info_nce",
            negative_weight=settings.negative_weight,
            positive_weight=vmf_weights(positive) if settings.loss == "dclw" else None,
            pair_weight=self._pair_weight(users, positive),
            pool=pool,
        )
        return Forward(loss + decay, positive, learnt, drawn)

    def _pair_weight(self, users: Tensor, positive: Tensor) -> Tensor | None:
        """Weigh pairs by how far they are above the end of their user's list, looked up every few epochs."""
        k = min(self.settings.top_k, self.n_items)
        if k == 0:
            return None
        if self.steps % self.renewed == 0:
            vectors = functional.normalize(self.propagation(self.table.detach()), dim=1)
            everybody = FactorScorer(vectors[: self.n_users], vectors[self.n_users :])
            best = top_k(everybody, np.arange(self.n_users), k)[1]
            self.limits = torch.from_numpy(best[:, -1].copy()).to(positive.device)
        return top_k_weights(positive, self.limits[users], self.settings.top_k_temperature)

    @property
    def _temperature(self) -> float:
        if self.temperature is not None:
            return self.temperature.value
        assert self.settings.temperature != "auto"
        return self.settings.temperature

    def _believed(self, table: ScoreTable, positive: Tensor, items: Tensor, candidates: Tensor) -> ScoreTable:
        """Weigh candidates by the groups of items, and drop those that are likely to be wanted after all."""
        settings = self.settings
        if self.groups is not None:
            weights = group_log_weight(self.groups, group_sizes(self.groups), items, candidates, settings.group_share)
            table = table.by_pair().weigh(weights)
        if settings.keep == "margin":
            table = table.by_pair()
            return table.keep(within_margin(table.scores, positive, settings.margin))
        if settings.keep == "whisker":
            return table.keep(whisker(table.scores, settings.reach, table.sound))
        return table

    def _mixed(self, table: ScoreTable, users: Tensor, items: Tensor, key: int) -> ScoreTable:
        """Add mixtures to the candidates, once the warm-up is over; ``users`` are those of the table's rows."""
        settings = self.settings
        if settings.mixed_pairs + settings.mixed_with_user == 0 or self.steps < self.warm:
            return table
        vectors, sound = mix_negatives(
            users.detach(),
            items.detach(),
            table.scores.detach().masked_fill(~table.sound, -torch.inf),
            hardest=settings.hardest,
            pairs=settings.mixed_pairs,
            with_user=settings.mixed_with_user,
            key=key,
        )
        return table.append(torch.einsum("rd,rpd->rp", users, vectors), sound)

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
        forward = self._forward(users, items, key)
        forward.loss.backward()
        self.optimiser.step()
        self.steps += 1
        if forward.positive is not None and forward.table is not None and forward.candidates is not None:
            if self.selector is not None:
                self.selector.learn(items, forward.candidates, forward.table, self._temperature)
            if self.temperature is not None:
                self.temperature.learn(forward.positive, forward.table)
        return forward.loss.detach()

    def factors(self) -> tuple[Tensor, Tensor]:
        """Propagate the table as it is; return the vectors whose inner product is the score."""
        vectors = self.propagation(self.table.detach())
        if self.score == "cosine":
            vectors = functional.normalize(vectors, dim=1)
        return vectors[: self.n_users], vectors[self.n_users :]

    def validate(self) -> dict[str, Any]:
        """Measure effective rank, uniformity and scores of all vectors, and the held-out pairs."""
        users, items = self.factors()
        record = {"effective_rank": effective_rank(torch.cat([users, items]))}
        record |= score_figures(users, items, self.known, self._temperature, most=WATCHED)
        if self.temperature is not None:
            record["temperature"] = self.temperature.value
        if self.selector is not None:
            record["exposure_slope"] = self.selector.slope.item()
        scorer = FactorScorer(users, items)
        return record if self.validation is None else record | self.validation(scorer) | self.validation.look(scorer)

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
