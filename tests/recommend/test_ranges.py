"""The ranges of the hyper-parameters: their ends are accepted, everything beyond is an error that names the field."""

import dataclasses
import pickle
import re

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

import baselines
from buir import BUIR
from buir.errors import InputError
from buir.recommend import Recommender, check_parameters
from tests.support.invalid_values import invalid_values

OTHERS = ("Refused", "assess_levels", "assess_negatives")
MODELS = [BUIR, *(getattr(baselines, name) for name in baselines.__all__ if name not in OTHERS)]
SEEN = csr_array(np.eye(3))

WRONG = [
    pytest.param(model, name, value, id=f"{model.__name__}-{name}-{repr(value)[:20]}")
    for model in MODELS
    for name, value in invalid_values(model)
]


@pytest.mark.parametrize(("model", "name", "value"), WRONG)
def test_a_wrong_value_is_told_by_its_field(model, name, value):
    with pytest.raises((TypeError, ValueError)) as caught:
        model(**{name: value}).fit(SEEN, show_progress=False)
    assert caught.value.argument == name
    assert str(caught.value).startswith(f"{name} is {value!r}; expected ")
    assert pickle.loads(pickle.dumps(caught.value)).argument == name  # as it comes from a worker


def test_every_field_has_wrong_values():
    for model in MODELS:
        fields = {field.name for field in dataclasses.fields(model) if field.init}
        assert {name for name, _ in invalid_values(model)} == fields
        assert set(model().get_params()) == fields


@pytest.mark.parametrize(
    ("settings", "kind", "said"),
    [
        (
            {"epochs": 1.5},
            TypeError,
            "epochs is 1.5; expected a whole number of at least 0 or 'auto'; the default is 'auto'",
        ),
        ({"n_layers": -1}, InputError, "expected a whole number of at least 0 and at most 100; the default is 2"),
        (
            {"momentum": 1},
            InputError,
            "momentum is 1; expected a number of at least 0 and below 1; the default is 0.9",
        ),
        ({"learning_rate": "fast"}, TypeError, "expected a number above 0; the default is 0.002"),
        ({"batch_size": 0}, InputError, "expected a whole number of at least 1 or 'auto'; the default is 'auto'"),
        ({"batch_size": "aut"}, InputError, "expected a whole number of at least 1 or 'auto'; did you mean 'auto'?"),
        ({"encoder": "grpah"}, InputError, "expected one of 'id', 'graph', 'walk'; did you mean 'graph'?"),
        ({"row_sparse": 1}, TypeError, "expected one of True, False, 'auto'; the default is 'auto'"),
        (
            {"valid_metric": "auc"},
            InputError,
            "expected a text of a metric and a length up to 1,000, such as 'ndcg_at_20'",
        ),
        ({"device": 3}, TypeError, "device is 3; expected a text; the default is 'auto'"),
    ],
)
def test_the_sentence(settings, kind, said):
    with pytest.raises(kind) as caught:
        check_parameters(BUIR, BUIR(**settings).get_params())
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"encoder": "graph", "row_sparse": True}, "row_sparse"),
        ({"encoder": "id", "edge_drop_rate": 0.1}, "edge_drop_rate"),
    ],
)
def test_values_that_do_not_go_together(settings, name):
    with pytest.raises(InputError, match=rf"^{name} is .* with encoder '{settings['encoder']}'; ") as caught:
        BUIR(**settings).fit(SEEN)
    assert caught.value.argument == name


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": 0},
        {"seed": 2**63 - 1},
        {"embedding_dim": 65_536},
        {"n_layers": 100},
        {"walks": 10_000},
        {"epochs": 10**18},
        {"batch_size": 2**31},
        {"learning_rate": 1e308},
        {"learning_rate": 1},
        {"edge_drop_rate": 0.999, "encoder": "graph"},
        {"uniformity": 0},
        {"uniformity": "auto"},
        {"terms": {}},
        {"terms": {"popularity": 0, "norm": -1.5, "dial": np.float64(0.5)}},
        {"epochs": 0},
        {"row_sparse": True},
        {"valid_metric": "recall_at_1000"},
    ],
)
def test_the_ends_are_part_of_the_range(settings):
    check_parameters(BUIR, BUIR(**settings).get_params())


def test_numpys_numbers_and_torchs_devices_are_taken_as_pythons():
    als = baselines.ALS(factors=np.int64(1), alpha=np.float32(0.5), regularization=0)
    assert als.get_params() | {"factors": 1, "alpha": 0.5} == als.get_params()
    assert [type(als.factors), type(als.alpha)] == [int, float]
    assert baselines.LightGCN(device=torch.device("cpu")).device == "cpu"
    assert BUIR(device=torch.device("cpu"), seed=np.uint8(3)).get_params() == BUIR(device="cpu", seed=3).get_params()


def test_a_model_of_ones_own_says_its_ranges_in_its_fields_or_says_nothing():
    @dataclasses.dataclass(kw_only=True, eq=False)
    class Own(Recommender):
        anything: object = None
        steps: int = 3

    assert repr(Own(anything=[1])).endswith("Own(anything=[1], steps=3)")
    with pytest.raises(TypeError, match="steps is '3'; expected a whole number; the default is 3"):
        Own(steps="3")


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"filtr": 1.0}, "'filtr' is no term; did you mean 'filter'?"),
        ({"popularity": -1}, "popularity is -1, not from 0 to 1,000,000"),
        ({"dial": 50}, "dial is 50, not from -4 to 4"),
        ({"filter": 1e30}, "filter is 1e+30, not from 0 to 1,000,000"),
        ({"block": True}, "block is True, not from 0 to 1,000,000"),
    ],
)
def test_a_wrong_strength_says_what_is_wrong(terms, said):
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        check_parameters(BUIR, {"terms": terms})
    assert caught.value.argument == "terms"
