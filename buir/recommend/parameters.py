"""Models as classes whose fields are their hyper-parameters: made, explained, and asked by other libraries' names."""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, dataclass_transform, get_type_hints

from buir.errors import InputError, UnknownParameterError, near
from buir.recommend.ranges import default_of, parameters_of, takes

if TYPE_CHECKING:
    from buir.recommend.recommender import Recommender

__all__ = ["answer", "answering", "check_callback", "estimator", "instead_of", "unknown_parameters"]

Model = TypeVar("Model", bound="type[Recommender]")
Taken = ParamSpec("Taken")
Given = TypeVar("Given")

_WIDTH = 100
"""Columns of an explanation."""
_LATER = ("Raises", "Notes", "References", "Examples")
"""Sections of a docstring that stand behind its parameters."""


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
def estimator(model: Model) -> Model:
    """Make a model of a class whose fields are hyper-parameters, with the texts under them.

    The class becomes a dataclass whose constructor takes names alone, and answers names that it does not have; its
    documentation gets a section of the parameters, made of the fields when somebody reads it.
    """
    made: Any = dataclass(kw_only=True, eq=False)(model)
    construct = made.__init__

    @functools.wraps(construct)
    def __init__(self: Recommender, *places: Any, **parameters: Any) -> None:  # noqa: N807 - it becomes the class's own
        if places:
            name, default = next((one.name, default_of(made, one.name)) for one in fields(made) if one.init)
            came = f"{type(self).__name__} got {places[0]!r} by its place"
            msg = f"{came}; expected parameters by their names, such as {name}={default!r}"
            raise UnknownParameterError(msg)
        if error := unknown_parameters(type(self), parameters):
            raise error
        construct(self, **parameters)

    made.__init__, made.__doc__ = __init__, _Explained(model.__doc__ or "")
    return made


class _Explained:
    """A class's documentation, which reads the texts of the fields where it is read: importing should stay fast."""

    def __init__(self, text: str) -> None:
        self.text, self.whole = inspect.cleandoc(text), ""

    def __get__(self, instance: object, model: type) -> str:
        self.whole = self.whole or _with_section(self.text, "Parameters", _entries(model))
        return self.whole


def _entries(model: type) -> list[str]:
    """Write for each hyper-parameter what it takes, its default and its text."""
    lines = []
    for one in parameters_of(model):
        lines.append(f"{one.name} : {one.expected}; default {one.default!r}")
        lines += textwrap.wrap(one.about, _WIDTH, initial_indent="    ", subsequent_indent="    ")
    return lines


def _with_section(text: str, title: str, section: list[str]) -> str:
    """Put a section into a docstring, before those that come later."""
    lines = text.splitlines()
    titles = [n for n, (line, below) in enumerate(pairwise(lines)) if line in _LATER and below.startswith("---")]
    at = min(titles, default=len(lines))
    before = "\n".join(lines[:at]).rstrip()
    return "\n".join([before, "", title, "-" * len(title), *section, *([""] if lines[at:] else []), *lines[at:]])


@dataclass(frozen=True)
class _Idea:
    """One thing that libraries call by different names."""

    here: tuple[str, ...]
    """Its names here, of which a model has one or none."""
    elsewhere: str
    """Its names in implicit, RecBole, LightFM and scikit-learn, in small letters, between blanks."""
    none: str = "nothing here is like it, leave it out"
    """What to say of a model that has none of the names."""
    scale: bool = True
    """Whether a value can be taken over as it is."""


_IDEAS = (
    _Idea(
        ("embedding_dim", "factors", "rank"),
        "n_factors num_factors no_components n_components embedding_size latent_dim latent_factors hidden_size dim",
        "it has no vectors whose width could be set",
    ),
    _Idea(
        ("epochs", "iterations"),
        "n_epochs num_epochs n_iter n_iterations num_iterations max_iter",
        "it is fitted in one go",
    ),
    _Idea(("seed",), "random_state random_seed"),
    _Idea(
        ("weight_decay", "regularization", "regularisation"),
        "reg reg_weight reg_param l2 l2_reg lambda lambda_ user_alpha item_alpha",
        scale=False,
    ),
    _Idea(("learning_rate",), "lr eta eta0 learning_rate_init step_size", "its training has no step size"),
    _Idea(("batch_size",), "train_batch_size", "its training has no batches of a size to set"),
    _Idea(
        ("patience",),
        "stopping_step n_iter_no_change early_stopping early_stopping_rounds",
        "validation does not end its training",
    ),
    _Idea(("validate_every",), "eval_step eval_every", "nothing is validated on the way of its training"),
    _Idea(("valid_metric",), "eval_metric monitor", "nothing is validated on the way of its training"),
    _Idea(("n_layers",), "num_layers layers", "it has no layers"),
    _Idea(("edge_drop_rate",), "drop_ratio drop_rate dropout dropout_prob edge_dropout node_dropout"),
    _Idea(("neighbours",), "k n_neighbors num_neighbors neighbors", "it has no neighbours whose number could be set"),
    _Idea(("similarity",), "metric sim_options"),
    _Idea(("bm25_k1",), "k1"),
    _Idea(("bm25_b",), "b"),
    _Idea(("momentum", "temperature"), "tau"),
    _Idea(
        ("negatives", "uniform"),
        "neg_prop n_negatives num_negatives neg_sampling train_neg_sample_args neg_sample_num max_sampled "
        "verify_negative_samples",
        "how negatives are drawn is not open here, leave it out",
        scale=False,
    ),
    _Idea(("loss",), "objective loss_type", "its loss is its own, leave it out"),
    _Idea(("num_threads",), "n_jobs num_workers workers threads", "threads are torch's, torch.set_num_threads(4)"),
    _Idea(("device",), "use_gpu gpu gpu_id cuda use_cuda", "it is fitted on the CPU, leave it out"),
    _Idea(("alpha",), "confidence sample_weight weights", "pairs get weights in fit(..., weights=...)", scale=False),
    _Idea((), "show_progress verbose use_tqdm progress_bar", "it belongs to fit(..., show_progress=True)"),
    _Idea((), "callback callbacks", "it belongs to fit(..., callback=...)"),
    _Idea((), "valid validation_data eval_set", "held-out pairs belong to fit(train, valid)"),
    _Idea((), "dtype", "vectors are float32, leave it out"),
    _Idea((), "use_cg use_native cg_steps calculate_training_loss", "it belongs to a solver of implicit, leave it out"),
    _Idea((), "optimizer optimiser learner learning_schedule rho epsilon", "its optimiser is its own, leave it out"),
)
_BY_NAME = {name: idea for idea in _IDEAS for name in (*idea.here, *idea.elsewhere.split())}

_ON = "partial_fit partial_fit_users partial_fit_items fit_partial"
_VERBS = {
    "recalculate_user": "here it is recommend(range(n), rows, recalculate_user=True), which gives lists",
    "recalculate_item": "here it is similar_items(range(n), recalculate_item=True, item_users=rows)",
    "recommend_all": "here it is recommend(range(model.n_users)), or recommend_frame()",
    "rank_items": "here it is recommend(user, rows, items=items, filter_already_liked_items=False)",
    "predict predict_rank full_sort_predict transform": (
        "lists are recommend's, and all scores of some users scorer().score_block(users)"
    ),
    "score test": "here it is buir.evaluate(model, train, test)",
    "user_embeddings get_user_representations": "here it is user_factors",
    "item_embeddings get_item_representations": "here it is item_factors",
    "user_norms item_norms": "the vectors are user_factors and item_factors",
    "to_gpu to_cpu": "where a model trains is its parameter device, if it has one",
    "explain": "BUIR alone explains a score",
    "save load": "BUIR alone has a file of its own, this model can be pickled",
}
_INSTEAD = {name: said for names, said in _VERBS.items() for name in names.split()}


def instead_of(model: type[Recommender], verb: str) -> str:
    """Say what a model has in place of another library's verb or attribute, after a colon; nothing if it is none."""
    if verb in _ON.split():
        goes_on = hasattr(model, "partial_fit")
        said = "partial_fit(new_pairs), for users and items alike" if goes_on else "fit with old and new pairs"
        return f": here it is {said}"
    return f": {_INSTEAD[verb]}" if verb in _INSTEAD else ""


def answer(model: type[Recommender], name: str, value: Any = None) -> str:
    """Say what a model has in place of a hyper-parameter that it does not have.

    Returns
    -------
    Such as "here it is embedding_dim=64", why there is none, "did you mean 'epochs'?", or all of the model's names.
    """
    known = list(inspect.signature(model).parameters)
    idea = _BY_NAME.get(name.lower())
    if said := model._instead_of(idea.here[0] if idea and idea.here else name, value):
        return said
    if idea is None:
        return near(name, known).removeprefix("; ") or f"valid names: {', '.join(known)}"
    here = next((one for one in idea.here if one in known), None)
    if here is None:
        weights = "alpha" in idea.here and not model.takes_weights
        return "it takes no weights of pairs, leave it out" if weights else idea.none
    if not idea.scale:
        return f"here it is {here}, on a scale of its own, by default {default_of(model, here)!r}"
    if here == "device" and isinstance(value, bool | int):
        value = f"cuda:{value}" if type(value) is int else "cuda" if value else "cpu"
    kept = takes(get_type_hints(model, include_extras=True)[here], value)
    return f"here it is {here}={value!r}" if kept else f"here it is {here}, by default {default_of(model, here)!r}"


def unknown_parameters(model: type[Recommender], parameters: Mapping[str, Any]) -> UnknownParameterError | None:
    """Make the error of the names that a model does not have, with the answer to each; None where it has them all."""
    known = inspect.signature(model).parameters
    unknown = [name for name in parameters if name not in known]
    if not unknown:
        return None
    said = "; no ".join(f"{name!r}: {answer(model, name, parameters[name])}" for name in unknown)
    return UnknownParameterError(f"{model.__name__} has no parameter {said}", argument=unknown[0])


def check_callback(callback: Callable[..., Any] | None) -> None:
    """Refuse a callback that cannot be called with one record, before anything is trained.

    Raises
    ------
    buir.errors.InputError
        If it takes other arguments: implicit's callbacks get the epoch, the seconds and more, each by its place.
    TypeError
        If it cannot be called at all.
    """
    if callback is None:
        return
    expected = "expected a function of one dict, such as lambda record: print(record['epoch'], record['seconds'])"
    if not callable(callback):
        error: Exception = TypeError(f"callback is {callback!r}; {expected}")
    else:
        try:
            signature = inspect.signature(callback)
            signature.bind({})
            return
        except ValueError:  # of some functions in C nothing is known
            return
        except TypeError:
            error = InputError(f"callback takes {inspect.signature(callback)}; {expected}", argument="callback")
    error.argument = "callback"  # pyright: ignore[reportAttributeAccessIssue]
    raise error


_ALIKE = (
    "user_items new_interactions x interactions train train_data train_set data dataset matrix ratings csr ui",
    "valid valid_data valid_set validation validation_data eval_set eval_data val val_data test_interactions",
    "weights sample_weight sample_weights weight confidence confidences",
    "show_progress verbose progress progress_bar use_tqdm progressbar",
    "callback callbacks callback_fn on_epoch_end",
    "epochs n_epochs num_epochs iterations n_iter",
    "n k top_k topk top_n num_items num_recommendations n_recs n_rec how_many limit",
    "filter_already_liked_items exclude_seen filter_seen remove_seen filter_viewed exclude_known filter_already_liked "
    "filter_previous_interactions",
    "filter_items filter_users deny blacklist exclude_items exclude",
    "items allow whitelist candidates candidate_items items_to_recommend include_items",
    "userid users user user_id user_ids userids uid uids",
    "itemid items item item_id item_ids itemids iid iids",
)
"""What libraries call one argument, in small letters; a method here has one of a row, or none."""
_NONE = {
    "y targets": "all pairs that are given are positives, leave it out",
    "user_features item_features features user_meta item_meta": "nothing is learned from features, leave it out",
    "saved save_path": "model.save(path) writes the model",
    "num_threads n_jobs num_workers": "threads are torch's, torch.set_num_threads(4)",
}
_WITHOUT = {name: said for names, said in _NONE.items() for name in names.split()}


def answering(method: Callable[Taken, Given]) -> Callable[Taken, Given]:
    """Make a method of a model answer the arguments that it does not have in one sentence, with its own for them.

    Raises
    ------
    buir.errors.UnknownParameterError
        From the method: a TypeError too, as Python's own would be.
    """
    names = [one.name for one in inspect.signature(method).parameters.values()][1:]
    placed = [one.name for one in inspect.signature(method).parameters.values() if one.kind is not one.KEYWORD_ONLY][1:]

    @functools.wraps(method)
    def call(*args: Taken.args, **kwargs: Taken.kwargs) -> Given:
        unknown = [name for name in kwargs if name not in names]
        if unknown or len(args) > 1 + len(placed):
            model = type(args[0])
            verb = f"{model.__name__}.{method.__name__}"
            if not unknown:
                came = f"{verb} got {len(args) - 1} arguments by their places, expected at most {len(placed)}"
                msg = f"{came} ({', '.join(placed)}): give the others by their names"
                raise UnknownParameterError(msg)
            said = "; no ".join(f"{name!r}: {_instead(model, names, name, kwargs[name])}" for name in unknown)
            msg = f"{verb} has no argument {said}"
            raise UnknownParameterError(msg, argument=unknown[0])
        return method(*args, **kwargs)

    return call


def _instead(model: Any, names: Sequence[str], name: str, value: object) -> str:
    """Say which argument of a method, or parameter of its model, is meant by another name."""
    said = f"={value!r}" if isinstance(value, bool | int | float | str) else ""
    for row in _ALIKE:
        alike = row.split()
        here = next((own for own in names if own.lower() in alike), None)
        if name.lower() in alike and here is not None:
            return f"here it is {here}{said if here not in ('weights', 'show_progress') else ''}"
    if name.lower() in _WITHOUT:
        return _WITHOUT[name.lower()]
    if name in inspect.signature(model).parameters:
        return f"it belongs to the constructor, {model.__name__}({name}{said or '=...'})"
    other = answer(model, name, value)
    if other.startswith("here it is"):
        return f"{other}, in the constructor"
    if other.startswith(("valid names", "did you mean")):
        own = near(name, names).removeprefix("; ") or f"it takes {', '.join(names)}"
        return f"{other[:-1]}, of the constructor?" if other.startswith("did") and own.startswith("it") else own
    return other
