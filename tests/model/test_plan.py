"""What "auto" means: batch size with its rates, dense or row-sparse steps, the encoder of a name."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from buir.graph.bipartite import BipartiteGraph
from buir.graph.encoders import EmbeddingEncoder, GraphEncoder, WalkEncoder
from buir.learning.bootstrap import Weights, initial_weights
from buir.learning.targets import LazyTarget, TableTarget
from buir.model.estimator import BUIR
from buir.model.fitting import MANY_NODES, SPARSE, Plan, blind_epochs, blind_uniformity, starts_of
from tests.support import dense
from tests.support.plain_training import PLAIN


def plan_of(model: BUIR, n_pairs: int = 5000, n_nodes: int = 300) -> Plan:
    return Plan.of(model.get_params(), n_pairs=n_pairs, n_nodes=n_nodes)


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
    assert plan_of(BUIR(start="random"), n_pairs).batch_size == expected
    assert plan_of(BUIR(batch_size=77), n_pairs).batch_size == 77


@pytest.mark.parametrize(
    ("n_pairs", "expected"),
    [(9, 9), (4095, 128), (4096, 256), (20_000, 1024), (32_767, 1024), (32_768, 2048), (131_072, 8192), (10**8, 8192)],
)
def test_the_batch_of_a_spectral_start_takes_half_the_steps(n_pairs: int, expected: int):
    assert plan_of(BUIR(), n_pairs).batch_size == expected


def test_the_rates_of_a_spectral_start_follow_small_batches_too():
    plan = plan_of(BUIR(learning_rate=0.002, momentum=0.99), 4095)
    assert plan.batch_size == 128
    assert (plan.learning_rate, plan.momentum) == pytest.approx((0.002 / 8**0.5, 0.99**0.125), rel=1e-12)


def test_the_rates_follow_an_automatic_batch():
    def rates(model: BUIR, n_pairs: int) -> tuple[float, float]:
        plan = plan_of(model, n_pairs)
        return plan.learning_rate, plan.momentum

    model = BUIR(start="random", learning_rate=0.002, momentum=0.99)
    assert rates(model, 50_000) == rates(model, 2000) == (0.002, 0.99)
    assert rates(model, 10**6) == pytest.approx((0.002 * 8**0.5, 0.99**8), rel=1e-12)
    assert rates(BUIR.paper(), 10**6) == (1e-3, 0.995)
    assert rates(BUIR(batch_size=8192, learning_rate=0.002, momentum=0.99), 10**6) == (0.002, 0.99)


@pytest.mark.parametrize(
    ("settings", "reads"),
    [
        ({}, 2 * 8192 * 17),
        ({"n_layers": 3, "walks": 5}, 2 * 8192 * 16),
        ({"encoder": "id"}, 2 * 8192),
        ({"encoder": "id", "batch_size": "auto", "start": "random"}, 2 * 128),
    ],
)
def test_row_sparse_is_chosen_where_a_step_reads_a_small_share(settings, reads):
    model = BUIR(**({"batch_size": 8192} | settings))
    assert plan_of(model, n_nodes=3 * reads).row_sparse is False
    assert plan_of(model, n_nodes=3 * reads + 1).row_sparse is True
    assert plan_of(dataclasses.replace(model, row_sparse=True), n_nodes=10).row_sparse is True
    assert plan_of(dataclasses.replace(model, row_sparse=False), n_nodes=10**9).row_sparse is False


def test_the_whole_graph_is_never_row_sparse():
    assert plan_of(BUIR(encoder="graph"), n_nodes=10**9).row_sparse is False


def test_a_plan_is_decided_and_keeps_what_was_given():
    settings = {"start": "random", "terms": {"popularity": 0.2}, "valid_metric": "recall_at_5"}
    model = BUIR(device="cpu", epochs=7, seed=3, cumulative_patience=True, **settings)
    plan = plan_of(model)
    decided = {"device": torch.device("cpu"), "batch_size": 128, "row_sparse": False}
    kept = {name: value for name, value in model.get_params().items() if name not in {*decided, "inner_validation"}}
    assert dataclasses.asdict(plan) == kept | decided | {"few": False, "beside": None}
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.epochs = 8  # type: ignore[misc]
    assert plan_of(BUIR(encoder="id", n_layers=3)).n_layers == 0


@pytest.mark.parametrize(
    ("settings", "encoder", "target"),
    [
        ({"encoder": "id", "row_sparse": False}, EmbeddingEncoder, TableTarget),
        ({"encoder": "id", "row_sparse": True}, EmbeddingEncoder, LazyTarget),
        ({"encoder": "graph", "n_layers": 4, "edge_drop_rate": 0.2}, GraphEncoder, TableTarget),
        ({"encoder": "walk", "n_layers": 4, "walks": 3, "row_sparse": True}, WalkEncoder, LazyTarget),
    ],
)
def test_settings_reach_the_networks(settings, encoder, target):
    matrix = dense.random_matrix()
    model = BUIR(batch_size=10, momentum=0.9, **settings)
    weights = Weights.of(initial_weights(*matrix.shape, 4, "graph", 0).table)
    graph = BipartiteGraph.from_matrix(matrix)
    bootstrap = plan_of(model).bootstrap(weights, graph, 0.3)
    assert type(bootstrap.encoder) is encoder
    assert type(bootstrap.target) is target
    for name in {"n_layers", "edge_drop_rate", "walks"} & set(vars(bootstrap.encoder)):
        assert getattr(bootstrap.encoder, name) == getattr(model, name)
    assert (bootstrap.uniformity, bootstrap.target.momentum, bootstrap.n_users) == (0.3, 0.9, matrix.shape[0])


def test_settings_reach_the_loop():
    settings = {
        "epochs": 7,
        "batch_size": 10,
        "seed": 4,
        "validate_every": 3,
        "patience": 2,
        "cumulative_patience": True,
    }
    plan = plan_of(BUIR(**settings, valid_metric="recall_at_5"))
    schedule = plan.schedule("recall_at_5", first_epoch=5, epochs_told=6)
    assert dataclasses.asdict(schedule) == {
        **{name: value for name, value in settings.items() if name != "cumulative_patience"},
        "cumulative": True,
        "metric": "recall_at_5",
        "second": None,
        "first_epoch": 5,
        "epochs_told": 6,
        "start": True,
    }
    assert plan_of(BUIR(**PLAIN)).schedule("recall_at_5").start is False
    assert plan.schedule("recall_at_5", epochs=2).epochs == 2
    assert plan.schedule().metric is None


def test_auto_epochs_are_a_number():
    assert plan_of(BUIR()).epochs == 100
    assert plan_of(BUIR(epochs=0)).epochs == 0


def test_an_open_start_is_spectral_with_a_random_one_beside_it():
    plan = plan_of(BUIR())
    assert plan == dataclasses.replace(plan_of(BUIR(start="spectral")), beside=plan_of(BUIR(start="random")))
    assert [plan_of(BUIR(start=start)).beside for start in ("spectral", "random")] == [None, None]


@pytest.mark.parametrize(("items", "both"), [((0, 1), False), ((0, 8), True), ((7, 8), True)])
def test_both_starts_where_there_are_fewer_pairs_than_users_and_items_that_have_any(items, both):
    """One of three users, and some items, are in no pair, and in no piece."""
    dense_pairs = np.zeros((3, 20), dtype=np.float32)
    dense_pairs[0, :5] = 1
    dense_pairs[2, list(items)] = 1
    assert starts_of(csr_array(dense_pairs)) == (("random", "spectral") if both else ("spectral",))


def ring(n_users: int, n_items: int, each: int) -> csr_array:
    """Every user has the next so many items."""
    rows = np.repeat(np.arange(n_users), each)
    columns = (rows + np.tile(np.arange(each), n_users)) % n_items
    return csr_array((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(n_users, n_items))


@pytest.mark.parametrize(
    ("n_users", "each", "starts"),
    [
        (5000, 3, ("spectral",)),  # 1.5 pairs for each
        (5000, 4, ("spectral",)),  # 20,000 pairs are few
        (5000, 5, ("random",)),
        (4999, 5, ("spectral",)),  # a node is missing
        (5000, 11, ("random",)),
        (5000, 12, ("spectral",)),  # as dense as a sparse graph is not
    ],
)
def test_a_large_sparse_graph_of_many_pairs_starts_at_random(n_users, each, starts):
    assert (MANY_NODES, SPARSE) == (10_000, (2.0, 6.0))
    matrix = ring(n_users, 5000, each)
    assert starts_of(matrix) == starts
    more = csr_array((matrix.data, matrix.indices, matrix.indptr), shape=(n_users, 50_000))
    assert starts_of(more) == starts  # an item without pairs is no node


@pytest.mark.parametrize(
    ("n_pairs", "shape", "weight", "epochs"),
    [
        (8_400, (943, 1_682), 0.1, 10),
        (16_400, (943, 1_682), 0.3, 10),
        (64_400, (943, 1_682), 0.3, 0),
        (810_000, (29_858, 40_981), 0.3, 0),
        (37_000, (22_363, 12_101), 0.1, 10),
        (1, (1, 1), 0.1, 10),
    ],
)
def test_what_no_held_out_pairs_decide(n_pairs: int, shape: tuple[int, int], weight: float, epochs: int):
    """Weights of few and of many pairs, and a start that is kept, as docs/results/ablation/blind.csv has them."""
    picked = np.arange(n_pairs) * (shape[0] * shape[1] // n_pairs)
    matrix = csr_array((np.ones(n_pairs, np.float32), (picked // shape[1], picked % shape[1])), shape=shape)
    assert blind_uniformity("none", matrix) == weight
    assert blind_uniformity("linear", matrix) == 0
    assert (blind_epochs("spectral", matrix), blind_epochs("random", matrix)) == (epochs, 10)
