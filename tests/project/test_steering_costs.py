"""The benchmark of steering: what it subtracts, counts and interpolates by hand, and a small run up to the figure."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from baselines import ALS
from benchmarks import steering
from benchmarks.ledger import Ledger
from benchmarks.steering import NONE, WAYS, Moved, Outcome, Topic, crossing, draw_topics, measure, worth
from buir.data import Interactions, nested_split
from tests.support.contract import training_matrix
from tests.support.factors import Fixed


@pytest.mark.parametrize("terms", [{}, {"filter": 0.5, "popularity": 0.4}])
def test_what_is_subtracted_by_a_slow_oracle_and_terms_stay(terms):
    model = ALS(factors=4, iterations=3, terms=terms).fit(training_matrix(), show_progress=False)
    users, items = (table[:, :4].astype(float) for table in (model.user_factors, model.item_factors))
    everybody, named = np.arange(len(users)), np.array([3, 5])
    before = model.scorer().score_block(everybody).numpy()
    for centred in (False, True):
        own, apart = (table - (table.mean(axis=0) if centred else 0) for table in (users, items))
        total = sum(apart[item] / np.linalg.norm(apart[item]) for item in named)
        expected = before - 0.7 * np.linalg.norm(own, axis=1, keepdims=True) * (items @ total)
        after = Moved(model, named, 0.7, centred=centred).score_block(everybody).numpy()
        np.testing.assert_allclose(after, expected, atol=1e-5)


def test_the_nearest_items_are_those_of_the_largest_cosines():
    items = np.array([[2.0, 0], [1, 1], [0, 9], [1, 0.1], [-1, 0]])
    model = Fixed(np.eye(2), items, csr_array(np.eye(2, 5)))
    assert sorted(steering.nearest(model, np.array([0]), 3).tolist()) == [0, 1, 3]
    assert len(steering.nearest(model, np.array([0]), 9)) == 5


def test_the_worth_of_lists_by_hand():
    topic = Topic("a tag", np.array([1, 2, 3]), np.array([1]))
    lists = np.full((3, 20), -1)
    lists[0, :4], lists[1, :3], lists[2, :2] = [1, 2, 3, 0], [4, 2, 0], [4, 5]
    held_out = csr_array(np.array([[1, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0.0]]))
    found = worth(lists, held_out, topic)
    assert float(found["listed"]) == pytest.approx((2 + 1 + 0) / 3)  # item 1 is named and does not count
    # user 0: item 0 at place 4; user 1: item 4 at place 1; user 2 has held out nothing else than the topic
    assert float(found["rest"]) == pytest.approx((1 / np.log2(5) + 1) / 2, rel=1e-4)
    ideal = 1 + 1 / np.log2(3)
    assert float(found["all"]) == pytest.approx(((1 / np.log2(3) + 1 / np.log2(5)) / ideal + 1 + 0) / 3, rel=1e-4)
    assert worth(lists[2:], held_out[2:], topic)["rest"] == "nan"


def test_the_line_between_two_strengths():
    xs, ys = (
        np.array([[0, 0.2, 0.4, 0.1], [0, 0.2, 0.25, 0.29]]).T,
        np.array([[1, 0.9, 0.7, 0.2], [1, 0.9, 0.7, 0.6]]).T,
    )
    np.testing.assert_allclose(crossing(0.3, xs, ys), [0.8, np.nan])
    np.testing.assert_allclose(crossing(0.1, xs, ys), [0.95, 0.95])
    assert crossing(0.0, xs[:, 0], ys[:, 0]) == 1


def test_outcomes_are_means_over_topics_that_count():
    listed, rest = {"a": (2.0, 1.0), "b": (4.0, 1.0), "few": (1.0, 1.0)}, {"a": (0.1, 0.1), "b": (0.3, 0.1)}
    rows = [
        {
            "topic": topic,
            "rule": rule,
            "strength": str(strength),
            "users": "9" if topic == "few" else "10",
            "listed": str(before if (rule, strength) == NONE else after),
            "all": "0.2",
            "rest": str(rest.get(topic, (1, 1))[(rule, strength) != NONE]),
        }
        for topic, (before, after) in listed.items()
        for rule, strength in WAYS
    ]
    one = Outcome.of(rows)
    assert (one.n_topics, one.n_users) == (2, 20)
    way = ("plain", 0.5)
    assert one.suppression(way) == pytest.approx((1 / 2 + 3 / 4) / 2)
    assert one.kept(way) == pytest.approx(0.2 / 0.4)
    assert one.kept(way, whole=True) == 1
    np.testing.assert_allclose(one.suppression(way, np.array([[1, 1], [0, 0]])), [3 / 4, 1 / 2])
    np.testing.assert_allclose(one.interval(lambda topics: one.suppression(way, topics)), [1 / 2, 3 / 4])
    assert one.kept_at(0.3125, "plain") == pytest.approx(0.75)  # half the way to the first strength
    assert one.lead_at(0.3125, "plain", "centred") == 0
    assert Outcome.of(rows[:-1]).n_topics == Outcome.of(rows[1:]).n_topics + 1 == 2  # "few" or "a" is unfinished


def test_topics_have_a_middle_size_and_followers_and_what_is_named_has_users(monkeypatch):
    monkeypatch.setattr(steering, "SIZES", (3, 4))
    monkeypatch.setattr(steering, "FOLLOWERS", 2)
    monkeypatch.setattr(steering, "N_NAMED", 2)
    dense = np.zeros((4, 8))
    dense[:2, :3] = dense[2:, 4:7] = 1
    data = Interactions.from_matrix(csr_array(dense), item_ids=np.arange(10, 18))
    bearers = {"good": [10, 11, 12, 17, 99], "small": [10, 11], "large": range(10, 18), "apart": [10, 14, 17]}
    (topic,) = draw_topics(bearers, data)
    assert topic.name == "good"
    assert topic.items.tolist() == [0, 1, 2, 7]
    assert set(topic.named.tolist()) < {0, 1, 2}
    lists = np.array([[0, 1, 5], [0, 5, 6], [2, 7, 5]])
    assert topic.askers(lists).tolist() == [0, 2]


def test_a_small_run_goes_on_where_it_stopped_and_draws(tmp_path, monkeypatch):
    monkeypatch.setattr(steering, "DRAWS", 20)
    rng, groups = np.random.default_rng(2), np.arange(120) % 4
    likes = rng.permuted(np.tile([True, True, False, False], (150, 1)), axis=1)
    taken = rng.random((150, 120)) < np.where(likes[:, groups], 0.3, 0.02)
    split = nested_split(Interactions.from_matrix(csr_array(taken.astype(np.float32))), 0.8)
    topics = draw_topics({f"tag {n}": np.flatnonzero(groups == n).tolist() for n in range(3)}, split.train)
    assert len(topics) == 3
    model = ALS(factors=8, iterations=3)
    ledger = Ledger(tmp_path / "steering.csv", steering.KEY)
    with torch.random.fork_rng():
        measure(ledger, "made", "ALS", model, split, topics[:2])
        measure(ledger, "made", "ALS", model, split, topics)
    assert len(ledger.rows) == 3 * len(WAYS)
    again = Ledger(tmp_path / "steering.csv", steering.KEY)
    measure(again, "made", "ALS", None, split, topics)  # nothing lacks, so nothing is fitted
    assert again.rows == ledger.rows
    found = steering.outcomes(again)
    one = found["made", "ALS"]
    assert one.n_topics == 3
    assert one.suppression(steering.FILTER) == 1
    assert one.kept(steering.FILTER) >= 1
    for rule in ("perpendicular", "centred"):  # a topic that is a taste can be turned away from
        assert one.suppression(steering.ways_of(rule)[-1]) > 0.5
    tables = [steering.unsteered(found), steering.by_strength(found), steering.at_equal_suppression(found)]
    assert [len(table) - 2 for table in tables] == [1, len(WAYS) - 1, len(steering.LEVELS)]
    (axes,) = steering.draw(found).axes
    points = {line.get_label(): np.array(line.get_data()) for line in axes.lines}
    np.testing.assert_allclose(points["plain"][0, 1], 100 * one.suppression(("plain", 0.1)))
    np.testing.assert_allclose(points["filter"][1], [100 * one.kept(steering.FILTER)])
