"""Data by name: "synthetic" is made up on the spot, the others are downloaded once, over a checked connection."""

import hashlib
import inspect
import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buir.data.files.readers import read
from buir.data.files.writing import replace_atomically
from buir.data.interactions import Interactions
from buir.data.synthetic import make_interactions
from buir.errors import InputError, near


@dataclass(frozen=True)
class Download:
    """A published archive."""

    url: str
    sha256: str
    """Digest of the archive, in hexadecimal digits."""
    file: str
    """The file of interactions in it, with raw ids, ratings and times."""
    format: str
    """Its format."""


_GROUPLENS = "https://files.grouplens.org/datasets/movielens"
DOWNLOADS = {
    "ml-100k": Download(
        f"{_GROUPLENS}/ml-100k.zip",
        "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
        "ml-100k/u.data",
        "tab",
    ),
    "ml-1m": Download(
        f"{_GROUPLENS}/ml-1m.zip",
        "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        "ml-1m/ratings.dat",
        "double-colon",
    ),
    "ml-latest-small": Download(
        f"{_GROUPLENS}/ml-latest-small.zip",
        "696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
        "ml-latest-small/ratings.csv",
        "comma",
    ),
}
"""Named downloads; "ml-latest-small" is the release of September 2018."""

DATASETS = ("synthetic", *DOWNLOADS)
"""Names that :func:`load` knows."""

_LARGEST = 1 << 26
"""Bytes of an archive: those above have fewer than 6 million."""
_PATIENCE = 60.0
"""Seconds without a byte after which a server is given up."""


def load(name: str, *, root: str | Path | None = None, **options: Any) -> Interactions:
    """Return a data set by name.

    Parameters
    ----------
    name
        One of :data:`DATASETS`.
    root
        Folder of downloads; None is ``buir`` in the user's cache folder.
    options
        For "synthetic", arguments of :func:`buir.data.make_interactions`; for others the filters ``min_rating``,
        ``min_user``, ``min_item`` and ``core``, see :func:`buir.data.read`.

    Raises
    ------
    ValueError
        If the name or an option is unknown, or the archive is not the published one.
    ConnectionError
        If the download fails.

    Notes
    -----
    The server's certificate is checked, and the archive's digest before anything in it is read; nothing is unpickled.
    """
    check_request(name, **options)
    if name == "synthetic":
        return make_interactions(**options)
    source = DOWNLOADS[name]
    folder = _cache(root) / name
    with zipfile.ZipFile(io.BytesIO(_archive(name, folder))) as archive:
        content = archive.read(source.file)
    file = folder / Path(source.file).name
    if not file.is_file() or file.read_bytes() != content:
        replace_atomically(file, content)
    return read(file, format=source.format, **options)


def check_request(name: str, /, **options: Any) -> None:
    """Make sure that ``load`` knows a name and its options, before anything is made or fetched; else a ValueError."""
    _check_known("unknown data set", name, DATASETS, "one", "name")
    if name == "synthetic":
        known = tuple(inspect.signature(make_interactions).parameters)
    else:
        known = ("min_rating", "min_user", "min_item", "core")
    for option in options:
        _check_known(f"data set {name!r} has no option", option, known, "some", option)


def _cache(root: str | Path | None) -> Path:
    if root is not None:
        return Path(root)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "buir"


def _archive(name: str, folder: Path) -> bytes:
    """Return the published archive, which is fetched once; its digest is looked at every time."""
    import urllib.request  # slow to import, seldom needed

    source = DOWNLOADS[name]
    kept = folder / source.url.rpartition("/")[2]
    fetched = not kept.is_file()
    try:
        if fetched:
            folder.mkdir(parents=True, exist_ok=True)
            with urllib.request.urlopen(source.url, timeout=_PATIENCE) as reply:
                content = reply.read(_LARGEST)
        else:
            content = kept.read_bytes()
    except OSError as error:
        msg = (
            f"cannot download {name!r} from {source.url} ({error}); with a network, try again; without, fetch the file "
            "elsewhere and use buir.data.read, or load('synthetic'), which needs no network"
        )
        raise ConnectionError(msg) from error
    found = hashlib.sha256(content).hexdigest()
    if found != source.sha256:
        place = source.url if fetched else str(kept)
        remedy = "try again later, from a network that you trust" if fetched else "delete it and load it again"
        msg = f"{place} has the SHA-256 {found}, expected {source.sha256} of {name!r} as it was published; {remedy}"
        raise ValueError(msg)
    if fetched:
        replace_atomically(kept, content)
    return content


def _check_known(what: str, name: str, known: tuple[str, ...], expected: str, argument: str) -> None:
    if name not in known:
        msg = f"{what} {name!r}; expected {expected} of {', '.join(known)}{near(name, known)}"
        raise InputError(msg, argument=argument)
