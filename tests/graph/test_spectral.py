"""The spectrum: against NumPy's dense singular vectors in float64, on every shape that a matrix can have."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch.utils._python_dispatch import TorchDispatchMode

from buir.graph import Spectrum, propagation, spectral_factors, stream
from buir.graph.spectral import _PURPOSE
from tests.support import dense

RNG = np.random.default_rng(0)


def random_pairs(n_users, n_items, density=0.1, seed=0):
    return csr_array((np.random.default_rng(seed).random((n_users, n_items)) < density).astype(np.float32))


def rings(*sizes):
    """Disjoint blocks in which item i belongs to users i and i + 1: their singular values lie apart."""
    blocks = []
    for size in sizes:
        block = np.eye(size)
        block[np.arange(1, size), np.arange(size - 1)] = 1
        blocks.append(block)
    whole = np.zeros((sum(sizes), sum(sizes)), dtype=np.float32)
    at = 0
    for block in blocks:
        whole[at : at + len(block), at : at + len(block)] = block
        at += len(block)
    return csr_array(whole)


def normalised(matrix, regularisation=1.0):
    """A as the formula says, float64, zeros where there are no pairs."""
    table = matrix.toarray().astype(np.float64)
    scaled = table.copy()
    for axis in (1, 0):
        degree = table.sum(axis=axis)
        mean = degree[degree > 0].mean() if degree.any() else 0.0
        root = np.sqrt(degree + regularisation * mean)
        inverse = np.divide(1, root, out=np.zeros_like(root), where=root > 0)
        scaled = scaled * (inverse[:, None] if axis == 1 else inverse[None, :])
    return scaled


def arrays(spectrum: Spectrum):
    return tuple(part.numpy().astype(np.float64) for part in (spectrum.users, spectrum.values, spectrum.items))


def assert_is_the_spectrum(matrix, width, regularisation=1.0, tolerance=1e-4, **settings):
    table = normalised(matrix, regularisation)
    u, s, v = arrays(spectral_factors(matrix, width, regularisation=regularisation, **settings))
    exact = np.linalg.svd(table, compute_uv=False) if min(table.shape) else np.zeros(0)
    wanted = np.zeros(width)
    wanted[: min(width, len(exact))] = exact[:width]
    wanted[wanted < 1e-9 * max(1, wanted[0])] = 0
    assert u.shape == (matrix.shape[0], width)
    assert v.shape == (matrix.shape[1], width)
    np.testing.assert_allclose(s, wanted, atol=tolerance)
    rank = np.count_nonzero(wanted)
    kept = np.diag((np.arange(width) < rank).astype(float))
    np.testing.assert_allclose(u.T @ u, kept, atol=2e-5)
    np.testing.assert_allclose(v.T @ v, kept, atol=2e-5)
    np.testing.assert_allclose(table @ v, u * s, atol=50 * tolerance)
    assert not u[np.diff(matrix.indptr) == 0].any()
    assert not v[np.asarray(matrix.sum(axis=0)) == 0].any()
    for column in v.T[:rank]:
        assert column[np.argmax(np.abs(column) > (1 - 1e-5) * np.abs(column).max())] > 0


def test_by_hand():
    # two users share one item: degrees 1, 1 and 2, means 1 and 2, so A = 1 / sqrt(2 * 4) twice
    u, s, v = arrays(spectral_factors(csr_array(np.ones((2, 1), dtype=np.float32)), 1))
    np.testing.assert_allclose(s, [0.5], rtol=1e-6)
    np.testing.assert_allclose(u, [[0.5**0.5], [0.5**0.5]], rtol=1e-6)
    np.testing.assert_allclose(v, [[1]], rtol=1e-6)


@pytest.mark.parametrize("regularisation", [0.0, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("shape", [(120, 90), (60, 200)])
def test_a_generic_matrix(shape, regularisation):
    assert_is_the_spectrum(random_pairs(*shape), 8, regularisation, tolerance=2e-3, power_iterations=8)


def test_more_power_iterations_are_closer():
    matrix = random_pairs(300, 200, 0.05)
    exact = np.linalg.svd(normalised(matrix), compute_uv=False)[:20]
    errors = [
        np.abs(spectral_factors(matrix, 20, power_iterations=n).values.numpy() - exact).max() for n in (0, 2, 4, 40)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-5


@pytest.mark.parametrize("width", [3, 6, 40])
def test_a_rank_deficient_matrix(width):
    # 6 kinds of users, each many times: rank 6, also where the subspace is random (40 + 16 < 80)
    kinds = random_pairs(6, 80, 0.3, seed=1).toarray()
    matrix = csr_array(np.tile(kinds, (20, 1)))
    assert_is_the_spectrum(matrix, width, tolerance=1e-5)


@pytest.mark.parametrize("width", [11, 12, 40])
def test_widths_from_the_smaller_side_on_are_exact(width):
    assert_is_the_spectrum(random_pairs(30, 11, 0.3), width, tolerance=1e-6)
    assert_is_the_spectrum(random_pairs(11, 30, 0.3), width, tolerance=1e-6)


def test_rows_and_columns_without_pairs_change_nothing_else():
    matrix = random_pairs(90, 70)
    wide = np.zeros((180, 105), dtype=np.float32)
    wide[1::2, np.arange(105) % 3 != 1] = matrix.toarray()
    assert_is_the_spectrum(csr_array(wide), 6, tolerance=2e-3, power_iterations=8)
    plain, spread = spectral_factors(matrix, 6), spectral_factors(csr_array(wide), 6)
    assert torch.equal(plain.values, spread.values)
    assert torch.equal(plain.users, spread.users[1::2])
    assert spread.n_connected == plain.n_connected == 160


def test_two_components():
    assert_is_the_spectrum(rings(40, 55), 12, regularisation=1.0, tolerance=1e-4, power_iterations=60)
    # without regularisation both components have the leading value 1
    spectrum = spectral_factors(rings(40, 55), 2, regularisation=0.0, power_iterations=400)
    np.testing.assert_allclose(spectrum.values, [1, 1], atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 2)])
@pytest.mark.parametrize("width", [1, 4])
def test_one_user_or_one_item(shape, width):
    assert_is_the_spectrum(csr_array(np.ones(shape, dtype=np.float32)), width, tolerance=1e-6)


@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (0, 4), (3, 4)])
def test_without_pairs_all_is_zero(shape):
    spectrum = spectral_factors(csr_array(shape, dtype=np.float32), 2)
    assert spectrum.users.shape == (shape[0], 2)
    assert spectrum.items.shape == (shape[1], 2)
    assert not spectrum.values.any()
    assert not any(table.any() for table in (*spectrum.tables(), spectrum.users, spectrum.items))


def test_a_seed_decides_and_no_global_state_is_touched():
    matrix = random_pairs(120, 90)
    before = torch.random.get_rng_state()
    one, again, other = (spectral_factors(matrix, 10, seed=seed, power_iterations=0) for seed in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    for name in ("users", "values", "items"):
        assert torch.equal(getattr(one, name), getattr(again, name))
    assert not torch.equal(one.values, other.values)


def test_the_random_subspace_is_hashed():
    # without power iterations U spans A times the signs, which an integer hash gives
    matrix = random_pairs(100, 60)
    signs = np.empty((60, 20))
    for column in range(20):
        key = stream(_PURPOSE, 5, column)
        signs[:, column] = [-1 if dense.hash_int(row, key) < 0 else 1 for row in range(60)]
    u = spectral_factors(matrix, 20, oversampling=0, power_iterations=0, seed=5).users.double().numpy()
    image = normalised(matrix) @ signs
    np.testing.assert_allclose(u @ (u.T @ image), image, atol=1e-4)


def test_threads_and_blocks_change_no_more_than_rounding(monkeypatch):
    matrix = random_pairs(150, 120)
    plain = arrays(spectral_factors(matrix, 70))
    threads = torch.get_num_threads()
    try:
        for block, n_threads in ((7, 1), (64, 2), (1000, 1)):
            monkeypatch.setattr(propagation, "BLOCK", block)
            torch.set_num_threads(n_threads)
            found = arrays(spectral_factors(matrix, 70))
            np.testing.assert_allclose(found[1], plain[1], atol=1e-6)
            for part in (0, 2):
                np.testing.assert_allclose(found[part][:, :10], plain[part][:, :10], atol=1e-4)
            # vectors whose values are close turn into each other by rounding; what all 70 say together does not
            approximations = [(users * values) @ items.T for users, values, items in (found, plain)]
            np.testing.assert_allclose(*approximations, atol=1e-5)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(("shape", "width"), [((300, 200), 16), ((40, 30), 30)])
def test_tables_have_the_norm_asked_for(shape, width):
    matrix = random_pairs(*shape, density=0.01)
    spectrum = spectral_factors(matrix, width)
    users, items = spectrum.tables(0.05)
    pairs = matrix.toarray()
    rows = np.concatenate([users.numpy()[pairs.any(axis=1)], items.numpy()[pairs.any(axis=0)]])
    assert np.sqrt(np.mean(rows.astype(np.float64) ** 2)) == pytest.approx(0.05, rel=1e-5)
    # c^2 U S V': a multiple of the best approximation
    product, wanted = users @ items.T, (spectrum.users * spectrum.values) @ spectrum.items.T
    torch.testing.assert_close(product * (wanted.norm() / product.norm()), wanted, atol=1e-5, rtol=1e-4)


class LargestTensor(TorchDispatchMode):
    """The most numbers that any single operation gave."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple | list) else (result,):
            if isinstance(part, torch.Tensor):
                self.numbers = max(self.numbers, part.numel())
        return result


@pytest.mark.parametrize("shape", [(700, 400), (4000, 20)])
def test_no_tensor_is_larger_than_a_table(shape):
    matrix = random_pairs(*shape, density=0.02)
    with LargestTensor() as largest:
        spectral_factors(matrix, 16, oversampling=16)
    assert 0 < largest.numbers <= max(*shape) * 32 + matrix.nnz


@pytest.mark.parametrize(
    ("name", "value"), [("width", 0), ("regularisation", -1.0), ("power_iterations", -1), ("oversampling", -2)]
)
def test_wrong_numbers_are_refused(name, value):
    with pytest.raises(ValueError, match=rf"{name} is {value}"):
        spectral_factors(random_pairs(5, 5), **{"width": 2, name: value})


def test_the_matrix_is_not_changed():
    weighted = random_pairs(60, 50)
    weighted.data[:] = RNG.random(weighted.nnz)
    copy = weighted.copy()
    spectral_factors(weighted, 5)
    np.testing.assert_array_equal(weighted.data, copy.data)
    np.testing.assert_array_equal(weighted.indices, copy.indices)


@pytest.mark.gpu
def test_cuda_gives_the_same():
    matrix = rings(*range(20, 60, 3))
    on_cpu = arrays(spectral_factors(matrix, 20, power_iterations=30))
    found = spectral_factors(matrix, 20, power_iterations=30, device="cuda")
    assert found.users.is_cuda
    for part, expected in zip((found.users, found.values, found.items), on_cpu, strict=True):
        np.testing.assert_allclose(part.cpu().numpy()[..., :8], expected[..., :8], atol=2e-4)
