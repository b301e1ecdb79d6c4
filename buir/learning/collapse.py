"""The collapse monitor: a warning where the representation has lost its dimensions, or everybody gets the same list."""

import warnings
from typing import Any

from buir.errors import CollapseWarning
from buir.learning.diagnostics import least_catalogue_share

__all__ = ["LENGTH", "LISTS", "warn_of_collapse"]

LISTS, LENGTH = 256, 10
"""How many lists of which length ``catalogue_share`` is measured on."""
LOST = 0.1
"""Share of the dimensions below which the effective rank counts as collapsed."""
ALIKE = 1.25
"""Lists count as the same for everybody below so many times the fewest items there could be: 12 of 10. On public data collapsed models show
10, and sound ones whose lists popularity rules 16 at the least."""


def warn_of_collapse(record: dict[str, Any], n_dimensions: int, shape: tuple[int, int]) -> None:
    """Warn if the last record of a training shows a collapsed representation.

    Parameters
    ----------
    record
        With ``effective_rank`` and ``catalogue_share``, the latter of ``LISTS`` lists of length ``LENGTH``.
    n_dimensions
        The largest effective rank there could be.
    shape
        Users and items.

    Warns
    -----
    CollapseWarning
        If fewer than a tenth of the dimensions are in use, and at least ten could be; or if the lists show hardly more items than one
        list does, and could show at least ten times as many.
    """
    rank, share = record["effective_rank"], record["catalogue_share"]
    least = least_catalogue_share(*shape, LENGTH, sample=LISTS)
    msg = None
    if n_dimensions >= 10 and rank < LOST * n_dimensions:
        msg = (
            f"the representation collapsed: its effective rank is {rank:.1f} of {n_dimensions} dimensions and its lists show "
            f"{share:.1%} of the catalogue they could; raise momentum, lower learning_rate or weight_decay, or set uniformity=0.1"
        )
    elif least <= 0.1 and share < ALIKE * least:
        msg = (
            f"the lists are nearly the same for everybody: {min(LISTS, shape[0])} lists of {LENGTH}, popularity and seen items aside, show "
            f"{round(share / least * LENGTH)} different items of {shape[1]:,}; lower weight_decay, train for more epochs, take fewer layers, "
            "or set uniformity=0.1"
        )
    if msg is not None:
        warnings.warn(msg, CollapseWarning, stacklevel=4)
