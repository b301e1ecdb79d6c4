"""Errors that mean too little memory, as one sentence: NumPy, torch and CUDA each have words of their own."""

import re

__all__ = ["shortage"]

_WORDS = re.compile(
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
        isinstance(error, RuntimeError | ValueError) and _WORDS.search(message)
    ):
        return None
    if size := re.search(r"allocate ([\d.]+ ?[KMGTPE]?i?B)\b", message):
        return f"not enough memory, {size[1]} asked for"
    if size := re.search(r"allocate (\d+) bytes", message):
        return f"not enough memory, {int(size[1]) / 2**30:,.1f} GiB asked for"
    return "not enough memory"
