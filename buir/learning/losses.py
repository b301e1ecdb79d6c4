"""The losses of the paper and of its extensions, as functions of representations."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

__all__ = ["bootstrap_loss", "uniformity_loss"]


def bootstrap_loss(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Squared distance of two unit vectors, averaged over the rows.

    .. math:: \frac1B \sum_b w_b \left(2 - 2\cos(p_b, z_b)\right)

    Parameters
    ----------
    prediction
        Output of the predictor on the online side, shape (n_pairs, d).
    target
        Representation by the target encoder, shape (n_pairs, d); it receives no gradient.
    weight
        w, shape (n_pairs,), an extension: 1 on average over all pairs, not over each batch, so that a pair counts the
        same in every company. None: 1 for each.

    Returns
    -------
    A scalar in [0, 4] without weights; 0 where every prediction points where its target points.

    References
    ----------
    Lee et al., SIGIR 2021, equation 3 (one of its two directions).

    Examples
    --------
    >>> bootstrap_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])).item()
    2.0
    """
    cosine = functional.cosine_similarity(prediction, target.detach(), dim=-1)
    return 2 - 2 * cosine.mean() if weight is None else (weight * (2 - 2 * cosine)).mean()


def uniformity_loss(vectors: Tensor, *, sharpness: float = 2.0) -> Tensor:
    r"""How far the directions are from being spread evenly over the sphere; lower is more even.

    .. math:: \log \frac{1}{B(B-1)} \sum_{a \ne b} \exp\left(-t\,\lVert x_a - x_b \rVert^2\right)

    An extension of the paper: it repels users from users and items from items and never treats an
    unobserved user-item pair as a negative.

    Parameters
    ----------
    vectors
        Representations of one kind (all users or all items), shape (n, d) with n >= 2; normalised here.
    sharpness
        t of the formula.

    Returns
    -------
    A scalar in [-4 t, 0]; 0 where all directions coincide.

    Notes
    -----
    Costs O(n^2 d): hand in a bounded sample. Several rows may belong to the same user; such pairs count like any other.
    For first derivatives by ``backward`` only.

    References
    ----------
    Wang and Isola, ICML 2020, section 4.
    """
    unit = functional.normalize(vectors, dim=-1)
    return _LogKernelMean.apply(unit, sharpness)


class _LogKernelMean(torch.autograd.Function):
    """The formula for rows of length 1, where |x - y|^2 = 2 - 2 x.y.

    The square matrix is most of a step's work, and it is all that its own derivative needs: there is one, changed in
    place. The gradient has no gradient of its own.
    """

    @staticmethod
    def forward(ctx: Any, unit: Tensor, sharpness: float) -> Tensor:
        shift, n = unit.new_full((), -2 * sharpness), len(unit)  # a tensor of a number would wait for the device
        kernel = torch.addmm(shift, unit, unit.T, alpha=2 * sharpness).exp_().fill_diagonal_(0)
        total = kernel.sum()
        ctx.save_for_backward(unit, kernel, total)
        ctx.sharpness = sharpness
        return torch.log(total / (n * (n - 1)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        unit, kernel, total = ctx.saved_tensors
        return (kernel @ unit).mul_(4 * ctx.sharpness * grad_outputs[0] / total), None
