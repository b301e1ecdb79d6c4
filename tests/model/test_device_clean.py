"""A step neither reads a device from the host nor copies to it: it runs where there are no values at all."""

import numpy as np
import pytest
import torch
from torch import Tensor

from buir.graph import reads
from buir.graph.bipartite import BipartiteGraph
from buir.graph.encoders import EmbeddingEncoder, Encoder, GraphEncoder, WalkEncoder
from buir.learning.bootstrap import Bootstrap, Weights, initial_weights
from buir.learning.learner import BootstrapLearner
from buir.learning.loop import Pairs, run_epoch
from tests.support import dense

MATRIX = dense.random_matrix(n_users=30, n_items=20, density=0.2, seed=1)
N = MATRIX.shape[0]

KINDS = ["id", "graph", "graph-dropped", "walk", "walk-uniformity"]
HOST_READS = [
    "cpu",
    "item",
    "numpy",
    "tolist",
    "__array__",
    "__int__",
    "__float__",
    "__bool__",
    "__index__",
    "__iter__",
    "new_tensor",  # copies a number to the device, and waits
]


def learner_of(kind: str, device: str) -> tuple[BootstrapLearner, Pairs]:
    graph = BipartiteGraph.from_matrix(MATRIX).to(device)
    encoder: Encoder = {
        "id": EmbeddingEncoder(),
        "walk": WalkEncoder(graph, 2, 4),
        "graph": GraphEncoder(graph, 3, 0.3 if kind == "graph-dropped" else 0.0),
    }[kind.split("-")[0]]
    weights = initial_weights(*MATRIX.shape, 5, "graph", seed=0)
    weights = Weights(*(part.to(device) for part in weights.parts()))
    bootstrap = Bootstrap(
        weights,
        encoder,
        N,
        momentum=0.9,
        uniformity=0.1 if kind.endswith("uniformity") else 0.0,
    )
    users, items = (torch.from_numpy(part.astype(np.int64)).to(device) for part in MATRIX.nonzero())
    return BootstrapLearner(bootstrap, 0.01, 1e-4, (users, items)), Pairs(users, items)


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_runs_on_the_meta_device(kind: str):
    learner, pairs = learner_of(kind, "meta")
    loss = run_epoch(learner, pairs, 16, key=3)
    assert (loss.device.type, loss.shape) == ("meta", ())
    for part in learner.bootstrap.weights.parts():
        assert part.device.type == "meta"
    assert learner.bootstrap.target.settled().device.type == "meta"


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_reads_no_value(kind: str, monkeypatch: pytest.MonkeyPatch):
    learner, pairs = learner_of(kind, "cpu")
    before = learner.bootstrap.weights.clone()

    def forbidden(name: str):
        def refuse(*_, **__):
            msg = f"Tensor.{name} inside a step"
            raise AssertionError(msg)

        return refuse

    with monkeypatch.context() as patch:
        patch.setattr(reads, "_counted", reads._searched)  # on a CPU reads are sorted where they lie, by SciPy
        for name in HOST_READS:
            patch.setattr(Tensor, name, forbidden(name))
        loss = run_epoch(learner, pairs, 16, key=3)
    assert 0 < loss.item() < 4
    for old, new in zip(before.parts(), learner.bootstrap.weights.parts(), strict=True):
        assert not torch.equal(old, new)


def test_the_watch_would_notice(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Tensor, "__bool__", lambda _: pytest.fail("noticed"))
    with pytest.raises(pytest.fail.Exception, match="noticed"):
        assert torch.ones(()) > 0
