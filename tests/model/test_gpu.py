"""CUDA against the CPU: the same draws, the same numbers to rounding, the same lists; the same bits every time."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from buir.graph.bipartite import BipartiteGraph
from buir.graph.encoders import EmbeddingEncoder, Encoder, GraphEncoder, WalkEncoder
from buir.graph.hashing import bernoulli, mix, permutation, uniform
from buir.graph.propagation import drop_edges, propagate, sum_of_layers
from buir.graph.reads import read
from buir.graph.walks import sample_walks
from buir.learning.bootstrap import Bootstrap, initial_weights
from buir.learning.learner import BootstrapLearner
from buir.learning.loop import Pairs, run_epoch, training_device
from buir.model.estimator import BUIR
from buir.ranking.top_k import FactorScorer, top_k
from buir.recommend import TERMS
from tests.support import dense
from tests.support.plain_training import PLAIN

pytestmark = pytest.mark.gpu

MATRIX = dense.random_matrix(n_users=300, n_items=200, density=0.05, seed=3)
N = MATRIX.shape[0]
DEVICES = ("cpu", "cuda")
KINDS = ["id", "graph", "graph-dropped", "walk", "walk-uniformity", "walk-sparse", "id-sparse"]


def table_of(width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(sum(MATRIX.shape), width, generator=torch.Generator().manual_seed(seed))


def both(function) -> tuple[torch.Tensor, torch.Tensor]:
    one, other = (function(device) for device in DEVICES)
    assert other.is_cuda
    return one, other.cpu()


def learner_of(kind: str, device: str) -> tuple[BootstrapLearner, Pairs]:
    graph = BipartiteGraph.from_matrix(MATRIX).to(device)
    encoder: Encoder = {
        "id": EmbeddingEncoder(),
        "walk": WalkEncoder(graph, 2, 4),
        "graph": GraphEncoder(graph, 3, 0.3 if kind == "graph-dropped" else 0.0),
    }[kind.split("-")[0]]
    weights = initial_weights(*MATRIX.shape, 32, "graph", seed=0).to(torch.device(device))
    bootstrap = Bootstrap(
        weights,
        encoder,
        N,
        momentum=0.9,
        uniformity=0.1 if kind.endswith("uniformity") else 0.0,
        row_sparse=kind.endswith("sparse"),
    )
    users, items = (torch.from_numpy(part.astype(np.int64)).to(device) for part in MATRIX.nonzero())
    return BootstrapLearner(bootstrap, 0.01, 1e-4, (users, items)), Pairs(users, items)


@pytest.fixture
def watch() -> Iterator[Callable[[], None]]:
    """Called, it makes an error of whatever lets the host wait for the device."""
    yield lambda: torch.cuda.set_sync_debug_mode("error")
    torch.cuda.set_sync_debug_mode("default")


def test_hashes_are_the_same():
    for function in (
        lambda device: mix(torch.arange(10_000, dtype=torch.int32, device=device), 77),
        lambda device: uniform(torch.arange(10_000, dtype=torch.int32, device=device), -5),
        lambda device: bernoulli(torch.arange(10_000, dtype=torch.int32, device=device), 5, 0.3),
        lambda device: permutation(10_000, 9, torch.device(device)),
        lambda device: torch.stack(BipartiteGraph.from_matrix(MATRIX).to(device).edge_keys),
        lambda device: drop_edges(BipartiteGraph.from_matrix(MATRIX).to(device), 0.4, 8) != 0,
    ):
        assert torch.equal(*both(function))


@pytest.mark.parametrize("n_layers", range(4))
@pytest.mark.parametrize("width", [1, 5, 130])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_propagation_forward_and_backward(n_layers: int, width: int, rate: float):
    rows = torch.tensor([0, 3, N + 5, 7, 7, 7, N + 1, 250])
    results = []
    for device in (*DEVICES, "cuda"):
        graph = BipartiteGraph.from_matrix(MATRIX).to(device)
        leaf = table_of(width).to(device).requires_grad_()
        out = propagate(leaf, graph, n_layers, rows.to(device), drop_rate=rate, key=3)
        out.backward(table_of(width, seed=1)[: len(rows)].to(device))
        results.append((out.detach().cpu(), leaf.grad.cpu()))
    for mine, theirs in zip(*results[:2], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    for first, again in zip(*results[1:], strict=True):
        assert torch.equal(first, again)


def test_the_sum_of_layers():
    one, other = both(
        lambda device: sum_of_layers(table_of(130).to(device), BipartiteGraph.from_matrix(MATRIX).to(device), 3)
    )
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sparse", [False, True])
def test_walks_and_their_gradients(sparse: bool):
    rows = torch.arange(0, sum(MATRIX.shape), 3)
    nodes, outs, grads = [], [], []
    for device in DEVICES:
        graph = BipartiteGraph.from_matrix(MATRIX).to(device)
        bags = sample_walks(graph, rows.to(device), 3, 5, key=11)
        leaf = table_of(20).to(device).requires_grad_()
        out = read(leaf, bags, sparse=sparse)
        out.backward(table_of(20, seed=1)[: len(rows)].to(device))
        nodes.append(bags.node.cpu())
        outs.append(out.detach().cpu())
        grads.append(leaf.grad.to_dense().cpu())
    assert torch.equal(*nodes)
    torch.testing.assert_close(*outs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step(kind: str):
    parts = []
    for device in DEVICES:
        learner, pairs = learner_of(kind, device)
        loss = learner.step(pairs.users[:500], pairs.items[:500], 4)
        target = learner.bootstrap.target.settled()
        parts.append([loss.cpu(), target.cpu(), *(part.detach().cpu() for part in learner.bootstrap.weights.parts())])
    for mine, theirs in zip(*parts, strict=True):
        # Adam's first step has the size of the learning rate, 0.01, whatever the gradient's size
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.endswith("sparse")])
def test_an_epoch_does_not_wait_for_the_device(kind: str, watch: Callable[[], None]):
    learner, pairs = learner_of(kind, "cuda")
    run_epoch(learner, pairs, 256, key=0)
    watch()
    run_epoch(learner, pairs, 256, key=1)


@pytest.mark.parametrize(
    "settings", [{"encoder": "id"}, {"encoder": "graph"}, {"encoder": "walk"}, {"row_sparse": True}]
)
def test_fit_and_lists(settings: dict):
    rng = np.random.default_rng(0)
    liked = (np.arange(200)[:, None] % 4) == (np.arange(120)[None] % 4)
    train = csr_array((rng.random((200, 120)) < np.where(liked, 0.4, 0.02)).astype(np.float32))

    def fit(device: str) -> BUIR:
        model = BUIR(embedding_dim=16, epochs=10, batch_size=128, device=device, **PLAIN, **settings)
        return model.fit(train, show_progress=False)

    on_cpu, on_gpu, again = fit("cpu"), fit("cuda"), fit("cuda")
    np.testing.assert_array_equal(on_gpu.user_factors, again.user_factors)
    np.testing.assert_array_equal(on_gpu.item_factors, again.item_factors)
    losses = [[record["loss"] for record in model.history] for model in (on_cpu, on_gpu)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    hits = []
    for model in (on_cpu, on_gpu):
        ids, _ = model.recommend(np.arange(200), N=10)
        hits.append(np.mean(ids % 4 == np.arange(200)[:, None] % 4))
    assert min(hits) > 0.4  # 0.25 is chance
    assert hits[0] == pytest.approx(hits[1], abs=0.03)


@pytest.mark.parametrize("encoder", ["id", "graph", "walk"])
def test_what_held_out_pairs_decide(encoder: str):
    rng = np.random.default_rng(0)
    liked = (np.arange(240)[:, None] % 4) == (np.arange(120)[None] % 4)
    train = csr_array((rng.random((240, 120)) < np.where(liked, 0.4, 0.02)).astype(np.float32))
    settings = {"embedding_dim": 16, "epochs": 5, "batch_size": 128, "encoder": encoder}
    on_cpu, on_gpu = (BUIR(device=device, **settings).fit(train, show_progress=False) for device in DEVICES)
    assert on_cpu.chosen_.start == pytest.approx(on_gpu.chosen_.start, abs=0.02)
    assert on_cpu.chosen_.value == pytest.approx(on_gpu.chosen_.value, abs=0.02)
    assert set(on_gpu.terms_.strengths) <= set(TERMS)
    assert np.isfinite(on_gpu.recommend(np.arange(240), N=10)[1]).all()


def test_lists_of_the_same_factors():
    users, items = table_of(24)[:N], table_of(24, seed=2)[: MATRIX.shape[1]]
    (ids, scores), (gpu_ids, gpu_scores) = (
        top_k(FactorScorer(users.to(device), items.to(device)), np.arange(N), 10, exclude=MATRIX) for device in DEVICES
    )
    np.testing.assert_allclose(scores, gpu_scores, rtol=1e-4, atol=1e-4)
    for mine, theirs, score in zip(ids, gpu_ids, scores, strict=True):
        for place in np.flatnonzero(mine != theirs):
            near = np.delete(score, place)
            assert np.abs(near - score[place]).min() < 1e-4 * max(1, abs(score[place])) or place == len(score) - 1
    grid = torch.randint(-2, 3, (N, 24), generator=torch.Generator().manual_seed(0)).float()
    lists = [top_k(FactorScorer(grid.to(d), grid[:200].to(d)), np.arange(N), 10, exclude=MATRIX)[0] for d in DEVICES]
    np.testing.assert_array_equal(*lists)


def test_auto_takes_the_gpu():
    assert training_device("auto").type == "cuda"
