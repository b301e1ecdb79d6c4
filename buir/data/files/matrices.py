"""Sparse matrices, users x items, as rows of pairs: Matrix Market's text and SciPy's archives."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import io as scipy_io
from scipy import sparse

from buir.data.doctor import stored_entries
from buir.data.files.columns import Rows
from buir.data.files.text import Text
from buir.errors import ReadError, ShapeError, listed, one_line


def read_matrix_market(path: Path, text: Text) -> Rows:
    """Return the entries of a matrix; users and items have the numbers that the file writes, from 1."""
    try:
        matrix = sparse.coo_array(scipy_io.mmread(io.BytesIO(text.content)))
    except (ValueError, OverflowError) as error:
        raise ReadError(path, f"is a damaged matrix of Matrix Market ({one_line(error)}); write it again") from error
    return _rows(path, matrix, "from 1", first=1)


def read_npz(path: Path, raw: bytes) -> Rows:
    """Return the entries of a matrix that ``scipy.sparse.save_npz`` wrote; users and items are numbered from 0."""
    try:
        matrix: Any = sparse.load_npz(io.BytesIO(raw))
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        try:
            with zipfile.ZipFile(io.BytesIO(raw)) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist()]
        except zipfile.BadZipFile:
            raise ReadError(path, f"is a damaged archive of NumPy ({one_line(error)}); write it again") from error
        what = f"is an archive of NumPy that holds {listed(names)}, expected a sparse matrix"
        raise ReadError(path, f"{what}; write one with scipy.sparse.save_npz(file, matrix)") from error
    return _rows(path, matrix, "from 0", first=0)


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
