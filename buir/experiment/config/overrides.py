"""YAML text and ``key=value`` overrides, and their mistakes in one line each."""

from __future__ import annotations

import difflib
import os
import re
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from buir.experiment.config import models

PATH_KEYS = ("path", "train", "test")
_MOST_SHOWN = 80
"""Characters of a wrong value that a message repeats."""
_LISTS = {
    "seeds": ", such as [0, 1, 2]",
    "split_seeds": ", such as [0, 1, 2]",
    "ks": ", such as [10, 20, 50]",
    "levels": ", such as [0.2, 0.5, 1.0]",
}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class ConfigError(ValueError):
    """A configuration that cannot be run; ``problems`` holds one line for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


def parse(text: str, source: str) -> Any:
    """Read YAML 1.2: ``1e-3`` is a number, ``on`` a word, and a key given twice an error."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark is not None else ""
        what = " ".join(str(error.problem or error.context or "not YAML").split())
        msg = f"{source}{line}: {what}"
    except YAMLError as error:
        msg = f"{source}: {' '.join(str(error).split())}"
    raise ConfigError([msg])


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a file that must hold a mapping."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{file}: cannot be read as text: {error}"
        raise ConfigError([msg]) from error
    raw = parse(text, file.name)
    if not isinstance(raw, dict):
        msg = f"{file.name}: holds {_kind(raw)}, expected keys such as 'data:' and 'models:'"
        raise ConfigError([msg])
    return raw


def apply_override(raw: dict[str, Any], override: str) -> list[str]:
    """Put one ``key=value`` into ``raw``; return what is wrong with it.

    Paths in the value are made absolute at once: they were typed in the working directory, not in the file's folder.
    """
    key, equals, text = override.partition("=")
    keys = key.strip().split(".")
    if not equals or not all(keys):
        return [f"--set {override}: expected key=value, for example --set seeds=[0,1]"]
    value = parse(text, f"--set {override}")
    problems: list[str] = []
    value = _absolute(keys[-1], value, Path.cwd(), problems, f"--set {key}")
    place: Any = raw
    for depth, part in enumerate(keys[:-1]):
        place = _enter(place, part, keys[:depth])
        if isinstance(place, _Problem):
            return [f"--set {key}: {place}"]
    place = _only_entry(place, keys[-1])
    if isinstance(place, list):
        index = _index(place, keys[-1])
        if index is None:
            return [f"--set {key}: no entry {keys[-1]!r} in {'.'.join(keys[:-1])} ({_entries(place)})"]
        place[index] = value
    elif isinstance(place, dict):
        place[keys[-1]] = value
    else:
        return [f"--set {key}: {'.'.join(keys[:-1])} holds {_kind(place)}, it has no {keys[-1]!r}"]
    return problems


def resolve_paths(raw: dict[str, Any], folder: Path) -> list[str]:
    """Expand ``${NAME}`` and make the data's paths absolute, relative to the folder of the file; return problems."""
    problems: list[str] = []
    entries = raw.get("data")
    for place, entry in enumerate(entries if isinstance(entries, list) else []):
        if isinstance(entry, dict):
            for key in PATH_KEYS:
                if key in entry:
                    entry[key] = _absolute(key, entry[key], folder, problems, f"data.{place}.{key}")
    return problems


def nearest_file(file: Path) -> str:
    """Suggest the near name of a file beside one that is not there; nothing where none is near."""
    names = sorted(p.name for p in file.parent.iterdir() if p.is_file()) if file.parent.is_dir() else []
    near = difflib.get_close_matches(file.name, names, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def is_cause(error: Any) -> bool:
    """Tell a mistake from its echo: a list whose entries are wrong counts as too short as well."""
    return error["type"] != "too_short" or not error["input"]


def one_line(error: Any, schema: type[BaseModel]) -> str:
    """Write one of pydantic's errors as ``where: what came, what was expected``."""
    loc = tuple(error["loc"])
    where = ".".join(str(part) for part in loc) or "configuration"
    kind = error["type"]
    if kind == "extra_forbidden":
        valid = _fields_at(schema, loc[:-1])
        return f"{where}: unknown key{models.suggestion(str(loc[-1]), valid)}"
    if kind == "missing":
        return f"{where}: missing; add it"
    if kind == "value_error":
        return f"{where}: {error['ctx']['error']}"
    if kind == "too_short":
        return f"{where}: is empty; give at least one entry"
    if kind == "tuple_type":
        return f"{where}: got {_kind(error['input'])}, expected a list{_LISTS.get(str(loc[-1]), '') if loc else ''}"
    if kind == "literal_error":
        expected = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        return f"{where}: got {_shown(error['input'])}{models.suggestion(str(error['input']), expected)}"
    if kind == "string_pattern_mismatch":
        return f"{where}: got {_shown(error['input'])}, expected letters, digits, '.', '_' and '-' only"
    expected = error["msg"].removeprefix("Input should be ").split(" after validation")[0]
    return f"{where}: got {_kind(error['input'])}, expected {expected}"


def _fields_at(schema: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    """Follow a location through the schema to the names that are valid there."""
    for part in loc:
        if isinstance(part, int) or part not in schema.model_fields:
            continue
        inner = _model_in(schema.model_fields[part].annotation)
        if inner is not None:
            schema = inner
    return list(schema.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in typing.get_args(annotation) if (found := _model_in(arg))), None)


class _Problem(str):
    """What is wrong with a step, where a value of the configuration could come as well."""

    __slots__ = ()


def _enter(place: Any, part: str, above: list[str]) -> Any:
    """Go one step down."""
    place = _only_entry(place, part)
    if isinstance(place, dict):
        if place.get(part) is None:
            place[part] = {}
        return place[part]
    where = ".".join(above) or "the configuration"
    if isinstance(place, list):
        index = _index(place, part)
        return _Problem(f"no entry {part!r} in {where} ({_entries(place)})") if index is None else place[index]
    return _Problem(f"{where} holds {_kind(place)}, it has no {part!r}")


def _only_entry(place: Any, part: str) -> Any:
    """``data.path`` means ``data.0.path`` where there is one entry."""
    if isinstance(place, list) and _index(place, part) is None and len(place) == 1:
        return place[0]
    return place


def _index(entries: list[Any], part: str) -> int | None:
    if part.isdecimal() and int(part) < len(entries):
        return int(part)
    wanted = part.lower()
    return next((i for i, entry in enumerate(entries) if wanted in map(str.lower, _labels(entry))), None)


def _labels(entry: Any) -> list[str]:
    """Names by which an entry of a list can be addressed, the one to show first."""
    if not isinstance(entry, dict):
        return []
    params, kind = entry.get("params"), str(entry.get("kind", ""))
    usual = models.default_name(kind, params if isinstance(params, dict) else {}, entry.get("preset"))
    return [str(name) for name in (entry.get("name"), entry.get("dataset"), usual, kind) if name]


def _entries(place: list[Any]) -> str:
    return "entries: " + ", ".join(labels[0] if (labels := _labels(e)) else str(i) for i, e in enumerate(place))


def _absolute(key: str, value: Any, base: Path, problems: list[str], where: str) -> Any:
    if isinstance(value, dict):
        return {k: _absolute(str(k), v, base, problems, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, list):
        return [_absolute(key, v, base, problems, f"{where}.{i}") for i, v in enumerate(value)]
    if key not in PATH_KEYS or not isinstance(value, str):
        return value
    problems += [
        f"{where}: the environment variable {name} is not set; set it (export {name}=FOLDER) "
        f"or give the file: --set data.{key}=FILE"
        for name in _VARIABLE.findall(value)
        if name not in os.environ
    ]
    expanded = _VARIABLE.sub(_variable, value)
    return str(base.resolve() / Path(expanded).expanduser())


def _variable(match: re.Match[str]) -> str:
    value = os.environ.get(match[1], match[0])
    # A variable that opens the path was set in the shell: a relative value is relative to the working directory.
    return str(Path(value).expanduser().absolute()) if match.start() == 0 and match[1] in os.environ else value


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else f"a list of {len(value)}"
    return f"{_shown(value)} ({ {'str': 'text', 'bool': 'yes/no'}.get(type(value).__name__, type(value).__name__) })"


def _shown(value: Any) -> str:
    """Write a value, and of a long one, such as a file of data in place of a configuration, the start."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."
