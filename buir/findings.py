"""What can be wrong with the input: one class for each finding of the doctor, errors and warnings."""

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


class OutOfRangeError(InputError, IndexError):
    """A row or column number outside the matrix or the model."""


class NoInteractionsError(InputError):
    """A matrix without a single positive."""


class ValidSeenError(InputError):
    """Validation pairs that are all in training, where they are masked and can never be found."""


class NotFittedError(ValueError, AttributeError):
    """A model was asked before it was fitted."""


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


Finding = InputError | InputWarning
