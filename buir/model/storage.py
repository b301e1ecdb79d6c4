"""One file for one model: safetensors with JSON in its metadata, and no pickle."""

import hashlib
import io
import json
import os
import reprlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import safetensors
import safetensors.numpy

from buir.data import replace_atomically
from buir.errors import StorageError

FORMAT_VERSION = 1
_MAGIC = "buir"
_TEXT = (
    "cannot {} a model: the file object holds text; expected a path or a binary file object: open it with mode '{}', "
    "or use io.BytesIO"
)


def write_file(
    target: str | os.PathLike[str] | BinaryIO, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]
) -> None:
    """Write named arrays and JSON facts as one file.

    A path is replaced at once when everything is on disk, so that a crash leaves the old file or the new one.

    Parameters
    ----------
    target
        A path, or a binary file object.
    arrays
        Any numeric arrays; kept with their dtypes.
    facts
        What JSON can hold.

    Raises
    ------
    StorageError
        If the folder of the path does not exist, or nothing can be written there.
    TypeError
        If the target is neither a path nor a binary file object.
    """
    path, file_object = _path(target, "write"), cast("BinaryIO", target)
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps(dict(facts), sort_keys=True)
    head = {"format": _MAGIC, "format_version": str(FORMAT_VERSION), "facts": text, "checksum": _checksum(whole, text)}
    data = safetensors.numpy.save(whole, head)
    if path is not None:
        _replace(path, data)
        return
    try:
        file_object.write(data)
    except TypeError as error:
        raise TypeError(_TEXT.format("write", "wb")) from error


def read_file(source: str | os.PathLike[str] | BinaryIO) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what ``write_file`` wrote.

    Raises
    ------
    StorageError
        If the file is missing, truncated, changed, of a newer format or something else altogether.
    TypeError
        If the source is neither a path nor a binary file object.
    """
    name, data = _content(source)
    metadata = _metadata(data, name)
    version, facts = str(metadata.get("format_version")), _facts(metadata)
    if version != str(FORMAT_VERSION):
        versions = facts.get("versions") if facts else None
        writer = versions.get("buir") if isinstance(versions, dict) else None
        by = f"written by {f'buir {writer}' if writer else 'another version of buir'}"
        msg = f"{name} has format {version[:60]!r}, {by}; this version reads format {FORMAT_VERSION}: upgrade buir"
        raise StorageError(msg)
    if facts is None:
        msg = f"{name} tells nothing about its model that can be read; expected the facts that save() writes"
        raise StorageError(msg)
    try:
        arrays = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, ValueError) as error:
        msg = f"{name} is truncated or damaged ({error}); expected a whole model file: copy or save it again"
        raise StorageError(msg) from None
    if _checksum(arrays, metadata["facts"]) != metadata.get("checksum"):
        msg = f"{name} was changed after it was saved: it has another checksum; get the original, or save it again"
        raise StorageError(msg)
    return arrays, facts


def pack_ids(name: str, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Turn labels into numeric arrays: int64 as they are, strings as UTF-8 bytes with their bounds."""
    if ids.dtype.kind in "iu":
        return {name: ids.astype(np.int64)}
    encoded = [str(label).encode() for label in ids]
    bounds = np.concatenate([[0], np.cumsum([len(text) for text in encoded])]).astype(np.int64)
    return {f"{name}.utf8": np.frombuffer(b"".join(encoded), dtype=np.uint8), f"{name}.bounds": bounds}


def unpack_ids(name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Turn the arrays of ``pack_ids`` back into labels."""
    if name in arrays:
        return arrays[name]
    text, bounds = arrays[f"{name}.utf8"].tobytes(), arrays[f"{name}.bounds"]
    return np.array([text[a:b].decode() for a, b in pairwise(bounds)], dtype=object)


def _path(place: Any, verb: str) -> Path | None:
    """Return a path as one, None for a binary file object; all else is a TypeError."""
    if isinstance(place, str | os.PathLike):
        return Path(place)
    if isinstance(place, io.TextIOBase):
        raise TypeError(_TEXT.format(verb, f"{verb[0]}b"))
    if not callable(getattr(place, verb, None)):
        got = f"got {reprlib.repr(place)} of type {type(place).__name__}"
        msg = f"cannot {verb} a model: {got}; expected a path, as text or pathlib.Path, or a binary file object"
        raise TypeError(msg)
    return None


def _replace(path: Path, data: bytes) -> None:
    """Write a file all or nothing."""
    try:
        if path.exists() and not path.is_file():
            what = "a folder" if path.is_dir() else "a device or a pipe"
            msg = f"cannot save to {path}: it is {what}; expected the name of a file, such as model.safetensors"
            raise StorageError(msg)
        if not path.parent.is_dir():
            msg = f"cannot save to {path}: the folder {path.parent} does not exist; create it first"
            raise StorageError(msg)
        replace_atomically(path, data)
    except OSError as error:
        remedy = "check the path, its permissions and the space on the disk"
        msg = f"cannot save to {path}: {error.strerror or error}; {remedy}"
        raise StorageError(msg) from error


def _content(source: Any) -> tuple[str, bytes]:
    """Return what to call a file, and its bytes."""
    path = _path(source, "read")
    if path is None:
        data = source.read()
        if not isinstance(data, bytes):
            raise TypeError(_TEXT.format("read", "rb"))
        return str(getattr(source, "name", "the file object")), data
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is no file"
            msg = f"{path} {what}; expected a model that save() wrote"
            raise StorageError(msg)
        return str(path), path.read_bytes()
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}; check the path and its permissions"
        raise StorageError(msg) from error


def _metadata(data: bytes, name: str) -> dict[str, str]:
    """Read the header of a safetensors file: eight bytes of length, then JSON."""
    size = int.from_bytes(data[:8], "little")
    try:
        metadata = json.loads(data[8 : 8 + size]).get("__metadata__") or {}
    except (ValueError, AttributeError, RecursionError):
        msg = f"{name} is no model file, or its beginning is damaged; expected a safetensors file that save() wrote"
        raise StorageError(msg) from None
    if not isinstance(metadata, dict) or metadata.get("format") != _MAGIC:
        msg = f"{name} is a safetensors file, but not a model of buir; expected one that save() wrote"
        raise StorageError(msg)
    return metadata


def _facts(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the facts of a header; None where there are none that can be read."""
    try:
        facts = json.loads(metadata["facts"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else None


def _checksum(arrays: Mapping[str, np.ndarray], text: str) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
