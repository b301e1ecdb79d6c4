"""The ranges of hyper-parameters: they stand in the types of a model's fields, and one function checks values."""

from __future__ import annotations

import ast
import inspect
import math
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from itertools import pairwise
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from buir.errors import InputError, near, shortened
from buir.ranking import METRICS
from buir.recommend.score_terms import FILTERS, TERMS

__all__ = [
    "LONGEST_LIST",
    "Above",
    "AtLeast",
    "MetricAtK",
    "Parameter",
    "Strengths",
    "Terms",
    "check_parameters",
    "parameters_of",
]

LONGEST_LIST = 1000
"""Items of a list that validation ranks, at most."""

_SIGNED = ("dial", "norm")
"""Terms whose strength may be below zero."""

_TYPES = {int: Integral, float: Real, str: str, np.ndarray: np.ndarray}
_NOUNS: dict[Any, str] = {int: "a whole number", float: "a number", str: "a text", dict: "a dict"}
_SCHEMAS = {int: "integer", float: "number", str: "string", dict: "object", type(None): "null"}
"""Types by their names in JSON Schema; of the others no file can hold a value."""
_NOUNS |= {type(None): "None", Callable: "a function", np.ndarray: "an array"}


@dataclass(frozen=True)
class AtLeast:
    """Finite numbers from ``low`` on; with ``most`` up to that one, with ``below`` less than that one."""

    low: float
    most: int | None = None
    below: int | None = None

    def holds(self, value: Any) -> bool:
        """Whether a number is in the range; NaN and the infinities are in none."""
        most = sys.float_info.max if self.most is None else self.most
        return self.low <= value <= most and (self.below is None or value < self.below)

    @property
    def schema(self) -> dict[str, Any]:
        """The range in JSON Schema."""
        ends = {"minimum": self.low, "maximum": self.most, "exclusiveMaximum": self.below}
        return {name: end for name, end in ends.items() if end is not None}

    def __str__(self) -> str:
        ends = [f"of at least {self.low}"]
        ends += [] if self.most is None else [f"at most {self.most:,}"]
        return " and ".join(ends if self.below is None else [*ends, f"below {self.below}"])


@dataclass(frozen=True)
class Above:
    """Finite numbers greater than ``low``."""

    low: int

    def holds(self, value: Any) -> bool:
        """Whether a number is in the range; NaN and the infinities are in none."""
        return self.low < value <= sys.float_info.max

    @property
    def schema(self) -> dict[str, Any]:
        """The range in JSON Schema."""
        return {"exclusiveMinimum": self.low}

    def __str__(self) -> str:
        return f"above {self.low}"


@dataclass(frozen=True)
class MetricAtK:
    """Texts such as "ndcg_at_20": one of ``buir.ranking.METRICS`` and the length of a list."""

    def holds(self, value: str) -> bool:
        """Whether the metric exists and validation can keep lists of that length for all users with held-out pairs."""
        found = re.fullmatch(r"(\w+)_at_([1-9]\d{0,3})", value, re.ASCII)
        return found is not None and found[1] in METRICS and int(found[2]) <= LONGEST_LIST

    @property
    def schema(self) -> dict[str, Any]:
        """The texts in JSON Schema, but for the longest length."""
        return {"pattern": f"^({'|'.join(METRICS)})_at_[1-9][0-9]{{0,3}}$"}

    def __str__(self) -> str:
        return (
            f"of a metric and a length up to {LONGEST_LIST:,}, such as 'ndcg_at_20'; metrics are {', '.join(METRICS)}"
        )


@dataclass(frozen=True)
class Strengths:
    """A dict from names of terms to strengths: dial and norm from -4 to 4, the others from 0 to 1,000,000."""

    def holds(self, value: Any) -> bool:
        """Whether the names and the numbers are such."""
        sound = isinstance(value, Mapping) and not any(self.wrong(*item) for item in value.items())
        return sound and not all(value.get(name) for name in FILTERS)

    def wrong(self, name: Any, strength: Any) -> str:
        """Say what is wrong with one strength; nothing if it is sound."""
        if name not in TERMS:
            return f"{name!r} is no term{near(str(name), TERMS)}"
        low, high = self.ends(name)
        sound = _is_of(float, strength) and math.isfinite(strength) and low <= strength <= high
        return "" if sound else f"{name} is {strength!r}, not from {low} to {high:,.0f}"

    @property
    def schema(self) -> dict[str, Any]:
        """The names and their ranges in JSON Schema."""
        ends = {name: self.ends(name) for name in TERMS}
        strengths = {name: {"type": "number", "minimum": low, "maximum": high} for name, (low, high) in ends.items()}
        return {"properties": strengths, "additionalProperties": False}

    def __str__(self) -> str:
        terms = (f"{name} {low} to {high:,}" for name in TERMS for low, high in [self.ends(name)])
        one = " or ".join(FILTERS)
        return f"from terms to strengths ({', '.join(terms)}; {one}, not both), such as {{'popularity': 0.3}}"

    @staticmethod
    def ends(name: str) -> tuple[int, int]:
        """Return the least and the largest strength of a term."""
        return (-4, 4) if name in _SIGNED else (0, 1_000_000)


Terms = Annotated[dict, Strengths()] | Literal["auto"]
"""The field ``terms`` of a model: what is added to its score after the fit.

A dict such as {"popularity": 0.3} gives strengths, {} adds nothing. "auto" takes the strengths that validate best by
the model's own scores, on the pairs given to ``fit``; without such pairs it adds nothing and warns. Names are in
``buir.recommend.TERMS``; a model without factors has neither dial nor norm. The fitted model tells in ``terms_``.
"""


def check_parameters(model: Any, parameters: Mapping[str, Any]) -> None:
    """Make sure that hyper-parameters have values that the model's training understands.

    Parameters
    ----------
    model
        A class of ``Recommender`` whose fields say what they take: ``Annotated[int, AtLeast(1)]``,
        ``Literal["id", "graph"]``, ``bool``, or several of these with ``|``. Its ``_conflict`` tells which do not go
        together.
    parameters
        Values by the names of fields.

    Raises
    ------
    TypeError
        If a value is of a type that the field never takes. All errors have the field's name as ``argument``.
    buir.errors.InputError
        If it is another value, or values do not go together.
    """
    hints = get_type_hints(model, include_extras=True)
    for name, value in parameters.items():
        if takes(hints[name], value):
            continue
        values, kinds = _alternatives(hints[name])
        right_type = any(_is_of(kind, value) for kind, _ in kinds) or any(type(one) is type(value) for one in values)
        known = [one for one in values if isinstance(one, str)]
        way = near(value, known) or f"; the default is {default_of(model, name)!r}"
        terms = next((one for _, ranges in kinds for one in ranges if isinstance(one, Strengths)), None)
        if terms is not None and isinstance(value, Mapping):
            wrong = [*filter(None, (terms.wrong(*item) for item in value.items()))]
            way = "; " + (", ".join(wrong) or f"{' and '.join(FILTERS)} are one in two forms: leave one out")
        shown = repr(value) if isinstance(value, int | float | str) else shortened(repr(value))
        msg = f"{name} is {shown}; expected {_expected(values, kinds)}{way}"
        raise _named(name, (InputError if right_type else TypeError)(msg))
    if conflict := model._conflict(parameters):
        name, other, expected = conflict
        msg = f"{name} is {parameters[name]!r} with {other} {parameters[other]!r}; expected {expected}"
        raise _named(name, InputError(msg))


@dataclass(frozen=True)
class Parameter:
    """A hyper-parameter, as its field tells it."""

    name: str
    expected: str
    """What it takes, in words."""
    default: Any
    about: str
    """The text under the field, in one line; empty where there is none."""
    schema: dict[str, Any]
    """What it takes, in JSON Schema."""


def parameters_of(model: Any) -> list[Parameter]:
    """List the hyper-parameters of a class of ``Recommender``, in the order of its constructor.

    Notes
    -----
    The texts are read from the source: this takes milliseconds a class, and is for schemas and documentation.
    """
    hints, abouts = get_type_hints(model, include_extras=True), _texts_under_fields(model)
    found = []
    for name in inspect.signature(model).parameters:
        values, kinds = _alternatives(hints[name])
        written = [
            {"type": _SCHEMAS[kind]} | {key: end for one in ranges for key, end in one.schema.items()}
            for kind, ranges in kinds
            if kind in _SCHEMAS
        ]
        written += [{"enum": values}] if values else []
        schema = written[0] if len(written) == 1 else {"anyOf": written}
        found.append(Parameter(name, _expected(values, kinds), default_of(model, name), abouts.get(name, ""), schema))
    return found


def _texts_under_fields(model: type) -> dict[str, str]:
    """Return the text under each field of a class, by the field's name.

    Python forgets these texts: they are read from the source. Without one, as in a frozen program, there is none.
    """
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__[:-1]):
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        except (OSError, TypeError):
            continue
        assert isinstance(tree, ast.ClassDef)
        for line, below in pairwise(tree.body):
            if (
                isinstance(line, ast.AnnAssign)
                and isinstance(line.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                found[line.target.id] = " ".join(below.value.value.split())
    return found


def takes(hint: Any, value: Any) -> bool:
    """Whether a field with this annotation takes a value."""
    values, kinds = _alternatives(hint)
    return value in [one for one in values if type(one) is type(value)] or any(
        _is_of(kind, value) and all(one.holds(value) for one in ranges) for kind, ranges in kinds
    )


def default_of(model: Any, name: str) -> Any:
    """Return the default of a field, made anew where the field makes one."""
    field = model.__dataclass_fields__[name]
    return field.default if field.default_factory is MISSING else field.default_factory()


def _alternatives(hint: Any) -> tuple[list[Any], list[tuple[type, list[Any]]]]:
    """Take apart what a field may be: single values; and types, each with its ranges."""
    values, kinds = [], []
    for part in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        if get_origin(part) is Literal:
            values += get_args(part)
        elif part is bool:
            values += [True, False]
        else:
            kind, *ranges = get_args(part) if get_origin(part) is Annotated else (part,)
            kinds.append((get_origin(kind) or kind, ranges))
    return values, kinds


def _is_of(kind: type, value: Any) -> bool:
    """Whether a value is of a type; a bool is no number, and of types without a range nothing is known."""
    if kind is Callable:
        return callable(value)
    if kind is type(None):
        return value is None
    return kind not in _TYPES or (isinstance(value, _TYPES[kind]) and not isinstance(value, bool))


def _expected(values: list[Any], kinds: list[tuple[type, list[Any]]]) -> str:
    said = [" ".join([_NOUNS.get(kind, kind.__name__), *map(str, ranges)]) for kind, ranges in kinds]
    chosen = ", ".join(map(repr, values))
    return " or ".join([*said, *([f"one of {chosen}" if len(values) > 1 else chosen] if values else [])])


def _named(argument: str, error: Any) -> Exception:
    error.argument = argument
    return error
