"""How a report writes numbers and settings."""

from collections.abc import Mapping, Sequence
from typing import Any

from buir.errors import counted
from buir.experiment.records import POPULAR, Record
from buir.experiment.statistics import Interval

POPULARITY = (
    f"At least {POPULAR:.0%} of the places of its lists, on average, hold items of the user's popularity list; items "
    "as popular as the last one of that count as on it."
)
"""When a model is said to be popularity."""


def interval_text(interval: Interval, form: str = ".4f") -> str:
    """Write ``0.0840 [0.0812, 0.0869]``."""
    return f"{interval.value:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def span_text(values: Sequence[float], form: str, *, equal: bool = False) -> str:
    """Write ``0.11 (0.10 to 0.12)``: the mean and the ends, those of ``equal`` values too if there are several."""
    if not values:
        return ""
    mean, low, high = (f"{value:{form}}" for value in (sum(values) / len(values), min(values), max(values)))
    return f"{mean} ({low} to {high})" if low != high or (equal and len(values) > 1) else mean


def range_text(numbers: Sequence[int], word: str) -> str:
    """Write ``1 item``, ``2 items``, ``3 to 7 items``, from the smallest to the largest number."""
    low, high = min(numbers), max(numbers)
    return counted(low, word) if low == high else f"{low:,} to {high:,} {word}s"


def seconds_text(seconds: float) -> str:
    """Write a time with two digits that count: ``0.034 s``, ``8.2 s``, ``140 s``."""
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:,.0f} s"


def settings_text(params: Mapping[str, Any]) -> str:
    """Write settings on a line, numbers with four digits."""
    return ", ".join(f"{name}={value_text(value)}" for name, value in sorted(params.items())) or "none"


def value_text(value: Any) -> str:
    """Write one setting."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def popular_models(records: Sequence[Record]) -> set[str]:
    """Name the models of one place whose finished runs list what is popular, by the mean of their overlap."""
    found: dict[str, list[float]] = {}
    for record in records:
        if record.ok and record.kind != "popularity":
            found.setdefault(record.model, []).append(record.popularity_overlap or 0.0)
    return {model for model, shares in found.items() if sum(shares) / len(shares) >= POPULAR}
