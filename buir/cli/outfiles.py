"""The files that a command writes: looked at before the work is done, written after."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from buir.cli.options import OrderError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["check_table", "check_target", "write_table"]

_TABLES = (".csv", ".tsv", ".parquet")


def check_table(path: Path, *read: Path | None) -> None:
    """Make sure that a table can be written there, over none of the files ``read``, before the work is done."""
    if path.suffix not in _TABLES:
        msg = f"--out is {str(path)!r}; expected a name that ends in {', '.join(_TABLES)}"
        raise OrderError(msg)
    check_target(path, *read)


def check_target(path: Path, *read: Path | None) -> None:
    """Make sure that a file can be written there, over none of the files ``read``, before the work is done."""
    if path.is_dir():
        msg = (
            f"--out is {str(path)!r}, a folder; expected the name of a file: write {str(path / 'model.safetensors')!r}"
        )
        raise OrderError(msg)
    if not path.parent.is_dir():
        msg = f"--out is {str(path)!r}, but there is no folder {str(path.parent)!r}; create it first"
        raise OrderError(msg)
    if path.exists() and not path.is_file():
        msg = f"--out is {str(path)!r}, a device or a pipe; expected the name of a file"
        raise OrderError(msg)
    for source in read:
        # Also by another name: over a link, upwards and down again, or in other letters where these do not count.
        if source is not None and path.exists() and source.exists() and path.samefile(source):
            msg = f"--out is {str(path)!r}, which is the file {str(source)!r} that this command reads and would be lost; expected another name"
            raise OrderError(msg)
    try:
        # Only trying tells: rights alone do not, for root or on file systems such as /proc.
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        msg = f"--out is {str(path)!r}, but nothing can be written in {str(path.parent)!r} ({os.strerror(error.errno or 0)}); name another folder"
        raise OrderError(msg) from None


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame in the form its name asks for."""
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
