"""Models to beat, each with the verbs of `buir.BUIR`.

Nothing heavy is imported here: `baselines.ALS` loads `implicit`, `baselines.LightGCN` loads torch_geometric, on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from baselines.implicit_models import ALS, BPR, LMF
    from baselines.lightgcn import LightGCN
    from baselines.linear import EASE
    from baselines.neighbours import ItemKNN
    from baselines.popularity import Popularity

__all__ = ["ALS", "BPR", "EASE", "LMF", "ItemKNN", "LightGCN", "Popularity", "Refused"]

_HOMES = {
    "ALS": "implicit_models",
    "BPR": "implicit_models",
    "EASE": "linear",
    "ItemKNN": "neighbours",
    "LMF": "implicit_models",
    "LightGCN": "lightgcn",
    "Popularity": "popularity",
}


class Refused(ValueError):  # noqa: N818 - a decision about the data, not a fault
    """A model declines data that it could not finish in reasonable memory; the message says what it would take."""


def __getattr__(name: str) -> type:
    if name not in _HOMES:
        msg = f"module 'baselines' has no attribute {name!r}; it has {', '.join(__all__)}"
        raise AttributeError(msg)
    return getattr(import_module(f"baselines.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
