"""One-class collaborative filtering without negative sampling."""

from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buir.data import Interactions
    from buir.model import BUIR
    from buir.ranking import evaluate
    from buir.recommend import recommend_frame

    baselines: ModuleType

__version__ = "0.1.0"
__all__ = ["BUIR", "Interactions", "evaluate", "recommend_frame"]

_HOMES = {
    "BUIR": "buir.model",
    "Interactions": "buir.data",
    "evaluate": "buir.ranking",
    "recommend_frame": "buir.recommend",
}

# Hidden from type checkers, which would otherwise believe that every name exists.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import what is asked for when it is asked for: torch takes seconds, and ``buir --help`` needs none of it."""
        if name in _HOMES:
            globals()[name] = found = getattr(import_module(_HOMES[name]), name)
            return found
        if name == "baselines":
            return _baselines()
        if not name.startswith("_") and util.find_spec(f"{__name__}.{name}") is not None:
            return import_module(f"{__name__}.{name}")
        msg = f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}"
        raise AttributeError(msg)


def _baselines() -> ModuleType:
    """Import what lies beside this package: ``buir_baselines`` where it is installed, ``baselines`` in a checkout."""
    home = Path(__file__).resolve().parents[1]
    name = "buir_baselines" if (home / "buir_baselines").is_dir() else "baselines"
    found = import_module(name)
    folder = Path(found.__file__ or "").resolve().parent
    if folder != home / name:
        msg = f"{name} is imported from {folder}, expected {home / name}: take the other package out of sys.path"
        raise ImportError(msg)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
