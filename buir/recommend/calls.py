"""Methods as other libraries call them: what to say of an argument that a method does not have."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from buir.errors import UnknownParameterError, near
from buir.recommend.parameters import answer

Taken = ParamSpec("Taken")
Given = TypeVar("Given")

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
