"""Records as runs of MLflow, whatever the store does."""

from typing import TYPE_CHECKING

from buir.experiment.tracking import registry, store, viewer

if TYPE_CHECKING:
    from buir.experiment.tracking.tracker import Tracker

__all__ = ["Tracker", "registry", "store", "viewer"]


def __getattr__(name: str) -> type:
    if name == "Tracker":  # MLflow takes two seconds to import
        from buir.experiment.tracking.tracker import Tracker

        return Tracker
    msg = f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}"
    raise AttributeError(msg)
