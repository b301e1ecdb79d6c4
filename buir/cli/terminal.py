"""What a command tells whoever typed it: a line for each mistake and each warning, in words of the command line."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

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
    warnings_in_one_line,
)

_OPTIONS = {"columns": "column", "exclude_seen": "include-seen", "histories": "history", "users": "user"}
"""Options that are called otherwise than the library's argument."""


def option(argument: Argument) -> str:
    """Write an argument of the library as it is typed, such as ``--unknown skip``."""
    name = f"--{_OPTIONS.get(argument.name, argument.name.replace('_', '-'))}"
    if argument.value is None or isinstance(argument.value, bool):
        return name
    value = f"{argument.value}=COLUMN" if argument.name == "columns" else shlex.quote(str(argument.value))
    return f"{name} {value}"


def stop(message: str, code: int) -> NoReturn:
    """End the command with one line on stderr."""
    typer.echo(f"error: {one_line(message)}", err=True)
    raise typer.Exit(code)


@contextmanager
def one_line_errors(kept: str, less: str) -> Iterator[None]:
    """Say a mistake in one line: exit code 2 for a wrong request, 1 for what fails. Defects keep their traceback.

    Parameters
    ----------
    kept
        What is left after Ctrl-C.
    less
        What takes less memory.
    """
    try:
        with (
            needing("this command", whole=True),
            warnings_in_one_line(lambda text: typer.echo(f"warning: {text}", err=True)),
        ):
            yield
    except KeyboardInterrupt:
        stop(f"stopped; {kept}", 130)
    except ConfigError as error:
        for problem in error.problems[:-1]:
            typer.echo(f"error: {one_line(problem)}", err=True)
        stop(error.problems[-1], 2)
    except InputError as error:
        stop(error.written(option), 1 if isinstance(error, ReadError | StorageError) else 2)
    except (ExperimentError, FloatingPointError, NotInstalledError) as error:
        stop(str(error), 1)
    except OSError as error:
        if error.filename is None:
            raise
        stop(f"{error.filename}: {error.strerror}; check the path, its permissions and the space on the disk", 1)
    except (MemoryError, RuntimeError, ValueError) as error:
        lack = shortage(error)
        if lack is None:
            raise
        stop(f"{lack}; {less}", 1)
