"""The terms of a fitted model's score: one sum, whoever is asked for."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from buir import BUIR
from buir.errors import InputError
from buir.graph import spectral_factors
from buir.ranking import FactorScorer, TermScorer
from buir.recommend import TERMS, ScoreTerms, make_terms

ALL = {"filter": 0.5, "popularity": 0.4, "block": 0.3, "sharp_block": 0.2, "dial": 0.5, "norm": -0.5}
ADDED = {name: strength for name, strength in ALL.items() if name not in ("dial", "norm")}
N_USERS, N_ITEMS = 50, 30


def training_matrix() -> csr_array:
    rng = np.random.default_rng(1)
    drawn = rng.random((N_USERS, N_ITEMS)) < 0.7 / np.sqrt(1 + np.arange(N_ITEMS) / 3)
    drawn[np.arange(N_USERS), np.arange(N_USERS) % N_ITEMS] = True
    return csr_array(drawn.astype(np.float32))


TRAIN = training_matrix()
EVERYBODY = np.arange(N_USERS)


def fit(terms, **settings) -> BUIR:
    made = {"encoder": "graph", "embedding_dim": 8, "epochs": 3, "batch_size": 64, "device": "cpu", "uniformity": 0.0}
    return BUIR(**made | {"inner_validation": False, "terms": terms} | settings).fit(TRAIN, show_progress=False)


def scores(scorer) -> np.ndarray:
    return scorer.score_block(EVERYBODY).double().numpy()


def strangers(model: BUIR) -> np.ndarray:
    return scores(model._strangers(TRAIN))


@pytest.mark.parametrize("terms", [ALL, *({name: ALL.get(name, 0.5)} for name in TERMS)], ids=["all", *TERMS])
def test_lists_are_those_of_the_dense_sum(terms):
    base = FactorScorer(*(torch.from_numpy(table) for table in fit({}).export_factors()))
    spectrum = spectral_factors(TRAIN, 8)
    dense = scores(TermScorer(base, make_terms(TRAIN, terms, width=8, spectrum=spectrum)))
    model = fit(terms)
    np.testing.assert_allclose(scores(model.scorer()), dense, rtol=1e-4, atol=1e-5 * dense.std())
    ids, values = model.recommend(EVERYBODY, N=7)
    masked = np.where(TRAIN.toarray() > 0, -np.inf, dense)
    expected = np.argsort(-masked, axis=1, kind="stable")[:, :7]
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_allclose(values, np.take_along_axis(dense, expected, axis=1), rtol=1e-4, atol=1e-5 * dense.std())


@pytest.mark.parametrize("name", ADDED)
@pytest.mark.parametrize("encoder", ["id", "graph", "walk"])
def test_a_training_user_as_a_stranger_gets_the_same_from_a_term(name, encoder):
    """With all singular vectors; what the model itself says of a stranger is another matter."""
    settings = {"encoder": encoder, "embedding_dim": N_ITEMS}
    plain, model = fit({}, **settings), fit({name: 1.0}, **settings)
    of_training = scores(model.scorer()) - scores(plain.scorer())
    of_strangers = strangers(model) - strangers(plain)
    tolerance = 1e-4 if "block" in name else 2e-6
    np.testing.assert_allclose(of_strangers, of_training, atol=tolerance * np.abs(of_training).max())


@pytest.mark.parametrize("sharpness", [0, 2])
def test_a_history_gives_the_coordinates_of_the_block(sharpness):
    name = {0: "block", 2: "sharp_block"}[sharpness]
    spectrum = spectral_factors(TRAIN, N_ITEMS)
    terms = make_terms(TRAIN, {name: 1.0}, spectrum=spectrum)
    kept, _ = ScoreTerms.of(fit({}).scorer(), TRAIN, terms)
    found = kept.coordinates(TRAIN)
    expected = spectrum.users * torch.where(spectrum.values > 0, spectrum.values**sharpness, 0.0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_strangers_with_dial_and_norm_see_the_same_shapes():
    """Dial and norm act on a stranger's own vector as on a training user's."""
    model, plain = fit(ALL), fit({})
    own = plain._strangers(TRAIN)
    assert isinstance(own, FactorScorer)
    turned = own.user_factors @ model.terms_.dial
    width = turned.shape[1]
    added = strangers(model) - (turned @ torch.from_numpy(model.item_factors[:, :width]).T).double().numpy()
    of_training = scores(model.scorer()) - (model.user_factors[:, :width] @ model.item_factors[:, :width].T).astype(
        np.float64
    )
    filtered = fit({"filter": ALL["filter"], "popularity": 0.4, "dial": 0.5, "norm": -0.5})
    assert filtered.terms_.n_further == 1
    assert np.corrcoef(added.ravel(), of_training.ravel())[0, 1] > 0.9
    nobody = csr_array((1, N_ITEMS), dtype=np.float32)
    lonely = model._strangers(nobody).score_block(np.array([0])).numpy()
    assert np.isfinite(lonely).all()


@pytest.mark.parametrize(
    ("terms", "kind"),
    [
        ({"popular": 1.0}, "popular"),
        ({"popularity": -0.1}, "-0.1"),
        ({"filter": float("nan")}, "nan"),
        ({"filter": float("inf")}, "inf"),
        ({"block": True}, "True"),
        ({"norm": None}, "None"),
        (["popularity"], "popularity"),
        ("popularity", "popularity"),
        ({"dial": "1"}, "'1'"),
    ],
)
def test_wrong_names_and_values(terms, kind):
    with pytest.raises((TypeError, InputError)) as caught:
        BUIR(terms=terms).fit(TRAIN, show_progress=False)
    assert caught.value.argument == "terms"
    assert kind in str(caught.value)
    for name in TERMS:
        assert name in str(caught.value)


@pytest.mark.parametrize("strength", [-1.5, -0.5, 0.5, 1])
@pytest.mark.parametrize("name", ["dial", "norm"])
def test_dial_and_norm_may_be_negative(name, strength):
    model = fit({name: strength})
    assert model.terms_.strengths == {name: strength}
    assert np.isfinite(scores(model.scorer())).all()
