"""Optimisers against their formulas, step by step."""

import copy
import subprocess
import sys

import pytest
import torch

from buir.learning import optimisers
from buir.learning.optimisers import DenseAdam, Moments, RowAdam


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def sparse(rows: list[int], values: torch.Tensor, n: int) -> torch.Tensor:
    return torch.sparse_coo_tensor(
        torch.tensor([rows]), values, (n, values.shape[1]), is_coalesced=True, check_invariants=False
    )


def test_dense_adam_is_adam_with_an_l2_gradient():
    parameter = normal(4, 3).requires_grad_()
    optimiser = DenseAdam([parameter], learning_rate=0.01, weight_decay=0.1)
    expected = parameter.detach().clone()
    mean, square = torch.zeros_like(expected), torch.zeros_like(expected)
    for step in range(1, 6):
        gradient = normal(4, 3, seed=step)
        parameter.grad = gradient.clone()
        optimiser.step()
        gradient = gradient + 0.1 * expected
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        expected = expected - 0.01 * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
        torch.testing.assert_close(parameter.detach(), expected, rtol=0, atol=1e-12)
    assert optimiser.fused


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_dense_adam_is_torchs_to_the_last_bit(dtype: torch.dtype, weight_decay: float):
    ours, theirs = ([normal(*shape, dtype=dtype) for shape in ((7, 5), (5, 5), (5,))] for _ in range(2))
    optimiser = DenseAdam(ours, 0.02, weight_decay)
    reference = torch.optim.Adam(theirs, lr=0.02, weight_decay=weight_decay, fused=True)
    for step in range(12):
        for place, (mine, its) in enumerate(zip(ours, theirs, strict=True)):
            # the second has no gradient at first, and none now and then
            has_none = place == 1 and step % 3 == 0
            mine.grad = its.grad = None
            if not has_none:
                mine.grad, its.grad = (normal(*mine.shape, seed=step, dtype=dtype) for _ in range(2))
        optimiser.step()
        reference.step()
    assert all(torch.equal(mine, its) for mine, its in zip(ours, theirs, strict=True))
    kept = reference.state_dict()["state"]
    for place, moments in optimiser.moments.items():
        for part, name in ((moments.mean, "exp_avg"), (moments.square, "exp_avg_sq"), (moments.steps, "step")):
            assert torch.equal(part, kept[place][name])
            assert part.dtype == kept[place][name].dtype
    assert [moments.steps.item() for _, moments in sorted(optimiser.moments.items())] == [12, 8, 12]
    optimiser.zero_grad()
    assert [weight.grad for weight in ours] == [None, None, None]


def test_dense_adam_goes_on_from_its_moments():
    whole, table = normal(5, 3), normal(5, 3)
    uninterrupted, one = DenseAdam([whole], 0.05, 0.1), DenseAdam([table], 0.05, 0.1)
    for step in range(8):
        if step == 4:
            other = DenseAdam([table], 0.05, 0.1)
            # counted in another type, as a file may have it
            other.resume({0: Moments(one.moments[0].mean, one.moments[0].square, torch.tensor(4))})
            one = other
        whole.grad, table.grad = normal(5, 3, seed=step), normal(5, 3, seed=step)
        uninterrupted.step()
        one.step()
    assert torch.equal(table, whole)


def test_a_step_leaves_torchs_compiler_alone():
    code = """
import sys, torch
from buir.learning.optimisers import DenseAdam, RowAdam
dense, rows = torch.ones(3, 2), torch.ones(3, 2)
dense.grad = torch.ones(3, 2)
rows.grad = torch.sparse_coo_tensor([[1]], torch.ones(1, 2), (3, 2), is_coalesced=True, check_invariants=False)
for optimiser in (DenseAdam([dense], 0.5, 0.0), RowAdam(rows, 0.5)):
    optimiser.step()
    optimiser.zero_grad()
print(round(dense.sum().item(), 4), round(rows.sum().item(), 4), "torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3.0", "5.0", "False"]


def test_row_adam_by_hand():
    # after one step the corrected moments are g and g^2: the row moves by the learning rate against the sign of g
    table = torch.tensor([[1.0, -1.0], [5.0, 5.0], [2.0, 4.0]], dtype=torch.float64)
    optimiser = RowAdam(table, learning_rate=0.1, weight_decay=0.5)
    table.grad = sparse([0, 2], torch.tensor([[3.0, -7.0], [0.01, 0.01]], dtype=torch.float64), 3)
    optimiser.step()
    expected = [[0.95 - 0.1, -0.95 + 0.1], [5.0, 5.0], [1.9 - 0.1, 3.8 - 0.1]]
    torch.testing.assert_close(table, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-6)
    optimiser.zero_grad()
    assert table.grad is None
    before = table.clone()
    optimiser.step()
    assert torch.equal(table, before)


@pytest.mark.parametrize("chunk", [2, 4096])
def test_row_adam_is_the_lazy_rule_of_a_dense_table(chunk: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(optimisers, "CHUNK", chunk)
    n, lr, decay = 9, 0.02, 0.3
    table = normal(n, 4)
    optimiser = RowAdam(table, lr, decay)
    expected = [row.clone() for row in table]
    mean, square = (
        [torch.zeros(4, dtype=torch.float64) for _ in range(n)],
        [torch.zeros(4, dtype=torch.float64) for _ in range(n)],
    )
    generator = torch.Generator().manual_seed(1)
    for step in range(1, 31):
        rows = sorted(torch.randperm(n, generator=generator)[: 1 + step % 5].tolist())
        values = normal(len(rows), 4, seed=step)
        table.grad = sparse(rows, values, n)
        optimiser.step()
        for row, gradient in zip(rows, values, strict=True):
            mean[row] = 0.9 * mean[row] + 0.1 * gradient
            square[row] = 0.999 * square[row] + 0.001 * gradient**2
            update = (mean[row] / (1 - 0.9**step)) / ((square[row] / (1 - 0.999**step)).sqrt() + 1e-8)
            expected[row] = (1 - lr * decay) * expected[row] - lr * update
        torch.testing.assert_close(table, torch.stack(expected), rtol=0, atol=1e-12)


def test_rows_are_told_of_before_they_move():
    table, heard = normal(5, 2), []
    start = table.clone()
    optimiser = RowAdam(table, 0.1, before=lambda rows, values: heard.append((rows.tolist(), values.clone())))
    table.grad = sparse([1, 4], normal(2, 2, seed=1), 5)
    optimiser.step()
    ((rows, values),) = heard
    assert rows == [1, 4]
    torch.testing.assert_close(values, start[[1, 4]], rtol=0, atol=0)
    assert not torch.equal(table[1], start[1])


def test_row_adam_without_decay_is_torchs_sparse_adam():
    ours, theirs = normal(6, 3), normal(6, 3).requires_grad_()
    optimiser, reference = RowAdam(ours, 0.05), torch.optim.SparseAdam([theirs], lr=0.05)
    for step in range(10):
        rows = [[0, 2, 5], [1], [2, 3]][step % 3]
        values = normal(len(rows), 3, seed=step)
        ours.grad, theirs.grad = sparse(rows, values, 6), sparse(rows, values, 6)
        optimiser.step()
        reference.step()
    # torch adds epsilon before it corrects the bias
    torch.testing.assert_close(ours, theirs.detach(), rtol=0, atol=1e-5)


def moved(optimiser: RowAdam, table: torch.Tensor, steps: range) -> torch.Tensor:
    for step in steps:
        table.grad = sparse([step % 3, 3 + step % 2], normal(2, 3, seed=step), 5)
        optimiser.step()
    return table


def test_row_adam_goes_on_from_its_moments():
    whole, table = normal(5, 3), normal(5, 3)
    one = RowAdam(table, 0.05, 0.1)
    moved(RowAdam(whole, 0.05, 0.1), whole, range(8))
    moved(one, table, range(4))
    kept = copy.deepcopy(one.moments)
    assert list(kept) == [0]
    assert kept[0].steps == 4
    other = RowAdam(table, 0.05, 0.1)
    other.resume(kept)
    assert torch.equal(moved(other, table, range(4, 8)), whole)
