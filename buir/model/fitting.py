"""One training from weights to factors: what "auto" comes to, and where the pieces meet."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from buir.data import LEAST_HELD, LEAST_PAIRS, degrees, has_weights, of_some_users
from buir.errors import NoValidationWarning, counted, report
from buir.graph import (
    BipartiteGraph,
    EmbeddingEncoder,
    Encoder,
    GraphEncoder,
    Spectrum,
    WalkEncoder,
    spectral_factors,
)
from buir.learning import (
    Bootstrap,
    BootstrapLearner,
    Pairs,
    Schedule,
    TrainingState,
    Validation,
    Weights,
    bare,
    initial_weights,
    training_device,
)
from buir.model.checkpoint import Checkpoint
from buir.model.folding import Folding, fit_folding
from buir.ranking import Choice, Dial, ItemNorm, SpectralBlock, Term, TermScorer, WatchedScorer, choose_terms
from buir.recommend import (
    BLOCKS,
    CHEAP,
    EVEN,
    FILTERS,
    MOST_CHOSEN,
    TERMS,
    ScoreTerms,
    choose_filter,
    choose_with_block,
    make_terms,
    width_of_block,
    with_block,
    with_filter,
    with_strengths,
)

__all__ = ["Chosen", "Fitted", "Plan", "blind_epochs", "blind_uniformity", "run", "warn_of_defaults", "without_idle"]

SMALLEST_BATCH = 128
REFERENCE_BATCH = 1024
LARGEST_BATCH = 8192
MOST_EPOCHS, FEW_PAIRS = 100, 2500
"""What "auto" comes to: with held-out pairs training stops long before; and with so few pairs it does not begin, as the
held-out ones among them are too few to tell what it adds (docs/results/README.md)."""
BLIND_EPOCHS, DENSE = 10, 10.0
"""What "auto" comes to where no held-out pairs say when to stop; with more pairs than so many for each user and item a
spectral start is kept: training it unwatched costs quality (docs/results/README.md)."""
WIDTHS, CLEARLY = (64, 32, 16, 128), 1.025
"""Widths whose starts "auto" compares; the first is taken unless another validates so many times as well."""
START_RMS = 0.02
"""Root mean square of the spectral start's entries: the loss sees directions only, so this is the real step size."""
BRANCHES, BRANCH_EPOCHS = {"none": (0.1, 0.3, 1.0), "linear": (0.0, 0.3)}, 2
"""Weights of uniformity that are tried, for so many epochs each, by the predictor."""
BLIND_UNIFORMITY, MANY_PAIRS = {"none": (0.1, 0.3), "linear": (0.0, 0.0)}, 45_000
"""What "auto" comes to where no held-out pairs decide, for few pairs and for many, which collapse at the weight that
few want. Many are those whose number times that for each user and item is more than this; for fewer of either a low
weight was better (docs/results/README.md)."""
_ENDS = {
    "start": "its start, which no branch beat",
    "few": "its start, as pairs are too few to tell what training adds",
    "patience": "patience",
    "epochs": "its number of epochs",
    "callback": "the callback",
}
_HELD_OUT = {"given": "the pairs given for it", "inner": "pairs held out inside", "none": "nothing: no pairs held out"}
PAYS, WIDE_PAYS = 1.005, 1.025
"""Training goes on where a branch validates so many times as well as the start, and otherwise the start is kept; and
what it must promise beside a wide block, as an epoch of such data takes long and moves a small part of the score."""
MOST_VALIDATED, MOST_DRAWN, MOST_WATCHED = 1500, 5000, 2**26
"""Users looked at between epochs, and from a random start with many pairs and no predictor; with their terms as long as
those are so many numbers."""
MANY_NODES, SPARSE = 10_000, (2.0, 6.0)
"""Of a graph of so many users and items that have any pair, with between two and six pairs for each of them and many in
all (``MANY_PAIRS``), the leading vectors hold little, and there is enough to learn the rest from: there a random start
is better (docs/results/README.md)."""

Callback = Callable[[dict[str, Any]], bool | None] | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """BUIR's hyper-parameters as one training takes them, with "auto" decided where no held-out pairs are needed."""

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
    predictor: Literal["none", "linear"]
    weight_decay: float
    start: Literal["spectral", "random"]
    """The one that is taken where nothing decides; see ``beside``."""
    embedding_dim: int | Literal["auto"]
    block_dim: int | Literal["auto"]
    uniformity: float | Literal["auto"]
    """"auto" is tried on held-out pairs, and what ``blind_uniformity`` says without."""
    row_sparse: bool
    terms: Mapping[str, float] | Literal["auto"]
    """Strengths of the score's terms; "auto" is chosen on held-out pairs, none without."""
    epochs: int
    validate_every: int
    valid_metric: str
    patience: int
    cumulative_patience: bool
    seed: int
    few: bool = False
    """Whether there are no epochs because there are few pairs; see ``FEW_PAIRS``."""
    beside: "Plan | None" = None
    """The same from a random start, where it is open: see ``starts_of``."""

    @classmethod
    def of(cls, parameters: Mapping[str, Any], *, n_pairs: int, n_nodes: int) -> "Plan":
        r"""Decide what the hyper-parameters leave open.

        An automatic batch aims at 16 to 32 steps an epoch from a spectral start, which needs few steps, and at 32 to 64
        from a random one, in powers of two from 128 to 8,192.

        ``learning_rate`` and ``momentum`` are meant for batches of 1,024. An automatic batch b times as large takes
        :math:`\eta\sqrt b` (the noise of a mean over b times as many pairs is :math:`\sqrt b` times smaller) and
        :math:`\tau^b` (the target forgets as much in an epoch as before); up to 65,536 pairs were measured
        (docs/results/README.md). A batch given as a number takes the rates as they are given. From a random start a
        smaller batch keeps the rates: few pairs need all the steps that they can give.

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
        if parameters["start"] == "auto":
            sizes = {"n_pairs": n_pairs, "n_nodes": n_nodes}
            spectral, random = (cls.of({**parameters, "start": start}, **sizes) for start in ("spectral", "random"))
            return replace(spectral, beside=random)
        decided = {field.name: parameters[field.name] for field in fields(cls) if field.name in parameters}
        decided["device"] = training_device(parameters["device"])
        if parameters["epochs"] == "auto":
            # without terms it is training that learns what is popular
            is_open = parameters["uniformity"] == parameters["terms"] == "auto" and parameters["start"] != "random"
            decided["few"] = is_open and n_pairs <= FEW_PAIRS
            decided["epochs"] = 0 if decided["few"] else MOST_EPOCHS
        if parameters["encoder"] == "id":
            decided["n_layers"] = 0
        if parameters["batch_size"] == "auto":
            spectral = parameters["start"] == "spectral"
            size = _automatic_batch(n_pairs, 32 if spectral else 64)
            growth = size / REFERENCE_BATCH if spectral else max(1.0, size / REFERENCE_BATCH)
            decided["batch_size"] = size
            decided["learning_rate"] = parameters["learning_rate"] * growth**0.5
            decided["momentum"] = parameters["momentum"] ** growth
        if parameters["row_sparse"] == "auto":
            width = 1 + parameters["n_layers"] * parameters["walks"] if parameters["encoder"] == "walk" else 1
            reads = 2 * decided["batch_size"] * width
            decided["row_sparse"] = parameters["encoder"] != "graph" and 3 * reads < n_nodes
        return cls(**decided)

    def bootstrap(self, weights: Weights, graph: BipartiteGraph, uniformity: float) -> Bootstrap:
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
            predictor=self.predictor == "linear",
            uniformity=uniformity,
            row_sparse=self.row_sparse,
        )

    def schedule(
        self, *metrics: str, first_epoch: int = 0, epochs_told: int = 0, epochs: int | None = None
    ) -> Schedule:
        """Say how long to train, watching none, one or two metrics; see the fields of ``Schedule``."""
        return Schedule(
            epochs=self.epochs if epochs is None else epochs,
            start=bool(metrics) and self.start == "spectral",
            batch_size=self.batch_size,
            seed=self.seed,
            validate_every=self.validate_every,
            metric=metrics[0] if metrics else None,
            second=metrics[1] if len(metrics) > 1 else None,
            patience=self.patience,
            cumulative=self.cumulative_patience,
            first_epoch=first_epoch,
            epochs_told=epochs_told,
        )


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What a fit came to: what "auto" stands for, what held-out pairs decided, and why training ended.

    None is what is not known: nothing was held out, or a file of an earlier version does not say.
    """

    uniformity: float
    embedding_dim: int
    block_dim: int | None = None
    """Singular vectors of the score's block of even weights, also where it has no strength."""
    epochs: int
    """After which the validated score was best; 0 if no training beat the start."""
    strengths: dict[str, float]
    """Of the score's terms."""
    gains: dict[str, float] = field(default_factory=dict)
    """What the metric loses, in its own unit, if one of these alone has strength 0; empty where none were chosen."""
    start: float | None = None
    """The validation metric before the first step; None from a random start."""
    trained: float | None = None
    """The best that training came to."""
    value: float | None = None
    """The metric with the terms that were chosen at the end, on ``MOST_CHOSEN`` users with held-out pairs at most."""
    bare: float | None = None
    """The same without any term."""
    kept: float | None = None
    """What decided between the two best states: the metric with the terms that a state wants of those that are added to
    its score, on the users looked at between epochs. None where there was one."""
    other: float | None = None
    """The same of the state that was not kept."""
    n_candidates: int = 0
    """States and combinations of strengths that were compared."""
    with_terms: bool = True
    """Whether training was watched with the terms, which are then in ``start`` and ``trained``."""
    epochs_run: int | None = None
    """Epochs of the training that decided, with those after the best one."""
    stopped: str | None = None
    """What ended it: "patience"; "epochs", all that were allowed; "callback"; "start", which no branch beat, so that it
    did not begin; or "few": it was not tried, as there are few pairs."""
    began: str | None = None
    """Which start the kept state was trained from, "spectral" or "random"."""
    beside: float | None = None
    """What ``value`` was from the other start, where both were trained."""
    held_out: str | None = None
    """Which pairs decided: "given", "inner" (held out by the fit, which then trained again on everything), "none"."""
    device: str | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    """Of a step of this batch size, as ``momentum``."""
    momentum: float | None = None
    row_sparse: bool | None = None
    collapse: str | None = None
    """What ``CollapseWarning`` says of the trained model; None of a sound one."""

    def __str__(self) -> str:
        """Say it in words, and what training added over its start."""
        run = f" of {self.epochs_run} run" if self.epochs_run else ""
        block = "" if self.block_dim in (None, self.embedding_dim) else f", block {self.block_dim}"
        width = f"width {self.embedding_dim}{block}"
        said = [f"{counted(self.epochs, 'epoch')}{run}, {width}, uniformity {self.uniformity:g}"]
        if self.batch_size is not None and self.learning_rate is not None and self.momentum is not None:
            rates = f"learning rate {self.learning_rate:.3g}, momentum {self.momentum:.4g}"
            rows = ", row-sparse" if self.row_sparse else ""
            said.append(f"device {self.device}, batch {self.batch_size:,}, {rates}{rows}")
        said += [f"ended by {_ENDS[self.stopped]}"] if self.stopped in _ENDS else []
        said += [f"decided on {_HELD_OUT[self.held_out]}"] if self.held_out in _HELD_OUT else []
        if self.value is not None and self.beside is not None:
            other = "spectral" if self.began == "random" else "random"
            values = f"{self.value:.4f}, and not from the {other} one, {self.beside:.4f}"
            said.append(f"kept is the state from the {self.began} start, {values}")
        elif self.began == "random":
            said.append("from the random start")
        terms = ", ".join(f"{name} {self.strengths[name]:g}" for name in TERMS if name in self.strengths)
        said.append(f"terms: {terms or 'none'}")
        held_out = "on held-out pairs" if self.with_terms else "on held-out pairs without the terms"
        if self.start is not None and self.trained is not None:
            said.append(f"{held_out} {self.start:.4f} at the start, {self.trained:.4f} trained")
        elif self.trained is not None:
            said.append(f"{held_out} {self.trained:.4f}")
        elif self.start is not None:
            tried = self.stopped in (None, "start") or bool(self.epochs_run)
            beaten = ", which no training beat" if tried else ""
            said.append(f"{held_out} {self.start:.4f} at the start{beaten}")
        if self.value is not None and self.bare is not None:
            said.append(f"in the end {self.value:.4f} with the terms, {self.bare:.4f} without")
        if self.kept is not None and self.other is not None:
            kept, left = ("with terms", "without terms")[:: 1 if self.with_terms else -1]
            said.append(f"kept is the state best {kept}, {self.kept:.4f}, not the one {left}, {self.other:.4f}")
        said += [f"warning: {self.collapse}"] if self.collapse else []
        return "; ".join(said)


class Fitted(NamedTuple):
    """What a training leaves behind, on the CPU."""

    history: list[dict[str, Any]]
    """The records of earlier trainings, then those of this one."""
    user_factors: np.ndarray
    item_factors: np.ndarray
    terms: ScoreTerms
    """What is in them besides the model's own vectors, and what adds to their inner product."""
    folding: tuple[Folding, Folding]
    weights: Weights
    state: TrainingState | None
    """None after early stopping: the best weights are then not those that optimiser and target belong to."""
    chosen: Chosen


def many_pairs(n_pairs: int, n_nodes: int) -> bool:
    """Whether there are many pairs, in all and for each user and item; see ``MANY_PAIRS``."""
    return n_pairs**2 > MANY_PAIRS * n_nodes


def starts_of(matrix: csr_array) -> tuple[Literal["spectral", "random"], ...]:
    """Say which starts are worth a training, the first one first.

    With fewer pairs than users and items that have any, the graph is in pieces (or a tree): the leading singular
    vectors are those of single pieces, and most rows have little of them. There held-out pairs decide between both
    starts. A large sparse graph of many pairs (see ``MANY_NODES``) starts at random, every other one from its spectrum.
    That is measured of the walk encoder without a predictor.
    """
    n_nodes = connected(matrix)
    if matrix.nnz < n_nodes:
        return "random", "spectral"
    low, high = (share * n_nodes for share in SPARSE)
    sparse = n_nodes >= MANY_NODES and low <= matrix.nnz < high
    return ("random",) if sparse and many_pairs(matrix.nnz, n_nodes) else ("spectral",)


def connected(matrix: csr_array) -> int:
    """Count the users and items that have any pair."""
    return sum(int(np.count_nonzero(degree)) for degree in degrees(matrix))


def blind_uniformity(predictor: Literal["none", "linear"], matrix: csr_array) -> float:
    """Return the weight of uniformity of a training that no held-out pairs decide."""
    few, many = BLIND_UNIFORMITY[predictor]
    return many if many_pairs(matrix.nnz, sum(matrix.shape)) else few


def blind_epochs(start: Literal["auto", "spectral", "random"], matrix: csr_array) -> int:
    """Return the number of epochs of a training that no held-out pairs end."""
    return 0 if start != "random" and matrix.nnz > DENSE * sum(matrix.shape) else BLIND_EPOCHS


def warn_of_defaults(matrix: csr_array) -> None:
    """Say that nothing could be held out, so that defaults stand where held-out pairs would decide."""
    able = int((np.diff(matrix.indptr) >= LEAST_PAIRS).sum())
    msg = (
        f"inner validation needs {LEAST_HELD} users with at least {LEAST_PAIRS} pairs, {able:,} have so many: what is "
        "'auto' of epochs, embedding_dim, uniformity and terms is a default; give validation pairs, or decide so "
        "yourself with inner_validation=False"
    )
    report([NoValidationWarning(msg)])


def run(
    plan: Plan,
    matrix: csr_array,
    weights: Weights | None = None,
    *,
    valid: csr_array | None = None,
    state: TrainingState | None = None,
    before: Sequence[dict[str, Any]] = (),
    callback: Callback = None,
    show_progress: bool = True,
    checkpoint: Checkpoint | None = None,
) -> Fitted:
    """Train.

    With held-out pairs what the plan leaves open is decided here, in this order: the width, by the starts; the weight
    of uniformity, by a branch of two epochs for each, or that none beats the start; the epoch, by early stopping; and
    the strengths of the terms, by the best state.

    The width of a random start, and of its block, is the first of ``WIDTHS`` where it is open, as nothing is known of
    others before they are trained; and it is watched without the terms.

    Where the start is open (``Plan.beside``), ``starts_of`` says from which one training begins. The random one alone
    takes all epochs, the walk encoder and no predictor; two take open strengths of the terms, and of them the random
    one is the first, as a limit on time may leave none for the second: kept is the state that validates better.

    From a spectral start with open strengths the states are watched in two ways, with the terms that the start wants
    and without any, because training and terms gain partly the same. Each way has its branch and its best epoch, and
    mostly they share the training. The state is kept that validates better with the terms that it wants itself.

    Where weight of uniformity and terms are open, the spectral start with the terms that cost little is told to the
    callback before all that, at each width that is compared: a fit that must end soon has a state of some worth.

    Parameters
    ----------
    plan
        How.
    matrix
        Training pairs with the weights they have, shape (n_users, n_items).
    weights
        Where to start; not changed. None starts as the plan says.
    valid
        Held-out pairs that decide when to stop and which weights to keep.
    state
        Of an earlier training that goes on.
    before
        Records of earlier trainings, from whose last epoch the new ones are counted on, whether or not a state goes on.
    callback, show_progress
        As in ``train``.
    checkpoint
        Keeps what the phases come to; None keeps nothing.
    """
    checkpoint = Checkpoint() if checkpoint is None else checkpoint
    watch = _Watch(callback, show_progress=show_progress)
    beside = None if valid is None or plan.epochs == 0 else plan.beside
    starts = ("spectral",) if beside is None else starts_of(matrix)
    measured = plan.encoder == "walk" and plan.predictor == "none" and plan.epochs >= MOST_EPOCHS
    alone = beside is not None and starts == ("random",) and measured
    both = beside is not None and len(starts) > 1 and plan.terms == "auto"
    looks = weights is None and valid is not None and plan.epochs > 0 and plan.start == "spectral"
    first: _Training | None = None
    if looks and plan.uniformity == plan.terms == "auto":
        first = _Training(plan, matrix, None, valid, checkpoint)
        ended = first.look(watch, WIDTHS if plan.embedding_dim == "auto" and not (alone or both) else (first.width,))
        if ended is not None:
            return ended
    if alone:
        assert beside is not None
        with checkpoint.within("random start"):
            return _run(_Training(beside, matrix, None, valid, checkpoint, first), watch)
    if not both:
        training = _Training(plan, matrix, weights, valid, checkpoint) if first is None else first
        return _run(training, watch, state, before)
    assert beside is not None
    training = _Training(beside, matrix, None, valid, checkpoint, first)
    training.notes_best = True  # the other training is the one that a checkpoint goes on with
    with checkpoint.within("random start"):
        drawn = _run(training, watch)
    if watch.ended or drawn.chosen.stopped == "callback":
        return drawn
    watch.about, watch.marks = {"began": "spectral"}, {}
    other = _Training(plan, matrix, None, valid, checkpoint, training) if first is None else first
    spectral = _run(other, watch)
    values = spectral.chosen.value, drawn.chosen.value
    assert values[0] is not None
    assert values[1] is not None
    kept, left = (spectral, drawn) if values[0] >= values[1] else (drawn, spectral)
    n_candidates = spectral.chosen.n_candidates + drawn.chosen.n_candidates
    return kept._replace(chosen=replace(kept.chosen, beside=left.chosen.value, n_candidates=n_candidates))


def _run(
    training: "_Training",
    watch: "_Watch",
    state: TrainingState | None = None,
    before: Sequence[dict[str, Any]] = (),
) -> Fitted:
    """Train from one start."""
    if not training.notes_best:
        watched = training.watched()
        learner, trained = watched.train(watch, state, before)
        return watched.fitted(learner, trained, before)
    watched = training.watched()
    states = list(watched.trained(watch))
    if len(states) == 1:
        return watched.fitted(watched.learner_of(states[0]), states[0])
    values = []
    for trained in states:
        phase, learner = f"terms, best by {trained.metric}", watched.learner_of(trained)
        values.append(watched.choose(phase, learner, watched.shown, watched.added).value)
    best = int(np.argmax(values))
    trained, compared = states[best], (values[best], values[1 - best])
    return watched.fitted(watched.learner_of(trained), trained, compared=compared)


@dataclass(frozen=True)
class _Width:
    """Which width was chosen among how many starts and combinations of strengths."""

    width: int
    n_candidates: int


@dataclass(frozen=True)
class _Filter:
    """Which item filter is in the score, among how many."""

    name: str
    n_candidates: int


@dataclass(frozen=True, eq=False)
class _Trained:
    """What a training came to: its best weights by one metric, and how."""

    weights: Weights
    uniformity: float
    history: list[dict[str, Any]]
    """``best`` is by this metric."""
    metric: str | None
    """Key of the records; None where nothing was watched."""
    stopped: str
    """What ended it, as ``Chosen`` has it."""
    epochs_told: int = 0
    """Epochs of earlier trainings that the records count."""

    @classmethod
    def of(
        cls,
        weights: Weights,
        uniformity: float,
        history: list[dict[str, Any]],
        metric: str | None,
        stopped: str,
        told: int = 0,
    ) -> "_Trained":
        """Say of each record whether it was the best by this metric, and not by another."""
        flags = {f"best_{name}" for name in history[0]} & set(history[0])
        mine = f"best_{metric}" if f"best_{metric}" in flags else "best"
        kept = [{k: v for k, v in r.items() if k not in flags} | {"best": r[mine]} for r in history]
        return cls(weights, uniformity, kept, metric, stopped, told)


@dataclass(frozen=True, eq=False)
class _Branches:
    """What the branches came to."""

    best: dict[str, float] = field(default_factory=dict)
    """The weight of uniformity that is best by each metric."""
    kept: set[str] = field(default_factory=set)
    """Metrics by which no branch beats the start."""
    start: dict[str, Any] = field(default_factory=dict)
    """The record of the start; empty if nobody looked at it."""
    promised: float = -np.inf
    """What the states that are better without terms come to with terms of their own, where a wide block makes that the
    question."""
    ended: tuple[BootstrapLearner, _Trained] | None = None
    """The branch that the callback ended."""


@dataclass(frozen=True, eq=False)
class _Both:
    """The best states of one training, by one metric or two: weights with an axis for these before the others."""

    table: Tensor
    predictor_weight: Tensor
    predictor_bias: Tensor
    history: list[dict[str, Any]]
    ended: bool
    """Whether the callback has ended the fit: kept, as one who goes on with the fit later does not ask it again."""


class _Watch:
    """A callback that remembers whether it has ended the training."""

    def __init__(self, callback: Callback, *, show_progress: bool) -> None:
        self.callback, self.show_progress, self.ended = callback, show_progress, False
        self.about: dict[str, Any] = {}
        """What is put into all records."""
        self.marks: dict[str, Any] = {}
        """What is put into the records of a training that is only tried."""

    def __call__(self, record: dict[str, Any]) -> bool:
        answer = None if self.callback is None else self.callback(record | self.about | self.marks)
        ends = isinstance(answer, bool | np.bool_) and bool(answer)
        self.ended = self.ended or ends
        return ends


class _Training:
    """What all branches of a training share: the graph, the pairs, the start and the terms."""

    def __init__(
        self,
        plan: Plan,
        matrix: csr_array,
        weights: Weights | None,
        valid: csr_array | None,
        checkpoint: Checkpoint,
        other: "_Training | None" = None,
    ) -> None:
        """Prepare it; ``other`` is the training from another start, which has found part of it."""
        found = None if other is None else other.found
        self.found = found
        """The vectors of ``_spectrum``, once they are found."""
        self.looked: dict[int, Choice] = {}
        """What the start wants of the terms that cost little, by the width at which it was looked at."""
        self.plan, self.matrix, self.valid, self.checkpoint = plan, matrix, valid, checkpoint
        self.many = many_pairs(matrix.nnz, connected(matrix)) and plan.predictor == "none"
        if other is not None:
            self.graph, self.pairs = other.graph, other.pairs
        else:
            self.graph = BipartiteGraph.from_matrix(matrix).to(plan.device)
            users = torch.from_numpy(np.repeat(np.arange(self.graph.n_users), np.diff(matrix.indptr))).to(plan.device)
            heavy = (torch.from_numpy(matrix.data / matrix.data.mean()).to(plan.device),) if has_weights(matrix) else ()
            self.pairs = Pairs(users, torch.from_numpy(matrix.indices.astype(np.int64)).to(plan.device), heavy)
        # where there are few pairs, what is learned at random shows in few lists
        most = MOST_VALIDATED if plan.start == "spectral" else MOST_DRAWN if self.many else None
        self.validation = None if valid is None else Validation(matrix, valid, plan.valid_metric, most)
        self.spectrum: Spectrum | None = None
        self.candidates: list[int] = []
        """How many were compared at a time; one list for all copies."""
        self.watch_terms: WatchedScorer | None = None
        self.metrics: tuple[str, ...] = () if valid is None else (plan.valid_metric,)
        """Keys of the records that are watched."""
        self.width = WIDTHS[0] if plan.embedding_dim == "auto" else plan.embedding_dim
        self.whole: Spectrum | None = None
        if weights is not None:
            self.weights, self.width = weights, weights.table.shape[1]
        elif plan.start == "random":
            kind = "id" if plan.encoder == "id" else "graph"
            drawn = initial_weights(*matrix.shape, self.width, kind, plan.seed)
            self.weights = drawn if plan.predictor == "linear" else without_idle(drawn.table, matrix)
        else:
            self.whole = self.found = self._spectrum() if found is None else found
            self._start_with(self.width)
        given = None if plan.terms == "auto" else plan.terms
        if self.spectrum is None and (given is None or any(name in given for name in BLOCKS)):
            # the same vectors as those of a start, so that going on with no epoch changes no score
            self.found = self._spectrum() if found is None else found
            self.spectrum = self.found.cut(self.width)
        self.terms: dict[str, Term] = {}
        if given is not None or valid is not None:
            made = {"width": self.width, "spectrum": self.spectrum}
            self.terms = other.terms if other and given is None else make_terms(matrix, given, **made)
        self._take_block()
        self.twice = given is None and valid is not None and self.whole is not None and plan.epochs > 0
        """Whether both ways to watch a training are tried."""
        self.notes_best = self.twice
        """Whether a checkpoint keeps the best states of a training beyond the next one that begins."""

    def _spectrum(self, least: int = 0) -> Spectrum:
        """Find the vectors; always at least as many as the widest start has, so that a narrow one is a part of them."""
        widest, (n_users, n_items), device = max(self.width, least, *WIDTHS), self.matrix.shape, self.plan.device
        shapes = {"users": (n_users, widest), "values": (widest,), "items": (n_items, widest)}

        def find() -> Spectrum:
            return spectral_factors(self.matrix, widest, seed=self.plan.seed, device=device)

        phase = "spectrum" if least <= max(self.width, *WIDTHS) else f"spectrum of {widest}"
        return self.checkpoint.once(phase, find, Spectrum, **shapes).to(device)

    def _choose_filter(self) -> None:
        """Put the sharpened filter into the score where it is better beside the start."""

        def choose() -> _Filter:
            base = self.learner(0.0).base()
            self.terms, n_candidates = choose_filter(base, self.terms, self.shown, self.plan.valid_metric)
            return _Filter(next(name for name in FILTERS if name in self.terms), n_candidates)

        chosen = self.checkpoint.once("filter", choose, _Filter)
        self.candidates.append(chosen.n_candidates)
        if chosen.name not in self.terms:  # an earlier process has chosen
            self.terms = with_filter(self.terms, chosen.name)

    def _take_block(self) -> None:
        """Give the block of even weights as many vectors as the plan says, if it does."""
        width = self.plan.block_dim
        if width not in ("auto", self.width) and EVEN in self.terms:
            self.terms = with_block(self.terms, self._spectrum(width).cut(width))

    def _start_with(self, width: int) -> None:
        """Start with so many of the vectors, and give the blocks of the score as many."""
        assert self.whole is not None
        self.spectrum, self.width = self.whole.cut(width), width
        self.weights = Weights.of(torch.cat(self.spectrum.tables(START_RMS)))

    @property
    def widened(self) -> bool:
        """Whether the block of the score is wider than the model, so that training moves a small part of it."""
        return self.twice and (width_of_block(self.terms) or 0) > self.width

    @property
    def added(self) -> dict[str, Term]:
        """The terms that are added to the model's own score and do not change its shape, which costs much to choose."""
        return {name: term for name, term in self.terms.items() if not isinstance(term, Dial | ItemNorm)}

    @property
    def shown(self) -> csr_array:
        """Held-out pairs of the users looked at between epochs."""
        assert self.validation is not None
        return self.validation.valid

    def watched(self) -> "_Training":
        """Return a copy that has chosen its width, and the terms that validation looks at.

        These are the terms as they are given, or as the start wants them.
        """
        mine, plan = copy(self), self.plan
        if self.validation is None:
            return mine
        if self.whole is not None and plan.embedding_dim == "auto":
            width = self.checkpoint.once("width", mine._best_width, _Width)
            self.candidates.append(width.n_candidates)
            mine = self._of_width(width.width)
        added = mine.added
        if plan.terms == "auto":
            mine._choose_filter()
            # of random scores nothing is known that terms could be weighed against
            weighed = plan.start == "spectral"
            choice = mine._terms_of_start() if weighed else None
            added = {} if choice is None else with_strengths(mine.terms, choice)
        mine._watch_with(added)
        if mine.watch_terms is not None and self.twice:
            mine.metrics = (plan.valid_metric, bare(plan.valid_metric))
        return mine

    def _watch_with(self, terms: Mapping[str, Term]) -> None:
        """Validate with these terms, unless their scores would take too much memory."""
        users = np.flatnonzero(np.diff(self.shown.indptr))
        if terms and len(users) * self.matrix.shape[1] <= MOST_WATCHED:
            self.watch_terms = WatchedScorer(terms, users, self.matrix.shape)

    @property
    def cheap(self) -> dict[str, Term]:
        """The terms that cost little."""
        return {name: term for name, term in self.terms.items() if name in CHEAP}

    def look(self, watch: "_Watch", widths: Sequence[int]) -> Fitted | None:
        """Tell of the start at these widths with the terms that cost little; return the one at which that ends the fit.

        It takes no second look at the users: what the choice of the terms came to is told.
        """
        metric = self.plan.valid_metric
        for width in widths:
            mine = copy(self)
            mine._start_with(width)
            learner = mine.learner(0.0)
            choice = self.looked[width] = self.choose(f"first terms of {width}", learner, self.shown, self.cheap)
            record = {"epoch": 0, "loss": np.nan, "seconds": 0.0} | learner.diagnose()
            best = choice.value >= max(looked.value for looked in self.looked.values())
            record |= {metric: choice.value, bare(metric): choice.bare, "best": best}
            watch.marks = {"width": width}
            ends = watch(record)
            watch.marks = {}
            if ends:
                mine = self._of_width(width)
                mine._watch_with(with_strengths(self.cheap, choice))
                learner = mine.learner(0.0)
                state = learner.snapshot(), 0.0, [record | learner.validate() | {"best": True}], metric, "callback"
                return mine.fitted(learner, _Trained.of(*state))
        return None

    def _of_width(self, width: int) -> "_Training":
        """Return a copy that starts with so many of the vectors."""
        mine = copy(self)
        mine._start_with(width)
        spectrum = mine.spectrum
        assert spectrum is not None
        mine.terms = {
            name: term.of(spectrum) if isinstance(term, SpectralBlock) else term for name, term in self.terms.items()
        }
        mine._take_block()
        return mine

    def _terms_of_start(self) -> Choice:
        """Choose the added terms for the start, with a wide block where that is clearly better."""
        plan, learner = self.plan, self.learner(0.0)

        def choose(width: int, terms: Mapping[str, Term]) -> Choice:
            phase = "terms of the start" + ("" if width == self.width else f", block of {width}")
            return self.choose(phase, learner, self.shown, terms)

        if plan.block_dim != "auto" or plan.embedding_dim != "auto":
            return choose(self.width, self.added)
        terms, choice = choose_with_block(choose, self.added, self._spectrum)
        self.terms = self.terms | terms
        return choice

    def _best_width(self) -> _Width:
        """Find the width whose start is best by clearly more than the first one's, with the terms that cost little."""
        assert self.validation is not None
        cheap = self.cheap
        reached, n_candidates = {}, 0
        for width in WIDTHS:
            self._start_with(width)
            learner, name = self.learner(0.0), self.plan.valid_metric
            if width in self.looked:
                reached[width] = self.looked[width].value
            elif cheap and self.plan.terms == "auto":
                choice = choose_terms(TermScorer(learner.base(), cheap), self.matrix, self.shown, metric=name)
                reached[width] = choice.value
                n_candidates += choice.n_candidates
            else:
                reached[width] = self.validation(learner.scorer())[name]
                n_candidates += 1
        best = max(WIDTHS, key=lambda width: reached[width])
        return _Width(best if reached[best] > CLEARLY * reached[WIDTHS[0]] else WIDTHS[0], n_candidates)

    def learner(self, uniformity: float) -> BootstrapLearner:
        plan = self.plan
        bootstrap = plan.bootstrap(self.weights.clone().to(plan.device), self.graph, uniformity)
        pairs = (self.pairs.users, self.pairs.items)
        rates = (plan.learning_rate, plan.weight_decay)
        return BootstrapLearner(bootstrap, *rates, pairs, self.validation, self.watch_terms)

    def learner_of(self, trained: _Trained) -> BootstrapLearner:
        """Return a learner with the weights of a training, without its moments."""
        learner = self.learner(trained.uniformity)
        learner.restore(trained.weights)
        return learner

    def branches(self, watch: _Watch) -> _Branches:
        """Train a little with each weight of uniformity."""
        plan = self.plan
        schedule = plan.schedule(*self.metrics, epochs=min(BRANCH_EPOCHS, plan.epochs))
        reached: dict[str, dict[float, float]] = {metric: {} for metric in self.metrics}
        start: dict[str, Any] = {}
        promised = -np.inf
        weights = BRANCHES[plan.predictor]
        if plan.start == "random" and self.many:
            weights = weights[1:]  # many pairs collapse at the first, which begins well from a random start
        for weight in weights:
            learner = self.learner(weight)
            watch.marks = {"branch": weight}
            watching = {"callback": watch, "show_progress": False}
            history, states = self.checkpoint.train(f"branch {weight:g}", learner, self.pairs, schedule, **watching)
            self.candidates.append(len(history) * len(self.metrics))
            if watch.ended:
                state = learner.snapshot(), weight, history, self.metrics[0]
                return _Branches(ended=(learner, _Trained.of(*state, "callback")))
            later = history[1:] if schedule.start else history
            start = history[0] if schedule.start else {}
            for metric, values in reached.items():
                values[weight] = max((record[metric] for record in later), default=-np.inf)
            alone = bare(plan.valid_metric)
            if self.widened and alone in reached and reached[alone][weight] > PAYS * start[alone]:
                if alone in states:  # else an earlier process has chosen
                    learner.restore(states[alone])
                choice = self.choose(f"terms of branch {weight:g}", learner, self.shown, self.added)
                promised = max(promised, choice.value)
        watch.marks = {}
        best = {metric: max(values, key=values.__getitem__) for metric, values in reached.items()}
        kept = {name for name in best if start and reached[name][best[name]] <= PAYS * start[name]}
        return _Branches(best, kept, start, promised)

    def train(
        self, watch: _Watch, state: TrainingState | None = None, before: Sequence[dict[str, Any]] = ()
    ) -> tuple[BootstrapLearner, _Trained]:
        """Try the branches, and train the best of them to its end, watching one metric at most."""
        plan, metric = self.plan, self.metrics[0] if self.metrics else None
        uniformity = blind_uniformity(plan.predictor, self.matrix) if plan.uniformity == "auto" else plan.uniformity
        if plan.uniformity == "auto" and metric is not None and plan.epochs > 0:
            found = self.branches(watch)
            if found.ended is not None:
                return found.ended
            if metric in found.kept:
                ends = watch(found.start)
                learner = self.learner(0.0)
                stopped = "callback" if ends else "start"
                return learner, _Trained.of(learner.snapshot(), 0.0, [found.start], metric, stopped)
            uniformity = found.best[metric]
        learner = self.learner(uniformity)
        if state is not None:
            learner.resume(state)
        done = 0 if state is None else state.epoch
        told = before[-1]["epoch"] - done if before else 0
        schedule = plan.schedule(*self.metrics, first_epoch=done, epochs_told=told)
        watching = {"callback": watch, "show_progress": watch.show_progress}
        history = self.checkpoint.train("training", learner, self.pairs, schedule, **watching).history
        self.candidates.append(len(history) if metric is not None else 0)
        if not history:
            # trained for no epoch and looked at by nobody: the last record is what a fit tells of itself
            record = {"epoch": told + done, "loss": float("nan"), "seconds": 0.0}
            history = [record | learner.validate() | {"best": False}]
        stopped = "few" if plan.few else _end(history[-1]["epoch"] - told - done, schedule.epochs, ended=watch.ended)
        return learner, _Trained.of(learner.snapshot(), uniformity, history, metric, stopped, told)

    def trained(self, watch: _Watch) -> Iterator[_Trained]:
        """Train as far as each of the metrics wants it, once where they want the same."""
        wanted: dict[float | None, list[str]] = {}
        if self.plan.uniformity == "auto":
            found = self.branches(watch)
            if found.ended is not None:
                yield found.ended[1]
                return
            for metric in self.metrics:
                wanted.setdefault(None if metric in found.kept else found.best[metric], []).append(metric)
            metric = self.metrics[0]
            if self.widened and metric in found.kept and found.promised <= WIDE_PAYS * found.start[metric]:
                wanted = {None: [metric]}  # what is trained is a small part of the score, at a high price
        else:
            found, wanted[self.plan.uniformity] = _Branches(), list(self.metrics)
        for weight, metrics in wanted.items():
            watch.marks = {} if metrics[0] == self.metrics[0] else {"watched": "without terms"}
            if weight is None:
                ends = watch(found.start)
                yield _Trained.of(self.weights, 0.0, [found.start], metrics[0], "callback" if ends else "start")
                if ends:
                    return
                continue
            both = self.both(weight, metrics, watch)
            self.candidates.append(len(both.history) * len(metrics))
            for metric, *parts in zip(metrics, both.table, both.predictor_weight, both.predictor_bias, strict=True):
                stopped = _end(both.history[-1]["epoch"], self.plan.epochs, ended=both.ended)
                yield _Trained.of(Weights(*parts), weight, both.history, metric, stopped)
            if both.ended:
                watch.ended = True  # of an earlier process: this one has not been asked
                return

    def both(self, uniformity: float, metrics: Sequence[str], watch: _Watch) -> _Both:
        """Train with a weight of uniformity to the best state by each metric, or take what an earlier process has."""
        shapes = {part: (len(metrics), *tensor.shape) for part, tensor in vars(self.weights).items()}

        def train() -> _Both:
            schedule, learner = self.plan.schedule(*metrics), self.learner(uniformity)
            watching = {"callback": watch, "show_progress": watch.show_progress}
            history, best = self.checkpoint.train("training", learner, self.pairs, schedule, **watching)
            states = [best[metric].parts() for metric in metrics]
            table, weight, bias = (torch.stack(parts) for parts in zip(*states, strict=True))
            return _Both(table, weight, bias, history, ended=watch.ended)

        return self.checkpoint.once(f"training {uniformity:g}", train, _Both, **shapes)

    def choose(self, phase: str, learner: BootstrapLearner, valid: csr_array, terms: Mapping[str, Term]) -> Choice:
        """Choose strengths for the scores of a learner's weights."""

        def choose() -> Choice:
            return choose_terms(TermScorer(learner.base(), terms), self.matrix, valid, metric=self.plan.valid_metric)

        choice = self.checkpoint.once(phase, choose, Choice)
        self.candidates.append(choice.n_candidates)
        return choice

    def fitted(
        self,
        learner: BootstrapLearner,
        trained: _Trained,
        before: Sequence[dict[str, Any]] = (),
        compared: tuple[float | None, float | None] = (None, None),
    ) -> Fitted:
        """Put together what is left of a training; ``compared`` is why it is kept: its value, and the other one's."""
        plan, metric, told, choice = self.plan, trained.metric or "", trained.epochs_told, None
        terms, history = self.terms, trained.history
        if plan.terms == "auto" and self.valid is not None:
            choice = self.choose("terms", learner, of_some_users(self.valid, MOST_CHOSEN), self.terms)
            terms = with_strengths(self.terms, choice)
        base = learner.base()
        kept, score = ScoreTerms.of(base, self.matrix, terms, choice)
        assert score.tables is not None
        foldings = fit_folding(learner.bootstrap.weights.table, self.graph, plan.n_layers, self.matrix)
        best = [record for record in history if record["best"]]
        chosen = Chosen(
            uniformity=trained.uniformity,
            embedding_dim=self.width,
            block_dim=width_of_block(self.terms),
            epochs=(best[-1] if best else history[-1])["epoch"] - told,
            strengths=kept.strengths,
            gains={name: kept.gains[name] for name in kept.strengths if name in kept.gains},
            start=history[0].get(metric) if history[0]["epoch"] == told else None,
            trained=max((r[metric] for r in history if metric in r and r["epoch"] > told), default=None),
            value=None if choice is None else choice.value,
            bare=None if choice is None else choice.bare,
            kept=compared[0],
            other=compared[1],
            n_candidates=sum(self.candidates),
            with_terms=trained.metric in (None, plan.valid_metric) and (choice is None or plan.start == "spectral"),
            began=plan.start,
            epochs_run=history[-1]["epoch"] - told,
            stopped=trained.stopped,
            held_out="none" if self.valid is None else "given",
            device=str(plan.device),
            batch_size=plan.batch_size,
            learning_rate=plan.learning_rate,
            momentum=plan.momentum,
            row_sparse=plan.row_sparse,
        )
        alive = not self.notes_best and (self.valid is None or history[-1]["best"])
        return Fitted(
            [*before, *history],
            score.tables.user_factors.cpu().numpy(),
            score.tables.item_factors.cpu().numpy(),
            kept,
            (foldings[0].to("cpu"), foldings[1].to("cpu")),
            learner.bootstrap.weights.to(torch.device("cpu")).clone(),
            learner.state(history[-1]["epoch"] - told) if alive and history[-1]["epoch"] > told else None,
            chosen,
        )


def without_idle(table: Tensor, matrix: csr_array) -> Weights:
    """Clear the rows of users and items without pairs, of which nothing is learned: nothing is ranked by chance."""
    idle = np.concatenate([degree == 0 for degree in degrees(matrix)])
    table[torch.from_numpy(idle)] = 0
    return Weights.of(table)


def _end(epochs: int, planned: int, *, ended: bool) -> str:
    """Say what ended a training, as ``Chosen.stopped`` has it."""
    return "callback" if ended else "epochs" if epochs >= planned else "patience"


def _automatic_batch(n_pairs: int, steps: int) -> int:
    size = SMALLEST_BATCH
    while size < LARGEST_BATCH and steps * size <= n_pairs:
        size *= 2
    return min(size, n_pairs)
