"""One training from weights to factors: what "auto" comes to, and where the pieces meet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array

from buir.data import has_weights, keep, pattern
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
    initial_weights,
    training_device,
)
from buir.model.checkpoint import Checkpoint
from buir.model.folding import Folding, fit_folding
from buir.ranking import Choice, Dial, ItemNorm, SpectralBlock, Term, WatchedScorer
from buir.recommend import BLOCKS, TERMS, ScoreTerms, make_terms

__all__ = ["Chosen", "Fitted", "Plan", "hold_out", "run"]

SMALLEST_BATCH = 128
REFERENCE_BATCH = 1024
LARGEST_BATCH = 8192
MOST_EPOCHS = 100
"""What "auto" comes to: with held-out pairs training stops long before."""
BLIND_EPOCHS = 10
"""What "auto" comes to where no held-out pairs say when to stop."""
WIDTHS, CLEARLY = (64, 32, 16, 128), 1.025
"""Widths whose starts "auto" compares; the first is taken unless another validates so many times as well."""
START_RMS = 0.02
"""Root mean square of the spectral start's entries: the loss sees directions only, so this is the real step size."""
BRANCHES, BRANCH_EPOCHS = (0.0, 0.3), 2
"""Weights of uniformity that are tried, for so many epochs each."""
PAYS = 1.005
"""Training goes on where a branch validates so many times as well as the start, and otherwise the start is kept."""
MOST_VALIDATED, MOST_WATCHED = 1500, 2**26
"""Users looked at between epochs, with their terms as long as those are so many numbers; terms are chosen on all."""
LEAST_PAIRS, LEAST_HELD, MOST_HELD, HOLD_OUT = 3, 200, 20_000, 0x401D
"""A user with so many pairs lends one to validation; with fewer such users nobody does, with more only so many. The
last is the first number of the seed that draws them."""

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
    weight_decay: float
    start: Literal["spectral", "random"]
    embedding_dim: int | Literal["auto"]
    uniformity: float | Literal["auto"]
    """"auto" is tried on held-out pairs; 0 without."""
    row_sparse: bool
    terms: Mapping[str, float] | Literal["auto"]
    """Strengths of the score's terms; "auto" is chosen on held-out pairs, none without."""
    epochs: int
    validate_every: int
    valid_metric: str
    patience: int
    cumulative_patience: bool
    seed: int

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
        decided = {field.name: parameters[field.name] for field in fields(cls)}
        decided["device"] = training_device(parameters["device"])
        if parameters["epochs"] == "auto":
            decided["epochs"] = MOST_EPOCHS
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
            uniformity=uniformity,
            row_sparse=self.row_sparse,
        )

    def schedule(self, *, validated: bool, first_epoch: int, epochs_told: int, epochs: int | None = None) -> Schedule:
        """Say how long to train; see the fields of ``Schedule``."""
        return Schedule(
            epochs=self.epochs if epochs is None else epochs,
            start=validated and self.start == "spectral",
            batch_size=self.batch_size,
            seed=self.seed,
            validate_every=self.validate_every,
            metric=self.valid_metric if validated else None,
            patience=self.patience,
            cumulative=self.cumulative_patience,
            first_epoch=first_epoch,
            epochs_told=epochs_told,
        )


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What held-out pairs decided."""

    uniformity: float
    embedding_dim: int
    epochs: int
    """After which the validated score was best; 0 if no training beat the start."""
    strengths: dict[str, float]
    """Of the score's terms."""
    start: float | None = None
    """The validation metric before the first step, with the terms; None from a random start."""
    trained: float | None = None
    """The best that training came to, with the same terms."""
    value: float | None = None
    """The metric with the terms as they were chosen at the end, on all users with held-out pairs."""
    n_candidates: int = 0
    """States and combinations of strengths that were compared."""

    def __str__(self) -> str:
        """Say it in words, and what training added over its start."""
        said = [f"{counted(self.epochs, 'epoch')}, width {self.embedding_dim}, uniformity {self.uniformity:g}"]
        terms = ", ".join(f"{name} {self.strengths[name]:g}" for name in TERMS if name in self.strengths)
        said.append(f"terms: {terms or 'none'}")
        if self.start is not None and self.trained is not None:
            said.append(f"on held-out pairs {self.start:.4f} at the start, {self.trained:.4f} trained")
        elif self.trained is not None:
            said.append(f"on held-out pairs {self.trained:.4f}")
        elif self.start is not None:
            said.append(f"on held-out pairs {self.start:.4f} at the start, which no training beat")
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


def hold_out(matrix: csr_array, seed: int, least: int = 200) -> tuple[csr_array, csr_array] | None:
    """Hold out one pair of every user with at least three, of at most 20,000; None where fewer than ``least`` can.

    Returns
    -------
    The remaining pairs, with their weights, and the held-out ones, without, both of the matrix's shape.
    """
    lengths = np.diff(matrix.indptr)
    users = np.flatnonzero(lengths >= LEAST_PAIRS)
    if len(users) < least:
        return None
    rng = np.random.default_rng([seed, HOLD_OUT])
    if len(users) > MOST_HELD:
        users = np.sort(rng.choice(users, MOST_HELD, replace=False))
    held = np.zeros(matrix.nnz, dtype=bool)
    held[matrix.indptr[users] + (rng.random(len(users)) * lengths[users]).astype(np.int64)] = True
    return keep(matrix, ~held), pattern(keep(matrix, held))


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

    With held-out pairs what the plan leaves open is decided here, in this order: the strengths of the terms by the
    scores of the start; the weight of uniformity by a branch of two epochs for each, or that none beats the start; the
    epoch, by early stopping on the score with its terms; and the strengths again, by the best state.

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
    training = _Training(plan, matrix, weights, valid, checkpoint)
    branches = [0.0] if plan.uniformity == "auto" else [plan.uniformity]
    stopped, start = False, -np.inf
    watch = _Watch(callback)
    if plan.uniformity == "auto" and valid is not None and plan.epochs > 0:
        reached: dict[float, float] = {}
        for weight in BRANCHES:
            learner = training.learner(weight)
            schedule = plan.schedule(
                validated=True, first_epoch=0, epochs_told=0, epochs=min(BRANCH_EPOCHS, plan.epochs)
            )
            watch.branch = {"branch": weight}
            name = f"branch {weight:g}"
            history = checkpoint.train(name, learner, training.pairs, schedule, callback=watch, show_progress=False)
            if watch.ended:
                return training.fitted(learner, weight, history, history, 0)
            values = [record[plan.valid_metric] for record in history]
            start = values[0] if schedule.start else start
            reached[weight] = max(values[1:] if schedule.start else values, default=-np.inf)
        branches = [max(reached, key=lambda weight: reached[weight])]
        stopped = plan.start == "spectral" and reached[branches[0]] <= PAYS * start
        branches = [0.0] if stopped else branches
        watch.branch = {}
    learner = training.learner(branches[0])
    if state is not None:
        learner.resume(state)
    done = 0 if state is None else state.epoch
    told = before[-1]["epoch"] - done if before else 0
    schedule = plan.schedule(
        validated=valid is not None, first_epoch=done, epochs_told=told, epochs=0 if stopped else None
    )
    watching = {"callback": watch, "show_progress": show_progress}
    history = checkpoint.train("training", learner, training.pairs, schedule, **watching)
    if not history:
        # trained for no epoch and looked at by nobody: the last record is what a fit tells of itself
        history = [{"epoch": told + done, "loss": float("nan"), "seconds": 0.0} | learner.validate() | {"best": False}]
    return training.fitted(learner, branches[0], history, [*before, *history], told)


@dataclass(frozen=True)
class _Width:
    """Which width was chosen among how many starts and combinations of strengths."""

    width: int
    n_candidates: int


class _Watch:
    """A callback that remembers whether it has ended the training."""

    def __init__(self, callback: Callback) -> None:
        self.callback, self.ended = callback, False
        self.branch: dict[str, float] = {}
        """What is put into the records of a training that is only tried."""

    def __call__(self, record: dict[str, Any]) -> bool:
        answer = None if self.callback is None else self.callback(record | self.branch)
        self.ended = isinstance(answer, bool | np.bool_) and bool(answer)
        return self.ended


class _Training:
    """What all branches of a training share: the graph, the pairs, the start and the terms."""

    def __init__(
        self,
        plan: Plan,
        matrix: csr_array,
        weights: Weights | None,
        valid: csr_array | None,
        checkpoint: Checkpoint,
    ) -> None:
        self.plan, self.matrix, self.valid, self.checkpoint = plan, matrix, valid, checkpoint
        self.graph = BipartiteGraph.from_matrix(matrix).to(plan.device)
        users = torch.from_numpy(np.repeat(np.arange(self.graph.n_users), np.diff(matrix.indptr))).to(plan.device)
        heavy = (torch.from_numpy(matrix.data / matrix.data.mean()).to(plan.device),) if has_weights(matrix) else ()
        self.pairs = Pairs(users, torch.from_numpy(matrix.indices.astype(np.int64)).to(plan.device), heavy)
        most = None if plan.start == "random" else MOST_VALIDATED
        self.validation = None if valid is None else Validation(matrix, valid, plan.valid_metric, most)
        self.spectrum: Spectrum | None = None
        self.n_candidates = 0
        self.watched: WatchedScorer | None = None
        self.width = WIDTHS[0] if plan.embedding_dim == "auto" else plan.embedding_dim
        whole: Spectrum | None = None
        if weights is not None:
            self.weights, self.width = weights, weights.table.shape[1]
        elif plan.start == "random":
            kind = "id" if plan.encoder == "id" else "graph"
            self.weights = initial_weights(*matrix.shape, self.width, kind, plan.seed)
        else:
            whole = self._spectrum()
            self._start_with(whole.cut(self.width))
        given = None if plan.terms == "auto" else plan.terms
        if self.spectrum is None and (given is None or any(name in given for name in BLOCKS)):
            # the same vectors as those of a start, so that going on with no epoch changes no score
            self.spectrum = self._spectrum().cut(self.width)
        self.terms: dict[str, Term] = {}
        if given is not None or valid is not None:
            self.terms = make_terms(matrix, given, width=self.width, spectrum=self.spectrum)
        if whole is not None and plan.embedding_dim == "auto" and valid is not None:
            width = checkpoint.once("width", lambda: self._best_width(whole), _Width)
            self.n_candidates += width.n_candidates
            self._start_with(whole.cut(width.width))
            self.terms = {
                name: replace(term, spectrum=self.spectrum) if isinstance(term, SpectralBlock) else term
                for name, term in self.terms.items()
            }
        self.prepare()

    def _spectrum(self) -> Spectrum:
        """Find the vectors; always at least as many as the widest start has, so that a narrow one is a part of them."""
        widest, (n_users, n_items), device = max(self.width, *WIDTHS), self.matrix.shape, self.plan.device
        shapes = {"users": (n_users, widest), "values": (widest,), "items": (n_items, widest)}

        def find() -> Spectrum:
            return spectral_factors(self.matrix, widest, seed=self.plan.seed, device=device)

        return self.checkpoint.once("spectrum", find, Spectrum, **shapes).to(device)

    def _start_with(self, spectrum: Spectrum) -> None:
        self.spectrum, device = spectrum, self.plan.device
        users, items = spectrum.tables(START_RMS)
        self.width = users.shape[1]
        bias = torch.zeros(self.width, device=device)
        self.weights = Weights(torch.cat([users, items]), torch.eye(self.width, device=device), bias)

    def _best_width(self, whole: Spectrum) -> "_Width":
        """Find the width whose start is best by clearly more than the first one's, with the terms that cost little."""
        assert self.validation is not None
        cheap = {name: term for name, term in self.terms.items() if name in ("filter", "popularity")}
        reached, n_candidates = {}, 0
        for width in WIDTHS:
            self._start_with(whole.cut(width))
            learner, name = self.learner(0.0), self.plan.valid_metric
            if cheap and self.plan.terms == "auto":
                choice = ScoreTerms.choose(learner.base(), self.matrix, self.validation.valid, name, cheap)[1]
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
        return BootstrapLearner(bootstrap, plan.learning_rate, plan.weight_decay, pairs, self.validation, self.watched)

    def prepare(self) -> None:
        """Weigh the terms that validation looks at: as given, or as the start wants them."""
        plan = self.plan
        if self.validation is None:
            return
        added = {name: term for name, term in self.terms.items() if not isinstance(term, Dial | ItemNorm)}
        if plan.terms == "auto":
            # of random scores nothing is known that terms could be weighed against
            spectral = plan.start == "spectral"
            phase = "terms of the start"
            added = self._choose(phase, self.learner(0.0), self.validation.valid, added)[0] if spectral else {}
        users = np.flatnonzero(np.diff(self.validation.valid.indptr))
        if added and len(users) * self.matrix.shape[1] <= MOST_WATCHED:
            self.watched = WatchedScorer(added, users, self.matrix.shape)

    def _choose(
        self, phase: str, learner: BootstrapLearner, valid: csr_array, terms: Mapping[str, Term]
    ) -> tuple[dict[str, Term], Choice]:
        def choose() -> Choice:
            return ScoreTerms.choose(learner.base(), self.matrix, valid, self.plan.valid_metric, terms)[1]

        choice = self.checkpoint.once(phase, choose, Choice)
        self.n_candidates += choice.n_candidates
        strengths = {name: strength for name, strength in choice.strengths.items() if strength}
        return {
            name: replace(self.terms[name], strength=strengths[name]) for name in self.terms if name in strengths
        }, choice

    def fitted(
        self, learner: BootstrapLearner, uniformity: float, history: list[dict[str, Any]], told: list, epochs_told: int
    ) -> Fitted:
        plan, choice = self.plan, None
        terms = self.terms
        if plan.terms == "auto" and self.valid is not None:
            terms, choice = self._choose("terms", learner, self.valid, self.terms)
        base = learner.base()
        kept, score = ScoreTerms.of(base, self.matrix, terms, choice)
        assert score.tables is not None
        foldings = fit_folding(learner.bootstrap.weights.table, self.graph, plan.n_layers, self.matrix)
        metric = plan.valid_metric
        best = [record for record in history if record["best"]]
        chosen = Chosen(
            uniformity=uniformity,
            embedding_dim=self.width,
            epochs=(best[-1] if best else history[-1])["epoch"] - epochs_told,
            strengths=kept.strengths,
            start=history[0].get(metric) if history[0]["epoch"] == epochs_told else None,
            trained=max((r[metric] for r in history if metric in r and r["epoch"] > epochs_told), default=None),
            value=None if choice is None else choice.value,
            n_candidates=self.n_candidates + sum(metric in record for record in history),
        )
        alive = self.valid is None or history[-1]["best"]
        return Fitted(
            told,
            score.tables.user_factors.cpu().numpy(),
            score.tables.item_factors.cpu().numpy(),
            kept,
            (foldings[0].to("cpu"), foldings[1].to("cpu")),
            learner.bootstrap.weights.to(torch.device("cpu")).clone(),
            learner.state(history[-1]["epoch"] - epochs_told) if alive and history[-1]["epoch"] > epochs_told else None,
            chosen,
        )


def _automatic_batch(n_pairs: int, steps: int) -> int:
    size = SMALLEST_BATCH
    while size < LARGEST_BATCH and steps * size <= n_pairs:
        size *= 2
    return min(size, n_pairs)
