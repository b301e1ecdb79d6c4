"""How much each pair counts: what came with the pairs, and functions that make something better of it.

A function takes ``Interactions`` and returns one number for each pair, in the order of ``matrix.data``; ``fit`` calls
it with the training pairs alone. Only proportions matter.
"""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.sparse import csr_array

from buir.data.doctor import UNREAD
from buir.data.interactions import Interactions
from buir.data.sparse import degrees, keep, pattern
from buir.errors import (
    Argument,
    ExplicitZerosWarning,
    InputError,
    ValuesIgnoredWarning,
    counted,
    near,
    report,
    show_rows,
)

PairWeights = Callable[[Interactions], np.ndarray] | Literal["values"] | None
"""Of training pairs: all alike; what came with them; or what a function makes of them."""

WEIGHTINGS = ("values", "log", "bm25", "half-life=DAYS")
"""What :func:`weighting` reads."""

_DAY = 86_400.0
_LAST_SECOND = 1e11
"""Beyond every time in seconds that anybody means (the year 5138): such numbers are milliseconds."""


def counts(data: Interactions, what: str = "the data") -> np.ndarray:
    """Return the weights that came with interactions, float64, shape (n_pairs,).

    Raises
    ------
    InputError
        If there are none, or one is NaN, infinite or negative.
    """
    if data.weights is None:
        msg = (
            f"{what} has no weights and no row repeats a pair; expected a column 'weight', values of a sparse matrix "
            "or a row for each event: name the column, of a frame in Interactions.from_frame(frame, weight='plays'), "
            "of a file with "
        )
        raise InputError(msg, Argument("columns", "weight"), argument="weights")
    return checked(data.weights, data, what)


def checked(values: np.ndarray, data: Interactions, what: str = "the data") -> np.ndarray:
    """Return the numbers if each is finite and at least 0; else an InputError that names the first bad row."""
    for bad, fault in ((~np.isfinite(values), "NaN or infinite"), (values < 0, "negative")):
        if bad.any():
            msg = (
                f"the weights of {what} are {fault} for {counted(int(bad.sum()), 'pair')}, the first in "
                f"{show_rows(data.users[bad][:1])}; expected a finite number of at least 0 for each pair: drop or "
                "correct these rows"
            )
            raise InputError(msg, rows=np.unique(data.users[bad]), argument="weights")
    return values


def log_counts(data: Interactions) -> np.ndarray:
    r"""Weigh a pair by :math:`\log(1 + w)`: the hundredth play says less than the first.

    Examples
    --------
    >>> data = Interactions.from_pairs(["ann", "ann", "bob"], [1, 2, 1], weights=[1, 3, 0.5])
    >>> log_counts(data).round(2).tolist()
    [0.69, 1.39, 0.41]
    """
    return np.log1p(counts(data))


def bm25(data: Interactions, *, k1: float = 100.0, b: float = 0.8) -> np.ndarray:
    r"""Weigh a pair as BM25 weighs a word in a text, with users as words and items as texts.

    .. math:: \frac{w (k_1 + 1)}{w + k_1 (1 - b + b\, L_i / \bar L)}
              \log\left(1 + \frac{n - n_u + 1/2}{n_u + 1/2}\right)

    with L the sums of the items' weights and their mean, n the items that have pairs and :math:`n_u` those of the user.
    What nearly everybody has counts less, and so do those who have nearly everything. Pairs without weights have 1.

    Parameters
    ----------
    data
        The pairs.
    k1
        Above 0: the weight at which saturation sets in, in units of what came; `implicit` takes 100 for plays.
    b
        How much an item's sum is held against it, 0 to 1.

    References
    ----------
    Robertson, Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009; the logarithm is that of
    Lucene, which is never negative.
    """
    if not k1 > 0 or not 0 <= b <= 1:
        msg = f"k1 is {k1} and b is {b}; expected k1 above 0 and b from 0 to 1"
        raise InputError(msg, argument="b" if k1 > 0 else "k1")
    matrix, values = data.matrix.copy(), np.ones(data.n_pairs) if data.weights is None else counts(data)
    matrix.data = values
    sums, of_users = degrees(matrix)[1], np.diff(matrix.indptr)
    there = np.bincount(matrix.indices, minlength=matrix.shape[1]) > 0
    length = 1 - b + b * sums[data.items] / sums[there].mean()
    rarity = np.log1p((np.count_nonzero(there) - of_users + 0.5) / (of_users + 0.5))
    return values * (k1 + 1) / (values + k1 * length) * rarity[data.users]


@dataclass(frozen=True)
class HalfLife:
    r"""Weighs a pair by its age, :math:`w\, 2^{-\text{age} / \text{days}}`; see :func:`half_life`."""

    days: float
    now: float | None = None

    def __call__(self, data: Interactions) -> np.ndarray:
        """Return one number for each pair."""
        if data.times is None:
            msg = "a half-life needs times, and the data have none; expected a column 'time': name it when reading"
            raise InputError(msg, argument="weights")
        times = data.times.astype(np.float64)
        now = times.max() if self.now is None else self.now
        if times.max() > _LAST_SECOND:
            msg = f"the latest time is {times.max():.0f}; expected Unix seconds: divide milliseconds by 1,000"
            raise InputError(msg, argument="weights")
        if times.max() > now:
            msg = f"now is {now:.0f}, before the latest time {times.max():.0f}; expected no pair of the future"
            raise InputError(msg, argument="now")
        values = 1.0 if data.weights is None else counts(data)
        return values * 0.5 ** ((now - times) / (self.days * _DAY))


def half_life(days: float, *, now: float | None = None) -> HalfLife:
    """Return a function that halves the weight of a pair for every so many days of age.

    Parameters
    ----------
    days
        Above 0.
    now
        Unix seconds from which ages are counted; None: the latest time of the data.

    Notes
    -----
    Times are Unix seconds. The time of a pair is that of its first row: where rows repeat a pair and each should fade
    by itself, give their weights in a column, which add up.
    """
    if not 0 < days < float("inf"):
        msg = f"days is {days}; expected a number above 0"
        raise InputError(msg, argument="days")
    return HalfLife(days, now)


def weighting(text: str) -> PairWeights:
    """Read "values", "log", "bm25" or "half-life=30" (days) as what ``fit(weights=...)`` takes."""
    known: dict[str, PairWeights] = {"values": "values", "log": log_counts, "bm25": bm25}
    if text in known:
        return known[text]
    name, _, days = text.partition("=")
    if name == "half-life" and re.fullmatch(r"[0-9]+(\.[0-9]+)?", days) and float(days) > 0:
        return half_life(float(days))
    if name == "half-life":
        msg = f" is {text!r}; expected half-life=DAYS with a number of days above 0: write half-life=30"
        raise InputError(Argument("weight"), msg)
    msg = f" is {text!r}; expected one of {', '.join(WEIGHTINGS)}{near(name, [*known, 'half-life'])}"
    raise InputError(Argument("weight"), msg)


@contextmanager
def reading_weights(weights: object) -> Iterator[None]:
    """Leave out the warning that a column of weights is not read, where ``weights`` are asked for."""
    with warnings.catch_warnings():
        if weights is not None:
            warnings.filterwarnings("ignore", message=f"(?s).*{UNREAD}", category=ValuesIgnoredWarning)
        yield


def in_units(data: Interactions, values: np.ndarray, unit: float, what: str) -> csr_array:
    """Return the matrix of the pairs whose weight, in this unit, is above 0; warn of the others."""
    matrix = pattern(data.matrix)
    matrix.data = (values / unit).astype(np.float32)
    none = matrix.data == 0
    if not none.any():
        return matrix
    rows = data.users[none]
    msg = (
        f"the weights of {what} are 0 for {counted(len(rows), 'pair')}, the first in {show_rows(rows[:1])}, read as "
        "absent: drop these rows, or give them a weight above 0"
    )
    report([ExplicitZerosWarning(msg, rows=np.unique(rows), argument="weights")])
    return keep(matrix, ~none)
