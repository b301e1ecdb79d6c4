"""Hyper-parameters explained, asked by the names of other libraries, and set and copied as scikit-learn does."""

import copy
import dataclasses
import inspect
import pydoc
import re

import numpy as np
import pytest
from scipy.sparse import csr_array

import baselines
from buir import BUIR
from buir.errors import InputError, NotFittedError, UnknownParameterError
from buir.recommend import Recommender, answer, estimator, parameters_of

OTHERS = ("Refused", "assess_levels", "assess_negatives")
MODELS = [BUIR, *(getattr(baselines, name) for name in baselines.__all__ if name not in OTHERS)]
SEEN = csr_array(np.eye(4))
TINY = {"embedding_dim": 4, "epochs": 1, "batch_size": 4, "device": "cpu"}

each_model = pytest.mark.parametrize("model", MODELS)


def settings(model):
    return [field.name for field in dataclasses.fields(model) if field.init]


# Explained


@each_model
def test_help_has_the_text_of_every_field_with_its_range(model):
    page = " ".join(pydoc.render_doc(model, renderer=pydoc.plaintext).split())
    for one in parameters_of(model):
        default = getattr(model(), one.name)
        entry = " ".join(f"{one.name} : {one.expected}; default {default!r} {one.about}".replace(" |", "").split())
        assert entry in page.replace(" |", "")


@each_model
def test_every_text_says_when_to_touch_it(model):
    texts = {one.name: one.about for one in parameters_of(model)}
    assert list(texts) == settings(model)
    for name in settings(model):
        assert texts[name].endswith(".")
        assert re.search(r"(^|[.;] )(Raise|Lower|Leave|Take|Set)\b", texts[name]), (name, texts[name])


@each_model
def test_the_section_stands_where_numpydoc_wants_it(model):
    titles = re.findall(r"^(\w+)\n-+$", inspect.getdoc(model), re.MULTILINE)
    order = ["Parameters", "Notes", "References", "Examples"]
    assert titles[0] == "Parameters"
    assert sorted(titles, key=order.index if model is BUIR else titles.index) == titles
    assert titles.count("Parameters") == 1


def test_an_entry_by_hand():
    @estimator
    class Own(Recommender):
        """Do nothing.

        Notes
        -----
        Twice.
        """

        steps: int = 3
        """How often,
        as a number."""
        seed: int = 0

    page = (
        "Do nothing.\n\nParameters\n----------\nsteps : a whole number; default 3\n    How often, as a number.\n"
        "seed : a whole number; default 0\n\nNotes\n-----\nTwice."
    )
    assert Own.__doc__ == inspect.getdoc(Own) == Own().__doc__ == page
    assert repr(Own(steps=4)).endswith("Own(steps=4, seed=0)")


def test_without_a_source_the_ranges_are_left(monkeypatch):
    def gone(_):
        raise OSError

    monkeypatch.setattr(inspect, "getsource", gone)
    assert {one.about for one in parameters_of(BUIR)} == {""}


def test_nothing_is_read_before_somebody_asks():
    @estimator
    class Own(Recommender):
        """Do nothing."""

        steps: int = 3
        """How often."""

    explained = vars(Own)["__doc__"]
    assert explained.whole == ""
    assert "How often." in Own.__doc__
    assert explained.whole == Own.__doc__


# Names of other libraries

ANSWERS = [
    (BUIR, {"factors": 64}, "'factors': here it is embedding_dim=64"),
    (BUIR, {"no_components": 30}, "here it is embedding_dim=30"),
    (BUIR, {"embedding_size": 30}, "here it is embedding_dim=30"),
    (BUIR, {"n_components": 1.5}, "here it is embedding_dim, by default 'auto'"),
    (BUIR, {"iterations": 15}, "here it is epochs=15"),
    (BUIR, {"max_iter": 15}, "here it is epochs=15"),
    (BUIR, {"random_state": 42}, "here it is seed=42"),
    (BUIR, {"random_state": None}, "here it is seed, by default 0"),
    (BUIR, {"regularization": 0.01}, "here it is weight_decay, on a scale of its own, by default 0.0"),
    (BUIR, {"num_threads": 4}, "threads are torch's"),
    (BUIR, {"n_jobs": -1}, "threads are torch's"),
    (BUIR, {"use_gpu": True}, "here it is device='cuda'"),
    (BUIR, {"use_gpu": False}, "here it is device='cpu'"),
    (BUIR, {"gpu_id": 1}, "here it is device='cuda:1'"),
    (BUIR, {"lr": 0.1}, "here it is learning_rate=0.1"),
    (BUIR, {"stopping_step": 3}, "here it is patience=3"),
    (BUIR, {"train_batch_size": 512}, "here it is batch_size=512"),
    (BUIR, {"neg_prop": 30}, "it learns from positives alone"),
    (BUIR, {"negatives": 30}, "it learns from positives alone"),
    (BUIR, {"alpha": 40}, r"pairs get weights in fit\(..., weights=...\)"),
    (BUIR, {"K": 20}, "it has no neighbours"),
    (BUIR, {"loss": "warp"}, "its loss is its own"),
    (BUIR, {"verbose": 1}, r"it belongs to fit\(..., show_progress=True\)"),
    (BUIR, {"dtype": np.float64}, "vectors are float32"),
    (BUIR, {"tau": 0.9}, "here it is momentum=0.9"),
    (BUIR, {"embeding_dim": 3}, "did you mean 'embedding_dim'?"),
    (BUIR, {"zzz": 3}, "valid names: encoder, embedding_dim, "),
    (BUIR, {"popularity": 0.3}, r"it is a term of the score now, terms={'popularity': 0.3}"),
    (baselines.ALS, {"embedding_dim": 32}, "here it is factors=32"),
    (baselines.ALS, {"epochs": 3}, "here it is iterations=3"),
    (baselines.ALS, {"use_gpu": False}, "it is fitted on the CPU"),
    (baselines.ALS, {"use_native": True}, "a solver of implicit"),
    (baselines.ALS, {"learning_rate": 0.1}, "its training has no step size"),
    (baselines.BPR, {"num_threads": 4}, "it takes one thread"),
    (baselines.LMF, {"neg_prop": 30}, "here it is negatives"),
    (baselines.ItemKNN, {"K": 20}, "here it is neighbours=20"),
    (baselines.ItemKNN, {"K1": 1.5}, "here it is bm25_k1=1.5"),
    (baselines.EASE, {"factors": 64}, "it has no vectors whose width"),
    (baselines.LowRankFilter, {"factors": 64}, "here it is rank=64"),
    (baselines.LightGCN, {"random_state": 1}, "here it is seed=1"),
    (baselines.Contrastive, {"tau": 0.1}, "here it is temperature=0.1"),
    (baselines.Contrastive, {"alpha": 40}, "it takes no weights of pairs"),
    (baselines.Popularity, {"n_jobs": 2}, "threads are torch's"),
]


@pytest.mark.parametrize(("model", "given", "said"), ANSWERS)
def test_a_name_of_another_library_is_answered(model, given, said):
    for make in (model, model().set_params):
        with pytest.raises(UnknownParameterError, match=said) as caught:
            make(**given)
        assert str(caught.value).startswith(f"{model.__name__} has no parameter ")
        assert "\n" not in str(caught.value)
        assert caught.value.argument == next(iter(given))
        assert isinstance(caught.value, TypeError)
        assert isinstance(caught.value, ValueError)


def test_all_unknown_names_are_answered_at_once():
    with pytest.raises(UnknownParameterError) as caught:
        BUIR(factors=8, seed=3, iterations=2)
    assert str(caught.value) == (
        "BUIR has no parameter 'factors': here it is embedding_dim=8; no 'iterations': here it is epochs=2"
    )
    with pytest.raises(UnknownParameterError, match=r"BUIR got 50 by its place; expected .* such as encoder='walk'"):
        BUIR(50)


@each_model
def test_every_name_that_implicit_knows_has_an_answer(model):
    theirs = (
        "factors regularization alpha dtype use_native use_cg use_gpu iterations calculate_training_loss num_threads"
    )
    theirs += " random_state learning_rate verify_negative_samples neg_prop K K1 B"
    for name in theirs.split():
        if name not in settings(model):
            assert "valid names" not in answer(model, name, 1)
            assert "did you mean" not in answer(model, name, 1)


@each_model
def test_an_answer_can_be_followed(model):
    for names, value in (("factors", 3), ("iterations", 2), ("random_state", 5), ("lr", 0.25), ("use_gpu", False)):
        here = re.fullmatch(r"here it is (\w+)=(.*)", answer(model, names, value))
        if names not in settings(model) and here:
            assert str(getattr(model(**{here[1]: eval(here[2])}), here[1])) == here[2].strip("'")


VERBS = [
    (BUIR, "partial_fit_users", r"here it is partial_fit\(new_pairs\)"),
    (BUIR, "partial_fit_items", r"here it is partial_fit\(new_pairs\)"),
    (BUIR, "recalculate_user", r"here it is recommend\(range\(n\), rows, recalculate_user=True\)"),
    (BUIR, "recalculate_item", r"here it is similar_items\(range\(n\), recalculate_item=True, item_users=rows\)"),
    (BUIR, "predict", "lists are recommend's"),
    (BUIR, "item_embeddings", "here it is item_factors"),
    (BUIR, "rank_items", "items=items, filter_already_liked_items=False"),
    (baselines.ALS, "partial_fit_users", "here it is fit with old and new pairs"),
    (baselines.ALS, "partial_fit", "here it is fit with old and new pairs"),
    (baselines.ALS, "save", "BUIR alone has a file"),
    (baselines.EASE, "explain", "BUIR alone explains"),
]


@pytest.mark.parametrize(("model", "verb", "said"), VERBS)
def test_a_verb_of_another_library_is_answered(model, verb, said):
    for one in (model(), model(**(TINY if model is BUIR else {})).fit(SEEN, show_progress=False)):
        assert not hasattr(one, verb)
        with pytest.raises(AttributeError, match=f"has no attribute '{verb}': .*{said}") as caught:
            getattr(one, verb)
        assert not isinstance(caught.value, NotFittedError)


def test_the_verbs_that_are_named_do_that():
    model = BUIR(**TINY).fit(SEEN, show_progress=False)
    rows = csr_array(np.eye(4)[:2])
    assert model.recommend(range(2), rows, recalculate_user=True)[0].shape == (2, 4)
    assert model.similar_items(range(2), recalculate_item=True, item_users=rows)[0].shape == (2, 4)
    assert model.scorer().score_block(np.arange(2)).shape == (2, 4)
    ranked, scores = model.recommend(0, rows[[0]], items=[2, 0], filter_already_liked_items=False)
    assert sorted(ranked) == [0, 2]
    assert scores[0] >= scores[1]


# callback


@pytest.mark.parametrize("model", [BUIR, baselines.Popularity, baselines.LightGCN])
def test_a_callback_of_another_shape_is_told_before_training(model):
    def progress(iteration, elapsed, loss):
        raise AssertionError

    with pytest.raises(
        InputError, match=r"callback takes \(iteration, elapsed, loss\); expected .* one dict"
    ) as caught:
        model().fit(SEEN, callback=progress)
    assert caught.value.argument == "callback"
    with pytest.raises(TypeError, match="callback is 3; expected a function of one dict"):
        model().fit(SEEN, callback=3)


def test_callbacks_of_one_record():
    for callback in (lambda record: None, lambda record, more=3: None, lambda *records: None, [].append, dict):
        BUIR(**TINY).fit(SEEN, callback=callback, show_progress=False)
    with pytest.raises(InputError, match="callback takes"):
        BUIR(**TINY).fit(SEEN, show_progress=False).partial_fit(SEEN, callback=lambda: None)


# As scikit-learn asks


def cloned(model):
    """What `sklearn.base.clone` promises: a new model of copies of the parameters, each of which it must keep as given."""
    given = {name: copy.deepcopy(value) for name, value in model.get_params(deep=False).items()}
    new = type(model)(**given)
    for name, value in new.get_params(deep=False).items():
        assert value is given[name]
    return new


def cloned_by_sklearn(model):
    return pytest.importorskip("sklearn.base").clone(model)


@each_model
@pytest.mark.parametrize("clone", [cloned, cloned_by_sklearn])
def test_clones(model, clone):
    changed = {"seed": 11} | ({"terms": {"popularity": 0.25}} if "terms" in settings(model) else {})
    original = model(**changed)
    if model in (BUIR, baselines.ALS, baselines.Popularity):
        original = model(**changed, **(TINY if model is BUIR else {})).fit(SEEN, show_progress=False)
    new = clone(original)
    assert type(new) is model
    assert new is not original
    assert new.get_params() == original.get_params()
    with pytest.raises(NotFittedError):
        new.n_users  # noqa: B018
    if "terms" in changed:
        assert new.terms is not original.terms


def test_clones_keep_arrays_and_functions():
    model = baselines.Contrastive(sampler=sum, groups=np.array([0, 1]))
    for clone in (cloned, cloned_by_sklearn):
        assert clone(model).sampler is sum
        np.testing.assert_array_equal(clone(model).groups, [0, 1])


@each_model
def test_parameters_are_got_and_set(model):
    one = model()
    assert one.get_params(deep=True) == one.get_params(deep=False) == one.get_params()
    assert one.set_params(seed=np.int64(5)) is one
    assert (one.seed, type(one.seed)) == (5, int)
    assert one.set_params() is one
    assert one.get_params() == model(seed=5).get_params()


def test_parameters_are_set_together_or_not_at_all():
    als = baselines.ALS()
    with pytest.raises(ValueError, match="factors is 0; expected a whole number of at least 1"):
        als.set_params(iterations=3, factors=0)
    with pytest.raises(ValueError, match="has no parameter 'epochs'"):
        als.set_params(iterations=3, epochs=5)
    assert als.get_params() == baselines.ALS().get_params()


def test_what_was_learned_stays_until_the_next_fit():
    model = BUIR(**TINY).fit(SEEN, show_progress=False)
    before = model.item_factors.copy()
    model.set_params(embedding_dim=2)
    np.testing.assert_array_equal(model.item_factors, before)
    assert model.fit(SEEN, show_progress=False).weights_.table.shape == (8, 2)


PAIRS = csr_array(np.eye(4))
Popularity = baselines.Popularity


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"epochs": 3}, r"^BUIR.fit has no argument 'epochs': it belongs to the constructor, BUIR\(epochs=3\)$"),
        ({"num_epochs": 3}, "'num_epochs': here it is epochs=3, in the constructor"),
        ({"num_threads": 4}, "'num_threads': threads are torch's"),
        ({"sample_weight": [1.0]}, "'sample_weight': here it is weights$"),
        ({"item_features": PAIRS}, "'item_features': nothing is learned from features"),
        ({"verbose": 2}, "'verbose': here it is show_progress"),
        ({"callbacks": []}, "'callbacks': here it is callback$"),
        ({"validation_data": PAIRS}, "'validation_data': here it is valid$"),
        ({"y": None}, "'y': all pairs that are given are positives"),
        ({"valdi": PAIRS}, r"'valdi': did you mean 'valid'\?"),
        ({"epoch": 3}, r"'epoch': did you mean 'epochs', of the constructor\?"),
        ({"train_data": PAIRS, "saved": True}, "'train_data': here it is user_items; no 'saved': model.save"),
    ],
)
def test_fit_answers_the_arguments_of_other_libraries(arguments, said):
    with pytest.raises(UnknownParameterError, match=said) as caught:
        BUIR(epochs=1).fit(*([] if "train_data" in arguments else [PAIRS]), **arguments)
    assert isinstance(caught.value, TypeError)
    assert caught.value.argument == next(iter(arguments))


def test_other_methods_and_models_answer_too():
    with pytest.raises(UnknownParameterError, match=r"^Popularity.fit has no argument 'user_features': nothing is"):
        Popularity().fit(PAIRS, user_features=PAIRS)
    with pytest.raises(
        UnknownParameterError, match=r"expected at most 2 \(user_items, valid\): give the others by their"
    ):
        BUIR().fit(PAIRS, PAIRS, True)
    model = Popularity().fit(PAIRS)
    for call, said in (
        (lambda: model.recommend(0, k=2), "Popularity.recommend has no argument 'k': here it is N=2"),
        (lambda: model.recommend(0, remove_seen=False), "here it is filter_already_liked_items=False"),
        (lambda: model.recommend_frame(top_n=2), "here it is k=2"),
        (lambda: model.recommend_frame(user_ids=[1]), "here it is users$"),
        (lambda: model.similar_items(0, topk=2), "here it is N=2"),
    ):
        with pytest.raises(UnknownParameterError, match=said):
            call()
    assert model.recommend(0, N=2)[0].shape == (2,)
    assert list(inspect.signature(BUIR.fit).parameters)[:3] == ["self", "user_items", "valid"]
