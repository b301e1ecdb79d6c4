"""The choice of strengths: equal to evaluating every combination in full, on any memory, and counted."""

import functools
import itertools

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from buir.graph import spectral_factors
from buir.ranking import FactorScorer, top_k, user_metrics
from buir.ranking import term_choice as module
from buir.ranking.item_filter import ItemFilter
from buir.ranking.term_choice import Choice, choose_terms
from buir.ranking.terms import Dial, ItemNorm, PopularityTerm, SpectralBlock, TermScorer


class Table:
    """A scorer without factors."""

    def __init__(self, scores):
        self.scores = torch.as_tensor(scores, dtype=torch.float32)
        self.n_users, self.n_items = self.scores.shape

    def score_block(self, users):
        return self.scores[torch.as_tensor(users)]


def tastes(n_users=90, n_items=120, seed=0):
    """Train and validation pairs of users with tastes, and of unequally popular items."""
    rng = np.random.default_rng(seed)
    liking = rng.normal(size=(n_users, 3)) @ rng.normal(size=(3, n_items)) - 0.6 * np.log1p(np.arange(n_items))
    chosen = liking + rng.gumbel(size=liking.shape) > 1.5
    held = chosen & (rng.random(liking.shape) < 0.25)
    return csr_array((chosen & ~held).astype(np.float32)), csr_array(held.astype(np.float32))


def parts(train, names=("filter", "popularity", "block", "dial", "norm"), width=5):
    degree = torch.from_numpy(np.bincount(train.indices, minlength=train.shape[1]).astype(np.float32))
    spectrum = spectral_factors(train, width)
    terms = {
        "filter": ItemFilter.from_matrix(train, keep=20),
        "popularity": PopularityTerm(degree),
        "block": SpectralBlock(spectrum, degree, 2.0),
        "dial": Dial(),
        "norm": ItemNorm(),
    }
    return TermScorer(FactorScorer(*spectrum.tables()), {name: terms[name] for name in names})


def full_value(scorer, strengths, train, valid, metric="ndcg", k=20):
    # by hand and not by evaluate, which leaves out what is in training
    asked = np.flatnonzero(np.diff(valid.indptr))
    ranked, _ = top_k(scorer.with_strengths(strengths), asked, k, exclude=csr_array(train[asked]))
    name = f"{metric}_at_{k}"
    return float(user_metrics(ranked, csr_array(valid[asked]), (metric,), (k,))[name].mean())


TRAIN, VALID = tastes()
GRIDS = {"filter": (0.3, 1.0, 3.0), "popularity": (0.1, 1.0), "block": (0.5,), "dial": (-0.5, 0.5), "norm": (-0.5,)}


def test_by_hand():
    # one user who has item 0; base 3 2 1 0 and the held-out item 2: rank 2 of the items 1 2 3, NDCG@1 is 0
    base = FactorScorer(np.ones((1, 1)), np.array([[3.0], [2.0], [1.0], [0.0]]))
    train, valid = csr_array(np.float32([[1, 0, 0, 0]])), csr_array(np.float32([[0, 0, 1, 0]]))
    scorer = TermScorer(base, {"popularity": PopularityTerm(torch.tensor([0.0, 0.0, 9.0, 4.0]))})
    choice = choose_terms(scorer, train, valid, metric="ndcg_at_1", grids={"popularity": (0.1, 0.5, 2.0)})
    # sd of the base and of the roots 0 0 3 2 are sqrt(1.25) and 1.299: item 2 is first when 3 w 0.861 > 1
    assert choice == Choice({"popularity": 0.5}, {"popularity": 1.0}, 1.0, 0.0, 4)


@pytest.mark.parametrize(("metric", "k"), [("ndcg", 20), ("recall", 5), ("mrr", 1), ("map", 200)])
def test_every_combination_is_valued_as_by_the_full_ranking(metric, k, monkeypatch):
    scorer, seen = parts(TRAIN), {}
    original = module._Survivors.hits

    def listening(self, candidates, k):
        found = original(self, candidates, k)
        seen.update({tuple(sorted(each.items())): hits for each, hits in zip(candidates, found, strict=True)})
        return found

    monkeypatch.setattr(module._Survivors, "hits", listening)
    choice = choose_terms(scorer, TRAIN, VALID, metric=f"{metric}_at_{k}", grids=GRIDS)
    # far down a list, scores that are equal but for rounding may change places
    same = functools.partial(pytest.approx, abs=2e-5 if k > 20 else 1e-12)
    assert choice.value == same(full_value(scorer, choice.strengths, TRAIN, VALID, metric, k))
    assert choice.bare == same(full_value(scorer, dict.fromkeys(scorer.terms, 0.0), TRAIN, VALID, metric, k))
    for name, gain in choice.gains.items():
        without = full_value(scorer, choice.strengths | {name: 0.0}, TRAIN, VALID, metric, k)
        assert gain == same(choice.value - without)
    assert choice.n_candidates == len(seen)


@pytest.mark.parametrize(("seed", "is_best"), [(0, True), (1, False), (2, True), (3, True)])
def test_the_best_of_all_combinations_is_found(seed, is_best):
    train, valid = tastes(seed=seed)
    scorer = parts(train, ("filter", "popularity"))
    grids = {name: (0.0, *GRIDS[name]) for name in ("filter", "popularity")}
    values = {
        (f, p): full_value(scorer, {"filter": f, "popularity": p}, train, valid)
        for f, p in itertools.product(*grids.values())
    }
    choice = choose_terms(scorer, train, valid, grids=grids)
    best = (choice.strengths["filter"], choice.strengths["popularity"])
    assert choice.value == values[best]
    assert choice.value > choice.bare
    # ascent along one term at a time: no other strength of one term is better, of both together rarely
    assert choice.value == max(values[f, best[1]] for f in grids["filter"])
    assert choice.value == max(values[best[0], p] for p in grids["popularity"])
    assert (choice.value == max(values.values())) == is_best
    assert choice.value > max(values.values()) - 0.001
    # the start, three and two more, and what the second round asks for again is known
    assert 6 <= choice.n_candidates <= len(values)


def test_one_term_is_searched_in_full_and_ties_go_to_the_smallest():
    scorer = parts(TRAIN, ("dial",))
    choice = choose_terms(scorer, TRAIN, VALID)
    values = {p: full_value(scorer, {"dial": p}, TRAIN, VALID) for p in Dial.grid}
    assert choice.n_candidates == len(values)
    assert values[choice.strengths["dial"]] == max(values.values())
    flat = TermScorer(scorer.base, {"popularity": PopularityTerm(torch.ones(120))})
    assert choose_terms(flat, TRAIN, VALID).strengths == {"popularity": 0.0}


@pytest.mark.parametrize(
    ("tile", "group", "memory_mb"), [(1, 1, 2048), (1 << 17, 1 << 12, 2048), (1 << 17, 1 << 18, 0)]
)
def test_memory_and_blocks_change_nothing(tile, group, memory_mb, monkeypatch):
    expected = choose_terms(parts(TRAIN), TRAIN, VALID, grids=GRIDS)
    monkeypatch.setattr(module, "_TILE_BYTES", tile)
    monkeypatch.setattr(module, "_GROUP", group)
    assert choose_terms(parts(TRAIN), TRAIN, VALID, grids=GRIDS, memory_mb=memory_mb) == expected


def test_items_that_nothing_is_said_of_are_left_out_and_change_nothing(monkeypatch):
    train, valid = tastes(60, 800, seed=3)
    keep = np.random.default_rng(0).random(800) < 0.4
    train = csr_array(train.multiply(keep[None, :]))
    train.eliminate_zeros()
    idle = np.bincount(train.indices, minlength=800) == 0
    assert valid[:, np.flatnonzero(idle)].nnz > 0
    widths, original = [], module._Parts.scores

    def scores(self, users):
        widths.append(self.n_items)
        return original(self, users)

    monkeypatch.setattr(module._Parts, "scores", scores)
    found = choose_terms(parts(train), train, valid, grids=GRIDS)
    monkeypatch.setattr(module, "telling", lambda *_: None)
    assert found == choose_terms(parts(train), train, valid, grids=GRIDS)
    assert min(widths) < max(widths) == 800


def test_part_of_the_users_in_memory(monkeypatch):
    """Kept until the memory is full, the others anew for each term: bounded, and the same."""
    expected = choose_terms(parts(TRAIN), TRAIN, VALID, grids=GRIDS)
    monkeypatch.setattr(module, "_TILE_BYTES", 1 << 15)
    made = []
    original = module._Survivors.__init__

    def bounded(self, parts, users, memory):
        original(self, parts, users, 60_000)
        made.append((self.start, sum(kept.n_bytes for kept in self.kept)))

    monkeypatch.setattr(module._Survivors, "__init__", bounded)
    assert choose_terms(parts(TRAIN), TRAIN, VALID, grids=GRIDS) == expected
    ((start, n_bytes),) = made
    assert 0 < start < 90
    assert n_bytes <= 30_000


def test_most_items_are_put_aside(monkeypatch):
    train, valid = tastes(60, 3000, seed=2)
    kept = []
    original = module._keep

    def counting(parts, users, first):
        found = original(parts, users, first)
        kept.append((found.n_items, len(users)))
        return found

    monkeypatch.setattr(module, "_keep", counting)
    choose_terms(parts(train, ("filter", "popularity")), train, valid)
    assert sum(n for n, _ in kept) < 0.2 * 3000 * sum(n for _, n in kept)


def test_the_order_of_equal_scores_counts():
    # all scores equal: items are listed by their rows, so of the three unseen ones item 3 is the third
    scorer = TermScorer(Table(np.zeros((2, 5))), {"popularity": PopularityTerm(torch.tensor([1.0, 2, 3, 4, 5]))})
    train = csr_array(np.float32([[1, 0, 0, 0, 1], [0, 1, 1, 1, 0]]))
    valid = csr_array(np.float32([[0, 0, 0, 1, 0], [0, 0, 0, 0, 1]]))
    for k, value in ((1, 0.0), (2, 0.25), (3, (1 / 3 + 1 / 2) / 2)):
        assert choose_terms(scorer, train, valid, metric=f"mrr_at_{k}").value == pytest.approx(value)


def test_ties_in_random_tables_of_small_integers():
    rng = np.random.default_rng(3)
    scorer = TermScorer(
        Table(rng.integers(0, 3, size=(90, 120))),
        {"popularity": PopularityTerm(torch.from_numpy(rng.integers(0, 3, 120) ** 2).float())},
    )
    choice = choose_terms(scorer, TRAIN, VALID, metric="ndcg_at_5")
    assert choice.bare == full_value(scorer, {"popularity": 0.0}, TRAIN, VALID, k=5)


def test_a_base_that_says_nothing_of_most_items_puts_aside_as_many_and_counts_alike(monkeypatch):
    train, valid = tastes(60, 3000, seed=2)
    base = ItemFilter.from_matrix(csr_array(train[:, :200]), keep=2)
    wide = csr_array(
        (base.weights.data, base.weights.indices, np.r_[base.weights.indptr, [base.weights.nnz] * 2800]), (3000, 3000)
    )
    terms = {name: term for name, term in parts(train).terms.items() if name in ("popularity", "block")}
    scorer, kept, seen = TermScorer(ItemFilter(train, wide), terms), [], {}
    assert (scorer.base.score_block(np.arange(60)) == 0).float().mean() > 0.9
    keep, hits = module._keep, module._Survivors.hits

    def counting(parts, users, first):
        found = keep(parts, users, first)
        kept.append((found.n_items, len(users)))
        return found

    def listening(self, candidates, k):
        found = hits(self, candidates, k)
        seen.update({tuple(sorted(each.items())): one for each, one in zip(candidates, found, strict=True)})
        return found

    monkeypatch.setattr(module, "_keep", counting)
    monkeypatch.setattr(module._Survivors, "hits", listening)
    choice = choose_terms(scorer, train, valid, grids={"popularity": (0.1, 1.0), "block": (0.5,)})
    assert sum(n for n, _ in kept) < 0.3 * 3000 * sum(n for _, n in kept)
    assert len(seen) == choice.n_candidates
    assert choice.value == full_value(scorer, choice.strengths, train, valid)
    for strengths in itertools.product((0.0, 0.1, 1.0), (0.0, 0.5)):
        named = dict(zip(terms, strengths, strict=True))
        only = choose_terms(scorer, train, valid, grids={name: (value,) for name, value in named.items()})
        if only.strengths == named:
            assert only.value == full_value(scorer, named, train, valid)
    assert choice.bare == full_value(scorer, dict.fromkeys(terms, 0.0), train, valid)


def test_seen_items_count_as_missed_and_are_above_nothing():
    valid = csr_array(VALID.maximum(TRAIN))
    choice = choose_terms(parts(TRAIN), TRAIN, valid, grids=GRIDS)
    assert choice.value == full_value(parts(TRAIN), choice.strengths, TRAIN, valid)


def test_it_does_not_depend_on_the_strengths_that_terms_have():
    given = parts(TRAIN).with_strengths({"filter": 3.0, "dial": 0.7})
    assert choose_terms(given, TRAIN, VALID, grids=GRIDS) == choose_terms(parts(TRAIN), TRAIN, VALID, grids=GRIDS)


def test_a_base_without_factors_and_one_that_says_nothing():
    table = parts(TRAIN).base.score_block(np.arange(90))
    terms = parts(TRAIN, ("filter", "popularity")).terms
    choice = choose_terms(TermScorer(Table(table), terms), TRAIN, VALID, grids={"filter": (0.3, 1.0, 3.0)})
    assert choice.value == full_value(TermScorer(Table(table), terms), choice.strengths, TRAIN, VALID)
    silent = choose_terms(TermScorer(Table(np.zeros((90, 120))), terms), TRAIN, VALID)
    assert silent.strengths == {"filter": 0.0, "popularity": 0.0}


def test_wrong_questions_are_refused():
    scorer = parts(TRAIN)
    for settings, match in (
        ({"metric": "ndcg"}, "metric is 'ndcg'"),
        ({"metric": "luck_at_20"}, "unknown metric 'luck'"),
        ({"metric": "ndcg_at_0"}, "ks is"),
        ({"grids": {"spice": (1,)}}, "no term is named 'spice'"),
        ({"grids": {"filter": (-1,)}}, "strength of filter is -1"),
    ):
        with pytest.raises(ValueError, match=match):
            choose_terms(scorer, TRAIN, VALID, **settings)
    with pytest.raises(ValueError, match="valid has no pairs"):
        choose_terms(scorer, TRAIN, csr_array(VALID.shape, dtype=np.float32))
    broken = np.zeros((90, 120))
    broken[7, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        choose_terms(TermScorer(Table(broken), {}), TRAIN, csr_array(np.ones((90, 120), dtype=np.float32)))
