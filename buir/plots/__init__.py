"""Pictures of a fit, of vectors and of comparisons, as Matplotlib figures without global state.

Each function draws on ``ax``, or on a figure of its own, and returns the figure: a notebook shows it where a cell ends
with the call. Nothing else is shown, neither ``rcParams`` nor the backend is touched, and Matplotlib is loaded by the
first picture.
"""

from buir.plots.colours import model_colours
from buir.plots.comparisons import sparsity_curves, user_activity
from buir.plots.fits import history, score_distributions
from buir.plots.vectors import item_map, spectrum

__all__ = [
    "history",
    "item_map",
    "model_colours",
    "score_distributions",
    "sparsity_curves",
    "spectrum",
    "user_activity",
]
