"""What "auto" means: batch size with its rates, dense or row-sparse steps, the encoder of a name."""

import re

import pytest
import torch
from scipy.sparse import csr_array

from buir.graph.bipartite import BipartiteGraph
from buir.graph.encoders import EmbeddingEncoder, GraphEncoder, WalkEncoder
from buir.learning.bootstrap import initial_weights
from buir.learning.loop import training_device
from buir.learning.targets import LazyTarget, OutputTarget, TableTarget
from buir.model.construction import batch_size, make_bootstrap, row_sparse, step_rates
from buir.model.estimator import BUIR
from tests.support import dense


def graph_with(n_users: int) -> BipartiteGraph:
    return BipartiteGraph.from_matrix(csr_array(([1.0], ([0], [0])), shape=(n_users, 10)))


@pytest.mark.parametrize(
    ("n_pairs", "expected"),
    [
        (9, 9),
        (1024, 128),
        (8191, 128),
        (8192, 256),
        (20_000, 512),
        (65_535, 1024),
        (65_536, 2048),
        (131_072, 4096),
        (262_144, 8192),
        (10**8, 8192),
    ],
)
def test_the_batch_grows_with_the_data(n_pairs: int, expected: int):
    assert batch_size(BUIR(), n_pairs) == expected
    assert batch_size(BUIR(batch_size=77), n_pairs) == 77


def test_the_rates_follow_an_automatic_batch():
    model = BUIR(learning_rate=0.002, momentum=0.99)
    assert step_rates(model, 50_000) == step_rates(model, 2000) == pytest.approx((0.002, 0.99))
    assert step_rates(model, 10**6) == pytest.approx((0.002 * 8**0.5, 0.99**8))
    assert step_rates(BUIR.paper(), 10**6) == (1e-3, 0.995)
    assert step_rates(BUIR(batch_size=8192, learning_rate=0.002, momentum=0.99), 10**6) == (0.002, 0.99)


def test_row_sparse_is_chosen_by_size_and_can_be_forced():
    small, large = graph_with(20), graph_with(1_000_000)
    assert row_sparse(BUIR(batch_size=8192), small) is False
    assert row_sparse(BUIR(batch_size=8192), large) is True
    assert row_sparse(BUIR(batch_size=8192, walks=32), large) is False
    assert row_sparse(BUIR(batch_size=8192, encoder="graph"), large) is False
    assert row_sparse(BUIR(row_sparse=True), small) is True
    assert row_sparse(BUIR(row_sparse=False), large) is False


@pytest.mark.parametrize(
    ("settings", "encoder", "target"),
    [
        ({"encoder": "id", "row_sparse": False}, EmbeddingEncoder, TableTarget),
        ({"encoder": "id", "row_sparse": True}, EmbeddingEncoder, LazyTarget),
        ({"encoder": "graph", "n_layers": 4, "edge_drop_rate": 0.2}, GraphEncoder, TableTarget),
        ({"encoder": "graph", "output_target": True}, GraphEncoder, OutputTarget),
        ({"encoder": "walk", "n_layers": 4, "walks": 3, "row_sparse": True}, WalkEncoder, LazyTarget),
    ],
)
def test_settings_reach_the_networks(settings, encoder, target):
    matrix = dense.random_matrix()
    model = BUIR(uniformity=0.3, batch_size=10, momentum=0.9, **settings)
    bootstrap = make_bootstrap(model, initial_weights(*matrix.shape, 4, "graph", 0), BipartiteGraph.from_matrix(matrix))
    assert type(bootstrap.encoder) is encoder
    assert type(bootstrap.target) is target
    for name in {"n_layers", "edge_drop_rate", "walks"} & set(vars(bootstrap.encoder)):
        assert getattr(bootstrap.encoder, name) == getattr(model, name)
    assert (bootstrap.uniformity, bootstrap.target.momentum, bootstrap.n_users) == (0.3, 0.9, matrix.shape[0])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gpu", "device is 'gpu'; expected 'auto' or a device of torch, such as 'cpu' or 'cuda'"),
        ("", "device is ''; expected 'auto' or a device of torch"),
        (None, "device is None; expected 'auto' or a device of torch"),
        ("meta", "device is 'meta', which does not compute here; expected 'auto' or 'cpu'"),
        ("xpu", "device is 'xpu', which does not compute here; expected 'auto' or 'cpu'"),
    ],
)
def test_a_device_that_is_none(name, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        training_device(name)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "device is 'cuda:2', but torch finds no CUDA here; expected 'auto' or 'cpu'"),
        (2, "device is 'cuda:2', but torch finds CUDA devices 0 to 1 here; expected 'auto' or one such as 'cuda:1'"),
        (3, None),
    ],
)
def test_a_number_beyond_the_cuda_devices(count, text, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    if text is None:
        assert training_device("cuda:2") == torch.device("cuda", 2)
        return
    with pytest.raises(ValueError, match=re.escape(text)):
        training_device("cuda:2")


def test_the_device_of_a_name():
    assert training_device("cpu") == torch.device("cpu")
    assert training_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
