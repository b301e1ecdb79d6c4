"""What a fit decides by itself: the start, the terms of the score, uniformity and epochs, by pairs held out inside."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from buir import BUIR
from buir.data import binary, datasets, hold_out, nested_split
from buir.data.splits import MOST_HELD
from buir.errors import NoValidationWarning, StartKeptWarning
from buir.model import fitting
from buir.model.fitting import starts_of
from buir.recommend import TERMS
from tests.support.mortal_fits import pieces

GOLDEN = Path(__file__).parents[1] / "golden" / "format1.safetensors"
ALL = {"filter": 0.5, "popularity": 0.4, "block": 0.3, "sharp_block": 0.2, "dial": 0.5, "norm": -0.5}
SMALL = {"embedding_dim": 8, "epochs": 3, "batch_size": 64, "device": "cpu", "uniformity": 0.0}


def tastes(n_users: int = 60, n_items: int = 40, seed: int = 0) -> tuple[csr_array, csr_array]:
    """Four tastes and a long tail, in train and held-out pairs."""
    rng = np.random.default_rng(seed)
    liked = (np.arange(n_users)[:, None] % 4) == (np.arange(n_items)[None] % 4)
    popular = 1 / np.sqrt(1 + np.arange(n_items) / 4)
    drawn = rng.random((n_users, n_items)) < np.where(liked, 0.8, 0.12) * popular
    own = np.zeros_like(drawn)
    own[np.arange(n_users), np.arange(n_users) % n_items] = True
    drawn |= own
    held = drawn & ~own & (rng.random(drawn.shape) < 0.25)
    return csr_array((drawn & ~held).astype(np.float32)), csr_array(held.astype(np.float32))


TRAIN, VALID = tastes()


def fit(matrix: csr_array = TRAIN, valid: csr_array | None = None, **settings) -> BUIR:
    made = SMALL | {"terms": {}, "inner_validation": False} | settings
    return BUIR(**made).fit(matrix, valid, show_progress=False)


def scores(model: BUIR) -> np.ndarray:
    return model.scorer().score_block(np.arange(model.n_users)).numpy()


@pytest.fixture
def _few_pairs_are_trained(monkeypatch):
    monkeypatch.setattr(fitting, "FEW_PAIRS", 0)


def through_file(model: BUIR, **options) -> BUIR:
    stream = io.BytesIO()
    model.save(stream, **options)
    return BUIR.load(io.BytesIO(stream.getvalue()))


def lists(table: np.ndarray, n: int) -> np.ndarray:
    return np.argsort(-np.where(TRAIN.toarray() > 0, -np.inf, table), axis=1, kind="stable")[:, :n]


# The start


@pytest.mark.usefixtures("_few_pairs_are_trained")
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_of_both_starts_the_one_is_kept_that_validates_better(seed):
    """The same model comes of naming that start."""
    train, valid = pieces(seed)
    made = {"embedding_dim": 8, "device": "cpu", "valid_metric": "ndcg_at_5", "seed": seed}
    told = []
    auto, *both = (
        BUIR(**made, start=start).fit(train, valid, show_progress=False, callback=callback)
        for start, callback in (("auto", told.append), ("spectral", None), ("random", None))
    )
    kept, other = sorted(both, key=lambda model: -model.chosen_.value)
    assert (auto.chosen_.value, auto.chosen_.beside) == (kept.chosen_.value, other.chosen_.value)
    assert auto.chosen_.began == kept.start
    np.testing.assert_array_equal(auto.user_factors, kept.user_factors)
    assert auto.chosen_.n_candidates == sum(model.chosen_.n_candidates for model in both)
    assert f"from the {kept.start} start, {kept.chosen_.value:.4f}, and not from the {other.start}" in str(auto.chosen_)
    # the random one is the first: where time runs out, the better one of a graph in pieces is there
    began = [record.get("began") for record in told]
    assert set(began) == {None, "spectral"}
    assert began.index("spectral") == began.count(None)


@pytest.mark.usefixtures("_few_pairs_are_trained")
def test_one_start_where_nothing_could_decide_between_two():
    asked = []
    train, valid = pieces()
    ended = BUIR(device="cpu").fit(
        train, valid, show_progress=False, callback=lambda record: asked.append(record) or "width" not in record
    )
    assert (ended.chosen_.began, ended.chosen_.beside, len(asked)) == ("random", None, 2)
    models = [fit(train, valid), fit(train, terms="auto"), fit(train, valid, terms="auto", epochs=0)]
    models += [fit(TRAIN, VALID, terms="auto")]
    assert [(model.chosen_.began, model.chosen_.beside) for model in models] == [("spectral", None)] * 4


@pytest.mark.parametrize("valid", [VALID, None])
def test_few_pairs_are_not_trained_on_where_all_is_open(valid, monkeypatch):
    """The start with the terms that held-out pairs choose is what naming no epochs gives; one pair more is trained."""
    settings = {"embedding_dim": 8, "device": "cpu", "valid_metric": "ndcg_at_5", "inner_validation": True}
    monkeypatch.setattr(fitting, "FEW_PAIRS", TRAIN.nnz)
    model, start = (BUIR(**settings, epochs=epochs).fit(TRAIN, valid, show_progress=False) for epochs in ("auto", 0))
    np.testing.assert_array_equal(scores(model), scores(start))
    assert model.terms_.strengths == start.terms_.strengths != {}
    assert (model.chosen_.stopped, start.chosen_.stopped) == ("few", "epochs")
    assert replace(model.chosen_, stopped="epochs") == start.chosen_
    assert (model.chosen_.epochs, model.chosen_.epochs_run, model.chosen_.began) == (0, 0, "spectral")
    assert "0 epochs, " in repr(model)
    assert "; ended by its start, as pairs are too few to tell what training adds; " in repr(model)
    assert "no training beat" not in repr(model)
    assert through_file(model).chosen_ == model.chosen_
    for asked in ({"uniformity": 0.1}, {"terms": {}}, {"start": "random"}, {"epochs": 100}):
        assert BUIR(**settings | asked).fit(TRAIN, valid, show_progress=False).chosen_.stopped != "few"
        assert any(record["epoch"] > 0 for record in looked_at(settings | asked, valid))
    monkeypatch.setattr(fitting, "FEW_PAIRS", TRAIN.nnz - 1)
    trained = BUIR(**settings).fit(TRAIN, valid, show_progress=False)
    assert trained.chosen_.value >= model.chosen_.value
    assert len({record.get("branch") for record in looked_at(settings, valid)}) > 1


def looked_at(settings: dict, valid: csr_array | None) -> list[dict]:
    records: list[dict] = []
    BUIR(**settings).fit(TRAIN, valid, show_progress=False, callback=records.append)
    return records


def test_few_pairs_are_trained_on_where_nothing_is_held_out():
    """Without terms it is training that learns what is popular."""
    model = BUIR(embedding_dim=8, device="cpu", inner_validation=False).fit(TRAIN, show_progress=False)
    assert (model.chosen_.epochs, model.chosen_.stopped) == (10, "epochs")


def test_a_start_kept_of_few_pairs_grows_without_epochs_and_learns_if_asked(recwarn):
    settings = {"embedding_dim": 8, "device": "cpu", "inner_validation": True}
    model = BUIR(**settings).fit(TRAIN, show_progress=False)
    before = model.weights_.table.clone()
    model.partial_fit(VALID, show_progress=False)
    assert model.history[-1]["epoch"] == 0
    torch.testing.assert_close(model.weights_.table, before, rtol=0, atol=0)
    model.partial_fit(TRAIN, epochs=2, show_progress=False)
    assert not [warned for warned in recwarn if warned.category is StartKeptWarning]  # no training was found worse
    assert model.history[-1]["epoch"] == 2
    assert not torch.equal(model.weights_.table, before)


@pytest.mark.usefixtures("_few_pairs_are_trained")
@pytest.mark.parametrize("ended_at", [64, 16])
def test_a_fit_that_ends_at_once_has_the_start_with_its_terms(ended_at):
    """What is told of the start at a width is what validation says of it."""
    told = []
    model = BUIR(device="cpu").fit(
        TRAIN, VALID, show_progress=False, callback=lambda record: told.append(record) or record["width"] == ended_at
    )
    assert [record["width"] for record in told] == [64, 32, 16][: 1 if ended_at == 64 else 3]
    assert told[0]["best"]
    chosen = model.chosen_
    assert (chosen.stopped, chosen.began, chosen.embedding_dim) == ("callback", "spectral", ended_at)
    assert (chosen.epochs, chosen.epochs_run, len(model.history)) == (0, 0, 1)
    assert "ended by the callback" in repr(model)
    assert "no training beat" not in repr(model)
    start = BUIR(device="cpu", epochs=0, embedding_dim=ended_at).fit(TRAIN, VALID, show_progress=False)
    np.testing.assert_array_equal(model.weights_.table, start.weights_.table)
    assert model.terms_.strengths == start.terms_.strengths
    assert chosen.value >= told[-1]["ndcg_at_20"] > told[-1]["bare_ndcg_at_20"]
    assert model.history[0]["ndcg_at_20"] == pytest.approx(told[-1]["ndcg_at_20"], abs=1e-6)
    assert {"coverage_at_20", "alignment", "scores"} <= set(model.history[0])


@pytest.mark.usefixtures("_few_pairs_are_trained")
@pytest.mark.parametrize("pairs", [(TRAIN, VALID), pieces(0)])
def test_looking_at_the_start_first_changes_nothing(pairs, monkeypatch):
    """What it has found is not looked for again, and counts as looked at once."""
    made = {"device": "cpu", "valid_metric": "ndcg_at_5"}
    told: list[dict] = []
    looked = BUIR(**made).fit(*pairs, show_progress=False, callback=told.append)
    assert "width" in told[0]
    with monkeypatch.context() as patched:
        patched.setattr(fitting._Training, "look", lambda *_: None)
        told.clear()
        plain = BUIR(**made).fit(*pairs, show_progress=False, callback=told.append)
    assert "width" not in told[0]
    assert looked.chosen_ == plain.chosen_
    np.testing.assert_array_equal(scores(looked), scores(plain))


@pytest.mark.usefixtures("_few_pairs_are_trained")
def test_the_start_is_not_told_where_not_all_is_open():
    told: list[dict] = []
    for settings in ({"uniformity": 0.1}, {"terms": {}}, {"start": "random"}, {"epochs": 0}):
        told.clear()
        BUIR(device="cpu", **settings).fit(TRAIN, VALID, show_progress=False, callback=told.append)
        assert not any("width" in record for record in told)


@pytest.fixture
def _small_graphs_are_large(monkeypatch):
    monkeypatch.setattr(fitting, "MANY_NODES", 80)
    monkeypatch.setattr(fitting, "MANY_PAIRS", 100)
    monkeypatch.setattr(fitting, "SPARSE", (1.0, 20.0))
    monkeypatch.setattr(fitting, "MOST_EPOCHS", 12)
    monkeypatch.setattr(fitting, "FEW_PAIRS", 0)


@pytest.mark.usefixtures("_small_graphs_are_large")
def test_a_large_sparse_graph_is_trained_from_a_random_start_alone():
    """The same model comes of naming that start, with validation pairs as with pairs held out inside."""
    assert starts_of(TRAIN) == ("random",)
    made = {"embedding_dim": 8, "device": "cpu", "valid_metric": "ndcg_at_5", "inner_validation": True}
    for valid in (VALID, None):
        auto, named = (BUIR(**made, start=start).fit(TRAIN, valid, show_progress=False) for start in ("auto", "random"))
        assert (auto.chosen_.began, auto.chosen_.beside) == ("random", None)
        assert auto.chosen_ == named.chosen_
        np.testing.assert_array_equal(auto.item_factors, named.item_factors)
        assert not auto.chosen_.with_terms  # nothing says which a random state wants before it is trained
        assert "; from the random start; " in str(auto.chosen_)
        assert through_file(auto).chosen_ == auto.chosen_
    for settings in ({"encoder": "id"}, {"encoder": "graph"}, {"predictor": "linear"}):  # measured of neither
        assert fit(TRAIN, VALID, epochs=12, **settings).chosen_.began == "spectral"
    assert fit(TRAIN).chosen_.began == "spectral"  # nothing says when training is to end
    assert fit(TRAIN, VALID, epochs=12).chosen_.began == "random"
    assert fit(TRAIN, VALID, epochs=11).chosen_.began == "spectral"  # too few for the other one
    assert fit(TRAIN, VALID, epochs=0).chosen_.began == "spectral"
    assert fit(TRAIN, VALID, start="spectral").chosen_.began == "spectral"


@pytest.mark.parametrize(
    ("many", "settings", "looked_at"),
    [
        (100, {"start": "random"}, 20),
        (1e9, {"start": "random"}, 60),
        (100, {"start": "random", "predictor": "linear"}, 60),
        (100, {"start": "spectral"}, 10),
    ],
)
def test_how_many_users_are_looked_at_between_epochs(monkeypatch, many, settings, looked_at):
    for name, number in (("MANY_PAIRS", many), ("MOST_DRAWN", 20), ("MOST_VALIDATED", 10)):
        monkeypatch.setattr(fitting, name, number)
    unknown = np.argmin(TRAIN.toarray(), axis=1)
    valid = csr_array((np.ones(60, np.float32), (np.arange(60), unknown)), shape=TRAIN.shape)
    seen = []
    made = fitting.Validation
    monkeypatch.setattr(fitting, "Validation", lambda *given: seen.append(made(*given)) or seen[-1])
    fit(TRAIN, valid, epochs=1, **settings)
    assert {int((np.diff(watched.valid.indptr) > 0).sum()) for watched in seen} == {looked_at}


@pytest.mark.parametrize(
    ("start", "many", "weights"),
    [("random", 100, {0.3, 1.0}), ("random", 1e9, {0.1, 0.3, 1.0}), ("spectral", 100, {0.1, 0.3, 1.0})],
)
def test_from_a_random_start_many_pairs_do_not_try_the_weight_at_which_they_collapse(monkeypatch, start, many, weights):
    monkeypatch.setattr(fitting, "MANY_PAIRS", many)
    told = []
    made = {"embedding_dim": 8, "device": "cpu", "epochs": 2, "terms": {}, "start": start}
    BUIR(**made).fit(TRAIN, VALID, show_progress=False, callback=told.append)
    assert {record["branch"] for record in told if "branch" in record} == weights


@pytest.mark.usefixtures("_few_pairs_are_trained")
def test_what_was_held_out_inside_decides_between_the_starts():
    train, valid = pieces(5)
    matrix = csr_array(train + valid.multiply((np.arange(400) < 100)[:, None]))
    assert matrix.nnz < sum(matrix.shape)
    made = {"embedding_dim": 4, "device": "cpu", "inner_validation": True}
    model = BUIR(**made).fit(matrix, show_progress=False)
    assert model.chosen_.began == "random"  # whose plan of everything is not that of the spectral one
    same = BUIR(**made, start="random").fit(matrix, show_progress=False)
    np.testing.assert_array_equal(model.item_factors, same.item_factors)
    assert model.chosen_.beside is not None
    assert through_file(model).chosen_ == model.chosen_


def test_the_start_gives_the_lists_of_the_dense_singular_vectors():
    matrix = TRAIN.toarray().astype(np.float64)
    of_users, of_items = matrix.sum(axis=1), matrix.sum(axis=0)
    assert of_users.min() > 0
    assert of_items.min() > 0
    normalised = matrix / np.sqrt(np.outer(of_users + of_users.mean(), of_items + of_items.mean()))
    u, s, vt = np.linalg.svd(normalised, full_matrices=False)
    expected = (u[:, :25] * s[:25]) @ vt[:25]
    model = fit(encoder="id", embedding_dim=25, epochs=0)
    found = scores(model)
    np.testing.assert_allclose(found / found.std(), expected / expected.std(), atol=1e-4)
    np.testing.assert_array_equal(model.recommend(np.arange(60), N=5)[0], lists(expected, 5))
    assert model.chosen_.epochs == 0
    assert len(model.history) == 1


def test_the_start_may_be_the_best():
    model = fit(TRAIN, VALID, learning_rate=0.5, epochs=10, encoder="id")
    assert model.chosen_.epochs == 0
    assert model.chosen_.start > model.chosen_.trained
    assert [record["epoch"] for record in model.history] == [0, 1, 2, 3, 4, 5]
    assert [record["best"] for record in model.history] == [True] + [False] * 5
    start = fit(encoder="id", epochs=0)
    np.testing.assert_array_equal(model.user_factors, start.user_factors)
    assert model.state_ is None


def test_training_may_be_better_than_the_start():
    settings = {"learning_rate": 0.01, "epochs": 20, "embedding_dim": 4, "batch_size": 16, "encoder": "graph"}
    model = fit(TRAIN, VALID, predictor="linear", momentum=0.995, **settings)
    assert model.chosen_.epochs > 0
    assert model.chosen_.trained > model.chosen_.start == model.history[0]["ndcg_at_20"]
    best = [record["epoch"] for record in model.history if record["best"]]
    assert best[-1] == model.chosen_.epochs
    start = fit(encoder="graph", embedding_dim=4, epochs=0)
    assert not np.allclose(model.user_factors, start.user_factors)


def test_uniformity_is_the_best_of_three_and_none_where_the_start_is_best():
    asked = {"uniformity": "auto", "valid_metric": "ndcg_at_5"}
    stopped = fit(TRAIN, VALID, learning_rate=0.5, epochs=10, encoder="id", **asked)
    assert (stopped.chosen_.uniformity, stopped.chosen_.epochs) == (0.0, 0)
    trained = {"learning_rate": 0.01, "embedding_dim": 4, "batch_size": 16, "encoder": "graph"}
    model = fit(TRAIN, VALID, epochs=20, **trained, **asked)
    reached = {}
    for weight in (0.1, 0.3, 1.0):
        branch = fit(TRAIN, VALID, epochs=2, **trained, uniformity=weight, valid_metric="ndcg_at_5")
        reached[weight] = max(record["ndcg_at_5"] for record in branch.history[1:])
    assert model.chosen_.uniformity == max(reached, key=reached.get)
    same = fit(TRAIN, VALID, epochs=20, **trained, uniformity=model.chosen_.uniformity, valid_metric="ndcg_at_5")
    np.testing.assert_array_equal(model.user_factors, same.user_factors)


@pytest.mark.parametrize("at", [1, 2, 4, 6])
def test_a_callback_ends_the_branches_too(at):
    records = []

    def stop(record):
        records.append(record)
        return len(records) == at

    model = BUIR(**SMALL | {"uniformity": "auto", "epochs": 30, "terms": {}})
    model.fit(TRAIN, VALID, show_progress=False, callback=stop)
    assert len(records) == at
    told = [{name: value for name, value in r.items() if name != "branch"} for r in records]
    assert model.history == told[-len(model.history) :]
    assert [record["epoch"] for record in model.history] == list(range((at - 1) % 3 + 1))


# The terms of the score


@pytest.mark.parametrize("terms", [{"filter": 0.0}, dict.fromkeys(TERMS, 0.0)])
@pytest.mark.parametrize("valid", [None, VALID])
def test_strength_zero_is_absence_bit_by_bit(terms, valid):
    without, with_zero = fit(valid=valid), fit(valid=valid, terms=terms)
    for name in ("user_factors", "item_factors"):
        np.testing.assert_array_equal(getattr(without, name), getattr(with_zero, name))
    np.testing.assert_array_equal(scores(without), scores(with_zero))
    assert with_zero.terms_.strengths == {}
    for mine, other in zip(without.history, with_zero.history, strict=True):
        np.testing.assert_equal(mine | {"seconds": 0}, other | {"seconds": 0})


@pytest.mark.parametrize("encoder", ["id", "graph", "walk"])
def test_held_out_pairs_choose_the_terms(encoder):
    model = fit(TRAIN, VALID, terms="auto", encoder=encoder)
    choice = model.terms_.choice
    assert choice.value == model.chosen_.value >= choice.bare
    assert model.terms_.strengths == {name: value for name, value in choice.strengths.items() if value}
    assert model.chosen_.strengths == model.terms_.strengths
    assert model.chosen_.n_candidates > choice.n_candidates
    settings = {"encoder": encoder, "epochs": model.chosen_.epochs, "start": model.chosen_.began}
    given = fit(terms=model.terms_.strengths, **settings)
    np.testing.assert_allclose(scores(given), scores(model), rtol=1e-5, atol=1e-6 * np.abs(scores(model)).max())


@pytest.mark.parametrize("encoder", ["graph", "walk"])
@pytest.mark.parametrize("terms", [ALL, *({name: ALL.get(name, 0.5)} for name in TERMS)], ids=["all", *TERMS])
def test_explanations_add_up(encoder, terms):
    model = fit(terms=terms, encoder=encoder)
    table = scores(model)
    for user, item in ((0, 1), (7, 39), (59, 12)):
        parts = model.explain(user, item)
        assert parts["contribution"].sum() == pytest.approx(table[user, item], rel=1e-4, abs=1e-6 * float(table.std()))
        told = [name for name in parts["part"] if name in TERMS]
        assert sorted(told) == sorted(set(terms) - {"dial", "norm"})
    assert parts["item"].notna().sum() == TRAIN[[59]].nnz


@pytest.mark.parametrize("encoder", ["id", "graph"])
def test_files_keep_the_terms(encoder):
    model = fit(TRAIN, VALID, terms=ALL, encoder=encoder)
    back = through_file(model)
    np.testing.assert_array_equal(scores(back), scores(model))
    assert back.terms_.strengths == model.terms_.strengths == ALL
    assert back.chosen_ == model.chosen_
    assert str(back.chosen_) == str(model.chosen_)
    row = TRAIN[[4]]
    for mine, other in zip(
        back.recommend(0, row, recalculate_user=True), model.recommend(0, row, recalculate_user=True), strict=True
    ):
        # a table that is a part of another lies elsewhere in memory, which a product may round by
        np.testing.assert_allclose(mine, other, rtol=1e-6)
    chosen = fit(TRAIN, VALID, terms="auto", encoder=encoder)
    back = through_file(chosen)
    assert (back.chosen_, back.terms_.choice) == (chosen.chosen_, chosen.terms_.choice)
    np.testing.assert_array_equal(scores(back), scores(chosen))


def test_a_light_file_with_a_filter_says_so_when_it_scores_and_not_before():
    model = fit(terms={"filter": 1.0, "popularity": 0.5})
    back = through_file(model, training_matrix=False)
    assert back.terms_.strengths == model.terms_.strengths
    row = TRAIN[[4]]
    expected = model.recommend(0, row, recalculate_user=True)
    np.testing.assert_array_equal(back.recommend(0, row, recalculate_user=True)[0], expected[0])
    np.testing.assert_array_equal(back.similar_items(3)[0], model.similar_items(3)[0])
    for ask in (back.scorer, lambda: back.recommend(0, filter_already_liked_items=False)):
        with pytest.raises(ValueError, match=r"item filter .* save it with its training matrix"):
            ask()
    free = through_file(fit(terms={"popularity": 0.5, "block": 0.5}), training_matrix=False)
    assert len(free.recommend(0, N=5, filter_already_liked_items=False)[0]) == 5


def test_partial_fit_keeps_the_strengths_for_new_users_and_items():
    model = fit(TRAIN, VALID, terms=ALL | {"filter": 2.0})
    model.terms = "auto"
    arrived = csr_array((np.ones(5), ([2, 60, 60, 61, 61], [40, 40, 1, 0, 4])), shape=(62, 41))
    model.partial_fit(arrived, epochs=2, show_progress=False)
    assert model.terms_.strengths == ALL | {"filter": 2.0}
    assert scores(model).shape == (62, 41)
    assert np.isfinite(scores(model)).all()
    assert model.seen_.nnz == TRAIN.nnz + 5
    ids, _ = model.recommend(60, N=39)
    assert sorted(ids) == sorted(set(range(41)) - {1, 40})
    assert model.explain(60, 3)["contribution"].sum() == pytest.approx(scores(model)[60, 3], rel=1e-4)


def test_factors_with_a_filter_are_no_inner_product():
    model = fit(terms=ALL)
    with pytest.raises(ValueError, match=r"item filter has strength 0\.5") as caught:
        model.export_factors()
    assert "'filter': 0" in str(caught.value)
    without = fit(terms={**model.terms_.strengths, "filter": 0})
    users, items = without.export_factors()
    assert users.shape == (60, 8 + 1 + 8 + 8)
    np.testing.assert_allclose(users @ items.T, scores(without), rtol=1e-4, atol=1e-5)


# Validation inside


def test_one_pair_of_every_user_who_can_spare_it():
    rng = np.random.default_rng(0)
    matrix = csr_array((rng.random((300, 20)) < 0.25).astype(np.float32))
    lengths = np.diff(matrix.indptr)
    able = lengths >= 3
    assert 200 <= able.sum() < 300
    state = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002 - it must not change
    train, held = hold_out(matrix, 0)
    assert (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == state  # noqa: NPY002
    np.testing.assert_array_equal(np.diff(held.indptr), able.astype(int))
    np.testing.assert_array_equal((train + held).toarray(), matrix.toarray())
    assert train.nnz + held.nnz == matrix.nnz
    again, other = hold_out(matrix, 0)[1], hold_out(matrix, 1)[1]
    np.testing.assert_array_equal(held.indices, again.indices)
    assert (held.indices != other.indices).mean() > 0.3


@pytest.mark.parametrize("n_users", [199, 200])
def test_fewer_than_two_hundred_users_lend_nothing(n_users):
    able = np.ones((n_users, 3), dtype=np.float32)
    poor = np.tile(np.float32([1, 1, 0]), (500, 1))
    assert (hold_out(csr_array(np.concatenate([able, poor])), 0) is None) == (n_users < 200)


@pytest.mark.parametrize(("n_poor", "lends"), [(300, False), (301, True)])
def test_users_of_two_pairs_lend_one_where_most_have_fewer_than_three(n_poor, lends):
    rows = [[1, 1, 1]] * 300 + [[1, 1, 0]] * 200 + [[1, 0, 0]] * (n_poor - 200) + [[0, 0, 0]] * 400
    matrix = csr_array(np.float32(rows))
    train, held = hold_out(matrix, 0)
    lent = np.r_[np.ones(300), np.full(200, lends), np.zeros(len(rows) - 500)]
    np.testing.assert_array_equal(np.diff(held.indptr), lent)
    np.testing.assert_array_equal((train + held).toarray(), matrix.toarray())


def test_no_more_than_twenty_thousand_lend():
    n_users = MOST_HELD + 500
    matrix = csr_array((np.ones(3 * n_users), np.tile([0, 1, 2], n_users), np.arange(0, 3 * n_users + 1, 3)))
    train, held = hold_out(matrix, 3)
    assert MOST_HELD == held.nnz == 20_000
    assert np.diff(held.indptr).max() == 1
    assert train.nnz + held.nnz == matrix.nnz
    counts = np.bincount(held.indices, minlength=3)
    assert counts.min() > 6000


@pytest.mark.usefixtures("_few_pairs_are_trained")
def test_a_fit_without_validation_data_trains_on_everything_in_the_end():
    matrix = tastes(240, 40)[0]
    asked = {"uniformity": "auto", "terms": "auto", "inner_validation": "auto", "epochs": "auto", "encoder": "graph"}
    records = []
    model = BUIR(**SMALL | asked).fit(matrix, show_progress=False, callback=records.append)
    train, held = hold_out(matrix, 0)
    inner = BUIR(**SMALL | asked).fit(train, held, show_progress=False)
    assert model.chosen_ == replace(inner.chosen_, held_out="inner", collapse=model.chosen_.collapse)
    assert inner.chosen_.held_out == "given"
    assert model.chosen_.value > 0
    assert model.terms_.strengths == inner.terms_.strengths
    # the held-out pairs are training pairs of the model that is left
    np.testing.assert_array_equal(model.seen_.toarray(), matrix.toarray())
    decided = {"uniformity": inner.chosen_.uniformity, "epochs": inner.chosen_.epochs, "terms": inner.chosen_.strengths}
    same = fit(matrix, **decided, encoder="graph")
    np.testing.assert_array_equal(model.user_factors, same.user_factors)
    np.testing.assert_array_equal(scores(model), scores(same))
    assert not np.array_equal(scores(model), scores(inner))
    assert len(records) > len(model.history)


def test_a_fit_does_not_depend_on_the_test_part():
    data = datasets.load("synthetic", n_users=80, n_items=60, n_pairs=900, seed=3)
    split = nested_split(data, 1.0)
    train, valid = split.train.matrix.copy(), split.valid.matrix.copy()
    whole = fit(split.train.matrix, split.valid.matrix, terms="auto", uniformity="auto")
    del split, data
    alone = fit(train, valid, terms="auto", uniformity="auto")
    assert alone.chosen_ == whole.chosen_
    np.testing.assert_array_equal(scores(alone), scores(whole))
    np.testing.assert_array_equal(alone.seen_.toarray(), train.toarray())


def test_too_few_users_are_told():
    model = BUIR(embedding_dim=4, device="cpu", inner_validation="auto")
    with pytest.warns(NoValidationWarning, match=r"^inner validation needs 200 users with at least 3 pairs, 60 have"):
        model.fit(csr_array(np.ones((60, 3), dtype=np.float32)), show_progress=False)
    assert (model.chosen_.uniformity, model.chosen_.epochs, model.chosen_.strengths) == (0.1, 10, {})


@pytest.mark.filterwarnings("error::buir.errors.NoValidationWarning")
def test_few_users_hold_out_where_it_is_asked_for_and_nobody_warns_of_what_is_given():
    few = csr_array((np.random.default_rng(0).random((60, 30)) < 0.3).astype(np.float32))
    asked = BUIR(embedding_dim=4, device="cpu", start="spectral", inner_validation=True).fit(few, show_progress=False)
    assert asked.chosen_.start is not None
    given = {"embedding_dim": 4, "epochs": 2, "uniformity": 0.0, "terms": {}}
    assert BUIR(**given, device="cpu").fit(few, show_progress=False).chosen_.epochs == 2


@pytest.mark.parametrize("seed", [0, 1])
def test_going_on_with_no_epoch_changes_no_list(seed):
    terms = {"block": 0.3, "sharp_block": 0.2, "filter": 0.5}
    model = BUIR(embedding_dim=8, epochs=0, seed=seed, device="cpu", terms=terms, inner_validation=False)
    model.fit(TRAIN, show_progress=False)
    before, chosen = model.recommend(np.arange(10), N=5), model.chosen_
    model.partial_fit(csr_array(([1.0], ([0], [TRAIN.indices[0]])), shape=TRAIN.shape), epochs=0, show_progress=False)
    after = model.recommend(np.arange(10), N=5)
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_allclose(before[1], after[1], rtol=1e-5)
    assert model.chosen_ == chosen


@pytest.mark.filterwarnings("error::buir.errors.NoValidationWarning")
def test_who_passes_held_out_pairs_or_wants_none_is_not_warned():
    assert fit(TRAIN, VALID, inner_validation="auto").chosen_.trained is not None
    assert fit(TRAIN, inner_validation=False).chosen_.trained is None


# What is said and kept of it


def test_the_repr_says_what_came_of_a_fit():
    model = BUIR(**SMALL)
    assert "#" not in repr(model)
    assert eval(repr(model)).get_params() == model.get_params()
    fit_model = fit(TRAIN, VALID, terms={"popularity": 0.5})
    said = repr(fit_model)
    assert eval(said).get_params() == fit_model.get_params()
    assert said.startswith("BUIR(encoder='walk', embedding_dim=8, ")
    assert said.endswith(f"  # {fit_model.chosen_}")
    assert "terms: popularity 0.5" in said


def test_what_a_fit_came_to_says_what_ended_it_and_every_auto():
    blind = fit(TRAIN, epochs=3)
    told = blind.chosen_
    assert (told.stopped, told.epochs_run, told.epochs, told.held_out) == ("epochs", 3, 3, "none")
    assert (told.device, told.batch_size, told.learning_rate, told.momentum) == ("cpu", 64, 2e-3, 0.9)
    assert (told.row_sparse, told.value, told.bare, told.kept, told.other) == (False, None, None, None, None)
    assert fit(TRAIN, epochs=3, batch_size="auto").chosen_.batch_size == 128
    patient = fit(TRAIN, VALID, epochs=60, patience=1).chosen_
    assert (patient.stopped, patient.held_out, patient.epochs_run) == ("patience", "given", patient.epochs + 1)
    made = BUIR(**SMALL | {"terms": {}}).fit(TRAIN, VALID, show_progress=False, callback=lambda record: True)
    assert (made.chosen_.stopped, made.chosen_.epochs_run) == ("callback", 0)
    assert "device cpu, batch 64, learning rate 0.002, momentum 0.9" in repr(blind)
    assert "ended by its number of epochs; decided on nothing: no pairs held out; terms: none" in repr(blind)
    terms = fit(TRAIN, VALID, terms="auto", epochs=2).chosen_
    assert terms.value >= terms.bare > 0
    assert f"in the end {terms.value:.4f} with the terms, {terms.bare:.4f} without" in str(terms)
    told = replace(terms, kept=0.3, other=0.2, with_terms=False, collapse="all alike")
    assert "kept is the state best without terms, 0.3000, not the one with terms, 0.2000" in str(told)
    assert str(told).endswith("; warning: all alike")


def test_old_files_load_as_they_were_trained():
    model = BUIR.load(GOLDEN)
    assert (model.start, model.predictor, model.inner_validation) == ("random", "linear", False)
    assert model.chosen_.epochs == model.history[-1]["epoch"]
    assert model.terms_.strengths == {}
    model.partial_fit(
        csr_array(model.seen_) if model.user_ids_.dtype.kind == "i" else model_frame(model), show_progress=False
    )
    assert np.isfinite(model.user_factors).all()


def model_frame(model: BUIR):
    import pandas as pd

    users, items = model.seen_.tocoo().coords
    return pd.DataFrame({"user": model.user_ids_[users], "item": model.item_ids_[items]})


def little_held_out():
    rng = np.random.default_rng(0)
    train = binary(*np.nonzero(rng.random((60, 40)) < 0.2), (60, 40))
    valid = binary(*np.nonzero(rng.random((60, 40)) < 0.05), (60, 40))
    valid = csr_array(valid - valid.multiply(train))
    valid.eliminate_zeros()
    return train, valid


def test_records_of_branches_say_so_and_the_history_has_none():
    train, valid = little_held_out()
    told = []
    model = BUIR(device="cpu", start="spectral", epochs=3).fit(
        train, valid, show_progress=False, callback=lambda r: told.append(r) and None
    )
    branches = [record["branch"] for record in told if "branch" in record]
    assert branches == [0.1] * 3 + [0.3] * 3 + [1.0] * 3  # the start and two epochs of each
    widths = [record["width"] for record in told if "width" in record]
    assert widths == [64, 32, 16, 128]
    # a further training is told only where the two ways to watch want different branches
    rest = [record for record in told if set(record).isdisjoint({"branch", "width"})]
    first, second = ([record for record in rest if ("watched" in record) == further] for further in (False, True))
    assert {record["watched"] for record in second} <= {"without terms"}
    assert all(
        set(record).isdisjoint({"branch", "width", "watched", "best_bare_ndcg_at_20"}) for record in model.history
    )
    assert [record["epoch"] for record in model.history] in [[r["epoch"] for r in part] for part in (first, second)]


@pytest.mark.parametrize("seed", range(3))
def test_the_best_records_are_those_of_the_way_that_was_kept(seed):
    train, valid = little_held_out()
    model = BUIR(device="cpu", epochs=8, seed=seed).fit(train, valid, show_progress=False)
    metric = "ndcg_at_20" if model.chosen_.with_terms else "bare_ndcg_at_20"
    values = [record.get(metric, record["ndcg_at_20"]) for record in model.history]
    assert [record["best"] for record in model.history] == [
        all(value > before for before in values[:place]) for place, value in enumerate(values)
    ]
    assert model.chosen_.epochs == max(record["epoch"] for record in model.history if record["best"])


def test_the_history_has_the_metric_with_and_without_the_terms():
    train, valid = little_held_out()
    model = BUIR(device="cpu", epochs=2, terms={"popularity": 2.0}).fit(train, valid, show_progress=False)
    for record in model.history:
        assert {"ndcg_at_20", "bare_ndcg_at_20"} <= set(record)
    bare = BUIR(device="cpu", epochs=2, terms={}).fit(train, valid, show_progress=False)
    assert model.history[0]["bare_ndcg_at_20"] == bare.history[0]["ndcg_at_20"]
    assert all("bare_ndcg_at_20" not in record for record in bare.history)


@pytest.mark.parametrize("seed", range(4))
def test_terms_never_cost_what_training_alone_reaches_on_held_out_pairs(seed):
    rng = np.random.default_rng(seed)
    liked = np.repeat(rng.random((8, 40)) ** 3, 20, axis=0)
    shown = rng.random(liked.shape) < 0.5 * liked
    shown[np.arange(160), liked.argmax(axis=1)] = True
    train = binary(*np.nonzero(shown), liked.shape)
    valid = csr_array(binary(*np.nonzero(rng.random(liked.shape) < 0.3 * liked), liked.shape))
    valid = csr_array(valid - valid.multiply(train))
    valid.eliminate_zeros()
    alone = (
        BUIR(device="cpu", terms={}, embedding_dim=16, epochs=6, seed=seed)
        .fit(train, valid, show_progress=False)
        .chosen_
    )
    both = BUIR(device="cpu", embedding_dim=16, epochs=6, seed=seed).fit(train, valid, show_progress=False).chosen_
    assert both.value >= max(alone.start, alone.trained or 0)
    assert both.n_candidates > alone.n_candidates


def test_a_training_that_the_callback_ends_is_the_only_one():
    train, valid = little_held_out()
    told = []
    model = BUIR(device="cpu").fit(
        train, valid, show_progress=False, callback=lambda r: told.append(r) or "branch" not in r
    )
    assert all("watched" not in record for record in told)
    assert model.chosen_.with_terms
    assert len(model.history) == 1
