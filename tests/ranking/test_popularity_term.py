"""Popularity in the score: its scale by hand, its limits, and what it leaves alone."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from buir import BUIR
from buir.errors import InputError
from buir.ranking.evaluation import evaluate
from buir.ranking.terms import PopularityTerm, TermScorer
from buir.ranking.top_k import FactorScorer
from tests.support.plain_training import PLAIN

RNG = np.random.default_rng(0)
USERS = torch.from_numpy(RNG.normal(size=(7, 3)))
ITEMS = torch.from_numpy(RNG.normal(size=(5, 3)))
DEGREE = torch.tensor([0.0, 1.0, 4.0, 9.0, 16.0])


def pairs(n_users: int, n_items: int, seed: int) -> csr_array:
    rng = np.random.default_rng(seed)
    popular = rng.random((n_users, n_items)) < 0.9 / np.sqrt(1 + np.arange(n_items))
    popular[:, 0] = True
    return csr_array(popular.astype(np.float32))


def test_the_term_by_a_slow_oracle():
    scorer = TermScorer(FactorScorer(USERS, ITEMS), {"popularity": PopularityTerm(DEGREE, 2.0)})
    personal = USERS @ ITEMS.T
    spread = np.sqrt(np.mean([np.var(row.numpy()) for row in personal]))
    root = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    expected = personal.numpy() + 2.0 * spread * root / np.std(root)
    np.testing.assert_allclose(scorer.score_block(np.arange(7)).numpy(), expected, rtol=1e-5)


def test_equal_popularity_changes_nothing():
    base = FactorScorer(USERS, ITEMS)
    scorer = TermScorer(base, {"popularity": PopularityTerm(torch.full((5,), 3.0), 1.0)})
    # a coordinate more may change the order of a sum
    np.testing.assert_allclose(scorer.score_block(np.arange(7)), base.score_block(np.arange(7)), atol=5e-7)


def test_auto_chooses_on_validation_data_and_says_what():
    train, valid = pairs(60, 40, 0), pairs(60, 40, 1)
    valid = csr_array(valid - valid.multiply(train))
    settings = {"encoder": "graph", "embedding_dim": 8, "epochs": 3, "device": "cpu"} | PLAIN
    model = BUIR(**settings | {"terms": "auto"}).fit(train, valid, show_progress=False)

    def value(**strengths: float) -> float:
        # the same weights under other terms: training looks at held-out pairs for the epoch alone
        fixed = BUIR(**settings | {"terms": strengths, "epochs": model.history[-1]["epoch"], "patience": 99})
        fixed.fit(train, show_progress=False)
        return evaluate(fixed, train, valid, ks=(20,), metrics=("ndcg",)).means["ndcg_at_20"]

    popularity = {weight: value(popularity=weight) for weight in PopularityTerm.grid if weight}
    chosen = evaluate(model, train, valid, ks=(20,), metrics=("ndcg",)).means["ndcg_at_20"]
    assert max(popularity.values()) > value()
    assert chosen == pytest.approx(model.chosen_.value, abs=1e-6)
    assert chosen >= max(popularity.values()) - 1e-6
    assert model.terms_.strengths == {name: v for name, v in model.terms_.choice.strengths.items() if v}


def test_without_validation_data_auto_is_none():
    model = BUIR(encoder="graph", embedding_dim=8, epochs=2, device="cpu").fit(pairs(30, 20, 0), show_progress=False)
    assert model.terms_.strengths == {}
    assert model.item_factors.shape == (20, 8)


def fitted(**settings: object) -> BUIR:
    made = {"encoder": "graph", "embedding_dim": 8, "epochs": 4, "device": "cpu"} | PLAIN
    model = BUIR(**made | {"terms": {"popularity": 0.7}} | settings)
    return model.fit(pairs(30, 20, 0), show_progress=False)


def test_explanations_add_up_with_popularity_in_the_score():
    model = fitted()
    parts = model.explain(3, 7)
    assert parts.part.tolist()[-1] == "popularity"
    assert parts.contribution.sum() == pytest.approx(float(model.user_factors[3] @ model.item_factors[7]), rel=1e-5)


def test_likeness_does_not_depend_on_it():
    with_term, without = fitted(), fitted(terms={})
    for verb in ("similar_items", "similar_users"):
        np.testing.assert_array_equal(getattr(with_term, verb)(2)[1], getattr(without, verb)(2)[1])


def test_strangers_see_popularity_too():
    model = fitted()
    ids, scores = model.recommend(0, csr_array((1, 20), dtype=np.float32), recalculate_user=True, N=3)
    items = model.item_factors.astype(np.float64)
    bias = model.weights_.predictor_bias.numpy().astype(np.float64)
    expected = items[:, :8] @ bias + items[:, 8]
    assert ids.tolist() == np.argsort(-expected)[:3].tolist()
    np.testing.assert_allclose(scores, np.sort(expected)[::-1][:3], rtol=1e-5)


def test_files_and_partial_fit_keep_the_weight(tmp_path):
    model = fitted()
    model.save(tmp_path / "model")
    loaded = BUIR.load(tmp_path / "model")
    assert loaded.terms_.strengths == {"popularity": 0.7}
    np.testing.assert_array_equal(loaded.recommend(0, N=5)[0], model.recommend(0, N=5)[0])
    loaded.terms = "auto"
    loaded.partial_fit(pairs(30, 20, 2), show_progress=False)
    assert loaded.terms_.strengths == {"popularity": 0.7}
    assert loaded.item_factors.shape == (20, 9)


def test_its_old_place_names_the_new_one():
    for given, now in ((0.3, "terms={'popularity': 0.3}"), ("auto", "terms='auto'"), (0.0, "terms={}")):
        with pytest.raises(InputError) as caught:
            BUIR(popularity=given)
        assert now in str(caught.value)
        assert caught.value.argument == "popularity"
