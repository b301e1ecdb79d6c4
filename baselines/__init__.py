"""Models to beat, each with the verbs of `buir.BUIR`, and what samplers of negatives are like.

Installed, it is called `buir_baselines` and takes nobody's name; ``from buir import baselines`` finds it under both.
Nothing heavy is imported here: `baselines.ALS` loads `implicit`, `baselines.LightGCN` torch_geometric, when asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from buir.errors import Refused

    from .contrast import assess_levels, assess_negatives
    from .contrastive import Contrastive
    from .filters import CooccurrenceFilter, LowRankFilter
    from .implicit_models import ALS, BPR, LMF
    from .lightgcn import LightGCN
    from .linear import EASE
    from .neighbours import ItemKNN
    from .popularity import Popularity

__all__ = [
    "ALS",
    "BPR",
    "EASE",
    "LMF",
    "Contrastive",
    "CooccurrenceFilter",
    "ItemKNN",
    "LightGCN",
    "LowRankFilter",
    "Popularity",
    "Refused",
    "assess_levels",
    "assess_negatives",
]

_HOMES = {
    "ALS": ".implicit_models",
    "BPR": ".implicit_models",
    "Contrastive": ".contrastive",
    "CooccurrenceFilter": ".filters",
    "EASE": ".linear",
    "ItemKNN": ".neighbours",
    "LMF": ".implicit_models",
    "LightGCN": ".lightgcn",
    "LowRankFilter": ".filters",
    "Popularity": ".popularity",
    "Refused": "buir.errors",
    "assess_levels": ".contrast",
    "assess_negatives": ".contrast",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}"
        raise AttributeError(msg)
    from buir.errors import needing  # and numpy with it: importing this package imports nothing

    with needing(f"baselines.{name}"):
        return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
