"""What can go wrong: every error and warning of the package, and the words they share."""

import difflib
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Argument:
    """An argument within a message, which reads as Python's and which the command line writes as its option.

    Examples
    --------
    >>> print(Argument("format"), Argument("unknown", "skip"), Argument("columns", "rating"))
    format unknown='skip' columns={'rating': <name or position>}
    """

    name: str
    value: object = None
    """What to pass, None where the message only speaks of the argument; of ``columns`` the role."""

    def __str__(self) -> str:
        if self.value is None:
            return self.name
        if self.name == "columns":
            return f"columns={{{self.value!r}: <name or position>}}"
        return f"{self.name}={self.value!r}"


class Finding(Exception):  # noqa: N818 - errors and warnings alike
    """What is wrong with an input.

    Parameters
    ----------
    message
        What came, what was expected, what to do; in parts, so that the command line can write arguments as options.
    rows
        The row numbers concerned.
    argument
        Name of the argument concerned; the first in the message if not given.
    """

    def __init__(
        self, *message: str | Argument, rows: np.ndarray | Sequence[int] = (), argument: str | None = None
    ) -> None:
        super().__init__("".join(map(str, message)))
        self.message = message
        self.rows = np.asarray(rows, dtype=np.int64)
        named = [part.name for part in message if isinstance(part, Argument)]
        self.argument = named[0] if argument is None and named else argument

    def written(self, write: Callable[[Argument], str]) -> str:
        """Return the text with arguments as ``write`` writes them."""
        return "".join(part if isinstance(part, str) else write(part) for part in self.message)


class InputError(Finding, ValueError):
    """An argument, or data, that cannot be used."""


class ShapeError(InputError):
    """A matrix whose shape does not fit: transposed, of other users or items, or broken."""


class OutOfRangeError(InputError, IndexError):
    """A row or column number outside the matrix or the model."""


class UnknownIdError(InputError, LookupError):
    """An id that the model was not trained with; ``noun`` is "user" or "item"."""

    def __init__(self, *message: str | Argument, noun: str = "", argument: str | None = None) -> None:
        super().__init__(*message, argument=argument)
        self.noun = noun


class UnknownParameterError(InputError, TypeError):
    """A hyper-parameter that the model does not have by this name; the message says what it has in its place."""


class NotFittedError(InputError, AttributeError):
    """A model was asked before it was fitted."""


class ReadError(InputError):
    """A file cannot be read as interactions; the message names the file, line (or row) and way out."""

    def __init__(
        self, path: Path | str, *what: str | Argument, line: int | None = None, row: int | None = None
    ) -> None:
        place = "" if row is None else f", row {row} (from 0)"
        super().__init__(f"{shortened(path)}{place if line is None else f', line {line}'}: ", *what)


class StorageError(InputError):
    """A model that cannot be written where it should be, or a file that is not a whole model of this package."""


class NotInstalledError(Finding, ImportError):
    """Something asked for needs a package that is not installed; the message says which, and the command for it."""


class Refused(ValueError):  # noqa: N818 - a decision about the data, not a fault
    """A model declines data that it could not finish in reasonable memory; the message says what it would take."""


class ConfigError(InputError):
    """A configuration that cannot be run; ``problems`` holds one line for each mistake."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class ExperimentError(RuntimeError):
    """Something outside the program stands in the way of a benchmark; the message says what, and what to do."""


class TuningError(ExperimentError):
    """A search that came to nothing: no trial gave a value."""


class InputWarning(Finding, UserWarning):
    """Input that can be used but is probably not what was meant."""


class ExplicitZerosWarning(InputWarning):
    """Stored zeros, which are read as absent."""


class DuplicatePairsWarning(InputWarning):
    """The same user and item stored more than once, which is read as one pair."""


class ValuesIgnoredWarning(InputWarning):
    """Values other than one, each of which is read as one positive."""


class AmbiguousFileWarning(InputWarning):
    """A file that is read in one of several ways it allows; the message says which, and what decides."""


class EmptyRowsWarning(InputWarning):
    """Users without interactions."""


class EmptyColumnsWarning(InputWarning):
    """Items without interactions."""


class SmallDataWarning(InputWarning):
    """Fewer pairs than one batch holds."""


class SmallCatalogueWarning(InputWarning):
    """Fewer items than a list should hold."""


class NoValidationWarning(InputWarning):
    """No held-out pairs, given or to be taken from training, so that defaults stand where they would decide."""


class StartKeptWarning(InputWarning):
    """Epochs of going on, though no training was better than the start on the fit's held-out pairs."""


class CheckpointWarning(InputWarning):
    """A checkpoint that could not be written while a fit went on."""


class ValidSeenWarning(InputWarning):
    """Some validation pairs that are also in training, where they could never be found; they are left out."""


class PairsDroppedWarning(InputWarning):
    """Held-out pairs that a model cannot be measured on; they are left out, and the message counts them."""


class TestSeenWarning(InputWarning):
    """Held-out pairs that the model was trained on, so that it is measured on what it has learned."""

    __test__ = False  # for pytest, whose name for tests this is


class ShortListsWarning(InputWarning):
    """Lists to be measured that are missing, shorter than asked for, or hold what can be no hit."""


class RowsNotIdsWarning(InputWarning):
    """Rows are asked of a model whose ids are other integers, so that ids may have been meant."""


class DamagedWarning(InputWarning):
    """A file of ours that is not as it was written: it is set aside, and what it held is made anew."""


class CollapseWarning(UserWarning):
    """The representation uses so few dimensions that lists look alike, or they do for another reason."""


_OURS = ("buir", "baselines", "buir_baselines")

_SHOWN = 5
"""Row numbers spelled out in a message."""
_NAMED, _WIDEST = 12, 40
"""Names spelled out in a message, and the letters of each."""
_END = 120
"""Characters of each end of a long value that a message shows."""


def counted(n: int, noun: str) -> str:
    """Return "1 pair" or "1,200 pairs"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def near(name: object, names: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the name that is nearest, whatever its capitals; nothing where none is near."""
    lowered = {known.lower(): known for known in names}
    found = difflib.get_close_matches(str(name).lower(), lowered, n=1, cutoff=0.5)
    return f"; did you mean {lowered[found[0]]!r}?" if found else ""


def show_rows(rows: np.ndarray, noun: str = "row") -> str:
    """Return "row 3" or "rows 3, 7, 8, 9, 12 and 40 more"."""
    rows = np.unique(rows)
    text = f"{noun}{'s' if rows.size > 1 else ''} {', '.join(str(row) for row in rows[:_SHOWN])}"
    return text if rows.size <= _SHOWN else f"{text} and {rows.size - _SHOWN:,} more"


def listed(names: Iterable[object]) -> str:
    """Return "['a', 'b']", or the first few of a long list, each cut short, and how many more there are."""
    names = list(names)
    shown = ", ".join(
        repr(name if len(str(name)) <= _WIDEST else f"{str(name)[:_WIDEST]}...") for name in names[:_NAMED]
    )
    return f"[{shown}]" if len(names) <= _NAMED else f"[{shown} and {len(names) - _NAMED:,} more]"


def one_line(text: object) -> str:
    """Return a text without its line breaks."""
    return " ".join(str(text).split())


def shortened(value: object) -> str:
    """Return a value as text; of a very long one both ends, and how many characters there were."""
    text = str(value)
    return text if len(text) <= 2 * _END + 20 else f"{text[:_END]}...{text[-_END:]} ({len(text):,} characters)"


def report(findings: list[Finding], *, warn: bool = True) -> None:
    """Raise the first error among the findings; otherwise, if ``warn``, warn of each, at the caller's own line."""
    for finding in findings:
        if isinstance(finding, InputError):
            raise finding
    for finding in findings:
        if warn and isinstance(finding, InputWarning):
            warnings.warn(finding, stacklevel=level_outside())


@contextmanager
def needing(what: str, *, whole: bool = False) -> Iterator[None]:
    """Say in one sentence what to install where an import inside finds that a package is missing.

    Parameters
    ----------
    what
        What was asked for, as the message's subject.
    whole
        It needs most requirements of the project: the command names all that are missing and not only the first.

    Raises
    ------
    NotInstalledError
        If a module of another project cannot be found. A missing module of our own is a defect and stays as it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module in ("", *_OURS):
            raise
        absent = _absent_requirements()
        mine = absent.values() if whole else [absent[name] for name in [module.replace("_", "-")] if name in absent]
        command = shlex.join(["pip", "install", *(mine or [module])])
        msg = f"{what} needs {module}, which is not installed here (a light installation goes without): {command}"
        raise NotInstalledError(msg) from error


def _absent_requirements() -> dict[str, str]:
    """Return the project's requirements that are not installed, with their ranges, by normalised name."""
    from importlib import metadata  # only here: it takes longer to import than most of the package

    found = {}
    with suppress(metadata.PackageNotFoundError):  # a checkout that is only in the path
        for line in metadata.requires("buir") or []:
            requirement, _, condition = line.partition(";")
            name = re.split(r"[^\w.-]", requirement)[0]
            try:
                metadata.version(name)
            except metadata.PackageNotFoundError:
                if "extra" not in condition:
                    found[re.sub(r"[-_.]+", "-", name).lower()] = requirement.strip()
    return found


def level_outside() -> int:
    """Return the stack level of the first frame outside our packages, where the person can act on the warning."""
    ours = tuple(str(Path(__file__).parents[1] / package) for package in ("buir", "baselines"))
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(ours):
        frame, level = frame.f_back, level + 1
    return level


@contextmanager
def warnings_in_one_line(say: Callable[[str], object], write: Callable[[Argument], str] = str) -> Iterator[None]:
    """Hand ``say`` each warning that is meant for the user, without the line of code that Python shows with it.

    ``write`` says how its arguments are written.
    """

    def show(message: Warning | str, category: type[Warning], *_: object) -> None:
        if issubclass(category, UserWarning):
            say(one_line(message.written(write) if isinstance(message, Finding) else message))

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = show
        yield


# NumPy, SciPy and torch tell a lack of memory, and how much was asked for, in words alone.
_SHORT_OF_MEMORY = re.compile(
    r"unable to allocate|allocate memory|out of memory|storage size calculation overflowed|array is too big|"
    r"maximum allowed dimension",
    re.IGNORECASE,
)


def shortage(error: BaseException) -> str | None:
    """Say that memory is short, and how much was asked for if the error tells.

    Returns
    -------
    Such as "not enough memory, 7.28 TiB asked for"; None if the error is about something else.

    Examples
    --------
    >>> shortage(MemoryError("Unable to allocate 7.28 TiB for an array with shape (1000000, 1000000)"))
    'not enough memory, 7.28 TiB asked for'
    """
    message = str(error)
    if not isinstance(error, MemoryError) and not (
        isinstance(error, RuntimeError | ValueError) and _SHORT_OF_MEMORY.search(message)
    ):
        return None
    if size := re.search(r"allocate ([\d.]+ ?[KMGTPE]?i?B)\b", message):
        return f"not enough memory, {size[1]} asked for"
    if size := re.search(r"allocate (\d+) bytes", message):
        return f"not enough memory, {int(size[1]) / 2**30:,.1f} GiB asked for"
    return "not enough memory"
