"""Wrong values of hyper-parameters, made from the ranges in the types of a model's fields."""

import dataclasses
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from buir.recommend import TERMS, Above, AtLeast, MetricAtK, Strengths

NEVER = (None, [1], object())
"""Of no field's type."""


def invalid_values(cls: type) -> list[tuple[str, Any]]:
    """Pairs (field, wrong value): both sides of each end of its range, numbers that are none, and other types."""
    hints = get_type_hints(cls, include_extras=True)
    fields = [field.name for field in dataclasses.fields(cls) if field.init]
    return [(name, value) for name in fields for value in _wrong(hints[name])]


def _wrong(hint: Any) -> list[Any]:
    parts = [hint] if get_origin(hint) in (Annotated, Literal) or isinstance(hint, type) else list(get_args(hint))
    found = [value for value in NEVER if value is not None or type(None) not in parts]
    for part in parts:
        if part is type(None):
            continue
        kind, *ranges = get_args(part) if get_origin(part) is Annotated else (part,)
        if kind is bool or get_origin(kind) is Literal:
            found += ["no such choice", 1 if len(parts) == 1 else -1]
        elif kind is str:
            found += [3, True]
        else:
            found += [True, "1", float("nan"), float("inf"), -float("inf"), *([1.5, 1.0] if kind is int else [10**400])]
        for one in ranges:
            if isinstance(one, Strengths):
                numbers = (-0.5, float("nan"), float("inf"), True, "1", None, [1.0])
                found += [{"popular": 1.0}, {1: 1.0}, ["popularity"], *({TERMS[0]: number} for number in numbers)]
            if isinstance(one, AtLeast):
                found += [one.low - 1]
                found += [] if one.most is None else [one.most + 1]
                found += [] if one.below is None else [one.below]
            elif isinstance(one, Above):
                found += [one.low, one.low - 1]
            elif isinstance(one, MetricAtK):
                found += ["auc_at_20", "ndcg", "ndcg_at_0", "ndcg_at_020", "ndcg_at_1001", "ndcg_at_" + "9" * 5000, ""]
    return found
