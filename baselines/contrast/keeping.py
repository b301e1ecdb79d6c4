"""Which negatives are believed: rules that drop those that are likely to be wanted after all."""

import torch
from torch import Tensor


def whisker(scores: Tensor, reach: float = 1.5, among: Tensor | None = None) -> Tensor:
    """Tell which scores lie within the whiskers of a box plot.

    Parameters
    ----------
    scores
        Any shape.
    reach
        Whiskers end so many interquartile ranges beyond the quartiles; the quartiles are the scores at places l // 4
        and 3 l // 4 of l in order.
    among
        Those that make the box plot, a mask; None is all. Without any, everything is kept.

    Notes
    -----
    Scores of a recommender have a long upper tail, so that this drops the very negatives that a softmax learns from:
    good where many of them are false, bad where they are not.

    References
    ----------
    Jung et al., "Unified negative pair generation", BMVC 2022.
    """
    pool = scores.detach().flatten() if among is None else scores.detach()[among]
    if not len(pool):
        return torch.ones_like(scores, dtype=torch.bool)
    first, third = (pool.kthvalue(n * len(pool) // 4 + 1).values for n in (1, 3))
    width = reach * (third - first)
    return (scores >= first - width) & (scores <= third + width)


def within_margin(scores: Tensor, positive: Tensor, margin: float = 0.05) -> Tensor:
    r"""Tell which candidates score clearly below their pair, :math:`S_{bj} \le s_b - m |s_b|`.

    Parameters
    ----------
    scores
        Shape (B, C).
    positive
        Scores of the pairs, shape (B,).
    margin
        m; 0 keeps what is not above the pair.

    References
    ----------
    Moreira et al., "NV-Retriever", 2024.
    """
    limit = positive.detach() - margin * positive.detach().abs()
    return scores.detach() <= limit.unsqueeze(1)
