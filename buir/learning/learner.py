"""The training step of BUIR, and what is looked at between epochs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from buir.learning import diagnostics
from buir.learning.bootstrap import Bootstrap, Weights
from buir.learning.loop import Validation
from buir.learning.optimisers import DenseAdam, Moments, RowAdam
from buir.learning.targets import LazyTarget
from buir.ranking import FactorScorer, Scorer, WatchedScorer

__all__ = ["BootstrapLearner", "TrainingState", "bare"]

GROWN = 1e4
"""So many times as large as at their start vectors never are where steps add up to something."""

SAMPLE = 1024
"""Rows that the collapse monitor looks at."""


@dataclass(frozen=True, eq=False)
class TrainingState:
    """What continues a training besides the weights, on the CPU."""

    epoch: int
    """Epochs done: with the seed it decides all further draws."""
    tensors: dict[str, Tensor]
    """"target" (n_nodes, d), and for each weight "mean/...", "square/..." (Adam's moments) and "steps/..."; between
    validations of a row-sparse training also "age" (n_nodes,), see ``LazyTarget``."""

    @property
    def predictor(self) -> bool:
        """Whether it is one of a predictor, too."""
        return "mean/predictor_weight" in self.tensors


class BootstrapLearner:
    """Bootstrap and optimiser: the five lines of a step.

    Parameters
    ----------
    bootstrap
        The two networks and their loss.
    learning_rate
        Adam's step size.
    weight_decay
        L2 gradient for dense tables (the author's), decoupled and on the step's rows only for row-sparse ones.
    pairs
        Some observed pairs (user rows, item rows) for the alignment diagnostic.
    validation
        None trains without looking at held-out data.
    terms
        What is added to the scores that validation looks at; the metric without them is then in the records as well,
        as ``bare_`` and its name. None adds nothing.
    """

    remedy = "lower learning_rate, or raise momentum towards 1"

    def __init__(
        self,
        bootstrap: Bootstrap,
        learning_rate: float,
        weight_decay: float,
        pairs: tuple[Tensor, Tensor],
        validation: Validation | None = None,
        terms: WatchedScorer | None = None,
    ) -> None:
        self.bootstrap, self.validation, self.terms = bootstrap, validation, terms
        table, *predictor = bootstrap.learned
        dense = [table, *predictor]
        self.optimisers: list[DenseAdam | RowAdam] = []
        if isinstance(bootstrap.target, LazyTarget):
            self.optimisers.append(RowAdam(table, learning_rate, weight_decay, before=bootstrap.target.settle))
            dense = predictor
        if dense:
            self.optimisers.append(DenseAdam(dense, learning_rate, weight_decay))
        stride = max(1, len(pairs[0]) // SAMPLE)
        self.pairs = (pairs[0][::stride], pairs[1][::stride])
        self.start_size = _size(table)

    @torch.enable_grad()
    def step(self, users: Tensor, items: Tensor, key: int, *weight: Tensor) -> Tensor:
        """Learn from a batch of pairs, with their weights if they have any; return its loss."""
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        loss = self.bootstrap.loss(users, items, key, *weight)
        loss.backward()
        for optimiser in self.optimisers:
            optimiser.step()
        self.bootstrap.target.after_step()
        return loss.detach()

    def validate(self) -> dict[str, Any]:
        """Measure the held-out pairs, and whether the representation collapses.

        Raises
        ------
        FloatingPointError
            If the vectors are no longer finite, or have grown beyond what any training that learns makes of them.
        """
        vectors = self._vectors()
        record = self.diagnose(vectors)
        if self.validation is not None:
            base = self.base(vectors)
            record |= self.validation(self.scorer(vectors)) | self.validation.look(base)
            if self.terms is not None:
                record[bare(self.validation.metric)] = self.validation(base)[self.validation.metric]
        return record

    def _vectors(self) -> Tensor:
        """Encode everything."""
        with torch.no_grad():
            return self.bootstrap.vectors()

    def diagnose(self, vectors: Tensor | None = None) -> dict[str, Any]:
        """Measure whether the representation collapses; raises as ``validate`` does.

        Parameters
        ----------
        vectors
            What the present weights come to, if it is known.
        """
        bootstrap = self.bootstrap
        vectors = self._vectors() if vectors is None else vectors
        with torch.no_grad():
            target = bootstrap.encoder.encode_all(bootstrap.target.settled())
        if not torch.isfinite(vectors).all():
            # The loss of an epoch was taken before its last step and, of directions alone, may still be a number.
            msg = f"the vectors became infinite or NaN: {self.remedy}"
            raise FloatingPointError(msg)
        start, size = self.start_size.item(), _size(bootstrap.weights.table).item()
        if size > GROWN * start > 0:
            # Of directions alone, loss and diagnostics of such a state look like those of any young training.
            times = f"{size / start:,.0f} times"
            msg = f"the vectors grew {times}, so that each step overwrites what the others learned: {self.remedy}"
            raise FloatingPointError(msg)
        users, items = (part + offset for part, offset in zip(self.pairs, (0, bootstrap.n_users), strict=True))
        rows = torch.from_numpy(np.linspace(0, len(vectors) - 1, min(SAMPLE, len(vectors))).astype(np.int64)).to(
            users.device
        )
        record = {
            "effective_rank": diagnostics.effective_rank(vectors[rows]),
            "alignment": diagnostics.alignment(vectors[users], vectors[items]),
            "uniformity": diagnostics.uniformity(vectors[rows]),
            "target_distance": diagnostics.target_distance(vectors[rows], target[rows]),
        }
        # Of the model's own scores: where popularity rules by its strength, lists are alike for a reason.
        record["catalogue_share"] = diagnostics.catalogue_share(
            self.base(vectors), diagnostics.LENGTH, sample=diagnostics.LISTS
        )
        return record

    def base(self, vectors: Tensor | None = None) -> FactorScorer:
        """Score with the present weights alone."""
        return FactorScorer(*self.bootstrap.factors(vectors))

    def scorer(self, vectors: Tensor | None = None) -> Scorer:
        """Score with the present weights and the terms."""
        base = self.base(vectors)
        return base if self.terms is None else self.terms.over(base)

    def state(self, epoch: int) -> TrainingState:
        """Copy the moments and the target table as they are after ``epoch`` epochs."""
        tensors = self.bootstrap.target.state()
        for optimiser in self.optimisers:
            names = self._names(optimiser)
            for place, kept in optimiser.moments.items():
                tensors |= {f"{what}/{names[place]}": part for what, part in vars(kept).items()}
        return TrainingState(epoch, {name: part.detach().cpu().clone() for name, part in tensors.items()})

    def resume(self, state: TrainingState) -> None:
        """Go on from a state; the rows must be those of the weights."""
        self.bootstrap.target.resume(state.tensors)
        for optimiser in self.optimisers:
            optimiser.resume(
                {
                    place: Moments(*(state.tensors[f"{what}/{name}"].clone() for what in Moments.__annotations__))
                    for place, name in enumerate(self._names(optimiser))
                }
            )

    def _names(self, optimiser: DenseAdam | RowAdam) -> list[str]:
        """Return the names of an optimiser's weights, in its order."""
        names = {id(part): name for name, part in vars(self.bootstrap.weights).items()}
        return [names[id(part)] for part in optimiser.weights]

    def snapshot(self) -> Weights:
        """Copy what prediction needs."""
        return self.bootstrap.weights.clone()

    def restore(self, snapshot: Weights) -> None:
        """Take the weights of a snapshot."""
        with torch.no_grad():
            for mine, saved in zip(self.bootstrap.weights.parts(), snapshot.parts(), strict=True):
                mine.copy_(saved)


def bare(metric: str) -> str:
    """Return the key of a metric of the scores without terms."""
    return f"bare_{metric}"


def _size(table: Tensor) -> Tensor:
    """Return the root mean square of a table's entries, on its device."""
    return table.detach().square().mean().sqrt()
