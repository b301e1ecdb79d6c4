"""The models a configuration can name: where each class lives and what it is called."""

import inspect
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any

import buir
from buir.errors import near

CLASSES = {
    "popularity": "baselines.Popularity",
    "als": "baselines.ALS",
    "bpr": "baselines.BPR",
    "lmf": "baselines.LMF",
    "item-knn": "baselines.ItemKNN",
    "item-filter": "baselines.CooccurrenceFilter",
    "low-rank-filter": "baselines.LowRankFilter",
    "ease": "baselines.EASE",
    "lightgcn": "baselines.LightGCN",
    "contrastive": "baselines.Contrastive",
    "buir": "BUIR",
}
"""Kind in a configuration -> the class as a name within ``buir``. Strings, so that naming a model imports nothing."""

_NAMES = {name: name for name in ("popularity", "item-filter", "low-rank-filter")} | {"item-knn": "item-KNN"}
"""Where a model is not called as its class is."""
_ENCODER_SUFFIX = {"id": "id", "graph": "nb", "walk": "walk"}


def default_name(kind: str, params: Mapping[str, Any], preset: str | None = None) -> str:
    """Give the display name of a model: BUIR is called after its encoder, as in the paper, where one is asked for."""
    name = _NAMES.get(kind) or CLASSES.get(kind, kind).rpartition(".")[2]
    if kind != "buir":
        return name
    suffix = _ENCODER_SUFFIX.get(str(params.get("encoder", "graph" if preset == "paper" else "")))
    return f"{name}-{suffix}" if suffix else name


def estimator_class(kind: str) -> Any:
    """Import the class of a kind: a `buir.recommend.recommender.Recommender` with a ``fit``."""
    return attrgetter(CLASSES[kind])(buir)


def takes_weights(kind: str) -> bool:
    """Tell whether a kind takes weights of training pairs."""
    return bool(getattr(estimator_class(kind), "takes_weights", False))


def build(kind: str, params: Mapping[str, Any], *, preset: str | None = None, seed: int = 0) -> Any:
    """Make an unfitted estimator from a configuration's parameters."""
    cls = estimator_class(kind)
    return (getattr(cls, preset) if preset else cls)(**params, seed=seed)


def check(kind: str, params: Mapping[str, Any], *, preset: str | None = None) -> list[tuple[str, str]]:
    """Find what is wrong with a model's parameters, without training anything.

    Returns
    -------
    Pairs (name of the parameter or "", what is wrong with it); empty if the estimator can be built.
    """
    from buir.recommend import answer, check_parameters

    cls = estimator_class(kind)
    if preset is not None and not hasattr(cls, preset):
        return [("preset", f"{kind} has no preset {preset!r}; leave it out")]
    valid = [name for name in inspect.signature(cls).parameters if name != "seed"]
    own_seed = "the seed of a model comes from the list 'seeds' of the benchmark; remove it here"
    unknown = [name for name in params if name not in valid]
    if unknown:
        wrong = f"unknown parameter of {kind}; "
        seeds = ("seed", "random_state", "random_seed")
        return [(name, own_seed if name in seeds else wrong + answer(cls, name, params[name])) for name in unknown]
    try:
        model = build(kind, params, preset=preset)
        # The baselines look at their parameters when they are made, BUIR when it is trained.
        check_parameters(cls, model.get_params())
        if "device" in valid:
            from buir.learning import training_device

            training_device(model.device)
    except (TypeError, ValueError) as error:
        return [("", str(error).splitlines()[0])]
    return []


def suggestion(name: str, valid: Iterable[str]) -> str:
    """Write ``; did you mean 'x'?``, or the valid names where none is near."""
    valid = list(valid)
    return near(name, valid) or f"; valid names: {', '.join(valid)}"
