"""The item filter less its square: against a dense oracle, and where it comes into a score."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from buir import BUIR
from buir.errors import InputError
from buir.ranking import FactorScorer, ItemFilter
from buir.recommend import FILTERS, choose_filter, make_terms
from tests.support.mortal_fits import Mortal, content

N_USERS, N_ITEMS = 60, 40


def pairs(seed: int = 0) -> csr_array:
    """Draw long histories: an item is had by those of its kind, and, the lower its number, by the others."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(N_USERS)[:, None] % 4 == np.arange(N_ITEMS) % 4
    table = rng.random((N_USERS, N_ITEMS)) < 0.8 * (1 + np.arange(N_ITEMS) / 8) ** -0.7 * np.where(kinds, 1, 0.5)
    table[np.arange(N_USERS), np.arange(N_USERS) % N_ITEMS] = True
    return csr_array(table.astype(np.float32))


def with_gaps() -> csr_array:
    """Draw pairs among which a user and an item have none."""
    table = pairs().toarray()
    table[7], table[:, 9] = 0, 0
    return csr_array(table)


TRAIN, GAPS = pairs(), with_gaps()


def largest(table: np.ndarray, keep: int) -> np.ndarray:
    """Cut the rows of a table, of equal entries keeping those of the lower items."""
    cut = np.zeros_like(table)
    for row, kept in zip(table, cut, strict=True):
        first = sorted(range(len(row)), key=lambda i: (-np.float32(row[i]), i))[:keep]
        kept[first] = row[first]
    return cut


def dense(matrix: csr_array, share: float, keep: int, square_of: int) -> np.ndarray:
    r"""Return G - s (sigma_1 / sigma_2) G^2 by dense products, float64."""
    table = matrix.toarray().astype(np.float64)
    of_users, of_items = table.sum(axis=1), table.sum(axis=0)
    powers = [
        np.where(d > 0, np.where(d > 0, d, 1) ** -p, 0) for d, p in ((of_items, 0.5), (of_users, 0.5), (of_items, 0.25))
    ]
    whole = powers[0][:, None] * (table.T * powers[1]) @ table * powers[2]
    np.fill_diagonal(whole, 0)
    plain = largest(whole, keep)
    once = table @ plain
    ratio = np.sqrt(np.mean(once.var(axis=1)) / np.mean((once @ plain).var(axis=1)))
    narrow = largest(plain, square_of)
    return largest(
        np.maximum(whole - share * ratio * narrow @ narrow * (whole > 0), 0) * (1 - np.eye(len(whole))), keep
    )


@pytest.mark.parametrize("keep", [3, 12, 300])
@pytest.mark.parametrize("share", [0.0, 0.6, 1.5])
def test_it_is_the_filter_less_its_square(share, keep):
    found = ItemFilter.from_matrix(GAPS, keep=keep, sharpening=share)
    np.testing.assert_allclose(found.weights.toarray(), dense(GAPS, share, keep, keep), rtol=1e-4, atol=1e-6)
    assert found.weights.data.min() > 0
    assert found.weights.dtype == np.float32


def test_the_square_of_a_large_filter_is_that_of_its_largest_entries(monkeypatch):
    monkeypatch.setattr("buir.ranking.item_filter._SQUARED", N_ITEMS * 5**2)
    found = ItemFilter.from_matrix(GAPS, sharpening=0.6).weights.toarray()
    np.testing.assert_allclose(found, dense(GAPS, 0.6, 300, 5), rtol=1e-4, atol=1e-6)


def test_it_does_not_depend_on_its_blocks(monkeypatch):
    whole = ItemFilter.from_matrix(GAPS, sharpening=0.6).weights
    for products in (40, 300):
        monkeypatch.setattr("buir.ranking.item_filter._PRODUCTS", products)
        parts = ItemFilter.from_matrix(GAPS, sharpening=0.6).weights
        for name in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_rows_summed_one_by_one_are_those_of_the_product(monkeypatch):
    term, users = ItemFilter.from_matrix(GAPS, sharpening=0.6), np.arange(N_USERS)
    monkeypatch.setattr("buir.ranking.item_filter._WORTHWHILE", 0)
    np.testing.assert_array_equal(term.score_block(users).numpy(), (GAPS @ term.weights).toarray())


@pytest.mark.parametrize("sharpening", [-0.1, np.nan, np.inf])
def test_sharpening_is_a_number_of_at_least_0(sharpening):
    with pytest.raises(ValueError, match=f"sharpening is {sharpening}"):
        ItemFilter.from_matrix(TRAIN, sharpening=sharpening)


@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (0, 3), (3, 4)])
def test_without_pairs_there_is_nothing_to_sharpen(shape):
    term = ItemFilter.from_matrix(csr_array(shape, dtype=np.float32), sharpening=0.6)
    assert term.weights.shape == (shape[1], shape[1])
    assert term.score_block(np.arange(shape[0])).shape == shape


def test_items_that_nobody_has_together_stay_apart():
    alone = ItemFilter.from_matrix(csr_array(np.eye(5, dtype=np.float32)), sharpening=0.6)
    assert alone.weights.nnz == 0


def halves(seed: int = 3) -> tuple[csr_array, csr_array]:
    """Part some pairs into training and held-out ones."""
    rng, whole = np.random.default_rng(seed + 1), pairs(seed).toarray()
    held = whole * (rng.random(whole.shape) < 0.2)
    held[np.arange(N_USERS), np.arange(N_USERS) % N_ITEMS] = 0
    return csr_array(whole - held), csr_array(held)


def base() -> FactorScorer:
    rng = np.random.default_rng(1)
    return FactorScorer(rng.normal(size=(N_USERS, 4)), rng.normal(size=(N_ITEMS, 4)))


@pytest.mark.parametrize(("ahead", "name"), [(0.0, FILTERS[1]), (10.0, FILTERS[0])])
def test_the_better_filter_stays(monkeypatch, ahead, name):
    monkeypatch.setattr("buir.recommend.score_terms.AHEAD", ahead)
    monkeypatch.setattr("buir.recommend.score_terms.LONG", 3)
    train, valid = halves()
    terms, n_candidates = choose_filter(base(), make_terms(train, width=4), valid, "ndcg_at_5")
    assert [other for other in terms if other in FILTERS] == [name]
    assert next(iter(terms)) == name  # strengths are chosen in the same order
    assert n_candidates > 2


@pytest.mark.parametrize(("name", "limit"), [("LONG", 15), ("MOST_SQUARED", N_ITEMS - 1)])
def test_where_users_have_few_pairs_or_items_are_many_it_is_not_tried(monkeypatch, name, limit):
    for other, value in (("AHEAD", 0.0), ("LONG", 3), (name, limit)):
        monkeypatch.setattr(f"buir.recommend.score_terms.{other}", value)
    train, valid = halves()
    terms, n_candidates = choose_filter(base(), make_terms(train, width=4), valid, "ndcg_at_5")
    assert (FILTERS[0] in terms, n_candidates) == (True, 0)


def test_a_score_has_one_filter():
    with pytest.raises(InputError, match="filter and sharpened_filter are one in two forms: leave one out"):
        BUIR(terms={"filter": 1.0, "sharpened_filter": 1.0}).fit(TRAIN)
    BUIR(terms={"filter": 0.0, "sharpened_filter": 1.0}, epochs=0, inner_validation=False).fit(TRAIN)


SETTINGS = {"embedding_dim": 4, "epochs": 2, "batch_size": 64, "device": "cpu", "inner_validation": False}


def test_it_is_saved_and_explained(tmp_path):
    model = BUIR(**SETTINGS, terms={"sharpened_filter": 2.0}).fit(TRAIN, show_progress=False)
    model.save(tmp_path / "model.safetensors")
    loaded = BUIR.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(
        loaded.recommend(np.arange(N_USERS), N=5)[0], model.recommend(np.arange(N_USERS), N=5)[0]
    )
    told = model.explain(0, 20)
    assert told["contribution"].sum() == pytest.approx(
        model.scorer().score_block(np.array([0]))[0, 20].item(), rel=1e-4
    )
    assert "sharpened_filter" in set(told["part"])
    with pytest.raises(ValueError, match=r"\{\*\*model.terms_.strengths, 'sharpened_filter': 0\}"):
        model.export_factors()


def test_a_fit_that_is_killed_anywhere_goes_on_with_the_filter_that_it_chose(monkeypatch, tmp_path):
    monkeypatch.setattr("buir.recommend.score_terms.AHEAD", 0.0)
    monkeypatch.setattr("buir.recommend.score_terms.LONG", 3)
    (train, valid), settings = halves(), SETTINGS | {"embedding_dim": "auto", "epochs": 1}
    mortal = Mortal(monkeypatch)
    whole = BUIR(**settings).fit(train, valid, show_progress=False)
    assert FILTERS[1] in whole.terms_.choice.strengths
    model = BUIR(**settings)
    assert mortal.outlive(model, tmp_path / "checkpoint", train, valid) > 5
    assert content(model) == content(whole)
