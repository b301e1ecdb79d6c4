"""The spectrum of the graph: the leading singular vectors that training turns towards, found in a second."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from buir.data import degrees, has_weights
from buir.graph.hashing import mix, stream
from buir.graph.propagation import columns
from buir.graph.reads import neighbour_sum

__all__ = ["Spectrum", "spectral_factors"]

_PURPOSE = 0x5BEC
"""First number of the stream that the test matrix is drawn from, so that no other draw of the same seed shares it."""

_SAME = 1 - 1e-4
"""Magnitudes of at least this share of the largest count as equal to it: rounding must not choose a sign."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    r"""Leading singular triplets of a normalised matrix, :math:`A \approx U S V'`, all float32 on one device."""

    users: Tensor
    """U, shape (n_users, k), orthonormal columns; zero for users without pairs and where there is no singular value."""
    values: Tensor
    """S, shape (k,): decreasing, 0 where the matrix has no further one."""
    items: Tensor
    """V, shape (n_items, k)."""
    n_connected: int
    """Number of users and items that have pairs."""

    def cut(self, width: int) -> "Spectrum":
        """Return the leading ``width`` triplets."""
        users, items = (table[:, :width].contiguous() for table in (self.users, self.items))
        return Spectrum(users, self.values[:width], items, self.n_connected)

    def to(self, device: torch.device) -> "Spectrum":
        """Return the triplets on another device."""
        return Spectrum(self.users.to(device), self.values.to(device), self.items.to(device), self.n_connected)

    def tables(self, rms: float = 0.02) -> tuple[Tensor, Tensor]:
        r"""Return the start of training, :math:`c\, U S^{1/2}` and :math:`c\, V S^{1/2}`.

        Parameters
        ----------
        rms
            Root mean square of the entries over the users and items that have pairs, which decides c. A loss that sees
            directions only does not see c, but a step of an optimiser changes small vectors faster: this is its real
            learning rate.

        Returns
        -------
        Shapes (n_users, k) and (n_items, k).
        """
        root = self.values.sqrt()
        # the columns of U and V have norm 1, so the squares of both tables sum to twice the sum of S
        total = 2 * self.values.double().sum()
        entries = self.n_connected * len(self.values)
        scale = torch.where(total > 0, rms * (entries / total).sqrt(), 0.0).to(root.dtype)
        return self.users * (scale * root), self.items * (scale * root)

    def lift(self, degree: np.ndarray, sharpness: float, regularisation: float = 1.0) -> Tensor:
        r"""Return what an item of a history adds to a user's coordinates.

        With :math:`A V = U S`, a user's row of :math:`U S^b` is the sum of the rows of
        :math:`(D_I + a\, m_I)^{-1/2} V S^{b-1}` of her items, times :math:`(d_u + a\, m_U)^{-1/2}`: so a history alone
        gives the coordinates.

        Parameters
        ----------
        degree
            Of each item in the matrix of the spectrum, the sum of its column, shape (n_items,).
        sharpness
            b.
        regularisation
            a, with which the spectrum was found.

        Returns
        -------
        float32, shape (n_items, k), on the CPU; zero for items without users.
        """
        mean = degree[degree > 0].mean() if degree.any() else 1.0
        root = np.sqrt(degree + regularisation * mean)
        scale = torch.from_numpy(np.divide(1, root, out=np.zeros(len(root)), where=degree > 0)).float().unsqueeze(1)
        values = self.values.cpu()
        return self.items.cpu() * torch.where(values > 0, values ** (sharpness - 1), 0.0) * scale


def spectral_factors(
    matrix: csr_array,
    width: int,
    *,
    regularisation: float = 1.0,
    power_iterations: int = 4,
    oversampling: int = 16,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Spectrum:
    r"""Find the leading singular triplets of the normalised matrix by randomised subspace iteration.

    .. math:: A = (D_U + a\, m_U)^{-1/2} R\, (D_I + a\, m_I)^{-1/2} \approx U S V'

    with the degrees D and their means m over the users (items) that have pairs.

    Parameters
    ----------
    matrix
        R, canonical, shape (n_users, n_items), with the weights of the pairs, 1 where they have none.
    width
        Number of triplets, at least 1; past the smaller side and past the rank they are zero.
    regularisation
        a >= 0, in mean degrees. With 0 the leading vectors of sparse data are spent on their smallest components.
    power_iterations
        Products with A A' that sharpen the random subspace; each costs as much as two passes of propagation.
    oversampling
        Vectors carried beyond ``width``, which make its last ones accurate.
    seed
        Decides the random subspace; the same on every device.
    device
        Where to compute and where the result lies.

    Returns
    -------
    The triplets. In each column of V the first of the largest entries is positive.

    Raises
    ------
    ValueError
        If the width is below 1, or another number is negative.

    Notes
    -----
    Beyond the CSR and its transpose, memory is a few tables of (n_users + n_items) x (width + oversampling) numbers.
    Where that many vectors reach the smaller side, the matrix itself is as small, and its dense singular vectors are
    taken, in float64.

    References
    ----------
    Halko, Martinsson, Tropp, "Finding structure with randomness", SIAM Review 2011, algorithm 4.4. Chaudhuri, Chung,
    Tsiatas, "Spectral clustering of graphs with general degrees in the extended planted partition model", COLT 2012,
    for the regularisation.
    """
    least = {"width": (width, 1), "regularisation": (regularisation, 0)}
    least |= {"power_iterations": (power_iterations, 0), "oversampling": (oversampling, 0)}
    for name, (value, bound) in least.items():
        if not value >= bound:
            msg = f"{name} is {value}, expected a number from {bound}"
            raise ValueError(msg)
    users, items = (np.flatnonzero(degree) for degree in degrees(matrix))
    left, values, right = (
        torch.zeros(n, *shape, device=device)
        for n, shape in ((len(users), (width,)), (width, ()), (len(items), (width,)))
    )
    carried = width + oversampling
    if matrix.nnz:
        compact = _normalised(matrix, users, items, regularisation)
        if carried >= min(compact.shape):
            found = _dense(compact, torch.device(device))
        else:
            found = _randomised(compact, carried, power_iterations, seed, torch.device(device))
        for table, part in zip((left, values, right), found, strict=True):
            n = min(width, part.shape[-1])
            table[..., :n] = part[..., :n]
        right_signs = _signs(right)
        left, right = left * right_signs, right * right_signs
    return Spectrum(
        _spread_out(left, users, matrix.shape[0]),
        values,
        _spread_out(right, items, matrix.shape[1]),
        len(users) + len(items),
    )


def _normalised(matrix: csr_array, users: np.ndarray, items: np.ndarray, regularisation: float) -> csr_array:
    """Return A in float64 without its empty rows and columns."""
    of_users, of_items = (degree[degree > 0] for degree in degrees(matrix))
    place = np.zeros(matrix.shape[1], dtype=np.int32)
    place[items] = np.arange(len(items))
    row_scale, col_scale = (1 / np.sqrt(d + regularisation * d.mean()) for d in (of_users, of_items))
    col = place[matrix.indices]
    data = np.repeat(row_scale, np.diff(matrix.indptr)[users]) * col_scale[col]
    if has_weights(matrix):
        data *= matrix.data
    rowptr = np.concatenate([[0], matrix.indptr[users + 1]]).astype(np.int32)
    return csr_array((data, col, rowptr), shape=(len(users), len(items)))


def _dense(matrix: csr_array, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return all singular triplets."""
    u, s, vh = torch.linalg.svd(torch.from_numpy(matrix.toarray()).to(device), full_matrices=False)
    return _without_noise(u, s, vh.mT, max(matrix.shape) * torch.finfo(s.dtype).eps)


class _Product(NamedTuple):
    """A CSR matrix on a device, to be multiplied with tables."""

    rowptr: Tensor
    col: Tensor
    weight: Tensor

    @classmethod
    def of(cls, matrix: csr_array, device: torch.device) -> "_Product":
        parts = (matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), matrix.data.astype(np.float32))
        return cls(*(torch.from_numpy(part).to(device) for part in parts))

    def __call__(self, table: Tensor) -> Tensor:
        out = table.new_empty(len(self.rowptr) - 1, table.shape[1])
        for block, target in zip(columns(table), columns(out), strict=True):
            target.copy_(neighbour_sum(*self, block.contiguous()))
        return out


def _randomised(
    matrix: csr_array, carried: int, power_iterations: int, seed: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the triplets of A in a subspace of ``carried`` dimensions."""
    forward, backward = _Product.of(matrix, device), _Product.of(matrix.T.tocsr(), device)
    basis = torch.linalg.qr(forward(_random_signs(matrix.shape[1], carried, seed, device))).Q
    for _ in range(power_iterations):
        basis = torch.linalg.qr(forward(torch.linalg.qr(backward(basis)).Q)).Q
    right, core = torch.linalg.qr(backward(basis))  # A' Q = right core, so A ~ Q core' right'
    u, s, vh = torch.linalg.svd(core.mT.double())
    u, s, v = _without_noise(u, s, vh.mT, carried * torch.finfo(core.dtype).eps)
    return basis @ u.to(basis.dtype), s, right @ v.to(right.dtype)


def _random_signs(n: int, width: int, seed: int, device: torch.device) -> Tensor:
    """Return entries +1 and -1, shape (n, width), float32: hashes, so that they are the same on every device."""
    rows = torch.arange(n, dtype=torch.int32, device=device)
    signs = torch.empty(n, width, device=device)
    for column in range(width):
        signs[:, column] = torch.where(mix(rows, stream(_PURPOSE, seed, column)) < 0, -1.0, 1.0)
    return signs


def _without_noise(u: Tensor, s: Tensor, v: Tensor, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Set the triplets to zero whose singular value is rounding error: no more than ``tolerance`` of the largest."""
    real = s > tolerance * s[0]
    return u * real, s * real, v * real


def _signs(table: Tensor) -> Tensor:
    """Return the sign of each column's first entry among those of the largest magnitude."""
    size = table.abs()
    first = (size >= _SAME * size.amax(dim=0)).to(torch.int8).argmax(dim=0, keepdim=True)
    return torch.where(table.gather(0, first) < 0, -1.0, 1.0)


def _spread_out(table: Tensor, rows: np.ndarray, n_rows: int) -> Tensor:
    """Put the rows of a table to their places among rows of zeros."""
    if len(rows) == n_rows:
        return table
    whole = table.new_zeros(n_rows, table.shape[1])
    whole[torch.from_numpy(rows).to(table.device)] = table
    return whole
