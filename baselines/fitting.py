"""What the fits of baselines have in common: all is learned in one go, or in epochs over the pairs."""

import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Protocol, Self

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from buir.data import PairWeights, fit_inputs
from buir.learning import Pairs, Schedule, ScoreSample, Validation, train, training_device
from buir.ranking import Scorer, evaluate
from buir.recommend import AtLeast, MetricAtK, Recommender, Terms

Callback = Callable[[dict[str, Any]], Any] | None
"""Called with every history record; what it returns matters only to models that train in epochs."""

Look = Callable[[int, Scorer], None] | None
"""Told the sweeps done and how things score then, where somebody looks."""

VALID_KS = (10, 20, 50)
VALID_METRICS = ("ndcg", "recall")


class FittedAtOnce(Recommender):
    """Base of the models that are fitted in one go: held-out pairs only tell how good they are."""

    history: list[dict[str, Any]]
    """One record: "epoch", "seconds" (of the fit, with the choice of terms), with ``valid`` the validation metrics,
    "scores" (quantiles of some scores without terms) and, of a model trained in sweeps, "looks" (the same, of earlier
    epochs); where held-out pairs chose terms "terms": their strengths, gains and the number of candidates."""

    @abstractmethod
    def _learn(self, train: csr_array, *, show_progress: bool, look: Look) -> None:
        """Learn from a canonical matrix, which holds the weights of the pairs where the model takes any, else ones.

        A model that is trained in sweeps lets ``look`` see some of them.
        """

    def fit(
        self,
        user_items: Any,
        valid: Any = None,
        *,
        weights: PairWeights = None,
        show_progress: bool = True,
        callback: Callback = None,
    ) -> Self:
        """Learn from the training pairs.

        Parameters
        ----------
        user_items
            Training pairs: any SciPy format, ``Interactions`` or a data frame.
        valid
            Held-out pairs of the same shape, measured once after the fit, training items masked; they choose the terms
            where those are "auto".
        weights
            How much each training pair counts, as for ``BUIR.fit``; an error of a model that cannot take them.
        show_progress
            Show a bar on a terminal, where a model takes long enough to have one.
        callback
            Called once with the history record, as at the end of a last epoch. What it raises passes through.
        """
        started = time.perf_counter()
        self._check_weights(weights)
        labelled, held_out = fit_inputs(user_items, valid, weights=weights)
        sample = None if held_out is None else ScoreSample(labelled.matrix, held_out)
        looks: list[dict[str, Any]] = []

        def look(sweeps: int, scorer: Scorer) -> None:
            if sample is not None:
                looks.append({"epoch": sweeps, "scores": sample.quantiles(scorer)})

        self._learn(labelled.matrix, show_progress=show_progress, look=None if sample is None else look)
        self._remember(labelled)
        own = self._own_scorer() if "terms" in self.get_params() else self.scorer()
        scores = {} if sample is None else {"scores": sample.quantiles(own)}
        if "terms" in self.get_params():
            self._add_terms(held_out)
        record: dict[str, Any] = {"epoch": self.get_params().get("iterations", 1)}
        record["seconds"] = time.perf_counter() - started
        if held_out is not None:
            record |= evaluate(self, labelled.matrix, held_out, ks=VALID_KS, metrics=VALID_METRICS).means
        record |= scores | ({"looks": looks} if looks else {})
        if "terms" in self.get_params():
            record |= self.terms_.record
        if callback is not None:
            callback(record)
        self.history = [record]
        return self


class Learner(Protocol):
    """What the training loop trains, and the two tables that come of it."""

    def step(self, users: Tensor, items: Tensor, key: int) -> Tensor: ...  # noqa: D102 - as buir.learning says
    def validate(self) -> dict[str, Any]: ...  # noqa: D102
    def snapshot(self) -> Any: ...  # noqa: D102
    def restore(self, snapshot: Any) -> None: ...  # noqa: D102
    def factors(self) -> tuple[Tensor, Tensor]:
        """Return the users' and the items' vectors for prediction."""
        ...


@dataclass(kw_only=True, eq=False)
class FittedInEpochs(Recommender):
    """Base of the models that learn from batches of pairs, by ``buir.learning``'s loop."""

    epochs: Annotated[int, AtLeast(1)] = 200
    """Passes over the pairs, at most."""
    validate_every: Annotated[int, AtLeast(1)] = 2
    """Epochs between validations."""
    valid_metric: Annotated[str, MetricAtK()] = "ndcg_at_20"
    """What validation maximises."""
    patience: Annotated[int, AtLeast(1)] = 5
    """Validations in a row without improvement after which training stops."""
    batch_size: Annotated[int, AtLeast(1)] = 2048
    """Pairs in a step."""
    terms: Terms = field(default_factory=dict)
    """What is added to the score after the fit, with "auto" as held-out pairs choose; see ``buir.recommend.Terms``."""
    seed: Annotated[int, AtLeast(0, most=2**63 - 1)] = 0
    """Decides the initial table, the order of the pairs and what is drawn."""
    device: str = "auto"
    """A torch device, or "auto": CUDA if there is one."""

    history: list[dict[str, Any]] = field(init=False, repr=False)
    """One record for each validation, as ``buir.learning.loop.train`` makes them."""

    _needs: ClassVar[str]
    """What a user who has every item cannot give, as the end of an error."""

    @abstractmethod
    def _learner(self, user_items: csr_array, validation: Validation | None, device: torch.device) -> Learner:
        """Make the model with its optimiser; ``user_items`` is canonical."""

    def _decide(self, learner: Any) -> None:
        """Let the trained learner decide what its settings leave open; a hook."""

    def fit(
        self,
        user_items: Any,
        valid: Any = None,
        *,
        weights: PairWeights = None,
        show_progress: bool = True,
        callback: Callback = None,
    ) -> Self:
        """Train from a fresh start.

        Parameters
        ----------
        user_items
            Training pairs: any SciPy format, ``Interactions`` or a data frame.
        valid
            Held-out pairs of the same shape: training stops early by the scores without terms and the best table is
            kept. Without it all epochs run.
        weights
            None: these models cannot take weights of pairs, and say so.
        show_progress
            Show a progress bar on a terminal.
        callback
            Called with the record of each validation; returning True ends the training.

        Raises
        ------
        ValueError
            If every user with interactions has every item, so that there is no negative.
        FloatingPointError
            If the loss stops being a number.
        """
        self._check_weights(weights)
        labelled, held_out = fit_inputs(user_items, valid, batch_size=self.batch_size, valid_metric=self.valid_metric)
        matrix = labelled.matrix
        degrees = np.diff(matrix.indptr)
        learns = np.repeat(degrees < matrix.shape[1], degrees)
        if not learns.any():
            msg = (
                f"each of the {np.count_nonzero(degrees):,} users with interactions has all {matrix.shape[1]:,} items; "
                f"expected somebody to lack one: {self._needs}"
            )
            raise ValueError(msg)
        device = training_device(self.device)
        validation = None if held_out is None else Validation(matrix, held_out, self.valid_metric)
        learner = self._learner(matrix, validation, device)
        users = torch.from_numpy(np.repeat(np.arange(matrix.shape[0], dtype=np.int64), degrees)[learns])
        items = torch.from_numpy(matrix.indices[learns].astype(np.int64))
        schedule = Schedule(
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=self.seed,
            validate_every=self.validate_every,
            metric=None if validation is None else self.valid_metric,
            patience=self.patience,
        )
        pairs = Pairs(users.to(device), items.to(device))
        self.history = train(learner, pairs, schedule, callback=callback, show_progress=show_progress)
        self._decide(learner)
        self.user_factors, self.item_factors = (part.cpu().numpy() for part in learner.factors())
        self._remember(labelled)
        self._add_terms(held_out, self.valid_metric)
        self.history[-1] |= self.terms_.record
        return self
