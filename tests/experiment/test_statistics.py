"""Intervals, tests and verdicts: numbers by hand, SciPy as an oracle, and simulations whose truth is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from buir.experiment.records import frame
from buir.experiment.statistics.panels import corrected
from buir.experiment.statistics.place import PlaceValues, place_values
from buir.experiment.statistics.resampling import bootstrap_means, holm, run_error, sign_flip_p, student_draws
from buir.experiment.statistics.summary import Interval, Leaders, Summary
from tests.support.records import make_record

METRIC = "ndcg_at_20"


def values_of(values, *, users=None, degrees=None, digests=None, metric=METRIC):
    """Align one place from ``values[model][split][seed] = array over users``."""
    records, frames = [], {}
    for model, splits in values.items():
        for split, seeds in splits.items():
            for seed, column in seeds.items():
                key = f"{model}/{split}/{seed}"
                rows = np.arange(len(column)) if users is None else np.asarray(users[split])
                degree = np.ones(len(column)) if degrees is None else degrees
                frames[key] = pd.DataFrame(
                    {"user": rows, "train_degree": degree, metric: np.asarray(column, dtype=float)}
                )
                digest = f"digest{split}" if digests is None else digests[model]
                place = {"model": model, "split_seed": split, "seed": seed, "split_digest": digest}
                records.append(make_record(key=key, **place))
    return place_values(frame(records), frames.__getitem__, [metric])


def world(
    rng,
    *,
    n_users=120,
    splits=1,
    seeds=3,
    shift=0.0,
    own=0.2,
    seed_noise=0.0,
    split_noise=0.0,
    noise=0.1,
    models=("a", "b"),
):
    """Draw two models of equal true quality (or ``shift`` apart); users are shared, all other noise is the models' own."""
    base = rng.normal(0.3, 0.3, n_users)
    values = {}
    for model in models:
        taste = base + rng.normal(0, own, n_users) + (shift if model == "a" else 0.0)
        for split in range(splits):
            runs = (
                rng.normal(0, split_noise)
                + rng.normal(0, seed_noise, (seeds, 1))
                + rng.normal(0, noise, (seeds, n_users))
            )
            values[model, split] = (taste + runs)[:, :, None]
    users = np.arange(n_users)
    return PlaceValues(
        "toy", "nested", 0.2, (METRIC,), models, users, dict.fromkeys(range(splits), np.ones(n_users)), values
    )


def against(summary, reference):
    """The reference against every other model of one place, as one family."""
    pairs = [(reference, other) for other in summary.values.models if other != reference]
    return corrected(summary.compare(pairs, [METRIC]), summary.confidence)


def rate(condition, times, **settings):
    """Share of simulated worlds for which ``condition(summary)`` holds."""
    rng = np.random.default_rng(7)
    return np.mean(
        [condition(Summary(world(rng, **settings), n_resamples=300, n_flips=199, seed=i)) for i in range(times)]
    )


# -- numbers by hand


def test_sign_flips_by_hand():
    # of the 16 sign patterns of 1, 2, 3, 4 only all plus and all minus reach |10|
    contributions = np.array([[1.0, 1.0, 0.0], [2.0, -1.0, 0.0], [3.0, 1.0, 0.0], [4.0, -1.0, 0.0]])
    np.testing.assert_array_equal(sign_flip_p(contributions, 100, np.random.default_rng(0)), [2 / 16, 1.0, 1.0])


def test_random_flips_count_the_observed_pattern():
    # 30 equal differences: no random pattern reaches the observed sum, so p is the smallest possible
    p = sign_flip_p(np.ones((30, 1)), 99, np.random.default_rng(0))
    np.testing.assert_array_equal(p, [1 / 100])


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.5, 0.001])), [0.5, 0.002])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1.0, 1.0])
    assert holm(np.array([])).shape == (0,)


def test_run_error_by_hand():
    # run means 1, 2, 3 and nothing else: s = 1, and the error of their mean is 1 / sqrt(3)
    error, freedom = run_error(np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]))
    assert (round(error, 12), freedom) == (round(1 / np.sqrt(3), 12), 2)
    # two runs of two users with only interaction noise: means equal, nothing to add
    assert run_error(np.array([[1.0, -1.0], [-1.0, 1.0]])) == (0.0, 1)
    # means 0 and 2: s^2 = 2, users' deviations -1, 1, 1, -1 around it: MSE = 4 / 1, so 2 / 2 - 4 / (2 * 2) = 0
    assert run_error(np.array([[1.0, -1.0], [1.0, 3.0]])) == (0.0, 1)
    assert run_error(np.ones((1, 5))) == (0.0, 0)
    assert run_error(np.full((3, 4), 0.1)) == (0.0, 2)


def test_run_error_with_a_user_who_is_in_one_split_only():
    # without the absent user's single value the runs are 1, 1 and 2, 2; with it the first mean is (1 + 1 + 4) / 3 = 2
    assert run_error(np.array([[1.0, 1.0, 4.0], [2.0, 2.0, np.nan]])) == (0.0, 1)


def test_student_draws_are_students_quantiles():
    draws = student_draws(2, 4000, np.random.default_rng(0))
    assert np.quantile(draws, 0.975) == pytest.approx(stats.t.ppf(0.975, 2), rel=0.01)
    assert abs(draws.mean()) < 1e-9


def test_means_average_seeds_then_users_then_splits():
    values = {"a": {0: {0: [0.0, 1.0], 1: [1.0, 1.0]}, 1: {0: [0.0, 0.0, 0.3], 1: [0.0, 0.0, 0.3]}}}
    panel = values_of(values, users={0: [5, 9], 1: [2, 5, 9]}, degrees=None)
    np.testing.assert_array_equal(panel.users, [2, 5, 9])
    interval = Summary(panel).interval("a", METRIC)
    # split 0: users .5 and 1 -> .75; split 1: .1
    assert interval.value == pytest.approx((0.75 + 0.1) / 2)
    assert (interval.n_users, interval.n_splits, interval.n_seeds) == (3, 2, 2)
    assert interval.covers == ("users", "split seeds", "model seeds")


def test_what_ran_once_is_not_covered():
    once = {"a": {0: {0: [0.1, 0.2, 0.3]}}}
    assert Summary(values_of(once)).interval("a", METRIC).covers == ("users",)
    twice = {"a": {0: {0: [0.1, 0.2, 0.3], 1: [0.1, 0.2, 0.4]}}}
    assert Summary(values_of(twice)).interval("a", METRIC).covers == ("users", "model seeds")
    assert Interval(0, 0, 0, 1, 1, 1).covers == ("users",)


def test_bootstrap_means_resample_the_same_users_for_all_columns():
    rng = np.random.default_rng(0)
    column = rng.normal(size=40)
    absent = column.copy()
    absent[:20] = np.nan
    draws = bootstrap_means(np.stack([column, column + 1.0, -column, absent], axis=1), 500, rng)
    np.testing.assert_allclose(draws[:, 1] - draws[:, 0], 1.0)
    np.testing.assert_allclose(draws[:, 2], -draws[:, 0])
    # standard deviation of a bootstrap mean: sigma / sqrt(n)
    assert draws[:, 0].std() == pytest.approx(column.std() / np.sqrt(40), rel=0.1)
    assert draws[:, 3].mean() == pytest.approx(column[20:].mean(), abs=0.05)
    assert draws[:, 3].std() == pytest.approx(column[20:].std() / np.sqrt(20), rel=0.15)


def test_a_resample_without_a_columns_users_takes_its_mean():
    values = np.full((3, 1), np.nan)
    values[0] = 5.0
    np.testing.assert_array_equal(bootstrap_means(values, 50, np.random.default_rng(0)), np.full((50, 1), 5.0))


# -- oracles


@pytest.mark.parametrize("n_users", [7, 80])
def test_sign_flips_agree_with_scipy(n_users):
    rng = np.random.default_rng(3)
    differences = rng.normal(0.15, 0.5, (n_users, 3)).round(1)
    ours = sign_flip_p(differences / n_users, 20_000, rng)
    for column, p in zip(differences.T, ours, strict=True):
        theirs = stats.permutation_test(
            (column, np.zeros(n_users)),
            lambda x, y, axis: np.mean(x - y, axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=20_000,
            rng=np.random.default_rng(1),
        )
        assert p == pytest.approx(theirs.pvalue, abs=1e-12 if n_users == 7 else 0.012)


def test_interval_of_users_agrees_with_scipy():
    rng = np.random.default_rng(5)
    a, b = rng.beta(1, 4, 150), rng.beta(1, 4, 150)
    ours = Summary(values_of({"a": {0: {0: a}}, "b": {0: {0: b}}}), n_resamples=4000).difference("a", "b", METRIC)
    theirs = stats.bootstrap((a - b,), np.mean, method="percentile", n_resamples=4000, rng=rng).confidence_interval
    assert ours.value == pytest.approx((a - b).mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.003)


def test_interval_of_seeds_agrees_with_students():
    # users all equal: only the five seeds vary
    seeds = np.array([0.10, 0.12, 0.11, 0.14, 0.13])
    values = {"a": {0: {i: np.full(30, mean) for i, mean in enumerate(seeds)}}}
    interval = Summary(values_of(values), n_resamples=4000).interval("a", METRIC)
    low, high = stats.t.interval(0.95, 4, loc=seeds.mean(), scale=stats.sem(seeds))
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=2e-4)


def test_splits_are_paired_between_models():
    # splits differ by far, the models by 0.01 in each: the difference is certain, the means are not
    values = {m: {s: {0: np.full(20, 0.2 * s + d)} for s in range(4)} for m, d in (("a", 0.01), ("b", 0.0))}
    summary = Summary(values_of(values))
    difference = summary.difference("a", "b", METRIC)
    assert (difference.low, difference.high) == pytest.approx((0.01, 0.01))
    mean = summary.interval("a", METRIC)
    assert mean.high - mean.low > 0.5


# -- verdicts


def test_verdicts_by_a_clear_case():
    rng = np.random.default_rng(0)
    base = rng.uniform(0.2, 0.6, 200)
    values = {
        "best": {0: {s: base + 0.1 + rng.normal(0, 0.02, 200) for s in range(3)}},
        "middle": {0: {s: base + rng.normal(0, 0.02, 200) for s in range(3)}},
        "same": {0: {s: base + rng.normal(0, 0.02, 200) for s in range(3)}},
        "worst": {0: {s: base - 0.1 + rng.normal(0, 0.02, 200) for s in range(3)}},
    }
    summary = Summary(values_of(values))
    verdicts = {c.other: c.verdict for c in against(summary, "middle")}
    assert verdicts == {"best": "loses", "same": "ties", "worst": "wins"}
    (loss,) = [c for c in against(summary, "middle") if c.other == "best"]
    assert loss.difference.value == pytest.approx(-0.1, abs=0.01)
    assert (loss.p, loss.p_holm) == (1e-4, pytest.approx(3e-4))
    assert summary.leaders(METRIC) == Leaders("best", ())


def test_a_significant_difference_that_seeds_could_overturn_is_a_tie():
    # every user prefers a, in the mean of two seeds; but the seeds of a are as far apart as that difference
    base = np.random.default_rng(0).uniform(0.2, 0.6, 300)
    values = {"a": {0: {0: base + 0.1, 1: base}}, "b": {0: {0: base + 0.002, 1: base - 0.002}}}
    (comparison,) = against(Summary(values_of(values)), "a")
    assert comparison.p_holm < 0.001
    assert comparison.difference.low < 0 < comparison.difference.high
    assert comparison.verdict == "ties"


def test_equal_models_tie_with_p_1():
    values = {name: {0: {0: [0.1, 0.5, 0.9]}} for name in "ab"}
    (comparison,) = against(Summary(values_of(values)), "a")
    assert (comparison.p, comparison.verdict) == (1.0, "ties")
    assert (comparison.difference.value, comparison.difference.low, comparison.difference.high) == (0.0, 0.0, 0.0)
    assert Summary(values_of(values)).leaders(METRIC) == Leaders("a", ("b",))


def test_the_two_directions_mirror_each_other():
    summary = Summary(world(np.random.default_rng(2), splits=3, split_noise=0.02, models=("a", "b", "c")))
    forth, back = summary.difference("a", "b", METRIC), summary.difference("b", "a", METRIC)
    assert forth.value == -back.value
    assert forth.low == pytest.approx(-back.high, abs=2e-3)
    np.testing.assert_array_equal(*(summary.p_values([pair], [METRIC]) for pair in (("a", "b"), ("b", "a"))))


def test_answers_follow_from_the_seed_and_not_from_the_order_of_questions():
    panel = world(np.random.default_rng(2), seed_noise=0.01)
    first, second = Summary(panel), Summary(panel)
    forth = [first.interval("a", METRIC), first.difference("a", "b", METRIC), first.p_values([("a", "b")], [METRIC])]
    back = [second.p_values([("a", "b")], [METRIC]), second.difference("a", "b", METRIC), second.interval("a", METRIC)]
    assert forth == back[::-1]
    assert Summary(panel, seed=1).interval("a", METRIC) != forth[0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_only_raises_and_keeps_the_order(p_values):
    p = np.array(p_values)
    adjusted = holm(p)
    assert (adjusted >= p - 1e-15).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


# -- simulation: the truth is known


def test_false_positives_of_the_test_come_at_rate_alpha():
    rng = np.random.default_rng(11)
    differences = rng.normal(0, 0.3, (60, 600)) * (rng.random((60, 600)) < 0.5)
    p = sign_flip_p(differences, 499, rng)
    assert 0.025 < (p <= 0.05).mean() < 0.08
    assert 0.15 < (p <= 0.2).mean() < 0.25


def test_holm_bounds_the_chance_of_one_false_finding_among_nine():
    rng = np.random.default_rng(12)
    families = [holm(sign_flip_p(rng.normal(0, 1, (40, 9)), 999, rng)) for _ in range(120)]
    assert np.mean([(family <= 0.05).any() for family in families]) < 0.11


def covered(summary):
    difference = summary.difference("a", "b", METRIC)
    return difference.low <= 0.0 <= difference.high


@pytest.mark.parametrize(
    ("low", "high", "settings"),
    [
        (0.92, 0.98, {}),  # users only
        (0.94, 1.0, {"seed_noise": 0.03}),  # seeds as large as users
        (0.92, 0.99, {"splits": 3, "seeds": 1, "split_noise": 0.03}),  # splits as large as users
    ],
)
def test_intervals_cover_the_truth(low, high, settings):
    assert low <= rate(covered, 400, **settings) <= high


def test_users_alone_would_not_cover_the_seeds():
    def too_narrow(summary):
        users = np.concatenate([summary.values.user_values("a", 0) - summary.values.user_values("b", 0)])[:, 0]
        half = 1.96 * users.std() / np.sqrt(len(users))
        return abs(users.mean()) <= half

    assert rate(too_narrow, 100, seed_noise=0.08) < 0.7


def test_no_effect_is_rarely_called_and_a_large_one_nearly_always():
    def called(summary):
        return against(summary, "a")[0].verdict != "ties"

    assert rate(called, 100, seed_noise=0.01) <= 0.07
    assert rate(called, 60, shift=0.12, seed_noise=0.005) >= 0.9


# -- places


def test_models_without_a_split_in_common_are_not_compared():
    values = {"a": {0: {0: [0.1, 0.2]}}, "b": {1: {0: [0.1, 0.2]}}, "c": {0: {0: [0.3, 0.4]}, 1: {0: [0.3, 0.2]}}}
    summary = Summary(values_of(values, users={0: [0, 1], 1: [0, 1]}))
    assert [c.other for c in against(summary, "a")] == ["c"]
    assert summary.difference("c", "a", METRIC).value == pytest.approx(0.2)
    with pytest.raises(
        ValueError, match=r"no finished split in common for a and b on toy at level 0.2; finished models"
    ):
        summary.difference("a", "b", METRIC)


def test_restricted_to_a_group_of_users():
    values = {"a": {0: {0: [0.1, 0.2, 0.3, 0.4]}}}
    panel = values_of(values, degrees=[1, 2, 3, 9])
    part = panel.restricted(2, 3, [METRIC])
    assert part is not None
    np.testing.assert_array_equal(part.users, [1, 2])
    interval = Summary(part).interval("a", METRIC)
    assert (interval.value, interval.n_users) == (pytest.approx(0.25), 2)
    assert panel.restricted(4, 8, [METRIC]) is None


def test_what_cannot_be_paired_is_refused():
    good = {"a": {0: {0: [0.1, 0.2]}}, "b": {0: {0: [0.1, 0.2]}}}
    with pytest.raises(
        ValueError, match=r"b on toy at level 0.2 used split two, other models one, under the same split seed 0"
    ):
        values_of(good, digests={"a": "one", "b": "two"})
    with pytest.raises(ValueError, match="was measured on 3 users, the first model on 2"):
        values_of({"a": {0: {0: [0.1, 0.2]}}, "b": {0: {0: [0.1, 0.2, 0.3]}}})
    with pytest.raises(ValueError, match="hold a user twice or a missing value"):
        values_of({"a": {0: {0: [0.1, np.nan]}}})
    users = pd.DataFrame({"user": [0], "train_degree": [1], METRIC: [0.5]})
    record = make_record(split_digest="d")
    with pytest.raises(ValueError, match=r"lack \['recall_at_20'\], found \['user', 'train_degree', 'ndcg_at_20'\]"):
        place_values(frame([record]), lambda key: users, ["recall_at_20"])
    with pytest.raises(ValueError, match=r"two cells for a on toy at level 0.2, split seed 0, seed 0"):
        place_values(frame([record, replace(record, key="l")]), lambda key: users, [METRIC])
    with pytest.raises(ValueError, match="metric 'map_at_5' is not among the compared ones"):
        Summary(values_of(good)).interval("a", "map_at_5")
    with pytest.raises(ValueError, match="confidence is 95, expected a share between 0 and 1"):
        Summary(values_of(good), confidence=95)


def test_two_splits_are_runs_and_the_error_of_their_mean_follows_students_t():
    # a is .2 better for every user of split 0 and equal in split 1: mean .1, standard error .1, one degree of freedom
    base = np.linspace(0.2, 0.6, 40)
    values = {"a": {0: {0: base + 0.2}, 1: {0: base}}, "b": {0: {0: base}, 1: {0: base}}}
    found = Summary(values_of(values), n_resamples=2000).difference("a", "b", METRIC)
    assert found.value == pytest.approx(0.1)
    assert found.covers == ("users", "split seeds", "model seeds")
    half = stats.t.ppf(0.975, 1) * 0.1
    assert (found.low, found.high) == pytest.approx((0.1 - half, 0.1 + half), rel=0.02)
