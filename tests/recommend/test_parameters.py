"""The ranges of the hyper-parameters: their ends are accepted, what lies beyond is told by its bound."""

import re

import pytest

from buir.model.estimator import BUIR
from buir.recommend.ranges import LONGEST_LIST, check_parameters


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": 0},
        {"seed": 2**63 - 1},
        {"embedding_dim": 65_536},
        {"n_layers": 100},
        {"walks": 10_000},
        {"epochs": 2**31 - 1},
        {"batch_size": 2**31 - 1},
        {"learning_rate": 1e38},
        {"uniformity": 0},
        {"valid_metric": "recall_at_1000"},
    ],
)
def test_the_ends_are_part_of_the_range(settings):
    check_parameters(BUIR(**settings).get_params())


TOO_MUCH = {
    "seed": (2**70, f"seed is {2**70}; expected a whole number of at most 9,223,372,036,854,775,807"),
    "embedding_dim": (
        99999999999999999999,
        "embedding_dim is 99999999999999999999; expected a whole number of at most 65,536",
    ),
    "n_layers": (99999999999, "n_layers is 99999999999; expected a whole number of at most 100"),
    "walks": (10_001, "walks is 10001; expected a whole number of at most 10,000"),
    "batch_size": (2**31, "batch_size is 2147483648; expected a whole number of at most 2,147,483,647 or 'auto'"),
    "epochs": (10**400, "expected a whole number of at most 2,147,483,647"),
    "learning_rate": (
        1e300,
        "learning_rate is 1e+300; expected a number of at most 3.4e+38, as float32 holds it",
    ),
    "weight_decay": (10**400, "expected a number of at most 3.4e+38"),
    "uniformity": (float("inf"), "uniformity is inf; expected a number at least 0"),
    "popularity": (float("nan"), "popularity is nan; expected a number at least 0 or 'auto'"),
    "valid_metric": (
        "precision_at_99999999",
        "valid_metric is 'precision_at_99999999'; expected a length of at most 1,000, such as 'precision_at_20'",
    ),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_no_array_loop_or_generator_can_hold(name):
    value, text = TOO_MUCH[name]
    with pytest.raises(ValueError, match=re.escape(text)):
        check_parameters(BUIR(**{name: value}).get_params())


@pytest.mark.parametrize("length", [str(LONGEST_LIST + 1), "9" * 5000])
def test_a_length_beyond_the_longest_list(length):
    with pytest.raises(ValueError, match=r"expected a length of at most 1,000, such as 'ndcg_at_20'$"):
        check_parameters(BUIR(valid_metric=f"ndcg_at_{length}").get_params())
