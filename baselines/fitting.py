"""What the fits of baselines have in common: all is learned in one go, or in epochs over the pairs."""

import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import field
from typing import Annotated, Any, ClassVar, Protocol, Self

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from buir.data import Labelled, PairWeights, fit_inputs
from buir.learning import Pairs, Schedule, ScoreSample, Validation, train, training_device
from buir.ranking import Scorer, evaluate
from buir.recommend import AtLeast, MetricAtK, Recommender, Terms, answering, check_callback, estimator

Callback = Callable[[dict[str, Any]], Any] | None
"""Called with every history record; what it returns matters only to models that train in epochs."""

Look = Callable[[int, Scorer], None] | None
"""Told the sweeps done and how things score then, where somebody looks."""

VALID_KS = (10, 20, 50)
VALID_METRICS = ("ndcg", "recall")


class Baseline(Recommender):
    """Base of the baselines: one ``fit`` for what is learned in one go and for what is learned in epochs."""

    history: list[dict[str, Any]]

    @abstractmethod
    def _fit(
        self, labelled: Labelled, held_out: csr_array | None, *, show_progress: bool, callback: Callback
    ) -> list[dict[str, Any]]:
        """Learn, ``_remember`` and add the terms; return the history."""

    @answering
    def fit(
        self,
        user_items: Any,
        valid: Any = None,
        *,
        weights: PairWeights = None,
        show_progress: bool = True,
        callback: Callback = None,
    ) -> Self:
        """Learn from the training pairs, from a fresh start.

        Parameters
        ----------
        user_items
            Training pairs: any SciPy format, ``Interactions`` or a data frame.
        valid
            Held-out pairs of the same shape, measured with training items masked; they choose the terms where those are
            "auto". A model that learns in epochs stops early by them, by its scores without terms, and keeps its best
            table; without them all epochs run.
        weights
            How much each training pair counts, as for ``BUIR.fit``; an error of a model that cannot take them.
        show_progress
            Show a bar on a terminal, where a model takes long enough to have one.
        callback
            Called with each record of the history: after each validation of a model that learns in epochs, where
            returning True ends the training, else once. What it raises passes through.

        Returns
        -------
        The model itself.

        Raises
        ------
        ValueError
            If a model that needs negatives finds none: every user with interactions has every item.
        FloatingPointError
            If the loss, or factors, stop being numbers.
        """
        check_callback(callback)
        self._check_weights(weights)
        settings = self.get_params()
        watched = {name: settings[name] for name in ("batch_size", "valid_metric", "embedding_dim") if name in settings}
        labelled, held_out = fit_inputs(user_items, valid, weights=weights, **watched)
        self.history = self._fit(labelled, held_out, show_progress=show_progress, callback=callback)
        return self

    def again(self, user_items: Any, *, weights: PairWeights = None) -> Self:
        """Learn from other pairs with what held-out pairs have decided: epochs, terms and what else was open.

        So a model that has chosen by pairs held out of its training part is trained on all of it.

        Parameters
        ----------
        user_items, weights
            As in ``fit``.

        Returns
        -------
        A new model, with the history of the one that decided.
        """
        model = type(self)(**self.get_params() | self._decided())
        model._block_dim = self.terms_.width_of_block if "terms" in self.get_params() else None
        model.fit(user_items, weights=weights, show_progress=False)
        model.history = self.history
        return model

    def _decided(self) -> dict[str, Any]:
        """Return what held-out pairs have decided, by the names of parameters."""
        return {"terms": self.terms_.strengths} if self.get_params().get("terms") == "auto" else {}


class FittedAtOnce(Baseline):
    """Base of the models that are fitted in one go: held-out pairs only tell how good they are."""

    history: list[dict[str, Any]]
    """One record: "epoch", "seconds" (of learning, with the choice of terms), with ``valid`` the validation metrics,
    "scores" (quantiles of some scores without terms) and, of a model trained in sweeps, "looks" (the same, of earlier
    epochs); where held-out pairs chose terms "terms": their strengths, gains and the number of candidates."""

    @abstractmethod
    def _learn(self, train: csr_array, *, show_progress: bool, look: Look) -> None:
        """Learn from a canonical matrix, which holds the weights of the pairs where the model takes any, else ones.

        A model that is trained in sweeps lets ``look`` see some of them.
        """

    def _fit(
        self, labelled: Labelled, held_out: csr_array | None, *, show_progress: bool, callback: Callback
    ) -> list[dict[str, Any]]:
        started = time.perf_counter()
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
        return [record]


class Learner(Protocol):
    """What the training loop trains, and the two tables that come of it."""

    remedy: str

    def step(self, users: Tensor, items: Tensor, key: int) -> Tensor: ...  # noqa: D102 - as buir.learning says
    def validate(self) -> dict[str, Any]: ...  # noqa: D102
    def snapshot(self) -> Any: ...  # noqa: D102
    def restore(self, snapshot: Any) -> None: ...  # noqa: D102
    def factors(self) -> tuple[Tensor, Tensor]:
        """Return the users' and the items' vectors for prediction."""
        ...


@estimator
class FittedInEpochs(Baseline):
    """Base of the models that learn from batches of pairs, by ``buir.learning``'s loop."""

    epochs: Annotated[int, AtLeast(1)] = 200
    """Passes over the pairs, at most. Set it where nothing is held out to end them."""
    validate_every: Annotated[int, AtLeast(1)] = 2
    """Epochs between validations. Raise it where validation takes longer than an epoch."""
    valid_metric: Annotated[str, MetricAtK()] = "ndcg_at_20"
    """What validation maximises. Set the metric and the length of list that you are judged by."""
    patience: Annotated[int, AtLeast(1)] = 5
    """Validations in a row without improvement after which training stops. Raise it for small data, whose validation
    jumps about."""
    batch_size: Annotated[int, AtLeast(1)] = 2048
    """Pairs in a step. Lower it for small data or little memory."""
    terms: Terms = field(default_factory=dict)
    """What is added to the score after the fit, with "auto" as held-out pairs choose; see ``buir.recommend.Terms``. Set
    "auto" where a model is to have what BUIR has."""
    seed: Annotated[int, AtLeast(0, most=2**63 - 1)] = 0
    """Decides the initial table, the order of the pairs and what is drawn. Take several to see how much is chance."""
    device: str = "auto"
    """A torch device, or "auto": CUDA if there is one. Set "cpu" for data so small that a GPU only waits."""

    history: list[dict[str, Any]] = field(init=False, repr=False)
    """One record for each validation, as ``buir.learning.loop.train`` makes them."""

    _needs: ClassVar[str]
    """What a user who has every item cannot give, as the end of an error."""

    @abstractmethod
    def _learner(self, user_items: csr_array, validation: Validation | None, device: torch.device) -> Learner:
        """Make the model with its optimiser; ``user_items`` is canonical."""

    def _decided(self) -> dict[str, Any]:
        best = [record["epoch"] for record in self.history if record.get("best")]
        return super()._decided() | {"epochs": int((best or [self.history[-1]["epoch"]])[-1])}

    def _decide(self, learner: Any) -> None:
        """Let the trained learner decide what its settings leave open; a hook."""

    def _fit(
        self, labelled: Labelled, held_out: csr_array | None, *, show_progress: bool, callback: Callback
    ) -> list[dict[str, Any]]:
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
        history = train(learner, pairs, schedule, callback=callback, show_progress=show_progress).history
        self._decide(learner)
        self.user_factors, self.item_factors = (part.cpu().numpy() for part in learner.factors())
        self._remember(labelled)
        self._add_terms(held_out, self.valid_metric)
        history[-1] |= self.terms_.record
        return history
