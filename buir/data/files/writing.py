"""Files that are whole at every moment."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def replace_atomically(file: Path, content: bytes) -> None:
    """Write beside ``file``, then rename: readers see the old content or the new, never a part.

    A crash at any moment leaves the old file or the new one; the content is on the disk before the name is.
    """
    # Made by open(), so that the rights are those of any other file: a server may read what a training job wrote.
    part = file.parent / f".{file.name}.{secrets.token_hex(8)}"
    try:
        with part.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    finally:
        with suppress(OSError):
            part.unlink()
