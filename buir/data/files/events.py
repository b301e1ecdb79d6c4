"""Which rows of a table are events of the kinds that are asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from buir.data.files.columns import position
from buir.errors import Argument, InputError, near, shortened

pc: Any = pyarrow.compute  # its functions are made at import, which type checkers do not see

_SHOWN = 10

Where = Mapping[str, str | Sequence[str]]
"""By column, a name or a position from 0: the value, or the values, of the rows that are kept."""


def rows_where(fields: Sequence[pa.ChunkedArray], header: Sequence[str] | None, where: Where) -> np.ndarray:
    """Return which rows have one of the values in every column named, bool; values are compared as text, unquoted.

    Raises
    ------
    InputError
        If a column is not there, or no row has one of its values: it is misspelt.
    """
    kept = np.ones(len(fields[0]), dtype=bool)
    for column, values in where.items():
        if header and column in header:
            place = list(header).index(column)
        elif (number := position(column, len(fields))) is not None:
            place = number
        else:
            there = (
                f"it has {shortened(', '.join(header))}" if header else f"it has {len(fields)} columns and names none"
            )
            guess = near(column, header) if header else ""
            came = f" names the column {shortened(repr(column))}{guess}; {there}; name one of them"
            raise InputError(Argument("where"), came)
        field = fields[place]
        field = pc.cast(field, field.type.value_type) if pa.types.is_dictionary(field.type) else field
        try:
            text = pc.utf8_trim_whitespace(pc.cast(field, pa.string()))
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
            came = f" names the column {shortened(repr(column))}, which holds {shortened(field.type)}"
            raise InputError(Argument("where"), f"{came}; expected text or numbers: write it as text") from error
        for value in [values] if isinstance(values, str) else values:
            if not pc.any(pc.equal(text, value)).as_py():
                found = [str(one) for one in pc.unique(text).to_pylist() if one is not None]
                more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
                came = f" is {column}={value}, which no row has{near(value, found[:1000])}"
                raise InputError(Argument("where"), f"{came}; the column holds {', '.join(found[:_SHOWN])}{more}")
        wanted = pa.array([values] if isinstance(values, str) else list(values), type=pa.string())
        kept &= pc.is_in(text, value_set=wanted).to_numpy()
    if not kept.any():
        raise InputError(Argument("where"), " leaves no row: none has all of these values; ask for fewer columns")
    return kept
