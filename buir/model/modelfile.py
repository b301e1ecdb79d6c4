"""What of a BUIR model goes into its file, and back."""

import math
import os
import platform
from importlib.metadata import version
from typing import Any, BinaryIO

import numpy as np
import torch
from scipy.sparse import csr_array

from buir.errors import StorageError
from buir.learning import TrainingState, Weights
from buir.model.fitting import Chosen
from buir.model.folding import Folding
from buir.model.storage import pack_ids, read_file, unpack_ids, write_file
from buir.recommend import ScoreTerms

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
        term_arrays, facts["terms"] = model.terms_.pack()
        arrays |= term_arrays
        arrays |= {f"weights.{name}": part.numpy() for name, part in vars(model.weights_).items()}
        arrays |= {"user_factors": model.user_factors, "item_factors": model.item_factors}
        arrays |= pack_ids("user_ids", model.user_ids_) | pack_ids("item_ids", model.item_ids_)
        for side, folding in zip(_SIDES, model.folding_, strict=True):
            arrays |= {f"folding.{side}.sums": folding.sums.numpy(), f"folding.{side}.own": folding.own.numpy()}
        if training_matrix and model.seen_ is not None:
            arrays |= {"seen.indptr": model.seen_.indptr, "seen.indices": model.seen_.indices}
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
    arrays, facts = read_file(source)
    kind = facts.get("class")
    if isinstance(kind, str) and kind != cls.__name__:
        msg = f"the file holds a {kind}; expected a {cls.__name__}: load it with {kind}.load"
        raise StorageError(msg)
    try:
        return _restored(cls, arrays, facts)
    except StorageError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        # The checksum says that the file is as it was written, not that save() wrote it.
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        msg = (
            f"the file is no whole {cls.__name__} ({what}); "
            "expected the settings and arrays that save() writes: save the model again"
        )
        raise StorageError(msg) from error


def _restored(cls: Any, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> Any:
    """Build a model from what its file holds."""
    if facts["class"] != cls.__name__:
        msg = f"its class is {facts['class']!r}"
        raise TypeError(msg)
    model = cls(**_known_parameters(**facts["parameters"]))
    if not facts["fitted"]:
        return model
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items() if "." in name}
    model.weights_ = Weights(*(tensors[f"weights.{name}"] for name in Weights.__annotations__))
    model.user_factors, model.item_factors = arrays["user_factors"], arrays["item_factors"]
    model.user_ids_, model.item_ids_ = unpack_ids("user_ids", arrays), unpack_ids("item_ids", arrays)
    model.folding_ = tuple(
        Folding(tensors[f"folding.{side}.sums"], tensors[f"folding.{side}.own"], facts["layers"]) for side in _SIDES
    )
    model.seen_ = None
    if "seen.indptr" in arrays:
        indices, indptr = arrays["seen.indices"], arrays["seen.indptr"]
        ones = np.ones(len(indices), dtype=np.float32)
        model.seen_ = csr_array((ones, indices, indptr), shape=(len(model.user_ids_), len(model.item_ids_)))
    state = {name.removeprefix("state."): tensor for name, tensor in tensors.items() if name.startswith("state.")}
    model.state_ = TrainingState(facts["epoch"], state) if state else None
    model.history = facts["history"]
    if "terms" in facts:
        model.terms_ = ScoreTerms.unpack(arrays, facts["terms"], len(model.item_ids_))
        model.chosen_ = Chosen(**facts["chosen"])
    else:  # a file from before the terms, whose only one was popularity
        weight, width = facts.get("popularity", 0.0), model.weights_.table.shape[1]
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
    return model


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
