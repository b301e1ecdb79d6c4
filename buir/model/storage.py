"""One file for one model, or one unfinished fit: safetensors with JSON in its metadata, and no pickle."""

import hashlib
import io
import json
import math
import os
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import safetensors.numpy

from buir.data import replace_atomically
from buir.errors import StorageError

FORMAT_VERSION = 1
_LONGEST_HEADER = 100_000_000
"""Bytes, as safetensors itself has it."""
_TYPES = {"F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8", "U8": "u1", "BOOL": "?"}
"""Of arrays, as a header names them, those that models have."""
_TEXT = (
    "cannot {} a model: the file object holds text; expected a path or a binary file object: open it with mode '{}', "
    "or use io.BytesIO"
)


class Form(NamedTuple):
    """What a file is, in its header and in words."""

    magic: str
    noun: str
    writer: str
    again: str
    """How to get another one where this one is damaged."""


MODEL = Form("buir", "model", "save()", "save it again")
CHECKPOINT = Form("buir checkpoint", "checkpoint", "fit(checkpoint=...)", "delete it and begin anew")


def write_file(
    target: str | os.PathLike[str] | BinaryIO,
    arrays: Mapping[str, np.ndarray],
    facts: Mapping[str, Any],
    form: Form = MODEL,
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
    form
        What the file is.

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
    head = {"format": form.magic, "format_version": str(FORMAT_VERSION), "facts": text}
    head["checksum"] = _checksum(whole, text)
    data = safetensors.numpy.save(whole, head)
    if path is not None:
        _replace(path, data, form)
        return
    try:
        file_object.write(data)
    except TypeError as error:
        raise TypeError(_TEXT.format("write", "wb")) from error


def read_file(
    source: str | os.PathLike[str] | BinaryIO, form: Form = MODEL
) -> tuple[str, dict[str, np.ndarray], dict[str, Any]]:
    """Read what ``write_file`` wrote, in little more memory than the arrays take.

    Returns
    -------
    What to call the file, its arrays and its facts. The facts and the numbers in the arrays are as they were written
    by whoever wrote the file: a checksum finds accidents, not intent.

    Raises
    ------
    StorageError
        If the file is missing, truncated, changed, of a newer format or something else altogether.
    TypeError
        If the source is neither a path nor a binary file object.
    """
    name, stream = _opened(source, form)
    with stream:
        header, metadata = _header(stream, name, form)
        version, facts = str(metadata.get("format_version")), _facts(metadata)
        if version != str(FORMAT_VERSION):
            versions = facts.get("versions") if facts else None
            writer = versions.get("buir") if isinstance(versions, dict) else None
            by = f"written by {f'buir {writer}'[:60] if writer else 'another version of buir'}"
            msg = f"{name} has format {version[:60]!r}, {by}; this version reads format {FORMAT_VERSION}: upgrade buir"
            raise StorageError(msg)
        if facts is None:
            remedy = f"expected the facts that {form.writer} writes"
            msg = f"{name} tells nothing about its {form.noun} that can be read; {remedy}"
            raise StorageError(msg)
        try:
            arrays = _arrays(stream, header)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            remedy = f"expected a whole {form.noun} file: copy it again, or {form.again}"
            msg = f"{name} is truncated or damaged ({error}); {remedy}"
            raise StorageError(msg) from None
    if _checksum(arrays, metadata["facts"]) != metadata.get("checksum"):
        msg = f"{name} was changed after it was saved: it has another checksum; get the original, or {form.again}"
        raise StorageError(msg)
    return name, arrays, facts


def pack_ids(name: str, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Turn labels into numeric arrays: int64 as they are, strings as UTF-8 bytes with their bounds."""
    if ids.dtype.kind in "iu":
        return {name: ids.astype(np.int64)}
    encoded = [str(label).encode() for label in ids]
    bounds = np.concatenate([[0], np.cumsum([len(text) for text in encoded])]).astype(np.int64)
    return {f"{name}.utf8": np.frombuffer(b"".join(encoded), dtype=np.uint8), f"{name}.bounds": bounds}


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


def _replace(path: Path, data: bytes, form: Form) -> None:
    """Write a file all or nothing."""
    try:
        if path.exists() and not path.is_file():
            what = "a folder" if path.is_dir() else "a device or a pipe"
            msg = f"cannot save to {path}: it is {what}; expected the name of a file, such as {form.noun}.safetensors"
            raise StorageError(msg)
        if not path.parent.is_dir():
            msg = f"cannot save to {path}: the folder {path.parent} does not exist; create it first"
            raise StorageError(msg)
        replace_atomically(path, data)
    except OSError as error:
        remedy = "check the path, its permissions and the space on the disk"
        msg = f"cannot save to {path}: {error.strerror or error}; {remedy}"
        raise StorageError(msg) from error


def _opened(source: Any, form: Form) -> tuple[str, BinaryIO]:
    """Return what to call a file, and the file, open."""
    path = _path(source, "read")
    if path is None:
        data = source.read()
        if not isinstance(data, bytes):
            raise TypeError(_TEXT.format("read", "rb"))
        return str(getattr(source, "name", "the file object")), io.BytesIO(data)
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is no file"
            msg = f"{path} {what}; expected a {form.noun} that {form.writer} wrote"
            raise StorageError(msg)
        return str(path), path.open("rb")
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}; check the path and its permissions"
        raise StorageError(msg) from error


def _header(stream: BinaryIO, name: str, form: Form) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the header of a safetensors file, eight bytes of length, then JSON: the arrays, and the metadata."""
    length = int.from_bytes(stream.read(8), "little")
    try:
        header = json.loads(stream.read(length)) if length <= _LONGEST_HEADER else None
        metadata = header.pop("__metadata__", None) or {} if isinstance(header, dict) else None
    except (ValueError, RecursionError):
        header = metadata = None
    if header is None or metadata is None:
        remedy = f"expected a safetensors file that {form.writer} wrote"
        msg = f"{name} is no {form.noun} file, or its beginning is damaged; {remedy}"
        raise StorageError(msg)
    if not isinstance(metadata, dict) or metadata.get("format") != form.magic:
        msg = f"{name} is a safetensors file, but not a {form.noun} of buir; expected one that {form.writer} wrote"
        raise StorageError(msg)
    return header, metadata


def _arrays(stream: BinaryIO, header: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Read the arrays into memory of their own, once all declared sizes agree with each other and with the file."""
    start = stream.tell()
    size = stream.seek(0, os.SEEK_END) - start
    stream.seek(start)
    plans: list[tuple[int, str, np.dtype, tuple[int, ...]]] = []
    for name, about in header.items():
        kind, shape, (first, last) = _TYPES[about["dtype"]], tuple(about["shape"]), about["data_offsets"]
        if not all(type(number) is int and number >= 0 for number in (*shape, first, last)):
            msg = f"{name} has a shape or a place that is no whole number"
            raise ValueError(msg)
        dtype = np.dtype(kind)
        if last - first != math.prod(shape) * dtype.itemsize:
            msg = f"{name} has {last - first} bytes, which its shape {shape} does not need"
            raise ValueError(msg)
        plans.append((first, name, dtype, shape))
    plans.sort(key=lambda plan: (plan[0], math.prod(plan[3])))
    at = 0
    for first, name, dtype, shape in plans:
        if first != at:
            msg = f"{name} begins at byte {first}, expected {at}"
            raise ValueError(msg)
        at += math.prod(shape) * dtype.itemsize
    if at != size:
        msg = f"{size} bytes follow the header, which tells of {at}"
        raise ValueError(msg)
    arrays = {}
    for _, name, dtype, shape in plans:
        arrays[name] = array = np.empty(shape, dtype)
        # files and BytesIO read into memory that is there, which the type of binary streams does not tell
        if stream.readinto(array.reshape(-1).view(np.uint8)) != array.nbytes:  # type: ignore[attr-defined]
            msg = f"{name} ends too early"
            raise ValueError(msg)
    return arrays


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
