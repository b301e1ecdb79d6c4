"""The terms of the score on every baseline that scores: chosen on held-out pairs, in every verb, else nothing."""

from functools import partial

import numpy as np
import pytest
from scipy.sparse import csr_array

from baselines import ALS, BPR, EASE, LMF, Contrastive, CooccurrenceFilter, ItemKNN, LightGCN, LowRankFilter
from buir.data import Interactions
from buir.errors import InputError, NoValidationWarning
from buir.ranking import FactorScorer, TermScorer, evaluate
from buir.recommend import TERMS, make_terms

MODELS = {
    "als": partial(ALS, factors=8, iterations=5),
    "bpr": partial(BPR, factors=8, iterations=20),
    "lmf": partial(LMF, factors=8, iterations=5),
    "lightgcn": partial(LightGCN, embedding_dim=8, epochs=3, validate_every=1, batch_size=64, device="cpu"),
    "contrastive": partial(Contrastive, embedding_dim=8, epochs=3, validate_every=1, batch_size=64, device="cpu"),
    "low rank": partial(LowRankFilter, rank=6),
    "item-knn": partial(ItemKNN, neighbours=10),
    "ease": EASE,
    "item filter": partial(CooccurrenceFilter, keep=10),
}
FOLDING = [name for name in MODELS if name not in ("bpr", "lmf", "lightgcn", "contrastive")]
WITH_FACTORS = ("als", "bpr", "lmf", "lightgcn", "contrastive", "low rank")
GIVEN = {"filter": 0.7, "popularity": 0.3, "block": 0.5, "sharp_block": 0.4}
SHAPING = {"dial": 0.5, "norm": -0.5}


def tastes(n_users=70, n_items=90, seed=0):
    rng = np.random.default_rng(seed)
    liking = rng.normal(size=(n_users, 3)) @ rng.normal(size=(3, n_items)) - 0.6 * np.log1p(np.arange(n_items))
    chosen = liking + rng.gumbel(size=liking.shape) > 1.2
    held = chosen & (rng.random(liking.shape) < 0.25)
    return csr_array((chosen & ~held).astype(np.float32)), csr_array(held.astype(np.float32))


TRAIN, VALID = (Interactions.from_matrix(part) for part in tastes())
USERS = np.arange(TRAIN.n_users)


def fit(name, terms, valid=None):
    return MODELS[name](terms=terms).fit(TRAIN, valid, show_progress=False)


def given(name):
    return GIVEN | SHAPING if name in WITH_FACTORS else GIVEN


def all_scores(model):
    return model.scorer().score_block(USERS).numpy()


@pytest.mark.parametrize("name", MODELS)
def test_what_is_chosen_never_validates_worse(name):
    bare, chosen = fit(name, {}, VALID), fit(name, "auto", VALID)
    values = [evaluate(model, TRAIN, VALID, ks=(20,)).means["ndcg_at_20"] for model in (bare, chosen)]
    choice = chosen.terms_.choice
    assert values[1] >= values[0]
    np.testing.assert_allclose(values, [choice.bare, choice.value], atol=1e-4)
    assert choice.value >= choice.bare
    assert chosen.terms_.strengths == {term: strength for term, strength in choice.strengths.items() if strength}
    assert set(choice.strengths) == set(TERMS if name in WITH_FACTORS else GIVEN) - {"sharpened_filter"}
    told = chosen.history[-1]["terms"]
    found = {"value": choice.value, "bare": choice.bare, "n_candidates": choice.n_candidates}
    assert told == {"strengths": chosen.terms_.strengths, "gains": choice.gains} | found
    assert told["n_candidates"] > len(choice.strengths)
    if name not in ("lightgcn", "contrastive"):  # their records are made before
        assert chosen.history[-1]["ndcg_at_20"] == pytest.approx(values[1])


@pytest.mark.parametrize("name", MODELS)
def test_lists_are_those_of_the_sum_written_out(name):
    bare, model = fit(name, {}), fit(name, given(name))
    assert set(model.terms_.strengths) == set(given(name))
    terms = make_terms(TRAIN.matrix, given(name), factors=name in WITH_FACTORS)
    whole = TermScorer(bare.scorer(), terms).score_block(USERS).numpy()
    np.testing.assert_allclose(all_scores(model), whole, rtol=1e-4, atol=1e-5 * np.abs(whole).max())
    whole[TRAIN.matrix.toarray() > 0] = -np.inf
    ids, scores = model.recommend(USERS, N=7)
    np.testing.assert_allclose(scores, -np.sort(-whole, axis=1)[:, :7], rtol=1e-4, atol=1e-5 * scores.max())
    np.testing.assert_allclose(
        np.take_along_axis(whole, ids.astype(int), 1), scores, rtol=1e-4, atol=1e-5 * scores.max()
    )
    assert not np.array_equal(ids, bare.recommend(USERS, N=7)[0])


@pytest.mark.parametrize("terms", [{}, dict.fromkeys(TERMS, 0.0)], ids=["none", "zero"])
@pytest.mark.parametrize("name", MODELS)
def test_strength_0_is_nothing_at_all(name, terms):
    bare, model = fit(name, {}, VALID), fit(name, terms, VALID)
    np.testing.assert_array_equal(all_scores(model), all_scores(bare))
    assert model.terms_.strengths == model.terms_.gains == {}
    assert "terms" not in model.history[-1]
    # what an earlier fit chose is gone
    again = MODELS[name](terms={"popularity": 1.0}).fit(TRAIN, show_progress=False)
    again.terms = terms
    np.testing.assert_array_equal(all_scores(again.fit(TRAIN, VALID, show_progress=False)), all_scores(bare))


@pytest.mark.parametrize("name", FOLDING)
def test_a_stranger_gets_the_terms_too(name):
    bare, model = fit(name, {}), fit(name, given(name))
    rows = TRAIN.matrix[[3, 8, 11]]
    ids, scores = model.recommend([0, 1, 2], rows, N=6, recalculate_user=True)
    own, trained = bare._recalculated_users(rows), all_scores(model)[[3, 8, 11]]
    mixed = model._strangers(rows).score_block(np.arange(3)).numpy()
    unseen = rows.toarray() == 0
    if isinstance(own, FactorScorer):
        # the model's own fold-in and the randomised vectors are near those of training, not equal
        assert np.corrcoef(mixed[unseen], trained[unseen])[0, 1] > 0.97
    else:
        np.testing.assert_allclose(mixed, trained, atol=1e-2 * np.abs(trained).max())
    mixed[~unseen] = -np.inf
    np.testing.assert_allclose(scores, -np.sort(-mixed, axis=1)[:, :6], rtol=1e-5)
    frame = model.recommend_frame(histories={"new": np.flatnonzero(~unseen[0]).tolist()}, k=6)
    assert frame["item"].tolist() == ids[0].tolist()


def test_popularity_for_a_stranger_is_that_of_everybody():
    bare, model = fit("als", {}), fit("als", {"popularity": 2.0})
    rows = TRAIN.matrix[[5]]
    added = (model._strangers(rows).score_block(np.arange(1)) - bare._strangers(rows).score_block(np.arange(1))).numpy()
    root = np.sqrt(np.bincount(TRAIN.matrix.indices, minlength=TRAIN.n_items))
    np.testing.assert_allclose(added[0] / added.max(), root / root.max(), atol=1e-5)
    own = np.sqrt((all_scores(bare).astype(np.float64).var(axis=1)).mean())
    assert added.std() == pytest.approx(2 * own, rel=1e-4)


@pytest.mark.parametrize("name", WITH_FACTORS)
def test_likeness_is_that_of_the_model_alone(name):
    bare, model = fit(name, {}), fit(name, GIVEN)
    assert model.item_factors.shape[1] > bare.item_factors.shape[1]
    for found, expected in (
        (model.similar_items([0, 4], N=5), bare.similar_items([0, 4], N=5)),
        (model.similar_users([0, 4], N=5), bare.similar_users([0, 4], N=5)),
    ):
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-6)


def test_a_recalculated_item_is_compared_with_the_models_own_vectors():
    bare, model = fit("als", {}), fit("als", GIVEN)
    audience = csr_array(TRAIN.matrix.T.tocsr()[[4]])
    asked = partial(type(model).similar_items, itemid=4, N=5, recalculate_item=True, item_users=audience)
    np.testing.assert_allclose(asked(model)[1], asked(bare)[1], rtol=1e-6)


def test_models_without_item_factors_still_have_none():
    model = fit("ease", GIVEN)
    with pytest.raises(ValueError, match="EASE has no item_factors"):
        model.similar_items(0)
    assert fit("item-knn", GIVEN).similar_items(3, N=1)[0].tolist() == [3]


@pytest.mark.parametrize("name", ["als", "ease"])
def test_auto_without_held_out_pairs_is_nothing_and_says_so(name):
    with pytest.warns(NoValidationWarning, match="terms is 'auto'") as caught:
        model = fit(name, "auto")
    assert caught[0].message.argument == "terms"
    assert model.terms_.strengths == {}
    np.testing.assert_array_equal(all_scores(model), all_scores(fit(name, {})))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("terms", [{"popularty": 1.0}, {"popularity": -1.0}, {"filter": float("nan")}, "atuo", 3])
def test_wrong_terms_are_one_error(name, terms):
    with pytest.raises((InputError, TypeError), match=r"^terms is ") as caught:
        MODELS[name](terms=terms)
    assert caught.value.argument == "terms"


@pytest.mark.parametrize("name", [name for name in MODELS if name not in WITH_FACTORS])
def test_dial_and_norm_need_factors(name):
    with pytest.raises(InputError, match="dial and norm") as caught:
        fit(name, {"norm": -0.5})
    assert caught.value.argument == "terms"


@pytest.mark.parametrize("name", MODELS)
def test_again_learns_other_pairs_with_what_was_decided(name):
    whole = TRAIN.matrix + VALID.matrix
    model = MODELS[name](terms="auto").fit(TRAIN, VALID, show_progress=False)
    again = model.again(whole)
    assert again is not model
    assert again.history == model.history
    assert again.terms == again.terms_.strengths == model.terms_.strengths
    # with what was decided, a model of its own is the same
    decided = {"terms": model.terms_.strengths}
    if hasattr(model, "epochs"):
        decided["epochs"] = [record["epoch"] for record in model.history if record["best"]][-1]
    if isinstance(model, Contrastive):
        decided["score"] = model.chosen_.score
    alone = type(model)(**model.get_params() | decided).fit(whole, show_progress=False)
    users = np.arange(whole.shape[0])
    for mine, other in zip(again.recommend(users, N=10), alone.recommend(users, N=10), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_again_keeps_the_width_of_the_block_and_goes_on_without_one():
    model = MODELS["als"](terms={"block": 0.5})
    model._block_dim = 5
    assert model.fit(TRAIN, show_progress=False).terms_.width_of_block == 5
    model.terms = {"popularity": 1.0}
    assert model.fit(TRAIN, show_progress=False).terms_.strengths == {"popularity": 1.0}
