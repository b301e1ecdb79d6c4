"""The ranges of BUIR's hyper-parameters."""

import difflib
import math
import re
from typing import Any

from buir.ranking import METRICS

__all__ = ["LONGEST_LIST", "check_parameters"]

LONGEST_LIST = 1000
"""Items of a list that validation ranks, at most."""

_CHOICES: dict[str, tuple[Any, ...]] = {"encoder": ("id", "graph", "walk"), "row_sparse": (True, False, "auto")}
_OR_AUTO: dict[str, str] = {"batch_size": " or 'auto'", "popularity": " or 'auto'"}
_WHOLE = {
    "embedding_dim": (1, 65_536),
    "n_layers": (0, 100),
    "walks": (1, 10_000),
    "batch_size": (1, 2**31 - 1),
    "epochs": (1, 2**31 - 1),
    "validate_every": (1, 2**31 - 1),
    "patience": (1, 2**31 - 1),
    "seed": (0, 2**63 - 1),
}
"""Lowest and highest values. The highest are beyond use and within what arrays, loops and generators can hold."""
_REAL = {
    "edge_drop_rate": (0, 1, "at least 0 and below 1"),
    "momentum": (0, 1, "at least 0 and below 1"),
    "learning_rate": (math.ulp(0.0), math.inf, "above 0"),
    "weight_decay": (0, math.inf, "at least 0"),
    "uniformity": (0, math.inf, "at least 0"),
    "popularity": (0, math.inf, "at least 0"),
}
_LARGEST = 3.4e38
"""Beyond it a float32 is infinite."""


def check_parameters(parameters: dict[str, Any]) -> None:
    """Make sure that every hyper-parameter has a value the training understands.

    Raises
    ------
    ValueError
        Naming the parameter, what came and what was expected.
    """
    for name, value in parameters.items():
        expected = _expectation(name, value)
        if expected is not None:
            msg = f"{name} is {value!r}; expected {expected}"
            raise ValueError(msg)
    if parameters["encoder"] == "graph" and parameters["row_sparse"] is True:
        msg = "row_sparse is True with encoder 'graph'; expected False or 'auto': a whole-graph step moves every row (encoder 'walk' does not)"
        raise ValueError(msg)
    if parameters["encoder"] != "graph" and (parameters["output_target"] or parameters["edge_drop_rate"]):
        name = "output_target" if parameters["output_target"] else "edge_drop_rate"
        msg = f"{name} is {parameters[name]!r} with encoder {parameters['encoder']!r}; expected its default: it belongs to encoder 'graph'"
        raise ValueError(msg)


def _expectation(name: str, value: Any) -> str | None:
    """Return what was expected, or None where the value is fine."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _CHOICES:
        ok = any(value is choice or (isinstance(value, str) and value == choice) for choice in _CHOICES[name])
        near = difflib.get_close_matches(str(value), [str(choice) for choice in _CHOICES[name]], n=1)
        return (
            None
            if ok
            else f"one of {', '.join(map(repr, _CHOICES[name]))}" + (f": did you mean {near[0]!r}?" if near else "")
        )
    if name in _OR_AUTO and value == "auto":
        return None
    if name in _WHOLE:
        low, high = _WHOLE[name]
        if number and isinstance(value, int) and value > high:
            return f"a whole number of at most {high:,}{_OR_AUTO.get(name, '')}"
        ok = number and isinstance(value, int) and value >= low
        return None if ok else f"a whole number of at least {low}{_OR_AUTO.get(name, '')}"
    if name in _REAL:
        low, high, text = _REAL[name]
        if number and _LARGEST < value < math.inf <= high:
            return f"a number of at most {_LARGEST:g}, as float32 holds it"
        return None if number and low <= value < high else f"a number {text}{_OR_AUTO.get(name, '')}"
    if name == "valid_metric":
        match = re.fullmatch(r"(\w+)_at_([1-9]\d*)", str(value))
        if not match or match[1] not in METRICS:
            return f"a metric and a length, such as 'ndcg_at_20'; metrics are {', '.join(METRICS)}"
        # Every validation keeps lists of this length for all users with held-out pairs.
        longest = len(match[2]) <= len(str(LONGEST_LIST)) and int(match[2]) <= LONGEST_LIST
        return None if longest else f"a length of at most {LONGEST_LIST:,}, such as '{match[1]}_at_20'"
    if name in {"output_target", "cumulative_patience"}:
        return None if isinstance(value, bool) else "True or False"
    return None
