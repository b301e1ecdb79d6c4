"""The arrays of a model's file, each checked as it is taken: a file that holds together is a model, any other an error.

A checksum finds accidents, not intent: whoever writes a file can write its checksum too. What is taken from here has
the type, the shape and the numbers that the code behind it relies on, compiled code above all.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array

from buir.learning import TrainingState

__all__ = ["Contents", "number", "training_state"]

_KINDS = {"f": (np.float32,), "i": (np.int32, np.int64), "u": (np.uint8,)}


class Contents:
    """Named arrays, none of which is believed.

    Every method raises a ValueError that says which array holds what, and what was expected.

    Parameters
    ----------
    arrays
        By name, as they were read; writable.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def take(self, name: str, *shape: int | None, kind: str = "f") -> np.ndarray:
        """Return an array of finite numbers.

        Parameters
        ----------
        name
            A KeyError if there is no such array.
        shape
            Expected size of each dimension, None where any will do.
        kind
            "f" for float32, "i" for int32 or int64, "u" for bytes.
        """
        array = self.arrays[name]
        if array.dtype not in _KINDS[kind]:
            msg = f"{name} holds {array.dtype}, expected {' or '.join(t.__name__ for t in _KINDS[kind])}"
            raise ValueError(msg)
        fits = array.ndim == len(shape) and all(n in (None, size) for n, size in zip(shape, array.shape, strict=True))
        if not fits:
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            msg = f"{name} has the shape {array.shape}, expected ({wanted})"
            raise ValueError(msg)
        if kind == "f" and not np.isfinite(array).all():
            msg = f"{name} holds NaN or infinity, expected finite numbers"
            raise ValueError(msg)
        return array

    def pattern(self, name: str, shape: tuple[int, int], data: np.ndarray | None = None) -> csr_array:
        """Return a canonical sparse matrix from its ``.indptr`` and ``.indices``; its values are 1 by default."""
        indptr = self.take(f"{name}.indptr", shape[0] + 1, kind="i")
        indices = self.take(f"{name}.indices", None, kind="i")
        if indptr[0] != 0 or indptr[-1] != len(indices) or np.any(indptr[1:] < indptr[:-1]):
            msg = f"{name}.indptr does not rise from 0 to {len(indices)}, the number of {name}.indices"
            raise ValueError(msg)
        if len(indices) and not 0 <= indices.min() <= indices.max() < shape[1]:
            msg = f"{name}.indices go from {indices.min()} to {indices.max()}, expected 0 to {shape[1] - 1}"
            raise ValueError(msg)
        ascending = indices[1:] > indices[:-1]
        starts = indptr[1:-1]
        ascending[starts[(starts > 0) & (starts < len(indices))] - 1] = True  # a row may begin anywhere
        if not ascending.all():
            msg = f"{name}.indices of a row do not ascend, or repeat"
            raise ValueError(msg)
        values = np.ones(len(indices), dtype=np.float32) if data is None else data
        if len(values) != len(indices):
            msg = f"{name}.data has {len(values)} values, expected one for each of {len(indices)} indices"
            raise ValueError(msg)
        return csr_array((values, indices, indptr), shape=shape)

    def matrix(self, name: str, shape: tuple[int, int]) -> csr_array:
        """Return a sparse matrix with values, from its ``.data``, ``.indptr`` and ``.indices``."""
        return self.pattern(name, shape, self.take(f"{name}.data", None))

    def ids(self, name: str) -> np.ndarray:
        """Return labels: int64, or text from UTF-8 bytes and their bounds; all different."""
        if name in self:
            labels = self.take(name, None, kind="i").astype(np.int64)
        else:
            text = self.take(f"{name}.utf8", None, kind="u").tobytes()
            bounds = self.take(f"{name}.bounds", None, kind="i")
            if not len(bounds) or bounds[0] != 0 or bounds[-1] != len(text) or np.any(bounds[1:] < bounds[:-1]):
                msg = f"{name}.bounds do not rise from 0 to {len(text)}, the number of bytes of their text"
                raise ValueError(msg)
            labels = np.array([text[a:b].decode() for a, b in pairwise(bounds.tolist())], dtype=object)
        if len(set(labels.tolist())) != len(labels):
            msg = f"{name} hold a label twice, expected distinct ones"
            raise ValueError(msg)
        return labels


def training_state(
    held: Contents, epoch: int, width: int, n_nodes: int, *, predictor: bool, waiting: bool = False
) -> TrainingState:
    """Return the state of a training, all of it, from the arrays whose names begin with "state.".

    Parameters
    ----------
    held, epoch
        The arrays, and the epochs done.
    width, n_nodes
        Shape of the table.
    predictor
        Whether it learned.
    waiting
        Whether rows of the target may wait for their online rows, as they do between validations.
    """
    shapes: dict[str, tuple[int, ...]] = {"table": (n_nodes, width)}
    if predictor:
        shapes |= {"predictor_weight": (width, width), "predictor_bias": (width,)}
    tensors = {"target": torch.from_numpy(held.take("state.target", n_nodes, width))}
    for part, shape in shapes.items():
        for kind in ("mean", "square"):
            tensors[f"{kind}/{part}"] = torch.from_numpy(held.take(f"state.{kind}/{part}", *shape))
        # numbers of steps are single ones, of either type and with or without a dimension
        steps = held.arrays[f"state.steps/{part}"]
        if steps.size != 1 or not 0 <= steps.item() < math.inf:
            msg = f"state.steps/{part} holds {str(steps.tolist())[:60]}, expected one number from 0"
            raise ValueError(msg)
        tensors[f"steps/{part}"] = torch.from_numpy(steps.reshape(()).copy())
    if waiting and "state.age" in held:
        tensors["age"] = torch.from_numpy(held.take("state.age", n_nodes, kind="i"))
    for name in held.arrays:
        if name.startswith("state.") and name.removeprefix("state.") not in tensors:
            msg = f"{name} is nothing that a training has"
            raise ValueError(msg)
    return TrainingState(epoch, tensors)


def number(facts: Mapping[str, Any], name: str, kind: type, least: float) -> Any:
    """Return a number of the facts."""
    value = facts[name]
    known = isinstance(value, int | kind) and not isinstance(value, bool)
    wide = known and isinstance(value, int) and abs(value) >= 1 << 63  # such a one reaches no compiled code
    if not known or wide or not math.isfinite(value) or value < least:
        msg = f"{name} is {value!r}"[:100] + f", expected a number{'' if least == -math.inf else f' from {least}'}"
        raise ValueError(msg)
    return value
