"""The block of a score may have more singular vectors than the model: when, and what follows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from baselines import ALS
from buir import BUIR
from buir.graph import Spectrum, spectral_factors
from buir.model.fitting import _Training
from buir.ranking import Choice, FactorScorer, SpectralBlock, TermScorer, choose_terms
from buir.recommend import choose_with_block, make_terms, width_of_block, with_block
from tests.support.mortal_fits import Mortal, content

ROOMY = 16 * 512


def pairs(n_users: int = 120, n_items: int = 90, seed: int = 0) -> csr_array:
    rng = np.random.default_rng(seed)
    drawn = rng.random((n_users, n_items)) < 0.05 + 0.3 * (np.arange(n_users)[:, None] % 6 == np.arange(n_items) % 6)
    drawn[np.arange(n_users), np.arange(n_users) % n_items] = True
    return csr_array(drawn.astype(np.float32))


def spectrum(width: int, n_users: int = ROOMY, n_items: int = ROOMY) -> Spectrum:
    return Spectrum(torch.zeros(n_users, width), torch.ones(width), torch.zeros(n_items, width), n_users + n_items)


def block(width: int, n_users: int = ROOMY, n_items: int = ROOMY) -> dict[str, SpectralBlock]:
    return {"block": SpectralBlock(spectrum(width, n_users, n_items), torch.ones(n_items))}


@pytest.mark.parametrize(
    ("values", "wanted", "tried"),
    [
        ({64: 0.100, 512: 0.102}, 64, [64, 512]),  # better, not clearly
        ({64: 0.100, 512: 0.110, 256: 0.101}, 512, [64, 512, 256]),
        ({64: 0.100, 512: 0.110, 256: 0.1097, 128: 0.1}, 256, [64, 512, 256, 128]),  # about as good, and narrower
        ({64: 0.100, 512: 0.110, 256: 0.110, 128: 0.1099}, 128, [64, 512, 256, 128]),
        ({128: 0.100, 512: 0.110, 256: 0.104}, 512, [128, 512, 256]),
    ],
)
def test_the_narrowest_of_the_clearly_better_widths_is_taken(values, wanted, tried):
    asked, found = [], []

    def choose(width, terms):
        asked.append(width)
        assert width_of_block(terms) == width
        return Choice({"block": 1.0}, {}, values[width], 0.05, 1)

    terms, choice = choose_with_block(
        choose, block(next(iter(values))), lambda width: found.append(width) or spectrum(width)
    )
    assert (width_of_block(terms), choice.value, asked, found) == (wanted, values[wanted], tried, [512])


@pytest.mark.parametrize("shape", [(ROOMY - 1, ROOMY), (ROOMY, ROOMY - 1)])
def test_small_data_have_no_room_for_a_wide_block(shape):
    terms, _ = choose_with_block(lambda width, _: Choice({}, {}, width, 0.0, 1), block(64, *shape), spectrum)
    assert width_of_block(terms) == 64


def test_terms_without_a_block_are_chosen_as_they_are():
    assert choose_with_block(lambda width, terms: (width, terms), {}, spectrum) == ({}, (0, {}))


@pytest.fixture
def wide(monkeypatch):
    """A block of 16 is found to be better wherever there may be one."""

    def choose(choose, terms, spectrum):
        terms = with_block(terms, spectrum(16).cut(16))
        return terms, replace(choose(16, terms), strengths={"block": 1.0})

    monkeypatch.setattr("buir.model.fitting.choose_with_block", choose)
    monkeypatch.setattr("buir.model.fitting.WIDTHS", (8,))


SETTINGS = {"encoder": "graph", "epochs": 2, "batch_size": 64, "device": "cpu", "seed": 1}


def test_a_block_of_its_own_width_is_in_score_strangers_file_and_further_training(tmp_path):
    model = BUIR(embedding_dim=8, block_dim=20, terms={"block": 1.0}, inner_validation=False, **SETTINGS)
    train = pairs()
    model.fit(train, show_progress=False)
    assert model.item_factors.shape == (90, 28)
    assert model.chosen_.block_dim == 20
    base = FactorScorer(model.user_factors[:, :8], model.item_factors[:, :8])
    terms = make_terms(train, {"block": 1.0}, spectrum=spectral_factors(train, 90).cut(20))
    dense = TermScorer(base, terms).score_block(np.arange(120))
    torch.testing.assert_close(
        model.scorer().score_block(np.arange(120)), dense, rtol=1e-3, atol=1e-3 * float(dense.std())
    )
    assert model._strangers(train[:5]).score_block(np.arange(5)).shape == (5, 90)
    model.save(tmp_path / "model.safetensors")
    back = BUIR.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(back.recommend(3)[0], model.recommend(3)[0])
    back.partial_fit(train, epochs=0, show_progress=False)
    assert back.item_factors.shape == (90, 28)


@pytest.mark.usefixtures("wide")
def test_held_out_pairs_decide_and_the_refit_has_the_width():
    model = BUIR(**SETTINGS | {"epochs": 1}).fit(pairs(400, 90), show_progress=False)
    assert (model.chosen_.embedding_dim, model.chosen_.block_dim) == (8, 16)
    assert model.terms_.width_of_block in (16, None)


def test_a_block_has_the_width_that_is_given_beside_an_open_one():
    model = BUIR(**SETTINGS | {"epochs": 1, "block_dim": 12}).fit(pairs(400, 90), show_progress=False)
    assert model.chosen_.block_dim == 12


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("given", [{"embedding_dim": 8}, {"block_dim": 8}])
def test_a_width_that_is_given_is_that_of_the_block(given):
    model = BUIR(**SETTINGS | {"epochs": 1} | given).fit(pairs(400, 90), show_progress=False)
    assert model.chosen_.block_dim == 8


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize(("promised", "goes_on"), [(0.0, False), (1.02, False), (1.03, True)])
def test_training_that_no_branch_promises_is_left_out(monkeypatch, promised, goes_on):
    choose, asked = _Training.choose, []

    def chosen(self, phase, *told):
        found = choose(self, phase, *told)
        asked.append(phase)
        return replace(found, value=1.0) if phase.startswith("terms of branch") else found

    branches = _Training.branches

    def better_alone(self, watch):
        """With the terms no branch beats the start, without them each does."""
        found = branches(self, watch)
        assert found.promised == 1  # the best of what the branches promise
        metric = self.metrics[0]
        return replace(found, kept={metric}, promised=promised * found.start[metric])

    monkeypatch.setattr(_Training, "choose", chosen)
    monkeypatch.setattr(_Training, "branches", better_alone)
    monkeypatch.setattr("buir.model.fitting.PAYS", 0.0)  # so each branch is asked about
    model = BUIR(**SETTINGS, start="spectral").fit(pairs(400, 90), show_progress=False)
    assert sum(phase.startswith("terms of branch") for phase in asked) == 3
    assert any(phase.startswith("terms, best by") for phase in asked) == goes_on
    assert model.chosen_.held_out == "inner"


def test_a_model_chooses_its_terms_by_some_of_many_users(monkeypatch):
    asked = []

    def choose(scorer, train, valid, **told):
        asked.append(int(np.count_nonzero(np.diff(valid.indptr))))
        return choose_terms(scorer, train, valid, **told)

    for module in ("buir.model.fitting", "buir.recommend.score_terms"):
        monkeypatch.setattr(f"{module}.MOST_CHOSEN", 50)
        monkeypatch.setattr(f"{module}.choose_terms", choose)
    train, valid = pairs(300, 90), pairs(300, 90, seed=1)
    valid = csr_array(valid - valid.multiply(train))
    valid.eliminate_zeros()
    BUIR(**SETTINGS | {"epochs": 0}).fit(train, valid, show_progress=False)
    assert asked[-1] == 50
    ALS(factors=4, iterations=2, terms="auto").fit(train, valid, show_progress=False)
    assert asked[-1] == 50


@pytest.mark.usefixtures("wide")
def test_a_fit_with_a_wide_block_dies_anywhere_and_comes_to_the_same_bytes(monkeypatch, tmp_path):
    monkeypatch.setattr("buir.model.fitting.PAYS", 0.0)  # so each branch is asked what it promises
    settings, train = SETTINGS | {"epochs": 3}, pairs(400, 90)
    mortal = Mortal(monkeypatch)
    plain = content(BUIR(**settings).fit(train, show_progress=False))
    model = BUIR(**settings)
    assert mortal.outlive(model, tmp_path / "checkpoint", train) > 10
    assert content(model) == plain
