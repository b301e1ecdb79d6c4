"""The bootstrap: initial weights, the loss and all its gradients against dense matrices, the factors of the score."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from buir.graph.encoders import EmbeddingEncoder, GraphEncoder, WalkEncoder
from buir.graph.hashing import stream
from buir.learning import bootstrap as module
from buir.learning.bootstrap import Bootstrap, Weights, initial_weights
from buir.learning.losses import uniformity_loss
from tests.support import dense

MATRIX = dense.random_matrix()
GRAPH = dense.graph_of(MATRIX)
A = dense.as_dense(GRAPH, GRAPH.weight)
N = MATRIX.shape[0]
USERS, ITEMS = (torch.from_numpy(part[:9].astype(np.int64)) for part in MATRIX.nonzero())
ROWS = torch.cat([USERS, ITEMS + N])
KEY = stream(3, 1)


def weights_of(width: int = 6, seed: int = 0) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(GRAPH.n_nodes, width), (width, width), (width,)]
    return Weights(*(torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in shapes))


def encoder_matrix(rate_bound: float, key: int, n_layers: int = 2) -> torch.Tensor:
    """What GraphEncoder computes in a call with this key, as one dense matrix."""
    rate = rate_bound * (stream(key, 1) + 2**31) / 2**32
    return dense.mean_of_powers(A * dense.mask_matrix(GRAPH, rate, key) if rate else A, n_layers)


def test_initial_weights_of_the_whole_graph_encoder():
    n_users, n_items, dim = 900, 300, 40
    weights = initial_weights(n_users, n_items, dim, "graph", seed=1)
    assert [tuple(part.shape) for part in weights.parts()] == [(1200, 40), (40, 40), (40,)]
    assert all(part.dtype == torch.float32 for part in weights.parts())
    for part, bound in (
        (weights.table[:n_users], math.sqrt(6 / (n_users + dim))),
        (weights.table[n_users:], math.sqrt(6 / (n_items + dim))),
        (weights.predictor_weight, 1 / math.sqrt(dim)),
        (weights.predictor_bias, 1 / math.sqrt(dim)),
    ):
        values = part.double().numpy().ravel()
        assert stats.kstest(values, stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3


def test_initial_weights_of_the_embedding_encoder():
    n_users, n_items, dim = 900, 300, 40
    weights = initial_weights(n_users, n_items, dim, "id", seed=1)
    for part, deviation in (
        (weights.table[:n_users], math.sqrt(2 / (n_users + dim))),
        (weights.table[n_users:], math.sqrt(2 / (n_items + dim))),
        (weights.predictor_weight, math.sqrt(2 / (2 * dim))),
        (weights.predictor_bias, 1.0),
    ):
        values = part.double().numpy().ravel()
        assert stats.kstest(values, stats.norm(0, deviation).cdf).pvalue > 1e-3


def test_initial_weights_follow_the_seed():
    one, again, other = (initial_weights(5, 4, 3, "graph", seed) for seed in (0, 0, 1))
    for mine, same, different in zip(one.parts(), again.parts(), other.parts(), strict=True):
        assert torch.equal(mine, same)
        assert not torch.equal(mine, different)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_loss_and_gradients_equal_the_dense_ones(rate: float):
    weights = weights_of()
    reference = dense.DenseBuir(*weights.parts(), N)
    bootstrap = Bootstrap(weights, GraphEncoder(GRAPH, 2, rate), N, momentum=0.9)
    # a target that differs from the online table
    bootstrap.target.table.copy_(weights_of(seed=5).table)
    reference.target = weights_of(seed=5).table
    loss = bootstrap.loss(USERS, ITEMS, KEY)
    online, target = (encoder_matrix(rate, stream(KEY, side)) for side in (0, 1))
    expected = reference.loss(online[ROWS], target[ROWS])
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    loss.backward()
    for part, gradient in zip(weights.parts(), torch.autograd.grad(expected, reference.online), strict=True):
        torch.testing.assert_close(part.grad, gradient, rtol=0, atol=1e-12)
        assert torch.count_nonzero(part.grad) > 0
    assert not bootstrap.target.table.requires_grad
    assert bootstrap.target.table.grad is None


def test_online_and_target_draw_independently():
    assert not torch.equal(encoder_matrix(0.5, stream(KEY, 0)), encoder_matrix(0.5, stream(KEY, 1)))
    weights = weights_of()
    keys = []

    class Spy(EmbeddingEncoder):
        def encode(self, table, rows, key, *, sparse=False):
            keys.append(key)
            return super().encode(table, rows, key, sparse=sparse)

    bootstrap = Bootstrap(weights, Spy(), N, momentum=0.9)
    for step in range(200):
        bootstrap.loss(USERS, ITEMS, stream(0, step))
    assert len(set(keys)) == 400


@pytest.mark.parametrize(
    "encoder", [EmbeddingEncoder(), GraphEncoder(GRAPH, 3, 0.3), WalkEncoder(GRAPH, 2, 3)], ids=["id", "graph", "walk"]
)
def test_every_gradient_by_finite_differences(encoder):
    weights = weights_of(3)
    bootstrap = Bootstrap(weights, encoder, N, momentum=0.9, uniformity=0.7)
    bootstrap.target.table.copy_(weights_of(3, seed=2).table)
    users, items = USERS[:4], ITEMS[:4]
    bootstrap.loss(users, items, KEY).backward()
    for name in vars(weights):
        part = getattr(weights, name)

        def loss(value, name=name):
            setattr(weights, name, value)
            return bootstrap.loss(users, items, KEY).detach()

        expected = dense.finite_differences(loss, part.detach())
        setattr(weights, name, part)
        torch.testing.assert_close(part.grad, expected, rtol=0, atol=2e-8)


def test_row_sparse_gradients_equal_dense_ones():
    grads = []
    for row_sparse in (False, True):
        weights = weights_of()
        bootstrap = Bootstrap(weights, WalkEncoder(GRAPH, 2, 3), N, momentum=0.9, row_sparse=row_sparse, uniformity=0.2)
        bootstrap.loss(USERS, ITEMS, KEY).backward()
        grads.append([part.grad.to_dense() for part in weights.parts()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


@pytest.mark.parametrize("encoder", [EmbeddingEncoder(), WalkEncoder(GRAPH, 2, 3)], ids=["id", "walk"])
def test_no_predictor_is_one_that_stays_the_identity(encoder):
    table = weights_of().table
    linear, none = (
        Bootstrap(Weights.of(table.clone()), encoder, N, momentum=0.9, predictor=kind, uniformity=0.2)
        for kind in (True, False)
    )
    for part in linear.weights.parts()[1:]:
        part.requires_grad_(False)
    losses = [each.loss(USERS, ITEMS, KEY) for each in (linear, none)]
    torch.testing.assert_close(*losses, rtol=0, atol=1e-12)
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(linear.weights.table.grad, none.weights.table.grad, rtol=0, atol=1e-12)
    assert len(none.learned) == 1
    assert all(part.grad is None and not part.requires_grad for part in none.weights.parts()[1:])
    users, items = none.factors()
    vectors = none.vectors()
    assert torch.equal(users, 2 * vectors[:N])
    assert torch.equal(items, vectors[N:])


def test_without_predictor_and_with_a_target_at_its_heels_the_gradient_is_that_of_the_distance_of_pairs():
    """Then what is left of BUIR is alignment with uniformity (Wang et al., KDD 2022)."""
    weights = Weights.of(weights_of().table.clone())
    Bootstrap(weights, EmbeddingEncoder(), N, momentum=0.0, predictor=False).loss(USERS, ITEMS, KEY).backward()
    table = weights.table.detach().clone().requires_grad_(True)
    users, items = (torch.nn.functional.normalize(table[rows], dim=1) for rows in (USERS, ITEMS + N))
    (users - items).square().sum(dim=1).mean().backward()
    torch.testing.assert_close(weights.table.grad, table.grad, rtol=0, atol=1e-12)


def test_uniformity_is_among_users_and_among_items_of_a_bounded_sample(monkeypatch: pytest.MonkeyPatch):
    weights = weights_of()
    plain = Bootstrap(weights, EmbeddingEncoder(), N, momentum=0.9).loss(USERS, ITEMS, KEY)
    table = weights.table.detach()
    for sample, m in ((1024, len(USERS)), (4, 4)):
        monkeypatch.setattr(module, "UNIFORMITY_SAMPLE", sample)
        loss = Bootstrap(weights, EmbeddingEncoder(), N, momentum=0.9, uniformity=0.3).loss(USERS, ITEMS, KEY)
        spread = uniformity_loss(table[USERS[:m]]) + uniformity_loss(table[N + ITEMS[:m]])
        torch.testing.assert_close(loss - plain, 0.3 * spread / 2, rtol=0, atol=1e-12)


def test_a_batch_of_one_pair_has_no_uniformity():
    losses = [
        Bootstrap(weights_of(), EmbeddingEncoder(), N, momentum=0.9, uniformity=value).loss(USERS[:1], ITEMS[:1], KEY)
        for value in (0.0, 1.0)
    ]
    assert torch.equal(*losses)


def test_factors_rank_like_the_score_of_the_paper():
    weights = weights_of()
    bootstrap = Bootstrap(weights, WalkEncoder(GRAPH, 2, 3), N, momentum=0.9)
    users, items = bootstrap.factors()
    assert (users.shape, items.shape) == ((N, 6), (MATRIX.shape[1], 6))
    assert not users.requires_grad
    table, weight, bias = (part.detach() for part in weights.parts())
    vectors = dense.mean_of_powers(A, 2) @ table
    for user in range(N):
        for item in range(MATRIX.shape[1]):
            u, v = vectors[user], vectors[N + item]
            score = (weight @ u + bias) @ v + u @ (weight @ v + bias)
            assert (users[user] @ items[item]).item() == pytest.approx((score - bias @ u).item(), abs=1e-10)


def test_a_copy_shares_nothing():
    weights = weights_of()
    copy = weights.clone()
    copy.table.zero_()
    assert torch.count_nonzero(weights.table) == weights.table.numel()
