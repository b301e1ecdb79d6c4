"""Folders: the parts of one table, or the files of a published split."""

import re
from pathlib import Path

from buir.errors import ReadError, listed

_WORDS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "valid": ("valid", "validation", "val", "dev"),
}
"""Words of file names, between points, lines and underscores, a number after them or not."""


def parts_of(folder: Path) -> bool:
    """Return whether a folder holds one table in Parquet.

    Raises
    ------
    ReadError
        If it does not; the message says what it holds.
    """
    if any(folder.rglob("*.parquet")) and not split_files(folder):
        return True
    files = sorted(child.name for child in folder.iterdir() if child.is_file())
    split = split_files(folder)
    if "train" in split and "test" in split:
        names = " and ".join(f"{name}: {file.name}" for name, file in split.items())
        remedy = "read it with read_split(folder), compare models on it with protocol: {kind: given}, or name one file"
        raise ReadError(folder, f"is a folder of a split ({names}), expected one file; {remedy}")
    if not files:
        raise ReadError(folder, "is a folder without files, expected a file, or a folder of Parquet files")
    raise ReadError(folder, f"is a folder, expected a file, such as one of {listed(files)}")


def split_files(folder: Path) -> dict[str, Path]:
    """Return the files of a split by "train", "test" and "valid", as far as their names say it.

    Raises
    ------
    ReadError
        If two files could be the same part.
    """
    found: dict[str, Path] = {}
    for file in sorted(child for child in folder.iterdir() if child.is_file() and not child.name.startswith(".")):
        words = {re.sub(r"\d+$", "", word) for word in re.split(r"[._\s-]+", file.name.lower())}
        for part, names in _WORDS.items():
            if words.intersection(names):
                if part in found:
                    what = f"is a folder with two files that may be the {part} part, {found[part].name!r} and"
                    raise ReadError(folder, f"{what} {file.name!r}; name the files one by one")
                found[part] = file
    return found
