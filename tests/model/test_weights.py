"""Weights of pairs in BUIR: written-out oracles, what does not depend on their unit, strangers, growth and files."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array

from buir import BUIR, Interactions, evaluate
from buir.data import hold_out, log_counts, weighted
from buir.errors import PairsDroppedWarning, StorageError
from buir.graph import BipartiteGraph, GraphEncoder
from buir.learning import Bootstrap, Weights
from buir.learning.losses import bootstrap_loss
from buir.model.folding import fit_folding
from buir.model.storage import read_file, write_file
from tests.support import dense
from tests.support.plain_training import PLAIN
from tests.support.written import COUNTS, adjacency, rows_of

SMALL = {"embedding_dim": 8, "epochs": 3, "batch_size": 32, "device": "cpu"}
TINY = SMALL | PLAIN | {"batch_size": 1}
ALL = {"filter": 0.5, "popularity": 0.4, "block": 0.3, "sharp_block": 0.2, "dial": 0.5, "norm": -0.5}
N = COUNTS.shape[0]


def plays(n_users=40, n_items=25, seed=0):
    """Counts with a long tail; nobody and nothing is empty."""
    rng = np.random.default_rng(seed)
    table = np.ceil(rng.lognormal(1, 1.2, (n_users, n_items))) * (rng.random((n_users, n_items)) < 0.3)
    table[np.arange(n_users), np.arange(n_users) % n_items] = 2
    return csr_array(table)


PLAYS = plays()
ONES = csr_array(PLAYS.astype(bool).astype(float))


def fit(matrix=PLAYS, weights="values", **settings):
    made = SMALL | {"terms": ALL, "inner_validation": False, "uniformity": 0.0} | settings
    return BUIR(**made).fit(matrix, weights=weights, show_progress=False)


def scores(model):
    return model.scorer().score_block(np.arange(model.n_users)).numpy()


def through_file(model, **options):
    stream = io.BytesIO()
    model.save(stream, **options)
    return BUIR.load(io.BytesIO(stream.getvalue()))


def assert_same_model(one, other):
    np.testing.assert_array_equal(one.user_factors, other.user_factors)
    np.testing.assert_array_equal(one.item_factors, other.item_factors)
    np.testing.assert_array_equal(scores(one), scores(other))


# A weight of 2 is a pair written twice


def test_the_loss_is_that_of_the_written_out_pairs():
    generator = torch.Generator().manual_seed(0)
    prediction, target = (torch.randn(5, 3, dtype=torch.float64, generator=generator) for _ in range(2))
    times = torch.tensor([1, 2, 1, 3, 1])
    expected = dense.bootstrap(prediction.repeat_interleave(times, 0), target.repeat_interleave(times, 0))
    weight = times / times.double().mean()
    assert bootstrap_loss(prediction, target, weight).item() == pytest.approx(expected.item())


def test_loss_and_gradient_of_the_whole_model_are_those_of_the_written_out_graph_and_pairs():
    generator = torch.Generator().manual_seed(1)
    shapes = ((sum(COUNTS.shape), 6), (6, 6), (6,))
    table, weight, bias = (torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in shapes)
    rows = torch.tensor(rows_of(COUNTS))
    oracle = dense.DenseBuir(table, weight, bias, N)
    encoder = dense.mean_of_powers(adjacency(COUNTS), 2)
    written = encoder[torch.cat([rows[:, 0], rows[:, 1] + N])]
    expected = oracle.loss(written, written)
    gradients = torch.autograd.grad(expected, oracle.online)

    graph = dense.graph_of(COUNTS)
    weights = Weights(table.clone(), weight.clone(), bias.clone())
    bootstrap = Bootstrap(weights, GraphEncoder(graph, 2), N, momentum=0.9)
    users, items = (torch.from_numpy(part.astype(np.int64)) for part in COUNTS.nonzero())
    loss = bootstrap.loss(users, items, 5, torch.from_numpy(COUNTS.data / COUNTS.data.mean()).double())
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    for part, gradient in zip(weights.parts(), gradients, strict=True):
        torch.testing.assert_close(part.grad, gradient, rtol=1e-5, atol=1e-8)


def test_every_batch_brings_the_weights_of_its_own_pairs(monkeypatch):
    told = []
    plain = Bootstrap.loss

    def loss(bootstrap, users, items, key, weight=None):
        told.append(torch.stack([users.double(), items.double(), weight.double()], dim=1))
        return plain(bootstrap, users, items, key, weight)

    monkeypatch.setattr(Bootstrap, "loss", loss)
    fit(epochs=1, terms={})
    rows = torch.cat(told)
    expected = PLAYS.toarray() / PLAYS.data.mean()
    np.testing.assert_allclose(rows[:, 2], expected[rows[:, 0].long(), rows[:, 1].long()], rtol=1e-6)
    assert len(rows) == PLAYS.nnz
    assert rows[:, 2].mean().item() == pytest.approx(1)


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_a_user_folded_in_has_the_neighbours_of_the_written_out_graph(n_layers):
    generator = torch.Generator().manual_seed(2)
    table = torch.randn(sum(COUNTS.shape), 4, dtype=torch.float64, generator=generator)
    graph = BipartiteGraph.from_matrix(COUNTS).to("cpu", torch.float64)
    users, items = fit_folding(table, graph, n_layers, COUNTS)
    upper = (n_layers + 1) * dense.mean_of_powers(adjacency(COUNTS), n_layers) @ table - table
    torch.testing.assert_close(users.scaled_sum(COUNTS), upper[:N], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(items.scaled_sum(csr_array(COUNTS.T.tocsr())), upper[N:], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("side", [0, 1])
def test_the_regression_has_the_sums_of_strangers(side):
    generator = torch.Generator().manual_seed(3)
    table = torch.randn(sum(COUNTS.shape), 4, dtype=torch.float64, generator=generator)
    graph = BipartiteGraph.from_matrix(COUNTS).to("cpu", torch.float64)
    folding = fit_folding(table, graph, 2, COUNTS)[side]
    nodes, inputs = (range(N, len(table)) if side else range(N)), []
    for node in nodes:
        without = table.clone()
        without[node] = 0
        inputs.append((3 * dense.mean_of_powers(adjacency(COUNTS), 2) @ without - without)[node])
    inputs = torch.stack(inputs)
    gram = inputs.T @ inputs
    gram += 1e-3 * gram.diagonal().mean() * torch.eye(4)
    own = table[N:] if side else table[:N]
    torch.testing.assert_close(folding.own, torch.linalg.solve(gram, inputs.T @ own), rtol=1e-4, atol=1e-6)


# What does not depend on the unit


@pytest.mark.parametrize("encoder", ["id", "graph", "walk"])
@pytest.mark.parametrize("start", ["spectral", "random"])
def test_equal_weights_are_none_to_the_bit(encoder, start):
    plain = fit(ONES, None, encoder=encoder, start=start)
    assert plain.weight_unit_ is None
    for value in (1.0, 0.3):
        assert_same_model(fit(ONES * value, encoder=encoder, start=start), plain)


@pytest.mark.parametrize("encoder", ["id", "graph", "walk"])
def test_the_unit_of_the_weights_changes_nothing(encoder):
    model = fit(encoder=encoder)
    assert_same_model(fit(PLAYS * 8, encoder=encoder), model)
    third = fit(PLAYS / 3, encoder=encoder)
    np.testing.assert_allclose(scores(third), scores(model), rtol=1e-3, atol=1e-3 * scores(model).std())
    assert third.weight_unit_ == pytest.approx(model.weight_unit_ / 3)


@pytest.mark.parametrize("encoder", ["id", "graph", "walk"])
@pytest.mark.parametrize("terms", [{}, ALL])
def test_weights_change_what_is_learned(encoder, terms):
    heavy, plain = (
        fit(PLAYS if weights else ONES, weights, encoder=encoder, terms=terms) for weights in ("values", None)
    )
    assert not np.allclose(scores(heavy), scores(plain), rtol=1e-2)


@pytest.mark.parametrize("row_sparse", [False, True])
def test_training_goes_on_where_weights_are_far_apart(row_sparse):
    far = PLAYS.copy()
    far.data = np.exp(np.random.default_rng(0).normal(0, 5, far.nnz))
    model = fit(far, row_sparse=row_sparse)
    assert np.isfinite(scores(model)).all()
    assert all(np.isfinite(record["loss"]) for record in model.history)


# The rest of a fit


def test_held_out_pairs_are_pairs_and_the_others_keep_their_weights():
    matrix = weighted(*PLAYS.nonzero(), PLAYS.data, PLAYS.shape)
    train, held = hold_out(matrix, 0, least=1)
    assert (held.data == 1).all()
    assert held.nnz == 40
    joined = train.toarray() + held.toarray() * PLAYS.toarray()
    np.testing.assert_array_equal(joined, PLAYS.toarray())


def test_what_auto_decides_is_decided_with_weights_and_fitted_with_weights():
    model = fit(terms="auto", inner_validation=True, uniformity="auto", epochs="auto")
    assert model.seen_.toarray() == pytest.approx(PLAYS.toarray() / PLAYS.data.mean())
    assert model.chosen_.n_candidates > 1
    same = fit(PLAYS * 4, terms="auto", inner_validation=True, uniformity="auto", epochs="auto")
    assert same.chosen_ == model.chosen_
    assert_same_model(same, model)


def test_a_function_sees_the_training_pairs():
    seen = []

    def weigh(data):
        seen.append((type(data), data.n_pairs, data.weights.sum()))
        return log_counts(data)

    made = fit(PLAYS, weigh)
    assert seen == [(Interactions, PLAYS.nnz, PLAYS.data.sum())]
    logged = PLAYS.copy()
    logged.data = np.log1p(PLAYS.data)
    assert_same_model(made, fit(logged))


def test_a_frame_with_weights_is_the_matrix_with_values():
    coo = PLAYS.tocoo()
    frame = pd.DataFrame({"user": coo.row, "item": coo.col, "weight": coo.data})
    model = fit(frame)
    matrix = Interactions.from_frame(frame).matrix
    matrix.data = Interactions.from_frame(frame).weights
    assert_same_model(model, fit(matrix))


# Strangers


@pytest.mark.parametrize("encoder", ["id", "graph", "walk"])
def test_a_stranger_with_weights_is_scored_like_the_training_row(encoder):
    model = fit(encoder=encoder)
    stored = model.recommend(np.arange(5), recalculate_user=True, N=8)
    given = model.recommend(np.arange(5), PLAYS[:5], recalculate_user=True, N=8)
    np.testing.assert_array_equal(given[0], stored[0])
    np.testing.assert_allclose(given[1], stored[1], rtol=1e-5)
    pattern = model.recommend(np.arange(5), ONES[:5], recalculate_user=True, N=8)
    assert not np.allclose(pattern[1], stored[1], rtol=1e-2)
    average = model.recommend(np.arange(5), ONES[:5] * PLAYS.data.mean(), recalculate_user=True, N=8)
    np.testing.assert_allclose(average[1], pattern[1], rtol=1e-5)


def test_weights_of_a_frame_of_histories_are_read():
    frame = pd.DataFrame({"user": PLAYS.tocoo().row, "item": PLAYS.tocoo().col, "weight": PLAYS.data})
    model = fit(frame)
    stranger = frame[frame["user"] == 3].assign(user=99)
    listed = model.recommend_frame(histories=stranger, k=8)
    row = int(np.flatnonzero(model.user_ids_ == 3)[0])
    ids, scores = model.recommend(row, recalculate_user=True, N=8)
    assert listed["item"].tolist() == model.item_ids_[ids].tolist()
    np.testing.assert_allclose(listed["score"], scores, rtol=1e-5)
    plain = model.recommend_frame(histories={99: stranger["item"].tolist()}, k=8)
    pattern = model.recommend_frame(histories=stranger.drop(columns="weight"), k=8)
    assert plain["score"].tolist() == pattern["score"].tolist() != listed["score"].tolist()


def test_values_of_a_stranger_mean_nothing_to_a_model_without_weights():
    model = fit(ONES, None)
    plain, valued = (model.recommend(0, rows[[0]], recalculate_user=True) for rows in (ONES, PLAYS))
    np.testing.assert_array_equal(plain[1], valued[1])


def test_similar_items_are_recalculated_with_weights():
    model = fit(terms={})
    stored = model.similar_items(np.arange(4), recalculate_item=True)
    given = model.similar_items(np.arange(4), recalculate_item=True, item_users=csr_array(PLAYS.T.tocsr())[:4])
    np.testing.assert_allclose(given[1], stored[1], rtol=1e-5)


@pytest.mark.parametrize("encoder", ["graph", "walk"])
def test_an_explanation_adds_up_to_the_score(encoder):
    model = fit(encoder=encoder)
    whole = scores(model)
    for user, item in ((0, 1), (7, 3)):
        parts = model.explain(user, item)
        assert parts["contribution"].sum() == pytest.approx(whole[user, item], rel=1e-4)


def test_seen_items_and_held_out_pairs_go_by_the_pairs():
    model = fit()
    ids, _ = model.recommend(np.arange(40), N=25)
    for user, row in enumerate(ids):
        assert not set(row[row >= 0]) & set(PLAYS[[user]].indices.tolist())
    both = csr_array(np.ones(PLAYS.shape))
    with pytest.warns(PairsDroppedWarning, match=f"dropped: {PLAYS.nnz:,} that are in training"):
        found = evaluate(model, model.seen_, both, ks=25, metrics="recall")
    assert found.n_pairs == both.nnz - PLAYS.nnz
    assert found.means["recall_at_25"] == 1


def test_what_is_popular_goes_by_the_weights():
    frame = pd.DataFrame({"user": [1, 2, 3, 3], "item": ["often", "often", "long", "often"], "weight": [1, 1, 9, 1]})
    model = BUIR(**TINY).fit(frame, weights="values", show_progress=False)
    listed = model.recommend_frame([77], k=2, unknown="popular")
    assert listed["item"].tolist() == ["long", "often"]


# Growth and files


def test_new_weights_add_to_old_ones_in_the_same_unit():
    frame = pd.DataFrame({"user": ["a", "a", "b", "c"], "item": ["x", "y", "y", "x"], "weight": [4.0, 1, 1, 2]})
    model = BUIR(**TINY).fit(frame, weights="values", show_progress=False)
    assert model.weight_unit_ == 2
    arrived = pd.DataFrame({"user": ["a", "d"], "item": ["y", "z"], "weight": [3.0, 5]})
    model.partial_fit(arrived, weights="values", epochs=1, show_progress=False)
    assert (model.weight_unit_, model.user_ids_.tolist()) == (2, ["a", "b", "c", "d"])
    assert model.seen_.toarray().tolist() == [[2, 2, 0], [0, 0.5, 0], [1, 0, 0], [0, 0, 2.5]]
    model.partial_fit(arrived[["user", "item"]], epochs=1, show_progress=False)
    assert model.seen_.toarray()[[0, 3]].tolist() == [[2, 3, 0], [0, 0, 3.5]]


def test_a_model_without_weights_takes_new_ones_beside_its_ones():
    frame = pd.DataFrame({"user": ["a", "b"], "item": ["x", "y"]})
    model = BUIR(**TINY).fit(frame, show_progress=False)
    model.partial_fit(frame, epochs=1, show_progress=False)
    assert model.weight_unit_ is None
    assert model.seen_.data.tolist() == [1, 1]
    model.partial_fit(frame.assign(weight=[3, 0.5]), weights="values", epochs=1, show_progress=False)
    assert model.weight_unit_ == 1
    assert model.seen_.data.tolist() == [4, 1.5]


def test_going_on_with_nothing_new_is_an_uninterrupted_fit():
    whole = fit(terms={}, epochs=5)
    model = fit(terms={}, epochs=3)
    nothing = csr_array(([1e-30], ([0], [0])), shape=PLAYS.shape)
    model.partial_fit(nothing, weights="values", epochs=2, show_progress=False)
    np.testing.assert_allclose(model.user_factors, whole.user_factors, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("encoder", ["id", "graph", "walk"])
def test_a_file_keeps_the_weights(encoder):
    model = fit(encoder=encoder)
    back = through_file(model)
    assert back.weight_unit_ == model.weight_unit_
    np.testing.assert_array_equal(back.seen_.data, model.seen_.data)
    assert_same_model(back, model)
    for options in ({}, {"training_matrix": False}):
        copy = through_file(model, **options)
        one, other = (each.recommend(0, PLAYS[[0]], recalculate_user=True) for each in (copy, model))
        np.testing.assert_array_equal(one[1], other[1])
    more = csr_array(([2.0], ([0], [0])), shape=PLAYS.shape)
    grown = [each.partial_fit(more, weights="values", epochs=0, show_progress=False) for each in (back, model)]
    np.testing.assert_array_equal(grown[0].seen_.data, grown[1].seen_.data)


def test_a_file_without_weights_is_as_it_was():
    model = fit(ONES, None)
    back = through_file(model)
    assert back.weight_unit_ is None
    assert (back.seen_.data == 1).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays, _: arrays.pop("seen.data"), "a unit without weights"),
        (lambda _, facts: facts.pop("weight_unit"), "weights without their unit"),
        (lambda arrays, _: arrays["seen.data"].__setitem__(3, -1), "seen.data holds weights of 0 or below"),
        (lambda arrays, _: arrays["seen.data"].__setitem__(3, np.nan), "seen.data holds NaN"),
        (
            lambda arrays, _: arrays.update({"seen.data": arrays["seen.data"][1:]}),
            "seen.data has .* values, expected one",
        ),
        (lambda _, facts: facts.update(weight_unit=0.0), "weight_unit is 0.0, expected a number from"),
        (lambda _, facts: facts.update(weight_unit="1"), "weight_unit is '1', expected a number from"),
    ],
)
def test_a_file_whose_weights_are_wrong_is_no_model(change, message):
    stream = io.BytesIO()
    fit(epochs=0, terms={}).save(stream)
    _, arrays, facts = read_file(io.BytesIO(stream.getvalue()))
    change(arrays, facts)
    changed = io.BytesIO()
    write_file(changed, arrays, facts)
    with pytest.raises(StorageError, match=message):
        BUIR.load(io.BytesIO(changed.getvalue()))
