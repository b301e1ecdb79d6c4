"""Comparing models: a configuration becomes cells, records, verdicts, a report and runs of MLflow."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from buir.errors import needing

if TYPE_CHECKING:
    from buir.experiment.comparison import compare, explore, make_report, sync
    from buir.experiment.config import load
    from buir.experiment.records import Results

__all__ = ["Results", "compare", "explore", "load", "make_report", "sync"]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: a configuration needs no figures."""
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}"
        raise AttributeError(msg)
    home = {"load": "config", "Results": "records"}.get(name, "comparison")
    with needing("comparing models", whole=True):
        return getattr(import_module(f"{__name__}.{home}"), name)
