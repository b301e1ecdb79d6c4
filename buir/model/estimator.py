"""BUIR: the estimator."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, BinaryIO, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_array

from buir.data import (
    LEAST_HELD,
    Labelled,
    PairWeights,
    fit_inputs,
    hold_out,
    html_table,
    partial_fit_inputs,
    take,
)
from buir.errors import InputError, StartKeptWarning, counted, report
from buir.learning import Weights, collapse, initial_weights, warn_of_collapse
from buir.model.checkpoint import Checkpoint
from buir.model.fitting import Chosen, Fitted, Plan, blind_epochs, run, warn_of_defaults, without_idle
from buir.model.folding import explain_score
from buir.model.growth import grow, grow_state, start_new_rows
from buir.model.modelfile import load_model, save_model
from buir.ranking import FactorScorer, Scorer
from buir.recommend import (
    Above,
    AtLeast,
    MetricAtK,
    Recommender,
    Strengths,
    answering,
    check_callback,
    check_parameters,
    estimator,
    lookups,
    read_histories,
)

__all__ = ["BUIR"]

_LOG = logging.getLogger("buir.model")


@estimator
class BUIR(Recommender):
    """Recommends from positives alone, without negative sampling.

    The fields are the hyper-parameters. The plain constructor gives the settings that do best in this project's
    benchmark; ``BUIR.paper()`` gives the author's.

    References
    ----------
    Lee, Kang, Ju, Park, Yu: Bootstrapping User and Item Representations for One-Class Collaborative Filtering, SIGIR
    2021.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> checkerboard = csr_array([[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]])
    >>> model = BUIR(embedding_dim=8, epochs=100, batch_size=4, learning_rate=0.01, device="cpu")
    >>> ids, scores = model.fit(checkerboard, show_progress=False).recommend(2, N=1)
    >>> ids.tolist()
    [2]
    """

    takes_weights: ClassVar[bool] = True

    encoder: Literal["id", "graph", "walk"] = "walk"
    """"id" (BUIR-id of the paper), "graph" (BUIR-nb: whole-graph propagation) or "walk" (an extension: sampled
    neighbourhoods, linear cost). Take "graph" for small data, where it is often a little better, and "id" to compare
    with the paper."""
    embedding_dim: Annotated[int, AtLeast(1, most=65_536)] | Literal["auto"] = "auto"
    """Width of the vectors; "auto": 64, or 16, 32 or 128 where that spectral start is clearly better on held-out pairs.
    250 in the paper. Set it where memory or a store of vectors asks for a width: a table takes 4 bytes a number."""
    block_dim: Annotated[int, AtLeast(1, most=65_536)] | Literal["auto"] = "auto"
    """Singular vectors of the score's term "block", an extension: as many further numbers for each user and item if it
    has a strength. "auto": as ``embedding_dim``; where that is "auto" too, and there are 8,192 users and as many items
    or more, 128, 256 or 512 if validation finds these clearly better. Set it where memory asks for fewer."""
    n_layers: Annotated[int, AtLeast(0, most=100)] = 2
    """Layers of propagation, for "graph" and "walk"; 3 in the paper. Lower it for dense data, where far neighbours are
    everybody."""
    edge_drop_rate: Annotated[float, AtLeast(0, below=1)] = 0.0
    """Upper bound of the share of edges that an encoder call drops, drawn from U(0, rate), for "graph"; 0 in the
    author's defaults. Raise it where training is soon past its best epoch."""
    walks: Annotated[int, AtLeast(1, most=10_000)] = 8
    """Random walks from each row in each call, for "walk". Raise it for steadier gradients at a cost in proportion;
    lower it for speed."""
    momentum: Annotated[float, AtLeast(0, below=1)] = 0.9
    """tau: how much of the target network stays at each step (of 1,024 pairs where the batch is "auto"); 0.995 in the
    paper, which asks for more epochs. Raise it towards 1 if vectors collapse (``CollapseWarning``)."""
    predictor: Literal["none", "linear"] = "none"
    """What stands between the online network and its target: "linear", a matrix and a bias that learn, as in the paper,
    or "none", an extension: vectors then learn what a predictor would take over, and uniformity keeps them from
    collapsing. Set "linear" to compare with the paper."""
    learning_rate: Annotated[float, Above(0)] = 2e-3
    """Adam's step size (for 1,024 pairs where the batch is "auto"); 1e-3 in the paper. Lower it where the loss
    stops being a number or the first epoch is the best; raise it where the last is."""
    weight_decay: Annotated[float, AtLeast(0)] = 0.0
    """L2 decay (decoupled where training is row-sparse); 1e-4 in the paper. Raise it to 1e-6 to 1e-4 where validation
    falls while the loss still falls."""
    batch_size: Annotated[int, AtLeast(1)] | Literal["auto"] = "auto"
    """Pairs in a step; "auto" follows the number of pairs, and its rates follow it (from a random start only above
    1,024; see ``fitting.Plan.of``). 1,024 in the paper. Lower it where memory is short; a number of yours scales
    nothing."""
    epochs: Annotated[int, AtLeast(0)] | Literal["auto"] = "auto"
    """Passes over the pairs, at most; "auto": 100 where held-out pairs end them, but 0 with 2,500 pairs or fewer
    (uniformity and terms "auto", no random start); otherwise 10, or 0 from the spectral start of data with more than
    ten pairs for each user and item. 1,000 in the paper. Set it where nothing is held out and time counts, or to train
    on few pairs; 0 keeps the start."""
    validate_every: Annotated[int, AtLeast(1)] = 1
    """Epochs between validations; 10 in the paper. Raise it where validation takes longer than an epoch."""
    valid_metric: Annotated[str, MetricAtK()] = "ndcg_at_20"
    """What validation maximises; "capped_precision_at_50" in the paper. Set the metric and the length of list that you
    are judged by."""
    patience: Annotated[int, AtLeast(1)] = 5
    """Validations without improvement after which training stops; 10 in the paper. Raise it for small data, whose
    validation jumps about."""
    cumulative_patience: bool = False
    """Count those validations in total instead of in a row; True in the author's code. Leave it but to compare with
    that."""
    uniformity: Annotated[float, AtLeast(0)] | Literal["auto"] = "auto"
    """Weight of the uniformity term, an extension; "auto": 0.1, 0.3 or 1 (from a random start not 0.1 where there are
    many pairs), the best on held-out pairs; without them 0.1, or 0.3 where there are many pairs (0 or 0.3, and 0, with
    a linear predictor). 0 in the paper. Set one of them to save the time of trying: the more pairs a user has, the
    higher."""
    start: Literal["auto", "spectral", "random"] = "auto"
    """"spectral": training starts from the leading singular vectors of the normalised matrix, which is where it
    would lead, an extension; "random": from Xavier's distribution, as in the paper. "auto": spectral, and with
    held-out pairs also what the graph asks for: both starts where there are fewer pairs than users and items that
    have any (with the terms "auto", and more than 2,500 pairs), and the random one alone for many pairs of 10,000
    users and items together, or more, that have two to six each (with the walk encoder, no predictor, and the
    epochs "auto" or 100 and more; its width, where open, is 64). Set one to save the time of both."""
    terms: Annotated[dict, Strengths()] | Literal["auto"] = "auto"
    """Strengths of what is added to the score, an extension: a dict such as {"popularity": 0.3}, see
    ``buir.recommend.TERMS`` for the names; "auto": the best on held-out pairs, none without. {} in the paper. Set {}
    for plain inner products of this width, or strengths that an earlier fit has chosen."""
    inner_validation: bool | Literal["auto"] = "auto"
    """Where ``fit`` gets no validation pairs: hold out one pair of every user with at least three (two, where most
    have fewer), of 20,000 users at most, decide by them, and train again on everything. "auto": where at least 200
    users have three. False in the paper. Set False to train once, with defaults where they would decide."""
    row_sparse: bool | Literal["auto"] = "auto"
    """Touch only the rows of a step (an optimiser of its own kind); False in the paper. Not for "graph". Leave it but
    to compare speed or results of the two optimisers."""
    seed: Annotated[int, AtLeast(0, most=2**63 - 1)] = 0
    """Decides the initial weights, the order of the pairs and every draw of the encoder. Take several to see how much
    is chance."""
    device: str = "auto"
    """A torch device, or "auto": CUDA if there is one. Set "cpu" for data so small that a GPU only waits, "cuda:1" for
    the second of two."""

    def __post_init__(self) -> None:
        """Take NumPy's numbers as Python's and a device by its name, so that they can be saved; ``fit`` checks."""
        self._plain_settings()

    def __repr__(self) -> str:
        """Write the constructor and, as a comment behind it, what the fit came to."""
        made = f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.get_params().items())})"
        return f"{made}  # {self.chosen_}" if "chosen_" in vars(self) else made

    def _repr_html_(self) -> str:
        """Tabulate what differs from the plain constructor and, of a fitted model, what the fit came to."""
        plain, mine = BUIR().get_params(), self.get_params()
        changed = [f"{name}={value!r}" for name, value in mine.items() if value != plain[name]]
        rows = [("changed", ", ".join(changed) or "nothing")]
        if "chosen_" not in vars(self):
            return html_table(f"{type(self).__name__}, not fitted", rows)
        pairs = "" if self.seen_ is None else f", {self.seen_.nnz:,}"
        # of a training that was validated the best state is kept, of another one the last
        validated = self.valid_metric in self.history[-1]
        record = [self.history[-1], *(one for one in self.history if validated and one.get("best"))][-1]
        dims = min(self.weights_.table.shape[1], self.n_users + self.n_items)
        health = f"effective rank {record['effective_rank']:.1f} of {dims}, alignment {record['alignment']:.2f}, "
        health += (
            f"uniformity {record['uniformity']:.2f}, lists show {record['catalogue_share']:.0%} of what they could"
        )
        rows += [
            (f"users, items{', pairs' if pairs else ''}", f"{self.n_users:,}, {self.n_items:,}{pairs}"),
            ("came to", self.chosen_),
            ("health", health),
        ]
        return html_table(f"{type(self).__name__}, fitted", rows)

    @classmethod
    def _conflict(cls, parameters: Mapping[str, Any]) -> tuple[str, str, str] | None:
        if parameters["encoder"] == "graph" and parameters["row_sparse"] is True:
            return (
                "row_sparse",
                "encoder",
                "False or 'auto': a whole-graph step moves every row (encoder 'walk' does not)",
            )
        if parameters["encoder"] != "graph" and parameters["edge_drop_rate"]:
            return "edge_drop_rate", "encoder", "its default: it belongs to encoder 'graph'"
        return None

    @classmethod
    def _instead_of(cls, name: str, value: Any) -> str | None:
        if name == "popularity":
            sound = isinstance(value, float | int) and not isinstance(value, bool) and 0 < value < float("inf")
            now = "'auto'" if value == "auto" else {} if value == 0 else {"popularity": value if sound else 0.3}
            return f"it is a term of the score now, terms={now}"
        return "it learns from positives alone, leave it out" if name == "negatives" else None

    @classmethod
    def paper(cls, **overrides: Any) -> "BUIR":
        """Return a model with the author's settings; ``encoder="id"`` gives BUIR-id, the default is BUIR-nb."""
        settings: dict[str, Any] = {
            "encoder": "graph",
            "embedding_dim": 250,
            "n_layers": 3,
            "edge_drop_rate": 0.0,
            "momentum": 0.995,
            "predictor": "linear",
            "learning_rate": 1e-3,
            "weight_decay": 1e-4,
            "batch_size": 1024,
            "epochs": 1000,
            "validate_every": 10,
            "valid_metric": "capped_precision_at_50",
            "patience": 10,
            "cumulative_patience": True,
            "uniformity": 0.0,
            "start": "random",
            "terms": {},
            "inner_validation": False,
            "row_sparse": False,
        }
        return cls(**(settings | overrides))

    @answering
    def fit(
        self,
        user_items: Any,
        valid: Any = None,
        *,
        weights: PairWeights = None,
        show_progress: bool = True,
        callback: Callable[[dict[str, Any]], bool | None] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_minutes: float = 10.0,
        resume: bool = False,
    ) -> "BUIR":
        """Learn from observed pairs, from a fresh start or from where an earlier process was.

        Parameters
        ----------
        user_items
            Users by items: any SciPy sparse matrix or array, ``Interactions`` or a data frame. Without ``weights`` only
            which pairs are present counts.
        valid
            Held-out pairs of the same shape, or a data frame with the same ids: they decide what "auto" leaves open,
            when to stop and which weights to keep. Without them see ``inner_validation``.
        weights
            How much each pair counts, in the loss, the graph and the terms, an extension: a weight of 2 is as good as
            two pairs, and only proportions matter. None: all alike. "values": those of the matrix, of a frame's column
            ``weight`` or of ``Interactions.weights``; repeated pairs add up. Or a function that takes ``Interactions``
            and returns one number for each pair, such as ``buir.data.log_counts``, ``buir.data.bm25`` or
            ``buir.data.half_life(days=30)``.
        show_progress
            Show a progress bar on a terminal or, with ipywidgets, in a notebook.
        callback
            Called with the record of each validation (see ``history``); returning True ends the training. Where both
            weight of uniformity and terms are to be chosen, the first records are those of the spectral start with the
            terms that cost least, before the rest is: they have its ``width``, and no coverage. Records of a branch
            that is only tried have its weight of uniformity as ``branch``, those of a further training what it is
            ``watched`` with (see ``terms``) or how it ``began`` (see ``start``). A training that is resumed tells its
            earlier records first.
        checkpoint
            A file that keeps the state of the fit, replaced as a whole every ``checkpoint_minutes`` or, where an epoch
            takes longer, after each, and whenever the fit ends, by Ctrl-C too; three to five more tables in memory. It
            stays there: delete it when the model is saved.
        checkpoint_minutes
            Least time between two writings; 0 writes after every epoch.
        resume
            Go on from ``checkpoint``, if it is there, and come to the same bytes as a fit that nothing ended (on the
            same machine, with as many threads).

        Returns
        -------
        The model itself.

        Raises
        ------
        InputError
            If data or settings cannot be used, or the checkpoint is there and not to be resumed, or is one of other
            data, other settings or another version of the package.
        StorageError
            If the checkpoint cannot be written, or is no whole one.
        """
        parameters = self.get_params()
        check_parameters(type(self), parameters)
        check_callback(callback)
        with Checkpoint(checkpoint, parameters, minutes=checkpoint_minutes, resume=resume) as journal:
            sizes = ("batch_size", "embedding_dim")
            known: Any = {name: value for name in sizes if (value := getattr(self, name)) != "auto"}
            labelled, valid_matrix = fit_inputs(
                user_items, valid, weights=weights, valid_metric=self.valid_metric, **known
            )
            plan = Plan.of(parameters, n_pairs=labelled.matrix.nnz, n_nodes=sum(labelled.matrix.shape))
            journal.learns_from(labelled, valid_matrix)
            report = {"callback": callback, "show_progress": show_progress, "checkpoint": journal}
            return self._take(self._trained(plan, labelled.matrix, valid_matrix, report), labelled)

    def _trained(self, plan: Plan, matrix: csr_array, valid: csr_array | None, report: dict[str, Any]) -> Fitted:
        """Train on what validation pairs, given or held out inside, decide."""
        if valid is not None:
            return run(plan, matrix, valid=valid, **report)
        least = LEAST_HELD if self.inner_validation == "auto" else 1
        parts = hold_out(matrix, self.seed, least) if self.inner_validation else None
        if parts is not None:
            journal: Checkpoint = report["checkpoint"]
            chosen = journal.once("inner", lambda: run(plan, parts[0], valid=parts[1], **report).chosen, Chosen)
            decided = {
                "uniformity": chosen.uniformity,
                "epochs": chosen.epochs,
                "embedding_dim": chosen.embedding_dim,
                "block_dim": "auto" if chosen.block_dim is None else chosen.block_dim,
                "terms": chosen.strengths,
            }
            began = plan.beside if plan.beside is not None and chosen.began == "random" else plan
            fitted = run(replace(began, **decided), matrix, **report)
            return fitted._replace(chosen=replace(chosen, held_out="inner"))
        left_open = (self.epochs, self.embedding_dim, self.uniformity, self.terms)
        if self.inner_validation and "auto" in left_open:
            warn_of_defaults(matrix)
        epochs = blind_epochs(self.start, matrix) if self.epochs == "auto" else plan.epochs
        return run(replace(plan, epochs=epochs, few=False), matrix, **report)

    @answering
    def partial_fit(
        self,
        new_interactions: Any,
        *,
        weights: PairWeights = None,
        epochs: int | None = None,
        show_progress: bool = True,
        callback: Callable[[dict[str, Any]], bool | None] | None = None,
    ) -> "BUIR":
        """Go on learning with new pairs, new users and new items; what was learned is kept.

        New rows start from their neighbours (see ``folding``). Training then goes through old and new pairs together,
        in the order of the epochs that follow. The optimiser and the target network go on from where they stood if the
        model still has them, that is after a ``fit`` without early stopping in this process or after loading a file
        saved with ``optimiser=True``; otherwise they restart. The log of ``buir.model`` says which.

        Parameters
        ----------
        new_interactions
            The new pairs, with the kind of ids that ``fit`` was given. A matrix may have more rows and columns than
            before.
        weights
            As in ``fit``, in the unit of that fit's; they add to the weights that old pairs have. None: the new pairs
            of a model with weights weigh as much as its average pair.
        epochs
            Passes over all pairs; None is a tenth of ``epochs``, rounded up, or of what "auto" came to, so
            none where the fit kept its start; asking for some where no training was better is warned of
            (``StartKeptWarning``), and trains with the weight of uniformity of a fit without held-out
            pairs, as none was chosen.
        show_progress, callback
            As in ``fit``.

        Returns
        -------
        The model itself; in ``history`` the new records follow the old ones and count their epochs on, with ``best``
        and ``seconds`` of their own.

        Raises
        ------
        InputError
            If the training rows were not saved with the model, the ids are of another type, or a matrix looks
            transposed.
        """
        if self.seen_ is None:
            msg = (
                "partial_fit needs the old training rows, and this model was saved without them; "
                "save it with training_matrix=True"
            )
            raise InputError(msg)
        start_kept = self.chosen_.stopped == "start" or (self.chosen_.epochs == 0 and bool(self.chosen_.epochs_run))
        most = self.chosen_.epochs if self.epochs == "auto" or start_kept else self.epochs
        epochs = -(-most // 10) if epochs is None else epochs
        width = self.weights_.table.shape[1]
        block = self.terms_.width_of_block or "auto"
        parameters = self.get_params() | {"epochs": epochs, "embedding_dim": width, "block_dim": block}
        check_parameters(type(self), parameters)
        check_callback(callback)
        if epochs and start_kept:
            msg = (
                f"partial_fit is to train for {counted(epochs, 'epoch')}, but the fit kept its start, as no training "
                "was better on held-out pairs; expected no epochs, which new rows do not need, or a new fit"
            )
            report([StartKeptWarning(msg, argument="epochs")])
        arrived = partial_fit_inputs(new_interactions, weights, self.weight_unit_)
        growth = grow(self.seen_, self.user_ids_, self.item_ids_, arrived, self.weight_unit_)
        matrix = growth.labelled.matrix
        parameters["terms"] = self.terms_.strengths
        if self.start == "auto":
            parameters["start"] = self.chosen_.began or "spectral"
        if self.uniformity == "auto" and self.chosen_.epochs:  # a start that was kept has chosen none to train with
            parameters["uniformity"] = self.chosen_.uniformity
        plan = Plan.of(parameters, n_pairs=matrix.nnz, n_nodes=sum(matrix.shape))
        start = start_new_rows(growth, self.weights_, self._fresh_weights(matrix, width), self.folding_)
        state = None
        if self.state_ is not None and self.state_.predictor == (self.predictor == "linear"):
            state = grow_state(self.state_, growth, start)
        _LOG.info("partial_fit: optimiser and target network %s", "restart" if state is None else "continue")
        earlier = {"state": state, "before": self.history}
        fitted = run(plan, matrix, start, **earlier, callback=callback, show_progress=show_progress)
        trained = {"uniformity": fitted.chosen.uniformity} if epochs else {}
        return self._take(fitted._replace(chosen=replace(self.chosen_, **trained)), growth.labelled)

    def export_factors(self) -> tuple[np.ndarray, np.ndarray]:
        """Return copies of the user and item factors for serving elsewhere.

        One inner product of width ``embedding_dim`` is the score, so any store of vectors that ranks by inner product
        gives the lists of ``recommend`` without filters.

        Returns
        -------
        float32 arrays of shape (n_users, d) and (n_items, d), wider where terms such as popularity are in the score.

        Raises
        ------
        ValueError
            If the item filter has a strength: its part of the score is no inner product.
        """
        if self.terms_.weights is not None:
            msg = (
                f"the item filter has strength {self.terms_.strengths[self.terms_.filter]:g} in this score, which is "
                "then no inner product; expected terms without it: fit with "
                f"terms={{**model.terms_.strengths, {self.terms_.filter!r}: 0}}"
            )
            raise ValueError(msg)
        return self.user_factors.copy(), self.item_factors.copy()

    def save(
        self, target: str | os.PathLike[str] | BinaryIO, *, training_matrix: bool = True, optimiser: bool = False
    ) -> None:
        """Write the model, fitted or not, as one safetensors file without pickle.

        Parameters
        ----------
        target
            A path, replaced atomically, or a binary file object.
        training_matrix
            Include the training rows, which leaving out seen items, ``explain``, ``partial_fit`` and, where the item
            filter has a strength, every list of a training user needs; lists of users given by history need none.
        optimiser
            Include the optimiser's and the target network's state, so that ``partial_fit`` goes on from it: three more
            tables.

        Raises
        ------
        StorageError
            If nothing can be written there, or there is no optimiser state to include; a TypeError if the target is
            neither of the two.
        """
        save_model(self, target, training_matrix=training_matrix, optimiser=optimiser)

    @classmethod
    def load(cls, source: str | os.PathLike[str] | BinaryIO) -> "BUIR":
        """Read a model from a path or a binary file object; one that was trained on a GPU loads anywhere.

        Raises
        ------
        StorageError
            If the file is missing, truncated, changed, of a newer format or no model; a TypeError if the source is
            neither of the two.
        """
        return load_model(cls, source)

    def _take(self, fitted: Fitted, labelled: Labelled) -> "BUIR":
        self.history, self.terms_ = fitted.history, fitted.terms
        self.user_factors, self.item_factors = fitted.user_factors, fitted.item_factors
        self.folding_, self.weights_, self.state_ = fitted.folding, fitted.weights, fitted.state
        self._remember(labelled)
        shape = labelled.matrix.shape
        n_dimensions = min(self.weights_.table.shape[1], sum(shape))
        found = collapse(self.history[-1], n_dimensions, shape, fitted.chosen.uniformity)
        self.chosen_ = replace(fitted.chosen, collapse=found)
        warn_of_collapse(found)
        return self

    def _fresh_weights(self, matrix: csr_array, dim: int) -> Weights:
        drawn = initial_weights(*matrix.shape, dim, "id" if self.encoder == "id" else "graph", self.seed)
        return drawn if self.predictor == "linear" else without_idle(drawn.table, matrix)

    def explain(self, user: Any, item: Any, *, histories: Any = None) -> pd.DataFrame:
        """Say how much each item of a user's history, her own embedding, the bias and the terms add to a score.

        Parameters
        ----------
        user, item
            Ids as in ``recommend_frame``: the labels of a frame, the row and column numbers of a matrix.
        histories
            What users have liked, as in ``recommend_frame``: of a user who is named there, new to the model or not, the
            score is the one that this history gives.

        Returns
        -------
        Columns ``part`` ("item", "own embedding", "bias", and the terms that have a strength), ``item`` and
        ``contribution``; the contributions add up to the score. A user given by history has no embedding of her own.

        Raises
        ------
        ValueError
            For a user of BUIR-id who is not given by history, as her score is not made of one; if the training rows
            were not saved; if an id is unknown.
        TypeError
            If a list is given in place of an id.
        """
        users, items = lookups(self)
        column = items.row(item, "item")
        told = None
        if histories is not None and np.isscalar(user):
            _, told, rows = read_histories(histories, items, strict=True, unit=self.weight_unit_)
            place = int(told.get_indexer(pd.Index([user]))[0])
            told = None if place < 0 else take(rows, np.array([place]))
        row = -1 if told is not None else users.row(user, "user")
        if told is None and self.encoder == "id":
            msg = (
                "encoder 'id' has one vector for each user and no sum over her history to explain; "
                "expected encoder 'graph' or 'walk', or a user given by history: pass histories"
            )
            raise ValueError(msg)
        history = self._seen_rows(np.array([row]), "explain") if told is None else told
        weight, bias = self.weights_.predictor_weight, self.weights_.predictor_bias
        vector = torch.tensor(self.item_factors[column])
        target = vector[: len(bias)]
        # the dial turns the user's vector, which is the same as turning the item's back
        target = target if self.terms_.dial is None else self.terms_.dial @ target
        own = self.weights_.table[row] if told is None else None
        parts = explain_score(self.folding_[0], history, own, weight + weight.T, bias, target, self.item_ids_)
        further = torch.tensor(self.user_factors[row]) if told is None else self.terms_.coordinates(told)[0]
        added = self.terms_.parts(history, further, vector, column)
        if not added:
            return parts
        names, values = zip(*added, strict=True)
        nobody = pd.Series([None] * len(added), dtype=object)
        return pd.concat(
            [parts, pd.DataFrame({"part": names, "item": nobody, "contribution": values})], ignore_index=True
        )

    def _recalculated_users(self, user_items: csr_array) -> Scorer:
        vectors = self.folding_[0].scoring_vectors(user_items)
        weight = self.weights_.predictor_weight
        factors = torch.addmm(self.weights_.predictor_bias, vectors, weight + weight.T)
        return FactorScorer(factors, self._likeness(self.item_factors))

    def _recalculated_items(self, item_users: csr_array) -> np.ndarray:
        return self.folding_[1].vectors(item_users).numpy()
