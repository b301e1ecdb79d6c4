"""Files that are whole at every moment."""

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_LONGEST_WRITE = 3600.0
"""Seconds after which nobody is still writing a file."""


@contextmanager
def replacing(file: Path) -> Iterator[IO[bytes]]:
    """Write beside ``file``, then rename: readers see the old content or the new, never a part.

    A crash at any moment, and an error within, leaves the old file; the content is on the disk before the name is. What
    killed processes left beside the file an hour ago and earlier is removed.

    Raises
    ------
    OSError
        With the file's name, whatever fails: a full disk, a folder that may not be written to.
    """
    # Made by open(), so that the rights are those of any other file: a server may read what a training job wrote.
    part = file.parent / f".{file.name}.{secrets.token_hex(8)}"
    try:
        with part.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except OSError as error:
        # writing and syncing know of no name
        raise OSError(error.errno, error.strerror or str(error), str(file)) from error
    finally:
        with suppress(OSError):
            part.unlink()
    remove_leftovers(file.parent, file.name, age=_LONGEST_WRITE)


def replace_atomically(file: Path, content: bytes) -> None:
    """Write a file whole, as :func:`replacing` does."""
    with replacing(file) as stream:
        stream.write(content)


def remove_leftovers(folder: Path, name: str = "*", *, age: float = 0.0) -> int:
    """Remove what killed processes left of files that they were writing.

    Parameters
    ----------
    folder
        Where they lie.
    name
        Of the file that was to be written; any by default.
    age
        Seconds since they were last written to, at least.

    Returns
    -------
    Their number.
    """
    removed, latest = 0, time.time() - age
    pattern = re.compile(rf"\.{'.+' if name == '*' else re.escape(name)}\.[0-9a-f]{{16}}")
    for part in folder.iterdir():
        with suppress(OSError):
            if pattern.fullmatch(part.name) and part.stat().st_mtime <= latest:
                part.unlink()
                removed += 1
    return removed
