"""One id as a row, as `explain` takes it, and what is told of anything else."""

import re

import numpy as np
import pandas as pd
import pytest

from buir.errors import UnknownIdError
from buir.model.estimator import BUIR
from buir.recommend.ids import ItemLists
from buir.recommend.lookup import Lookup

PAIRS = pd.DataFrame({"user": ["ann", "ann", "bob", "cat"], "item": [10, 20, 10, 30]})


@pytest.fixture(scope="module")
def model():
    return BUIR(encoder="graph", embedding_dim=4, epochs=1, batch_size=4, device="cpu").fit(PAIRS, show_progress=False)


def test_rows_by_hand():
    lookup = Lookup(np.array([30, 10, 20]), "item")
    assert [lookup.row(label, "item") for label in (10, np.int64(20), 30)] == [1, 2, 0]


WRONG = {
    "an unknown user": (
        ("eve", 10),
        UnknownIdError,
        "user is 'eve', an id unknown to the model; its user ids look like 'ann': expected one user of the training data: partial_fit adds",
    ),
    "an unknown item": (
        ("ann", "10"),
        UnknownIdError,
        "item is '10', an id unknown to the model; its item ids look like 10: expected one item of the training data: partial_fit adds",
    ),
    "a list": (
        (["ann", "bob"], 10),
        TypeError,
        "user is ['ann', 'bob'] of type list; expected one user id, an integer or a string: ask for one at a time",
    ),
    "a tuple": (("ann", (10, 20)), TypeError, "item is (10, 20) of type tuple; expected one item id"),
    "an array": (("ann", np.array([10])), TypeError, "item is array([10]) of type ndarray; expected one item id"),
    "nobody": ((None, 10), TypeError, "user is None of type NoneType; expected one user id"),
}


@pytest.mark.parametrize("name", WRONG)
def test_explain_takes_one_user_and_one_item(model, name):
    arguments, error, text = WRONG[name]
    with pytest.raises(error, match=f"^{re.escape(text)}") as caught:
        model.explain(*arguments)
    assert "unknown=" not in str(caught.value)


def test_an_unknown_id_says_of_what_kind_it_is():
    with pytest.raises(UnknownIdError) as caught:
        Lookup(np.array([1]), "item").rows(pd.Index([2]), "allow", strict=True)
    assert caught.value.noun == "item"
    assert caught.value.argument == "allow"
    assert "2; its item ids look like 1" in str(caught.value)


def test_lists_of_users_who_are_known_but_not_asked_or_have_a_history_only():
    asked, told = pd.Index([2]), pd.Index([9])
    users, items = Lookup(np.array([1, 2]), "user"), Lookup(np.array([5, 6]), "item")
    lists = ItemLists({1: [5], 9: [6], 2: [6]}, "deny", asked, items, users, told, strict=True)
    assert lists.named.tolist() == [True]
    assert lists.rows(np.array([0])).toarray().tolist() == [[0, 1]]
    for key in ("1", 3, ("a", 1), None, 2.5):
        with pytest.raises(UnknownIdError, match=r"^deny holds user ids unknown to the model: .*: correct these keys"):
            ItemLists({key: [5]}, "deny", asked, items, users, told, strict=True)
        passed = ItemLists({key: [5], 2: [5]}, "deny", asked, items, users, told, strict=False)
        assert passed.rows(np.array([0])).toarray().tolist() == [[1, 0]]
