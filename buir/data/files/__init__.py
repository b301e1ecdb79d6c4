"""Files of every common format, read into interactions."""

from buir.data.files.columns import ROLES
from buir.data.files.formats import FORMATS, ReadError, check_text, detect_format, read_bytes
from buir.data.files.readers import read, read_split

__all__ = ["FORMATS", "ROLES", "ReadError", "check_text", "detect_format", "read", "read_bytes", "read_split"]
