"""Data by name: "synthetic" is made up on the spot, the others are downloaded once through PyG's data sets."""

import inspect
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from buir.data.files.readers import read, read_split
from buir.data.interactions import Interactions
from buir.data.synthetic import make_interactions
from buir.errors import InputError, near, needing


@dataclass(frozen=True)
class Download:
    """A data set that PyG knows where to fetch."""

    pyg_class: str
    """Name of the class in ``torch_geometric.datasets``."""
    files: tuple[str, ...]
    """Files of its raw folder: one with all interactions, or train and test; none: PyG's graph is taken."""
    format: str = ""
    """Their format."""
    sizes: tuple[int, int, int] | None = None
    """Users, items and distinct pairs that must be found; None where releases change."""


DOWNLOADS = {
    "ml-100k": Download("MovieLens100K", ("u.data",), "tab", (943, 1_682, 100_000)),
    "ml-1m": Download("MovieLens1M", ("ratings.dat",), "double-colon", (6_040, 3_706, 1_000_209)),
    "ml-latest-small": Download("MovieLens", ("ml-latest-small/ratings.csv",), "comma"),
    "amazon-book": Download("AmazonBook", ("train.txt", "test.txt"), "adjacency", (52_643, 91_599, 2_984_108)),
    "lastfm": Download("LastFM", ()),
}
"""Named downloads.  Their files carry raw ids, ratings and times, which PyG's own graphs drop."""

DATASETS = ("synthetic", *DOWNLOADS)
"""Names that :func:`load` knows."""


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
        If the name or an option is unknown, or the download is not what it should be.
    ConnectionError
        If the download fails.

    Notes
    -----
    PyG fetches without checking certificates or checksums; the sizes of what was read are checked instead.
    """
    check_request(name, **options)
    if name == "synthetic":
        return make_interactions(**options)
    source = DOWNLOADS[name]
    if len(source.files) == 1:
        path = _fetch(name, root) / source.files[0]
        if source.sizes is not None:
            data = read(path, format=source.format, columns={"user": 0, "item": 1})
            _check_sizes(name, data.n_users, data.n_items, data.n_pairs)
        return read(path, format=source.format, **options)
    if source.files:
        frame = pd.concat([part.to_frame() for part in load_split(name, root=root)])
        return Interactions.from_frame(frame, source=name, **options)
    users, items = _graph_pairs(name, root)
    return Interactions.from_pairs(users, items, source=name, **options)


def check_request(name: str, /, **options: Any) -> None:
    """Make sure that ``load`` knows a name and its options, before anything is made or fetched; else a ValueError."""
    _check_known("unknown data set", name, DATASETS, "one", "name")
    if name == "synthetic":
        known = tuple(inspect.signature(make_interactions).parameters)
    else:
        graph_or_lists = not DOWNLOADS[name].files or DOWNLOADS[name].format == "adjacency"
        known = (() if graph_or_lists else ("min_rating",)) + ("min_user", "min_item", "core")
    for option in options:
        _check_known(f"data set {name!r} has no option", option, known, "some", option)


def load_split(name: str, *, root: str | Path | None = None) -> tuple[Interactions, Interactions]:
    """Return the published train and test parts of a data set that has them ("amazon-book")."""
    published = tuple(name for name, source in DOWNLOADS.items() if len(source.files) == 2)
    _check_known("unknown data set", name, published, "one", "name")
    folder = _fetch(name, root)
    train, test = (folder / file for file in DOWNLOADS[name].files)
    given_train, given_test = read_split(train, test, format=DOWNLOADS[name].format)
    n_pairs = given_train.n_pairs + given_test.n_pairs
    _check_sizes(name, given_train.n_users, given_train.n_items, n_pairs)
    return given_train, given_test


def _fetch(name: str, root: str | Path | None) -> Path:
    """Download once; return PyG's folder of raw files."""
    with needing("downloading a data set"):
        from torch_geometric import datasets

    known = getattr(datasets, DOWNLOADS[name].pyg_class)
    # only the files are wanted: what PyG makes of them drops ids and may need further packages
    raw_only = type(known.__name__, (known,), {"process": lambda _: None, "load": lambda *_, **__: None})
    return Path(_downloaded(raw_only, name, root).raw_dir)


def _graph_pairs(name: str, root: str | Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Edges of users to items in PyG's graph, held-out positives included."""
    with needing("downloading a data set"):
        from torch_geometric import datasets

    graph = _downloaded(getattr(datasets, DOWNLOADS[name].pyg_class), name, root)[0]
    edges = next(graph[kind] for kind in graph.edge_types if kind[0] == "user" and kind[2] != "user")
    parts = ("edge_index", "val_pos_edge_index", "test_pos_edge_index")
    users, items = np.concatenate([edges[part].numpy() for part in parts if part in edges], axis=1)
    return users, items


def _downloaded(make: Any, name: str, root: str | Path | None) -> Any:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "buir"
    folder = Path(cache if root is None else root) / name
    try:
        return make(str(folder))
    except OSError as error:
        msg = (
            f"cannot download {name!r} from {make.url} ({error}); with a network, try again; without, fetch the file "
            "elsewhere and use buir.data.read, or load('synthetic'), which needs no network"
        )
        raise ConnectionError(msg) from error


def _check_sizes(name: str, *found: int) -> None:
    expected = DOWNLOADS[name].sizes
    if expected is not None and found != expected:
        msg = f"{name!r} has {found} users, items and pairs, expected {expected}; delete its folder and load it again"
        raise ValueError(msg)


def _check_known(what: str, name: str, known: tuple[str, ...], expected: str, argument: str) -> None:
    if name not in known:
        msg = f"{what} {name!r}; expected {expected} of {', '.join(known)}{near(name, known)}"
        raise InputError(msg, argument=argument)
