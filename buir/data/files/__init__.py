"""Files of every common format, read into interactions."""

from buir.data.files.columns import ROLES
from buir.data.files.formats import FORMATS, check_text, detect_format, read_bytes
from buir.data.files.readers import read, read_split
from buir.data.files.writing import replace_atomically

__all__ = ["FORMATS", "ROLES", "check_text", "detect_format", "read", "read_bytes", "read_split", "replace_atomically"]
