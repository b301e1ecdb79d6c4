"""The plain implementation that our speed is compared with is a faithful BUIR-nb, and the measuring scripts run."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from benchmarks.again import cells_of, settings_found
from benchmarks.data import generated, halves
from benchmarks.groups import FromGroups, text_groups
from benchmarks.ledger import RESULTS, Ledger
from benchmarks.measure import alternate
from benchmarks.ours import OurTraining
from benchmarks.plain import PlainBUIR
from benchmarks.scaling import exponent
from benchmarks.softmax import noted
from buir import BUIR, Interactions
from buir.data import nested_split
from buir.experiment.config import load
from buir.experiment.config.models import build
from buir.experiment.records import Cell

ROOT = Path(__file__).parents[2]
ADAM_EPS = 1e-8


@pytest.fixture(autouse=True)
def _own_random_state():
    with torch.random.fork_rng():
        yield


def small_train() -> csr_array:
    rng = np.random.default_rng(5)
    dense = rng.random((7, 9)) < 0.4
    dense[0, 0] = dense[6, 8] = True
    return csr_array(dense.astype(np.float32))


def plain(rate: float) -> PlainBUIR:
    model = PlainBUIR(small_train(), embedding_dim=4, n_layers=2, edge_drop_rate=rate, weight_decay=0.1, momentum=0.9)
    for module in (model.online, model.target, model.predictor):
        module.double()
    with torch.no_grad():  # a target of its own, so that a wrong moving average shows
        for table in model.target.parameters():
            table.add_(torch.randn_like(table) * 0.1)
    return model


def recorded_adjacency(model: PlainBUIR, monkeypatch) -> dict[str, np.ndarray]:
    seen = {}
    for name, encoder in (("online", model.online), ("target", model.target)):

        def recording(*, augmented, name=name, build=encoder.adjacency):
            matrix = build(augmented=augmented)
            seen[name] = matrix.to_dense().numpy()
            return matrix

        monkeypatch.setattr(encoder, "adjacency", recording)
    return seen


def dense_adjacency() -> np.ndarray:
    block = small_train().toarray().astype(np.float64)
    n_users, n_items = block.shape
    whole = np.zeros((n_users + n_items,) * 2)
    whole[:n_users, n_users:], whole[n_users:, :n_users] = block, block.T
    scale = 1 / np.sqrt(whole.sum(axis=1))
    return scale[:, None] * whole * scale


def dense_loss(tables: list[np.ndarray], adjacency: dict, users: np.ndarray, items: np.ndarray) -> float:
    """The paper's loss with NumPy alone. ``tables``: online (n, d), target (n, d), W, b."""
    online, target, weight, bias = tables
    vectors = {}
    for name, table in (("online", online), ("target", target)):
        layer, total = table, table.copy()
        for _ in range(2):
            layer = adjacency[name] @ layer
            total += layer
        vectors[name] = total / 3
    loss = 0.0
    n_users = small_train().shape[0]
    for user, item in zip(users, items, strict=True):
        for here, there in ((user, item + n_users), (item + n_users, user)):
            p, z = weight @ vectors["online"][here] + bias, vectors["target"][there]
            loss += 2 - 2 * (p @ z) / np.sqrt((p @ p) * (z @ z))
    return loss / len(users)


def tables_of(model: PlainBUIR) -> list[np.ndarray]:
    whole = [torch.cat([encoder.user_table, encoder.item_table]) for encoder in (model.online, model.target)]
    return [table.detach().numpy().copy() for table in (*whole, model.predictor.weight, model.predictor.bias)]


@pytest.mark.parametrize("rate", [0.0, 0.8])
def test_a_step_equals_the_dense_one(rate, monkeypatch):
    model = plain(rate)
    adjacency = recorded_adjacency(model, monkeypatch)
    before = tables_of(model)
    users, items = np.array([0, 3, 6, 3]), np.array([0, 2, 8, 5])
    loss = model.step(torch.from_numpy(users), torch.from_numpy(items)).item()
    after = tables_of(model)
    assert loss == pytest.approx(dense_loss(before, adjacency, users, items), abs=1e-12)
    # Adam's first step from central differences of the dense loss; L2 is added to the gradient
    for place in (0, 2, 3):
        gradient = np.zeros_like(before[place])
        for index in np.ndindex(gradient.shape):
            moved = [[table.copy() for table in before] for _ in range(2)]
            moved[0][place][index] += 1e-6
            moved[1][place][index] -= 1e-6
            high, low = (dense_loss(tables, adjacency, users, items) for tables in moved)
            gradient[index] = (high - low) / 2e-6
        gradient += 0.1 * before[place]
        expected = before[place] - 1e-3 * gradient / (np.abs(gradient) + ADAM_EPS)
        np.testing.assert_allclose(after[place], expected, atol=1e-7)
    np.testing.assert_allclose(after[1], 0.9 * before[1] + 0.1 * after[0], atol=1e-14)


def test_edges_drop_by_direction_and_are_rescaled(monkeypatch):
    model = plain(0.8)
    adjacency = recorded_adjacency(model, monkeypatch)
    model.loss(torch.tensor([0]), torch.tensor([0]))
    full = dense_adjacency()
    for dropped in adjacency.values():
        kept = dropped != 0
        scale = (dropped[kept] / full[kept]).round(6)
        assert len(np.unique(scale)) == 1
        assert 1 <= scale[0] <= 5
        assert not (kept == kept.T).all()
    assert not np.array_equal(adjacency["online"], adjacency["target"])


def test_without_augmentation_the_adjacency_is_the_normalised_one():
    model = plain(0.8)
    np.testing.assert_allclose(model.online.adjacency(augmented=False).to_dense().numpy(), dense_adjacency(), atol=1e-7)


def test_its_ndcg_by_hand():
    train = csr_array(np.array([[1, 0, 0, 0], [0, 1, 0, 0.0]], dtype=np.float32))
    held = csr_array(np.array([[0, 0, 1, 1], [0, 0, 0, 0.0]], dtype=np.float32))
    model = PlainBUIR(train, embedding_dim=1, n_layers=0)
    with torch.no_grad():
        model.online.user_table.fill_(1)
        model.online.item_table.copy_(torch.tensor([[9.0], [3.0], [2.0], [1.0]]))
        model.predictor.weight.fill_(1)
        model.predictor.bias.fill_(0)
    # item 0 is masked, so the list is 1, 2, 3: hits at places 2 and 3, of two relevant items
    dcg, ideal = 1 / np.log2(3) + 1 / np.log2(4), 1 + 1 / np.log2(3)
    assert model.evaluate(held, k=3) == pytest.approx(dcg / ideal)


def test_an_epoch_learns():
    model = PlainBUIR(small_train(), embedding_dim=4, n_layers=1, batch_size=5, learning_rate=0.05)
    losses = [model.epoch() for _ in range(15)]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("name", ["sweep", "confirmation", "confirmation-time"])
@pytest.mark.skipif("BUIR_DATA" not in os.environ, reason="needs the public data sets: set BUIR_DATA to their folder")
def test_the_settings_of_a_report_are_those_of_its_models(name):
    found = settings_found(RESULTS / name / f"{name}.md")
    config = load(RESULTS / name / f"{name}.yaml")
    kinds = {model.label: model.kind for model in config.models}
    levels = {(data.label, level) for data in config.data for level in getattr(config.protocol, "levels", (1.0,))}
    assert {place[:2] for place in found} <= levels
    assert {place[2] for place in found} == set(kinds)
    for (_, _, model), settings in found.items():
        if kinds[model] not in {"buir", "popularity"}:
            made = build(kinds[model], settings)
            assert {key: value for key, value in made.get_params().items() if key in settings} == settings


def test_a_setting_of_the_sweep_by_hand():
    found = settings_found(RESULTS / "sweep" / "sweep.md")
    assert found["filmtrust", 0.1, "ALS-terms"] == {
        "alpha": 29.37,
        "factors": 128,
        "iterations": 25,
        "num_threads": 0,
        "regularization": 0.1614,
        "terms": "auto",
    }
    assert found["filmtrust", 0.1, "popularity"] == {}


def test_what_is_fitted_again_has_the_settings_found_and_places_without_buir_are_left_out():
    cells = [
        Cell(
            dataset,
            "nested",
            level,
            1,
            model,
            kind,
            None,
            {},
            0,
            (20,),
            tuning={"trials": 8, "space": {"factors": [1]}},
        )
        for dataset, level in (("filmtrust", 0.1), ("citeulike", 0.8))
        for model, kind in (("ALS", "als"), ("BUIR", "buir"), ("LMF", "lmf"))
    ]
    found = {("filmtrust", 0.1, "ALS"): {"factors": 7}, ("filmtrust", 0.1, "BUIR"): {}, ("citeulike", 0.8, "ALS"): {}}
    als, ours = cells_of(cells, found)
    assert (als.dataset, als.model, als.params) == ("filmtrust", "ALS", {"factors": 7})
    assert als.tuning == {"trials": 8, "space": {}}
    assert ours == cells[1]


def test_a_model_without_settings_of_its_own_has_those_of_the_model_whose_search_it_shares():
    searched = Cell("toy", "nested", 0.1, 1, "ALS-random", "als", None, {}, 0, (20,), tuning={"trials": 64})
    lent = replace(searched, model="ALS-random-terms", params={"terms": "auto"}, searched_as=searched)
    found = {("toy", 0.1, "ALS-random"): {"factors": 7}, ("toy", 0.1, "BUIR"): {}}
    (cell,) = cells_of([lent], found)
    assert (cell.model, cell.params, cell.searched_as) == ("ALS-random-terms", {"factors": 7, "terms": "auto"}, None)
    assert cells_of([lent], {("toy", 0.1, "BUIR"): {}}) == []


def test_texts_about_the_same_are_a_group_and_one_without_words_has_none():
    rng = np.random.default_rng(0)
    counts = np.zeros((41, 30))
    for row in range(40):
        # two vocabularies of fifteen words each
        counts[row, rng.integers(15, size=6) + 15 * (row % 2)] = 1
    groups = text_groups(csr_array(counts), 2, 2)
    assert groups[-1] == -1
    assert len(set(groups[:40:2])) == len(set(groups[1:40:2])) == 1
    assert set(groups[:40]) == {0, 1}


def test_a_share_of_the_negatives_is_of_the_pairs_group():
    groups = np.array([0] * 5 + [1] * 95 + [-1] * 100)
    drawn = FromGroups(groups, 0.5)(torch.zeros(400, dtype=torch.int64), torch.zeros(400, dtype=torch.int64), 3).numpy()
    # half of the draws, and of the others 5 of 200
    assert (drawn < 5).mean() == pytest.approx(0.5 + 0.5 * 5 / 200, abs=0.02)
    even = FromGroups(groups, 0.5)(torch.zeros(400, dtype=torch.int64), torch.full((400,), 150), 3).numpy()
    assert (even < 5).mean() == pytest.approx(5 / 200, abs=0.01)


def test_a_trial_is_done_only_when_its_time_is_over(tmp_path):
    curves = Ledger(tmp_path / "curves.csv", ("temperature", "limit", "epoch"))
    about = {"temperature": 0.1, "limit": 600}
    for seconds, value in ((300, 0.12), (590, 0.13)):
        curves.add(about | {"cpu_seconds": seconds, "epoch": seconds, "held_out_ndcg_at_20": value})
    assert noted(curves, about) is None
    curves.add(about | {"cpu_seconds": 604, "epoch": 604, "held_out_ndcg_at_20": 0.11})
    assert noted(curves, about) == 0.13
    assert noted(curves, about | {"temperature": 0.2}) is None


def test_halves_are_whole_users():
    frame = generated(3000)
    split = nested_split(Interactions.from_matrix(frame), 1.0)
    one, other = (part.toarray() > 0 for part in halves(split))
    assert ((one | other) == (split.valid.matrix.toarray() > 0)).all()
    assert not (one.any(axis=1) & other.any(axis=1)).any()
    assert 0.3 < one.sum() / (one.sum() + other.sum()) < 0.7


def test_generated_data_have_the_asked_size_and_a_long_tail():
    matrix = generated(20_000, seed=3)
    assert matrix.shape == (2_000, 400)
    assert matrix.nnz == 20_000
    assert (matrix.data == 1).all()
    assert matrix.sum(axis=1).min() >= 1
    popularity = np.sort(matrix.sum(axis=0))[::-1]
    assert popularity[:40].sum() > 0.3 * matrix.nnz
    assert (generated(20_000, seed=3) != matrix).nnz == 0
    with pytest.raises(ValueError, match="n_pairs is 300, expected 1,000 or more"):
        generated(300)


@pytest.mark.parametrize(("slope", "values"), [(1.0, [3.0, 30.0, 90.0]), (2.0, [1.0, 100.0, 900.0])])
def test_the_exponent_by_hand(slope, values):
    assert exponent([1, 10, 30], values) == pytest.approx(slope)


def test_alternate_takes_the_median_and_leaves_out_the_warm_up(monkeypatch):
    # the clock is read before and after each call: warm-up, then three turns of both functions
    clock = iter(np.cumsum([0, 100, 0, 100, 0, 5, 0, 50, 0, 1, 0, 10, 0, 2, 0, 20]).tolist())
    monkeypatch.setattr("benchmarks.measure.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert alternate({"a": lambda: None, "b": lambda: None}, 3) == {"a": 2, "b": 20}


@pytest.mark.slow
def test_every_script_runs_and_one_table_comes_out(tmp_path):
    out = tmp_path / "speed.md"
    command = [sys.executable, "-m", "benchmarks", "--smoke", "--threads", "1", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    table = out.read_text(encoding="utf-8")
    assert "the numbers mean nothing" in table
    for measure in (
        "whole-graph step, d = 250",
        "walk epoch",
        "exponent",
        "peak memory",
        "full ranking over bare",
        "seconds to NDCG",
        "processor seconds to tuned ALS",
    ):
        assert f"| {measure}" in table


@pytest.mark.parametrize(("encoder", "row_sparse"), [("graph", False), ("walk", True)])
def test_what_is_timed_is_what_fit_trains(encoder, row_sparse):
    model = BUIR(
        encoder=encoder,
        row_sparse=row_sparse,
        batch_size=128,
        embedding_dim=8,
        epochs=1,
        learning_rate=0.02,
        device="cpu",
    )
    ours = OurTraining(model, generated(1_000))
    assert len(ours.pairs) == 1_000
    assert ours.schedule.batch_size == 128
    losses = [ours.epoch().item() for _ in range(10)]
    assert losses[-1] < 0.9 * losses[0]
    assert ours.step(ours.pairs.users[:5], ours.pairs.items[:5]).shape == ()
