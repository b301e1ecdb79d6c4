"""Numbers that show a collapsing or lopsided model before its metrics do, and the warning of a collapse."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array

from buir.errors import CollapseWarning, level_outside
from buir.ranking import FactorScorer, Scorer, coverage, top_k

Table = np.ndarray | torch.Tensor

LISTS, LENGTH = 256, 10
"""How many lists of which length ``catalogue_share`` is measured on."""
LOST = 0.1
"""Share of the dimensions below which the effective rank counts as collapsed."""
ALIKE = 1.25
"""Lists count as the same for everybody below so many times the fewest items there could be: 12 of 10. On public data
collapsed models show 10, and sound ones whose lists popularity rules 16 at the least."""
QUANTILES = (5, 25, 50, 75, 95)
"""Of the scores that are looked at, in per cent."""


def effective_rank(vectors: Table) -> float:
    r"""Count the dimensions that a table of vectors really uses.

    .. math:: \exp\Bigl(-\sum_i p_i \log p_i\Bigr), \qquad p_i = \sigma_i / \sum_j \sigma_j

    Parameters
    ----------
    vectors
        Shape (n, d); :math:`\sigma` are its singular values, taken without centring.

    Returns
    -------
    Between 1 (all vectors on one line) and min(n, d) (all directions alike); 0 for a table of zeros.

    Raises
    ------
    ValueError
        If a value is NaN or infinite.

    Notes
    -----
    O(n d^2), by the float64 Gram matrix: singular values below 1e-7 of the largest count as zero.

    References
    ----------
    Roy and Vetterli, "The effective rank", EUSIPCO 2007.

    Examples
    --------
    >>> round(effective_rank(np.eye(4)), 6)
    4.0
    """
    table = torch.as_tensor(vectors).detach()
    gram = torch.zeros(table.shape[1], table.shape[1], dtype=torch.float64, device=table.device)
    for block in table.split(65_536):
        wide = block.to(torch.float64)
        gram.addmm_(wide.T, wide)
    if not torch.isfinite(gram).all():
        msg = "vectors hold NaN or infinite values, expected numbers: training has diverged, try a lower learning rate"
        raise ValueError(msg)
    squares = torch.linalg.eigvalsh(gram).clamp_min(0)
    sigma = squares[squares > squares.max() * 1e-14].sqrt()
    if sigma.numel() == 0:
        return 0.0
    share = sigma / sigma.sum()
    return float(torch.exp(-(share * share.log()).sum()))


def alignment(left: Table, right: Table) -> float:
    r"""Mean squared distance between the directions of partners.

    .. math:: \frac{1}{n} \sum_i \lVert x_i / |x_i| - y_i / |y_i| \rVert^2

    Parameters
    ----------
    left, right
        Row i of one belongs to row i of the other: the user and the item of an observed pair, or the online and the
        target representation of the same thing, shape (n, d).

    Returns
    -------
    Between 0 (same directions) and 4 (opposite ones); NaN without rows.

    References
    ----------
    Wang and Isola, "Understanding contrastive representation learning", ICML 2020, section 4.
    """
    x, y = torch.as_tensor(left).detach(), torch.as_tensor(right).detach()
    if x.shape != y.shape:
        msg = f"left has shape {tuple(x.shape)} and right {tuple(y.shape)}, expected partners row by row"
        raise ValueError(msg)
    return float((_directions(x) - _directions(y.to(x.device))).square().sum(dim=1).mean())


def uniformity(vectors: Table, *, sample: int = 2048, seed: int = 0) -> float:
    r"""How evenly the directions of the vectors cover the sphere.

    .. math:: \log \frac{1}{n (n - 1)} \sum_{i \neq j} \exp(-2 \lVert x_i / |x_i| - x_j / |x_j| \rVert^2)

    Parameters
    ----------
    vectors
        Shape (n, d).
    sample
        Rows looked at, at most; a larger table is sampled without replacement, so that the cost is bounded.
    seed
        Of the sample.

    Returns
    -------
    Between -8 and 0; 0 means that all point the same way (collapse), about -4 is an even spread. NaN below two rows.

    References
    ----------
    Wang and Isola, "Understanding contrastive representation learning", ICML 2020, section 4.
    """
    table = torch.as_tensor(vectors).detach()
    n = table.shape[0]
    if n > sample:
        rows = np.sort(np.random.default_rng(seed).choice(n, sample, replace=False))
        table, n = table[torch.from_numpy(rows).to(table.device)], sample
    if n < 2:
        return float("nan")
    x = _directions(table.to(torch.float64)).float()
    # |x - y|^2 = 2 - 2 x.y; in single precision and in place, as it is looked at after each epoch
    kernel = (x @ x.T).sub_(1).mul_(4).clamp_(-8, 0).exp_()
    total, own = (part.sum(dtype=torch.float64) for part in (kernel, kernel.diagonal()))
    return float(((total - own) / (n * (n - 1))).log())


def target_distance(online: Table, target: Table) -> float:
    """Mean squared distance between the directions of online and target rows: 0 when the target has caught up."""
    return alignment(online, target)


def catalogue_share(
    scorer: Scorer, k: int = 10, *, exclude: csr_array | None = None, sample: int = 1024, seed: int = 0
) -> float:
    """Share of the catalogue that is ever recommended, over what so many lists could show at most.

    Parameters
    ----------
    scorer
        The model.
    k
        Length of the lists.
    exclude
        Seen items, shape (n_users, n_items).
    sample
        Users asked, at most, drawn without replacement.
    seed
        Of the sample.

    Returns
    -------
    Distinct items listed over min(n_items, users asked * k), in [0, 1]; ``least_catalogue_share`` when everyone gets
    the same list.
    """
    users = np.arange(scorer.n_users)
    if len(users) > sample:
        users = np.sort(np.random.default_rng(seed).choice(users, sample, replace=False))
    possible = min(scorer.n_items, len(users) * k)
    if possible == 0:
        return 0.0
    ranked, _ = top_k(scorer, users, k, exclude=None if exclude is None else exclude[users])
    return coverage(ranked, scorer.n_items) * scorer.n_items / possible


def least_catalogue_share(n_users: int, n_items: int, k: int = 10, *, sample: int = 1024) -> float:
    """Return the ``catalogue_share`` of as many users with the same list; 1 where one list could be the catalogue.

    Examples
    --------
    >>> least_catalogue_share(5000, 2000, sample=250), least_catalogue_share(20, 2000), least_catalogue_share(1, 5)
    (0.005, 0.05, 1.0)
    """
    possible = min(n_items, min(n_users, sample) * k)
    return min(k, n_items) / possible if possible else 1.0


class ScoreSample:
    """Some training pairs, held-out pairs and unobserved pairs, whose scores are looked at while a model trains.

    Parameters
    ----------
    train, valid
        Canonical matrices of one shape.
    n
        Pairs of each kind, at most, drawn without replacement; unobserved ones take the users of the training pairs and
        items drawn evenly among those that are neither in ``train`` nor in ``valid``.
    seed
        Of the sample.
    """

    def __init__(self, train: csr_array, valid: csr_array, *, n: int = 2000, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        keys = [_keys(part) for part in (train, valid)]
        positive, held_out = (np.sort(rng.choice(part, min(n, len(part)), replace=False)) for part in keys)
        known = np.union1d(*keys)
        n_items = train.shape[1]
        # four draws for each: a user who has most items may get none
        drawn = (positive - positive % n_items)[:, None] + rng.integers(n_items, size=(len(positive), 4))
        free = ~np.isin(drawn, known)
        other = drawn[np.arange(len(drawn)), free.argmax(axis=1)][free.any(axis=1)]
        self.pairs = {
            name: np.divmod(part, n_items)
            for name, part in (("positive", positive), ("held_out", held_out), ("other", other))
        }

    def quantiles(self, scorer: Scorer) -> dict[str, list[float]]:
        """Return the 5th, 25th, 50th, 75th and 95th percentile of each kind's scores; a kind without pairs is absent.

        Notes
        -----
        A product of two rows for each pair where the scorer has factors; otherwise all scores of the pairs' users.
        """
        found = {}
        for name, (users, items) in self.pairs.items():
            if len(users):
                scores = _pair_scores(scorer, users, items)
                found[name] = [float(value) for value in np.percentile(scores, QUANTILES)]
        return found


def collapse(record: dict[str, Any], n_dimensions: int, shape: tuple[int, int], uniformity: float = 0.0) -> str | None:
    """Say how the last record of a training shows a collapsed representation; None where it is sound.

    Parameters
    ----------
    record
        With ``effective_rank`` and ``catalogue_share``, the latter of ``LISTS`` lists of length ``LENGTH``.
    n_dimensions
        The largest effective rank there could be.
    shape
        Users and items.
    uniformity
        The weight that was trained with.

    Returns
    -------
    A sentence if fewer than a tenth of the dimensions are in use, and at least ten could be; or if the lists show
    hardly more items than one list does, and could show at least ten times as many.
    """
    rank, share = record["effective_rank"], record["catalogue_share"]
    least = least_catalogue_share(*shape, LENGTH, sample=LISTS)
    spread = f"or raise uniformity from {uniformity:g} to {max(0.1, 3 * uniformity):.1g}"
    if n_dimensions >= 10 and rank < LOST * n_dimensions:
        return (
            f"the representation collapsed: its effective rank is {rank:.1f} of {n_dimensions} dimensions and its "
            f"lists show {share:.1%} of the catalogue they could; raise momentum, lower learning_rate or weight_decay, "
            f"{spread}"
        )
    if least <= 0.1 and share < ALIKE * least:
        return (
            f"the lists are nearly the same for everybody: {min(LISTS, shape[0])} lists of {LENGTH}, popularity and "
            f"seen items aside, show {round(share / least * LENGTH)} different items of {shape[1]:,}; lower "
            f"weight_decay, train for more epochs, take fewer layers, {spread}"
        )
    return None


def warn_of_collapse(found: str | None) -> None:
    """Warn of what ``collapse`` found, if anything.

    Warns
    -----
    CollapseWarning
        With its sentence.
    """
    if found is not None:
        warnings.warn(found, CollapseWarning, stacklevel=level_outside())


def _keys(matrix: csr_array) -> np.ndarray:
    """Give each pair of a matrix a number of its own, ascending."""
    users = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    return users * matrix.shape[1] + matrix.indices


def _pair_scores(scorer: Scorer, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    if isinstance(scorer, FactorScorer):
        device = scorer.user_factors.device
        left = scorer.user_factors[torch.from_numpy(users).to(device)]
        right = scorer.item_factors[torch.from_numpy(items).to(device)]
        return (left * right).sum(dim=1).cpu().numpy()
    scores = np.empty(len(users), dtype=np.float32)
    asked, owner = np.unique(users, return_inverse=True)
    for start in range(0, len(asked), 64):
        block = scorer.score_block(asked[start : start + 64]).cpu().numpy()
        mine = np.flatnonzero((owner >= start) & (owner < start + 64))
        scores[mine] = block[owner[mine] - start, items[mine]]
    return scores


def _directions(table: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(table if table.dtype == torch.float64 else table.to(torch.float32), dim=1)
