"""What can be wrong: one class for each error and warning that a user can tell apart, and how they are told."""

import re
import sys
import warnings
from pathlib import Path

import numpy as np


class InputError(ValueError):
    """Input that no model can be trained on or asked with; ``rows`` holds the row numbers concerned."""

    def __init__(self, message: str, rows: np.ndarray | None = None) -> None:
        super().__init__(message)
        self.rows = np.empty(0, dtype=np.int64) if rows is None else rows


class ShapeError(InputError):
    """A matrix whose shape does not fit the model, or has no entries in one direction."""


class TransposedError(ShapeError):
    """Items in the rows and users in the columns."""


class NotFiniteError(InputError):
    """NaN or infinite values."""


class NegativeValuesError(InputError):
    """Values below zero: BUIR and its baselines learn from positives alone."""


class MissingIdError(InputError):
    """Rows without a user or an item."""


class OutOfRangeError(InputError, IndexError):
    """A row or column number outside the matrix or the model."""


class NoInteractionsError(InputError):
    """A matrix without a single positive."""


class ValidSeenError(InputError):
    """Validation pairs that are all in training, where they are masked and can never be found."""


class NotFittedError(ValueError, AttributeError):
    """A model was asked before it was fitted."""


class UnknownIdError(InputError, LookupError):
    """An id that the model was not trained with; ``noun`` is "user" or "item"."""

    def __init__(self, message: str, noun: str = "") -> None:
        super().__init__(message)
        self.noun = noun


class StorageError(ValueError):
    """A model that cannot be written where it should be, or a file that is not a whole model of this package."""


class Refused(ValueError):  # noqa: N818 - a decision about the data, not a fault
    """A model declines data that it could not finish in reasonable memory; the message says what it would take."""


class InputWarning(UserWarning):
    """Input that can be used but is probably not what was meant; ``rows`` holds the row numbers concerned."""

    def __init__(self, message: str, rows: np.ndarray | None = None) -> None:
        super().__init__(message)
        self.rows = np.empty(0, dtype=np.int64) if rows is None else rows


class ExplicitZerosWarning(InputWarning):
    """Stored zeros, which are read as absent."""


class DuplicatePairsWarning(InputWarning):
    """The same user and item stored more than once, which is read as one pair."""


class ValuesIgnoredWarning(InputWarning):
    """Values other than one, each of which is read as one positive."""


class EmptyRowsWarning(InputWarning):
    """Users without interactions."""


class EmptyColumnsWarning(InputWarning):
    """Items without interactions."""


class SmallDataWarning(InputWarning):
    """Fewer pairs than one batch holds."""


class SmallCatalogueWarning(InputWarning):
    """Fewer items than a list should hold."""


class ValidSeenWarning(InputWarning):
    """Some validation pairs that are also in training, where they are masked and can never be found."""


class CollapseWarning(UserWarning):
    """The representation uses so few dimensions that lists look alike, or they do for another reason."""


Finding = InputError | InputWarning

_SHOWN = 5
"""Row numbers spelled out in a message."""


def counted(n: int, noun: str) -> str:
    """Return "1 pair" or "1,200 pairs"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def show_rows(rows: np.ndarray, noun: str = "row") -> str:
    """Return "row 3" or "rows 3, 7, 8, 9, 12 and 40 more"."""
    rows = np.unique(rows)
    text = f"{noun}{'s' if rows.size > 1 else ''} {', '.join(str(row) for row in rows[:_SHOWN])}"
    return text if rows.size <= _SHOWN else f"{text} and {rows.size - _SHOWN:,} more"


def report(findings: list[Finding], *, warn: bool = True) -> None:
    """Raise the first error among the findings; otherwise, if ``warn``, warn of each of them, at the caller's own line."""
    for finding in findings:
        if isinstance(finding, InputError):
            raise finding
    for finding in findings:
        if warn and isinstance(finding, InputWarning):
            warnings.warn(finding, stacklevel=level_outside())


def level_outside() -> int:
    """Return the stack level of the first frame outside our packages, where the person can act on the warning."""
    ours = tuple(str(Path(__file__).parents[1] / package) for package in ("buir", "baselines"))
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(ours):
        frame, level = frame.f_back, level + 1
    return level


_SHORT_OF_MEMORY = re.compile(
    r"unable to allocate|allocate memory|out of memory|storage size calculation overflowed|array is too big|maximum allowed dimension",
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
