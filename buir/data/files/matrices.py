"""Sparse matrices, users x items, as rows of pairs: Matrix Market's text and SciPy's archives."""

import io
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import io as scipy_io
from scipy import sparse

from buir.data.doctor import stored_entries
from buir.data.files.columns import Rows
from buir.data.files.text import Text, check_size
from buir.errors import ReadError, ShapeError, listed, one_line, shortened

_OF_A_MATRIX = {"format", "shape", "data"}
"""Arrays that every archive of a sparse matrix has."""
_DAMAGED = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, NotImplementedError, RuntimeError),
    *(OSError, EOFError, SyntaxError, MemoryError, zipfile.BadZipFile, zlib.error),
)
"""What NumPy, SciPy and zipfile make of archives in which bytes are wrong."""
_DIGITS = 18
"""Of a size: more are a mistake, and of thousands Python makes no number."""


def read_matrix_market(path: Path, text: Text) -> Rows:
    """Return the entries of a matrix; users and items have the numbers that the file writes, from 1."""
    try:
        _check_promise(path, text.content)
        # SciPy looks for the end of a line beyond the memory where the last one has none, and crashes the process
        content = text.content if text.content.endswith(b"\n") else text.content + b"\n"
        matrix = sparse.coo_array(scipy_io.mmread(io.BytesIO(content)))
        return _rows(path, matrix, "from 1", first=1)
    except ReadError:
        raise
    except _DAMAGED as error:
        what = f"is a damaged matrix of Matrix Market ({shortened(one_line(error))})"
        raise ReadError(path, f"{what}; write it again") from error


def _check_promise(path: Path, content: bytes) -> None:
    """Compare the entries that the line of sizes promises with the lines that there are, before memory is taken."""
    for line in io.BytesIO(content):
        sizes = [int(field[:_DIGITS]) for field in line.split() if field.isdigit()]
        if line.strip() and not line.startswith(b"%"):
            promised = math.prod(sizes) if len(sizes) == 2 else sizes[-1] if sizes else 0
            if 2 * promised > len(content):  # an entry has a digit and the end of its line at least
                what = f"promises {promised:,} entries, of which {len(content):,} bytes cannot hold so many"
                raise ReadError(path, f"{what}; correct its sizes, or write it again")
            return


def read_npz(path: Path, raw: bytes, max_bytes: int | None = None) -> Rows:
    """Return the entries of a matrix that ``scipy.sparse.save_npz`` wrote; users and items are numbered from 0."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = archive.infolist()
            check_size(path, sum(member.file_size for member in members), max_bytes, "unpacks to")
            names = [member.filename.removesuffix(".npy") for member in members]
            if not _OF_A_MATRIX.issubset(names):
                what = f"is an archive of NumPy that holds {listed(names)}, expected a sparse matrix"
                raise ReadError(path, f"{what}; write one with scipy.sparse.save_npz(file, matrix)")
            for member in members:
                _check_array(archive, member)
        matrix: Any = sparse.load_npz(io.BytesIO(raw))
        return _rows(path, matrix, "from 0", first=0)
    except ReadError:
        raise
    except _DAMAGED as error:
        raise ReadError(
            path, f"is a damaged archive of NumPy ({shortened(one_line(error))}); write it again"
        ) from error


def _check_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Make sure that an array is as large as its header says, as NumPy takes the memory before it reads."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, _, kind = np.lib.format.read_array_header_1_0(stream)
        else:
            shape, _, kind = np.lib.format.read_array_header_2_0(stream)
        there = member.file_size - stream.tell()
    if kind.hasobject or math.prod(shape) * kind.itemsize != there:
        msg = f"{member.filename} promises {kind} of shape {shape}, and has {there:,} bytes"
        raise ValueError(msg)


def _rows(path: Path, matrix: Any, numbered: str, *, first: int) -> Rows:
    try:
        rows, columns, values = stored_entries(matrix)
    except ShapeError as error:
        raise ReadError(path, *error.message) from error
    if np.iscomplexobj(values):
        raise ReadError(path, "holds complex numbers, expected real ones, or a pattern; write their absolute values")
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        place = int(np.argmax(~np.isfinite(values)))
        what = f"holds {values[place]} for user {rows[place] + first} and item {columns[place] + first}"
        raise ReadError(path, f"{what}, expected a finite value for each interaction; remove such entries")
    stored = values != 0
    if not stored.any():
        raise ReadError(path, f"holds a matrix of shape {matrix.shape} without an interaction; give one that has some")
    ids = [
        pa.chunked_array([pa.array(places[stored].astype(np.int64) + first).cast(pa.string())])
        for places in (rows, columns)
    ]
    return Rows(
        ids[0],
        ids[1],
        ratings=values[stored],
        rating_name="value",
        columns=f"user=row, item=column, both {numbered}, rating=value; shape {matrix.shape}",
        zeros=int(np.count_nonzero(~stored)),
    )
