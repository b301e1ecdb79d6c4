"""The estimator: settings, determinism, stopping, what a fit leaves alone."""

import random

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from buir.errors import CollapseWarning
from buir.learning import diagnostics
from buir.learning.bootstrap import initial_weights
from buir.model.estimator import BUIR
from buir.ranking.evaluation import evaluate
from tests.support import dense
from tests.support.plain_training import PLAIN

KINDS = {
    "id": {"encoder": "id"},
    "graph": {"encoder": "graph"},
    "graph-dropped": {"encoder": "graph", "edge_drop_rate": 0.3},
    "walk": {"encoder": "walk", "row_sparse": False},
    "walk-sparse": {"encoder": "walk", "row_sparse": True},
    "id-sparse": {"encoder": "id", "row_sparse": True},
}


def checkerboard(n: int = 12) -> csr_array:
    """User u likes the items of her colour, except the one on the diagonal of her block."""
    users, items = np.indices((n, n))
    return csr_array(((users + items) % 2 == 0) & ((users // 2) != (items // 2))).astype(np.float32)


def two_tastes(seed: int = 0) -> tuple[csr_array, csr_array]:
    """Forty users and thirty items of two tastes, in train and validation."""
    rng = np.random.default_rng(seed)
    liked = (np.arange(40)[:, None] % 2) == (np.arange(30)[None] % 2)
    drawn = rng.random((40, 30)) < np.where(liked, 0.45, 0.02)
    held = drawn & (rng.random((40, 30)) < 0.25)
    return csr_array((drawn & ~held).astype(np.float32)), csr_array(held.astype(np.float32))


TRAIN, VALID = two_tastes()


def make(**settings) -> BUIR:
    return BUIR(
        **(
            {"embedding_dim": 8, "epochs": 5, **PLAIN, "batch_size": 64, "valid_metric": "ndcg_at_5", "device": "cpu"}
            | settings
        )
    )


def fit(model: BUIR, valid=None, callback=None) -> BUIR:
    return model.fit(TRAIN, valid, show_progress=False, callback=callback)


def test_paper_gives_the_authors_settings():
    params = BUIR.paper().get_params()
    expected = {
        "encoder": "graph",
        "embedding_dim": 250,
        "n_layers": 3,
        "edge_drop_rate": 0.0,
        "momentum": 0.995,
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
        "batch_size": 1024,
        "epochs": 1000,
        "validate_every": 10,
        "valid_metric": "capped_precision_at_50",
        "patience": 10,
        "cumulative_patience": True,
        "uniformity": 0.0,
        "start": "random",
        "terms": {},
        "inner_validation": False,
        "row_sparse": False,
        "seed": 0,
    }
    assert {name: params[name] for name in expected} == expected
    changed = BUIR.paper(encoder="id", seed=3).get_params()
    assert changed == params | {"encoder": "id", "seed": 3}


def test_settings_are_keyword_only():
    with pytest.raises(TypeError):
        BUIR("walk")


@pytest.mark.parametrize("kind", KINDS)
def test_the_checkerboard_is_solved(kind: str):
    board = checkerboard()
    settings = {
        "embedding_dim": 16,
        "epochs": 60,
        "validate_every": 60,
        "batch_size": 16,
        "learning_rate": 0.01,
        **PLAIN,
    }
    model = BUIR(**settings, device="cpu", **KINDS[kind])
    model.fit(board, show_progress=False)
    for user in range(board.shape[0]):
        liked = {item for item in range(board.shape[1]) if (user + item) % 2 == 0} - set(board[[user]].indices.tolist())
        ids, _ = model.recommend(user, N=len(liked))
        assert set(ids.tolist()) == liked


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_bits_other_seed_other_model(kind: str):
    one, again, other = (fit(make(seed=seed, **KINDS[kind])) for seed in (0, 0, 1))
    for name in ("user_factors", "item_factors"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
        assert not np.allclose(getattr(one, name), getattr(other, name))
    assert [record["loss"] for record in one.history] == [record["loss"] for record in again.history]


def test_the_seed_may_be_any_whole_number():
    assert fit(make(seed=2**40 + 7)).history[-1]["epoch"] == 5


def test_factors_are_those_of_the_weights():
    model = fit(make(encoder="walk", n_layers=2))
    assert (model.user_factors.dtype, model.item_factors.dtype) == (np.float32, np.float32)
    table, weight, bias = (part.double() for part in model.weights_.parts())
    vectors = dense.mean_of_powers(dense.adjacency(TRAIN), 2) @ table
    users = vectors[:40] @ (weight + weight.T) + bias
    np.testing.assert_allclose(model.user_factors, users, rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.item_factors, vectors[40:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("settings", [{"encoder": "graph"}, {"encoder": "id"}])
def test_one_epoch_is_one_naive_epoch(settings: dict[str, str]):
    # one batch an epoch: then the order of the pairs does not matter
    model = fit(
        make(
            **settings, epochs=3, batch_size=TRAIN.nnz, n_layers=2, momentum=0.9, weight_decay=0.01, learning_rate=0.01
        )
    )
    weights = initial_weights(40, 30, 8, "id" if settings["encoder"] == "id" else "graph", seed=0)
    reference = dense.DenseBuir(*(part.double() for part in weights.parts()), 40)
    users, items = (torch.from_numpy(part.astype(np.int64)) for part in TRAIN.nonzero())
    encoder = dense.mean_of_powers(dense.adjacency(TRAIN), 2 if settings["encoder"] == "graph" else 0)
    encoder = encoder[torch.cat([users, items + 40])]
    losses = []
    for _ in range(3):
        loss = reference.loss(encoder, encoder)
        reference.step(loss, 0.01, 0.01, 0.9)
        losses.append(loss.item())
    assert [record["loss"] for record in model.history] == pytest.approx(losses, abs=1e-5)
    np.testing.assert_allclose(model.weights_.table, reference.online[0].detach(), rtol=0, atol=1e-4)


def test_history_of_a_validated_fit():
    model = fit(make(epochs=4), VALID)
    fields = {
        "epoch",
        "loss",
        "seconds",
        "effective_rank",
        "alignment",
        "uniformity",
        "target_distance",
        "catalogue_share",
    }
    assert all(set(record) == fields | {"ndcg_at_5", "coverage_at_5", "scores", "best"} for record in model.history)
    assert [record["epoch"] for record in model.history] == [1, 2, 3, 4]
    assert model.history[-1]["loss"] < model.history[0]["loss"]
    assert all(1 <= record["effective_rank"] <= 8 for record in model.history)


def test_the_best_weights_are_kept():
    model = fit(make(epochs=60, patience=3, learning_rate=0.05, batch_size=32), VALID)
    values = [record["ndcg_at_5"] for record in model.history]
    best = max(values)
    means = evaluate(model, TRAIN, VALID, ks=(5,), metrics=["ndcg"]).means
    assert means["ndcg_at_5"] == pytest.approx(best, abs=1e-9)
    assert len(values) == values.index(best) + 1 + 3
    assert [record["epoch"] for record in model.history if record["best"]][-1] == values.index(best) + 1


def test_cumulative_patience_and_validate_every():
    model = fit(make(epochs=400, patience=2, cumulative_patience=True, validate_every=3, learning_rate=0.05), VALID)
    missed = [record["epoch"] for record in model.history if not record["best"]]
    assert len(missed) == 2
    assert model.history[-1]["epoch"] == missed[-1]
    assert [record["epoch"] for record in model.history] == list(range(3, missed[-1] + 1, 3))


def test_without_validation_data_every_epoch_runs():
    model = fit(make(epochs=6, patience=1))
    assert [record["epoch"] for record in model.history] == list(range(1, 7))
    assert not any(record["best"] for record in model.history)


def test_a_callback_ends_a_fit():
    records = []

    def stop(record):
        records.append(record)
        return len(records) == 2

    model = fit(make(epochs=50), VALID, stop)
    assert records == model.history
    assert len(records) == 2


def test_a_second_fit_starts_afresh():
    model = fit(make())
    first = model.user_factors
    fit(model)
    np.testing.assert_array_equal(model.user_factors, first)
    assert len(model.history) == 5


def test_global_state_is_left_alone():
    def state():
        _, keys, position, *_ = np.random.get_state()  # noqa: NPY002 (it is what must not change)
        return [torch.get_rng_state().tolist(), keys.tolist(), position, random.getstate(), torch.get_num_threads()]

    before = [
        *state(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
    ]
    fit(make(), VALID)
    after = [*state(), torch.are_deterministic_algorithms_enabled(), torch.get_default_dtype(), torch.is_grad_enabled()]
    assert before == after


def test_global_randomness_does_not_reach_a_fit():
    first = fit(make()).user_factors
    torch.rand(3)
    np.random.random(3)  # noqa: NPY002 (it is what must not matter)
    np.testing.assert_array_equal(fit(make()).user_factors, first)


def test_a_fit_within_no_grad_learns_as_well():
    expected = fit(make()).user_factors
    with torch.no_grad():
        np.testing.assert_array_equal(fit(make()).user_factors, expected)


def test_a_collapsed_model_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(diagnostics, "LOST", 2.0)
    with pytest.warns(CollapseWarning, match=r"effective rank is \d+\.\d of 12 dimensions") as caught:
        fit(make(embedding_dim=12))
    assert len(caught) == 1


def test_a_diverging_fit_says_so():
    with pytest.raises(FloatingPointError, match="the training loss became nan: lower learning_rate"):
        fit(make(learning_rate=1e38, encoder="id", epochs=20))


@pytest.mark.parametrize("kind", ["id", "graph", "walk"])
def test_a_fit_that_diverges_in_its_only_step_says_so(kind: str):
    text = r"the vectors became infinite or NaN: lower learning_rate, or raise momentum towards 1"
    with pytest.raises(FloatingPointError, match=f"^{text} .after epoch 1, "):
        fit(make(learning_rate=3e38, epochs=1, batch_size=int(TRAIN.nnz), **KINDS[kind]))


@pytest.mark.parametrize("start", ["spectral", "random"])
@pytest.mark.parametrize("rate", [1e4, 1e6])
def test_a_rate_that_wipes_out_what_was_learned_ends_the_training_and_an_earlier_fit_stays(rate, start):
    rng = np.random.default_rng(0)
    data = csr_array((rng.random((60, 40)) < 0.3).astype(np.float32))
    settings = {"embedding_dim": 8, "epochs": 2, "terms": {}, "inner_validation": False, "start": start}
    model = BUIR(**settings).fit(data, show_progress=False)
    before = model.item_factors.copy()
    model.learning_rate = rate
    with pytest.raises(
        FloatingPointError, match=r"the vectors grew [\d,]+ times, .* lower learning_rate.*after epoch 1, "
    ):
        model.fit(data, show_progress=False)
    np.testing.assert_array_equal(model.item_factors, before)
