"""Forecasts: a rule of thumb first, then what was measured."""

import dataclasses

import pytest

from buir.experiment.config.models import CLASSES
from buir.experiment.run import plan as benchmark
from buir.experiment.run import progress
from buir.experiment.run.progress import Forecast, Size
from buir.experiment.run.sources import Sources
from tests.support.benchmarks import make_config
from tests.support.records import make_record

SIZE = Size(users=1_000, items=500, pairs=10_000)


@pytest.fixture
def cells():
    config = make_config()
    return benchmark.plan(config, Sources(config))


@pytest.fixture
def forecast(cells):
    return Forecast({("synthetic", 0.5): SIZE, ("synthetic", 1.0): SIZE})


def record_of(cell, seconds, status="ok"):
    place = {"dataset": cell.dataset, "level": cell.level, "model": cell.model, "kind": cell.kind}
    return make_record(**place, params=cell.resolved, status=status, fit_s=seconds)


def test_what_was_measured_counts(cells, forecast):
    als = [cell for cell in cells if cell.model == "ALS"]
    half, whole = als[0], als[1]
    assert (half.level, whole.level) == (0.5, 1.0)
    thumb = progress.rule_of_thumb("als", half.resolved, SIZE)
    assert forecast.seconds(half) == pytest.approx(thumb)
    forecast.learn(record_of(half, 3.0))
    forecast.learn(record_of(half, 5.0))
    assert forecast.seconds(half) == pytest.approx(4.0)
    # The other level of the same model is scaled by the same factor, and so are other models.
    assert forecast.seconds(whole) == pytest.approx(4.0)
    popularity = next(cell for cell in cells if cell.model == "popularity")
    assert forecast.seconds(popularity) == pytest.approx(
        progress.rule_of_thumb("popularity", {}, SIZE) * 4.0 / thumb, rel=1e-6
    )


def test_a_refusal_teaches_nothing(cells, forecast):
    before = forecast.seconds(cells[1])
    forecast.learn(record_of(cells[1], 100.0, status="refused"))
    assert forecast.seconds(cells[1]) == before


def test_searches_count_once_for_all_seeds(cells, forecast):
    for cell in cells:
        forecast.learn(record_of(cell, 2.0))
    assert forecast.total(cells, jobs=1) == pytest.approx(2.0 * 8)
    assert forecast.total(cells, jobs=2) == pytest.approx(8.0)
    tuned = [dataclasses.replace(c, tuning={"trials": 5, "space": {"x": 1} if c.kind == "als" else {}}) for c in cells]
    # Two levels of ALS with five trials and of popularity with one.
    assert forecast.total(tuned, jobs=1) == pytest.approx(2.0 * 8 + 2 * 5 * 2.0 + 2 * 1 * 2.0)
    other_split = [dataclasses.replace(c, split_seed=1) for c in tuned]
    assert forecast.total([*tuned, *other_split], jobs=1) == pytest.approx(2 * forecast.total(tuned, jobs=1))


def test_clocks_limit_fits_and_trials_of_models_with_epochs(cells, forecast):
    long = dataclasses.replace(cells[0], kind="buir", params={"epochs": 10_000, "patience": 10_000}, model="ours")
    free = forecast.seconds(long)
    assert free > 100
    clocks = {"trials": 3, "space": {"x": 1}, "max_seconds": 5.0, "fit_seconds": 7.0}
    assert forecast.total([dataclasses.replace(long, tuning=clocks)], jobs=1) == pytest.approx(7.0 + 3 * 5.0)
    whole = dataclasses.replace(cells[1], tuning=clocks)
    assert forecast.total([whole], jobs=1) == pytest.approx(4 * forecast.seconds(cells[1]))
    # a fit that was ended says nothing about the fits of others
    before = forecast.seconds(cells[1])
    forecast.learn(dataclasses.replace(record_of(long, 7.0), capped=True))
    assert forecast.seconds(cells[1]) == before


def test_memory_is_that_of_the_cells_that_run_together(cells, forecast):
    one, two = forecast.memory_mb(cells, 1), forecast.memory_mb(cells, 2)
    assert two == pytest.approx(2 * one, rel=0.2)
    dense = progress.memory_mb("ease", {}, Size(100, 10_000, 1_000))
    assert dense - progress.memory_mb("popularity", {}, Size(100, 10_000, 1_000)) > 2_000
    assert progress.memory_mb("ease", {}, Size(100, 30_000, 1_000)) < dense


@pytest.mark.parametrize("kind", sorted(CLASSES))
def test_rules_of_thumb_grow_with_the_data(kind):
    small = progress.rule_of_thumb(kind, {"encoder": "walk"}, Size(1_000, 1_000, 10_000))
    large = progress.rule_of_thumb(kind, {"encoder": "walk"}, Size(10_000, 10_000, 1_000_000))
    assert 0 < small < large


def test_the_choice_of_terms_costs_a_pass_over_all_scores():
    size = Size(5_000, 25_000, 50_000)
    bare, chosen = (progress.rule_of_thumb("als", {"terms": terms}, size) for terms in ({}, "auto"))
    assert chosen - bare == pytest.approx(7.5)


def test_a_low_rank_filter_costs_its_rank():
    size = Size(5_000, 25_000, 50_000)
    narrow, wide = (progress.rule_of_thumb("low-rank-filter", {"rank": rank}, size) for rank in (64, 256))
    assert 0.4 < wide - narrow < 2
    assert progress.memory_mb("low-rank-filter", {"rank": 256}, size) > progress.memory_mb("low-rank-filter", {}, size)
