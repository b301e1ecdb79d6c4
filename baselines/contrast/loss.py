"""The one loss of the softmax family: the contrast between a pair and candidates."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from buir.learning import uniformity_loss


def contrast(
    positive: Tensor,
    negatives: Tensor,
    log_weight: Tensor | None = None,
    *,
    temperature: float | Tensor,
    rows: Tensor | None = None,
    coupled: bool = False,
    negative_weight: float = 1.0,
    positive_weight: Tensor | None = None,
    pair_weight: Tensor | None = None,
    pool: Tensor | None = None,
) -> Tensor:
    r"""Pull pairs together and push their users from candidates, by the softmax.

    .. math:: \frac1B \sum_b g_b \Bigl(-\frac{h_b s_b}{\tau} + c \log\bigl([\text{coupled}]\, e^{s_b/\tau}
              + \sum_j e^{S_{bj}/\tau + w_{bj}}\bigr)\Bigr)

    Coupled with c = 1 it is InfoNCE, the sampled softmax; not coupled DCL; with another c BSL's; with the
    ``positive_weight`` of :func:`vmf_weights` DCLW. Row by row the gradient of InfoNCE is that of DCL times 1 - p, with
    p the softmax probability of the positive: DCL trusts every pair equally, InfoNCE goes by those not yet learned.

    Parameters
    ----------
    positive
        s, the scores of the pairs, shape (B,).
    negatives
        S, the scores of candidates, shape (R, C).
    log_weight
        w, shape (C,) or (R, C); -inf drops a candidate. None is 0.
    temperature
        :math:`\tau` > 0.
    rows
        The row of ``negatives`` that each pair reads, int64, shape (B,): pairs of one user share a row. None where row
        b is that of pair b.
    coupled
        Whether the positive is one of the candidates.
    negative_weight
        c.
    positive_weight
        h, shape (B,); None is 1.
    pair_weight
        g, shape (B,); None is 1. That of :func:`top_k_weights` makes it SL@K.
    pool
        Scores that every pair pays for beside its own candidates, shape (P,), P may be 0.

    Returns
    -------
    A scalar. A pair without any candidate has no second part unless coupled: there it contributes 0 for c = 1.

    References
    ----------
    van den Oord et al., 2018 (InfoNCE); Yeh et al., "Decoupled contrastive learning", ECCV 2022; Wu et al., "BSL",
    ICDE 2024.
    """
    pull = positive if positive_weight is None else positive_weight * positive
    scale = 1.0 if isinstance(temperature, Tensor) else 1 / temperature
    mass = _LogSum.apply(negatives if scale != 1.0 else negatives / temperature, log_weight, scale)
    if rows is not None:
        # embedding() and not an index: its gradient adds up in a fixed order for any number of threads
        mass = functional.embedding(rows, mass.unsqueeze(1)).squeeze(1)
    if pool is not None and len(pool):
        mass = torch.logaddexp(mass, (pool / temperature).logsumexp(0))
    if coupled:
        mass = torch.logaddexp(mass, positive / temperature)
    push = torch.where(mass.isneginf(), 0.0, mass)
    loss = negative_weight * push - pull / temperature
    return (loss if pair_weight is None else pair_weight * loss).mean()


class _LogSum(torch.autograd.Function):
    """Log of the sum of exponentials of ``scale * scores + log_weight`` along rows; -inf, without gradient, of none.

    torch's own goes through the largest array of a step twice as often, and gives NaN as the gradient of an empty row.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, log_weight: Tensor | None, scale: float) -> Tensor:
        share = scores * scale if log_weight is None else torch.add(log_weight, scores, alpha=scale)
        highest = share.amax(dim=1, keepdim=True).clamp_min_(torch.finfo(share.dtype).min)
        mass = share.sub_(highest).exp_().sum(dim=1, keepdim=True)
        ctx.share, ctx.factor = share, scale / mass.clamp_min(1.0)  # 0 or, with the highest, at least 1
        return (mass.log() + highest).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        return ctx.share * (grad_outputs[0].unsqueeze(1) * ctx.factor), None, None


def vmf_weights(positive: Tensor, sigma: float = 0.5) -> Tensor:
    r"""DCLW's weights of pairs: the farther apart, the more, :math:`2 - B\,\mathrm{softmax}_b(s_b / \sigma)`.

    Parameters
    ----------
    positive
        Cosines of the pairs, shape (B,).
    sigma
        Width; small ones look at the few nearest pairs only.

    Returns
    -------
    Shape (B,), detached, of mean 1; all 1 where all cosines are equal.
    """
    return 2 - len(positive) * (positive.detach() / sigma).softmax(0)


def top_k_weights(positive: Tensor, limit: Tensor, temperature: float) -> Tensor:
    r"""SL@K's weights of pairs: the farther above the end of a list, the more, :math:`\sigma((s - \beta) / \tau)`.

    Pairs that are far from being listed count little, so that the loss bounds a metric of the first K places.

    Parameters
    ----------
    positive
        s, the scores of the pairs, shape (B,).
    limit
        :math:`\beta`, the K-th best score of each pair's user, shape (B,).
    temperature
        :math:`\tau > 0` of these weights.

    Returns
    -------
    Shape (B,), detached, between 0 and 1.

    References
    ----------
    Yang et al., "Breaking the top-K barrier: advancing top-K ranking metrics optimization in recommender systems", KDD
    2025.
    """
    return torch.sigmoid((positive.detach() - limit) / temperature)


def alignment_and_uniformity(users: Tensor, items: Tensor, weight: float) -> Tensor:
    r"""DirectAU's loss, :math:`\mathrm{mean}|u - i|^2 + \gamma (\mathrm{unif}(u) + \mathrm{unif}(i)) / 2`.

    Parameters
    ----------
    users, items
        Unit vectors of pairs, shape (B, d). Uniformity needs two of them: with one there is the first part alone.
    weight
        :math:`\gamma`.
    """
    alignment = (users - items).square().sum(dim=1).mean()
    if len(users) < 2:
        return alignment
    return alignment + weight * (uniformity_loss(users) + uniformity_loss(items)) / 2
