"""What a Parquet file says of its size, read from its footer by hand: Arrow's own accessors can end the process.

``FileMetaData.row_group(0).column(0)`` throws an exception of C++ that nobody catches where statistics do not
fit the type of their column; Arrow's readers raise one of Python there.
"""

import struct
from typing import Any

from buir.errors import one_line

_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 11, 12
"""Types of Thrift's compact protocol; 4 to 6 are integers."""
_ROW_GROUPS, _COLUMNS, _BYTES, _ABOUT, _VALUES = 4, 1, 2, 3, 5
"""Numbers of the fields that count: of the file, a group of rows (twice), a column, and what is said of that."""


class FooterError(ValueError):
    """A footer that Arrow reads and that does not say what it must."""


def declared(tail: bytes) -> tuple[int, int]:
    """Return how many values the columns of a file have, and how many bytes it says that its rows take.

    Parameters
    ----------
    tail
        The end of a file, with the whole footer in it.

    Raises
    ------
    FooterError
        If the footer is not what it should be.
    """
    size = int.from_bytes(tail[-8:-4], "little")
    try:
        groups = _Footer(tail[-8 - size : -8]).fields()[_ROW_GROUPS]
        values = sum(column[_ABOUT][_VALUES] for group in groups for column in group[_COLUMNS])
        return values, sum(group[_BYTES] for group in groups)
    except (KeyError, TypeError, IndexError, RecursionError, struct.error) as error:
        msg = f"its footer cannot be read: {one_line(error)}"
        raise FooterError(msg) from error


class _Footer:
    """Reads one value of Thrift's compact protocol after another."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def fields(self) -> dict[int, Any]:
        """Read a struct: its values by the numbers of their fields."""
        found, number = {}, 0
        while (head := self._byte()) != _STOP:
            step, kind = head >> 4, head & 15
            number = number + step if step else self._integer()
            found[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind)
        return found

    def _value(self, kind: int) -> Any:
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if kind in (4, 5, 6):
            return self._integer()
        if kind == _DOUBLE:
            return self._take(8)
        if kind == _BINARY:
            return self._take(self._varint())
        if kind in (_LIST, _SET):
            head = self._byte()
            size = self._varint() if head >> 4 == 15 else head >> 4
            return [self._value(head & 15) for _ in range(size)]
        if kind == _MAP:
            size = self._varint()
            kinds = self._byte() if size else 0
            return [(self._value(kinds >> 4), self._value(kinds & 15)) for _ in range(size)]
        if kind == _STRUCT:
            return self.fields()
        msg = f"{kind} is no type"
        raise TypeError(msg)

    def _byte(self) -> int:
        self.place += 1
        return self.content[self.place - 1]

    def _take(self, size: int) -> bytes:
        if size > len(self.content) - self.place:
            msg = "a text goes beyond the end"
            raise IndexError(msg)
        self.place += size
        return self.content[self.place - size : self.place]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
