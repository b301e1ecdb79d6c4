"""One training from weights to factors: where the pieces meet."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array

from buir.graph import BipartiteGraph
from buir.learning import BootstrapLearner, Pairs, Schedule, TrainingState, Validation, Weights, train, training_device
from buir.model.construction import batch_size, make_bootstrap, step_rates
from buir.model.folding import Folding, fit_folding
from buir.ranking import PopularityTerm

__all__ = ["Fitted", "run"]


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
    settings: Any,
    matrix: csr_array,
    weights: Weights,
    epochs: int,
    *,
    valid: csr_array | None = None,
    state: TrainingState | None = None,
    popularity: float | None = None,
    before: Sequence[dict[str, Any]] = (),
    **reporting: Any,
) -> Fitted:
    """Train.

    Parameters
    ----------
    settings
        An estimator with BUIR's hyper-parameters.
    matrix
        Training pairs, shape (n_users, n_items).
    weights
        Where to start; not changed.
    epochs
        At most so many.
    valid
        Held-out pairs that decide when to stop and which weights to keep.
    state
        Of an earlier training that goes on.
    popularity
        Weight that an earlier training came to; None takes that of the settings.
    before
        Records of earlier trainings, from whose last epoch the new ones are counted on, whether or not a state goes on.
    reporting
        ``callback`` and ``show_progress`` of ``train``.
    """
    device = training_device(settings.device)
    graph = BipartiteGraph.from_matrix(matrix).to(device)
    bootstrap = make_bootstrap(settings, weights.clone().to(device), graph)
    users = torch.from_numpy(np.repeat(np.arange(graph.n_users), np.diff(matrix.indptr))).to(device)
    items = torch.from_numpy(matrix.indices.astype(np.int64)).to(device)
    validation = None if valid is None else Validation(matrix, valid, settings.valid_metric)
    learning_rate, _ = step_rates(settings, len(users))
    wanted = settings.popularity if popularity is None else popularity
    # "auto" is decided when the training is over: until then the personal scores alone are looked at.
    term = PopularityTerm(graph.degree[graph.n_users :], 0.0 if wanted == "auto" else wanted)
    learner = BootstrapLearner(bootstrap, learning_rate, settings.weight_decay, (users, items), validation, term)
    if state is not None:
        learner.resume(state)
    done = 0 if state is None else state.epoch
    told = before[-1]["epoch"] - done if before else 0
    schedule = Schedule(
        epochs=epochs,
        batch_size=batch_size(settings, len(users)),
        seed=settings.seed,
        validate_every=settings.validate_every,
        metric=None if valid is None else settings.valid_metric,
        patience=settings.patience,
        cumulative=settings.cumulative_patience,
        first_epoch=done,
        epochs_told=told,
    )
    history = train(learner, Pairs(users, items), schedule, **reporting)
    if wanted == "auto" and validation is not None:
        term = term.best(lambda term: validation(learner.scorer(term))[settings.valid_metric])
    scorer = learner.scorer(term)
    n_layers = 0 if settings.encoder == "id" else settings.n_layers
    users_folding, items_folding = fit_folding(bootstrap.weights.table, graph, n_layers, matrix)
    return Fitted(
        [*before, *history],
        scorer.user_factors.cpu().numpy(),
        scorer.item_factors.cpu().numpy(),
        term.weight,
        (users_folding.to("cpu"), items_folding.to("cpu")),
        bootstrap.weights.to(torch.device("cpu")).clone(),
        learner.state(history[-1]["epoch"] - told) if valid is None or history[-1]["best"] else None,
    )
