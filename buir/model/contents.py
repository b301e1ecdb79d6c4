"""The arrays of a model's file, each checked as it is taken: a file that holds together is a model, any other an error.

A checksum finds accidents, not intent: whoever writes a file can write its checksum too. What is taken from here has
the type, the shape and the numbers that the code behind it relies on, compiled code above all.
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array

__all__ = ["Contents"]

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
