"""What is wrong with a configuration: one line for each mistake, with its place, what came and what was expected."""

import re
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from buir.errors import ConfigError, listed, near
from buir.experiment.config.models import suggestion

Place = tuple[str | int, ...]

_MOST_SHOWN = 80
"""Characters of a wrong value that a message repeats."""
_EXPECTED = {
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "path_type": "the name of a file",
    "invalid_key": "a key of text",
}
"""In place of pydantic's words, where they are about Python."""


def refuse(problems: Iterable[tuple[Place, str]]) -> None:
    """Raise what a validator found, if anything, each at its place below the value; pydantic adds it to the others."""
    details = [
        InitErrorDetails(type=PydanticCustomError("mistake", "{text}", {"text": text}), loc=place, input=None)
        for place, text in problems
    ]
    if details:
        raise ValidationError.from_exception_data(ConfigError.__name__, details)


def in_lines(error: ValidationError, schema: Any, raw: Any) -> list[str]:
    """Write the errors of validating ``raw`` as ``schema`` as ``where: what came, what was expected``."""
    # A list whose entries are wrong counts as too short as well: an echo, not a mistake.
    causes = [e for e in error.errors() if e["type"] != "too_short" or not e["input"]]
    return [_line(e, schema, raw) for e in causes]


def shown(value: Any) -> str:
    """Say what a value is."""
    if value is None:
        return "nothing"
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else f"a list of {len(value)}"
    return f"{_short(value)} ({ {'str': 'text', 'bool': 'yes/no'}.get(type(value).__name__, type(value).__name__) })"


def _line(error: ErrorDetails, schema: Any, raw: Any) -> str:
    kind, value, context, loc = error["type"], error["input"], error.get("ctx", {}), error["loc"]
    keys, tag = _keys(loc, raw, keep_last=kind in ("missing", "invalid_key"))
    where = ".".join(map(str, keys)) or "configuration"
    last = str(keys[-1]) if keys else ""
    match kind:
        case "mistake" | "value_error":
            return f"{where}: {context['text'] if kind == 'mistake' else context['error']}"
        case "extra_forbidden":
            return f"{where}: unknown key{f' of {tag!r}' if tag else ''}{suggestion(last, _names_at(schema, loc[:-1]))}"
        case "missing":
            return f"{where}: missing; add it"
        case "union_tag_not_found":
            return f"{where}.{context['discriminator'].strip(chr(39))}: missing; add it"
        case "too_short":
            return f"{where}: is empty; give at least one entry"
        case "too_long":
            return f"{where}: got {shown(value)}, expected at most {context['max_length']}"
        case "path_not_file":
            if Path(value).is_dir():
                inside = listed(sorted(file.name for file in Path(value).iterdir() if file.is_file()))
                return f"{where}: is a folder: {value}; expected a file, such as one of {inside}"
            beside = sorted(file.name for file in Path(value).parent.glob("*") if file.is_file())
            return f"{where}: no such file: {value}{near(Path(value).name, beside)}"
        case "tuple_type":
            example = f", such as [{value}]" if isinstance(value, int | float) else ""
            return f"{where}: got {shown(value)}, expected a list{example}"
        case "literal_error":
            return f"{where}: got {_short(value)}{suggestion(str(value), _quoted(context['expected']))}"
        case "union_tag_invalid":
            name, tag = context["discriminator"].strip("'"), context["tag"]
            return f"{where}.{name}: got {_short(value[name])}{suggestion(tag, _quoted(context['expected_tags']))}"
        case "string_pattern_mismatch":
            return f"{where}: got {_short(value)}, expected letters, digits, '.', '_' and '-' only"
    usual = error["msg"].removeprefix("Input should be ").split(" after validation")[0]
    return f"{where}: got {shown(value)}, expected {_EXPECTED.get(kind, usual)}"


def _keys(loc: Place, raw: Any, *, keep_last: bool) -> tuple[list[str | int], str]:
    """Follow a location through what was read; the tags of unions, which pydantic puts in between, are not there."""
    keys: list[str | int] = []
    tag = ""
    for number, part in enumerate(loc, start=1):
        try:
            raw = raw[part]
        except (LookupError, TypeError):
            if not keep_last or number < len(loc):
                tag = str(part)
                continue
        keys.append(part)
    return keys, tag


def _names_at(schema: Any, loc: Place) -> list[str]:
    """Follow a location through the schema to the names that are valid there."""
    models = _models_in(schema)
    for part in loc:
        tagged = [m for m in models if any(part in typing.get_args(f.annotation) for f in m.model_fields.values())]
        inner = [x for m in models if part in m.model_fields for x in _models_in(m.model_fields[str(part)].annotation)]
        models = inner or tagged or models
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for arg in typing.get_args(annotation) for found in _models_in(arg)]


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)


def _short(value: Any) -> str:
    """Write a value, and of a long one, such as a file of data in place of a configuration, the start."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."
