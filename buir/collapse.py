"""The collapse monitor: a warning where the representation has lost its dimensions."""

import warnings
from typing import Any

__all__ = ["CollapseWarning", "warn_of_collapse"]

LOST = 0.1
"""Share of the dimensions below which the effective rank counts as collapsed."""


class CollapseWarning(UserWarning):
    """The representation uses so few dimensions that lists look alike."""


def warn_of_collapse(record: dict[str, Any], n_dimensions: int) -> None:
    """Warn if the last record of a training shows a collapsed representation.

    Parameters
    ----------
    record
        With ``effective_rank`` and ``catalogue_share``.
    n_dimensions
        The largest effective rank there could be.

    Warns
    -----
    CollapseWarning
        If fewer than a tenth of the dimensions are in use, and at least ten could be.
    """
    rank = record["effective_rank"]
    if n_dimensions >= 10 and rank < LOST * n_dimensions:
        msg = (
            f"the representation collapsed: its effective rank is {rank:.1f} of {n_dimensions} dimensions and its lists show "
            f"{record['catalogue_share']:.1%} of the catalogue they could; raise momentum, lower learning_rate or weight_decay, or set uniformity=0.1"
        )
        warnings.warn(msg, CollapseWarning, stacklevel=4)
