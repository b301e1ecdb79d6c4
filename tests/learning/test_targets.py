"""Targets: the moving average by hand, the lazy one against it."""

import pytest
import torch

from buir.graph.encoders import EmbeddingEncoder, GraphEncoder, WalkEncoder
from buir.graph.hashing import stream
from buir.learning.targets import LazyTarget, TableTarget
from tests.support import dense

GRAPH = dense.graph_of(dense.random_matrix())
ENCODERS = [EmbeddingEncoder(), WalkEncoder(GRAPH, 2, 3)]


def table_of(width: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(GRAPH.n_nodes, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_moving_average_by_hand():
    online = torch.tensor([[1.0], [2.0]])
    target = TableTarget(online, EmbeddingEncoder(), momentum=0.75)
    assert torch.equal(target.table, online)
    online += 4
    assert target.table.tolist() == [[1.0], [2.0]]
    target.after_step()
    assert target.settled().tolist() == [[2.0], [3.0]]
    target.after_step()
    assert target.settled().tolist() == [[2.75], [3.75]]


@pytest.mark.parametrize("kind", [TableTarget, LazyTarget])
def test_no_target_has_a_gradient(kind: type):
    online = table_of().requires_grad_()
    target = kind(online, WalkEncoder(GRAPH, 2, 2), 0.9)
    assert not target.encode(torch.tensor([0, 1, 19]), 5).requires_grad
    assert not target.settled().requires_grad


def test_the_table_target_reads_through_the_encoder():
    encoder = GraphEncoder(GRAPH, 2, 0.4)
    target = TableTarget(table_of(), encoder, 0.9)
    target.table.copy_(table_of(seed=1))
    rows = torch.tensor([2, 2, 17])
    assert torch.equal(target.encode(rows, 8), encoder.encode(table_of(seed=1), rows, 8))


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.995])
def test_the_lazy_average_is_the_moving_average(encoder, momentum: float):
    online = table_of()
    plain, lazy = TableTarget(online, encoder, momentum), LazyTarget(online, encoder, momentum)
    generator = torch.Generator().manual_seed(4)
    for step in range(50):
        rows = torch.randint(GRAPH.n_nodes, (6,), generator=generator)
        key = stream(0, step)
        torch.testing.assert_close(lazy.encode(rows, key), plain.encode(rows, key), rtol=0, atol=1e-12)
        # a random subset of the rows changes; sometimes none, and some rows hardly ever
        moving = (
            torch.randperm(GRAPH.n_nodes // 2, generator=generator)[: int(torch.randint(8, (), generator=generator))]
            .sort()
            .values
        )
        if step % 9 == 5:
            moving = torch.arange(GRAPH.n_nodes)
        lazy.settle(moving, online[moving])
        online[moving] += torch.randn(len(moving), 5, dtype=torch.float64, generator=generator)
        for target in (plain, lazy):
            target.after_step()
        if step in (20, 21, 49):  # settling in between changes nothing
            torch.testing.assert_close(lazy.settled(), plain.settled(), rtol=0, atol=1e-12)


def test_a_row_that_stood_still_for_long_is_exact_in_float32():
    online = torch.zeros(2, 1)
    lazy = LazyTarget(online, EmbeddingEncoder(), 0.999)
    lazy.settle(torch.tensor([0]), online[:1].clone())
    online[0] = 1
    for _ in range(3000):
        lazy.after_step()
    assert lazy.settled().view(-1).tolist() == pytest.approx([1 - 0.999**3000, 0.0], abs=2e-5)


@pytest.mark.parametrize("kind", [TableTarget, LazyTarget])
def test_a_target_resumes_at_any_time(kind: type):
    online = table_of()
    target = kind(online, EmbeddingEncoder(), 0.5)
    for _ in range(3):
        target.after_step()
    target.resume({"target": table_of(seed=1)})
    assert torch.equal(target.settled(), table_of(seed=1))
    target.after_step()
    torch.testing.assert_close(target.settled(), (online + table_of(seed=1)) / 2, rtol=0, atol=1e-15)
