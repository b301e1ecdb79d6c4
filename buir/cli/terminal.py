"""What a command tells whoever typed it: a line for each mistake and each warning, in words of the command line."""

import json
import math
import re
import shlex
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from buir.errors import (
    Argument,
    ConfigError,
    ExperimentError,
    InputError,
    NotInstalledError,
    ReadError,
    StorageError,
    needing,
    one_line,
    shortage,
    shortened,
    warnings_in_one_line,
)

_OPTIONS = {"columns": "column", "exclude_seen": "include-seen", "histories": "history", "users": "user"}
_OPTIONS |= {"weights": "weight"}
"""Options that are called otherwise than the library's argument."""


_LONGEST = 2000
"""Characters of an error; what is longer repeats what came."""

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document, for programs; null is a missing number.")
]

wants_traceback: ContextVar[bool] = ContextVar("wants_traceback", default=False)
"""Whether the command line was started with --traceback."""


def option(argument: Argument) -> str:
    """Write an argument of the library as it is typed, such as ``--unknown skip``."""
    name = f"--{_OPTIONS.get(argument.name, argument.name.replace('_', '-'))}"
    if argument.name == "header" and argument.value is False:
        return "--no-header"
    if argument.value is None or isinstance(argument.value, bool):
        return name
    value = f"{argument.value}=COLUMN" if argument.name == "columns" else shlex.quote(str(argument.value))
    return f"{name} {value}"


def setting(argument: Argument) -> str:
    """Write an argument of the reader as a key of a configuration, such as ``--set data.min_rating=4``."""
    name = {"weights": "weight"}.get(argument.name, argument.name)
    if argument.value is None:
        return f"--set data.{name}"
    value = {argument.value: "COLUMN"} if name == "columns" else argument.value
    text = json.dumps(value).replace('"', "") if isinstance(value, bool | Mapping) else str(value)
    return f"--set {shlex.quote(f'data.{name}={text}')}"


def stop(message: str, code: int) -> NoReturn:
    """End the command with one line on stderr."""
    line = re.sub(r"\S{400,}", lambda word: shortened(word[0]), one_line(message))
    typer.echo(f"error: {line if len(line) <= _LONGEST else f'{line[:_LONGEST]} ...'}", err=True)
    raise typer.Exit(code)


def show_json(value: Mapping[str, Any]) -> None:
    """Print one JSON document; numbers that are none, or infinite, are null."""
    typer.echo(json.dumps(_plain(value), ensure_ascii=False, indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    value = value.item() if hasattr(value, "item") else value  # a number of NumPy
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


@contextmanager
def one_line_errors(
    kept: str | Callable[[], str], less: str, written: Callable[[Argument], str] = option
) -> Iterator[None]:
    """Say a mistake in one line: exit code 2 for a wrong request, 1 for what fails, 70 for what nobody has foreseen.

    Parameters
    ----------
    kept
        What is left after Ctrl-C, or what says so then.
    less
        What takes less memory.
    written
        How an argument of the library is typed.
    """
    try:
        with (
            needing("this command", whole=True),
            warnings_in_one_line(lambda text: typer.echo(f"warning: {text}", err=True), written),
        ):
            yield
    except KeyboardInterrupt:
        stop(f"stopped; {kept if isinstance(kept, str) else kept()}", 130)
    except ConfigError as error:
        for problem in error.problems[:-1]:
            typer.echo(f"error: {one_line(problem)}", err=True)
        stop(error.problems[-1], 2)
    except InputError as error:
        stop(error.written(written), 1 if isinstance(error, ReadError | StorageError) else 2)
    except (ExperimentError, FloatingPointError, NotInstalledError) as error:
        stop(str(error), 1)
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            stop(f"{error.filename}: {error.strerror}; check the path, its permissions and the space on the disk", 1)
        if lack := shortage(error):
            stop(f"{lack}; {less}", 1)
        if wants_traceback.get():
            raise
        frame = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {one_line(error)[:200]} ({Path(frame.filename).name}, line {frame.lineno})"
        stop(f"nobody has foreseen this: {what}; please report it with what 'buir --traceback ...' prints", 70)
