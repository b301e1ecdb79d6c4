"""partial_fit: what grows, what is kept, what goes on."""

import copy
import io
import logging

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array

from buir import BUIR, Interactions
from buir.errors import InputError, StartKeptWarning
from tests.support.plain_training import PLAIN

SMALL = {"embedding_dim": 8, "epochs": 6, "batch_size": 32, "device": "cpu"} | PLAIN


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    pairs = [(f"u{user}", f"i{item}") for user in range(30) for item in rng.permutation(20)[:6]]
    return pd.DataFrame(pairs, columns=["user", "item"])


@pytest.mark.parametrize("encoder", ["id", "graph", "walk"])
def test_tables_grow_by_id_and_old_rows_keep_their_place(frame, encoder):
    model = BUIR(encoder=encoder, **SMALL).fit(frame, show_progress=False)
    before = model.user_ids_.tolist(), model.item_ids_.tolist()
    arrived = pd.DataFrame({"user": ["new", "u3", "new"], "item": ["i1", "fresh", "fresh"]})
    model.partial_fit(arrived, show_progress=False)
    assert model.user_ids_.tolist() == [*before[0], "new"]
    assert model.item_ids_.tolist() == [*before[1], "fresh"]
    assert model.user_factors.shape == (31, 8)
    assert model.item_factors.shape == (21, 8)
    assert model.seen_.nnz == 183
    listed = model.recommend_frame(users=["new"], k=5)
    assert len(listed) == 5
    assert not set(listed["item"]) & {"i1", "fresh"}


@pytest.mark.parametrize("through_a_file", [False, True])
@pytest.mark.parametrize("changed", [{}, {"predictor": "none", "momentum": 0.9, "uniformity": 0.1}])
@pytest.mark.parametrize("row_sparse", [False, True])
def test_nothing_new_goes_on_exactly_like_an_uninterrupted_fit(frame, row_sparse, changed, through_a_file):
    settings = SMALL | changed | {"row_sparse": row_sparse}
    whole = BUIR(**(settings | {"epochs": 9})).fit(frame, show_progress=False)
    model = BUIR(**settings).fit(frame, show_progress=False)
    if through_a_file:
        stream = io.BytesIO()
        model.save(stream, optimiser=True)
        stream.seek(0)
        model = BUIR.load(stream)
    model.partial_fit(frame[:1], epochs=3, show_progress=False)
    np.testing.assert_allclose(model.user_factors, whole.user_factors, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(model.item_factors, whole.item_factors, rtol=1e-5, atol=1e-7)
    assert model.history[-1]["epoch"] == 9


def test_where_the_start_was_kept_going_on_spreads_as_a_fit_without_held_out_pairs_does(frame):
    held = frame.groupby("user").head(1)
    settings = {"embedding_dim": 8, "learning_rate": 1e-9, "epochs": 3, "terms": {}}
    settings |= {"valid_metric": "ndcg_at_5", "device": "cpu"}
    model = BUIR(**settings).fit(frame.drop(held.index), held, show_progress=False)
    assert (model.chosen_.epochs, model.chosen_.uniformity) == (0, 0)
    model.learning_rate = 0.002
    told = BUIR(**model.get_params() | {"uniformity": 0.1}).fit(frame.drop(held.index), held, show_progress=False)
    flat = BUIR(**model.get_params() | {"uniformity": 0.0}).fit(frame.drop(held.index), held, show_progress=False)
    for each in (told, flat):
        each.weights_, each.chosen_ = model.weights_.clone(), model.chosen_
    copy.deepcopy(model).partial_fit(held, show_progress=False)  # no epochs, no warning
    for each in (model, told, flat):
        text = "^partial_fit is to train for 2 epochs, but the fit kept its start, as no training was better"
        with pytest.warns(StartKeptWarning, match=text):
            each.partial_fit(held, epochs=2, show_progress=False)
    np.testing.assert_array_equal(model.user_factors, told.user_factors)
    assert not np.array_equal(model.user_factors, flat.user_factors)
    assert [each.chosen_.uniformity for each in (model, told, flat)] == [0.1, 0.1, 0]  # what advice begins from


@pytest.mark.parametrize(("before", "after"), [("none", "linear"), ("linear", "none")])
def test_a_predictor_set_after_the_fit_loses_no_file(frame, before, after):
    model = BUIR(**SMALL | {"predictor": before}).fit(frame, show_progress=False)
    model.predictor = after
    stream = io.BytesIO()
    model.save(stream, optimiser=True)
    stream.seek(0)
    loaded = BUIR.load(stream)
    assert (loaded.predictor, loaded.state_.predictor) == (after, before == "linear")
    np.testing.assert_array_equal(loaded.user_factors, model.user_factors)


def test_a_weight_of_uniformity_set_after_the_fit_is_that_of_going_on(frame):
    models = [BUIR(**SMALL | {"uniformity": weight}).fit(frame, show_progress=False) for weight in (0.3, 0.3)]
    models[1].uniformity = 3.0
    one, other = (model.partial_fit(frame[:1], epochs=1, show_progress=False).user_factors for model in models)
    assert not np.array_equal(one, other)


def test_another_predictor_than_the_fit_had(frame, caplog):
    linear, none = BUIR(**SMALL).fit(frame), BUIR(**SMALL | {"predictor": "none", "uniformity": 0.3}).fit(frame)
    linear.predictor, none.predictor = none.predictor, linear.predictor
    with pytest.raises(InputError, match=r"^predictor is 'none', but the weights hold one that has learned"):
        linear.partial_fit(frame[:1], epochs=1)
    with caplog.at_level(logging.INFO, logger="buir.model"):
        none.partial_fit(frame[:1], epochs=1)
    assert "optimiser and target network restart" in caplog.text
    assert not torch.equal(none.weights_.predictor_weight, torch.eye(8))


def test_saved_with_the_optimiser_it_continues_and_without_it_restarts(frame, caplog):
    model = BUIR(**SMALL).fit(frame, show_progress=False)
    copies = []
    for optimiser in (True, False):
        stream = io.BytesIO()
        model.save(stream, optimiser=optimiser)
        stream.seek(0)
        copies.append(BUIR.load(stream))
    with caplog.at_level(logging.INFO, logger="buir.model"):
        for copy in (model, *copies):
            copy.partial_fit(frame[:1], epochs=2, show_progress=False)
    assert [record.message.split()[-1] for record in caplog.records] == ["continue", "continue", "restart"]
    np.testing.assert_array_equal(copies[0].user_factors, model.user_factors)
    assert np.abs(copies[1].user_factors - model.user_factors).max() > 1e-6


def test_after_early_stopping_there_is_no_optimiser_to_save(frame):
    valid = frame.groupby("user").tail(1)
    train = frame.drop(valid.index)
    users, items = sorted(frame["user"].unique()), sorted(frame["item"].unique())

    def matrix(part):
        rows, columns = pd.Index(users).get_indexer(part["user"]), pd.Index(items).get_indexer(part["item"])
        return csr_array((np.ones(len(part)), (rows, columns)), shape=(30, 20))

    model = BUIR(**(SMALL | {"epochs": 60, "patience": 1, "learning_rate": 0.05, "valid_metric": "ndcg_at_5"})).fit(
        matrix(train), matrix(valid), show_progress=False
    )
    assert not model.history[-1]["best"]
    with pytest.raises(ValueError, match="early stopping went back to earlier weights; save with optimiser=False"):
        model.save(io.BytesIO(), optimiser=True)


def test_a_matrix_may_grow(frame):
    rng = np.random.default_rng(1)
    model = BUIR(**SMALL).fit(csr_array(rng.random((20, 15)) < 0.3), show_progress=False)
    arrived = csr_array((np.ones(2), ([21, 22], [3, 16])), shape=(23, 17))
    model.partial_fit(arrived, show_progress=False)
    assert model.user_factors.shape == (23, 8)
    assert model.item_factors.shape == (17, 8)
    with pytest.raises(
        ValueError,
        match=r"new_interactions has user ids such as 'u0', the model's are such as .*0.*; expected the same type",
    ):
        model.partial_fit(frame)


@pytest.mark.filterwarnings("ignore:user_items has 1 of 20 items without interactions")
@pytest.mark.parametrize("encoder", ["id", "walk"])
@pytest.mark.parametrize("start", ["random", "spectral"])
def test_an_old_item_with_its_first_pairs_begins_like_a_new_one(frame, encoder, start):
    users, items = (frame[name].str[1:].astype(int).to_numpy() for name in ("user", "item"))
    matrix = csr_array((np.ones(len(frame), dtype=np.float32), (users, items)), shape=(30, 20))
    first, rest = matrix.tolil(), matrix.tolil()
    first[:, :19], rest[:, 19] = 0, 0
    settings = SMALL | {"predictor": "none", "uniformity": 0.3, "encoder": encoder, "start": start}
    model = BUIR(**settings).fit(csr_array(rest), show_progress=False)
    before = model.weights_.table.clone()
    assert not before[49].any()
    assert before[:49].any(dim=1).all()
    folding = model.folding_[1]
    model.partial_fit(csr_array(first), epochs=0, show_progress=False)
    expected = folding.scaled_sum(csr_array(csr_array(first).T)[[19]]) @ folding.own
    torch.testing.assert_close(model.weights_.table[49], expected[0])
    assert torch.equal(model.weights_.table[:49], before[:49])
    model.partial_fit(csr_array(first), epochs=20, show_progress=False)
    norms = model.weights_.table.norm(dim=1)
    assert norms[49] > 0.3 * norms[30:].median()


def test_without_training_rows(frame):
    stream = io.BytesIO()
    BUIR(**SMALL).fit(frame, show_progress=False).save(stream, training_matrix=False)
    stream.seek(0)
    model = BUIR.load(stream)
    with pytest.raises(ValueError, match="was saved without them; save it with training_matrix=True"):
        model.partial_fit(frame)
    with pytest.raises(ValueError, match="saved without its training rows"):
        model.recommend(0)
    assert len(model.recommend(0, N=4, filter_already_liked_items=False)[0]) == 4


def test_wrong_calls(frame):
    matrix = csr_array(np.random.default_rng(2).random((20, 15)) < 0.3)
    model = BUIR(**SMALL).fit(matrix, show_progress=False)
    with pytest.raises(
        ValueError,
        match=r"new_interactions has shape \(15, 20\) and the model \(20, 15\): it looks transposed; .* pass \.T",
    ):
        model.partial_fit(csr_array(matrix.T))
    for epochs in (-1, "a", 1.5):
        with pytest.raises((TypeError, ValueError), match=rf"epochs is {epochs!r}; ") as caught:
            model.partial_fit(matrix, epochs=epochs)
        assert caught.value.argument == "epochs"
    before = model.weights_.table.clone()
    model.partial_fit(matrix, epochs=0, show_progress=False)
    assert torch.equal(model.weights_.table, before)
    model.embedding_dim = 16
    model.partial_fit(matrix, epochs=1, show_progress=False)
    assert model.user_factors.shape == (20, 8)


@pytest.mark.parametrize("optimiser", [True, False])
def test_history_goes_on_whether_or_not_the_optimiser_does(frame, optimiser):
    model = BUIR(**SMALL).fit(frame, show_progress=False)
    if not optimiser:
        stream = io.BytesIO()
        model.save(stream)
        model = BUIR.load(io.BytesIO(stream.getvalue()))
    old, seen = list(model.history), []
    for epochs in (2, 3):
        model.partial_fit(frame[:1], epochs=epochs, show_progress=False, callback=seen.append)
    assert model.history[:6] == old
    assert model.history[6:] == seen
    assert [record["epoch"] for record in model.history] == list(range(1, 12))
    # What decides the draws is how often this optimiser has gone through the pairs.
    assert model.state_ is not None
    assert model.state_.epoch == (11 if optimiser else 5)
    assert [record["epoch"] for record in model.fit(frame, show_progress=False).history] == list(range(1, 7))


def test_row_numbers_are_not_taken_for_ids():
    """Users 1 to 40 and items 1 to 30 of a frame: row 3 of a matrix is not the user called 3."""
    rng = np.random.default_rng(0)
    matrix = csr_array(rng.random((40, 30)) < 0.3)
    users, items = matrix.tocoo().coords
    model = BUIR(**SMALL).fit(pd.DataFrame({"user": users + 1, "item": items + 1}), show_progress=False)
    before = model.seen_.copy()
    text = r"new_interactions has user rows without ids, the model has user ids of its own, such as 1; expected ids: .* a frame for a frame"
    with pytest.raises(ValueError, match=text):
        model.partial_fit(matrix)
    assert (model.seen_ != before).nnz == 0
    own_items = Interactions.from_matrix(matrix, item_ids=np.arange(30) + 100)
    model = BUIR(**SMALL).fit(own_items, show_progress=False)
    with pytest.raises(ValueError, match=r"new_interactions has item rows without ids, .* such as 100; expected ids"):
        model.partial_fit(matrix)
    # Ids that are the row numbers may come either way.
    same = BUIR(**SMALL).fit(Interactions.from_matrix(matrix), show_progress=False)
    assert same.partial_fit(matrix, epochs=1, show_progress=False).seen_.shape == (40, 30)
