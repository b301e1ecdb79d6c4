"""YAML text, and the ``key=value`` of the command line on top of it."""

import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from buir.errors import ConfigError, one_line
from buir.experiment.config import models
from buir.experiment.config.mistakes import shown

PATH_KEYS = ("path", "train", "valid", "test")
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LARGEST = 1 << 20
"""Bytes of a configuration: reading takes a minute for so many, and nobody writes them."""


def parse(text: str, source: str) -> Any:
    """Read YAML 1.2: ``1e-3`` is a number, ``on`` a word, and a key given twice an error."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        what = getattr(error, "problem", None) or getattr(error, "context", None) or error
        raise ConfigError([f"{source}{line}: {one_line(what)}"]) from error
    except RecursionError as error:
        raise ConfigError([f"{source}: is nested too deeply to be read; expected a few levels"]) from error
    except ValueError as error:  # numbers that Python does not take
        raise ConfigError([f"{source}: {one_line(error).partition(';')[0][:200]}"]) from error


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a file that must hold a mapping."""
    try:
        if file.stat().st_size > _LARGEST:
            msg = f"{file}: has {file.stat().st_size:,} bytes, expected at most {_LARGEST:,}: give fewer entries"
            raise ConfigError([msg])
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{file}: cannot be read as text: {error}"
        raise ConfigError([msg]) from error
    raw = parse(text, file.name)
    if not isinstance(raw, dict):
        msg = f"{file.name}: holds {shown(raw)}, expected keys such as 'data:' and 'models:'"
        raise ConfigError([msg])
    return raw


def to_yaml(values: Mapping[str, Any]) -> str:
    """Write YAML with one entry on each line, in the order given."""
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(values, stream)
    return stream.getvalue()


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Put one ``key=value`` into ``raw``.

    Paths in the value are made absolute at once: they were typed in the working directory, not in the file's folder.

    Raises
    ------
    ConfigError
        If it has another form, or its key leads nowhere.
    """
    key, equals, text = override.partition("=")
    keys = key.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError([f"--set {override}: expected key=value, for example --set seeds=[0,1]"])
    try:
        _put(raw, keys, _from_here(keys[-1], parse(text, f"--set {override}")), [])
    except LookupError as error:
        msg = f"--set {key}: {error.args[0]}"
        raise ConfigError([msg]) from error


def _put(place: Any, keys: list[str], value: Any, above: list[str]) -> None:
    part, *rest = keys
    if isinstance(place, list) and len(place) == 1 and _index(place, part) is None:
        # ``data.path`` means ``data.0.path`` where there is one entry.
        _put(place[0], keys, value, above)
    elif rest:
        key = _key(place, part, above)
        if isinstance(place, dict) and place.get(key) is None:
            place[key] = {}
        _put(place[key], rest, value, [*above, part])
    else:
        place[_key(place, part, above)] = value


def _key(place: Any, part: str, above: list[str]) -> Any:
    """Turn a part of a dotted key into what a mapping or a list is asked with."""
    if isinstance(place, dict):
        return part
    if not isinstance(place, list):
        msg = f"{'.'.join(above)} holds {shown(place)}, it has no {part!r}"
        raise LookupError(msg)
    index = _index(place, part)
    if index is None:
        entries = ", ".join(labels[0] if (labels := _labels(e)) else str(i) for i, e in enumerate(place))
        msg = f"no entry {part!r} in {'.'.join(above)} (entries: {entries})"
        raise LookupError(msg)
    return index


def _index(entries: list[Any], part: str) -> int | None:
    """Find an entry by its place or by one of its names."""
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


def _from_here(key: str, value: Any) -> Any:
    """Make the paths in a value absolute, wherever in it they are."""
    if isinstance(value, dict):
        return {k: _from_here(str(k), v) for k, v in value.items()}
    if isinstance(value, list):
        return [_from_here(key, v) for v in value]
    return absolute(value, Path.cwd()) if key in PATH_KEYS and isinstance(value, str) else value


def absolute(path: str, base: Path) -> str:
    """Expand ``${NAME}``, if it is set, and ``~``; what is relative then is relative to ``base``."""

    def folder(match: re.Match[str]) -> str:
        value = os.environ.get(match[1], match[0])
        # A variable that opens the path was set in the shell: a relative value is relative to the working directory.
        return str(Path(value).expanduser().absolute()) if match.start() == 0 and match[1] in os.environ else value

    return str(base.resolve() / Path(VARIABLE.sub(folder, path)).expanduser())
