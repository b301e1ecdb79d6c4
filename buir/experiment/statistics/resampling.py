"""Resampling of users and of repeated runs: bootstrap means, sign-flip tests, Holm's correction."""

from collections.abc import Iterator

import numpy as np
from scipy.stats import t as student

_BATCH_VALUES = 4_000_000  # numbers in one block of resamples: 32 MB of float64


def _batches(n_users: int, n_resamples: int) -> Iterator[int]:
    size = max(1, _BATCH_VALUES // max(1, n_users))
    for start in range(0, n_resamples, size):
        yield min(size, n_resamples - start)


def bootstrap_means(values: np.ndarray, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Means of ``values`` over users drawn with replacement, the same users for every column.

    Parameters
    ----------
    values
        Shape (n_users, n_columns); NaN where a user does not belong to a column.
    n_resamples
        Number of resamples of all users.
    rng
        Draws the users.

    Returns
    -------
    Shape (n_resamples, n_columns). A resample that holds none of a column's users gets the column's mean.

    Notes
    -----
    Costs one product of (n_resamples, n_users) with (n_users, n_columns), in blocks of bounded memory.
    """
    n_users, n_columns = values.shape
    present = ~np.isnan(values)
    filled = np.where(present, values, 0.0)
    observed = filled.sum(axis=0) / present.sum(axis=0)
    # a user with zeros everywhere adds nothing to a sum, and all columns of a split hold the same users
    some = filled.any(axis=1)
    filled = filled[some]
    _, first, which = np.unique(np.packbits(present, axis=0), axis=1, return_index=True, return_inverse=True)
    present, which = present[:, first].astype(np.float64), which.ravel()
    means = np.empty((n_resamples, n_columns))
    done = 0
    for size in _batches(n_users, n_resamples):
        drawn = rng.integers(0, n_users, size=(size, n_users))
        flat = (drawn + n_users * np.arange(size)[:, None]).ravel()
        counts = np.bincount(flat, minlength=size * n_users).reshape(size, n_users).astype(np.float64)
        sums, weights = counts[:, some] @ filled, (counts @ present)[:, which]
        means[done : done + size] = np.where(weights > 0, sums / np.maximum(weights, 1.0), observed)
        done += size
    return means


def sign_flip_p(contributions: np.ndarray, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    r"""Two-sided p-values of a paired permutation test of the mean difference.

    Under the null hypothesis the two models' values of a user could have been exchanged, so each user's difference
    has either sign with equal probability.

    .. math:: p = (1 + \#\{|T^*| \ge |T|\}) / (1 + n), \quad T = \sum_u c_u, \quad T^* = \sum_u \pm c_u

    Parameters
    ----------
    contributions
        Shape (n_users, n_columns): each user's part of the difference, one column for each pair of models.
        All columns see the same flips.
    n_resamples
        Random flips. If all patterns of the users with a difference are no more than that, they are enumerated and p is
        exact.
    rng
        Draws the signs.

    Returns
    -------
    Shape (n_columns,), values in (0, 1]; 1 where all differences are zero.
    """
    # a user without any difference changes nothing, and on sparse data most are such
    contributions = contributions[contributions.any(axis=1)]
    n_users, n_columns = contributions.shape
    observed = np.abs(contributions.sum(axis=0))
    total = np.abs(contributions).sum(axis=0)
    if n_users < 60 and 2**n_users <= n_resamples:
        patterns = (np.arange(2**n_users)[:, None] >> np.arange(n_users)) & 1
        # sums of the same numbers in another order differ in the last bits, and that must still count as a tie
        sums = np.abs((2.0 * patterns - 1.0) @ contributions)
        return (sums >= observed - 1e-12 * total).sum(axis=0) / 2**n_users
    # single precision is enough for a sum of thousands: what it may miss by counts as a tie, so p errs upwards
    threshold = (observed - 1e-6 * total).astype(np.float32)
    parts, extreme = contributions.astype(np.float32), np.zeros(n_columns)
    for size in _batches(n_users, n_resamples):
        bits = np.unpackbits(np.frombuffer(rng.bytes(-(-size * n_users // 8)), dtype=np.uint8))
        # flipped or not flipped: all minus twice those that are
        sums = np.float32(2.0) * (bits[: size * n_users].reshape(size, n_users).astype(np.float32) @ parts)
        extreme += (np.abs(sums - parts.sum(axis=0)) >= threshold).sum(axis=0)
    return (1.0 + extreme) / (1.0 + n_resamples)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down correction: adjusted p-values that bound the chance of one false finding in the family.

    Parameters
    ----------
    p_values
        Shape (n,), one family.

    Returns
    -------
    Shape (n,), each at least its own p-value and at most 1.

    References
    ----------
    Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled)) if len(p_values) else scaled
    return adjusted


def run_error(values: np.ndarray) -> tuple[float, int]:
    r"""Estimate the standard error that the choice of runs (splits or seeds) adds to a mean over runs and users.

    Runs and users are crossed: every run measures the same users. The variance of the run means contains noise of
    single users that the resampling of users has already counted, so that part is taken off:

    .. math:: \mathrm{se}^2 = \max(0,\; s^2_{runs} / R - \mathrm{MSE} / (R\,n))

    with R runs, n users and MSE the variance that is left after run means and user means.

    Parameters
    ----------
    values
        Shape (n_runs, n_users); NaN where a run does not hold a user.

    Returns
    -------
    The standard error and its degrees of freedom, R - 1. With one run both are 0: nothing can be estimated.
    """
    n_runs = len(values)
    if n_runs < 2:
        return 0.0, 0
    present = ~np.isnan(values)
    n_users = present.sum(axis=1)
    run_means = np.nansum(values, axis=1) / n_users
    residual = np.where(present, values - run_means[:, None], 0.0)
    seen = present.sum(axis=0)
    user_means = residual.sum(axis=0) / np.maximum(seen, 1)
    freedom = np.maximum(seen - 1, 0).sum() * (1.0 - 1.0 / n_users.mean())
    within = (np.where(present, residual - user_means, 0.0) ** 2).sum()
    noise = within / freedom if freedom > 0 else 0.0
    variance = run_means.var(ddof=1) / n_runs - noise * (1.0 / n_users).mean() / n_runs
    # below the rounding of the means themselves there is nothing to report (equal runs of a deterministic model)
    floor = (1e-12 * np.abs(run_means).max()) ** 2
    return (float(np.sqrt(variance)) if variance > floor else 0.0), n_runs - 1


def student_draws(freedom: int, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Evenly spaced quantiles of Student's t in random order: draws without the noise of sampling its tails.

    Two to five runs are too few to resample (three numbers drawn with replacement understate their spread by a fifth
    and never leave their range); a mean of few runs follows Student's t.
    """
    quantiles = student.ppf((np.arange(n_draws) + 0.5) / n_draws, freedom)
    return rng.permutation(quantiles)
