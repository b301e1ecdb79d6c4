"""LightGCN: propagation, loss, gradient and step against dense float64; its fit against the training loop's promises."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from baselines.lightgcn import INITIAL_SCALE, LightGCN, LightGCNLearner, Propagation
from buir.data.interactions import Interactions
from buir.ranking.evaluation import evaluate
from tests.support import dense

CPU = torch.device("cpu")
MATRIX = dense.random_matrix()
N_USERS, N_ITEMS = MATRIX.shape
A = dense.adjacency(MATRIX)


def dense_propagation(table: torch.Tensor, n_layers: int) -> torch.Tensor:
    return sum(torch.linalg.matrix_power(A, k) @ table for k in range(n_layers + 1)) / (n_layers + 1)


def table_of(width: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(N_USERS + N_ITEMS, width, dtype=torch.float64, generator=generator)


def learner_of(**settings) -> LightGCNLearner:
    settings = {"embedding_dim": 6, "n_layers": 2, "weight_decay": 0.3, "learning_rate": 0.01, "seed": 4} | settings
    return LightGCNLearner(LightGCN(**settings), MATRIX, None, CPU)


@pytest.mark.parametrize("n_layers", [0, 1, 2, 3])
def test_propagation_and_its_gradient_are_the_dense_ones(n_layers):
    table = table_of().float().requires_grad_()
    cotangent = table_of().float().flip(0)
    out = Propagation(MATRIX, n_layers, CPU)(table)
    (gradient,) = torch.autograd.grad((out * cotangent).sum(), table)
    expected = dense_propagation(table.detach().double(), n_layers)
    torch.testing.assert_close(out.double(), expected, atol=1e-6, rtol=1e-5)
    # The operator is symmetric: its gradient is itself.
    expected = dense_propagation(cotangent.double(), n_layers)
    torch.testing.assert_close(gradient.double(), expected, atol=1e-6, rtol=1e-5)


def test_propagation_is_torch_geometrics_lightgcn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_geometric.nn import LightGCN as Reference

        reference = Reference(N_USERS + N_ITEMS, 5, num_layers=3)
        users, items = (torch.from_numpy(part.astype(np.int64)) for part in MATRIX.nonzero())
        edges = torch.stack([torch.cat([users, items + N_USERS]), torch.cat([items + N_USERS, users])])
        expected = reference.get_embedding(edges)
    table = reference.embedding.weight
    torch.testing.assert_close(Propagation(MATRIX, 3, CPU)(table), expected, atol=1e-6, rtol=1e-5)


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    users, items = MATRIX.nonzero()
    chosen = rng.choice(len(users), 12)
    negatives = [rng.choice(np.flatnonzero(MATRIX.toarray()[user] == 0)) for user in users[chosen]]
    parts = users[chosen], items[chosen], np.array(negatives)
    return tuple(torch.from_numpy(part.astype(np.int64)) for part in parts)


def slow_loss(table: torch.Tensor, pairs, n_layers: int, weight_decay: float) -> torch.Tensor:
    """One pair at a time, as the formula says."""
    vectors = dense_propagation(table, n_layers)
    total = torch.zeros((), dtype=torch.float64)
    for user, item, negative in zip(*pairs, strict=True):
        margin = vectors[user] @ vectors[N_USERS + item] - vectors[user] @ vectors[N_USERS + negative]
        squares = sum(table[row] @ table[row] for row in (user, N_USERS + item, N_USERS + negative))
        total = total - torch.log(torch.sigmoid(margin)) + weight_decay / 2 * squares
    return total / len(pairs[0])


def test_loss_and_gradient_are_those_of_the_formula():
    learner, pairs = learner_of(), batch()
    table = table_of()
    with torch.no_grad():
        learner.table.copy_(table)
    loss = learner.loss(*pairs)
    loss.backward()
    leaf = table.clone().requires_grad_()
    expected = slow_loss(leaf, pairs, 2, 0.3)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(learner.table.grad.double(), leaf.grad, atol=1e-6, rtol=1e-5)


def test_a_step_is_adams_on_the_loss_with_the_sampled_negatives():
    learner = learner_of()
    users, items, _ = batch()
    before = learner.table.detach().double()
    negatives = learner.sampler.draw(users, 77)
    leaf = before.clone().requires_grad_()
    expected = slow_loss(leaf, (users, items, negatives), 2, 0.3)
    expected.backward()
    assert learner.step(users, items, 77).item() == pytest.approx(expected.item(), rel=1e-5)
    # Adam's first step, both moments corrected: the learning rate times g / (|g| + epsilon).
    moved = before - 0.01 * leaf.grad / (leaf.grad.abs() + 1e-8)
    moving = leaf.grad.abs() > 1e-6
    assert moving.float().mean() > 0.8
    torch.testing.assert_close(learner.table.detach().double()[moving], moved[moving], atol=1e-5, rtol=1e-4)


def test_the_initial_table_is_seeded_and_scaled():
    first, again, other = (learner_of(seed=seed, embedding_dim=400).table.detach() for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.std().item() == pytest.approx(INITIAL_SCALE, rel=0.03)


def grouped(seed: int = 0) -> Interactions:
    rng = np.random.default_rng(seed)
    taken = rng.random((60, 40)) < np.where(np.arange(60)[:, None] % 3 == np.arange(40) % 3, 0.6, 0.02)
    taken[np.arange(60), np.arange(60) % 40] = True
    return Interactions.from_matrix(csr_array(taken.astype(np.float32)))


def parts() -> tuple[Interactions, Interactions]:
    whole = grouped()
    held_out = np.random.default_rng(1).random(whole.n_pairs) < 0.2
    return whole.keep(~held_out), whole.keep(held_out)


def quick(**settings) -> LightGCN:
    options = {
        "embedding_dim": 8,
        "batch_size": 64,
        "learning_rate": 0.05,
        "valid_metric": "ndcg_at_10",
        "device": "cpu",
    }
    return LightGCN(**(options | settings))


def test_it_stops_early_and_keeps_the_best_table():
    train, valid = parts()
    model = quick(epochs=200, validate_every=2, patience=3).fit(train, valid, show_progress=False)
    values = [record["ndcg_at_10"] for record in model.history]
    best = int(np.argmax(values))
    assert len(values) < 100
    assert len(values) == best + 4, "three misses in a row end the training"
    assert evaluate(model, train, valid, ks=(10,)).means["ndcg_at_10"] == pytest.approx(values[best], abs=1e-12)
    assert values[best] > 0.4
    assert [record["epoch"] for record in model.history] == [2 * i + 2 for i in range(len(values))]
    assert model.history[-1]["loss"] < model.history[0]["loss"]


def test_a_callback_that_returns_true_ends_the_training():
    train, valid = parts()
    seen = []
    model = quick(epochs=50, validate_every=1).fit(
        train, valid, show_progress=False, callback=lambda record: seen.append(record) or len(seen) == 3
    )
    assert model.history == seen
    assert [record["epoch"] for record in seen] == [1, 2, 3]


def test_without_validation_data_all_epochs_run():
    model = quick(epochs=5, validate_every=2).fit(parts()[0], show_progress=False)
    assert [record["epoch"] for record in model.history] == [2, 4, 5]
    assert "ndcg_at_10" not in model.history[-1]
    assert 1 < model.history[-1]["effective_rank"] <= 8


def test_factors_are_the_propagated_table():
    train, _ = parts()
    model = quick(epochs=2, n_layers=0).fit(train, show_progress=False)
    assert model.user_factors.shape == (60, 8)
    assert model.item_factors.shape == (40, 8)
    assert model.user_factors.dtype == np.float32
    scores = model.user_factors.astype(np.float64) @ model.item_factors.T
    ids, found = model.recommend([5, 0], N=3)
    np.testing.assert_allclose(found, scores[[[5], [0]], ids], rtol=1e-4, atol=1e-6)


def test_users_who_have_everything_teach_nothing():
    full = np.zeros((6, 4), dtype=np.float32)
    full[:3] = 1
    full[3:, 0] = 1
    model = quick(epochs=3, batch_size=2, weight_decay=0.0).fit(csr_array(full), show_progress=False)
    assert np.isfinite(model.user_factors).all()
    with pytest.raises(ValueError, match=r"each of the 3 users with interactions has all 4 items; .*needs a negative"):
        quick(epochs=3, batch_size=2).fit(csr_array(full[:3]))


def test_a_learning_rate_that_blows_up_is_an_error():
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        quick(epochs=20, learning_rate=1e30).fit(parts()[0], show_progress=False)


@pytest.mark.slow
def test_a_fresh_process_hears_no_warning():
    code = (
        "import warnings; warnings.simplefilter('error')\n"
        "import numpy as np\n"
        "from scipy.sparse import csr_array\n"
        "from baselines import LightGCN\n"
        "model = LightGCN(embedding_dim=4, epochs=1, batch_size=2, device='cpu')\n"
        "print(model.fit(csr_array(np.eye(6, k=1) + np.eye(6) + np.eye(6, k=-5))).recommend(0, N=2)[0].shape)\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert (out.stdout, out.stderr) == ("(2,)\n", "")


@pytest.mark.gpu
def test_a_gpu_fits_the_same_model():
    train, _ = parts()
    here, there = (quick(epochs=3, device=device).fit(train, show_progress=False) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(here.user_factors, there.user_factors, atol=1e-4)
    np.testing.assert_array_equal(here.recommend([1, 2])[0], there.recommend([1, 2])[0])
