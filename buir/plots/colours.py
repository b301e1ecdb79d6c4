"""The colour of each model: the same in every picture, in reports and in MLflow."""

import hashlib
from collections.abc import Iterable

__all__ = ["model_colours"]

_KNOWN = {
    "BUIR-nb": "#d62728",
    "BUIR-id": "#ff7f0e",
    "BUIR-walk": "#c2185b",
    "BUIR": "#d62728",
    "ALS": "#1f77b4",
    "BPR": "#2ca02c",
    "LMF": "#9aa11f",
    "item-KNN": "#8c564b",
    "item-filter": "#b8860b",
    "low-rank-filter": "#1a237e",
    "EASE": "#9467bd",
    "LightGCN": "#17a2b8",
    "Contrastive": "#00897b",
    "popularity": "#7f7f7f",
}
_SPARE = ("#e377c2", "#00695c", "#5c6bc0", "#a1887f", "#c0a000", "#455a64", "#ff8a80", "#80cbc4")


def model_colours(names: Iterable[str]) -> dict[str, str]:
    """Give every model its colour, as ``#rrggbb``: fixed for the known ones, the same in figures and in MLflow.

    Notes
    -----
    Unknown names draw from a spare palette by a hash of the name; within one call no spare colour is given twice
    before all are used.
    """
    names, free = set(names), list[str]()
    chosen = {name: _KNOWN[name] for name in names & _KNOWN.keys()}
    for name in sorted(names - chosen.keys()):
        free = free or list(_SPARE)
        place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % len(free)
        chosen[name] = free.pop(place)
    return chosen
