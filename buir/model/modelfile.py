"""What of a BUIR model goes into its file, and back."""

import math
import os
import platform
from importlib.metadata import version
from typing import Any, BinaryIO

import numpy as np
import torch
from scipy.sparse import csr_array

from buir.errors import StorageError, one_line
from buir.learning import Weights
from buir.model.contents import Contents, number, training_state
from buir.model.fitting import Chosen
from buir.model.folding import Folding
from buir.model.storage import pack_ids, read_file, write_file
from buir.recommend import BLOCKS, FILTERS, TERMS, ScoreTerms, check_parameters

__all__ = ["load_model", "save_model"]

_LIBRARIES = ("buir", "torch", "numpy", "scipy", "safetensors")
_SIDES = ("users", "items")
_REMOVED = {"output_target": False}
"""Parameters that models once had, and their defaults: another value is what this version cannot do."""


def save_model(
    model: Any, target: str | os.PathLike[str] | BinaryIO, *, training_matrix: bool, optimiser: bool
) -> None:
    """Write a model, fitted or not; see ``BUIR.save``."""
    facts: dict[str, Any] = {
        "class": type(model).__name__,
        "parameters": model.get_params(),
        "versions": {name: version(name) for name in _LIBRARIES} | {"python": platform.python_version()},
        "fitted": hasattr(model, "weights_"),
    }
    arrays: dict[str, np.ndarray] = {}
    if facts["fitted"]:
        facts |= {
            "history": _plain(model.history),
            "layers": model.folding_[0].n_layers,
            "chosen": vars(model.chosen_),
        }
        facts |= {} if model.weight_unit_ is None else {"weight_unit": model.weight_unit_}
        term_arrays, facts["terms"] = model.terms_.pack()
        arrays |= term_arrays
        arrays |= {f"weights.{name}": part.numpy() for name, part in vars(model.weights_).items()}
        arrays |= {"user_factors": model.user_factors, "item_factors": model.item_factors}
        arrays |= pack_ids("user_ids", model.user_ids_) | pack_ids("item_ids", model.item_ids_)
        for side, folding in zip(_SIDES, model.folding_, strict=True):
            arrays |= {f"folding.{side}.sums": folding.sums.numpy(), f"folding.{side}.own": folding.own.numpy()}
        if training_matrix and model.seen_ is not None:
            arrays |= {"seen.indptr": model.seen_.indptr, "seen.indices": model.seen_.indices}
            arrays |= {} if model.weight_unit_ is None else {"seen.data": model.seen_.data}
        if optimiser:
            if model.state_ is None:
                msg = (
                    "optimiser=True, but the state of the optimiser is gone: early stopping went back to earlier "
                    "weights; save with optimiser=False"
                )
                raise StorageError(msg)
            facts["epoch"] = model.state_.epoch
            arrays |= {f"state.{name}": part.numpy() for name, part in model.state_.tensors.items()}
    write_file(target, arrays, facts)


def load_model(cls: Any, source: str | os.PathLike[str] | BinaryIO) -> Any:
    """Read a model that ``save_model`` wrote; see ``BUIR.load``."""
    name, arrays, facts = read_file(source)
    kind = facts.get("class")
    if isinstance(kind, str) and kind != cls.__name__:
        msg = f"{name} holds a {kind[:60]}; expected a {cls.__name__}: load it with {kind[:60]}.load"
        raise StorageError(msg)
    try:
        return _restored(cls, Contents(arrays), facts)
    except StorageError:
        raise
    except (
        *(KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError, OverflowError, RecursionError),
    ) as error:
        # The checksum says that the file is as it was written, not that save() wrote it.
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else one_line(error)[:300]
        msg = (
            f"{name} is no whole {cls.__name__} ({what}); "
            "expected the settings and arrays that save() writes: save the model again"
        )
        raise StorageError(msg) from error


def _restored(cls: Any, held: Contents, facts: dict[str, Any]) -> Any:
    """Build a model from what its file holds, all of it checked: every array by its type, shape and numbers."""
    if facts["class"] != cls.__name__:
        msg = f"its class is {facts['class']!r}"
        raise TypeError(msg)
    model = cls(**_known_parameters(**facts["parameters"]))
    check_parameters(cls, model.get_params())
    if not facts["fitted"]:
        return model
    model.user_ids_, model.item_ids_ = held.ids("user_ids"), held.ids("item_ids")
    n_users, n_items = shape = len(model.user_ids_), len(model.item_ids_)
    width = held.take("weights.predictor_bias", None).shape[0]
    weights = (
        held.take("weights.table", n_users + n_items, width),
        held.take("weights.predictor_weight", width, width),
    )
    model.weights_ = Weights(*map(torch.from_numpy, (*weights, held.arrays["weights.predictor_bias"])))
    layers = number(facts, "layers", int, 0)
    model.folding_ = tuple(
        Folding(
            torch.from_numpy(held.take(f"folding.{side}.sums", n_neighbours, width)),
            torch.from_numpy(held.take(f"folding.{side}.own", width, width)),
            layers,
        )
        for side, n_neighbours in zip(_SIDES, (n_items, n_users), strict=True)
    )
    model.weight_unit_ = number(facts, "weight_unit", float, math.ulp(0)) if "weight_unit" in facts else None
    model.seen_ = _seen(held, shape, weights=model.weight_unit_ is not None) if "seen.indptr" in held else None
    saved = any(name.startswith("state.") for name in held.arrays)
    epoch = number(facts, "epoch", int, 0) if saved else 0
    learned = "state.mean/predictor_weight" in held  # by the state's own fit, whatever the parameter was set to since
    model.state_ = training_state(held, epoch, width, sum(shape), predictor=learned) if saved else None
    model.history = facts["history"]
    if not model.history or not all(isinstance(record, dict) for record in model.history):
        msg = "its history is no list of records"
        raise TypeError(msg)
    number(model.history[-1], "epoch", int, 0)
    if "terms" in facts:
        model.terms_ = _terms(held, facts["terms"], n_items, width)
        model.chosen_ = Chosen(**facts["chosen"])
        str(model.chosen_)  # what it cannot say, it does not hold
    else:  # a file from before the terms, whose only one was popularity
        weight = number(facts, "popularity", float, 0) if "popularity" in facts else 0.0
        strengths = {"popularity": weight} if weight else {}
        model.terms_ = ScoreTerms(strengths, n_further=len(strengths))
        best = [record["epoch"] for record in model.history if record.get("best")]
        epochs = best[-1] if best else model.history[-1]["epoch"]
        model.chosen_ = Chosen(
            uniformity=facts["parameters"].get("uniformity", 0.0),
            epochs=epochs,
            strengths=strengths,
            embedding_dim=width,
        )
    wide = width + model.terms_.n_further
    model.user_factors, model.item_factors = (
        held.take(f"{side}_factors", n, wide) for side, n in (("user", n_users), ("item", n_items))
    )
    return model


def _seen(held: Contents, shape: tuple[int, int], *, weights: bool) -> csr_array:
    """Return the training matrix, whose pairs have weights above 0 where the model has any."""
    if weights != ("seen.data" in held):
        msg = "its training pairs have weights without their unit, or a unit without weights"
        raise ValueError(msg)
    if not weights:
        return held.pattern("seen", shape)
    if (held.take("seen.data", None) <= 0).any():
        msg = "seen.data holds weights of 0 or below, expected each above 0"
        raise ValueError(msg)
    return held.matrix("seen", shape)


def _terms(held: Contents, told: dict[str, Any], n_items: int, width: int) -> ScoreTerms:
    """Return the terms of the score, whose arrays fit their strengths."""
    strengths = told["strengths"]
    for name in strengths:
        if name not in TERMS:
            msg = f"{name[:60]!r} is no term of a score"
            raise ValueError(msg)
        number(strengths, name, float, -math.inf)
    blocks = sum(name in strengths for name in BLOCKS)
    widths = [held.take(f"terms.lift{place}", n_items, None).shape[1] for place in range(blocks)]
    whole = ("popularity" in strengths) + sum(widths)
    lifts = sum(name.startswith("terms.lift") for name in held.arrays)
    if (lifts, told["n_further"]) != (blocks, whole):
        came = f"{lifts} blocks and {told['n_further']!r} further coordinates"
        msg = f"its terms have {came}, expected {blocks} and {whole}"
        raise ValueError(msg)
    filters = sum(name in strengths for name in FILTERS)
    if ("dial" in strengths) != ("terms.dial" in held) or filters != ("terms.filter.data" in held):
        msg = "the arrays of its terms are not those that have a strength"
        raise ValueError(msg)
    if "dial" in strengths:
        held.take("terms.dial", width, width)
    if filters:
        held.matrix("terms.filter", (n_items, n_items))
    number(told, "padding", float, 0)
    return ScoreTerms.unpack(held.arrays, told, n_items)


def _known_parameters(**saved: Any) -> dict[str, Any]:
    """Leave out the removed parameters of a saved model."""
    for name, default in _REMOVED.items():
        if saved.get(name, default) != default:
            msg = (
                f"the model was trained with {name}={saved[name]!r}, which this version of buir does not have; "
                f"expected {name}={default!r}: train the model again, or load it with the version that saved it"
            )
            raise StorageError(msg)
    kept = {name: value for name, value in saved.items() if name not in (*_REMOVED, "popularity")}
    if "start" not in saved:  # a file from before the terms: how it was trained
        weight = saved.get("popularity", 0.0)
        terms = "auto" if weight == "auto" else {"popularity": weight} if weight else {}
        kept |= {"start": "random", "terms": terms, "inner_validation": False}
        kept.setdefault("uniformity", 0.0)
    kept.setdefault("predictor", "linear")  # a file from before the choice
    return kept


def _plain(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Make records that strict JSON can hold: NaN becomes null."""
    return [
        {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in record.items()
        }
        for record in history
    ]
