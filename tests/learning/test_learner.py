"""The training step against one written naively with dense matrices; validation records; snapshots."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from buir.graph.encoders import EmbeddingEncoder, Encoder, GraphEncoder, WalkEncoder
from buir.graph.hashing import stream
from buir.learning import diagnostics
from buir.learning.bootstrap import Bootstrap, Weights
from buir.learning.learner import BootstrapLearner
from buir.learning.loop import Validation
from buir.ranking.evaluation import evaluate
from buir.ranking.top_k import FactorScorer
from tests.support import dense

MATRIX = dense.random_matrix(n_users=16, n_items=12, density=0.3, seed=6)
N, N_ITEMS = MATRIX.shape
GRAPH = dense.graph_of(MATRIX)
A = dense.as_dense(GRAPH, GRAPH.weight)
USERS, ITEMS = (torch.from_numpy(part.astype(np.int64)) for part in MATRIX.nonzero())
RATE, DECAY, MOMENTUM = 0.01, 0.05, 0.9


def weights_of(width: int = 5, seed: int = 0) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(GRAPH.n_nodes, width), (width, width), (width,)]
    return Weights(*(torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in shapes))


def learner_of(encoder: Encoder, weights: Weights | None = None, validation: Validation | None = None, **options):
    weights = weights_of() if weights is None else weights
    bootstrap = Bootstrap(weights, encoder, N, momentum=MOMENTUM, **options)
    return BootstrapLearner(bootstrap, RATE, DECAY, (USERS, ITEMS), validation)


def encoder_matrix(encoder: Encoder, rows: torch.Tensor, key: int) -> torch.Tensor:
    """What the encoder computes in this call, as a dense matrix with a row for each of ``rows``."""
    if isinstance(encoder, GraphEncoder):
        rate = encoder.edge_drop_rate * (stream(key, 1) + 2**31) / 2**32
        return dense.mean_of_powers(A * dense.mask_matrix(GRAPH, rate, key) if rate else A, encoder.n_layers)[rows]
    bags = encoder.bags(rows, key)
    matrix = torch.zeros(len(rows), GRAPH.n_nodes, dtype=torch.float64)
    for entry, (node, weight) in enumerate(zip(bags.node.tolist(), bags.weight.tolist(), strict=True)):
        matrix[entry // bags.width, node] += weight
    return matrix


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    at = torch.randint(len(USERS), (7,), generator=torch.Generator().manual_seed(step))
    return USERS[at], ITEMS[at]


def assert_close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("encoder", "options"),
    [
        (EmbeddingEncoder(), {}),
        (GraphEncoder(GRAPH, 3), {}),
        (GraphEncoder(GRAPH, 2, 0.5), {}),
        (WalkEncoder(GRAPH, 2, 3), {}),
    ],
    ids=["id", "graph", "graph-dropped", "walk"],
)
def test_five_steps_equal_five_naive_ones(encoder: Encoder, options: dict[str, bool]):
    learner = learner_of(encoder, **options)
    reference = dense.DenseBuir(*weights_of().parts(), N)
    for step in range(5):
        users, items = batch(step)
        key, rows = stream(1, step), torch.cat([users, items + N])
        loss = learner.step(users, items, key)
        matrices = [encoder_matrix(encoder, rows, stream(key, side)) for side in (0, 1)]
        expected = reference.loss(*matrices)
        reference.step(expected, RATE, DECAY, MOMENTUM)
        assert not loss.requires_grad
        assert_close(loss, expected.detach())
        for mine, theirs in zip(learner.bootstrap.weights.parts(), reference.online, strict=True):
            assert_close(mine.detach(), theirs.detach())
        assert_close(learner.bootstrap.target.settled(), reference.target)


@pytest.mark.parametrize("encoder", [EmbeddingEncoder(), WalkEncoder(GRAPH, 2, 2)], ids=["id", "walk"])
def test_row_sparse_steps_equal_the_lazy_rule_of_a_dense_table(encoder: Encoder):
    learner = learner_of(encoder, row_sparse=True)
    reference = dense.DenseBuir(*weights_of().parts(), N)
    moved = set()
    for step in range(20):
        users, items = (part[:2] for part in batch(step))
        key, rows = stream(1, step), torch.cat([users, items + N])
        before = learner.bootstrap.weights.table.detach().clone()
        loss = learner.step(users, items, key)
        online, target = (encoder_matrix(encoder, rows, stream(key, side)) for side in (0, 1))
        expected = reference.loss(online, target)
        read = sorted(set(encoder.bags(rows, stream(key, 0)).node.tolist()))
        reference.step(expected, RATE, DECAY, MOMENTUM, rows=read)
        assert_close(loss, expected.detach())
        for mine, theirs in zip(learner.bootstrap.weights.parts(), reference.online, strict=True):
            assert_close(mine.detach(), theirs.detach())
        changed = (learner.bootstrap.weights.table.detach() != before).any(dim=1).nonzero().view(-1).tolist()
        assert set(changed) <= set(read)
        moved |= set(changed)
    assert_close(learner.bootstrap.target.settled(), reference.target)
    assert 3 not in moved


@pytest.mark.parametrize(
    ("encoder", "options"),
    [(GraphEncoder(GRAPH, 1), {}), (EmbeddingEncoder(), {}), (EmbeddingEncoder(), {"row_sparse": True})],
    ids=["graph", "id", "id-sparse"],
)
def test_gradients_do_not_pile_up(encoder: Encoder, options: dict[str, bool]):
    learner = learner_of(encoder, **options)
    learner.step(*batch(0), 1)
    before, target = learner.bootstrap.weights.clone(), learner.bootstrap.target.settled().clone()
    learner.step(*batch(1), 2)
    # the gradient of a second step is that of its batch alone
    alone = Bootstrap(before, encoder, N, momentum=MOMENTUM, **options)
    alone.target.resume({"target": target})
    alone.loss(*batch(1), 2).backward()
    for mine, theirs in zip(learner.bootstrap.weights.parts(), before.parts(), strict=True):
        assert_close(mine.grad.to_dense(), theirs.grad.to_dense())


@pytest.mark.parametrize("options", [{}, {"row_sparse": True}])
def test_the_predictor_and_the_online_table_learn(options: dict[str, bool]):
    learner = learner_of(WalkEncoder(GRAPH, 2, 2), **options)
    before, target = learner.bootstrap.weights.clone(), learner.bootstrap.target.settled().clone()
    learner.step(*batch(0), 1)
    for old, new in zip(before.parts(), learner.bootstrap.weights.parts(), strict=True):
        assert not torch.equal(old, new)
    moved = learner.bootstrap.target.settled()
    assert_close(moved, MOMENTUM * target + (1 - MOMENTUM) * learner.bootstrap.weights.table.detach())


@pytest.mark.parametrize("options", [{}, {"row_sparse": True}])
def test_without_a_predictor_the_table_learns_alone(options: dict[str, bool]):
    weights = Weights.of(weights_of().table)
    learner = learner_of(WalkEncoder(GRAPH, 2, 2), weights, predictor=False, **options)
    before = weights.clone()
    for step in range(2):
        learner.step(*batch(step), step)
    assert not torch.equal(before.table, weights.table)
    for old, new in zip(before.parts()[1:], weights.parts()[1:], strict=True):
        assert torch.equal(old, new)
    state = learner.state(1)
    assert set(state.tensors) - {"age"} == {"target", "mean/table", "square/table", "steps/table"}
    other = learner_of(WalkEncoder(GRAPH, 2, 2), weights.clone(), predictor=False, **options)
    other.resume(state)
    for each in (learner, other):
        each.step(*batch(2), 2)
    assert torch.equal(other.bootstrap.weights.table, weights.table)


def test_validate_reports_what_the_diagnostics_and_the_evaluation_say():
    valid = csr_array((np.random.default_rng(1).random((N, N_ITEMS)) < 0.2) & (MATRIX.toarray() == 0)).astype(
        np.float32
    )
    learner = learner_of(GraphEncoder(GRAPH, 2), validation=Validation(MATRIX, csr_array(valid), "ndcg_at_3"))
    for step in range(3):
        learner.step(*batch(step), step)
    record = learner.validate()
    weights, encoder = learner.bootstrap.weights, dense.mean_of_powers(A, 2)
    vectors, target = encoder @ weights.table.detach(), encoder @ learner.bootstrap.target.settled()
    assert record["effective_rank"] == pytest.approx(diagnostics.effective_rank(vectors), rel=1e-6)
    assert record["alignment"] == pytest.approx(diagnostics.alignment(vectors[USERS], vectors[ITEMS + N]), rel=1e-6)
    assert record["uniformity"] == pytest.approx(diagnostics.uniformity(vectors), rel=1e-6)
    assert record["target_distance"] == pytest.approx(diagnostics.target_distance(vectors, target), rel=1e-6)
    means = evaluate(FactorScorer(*learner.bootstrap.factors()), MATRIX, csr_array(valid), ks=(3,)).means
    assert record["ndcg_at_3"] == pytest.approx(means["ndcg_at_3"], abs=1e-12)
    assert record["coverage_at_3"] == pytest.approx(means["coverage_at_3"], abs=1e-12)
    assert 0 < record["ndcg_at_3"] < 1
    scores = record.pop("scores")
    of_users, of_items = learner.bootstrap.factors()
    found = (of_users[USERS] * of_items[ITEMS]).sum(dim=1)  # fewer than are looked at, so all of them
    assert scores["positive"] == pytest.approx(np.percentile(found, [5, 25, 50, 75, 95]), abs=1e-5)
    assert all(isinstance(value, float) for value in record.values())


def test_validating_changes_nothing():
    runs = []
    for looks in (False, True):
        learner = learner_of(WalkEncoder(GRAPH, 2, 2), row_sparse=True)
        for step in range(4):
            learner.step(*batch(step), step)
            if looks:
                learner.validate()
        runs.append(learner.bootstrap.weights.table.detach())
    assert_close(*runs)


@pytest.mark.parametrize(
    ("encoder", "options"),
    [
        (EmbeddingEncoder(), {}),
        (GraphEncoder(GRAPH, 2, 0.5), {}),
        (WalkEncoder(GRAPH, 2, 2), {}),
        (WalkEncoder(GRAPH, 2, 2), {"row_sparse": True}),
    ],
    ids=["id", "graph-dropped", "walk", "walk-sparse"],
)
def test_a_resumed_training_is_the_uninterrupted_one(encoder: Encoder, options: dict[str, bool]):
    learner = learner_of(encoder, **options)
    for step in range(4):
        learner.step(*batch(step), step)
    state = learner.state(epoch=4)
    assert state.epoch == 4
    resumed = learner_of(encoder, learner.bootstrap.weights.clone(), **options)
    resumed.resume(state)
    for step in range(4, 8):
        losses = [one.step(*batch(step), step) for one in (learner, resumed)]
        assert torch.equal(*losses)
    for mine, theirs in zip(learner.bootstrap.weights.parts(), resumed.bootstrap.weights.parts(), strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(learner.bootstrap.target.settled(), resumed.bootstrap.target.settled())


@pytest.mark.parametrize(("options", "whole"), [({}, torch.float32), ({"row_sparse": True}, torch.int64)])
def test_a_state_names_the_moments_of_every_weight(options: dict[str, bool], whole: torch.dtype):
    learner = learner_of(EmbeddingEncoder(), **options)
    for step in range(2):
        learner.step(*batch(step), step)
    tensors = learner.state(epoch=1).tensors
    weights = vars(learner.bootstrap.weights)
    names = {f"{kind}/{name}" for kind in ("mean", "square", "steps") for name in weights}
    assert set(tensors) == {"target"} | names | ({"age"} if options else set())
    for name, part in weights.items():
        assert tensors[f"mean/{name}"].shape == tensors[f"square/{name}"].shape == part.shape
        assert (tensors[f"steps/{name}"].item(), tensors[f"steps/{name}"].shape) == (2, ())
        assert (tensors[f"square/{name}"] >= 0).all()
    assert tensors["steps/table"].dtype == whole
    # a copy: the training goes on and the state does not
    kept = {name: tensor.clone() for name, tensor in tensors.items()}
    resumed = learner_of(EmbeddingEncoder(), learner.bootstrap.weights.clone(), **options)
    resumed.resume(learner.state(epoch=1))
    state = learner.state(epoch=1)
    resumed.resume(state)
    for one in (learner, resumed):
        one.step(*batch(2), 2)
    for name, tensor in kept.items():
        assert torch.equal(state.tensors[name], tensor)
        assert torch.equal(tensors[name], tensor)


def test_a_snapshot_comes_back():
    learner = learner_of(GraphEncoder(GRAPH, 1))
    learner.step(*batch(0), 0)
    snapshot = learner.snapshot()
    saved = [part.clone() for part in snapshot.parts()]
    factors = learner.bootstrap.factors()
    learner.step(*batch(1), 1)
    assert not torch.equal(learner.bootstrap.weights.table, saved[0])
    learner.restore(snapshot)
    for part, old in zip(learner.bootstrap.weights.parts(), saved, strict=True):
        assert torch.equal(part.detach(), old)
    for now, then in zip(learner.bootstrap.factors(), factors, strict=True):
        assert torch.equal(now, then)
