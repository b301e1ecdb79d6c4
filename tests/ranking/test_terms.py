"""The terms of a score: hand numbers, dense oracles in float64, and strength 0 as absence."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from buir.graph import Spectrum, spectral_factors
from buir.ranking import FactorScorer, top_k
from buir.ranking.item_filter import ItemFilter
from buir.ranking.terms import Dial, ItemNorm, PopularityTerm, SpectralBlock, TermScorer, spread

RNG = np.random.default_rng(0)
TINY = csr_array(np.array([[1, 1, 0], [1, 0, 1], [1, 1, 0]], dtype=np.float32))
ALL = np.arange(40)


def pairs(n_users=40, n_items=30, density=0.15, seed=0):
    table = np.random.default_rng(seed).random((n_users, n_items)) < density
    table[3], table[:, 5] = False, False
    return csr_array(table.astype(np.float32))


TRAIN = pairs()
DEGREE = torch.from_numpy(np.bincount(TRAIN.indices, minlength=30).astype(np.float32))
BASE = FactorScorer(RNG.normal(size=(40, 4)), RNG.normal(size=(30, 4)))
SPECTRUM = spectral_factors(TRAIN, 6)


class Table:
    """A scorer without factors."""

    def __init__(self, scores):
        self.scores = torch.as_tensor(scores, dtype=torch.float32)
        self.n_users, self.n_items = self.scores.shape

    def score_block(self, users):
        return self.scores[torch.as_tensor(users)]


def all_terms(**strengths):
    given = dict.fromkeys(("norm", "dial", "filter", "popularity", "block"), 0.0) | strengths
    return {
        "norm": ItemNorm(given["norm"]),
        "dial": Dial(given["dial"]),
        "filter": ItemFilter.from_matrix(TRAIN, strength=given["filter"]),
        "popularity": PopularityTerm(DEGREE, given["popularity"]),
        "block": SpectralBlock(SPECTRUM, DEGREE, 1.5, 0.25, given["block"]),
    }


def dense_filter(matrix, exponents, keep):
    """G by loops over all pairs of items, float64."""
    table = matrix.toarray().astype(np.float64)
    of_users, of_items = table.sum(axis=1), table.sum(axis=0)
    x, y, z = exponents
    n = table.shape[1]
    whole = np.zeros((n, n))
    for j in range(n):
        for i in range(n):
            if i != j:
                shared = sum(of_users[u] ** -y for u in range(len(table)) if table[u, i] and table[u, j])
                whole[j, i] = shared * of_items[j] ** -x * of_items[i] ** -z if shared else 0
        for i in sorted(range(n), key=lambda i: (-np.float32(whole[j, i]), i))[keep:]:
            whole[j, i] = 0
    return whole


def dense_spread(scores):
    return np.sqrt(np.mean([np.var(row) for row in scores]))


def test_the_filter_by_hand():
    # degrees of users 2, 2, 2 and of items 3, 2, 1; items 0 and 1 share two users, 0 and 2 one
    weights = ItemFilter.from_matrix(TINY, exponents=(1.0, 1.0, 0.5)).weights.toarray()
    expected = [[0, 1 / 3 / 2**0.5, 0.5 / 3], [1 / 2 / 3**0.5, 0, 0], [0.5 / 3**0.5, 0, 0]]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    scores = ItemFilter.from_matrix(TINY, exponents=(1.0, 1.0, 0.5)).score_block(np.array([1]))
    np.testing.assert_allclose(scores, [[0.5 / 3**0.5, 1 / 3 / 2**0.5, 0.5 / 3]], rtol=1e-6)


@pytest.mark.parametrize("keep", [1, 4, 300])
@pytest.mark.parametrize("exponents", [(0.5, 0.5, 0.25), (0.0, 0.0, 0.0), (0.9, 1.0, 0.1)])
def test_the_filter_by_loops(exponents, keep):
    term = ItemFilter.from_matrix(TRAIN, exponents=exponents, keep=keep)
    assert np.diff(term.weights.indptr).max() <= keep
    expected = dense_filter(TRAIN, exponents, keep)
    np.testing.assert_allclose(term.weights.toarray(), expected, rtol=1e-5)
    np.testing.assert_allclose(term.score_block(ALL), TRAIN.toarray() @ expected, rtol=1e-5, atol=1e-7)
    assert term.weights.dtype == np.float32


def test_rows_of_the_filter_are_cut_not_columns():
    # item 0 is shared by all: it keeps one neighbour, but every other item may keep it
    matrix = csr_array(np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]], dtype=np.float32))
    weights = ItemFilter.from_matrix(matrix, exponents=(0.0, 0.0, 0.0), keep=1).weights.toarray()
    np.testing.assert_array_equal(weights, [[0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]])


def test_the_filter_does_not_depend_on_its_blocks(monkeypatch):
    whole = ItemFilter.from_matrix(TRAIN, keep=5).weights
    for products in (1, 40, 300):
        monkeypatch.setattr("buir.ranking.item_filter._PRODUCTS", products)
        parts = ItemFilter.from_matrix(TRAIN, keep=5).weights
        for name in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (0, 3), (3, 4)])
def test_a_filter_without_pairs(shape):
    term = ItemFilter.from_matrix(csr_array(shape, dtype=np.float32))
    assert term.weights.shape == (shape[1], shape[1])
    assert term.score_block(np.arange(shape[0])).shape == shape


def test_the_filter_keeps_at_least_one():
    with pytest.raises(ValueError, match="keep is 0"):
        ItemFilter.from_matrix(TRAIN, keep=0)


@pytest.mark.parametrize("p", [-1.0, 0.5, 1.0])
def test_the_dial_by_dense_powers(p):
    users, items = BASE.user_factors.double().numpy(), BASE.item_factors.double().numpy()
    values, vectors = np.linalg.eigh(users.T @ users)
    power = vectors @ np.diag((values / values.mean()) ** -p) @ vectors.T
    turned, same = Dial(p)(BASE.user_factors, BASE.item_factors)
    assert same is BASE.item_factors
    np.testing.assert_allclose(turned @ same.T, users @ power @ items.T, rtol=1e-4, atol=1e-4)


def test_the_dial_whitens_and_drops_what_no_user_has():
    narrow = BASE.user_factors @ torch.diag(torch.tensor([3.0, 1.0, 0.1, 0.0]))
    turned, _ = Dial(0.5)(narrow, BASE.item_factors)
    values = torch.linalg.eigvalsh(turned.T @ turned)
    np.testing.assert_allclose(values[1:], values[3].expand(3), rtol=1e-3)
    assert values[0] == pytest.approx(0, abs=1e-5)
    assert not Dial(0.5)(torch.zeros(3, 2), torch.ones(2, 2))[0].any()


def test_the_dial_on_singular_vectors_sharpens_and_whitens():
    users, items = SPECTRUM.tables()
    for p in (-1.0, 0.5, 1.0):
        turned, same = Dial(p)(users, items)
        expected = (SPECTRUM.users * SPECTRUM.values ** (1 - p)) @ SPECTRUM.items.T
        found = turned @ same.T
        torch.testing.assert_close(found * (expected.norm() / found.norm()), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("q", [-1.0, -0.5, 1.0])
def test_norms_by_a_loop(q):
    items = BASE.item_factors.clone()
    items[2] = 0
    users, scaled = ItemNorm(q)(BASE.user_factors, items)
    assert users is BASE.user_factors
    lengths = [np.linalg.norm(row) for row in items.double().numpy()]
    unit = np.sqrt(np.mean(np.square(lengths)))
    for row, length, found in zip(items.double().numpy(), lengths, scaled.numpy(), strict=True):
        expected = row * (length / unit) ** q if length else row
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(("sharpness", "exponent"), [(0.0, 0.0), (1.5, 0.25), (4.0, -0.5)])
def test_the_block_by_its_formula(sharpness, exponent):
    u, s, v = (part.double().numpy() for part in (SPECTRUM.users, SPECTRUM.values, SPECTRUM.items))
    degree = DEGREE.double().numpy()
    weight = np.array([d**exponent if d else 0 for d in degree])
    expected = (u * s**sharpness) @ (v * s**sharpness * weight[:, None]).T
    found = SpectralBlock(SPECTRUM, DEGREE, sharpness, exponent).factors(40).score_block(ALL)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_a_block_of_other_vectors_knows_their_spread_and_not_the_former_one():
    block = SpectralBlock(SPECTRUM, DEGREE, 1.5, 0.25, strength=2.0).of(SPECTRUM)
    other = block.of(SPECTRUM.cut(2))
    for known in (block, other):
        unknown = replace(known, own_spread=None)
        assert known.own_spread == spread(unknown.factors(40))
        scores, expected = (TermScorer(BASE, {"block": term}).score_block(ALL) for term in (known, unknown))
        torch.testing.assert_close(scores, expected, rtol=0, atol=0)
    assert block.own_spread != other.own_spread
    # it is what the term is measured by: twice as wide a spread is half the term
    wider = replace(block, own_spread=2 * block.own_spread)
    whole, half = (TermScorer(BASE, {"block": term}).score_block(ALL) for term in (block, wider))
    base = BASE.score_block(ALL)
    torch.testing.assert_close(half - base, (whole - base) / 2, rtol=1e-4, atol=1e-5)


def test_columns_without_a_singular_value_stay_silent_at_any_sharpness():
    wide = Spectrum(torch.eye(2), torch.tensor([0.5, 0.0]), torch.eye(2), 4)
    scores = SpectralBlock(wide, torch.ones(2), 0.0).factors(2).score_block(np.arange(2))
    assert scores.tolist() == [[1, 0], [0, 0]]


def test_spread_of_factors_and_of_anything_else():
    scores = BASE.score_block(ALL)
    expected = dense_spread(scores.double().numpy())
    assert spread(BASE) == pytest.approx(expected, rel=1e-5)
    assert spread(Table(scores)) == pytest.approx(expected, rel=1e-5)
    assert spread(Table(np.full((4, 3), 0.3))) == 0
    assert spread(FactorScorer(np.full((4, 1), 0.3), np.full((7, 1), 0.7))) == 0
    assert spread(Table(np.zeros((0, 3)))) == 0


def test_spread_is_sampled_evenly_and_in_blocks(monkeypatch):
    monkeypatch.setattr("buir.ranking.terms._SAMPLE", 3)
    monkeypatch.setattr("buir.ranking.terms._BLOCK_BYTES", 1)
    scores = BASE.score_block(ALL)
    expected = dense_spread(scores.double().numpy()[[0, 19, 39]])
    assert spread(Table(scores)) == pytest.approx(expected, rel=1e-5)


STRENGTHS = {"norm": -0.5, "dial": 0.5, "filter": 2.0, "popularity": 0.3, "block": 0.7}


def dense_score(base, strengths):
    """The score as its formula says, float64; base is a table."""
    total, unit = base.copy(), dense_spread(base)
    terms = all_terms()
    added = {
        "filter": TRAIN.toarray() @ dense_filter(TRAIN, (0.5, 0.5, 0.25), 300),
        "popularity": np.tile(np.sqrt(DEGREE.double().numpy()), (40, 1)),
        "block": terms["block"].factors(40).score_block(ALL).double().numpy(),
    }
    for name, scores in added.items():
        total += strengths.get(name, 0) * unit / dense_spread(scores) * scores
    return total


@pytest.mark.parametrize("chosen", [["filter"], ["popularity"], ["block"], ["filter", "popularity", "block"]])
@pytest.mark.parametrize("has_factors", [True, False])
def test_added_terms_by_the_formula(chosen, has_factors):
    base = BASE if has_factors else Table(BASE.score_block(ALL))
    strengths = {name: STRENGTHS[name] for name in chosen}
    scorer = TermScorer(base, all_terms(**strengths))
    expected = dense_score(BASE.score_block(ALL).double().numpy(), strengths)
    np.testing.assert_allclose(scorer.score_block(ALL), expected, rtol=1e-4, atol=1e-4)
    assert (scorer.factors is None) == ("filter" in chosen or not has_factors)


def test_everything_at_once_by_the_formula():
    users, items = ItemNorm(-0.5)(*Dial(0.5)(BASE.user_factors, BASE.item_factors))
    expected = dense_score((users @ items.T).double().numpy(), STRENGTHS)
    found = TermScorer(BASE, all_terms(**STRENGTHS)).score_block(ALL)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_popularity_is_one_more_coordinate():
    scorer = TermScorer(BASE, {"popularity": PopularityTerm(DEGREE, 1.7)})
    assert scorer.factors.item_factors.shape == (30, 5)


@pytest.mark.parametrize("has_factors", [True, False])
def test_strength_zero_is_absence_bit_for_bit(has_factors):
    base = BASE if has_factors else Table(BASE.score_block(ALL))
    assert torch.equal(TermScorer(base, all_terms()).score_block(ALL), base.score_block(ALL))
    for name in ("filter", "popularity", "block", *(("dial", "norm") if has_factors else ())):
        alone = TermScorer(base, {name: all_terms(**STRENGTHS)[name]})
        among = TermScorer(base, all_terms(**{name: STRENGTHS[name]}))
        assert torch.equal(alone.score_block(ALL), among.score_block(ALL))
        assert not torch.equal(alone.score_block(ALL), base.score_block(ALL))


@pytest.mark.parametrize("memory_mb", [256, 1])
def test_top_k_of_merged_scores_is_that_of_the_dense_table(memory_mb):
    scorer = TermScorer(BASE, all_terms(**STRENGTHS))
    dense = Table(scorer.score_block(ALL))
    for name in ("exclude", "allow"):
        found = top_k(scorer, ALL, 7, **{name: TRAIN}, memory_mb=memory_mb)
        expected = top_k(dense, ALL, 7, **{name: TRAIN})
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)


def test_a_term_that_says_the_same_of_all_items_is_silent():
    scorer = TermScorer(BASE, {"popularity": PopularityTerm(torch.full((30,), 3.0), 2.0)})
    torch.testing.assert_close(scorer.score_block(ALL), BASE.score_block(ALL))


def test_the_base_is_not_written_to():
    table = Table(BASE.score_block(ALL))
    before = table.scores.clone()
    TermScorer(table, all_terms(filter=1.0, popularity=1.0)).score_block(ALL)
    TermScorer(table, all_terms(filter=1.0)).score_block(ALL)
    assert torch.equal(table.scores, before)


def test_other_strengths_and_wrong_ones():
    scorer = TermScorer(BASE, all_terms())
    changed = scorer.with_strengths({"filter": 2.0})
    assert changed.terms["filter"].strength == 2.0
    assert scorer.terms["filter"].strength == 0.0
    with pytest.raises(ValueError, match="no term is named 'spice'"):
        scorer.with_strengths({"spice": 1.0})
    with pytest.raises(ValueError, match="strength of filter is -1"):
        scorer.with_strengths({"filter": -1.0})
    with pytest.raises(ValueError, match="strength of dial is nan"):
        scorer.with_strengths({"dial": float("nan")})
    scorer.with_strengths({"norm": -1.0})


def test_terms_of_other_data_are_refused():
    other = pairs(40, 31)
    with pytest.raises(ValueError, match=r"filter is for \(40, 31\)"):
        TermScorer(BASE, {"filter": ItemFilter.from_matrix(other)})
    with pytest.raises(ValueError, match="popularity has 31 degrees"):
        TermScorer(BASE, {"popularity": PopularityTerm(torch.ones(31))})
    block = SpectralBlock(spectral_factors(pairs(41), 2), DEGREE, strength=1.0)
    with pytest.raises(ValueError, match="spectrum has 41 users"):
        TermScorer(BASE, {"block": block})


def test_a_dial_needs_factors():
    with pytest.raises(TypeError, match="Dial changes factors, Table has none"):
        TermScorer(Table(np.zeros((2, 2))), {"dial": Dial(0.5)})
