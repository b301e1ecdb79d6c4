"""What samplers are like: hand numbers, exact counts, and that no training pair counts."""

import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array

from baselines import ALS, Popularity, assess_levels, assess_negatives
from baselines.contrast import KnownPairs, expected_capability, make_samplers
from baselines.contrast.samplers import row_scores, similar_groups
from buir.data import datasets, fit_inputs, nested_split
from buir.errors import InputError


def long_tailed(n_users: int = 150, n_items: int = 200, seed: int = 0) -> tuple[csr_array, csr_array]:
    rng = np.random.default_rng(seed)
    taken = rng.random((n_users, n_items)) < 0.6 / (1 + np.arange(n_items)) ** 0.6
    held = taken & (rng.random(taken.shape) < 0.3)
    train = taken & ~held
    # everybody has something in either part, and every item somebody
    train[np.arange(n_items) % n_users, np.arange(n_items)] = True
    held &= ~train
    for user in np.flatnonzero(~held.any(axis=1)):
        held[user, np.flatnonzero(~train[user])[0]] = True
    return csr_array(train.astype(np.float32)), csr_array(held.astype(np.float32))


TRAIN, VALID = long_tailed()


class Fixed:
    """A model whose user 0 has cosine .5 with item 0 and .6, .4, .2 with the others."""

    user_factors = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    item_factors = np.array([[c, math.sqrt(1 - c * c)] for c in (0.5, 0.6, 0.4, 0.2)], dtype=np.float32)


def one_user(drawn: list[int]) -> dict[str, float]:
    # the other one has everything and nothing to draw
    train = csr_array(np.array([[1.0, 0, 0, 0], [1, 1, 1, 1]], dtype=np.float32))
    table = assess_negatives(train, model=Fixed, samplers={"fixed": lambda *_: torch.tensor([drawn])})
    return table.iloc[0].to_dict()


def test_by_hand():
    found = one_user([1, 2, 3])
    assert found["hardness"] == pytest.approx(0.4)
    assert found["safety"] == pytest.approx(2 / 3)
    assert found["negatives"] == 3
    assert found["eci"] == pytest.approx(0.693147, abs=1e-6)
    part = np.exp(np.array([6.0, 4.0, 2.0]))
    part /= part.sum()
    assert found["effective_negatives"] == pytest.approx(np.exp(-(part * np.log(part)).sum()), rel=1e-5)
    assert found["hard_share"] == pytest.approx(1 / 3)
    assert math.isnan(found["lift"])
    assert expected_capability(0.4, 2 / 3, 3) == pytest.approx(0.693147, abs=1e-6)


def test_what_outdoes_its_pair_is_not_safe_and_repeats_and_training_pairs_do_not_count():
    assert one_user([1])["eci"] == 0
    again = one_user([1, 2, 3, 2, 0, 0, 1])
    assert {name: again[name] for name in again if name != "seconds"} == pytest.approx(
        {name: value for name, value in one_user([1, 2, 3]).items() if name != "seconds"}, nan_ok=True
    )


def test_the_lift_of_even_draws_is_one_and_that_of_popularity_is_more():
    table = assess_negatives(TRAIN, VALID, n=32).set_index("sampler")
    lift = table["lift"]
    assert lift["uniform"] == pytest.approx(1, abs=0.04)
    assert 1.2 < lift["popularity^0.5"] < lift["popularity"]
    assert lift["uniform"] < lift["mixed"] < lift["popularity"]
    assert table["hardness"]["hardest"] > 1.5 * table["hardness"]["uniform"]
    assert table["safety"].between(0, 1).all()
    assert (table["effective_negatives"] <= table["negatives"]).all()
    assert table["false_negative_rate"]["uniform"] / lift["uniform"] == pytest.approx(
        table["false_negative_rate"]["popularity"] / lift["popularity"]
    )


def test_a_sampler_of_held_out_pairs_has_the_inverse_of_the_base_rate():
    first = torch.from_numpy(VALID.indices[VALID.indptr[:-1]].astype(np.int64))
    table = assess_negatives(TRAIN, VALID, samplers={"held out": lambda users, *_: first[users][:, None]}, pairs=10**6)
    lengths, held = np.diff(TRAIN.indptr), np.diff(VALID.indptr)
    base = np.repeat(held / (TRAIN.shape[1] - lengths), lengths).mean()
    assert table["false_negative_rate"][0] == 1
    assert table["lift"][0] == pytest.approx(1 / base, rel=1e-5)


def test_popularity_is_drawn_by_its_power():
    degrees = np.arange(9)[:, None] < np.array([0, 1, 9, 4])
    known = KnownPairs(csr_array(degrees.astype(np.float32)), torch.device("cpu"))
    samplers = make_samplers(known, torch.zeros(1, 2), torch.zeros(4, 2), 50_000)
    for name, expected in (("popularity", [0, 1 / 14, 9 / 14, 4 / 14]), ("popularity^0.5", [0, 1 / 6, 3 / 6, 2 / 6])):
        drawn = samplers[name](torch.tensor([0]), torch.tensor([0]), 3)
        np.testing.assert_allclose(torch.bincount(drawn[0], minlength=4) / 50_000, expected, atol=0.01)


def test_a_fitted_model_gives_the_scores_and_the_seed_decides():
    model = ALS(factors=8, iterations=3).fit(TRAIN, show_progress=False)
    tables = [
        assess_negatives(TRAIN, VALID, model=m, n=8, seed=seed).drop(columns="seconds")
        for m, seed in ((model, 0), (model, 0), (None, 0), (model, 1))
    ]
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])
    assert not tables[0].equals(tables[3])


def test_a_samplers_mistake_is_one_error():
    with pytest.raises(InputError, match="sampler returned") as caught:
        assess_negatives(TRAIN, samplers={"mine": lambda users, *_: users})
    assert caught.value.argument == "sampler"


@pytest.mark.parametrize("setting", [{"n": 0}, {"pairs": 0}, {"temperature": 0.0}, {"temperature": math.nan}])
def test_settings_out_of_range_are_named(setting):
    with pytest.raises(InputError, match=r"expected (a whole number of at least 1|a number above 0)") as caught:
        assess_negatives(TRAIN, **setting)
    assert caught.value.argument in setting


def test_scores_of_rows_are_the_same_read_and_in_one_product():
    generator = torch.Generator().manual_seed(0)
    users, items = torch.randn(70, 3, generator=generator), torch.randn(60, 3, generator=generator)
    for width in (1, 5):  # 60 items are fewer than 50 rows' worth only of the wide one
        rows = torch.randint(60, (70, width), generator=generator)
        torch.testing.assert_close(row_scores(users, items, rows), (users @ items.T).gather(1, rows))


def test_groups_are_of_similar_items_and_draws_are_even_within_the_pairs():
    angle = torch.cat([torch.linspace(0, 0.1, 8), torch.linspace(3, 3.1, 8)])
    items = torch.stack([angle.cos(), angle.sin()], dim=1)
    groups = similar_groups(items)
    assert not set(groups[:8].tolist()) & set(groups[8:].tolist())
    assert set(groups.tolist()) == set(range(int(groups.max()) + 1))
    known = KnownPairs(csr_array(np.ones((1, 16), dtype=np.float32)), torch.device("cpu"))
    draw = make_samplers(known, items[:1], items, 20_000)["group"]
    for positive in (0, 15):
        drawn = torch.bincount(draw(torch.tensor([0]), torch.tensor([positive]), 1)[0], minlength=16) / 20_000
        mine = groups == groups[positive]
        np.testing.assert_allclose(drawn, mine / mine.sum(), atol=0.015)


def test_levels_count_what_is_hidden_and_leave_the_test_part_alone():
    whole = csr_array(((TRAIN + VALID) > 0).astype(np.float32))
    table = assess_levels(whole, [1.0, 0.3, 0.3], n=32, pairs=10**6, seed=4)
    assert table["level"].unique().tolist() == [0.3, 1.0]
    for level, part in table.groupby("level"):
        split = nested_split(whole, level, seed=4)
        assert part["train_pairs"].unique().tolist() == [split.train.n_pairs]
        hidden = whole.nnz - split.train.n_pairs - split.test.n_pairs
        assert part["hidden_pairs"].unique().tolist() == [hidden]
        # by hand: what even draws find is what there is to be found
        degrees = np.diff(split.train.matrix.indptr)
        of_users = np.diff(split.valid.matrix.indptr) + np.diff(split.dropped.matrix.indptr)
        rate = np.repeat(of_users / (whole.shape[1] - degrees), degrees).mean()
        assert part["false_negative_rate"].iloc[0] == pytest.approx(rate, rel=0.05)
    rates = table.pivot_table(index="level", columns="sampler", values="false_negative_rate")
    assert (rates.loc[0.3] > 2 * rates.loc[1.0]).all()


def busy_and_idle() -> tuple[csr_array, csr_array]:
    """Half of the users have nearly everything, so that few of their draws count."""
    rng = np.random.default_rng(3)
    share = np.repeat([0.85, 0.05], 150)[:, None]
    taken = rng.random((300, 100)) < share
    taken[:, :4] = True
    held = np.zeros_like(taken)
    for user in range(300):
        held[user, rng.choice(np.flatnonzero(taken[user]), 2, replace=False)] = True
    return csr_array((taken & ~held).astype(np.float32)), csr_array(held.astype(np.float32))


@pytest.mark.parametrize("n", [1, 4, 64])
def test_even_draws_are_no_better_than_chance_where_some_pairs_get_none(n):
    table = assess_negatives(*busy_and_idle(), n=n, pairs=100_000).set_index("sampler")
    assert table.loc["uniform", "lift"] == pytest.approx(1, abs=0.06)


def test_ties_are_not_hard():
    train = csr_array(np.eye(7, dtype=np.float32))
    alike = Fixed()
    alike.user_factors, alike.item_factors = np.ones((7, 2), np.float32), np.ones((7, 2), np.float32)
    drawn = torch.arange(7).repeat(7, 1)
    assert assess_negatives(train, model=alike, samplers={"all": lambda *_: drawn})["hard_share"][0] == 0


def test_without_negatives_nothing_is_said():
    train = csr_array(np.eye(3, dtype=np.float32))
    found = assess_negatives(train, samplers={"own": lambda _, items, __: items[:, None]}).iloc[0]
    assert found[["hardness", "safety", "eci"]].isna().all()


def frame_and_als(**settings):
    frame = datasets.load("synthetic", n_users=120, n_items=80, n_pairs=1500).to_frame()
    return frame, ALS(**settings).fit(frame)


def test_users_and_items_of_a_model_go_by_their_ids():
    frame, model = frame_and_als(terms={})
    some = frame[frame["user"] >= frame["user"].median()]
    asked = fit_inputs(some, None)[0]
    rows = {
        name: pd.Index(getattr(model, f"{name}_ids_")).get_indexer(pd.Index(getattr(asked, f"{name}_ids")))
        for name in ("user", "item")
    }
    same = Fixed()
    same.user_factors, same.item_factors = model.user_factors[rows["user"]], model.item_factors[rows["item"]]
    pd.testing.assert_frame_equal(
        assess_negatives(some, model=model).drop(columns="seconds"),
        assess_negatives(asked.matrix, model=same).drop(columns="seconds"),
    )


def test_the_terms_of_a_model_are_no_likeness():
    frame, bare = frame_and_als(terms={})
    _, popular = frame_and_als(terms={"popularity": 3.0})
    pd.testing.assert_frame_equal(
        assess_negatives(frame, model=bare).drop(columns="seconds"),
        assess_negatives(frame, model=popular).drop(columns="seconds"),
    )


def test_a_model_that_does_not_know_the_data_is_refused():
    frame, _ = frame_and_als(terms={})
    known = ALS(terms={}).fit(frame[frame["user"] < 60])
    with pytest.raises(InputError, match=r"does not know user \d+ and 59 more of the data; expected one that was"):
        assess_negatives(frame, model=known)
    with pytest.raises(
        InputError, match="is of type Fixed and has 2 users, the data have 120 users, and one of both goes"
    ):
        assess_negatives(frame, model=Fixed())
    nameless = Fixed()
    whole = ALS(terms={}).fit(frame)
    nameless.user_factors, nameless.item_factors = whole.user_factors, whole.item_factors
    with pytest.raises(InputError, match="expected the matrix that it was fitted on, or ids on both sides"):
        assess_negatives(frame, model=nameless)
    with pytest.raises(InputError, match="model is of type Popularity, which has no user_factors and item_factors"):
        assess_negatives(frame, model=Popularity().fit(frame))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"n": 1.5}, "n is 1.5; expected a whole number of at least 1"),
        ({"n": True}, "n is True; expected a whole number of at least 1"),
        ({"pairs": "x"}, "pairs is 'x'; expected a whole number of at least 1"),
        ({"seed": -1}, "seed is -1; expected a whole number of at least 0"),
        ({"temperature": "x"}, "temperature is 'x'; expected a number above 0"),
        ({"samplers": {}}, "samplers is {}; expected functions by name"),
        ({"samplers": [len]}, "expected functions by name"),
        ({"samplers": {"a": 5}}, "samplers holds 5 as 'a'; expected a function"),
    ],
)
def test_other_arguments_are_refused(wrong, said):
    with pytest.raises(InputError, match=re.escape(said)):
        assess_negatives(TRAIN, **wrong)


@pytest.mark.parametrize("levels", [0.5, (), "0.5"])
def test_levels_are_a_list(levels):
    with pytest.raises(InputError, match="expected a list of shares"):
        assess_levels(TRAIN, levels)
