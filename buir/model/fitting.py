"""One training from weights to factors: what "auto" comes to, and where the pieces meet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array

from buir.graph import BipartiteGraph, EmbeddingEncoder, Encoder, GraphEncoder, WalkEncoder
from buir.learning import (
    Bootstrap,
    BootstrapLearner,
    Pairs,
    Schedule,
    TrainingState,
    Validation,
    Weights,
    train,
    training_device,
)
from buir.model.folding import Folding, fit_folding
from buir.ranking import PopularityTerm

__all__ = ["Fitted", "Plan", "run"]

SMALLEST_BATCH = 128
REFERENCE_BATCH = 1024
LARGEST_BATCH = 8192


@dataclass(frozen=True, kw_only=True)
class Plan:
    """BUIR's hyper-parameters as one training takes them, with "auto" decided.

    Only popularity stays "auto": it is decided when the training is over.
    """

    device: torch.device
    encoder: Literal["id", "graph", "walk"]
    n_layers: int
    """0 for "id"."""
    edge_drop_rate: float
    walks: int
    batch_size: int
    learning_rate: float
    """Of a step of this batch size."""
    momentum: float
    """Of a step of this batch size."""
    weight_decay: float
    uniformity: float
    row_sparse: bool
    popularity: float | Literal["auto"]
    epochs: int
    validate_every: int
    valid_metric: str
    patience: int
    cumulative_patience: bool
    seed: int

    @classmethod
    def of(cls, parameters: Mapping[str, Any], *, n_pairs: int, n_nodes: int) -> "Plan":
        r"""Decide what the hyper-parameters leave open.

        An automatic batch aims at 32 to 64 steps an epoch, in powers of two from 128 to 8,192.

        ``learning_rate`` and ``momentum`` are meant for batches of 1,024. An automatic batch b times as large takes
        :math:`\eta\sqrt b` (the noise of a mean over b times as many pairs is :math:`\sqrt b` times smaller) and
        :math:`\tau^b` (the target forgets as much in an epoch as before); up to 65,536 pairs were measured
        (docs/results/README.md). A batch given as a number takes the rates as they are given. A smaller batch keeps the
        rates: few pairs need all the steps that they can give.

        A gathered row costs a few times what a row of a pass over the table costs, so that steps are row-sparse where
        they read a small share of it.

        Parameters
        ----------
        parameters
            Every parameter of BUIR by its name, checked.
        n_pairs, n_nodes
            Training pairs; users and items together.

        Raises
        ------
        ValueError
            If the device is not there.
        """
        decided = {field.name: parameters[field.name] for field in fields(cls)}
        decided["device"] = training_device(parameters["device"])
        if parameters["encoder"] == "id":
            decided["n_layers"] = 0
        if parameters["batch_size"] == "auto":
            size = _automatic_batch(n_pairs)
            growth = max(1.0, size / REFERENCE_BATCH)
            decided["batch_size"] = size
            decided["learning_rate"] = parameters["learning_rate"] * growth**0.5
            decided["momentum"] = parameters["momentum"] ** growth
        if parameters["row_sparse"] == "auto":
            width = 1 + parameters["n_layers"] * parameters["walks"] if parameters["encoder"] == "walk" else 1
            reads = 2 * decided["batch_size"] * width
            decided["row_sparse"] = parameters["encoder"] != "graph" and 3 * reads < n_nodes
        return cls(**decided)

    def bootstrap(self, weights: Weights, graph: BipartiteGraph) -> Bootstrap:
        """Build online and target network over the training graph; graph and weights are on the plan's device."""
        encoder: Encoder = EmbeddingEncoder()
        if self.encoder == "graph":
            encoder = GraphEncoder(graph, self.n_layers, self.edge_drop_rate)
        elif self.encoder == "walk":
            encoder = WalkEncoder(graph, self.n_layers, self.walks)
        return Bootstrap(
            weights,
            encoder,
            graph.n_users,
            momentum=self.momentum,
            uniformity=self.uniformity,
            row_sparse=self.row_sparse,
        )

    def schedule(self, *, validated: bool, first_epoch: int, epochs_told: int) -> Schedule:
        """Say how long to train; see the fields of ``Schedule``."""
        return Schedule(
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=self.seed,
            validate_every=self.validate_every,
            metric=self.valid_metric if validated else None,
            patience=self.patience,
            cumulative=self.cumulative_patience,
            first_epoch=first_epoch,
            epochs_told=epochs_told,
        )


class Fitted(NamedTuple):
    """What a training leaves behind, on the CPU."""

    history: list[dict[str, Any]]
    """The records of earlier trainings, then those of this one."""
    user_factors: np.ndarray
    item_factors: np.ndarray
    popularity: float
    """Weight of the items' popularity in them."""
    folding: tuple[Folding, Folding]
    weights: Weights
    state: TrainingState | None
    """None after early stopping: the best weights are then not those that optimiser and target belong to."""


def run(
    plan: Plan,
    matrix: csr_array,
    weights: Weights,
    *,
    valid: csr_array | None = None,
    state: TrainingState | None = None,
    before: Sequence[dict[str, Any]] = (),
    callback: Callable[[dict[str, Any]], bool | None] | None = None,
    show_progress: bool = True,
) -> Fitted:
    """Train.

    Parameters
    ----------
    plan
        How.
    matrix
        Training pairs, shape (n_users, n_items).
    weights
        Where to start; not changed.
    valid
        Held-out pairs that decide when to stop and which weights to keep.
    state
        Of an earlier training that goes on.
    before
        Records of earlier trainings, from whose last epoch the new ones are counted on, whether or not a state goes on.
    callback, show_progress
        As in ``train``.
    """
    device, metric = plan.device, plan.valid_metric
    graph = BipartiteGraph.from_matrix(matrix).to(device)
    bootstrap = plan.bootstrap(weights.clone().to(device), graph)
    users = torch.from_numpy(np.repeat(np.arange(graph.n_users), np.diff(matrix.indptr))).to(device)
    items = torch.from_numpy(matrix.indices.astype(np.int64)).to(device)
    validation = None if valid is None else Validation(matrix, valid, metric)
    # "auto" is decided when the training is over: until then the personal scores alone are looked at.
    term = PopularityTerm(graph.degree[graph.n_users :], 0.0 if plan.popularity == "auto" else plan.popularity)
    learner = BootstrapLearner(bootstrap, plan.learning_rate, plan.weight_decay, (users, items), validation, term)
    if state is not None:
        learner.resume(state)
    done = 0 if state is None else state.epoch
    told = before[-1]["epoch"] - done if before else 0
    schedule = plan.schedule(validated=valid is not None, first_epoch=done, epochs_told=told)
    history = train(learner, Pairs(users, items), schedule, callback=callback, show_progress=show_progress)
    if plan.popularity == "auto" and validation is not None:
        term = term.best(lambda term: validation(learner.scorer(term))[metric])
    scorer = learner.scorer(term)
    users_folding, items_folding = fit_folding(bootstrap.weights.table, graph, plan.n_layers, matrix)
    return Fitted(
        [*before, *history],
        scorer.user_factors.cpu().numpy(),
        scorer.item_factors.cpu().numpy(),
        term.strength,
        (users_folding.to("cpu"), items_folding.to("cpu")),
        bootstrap.weights.to(torch.device("cpu")).clone(),
        learner.state(history[-1]["epoch"] - told) if valid is None or history[-1]["best"] else None,
    )


def _automatic_batch(n_pairs: int) -> int:
    size = SMALLEST_BATCH
    while size < LARGEST_BATCH and 64 * size <= n_pairs:
        size *= 2
    return min(size, n_pairs)
