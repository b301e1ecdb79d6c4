"""Pictures of a model's vectors: how many directions they use, and where the items lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from buir.data import degrees
from buir.errors import InputError, needing
from buir.learning import effective_rank
from buir.plots.canvas import MARKERS, axes_of, finish, wrong
from buir.recommend import Recommender, vectors_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["item_map", "spectrum"]

_VECTORS = "vectors of shape (n, d), or a fitted model with item_factors"


def spectrum(vectors: Any, *, ax: Axes | None = None) -> Figure:
    r"""Draw the singular values of vectors in decreasing order, as shares of their sum, with the effective rank.

    .. math:: p_i = \sigma_i / \sum_j \sigma_j, \qquad \text{effective rank} = \exp\Bigl(-\sum_i p_i \log p_i\Bigr)

    Parameters
    ----------
    vectors
        A fitted model, of which the item vectors are taken as ``similar_items`` compares them; or an array of shape
        (n, d); or several of these by their names, to be drawn together.
    ax
        Where to draw; None makes a figure.

    Returns
    -------
    The figure: a flat line uses all its directions alike, one that falls at once has collapsed. Dashed: the effective
    rank of `buir.learning.effective_rank`.

    Raises
    ------
    buir.errors.InputError
        If something is no vectors, or all of them are zero.
    """
    tables = {str(name): _vectors(one) for name, one in vectors.items()} if isinstance(vectors, Mapping) else None
    if tables == {}:
        msg = f"vectors is empty, expected names with {_VECTORS}"
        raise InputError(msg, argument="vectors")
    shown = {"": _vectors(vectors)} if tables is None else tables
    axes = axes_of(ax)
    for place, (name, table) in enumerate(shown.items()):
        values = np.linalg.svd(table, compute_uv=False)
        if not values.any():
            msg = f"the vectors{f' of {name}' if name else ''} are all zero, expected some that differ from it"
            raise InputError(msg, argument="vectors")
        rank, colour = effective_rank(table), f"C{place}"
        label = f"{f'{name}: ' if name else ''}effective rank {rank:.1f} of {len(values)}"
        marks = {"marker": MARKERS[place % len(MARKERS)], "markersize": 3, "linewidth": 1.4}
        axes.plot(np.arange(1, len(values) + 1), values / values.sum(), color=colour, label=label, **marks)
        axes.axvline(rank, color=colour, linestyle="--", linewidth=1)
    axes.set_ylim(bottom=0, auto=None)  # of shared axes others may still draw on
    return finish(axes, x="direction, from the largest", y="share of the singular values")


def item_map(model: Any, popularity: Sequence[float] | np.ndarray | None = None, *, ax: Axes | None = None) -> Figure:
    """Draw the item vectors in the plane in which they differ most, coloured by popularity.

    Parameters
    ----------
    model
        A fitted model, of which the item vectors are taken as ``similar_items`` compares them; or an array of shape
        (n_items, d).
    popularity
        A number for each item, at least 0; None counts the training pairs of the model.
    ax
        Where to draw; None makes a figure.

    Returns
    -------
    The figure: the first two principal components of the vectors, taken with length 1 as the loss and the cosine of
    ``similar_items`` see them. The axes say how much of the variance each has.

    Raises
    ------
    buir.errors.InputError
        If there are no vectors, or fewer than two directions or items, or the popularity is unknown.
    """
    table = _vectors(model)
    if min(table.shape) < 2:
        msg = f"the item vectors have shape {table.shape}, expected at least two items and two directions"
        raise InputError(msg, argument="model")
    counts = _popularity(model, popularity, len(table))
    axes = axes_of(ax)
    with needing("a picture"):
        from matplotlib.colors import SymLogNorm
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    directions = np.divide(table, lengths, out=np.zeros_like(table), where=lengths > 0)
    directions -= directions.mean(axis=0)
    left, values, _ = np.linalg.svd(directions, full_matrices=False)
    places = left[:, :2] * values[:2]
    # the sign of a component is arbitrary: the same vectors shall give the same picture everywhere
    places *= np.where(places[np.abs(places).argmax(axis=0), [0, 1]] < 0, -1, 1)
    shares = 100 * values[:2] ** 2 / max(float((values**2).sum()), np.finfo(float).tiny)
    order = np.argsort(counts, kind="stable")  # the popular ones, which are few, on top
    norm = SymLogNorm(linthresh=1, vmin=counts.min(), vmax=max(counts.min() + 1, counts.max()))
    points = axes.scatter(*places[order].T, c=counts[order], norm=norm, cmap="viridis", s=14, linewidths=0)
    bar = axes.figure.colorbar(points, ax=axes, label="popularity" if popularity is not None else "training pairs")
    bar.outline.set_visible(False)
    x, y = (f"component {place} ({share:.0f} % of the variance)" for place, share in enumerate(shares, start=1))
    return finish(axes, x=x, y=y)


def _vectors(source: Any) -> np.ndarray:
    """Return the vectors of a model, or those given, in double precision."""
    if isinstance(source, Recommender):
        found = vectors_of(source, "item_factors", "a picture of vectors")
    else:
        found = getattr(source, "item_factors", source)
    if not isinstance(found, np.ndarray) or found.ndim != 2 or not np.issubdtype(found.dtype, np.floating):
        raise wrong(source, "vectors", f"floats as {_VECTORS}")
    if found.size == 0 or not np.isfinite(found).all():
        msg = f"the vectors of shape {found.shape} are empty, or hold NaN or infinity; expected finite {_VECTORS}"
        raise InputError(msg, argument="vectors")
    return found.astype(np.float64)


def _popularity(model: Any, given: Any, n_items: int) -> np.ndarray:
    if given is None:
        seen = getattr(model, "seen_", None) if isinstance(model, Recommender) else None
        if seen is None:
            msg = "the training pairs are not known here, expected popularity: a number for each item"
            raise InputError(msg, argument="popularity")
        return np.asarray(degrees(seen)[1], dtype=np.float64)
    counts = np.asarray(given, dtype=np.float64)
    if counts.shape != (n_items,) or not np.isfinite(counts).all() or (counts < 0).any():
        msg = f"popularity has shape {counts.shape}, expected ({n_items},): a finite number from 0 on for each item"
        raise InputError(msg, argument="popularity")
    return counts
