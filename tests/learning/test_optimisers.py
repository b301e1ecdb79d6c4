"""Optimisers against their formulas, step by step."""

import pytest
import torch

from buir.learning import optimisers
from buir.learning.optimisers import RowAdam, dense_adam


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def sparse(rows: list[int], values: torch.Tensor, n: int) -> torch.Tensor:
    return torch.sparse_coo_tensor(
        torch.tensor([rows]), values, (n, values.shape[1]), is_coalesced=True, check_invariants=False
    )


def test_dense_adam_is_adam_with_an_l2_gradient():
    parameter = normal(4, 3).requires_grad_()
    optimiser = dense_adam([parameter], learning_rate=0.01, weight_decay=0.1)
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
    assert optimiser.defaults["fused"] is True


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


def moved(optimiser: torch.optim.Optimizer, table: torch.Tensor, steps: range) -> torch.Tensor:
    for step in steps:
        table.grad = sparse([step % 3, 3 + step % 2], normal(2, 3, seed=step), 5)
        optimiser.step()
    return table


def test_row_adam_goes_on_from_its_state():
    whole, table = normal(5, 3), normal(5, 3)
    one = RowAdam(table, 0.05, 0.1)
    moved(RowAdam(whole, 0.05, 0.1), whole, range(8))
    moved(one, table, range(4))
    state = one.state_dict()
    assert set(state["state"][0]) == {"step", "exp_avg", "exp_avg_sq"}
    assert state["state"][0]["step"] == 4
    other = RowAdam(table, 1.0)
    other.load_state_dict(state)
    assert torch.equal(moved(other, table, range(4, 8)), whole)


def test_row_adam_follows_a_schedule_of_its_rate():
    table, twin = normal(5, 3), normal(5, 3)
    optimiser = RowAdam(table, 0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=1, gamma=0.5)
    moved(optimiser, table, range(1))
    schedule.step()
    before = table.clone()
    moved(optimiser, table, range(1, 2))
    reference = RowAdam(twin, 0.1)
    moved(reference, twin, range(1))
    moved(reference, twin, range(1, 2))
    torch.testing.assert_close(2 * (table - before), twin - before, rtol=0, atol=1e-12)


def test_row_adam_calls_a_closure_for_its_gradient():
    table = normal(5, 3)
    optimiser = RowAdam(table, 0.1)

    def closure() -> float:
        assert torch.is_grad_enabled()
        table.grad = sparse([1], normal(1, 3), 5)
        return 2.5

    before = table.clone()
    assert optimiser.step(closure) == 2.5
    assert (table != before).any(dim=1).tolist() == [False, True, False, False, False]
