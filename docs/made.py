"""Pages made from the code: the keys of a benchmark's YAML, the command line, the names behind each door; notebooks."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from buir.cli import app
from buir.experiment.config import json_schema, models
from buir.recommend import parameters_of

HEAD = "<!-- Made by docs/made.py from the code; edit that. -->\n\n"
DOORS = (
    ("buir", "What most programs need."),
    ("buir.baselines", "The models to beat, with the same verbs."),
    ("buir.data", "Files, frames and matrices; splits; weights of pairs."),
    ("buir.ranking", "Lists, metrics and the terms of a score."),
    ("buir.recommend", "The verbs of every model, ids, and ranges of hyper-parameters."),
    ("buir.learning", "Loss, target, optimisers and the loop."),
    ("buir.graph", "The graph, its encoders and its spectrum."),
    ("buir.plots", "Pictures of fits, vectors and comparisons."),
    ("buir.experiment", "Comparing models: what `buir benchmark`, `tune`, `report` and `sync` call."),
    ("buir.errors", "Errors and warnings, each with what came, what was expected and what to do."),
)
PARTS = {
    "BenchmarkConfig": "The file",
    "DataConfig": "An entry of `data`",
    "Nested": "`protocol` with `kind: nested`",
    "Author": "`protocol` with `kind: author`",
    "LeaveOneOut": "`protocol` with `kind: leave-one-out`",
    "ByTime": "`protocol` with `kind: time`",
    "Given": "`protocol` with `kind: given`",
    "MetricsConfig": "`metrics`",
    "ModelConfig": "An entry of `models`",
    "TuningConfig": "`tuning`",
    "PanelsConfig": "`panels`",
}


def write_pages(folder: Path) -> None:
    """Write all pages below ``folder``, where they are not so already: what is untouched is not built again."""
    pages = {"made/configuration.md": configuration(), "made/cli.md": command_line(), "api/index.rst": doors()}
    pages |= {f"api/{name}.rst": door(name, about) for name, about in DOORS}
    notebooks = sorted((folder.parent / "notebooks").glob("[0-9]*.ipynb"))
    pages |= {f"notebooks/{file.name}": file.read_text(encoding="utf-8") for file in notebooks}
    for name, text in pages.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def configuration() -> str:
    """Return every key with what it takes, then every kind of model with its parameters."""
    schema = json_schema()
    parts = schema["$defs"] | {"BenchmarkConfig": schema}
    lines = [HEAD]
    for name, title in PARTS.items():
        part = parts[name]
        lines += [f"## {title}\n", f"{_text(part['description'])}\n"]
        lines += ["| key | takes | default | |", "|---|---|---|---|"]
        for key, field in part["properties"].items():
            default = "needed" if key in part.get("required", ()) else _default(field.get("default"))
            lines.append(f"| `{key}` | {_takes(field)} | {default} | {_text(field.get('description', ''))} |")
        lines.append("")
    lines.append("## Kinds of models and their `params`\n")
    for kind in models.CLASSES:
        found = [one for one in parameters_of(models.estimator_class(kind)) if one.name != "seed"]
        about = inspect.getdoc(models.estimator_class(kind)) or ""
        lines += [f"### `{kind}`\n", f"{_text(about.split(chr(10) * 2)[0])}\n"]
        if not found:
            lines.append("It has none.\n")
            continue
        lines += ["| parameter | takes | default | |", "|---|---|---|---|"]
        lines += [f"| `{p.name}` | {_cell(p.expected)} | {_default(p.default)} | {_text(p.about)} |" for p in found]
        lines.append("")
    return "\n".join(lines)


def command_line() -> str:
    """Return every command with its arguments and options."""
    lines = [HEAD]
    for path, command in _commands(typer.main.get_command(app), ("buir",)):
        told = [_text(part) for part in inspect.cleandoc(command.help or "").split("\n\n")]
        *told, example = told
        lines += [f"## `{' '.join(path)}`\n", *(f"{part}\n" for part in told)]
        lines += ["```text", example.removeprefix("Example: ").replace("\\", ""), "```\n"]
        lines += ["| | default | |", "|---|---|---|"]
        for one in command.params:
            if one.name == "help":
                continue
            names = " / ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
            if one.param_type_name == "argument":
                names = f"`{one.metavar or one.name.upper()}`"
            default = "needed" if one.required else _default(None if callable(one.default) else one.default)
            lines.append(f"| {names} | {default} | {_text(one.help or '')} |")
        lines.append("")
    return "\n".join(lines)


def doors() -> str:
    """Return the list of doors."""
    rows = "".join(f"   {name}\n" for name, _ in DOORS)
    about = "".join(f"* :doc:`{name}`: {about.replace('`', '``')}\n" for name, about in DOORS)
    return f"API\n===\n\nWhat a package names in ``__all__`` is public; the rest may change.\n\n{about}\n.. toctree::\n   :hidden:\n\n{rows}"


def door(name: str, about: str) -> str:
    """Return the public names of one package, classes and functions with a page each."""
    module = import_module(name)
    public = getattr(module, "__all__", None) or [n for n in vars(module) if _own(module, n)]
    kinds: dict[str, list[str]] = {
        kind: [] for kind in ("Classes", "Functions", "Errors", "Warnings", "Modules", "Values")
    }
    elsewhere = {id(getattr(import_module(other), one)): f"{other}.{one}" for other, one in _before(name)}
    for one in sorted(public, key=str.lower):
        kinds[_kind(getattr(module, one))].append(one)
    lines = [name, "=" * len(name), "", about.replace("`", "``"), ""]
    for kind, names in kinds.items():
        if not names:
            continue
        found = {one: getattr(module, one) for one in names}
        lines += [kind, "-" * len(kind), ""]
        if kind == "Modules":
            tops = {
                one: (inspect.getdoc(value) or "").split("\n")[0].replace("`", "``") for one, value in found.items()
            }
            lines += [*(f"* ``{one}``: {top}" for one, top in tops.items()), ""]
        elif kind == "Values":
            lines += [*(f"* ``{one}``: ``{value!r}``" for one, value in found.items()), ""]
        else:
            own = [one for one in names if id(found[one]) not in elsewhere]
            lines += [f".. currentmodule:: {name}", "", ".. autosummary::", "   :toctree: generated", ""]
            lines += [*(f"   {one}" for one in own), ""]
            lines += [f"* ``{one}`` is :obj:`{elsewhere[id(found[one])]}`" for one in names if one not in own] + [""]
    return "\n".join(lines)


def _before(name: str) -> Iterator[tuple[str, str]]:
    """List the names of the doors that come before one: what is behind several doors has one page."""
    for other, _ in DOORS:
        if other == name:
            return
        yield from ((other, one) for one in getattr(import_module(other), "__all__", ()))


def _own(module: Any, name: str) -> bool:
    found = getattr(module, name)
    return not name.startswith("_") and callable(found) and getattr(found, "__module__", "") == module.__name__


def _kind(found: Any) -> str:
    if inspect.ismodule(found):
        return "Modules"
    if inspect.isclass(found):
        wrong = "Warnings" if issubclass(found, Warning) else "Errors"
        return wrong if issubclass(found, BaseException) else "Classes"
    return "Functions" if inspect.isroutine(found) else "Values"


def _commands(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


def _takes(field: dict[str, Any]) -> str:
    """Say in words what a piece of JSON Schema takes."""
    for several in ("anyOf", "oneOf"):
        if several in field and all("$ref" in one for one in field[several]):
            return "a mapping, see below"
        if several in field:
            return " or ".join(dict.fromkeys(_takes(one) for one in field[several] if one.get("type") != "null"))
    if "$ref" in field or "allOf" in field:
        part = field.get("$ref", "").rpartition("/")[2]
        return f"see {PARTS[part]}" if part in PARTS else "a mapping"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{one}`" for one in field["enum"])
    kind = field.get("type")
    if kind == "array":
        return f"a list: {_takes(field['items'])}"
    ends = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    said = " and ".join(f"{word} {field[end]}" for end, word in ends.items() if end in field and field[end] != 2**32)
    words = {"integer": "a whole number", "number": "a number", "string": "a text", "boolean": "`true` or `false`"}
    return " ".join(filter(None, (words.get(str(kind), "a mapping"), said)))


def _default(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict) and not value:
        return "`{}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "" if isinstance(value, dict) or value == () or value == "" else f"`{value}`".replace("|", "\\|")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("{", "\\{")


def _text(text: str) -> str:
    """Write a docstring's text as Markdown."""
    line = " ".join(text.split()).replace("``", "`")
    parts = line.split("`")
    # Within code nothing is escaped but the bar, which would end the cell of a table.
    return "`".join(
        p.replace("|", "\\|") if i % 2 else _cell(p).replace("*", "\\*").replace("<", "&lt;")
        for i, p in enumerate(parts)
    )
