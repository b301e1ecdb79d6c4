"""Pairs and negatives that nobody has: mixtures of vectors, for harder contrasts."""

import torch
from torch import Tensor
from torch.nn import functional

from buir.graph import stream, uniform


def blend(one: Tensor, other: Tensor, share: Tensor | float) -> Tensor:
    r"""Return :math:`a x + (1 - a) y`, scaled to length 1.

    Two negatives with scores of at least 0 give one that scores no lower than the lower of them: what lies between two
    unit vectors is shorter, and scaling lifts it.
    """
    return functional.normalize(share * one + (1 - share) * other, dim=-1)


@torch.no_grad()
def mix_negatives(
    users: Tensor, items: Tensor, scores: Tensor, *, hardest: int, pairs: int, with_user: int, key: int
) -> tuple[Tensor, Tensor]:
    r"""Mix each user's hardest candidates with each other and with the user.

    .. math:: a\, n_k + (1 - a)\, n_l,\ a \sim U(0, 1); \qquad b\, u + (1 - b)\, n_k,\ b \sim U(0, 1/2)

    Parameters
    ----------
    users
        Unit vectors, shape (R, d).
    items
        Unit vectors of the candidates, shape (C, d) or, each row's own, (R, C, d).
    scores
        Their scores, shape (R, C), -inf for those that must not be used.
    hardest
        Parents are drawn evenly from so many candidates of the highest scores; 0 draws from all.
    pairs, with_user
        Mixtures of either kind for each user.
    key
        Decides the draws.

    Returns
    -------
    Unit vectors, shape (R, pairs + with_user, d), through which no gradient flows, so that only the user moves; and
    which of them have no parent that must not be used.

    References
    ----------
    Kalantidis et al., "Hard negative mixing for contrastive learning" (MoCHi), NeurIPS 2020; the first kind with
    ``hardest=0`` is the interpolation of Zhu et al., "Visualizing feature transformation", ICCV 2021.
    """
    n_rows, n_candidates = scores.shape
    n_parents = 2 * pairs + with_user
    counter = torch.arange(n_rows * n_parents, dtype=torch.int32, device=scores.device).view(n_rows, n_parents)
    pool = min(hardest, n_candidates) or n_candidates
    place = (uniform(counter, stream(key, 2)).double() * pool).long()
    if hardest:
        place = scores.topk(pool, dim=1).indices.gather(1, place)
    # each parent's vector, from one table or from each row's own
    parents = items[place] if items.ndim == 2 else items.gather(1, place.unsqueeze(2).expand(-1, -1, items.shape[2]))
    share = uniform(counter, stream(key, 3)).unsqueeze(2)
    one, other, single = parents.split([pairs, pairs, with_user], dim=1)
    mixed = blend(one, other, share[:, :pairs])
    nearer = blend(users.unsqueeze(1), single, share[:, 2 * pairs :] / 2)
    usable = ~scores.gather(1, place).isneginf()
    sound = torch.cat([usable[:, :pairs] & usable[:, pairs : 2 * pairs], usable[:, 2 * pairs :]], dim=1)
    return torch.cat([mixed, nearer], dim=1), sound


def extrapolate(users: Tensor, items: Tensor, factor: Tensor | float) -> tuple[Tensor, Tensor]:
    r"""Move the vectors of a pair away from each other, each coordinate by its own factor.

    .. math:: \hat x = l x + (1 - l) y,\quad \hat y = l y + (1 - l) x, \qquad
              \hat x \cdot \hat y = x \cdot y - \sum_k l_k (l_k - 1) (x_k - y_k)^2

    The score is never above that of the pair. Nothing is scaled to length 1 again, as in the authors' code; then, in
    expectation over factors of ``extrapolation_factors(..., 2)``, a loss linear in the score has its first part 2.6
    times, which a smaller weight of the second does, too.

    Parameters
    ----------
    users, items
        Vectors of pairs, shape (B, d).
    factor
        l, at least 1; 1 leaves the pair as it is.

    References
    ----------
    Zhu et al., "Improving contrastive learning by visualizing feature transformation", ICCV 2021.
    """
    return factor * users + (1 - factor) * items, factor * items + (1 - factor) * users


def extrapolation_factors(shape: tuple[int, int], alpha: int, key: int, device: torch.device) -> Tensor:
    r"""Draw :math:`l = 1 + \mathrm{Beta}(\alpha, \alpha)` for every coordinate of every pair.

    The middle one of 2 alpha - 1 uniform numbers has that distribution.
    """
    counter = torch.arange(shape[0] * shape[1], dtype=torch.int32, device=device).view(shape)
    draws = torch.stack([uniform(counter, stream(key, 4, number)) for number in range(2 * alpha - 1)])
    return 1 + draws.median(dim=0).values
