"""Weights of pairs in a benchmark: who is fitted with them, what the keys know of them, and what the report says."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from baselines import ALS, BPR, Popularity
from buir.data import datasets, log_counts, read, splits
from buir.errors import ExperimentError
from buir.experiment.config import TuningConfig
from buir.experiment.records import frame
from buir.experiment.run import plan as benchmark
from buir.experiment.run.sources import Sources
from buir.experiment.search.tuning import tune
from buir.ranking import evaluate
from tests.support.benchmarks import TINY, Watcher, make_config


@pytest.fixture
def plays(tmp_path):
    """A file of events with plays, whose views are no positives."""
    data, rng = datasets.load("synthetic", **TINY), np.random.default_rng(0)
    table = data.to_frame()[["user", "item"]].assign(event="play", plays=rng.integers(1, 50, data.n_pairs))
    views = pd.DataFrame({"user": [1, 2], "item": [77_777, 77_777], "event": "view", "plays": 1})
    path = tmp_path / "plays.csv"
    pd.concat([table, views]).to_csv(path, index=False)
    return path


COLUMNS = {"user": "user", "item": "item", "weight": "plays"}
WEIGHED = [
    {"kind": "als", "params": {"factors": 4, "iterations": 2}},
    {"kind": "popularity"},
    {"kind": "bpr", "params": {"factors": 4, "iterations": 2}},
]


def weighed_config(path, **changes):
    data = [{"path": str(path), "where": {"event": "play"}, "weight": "log", "columns": COLUMNS} | changes]
    protocol = {"kind": "nested", "levels": [1.0]}
    return make_config(name="weighed", data=data, models=WEIGHED, seeds=[0], protocol=protocol)


def test_models_that_take_weights_are_fitted_with_them_and_the_others_without(plays, tmp_path):
    config = weighed_config(plays)
    outcome = benchmark.run(config, tmp_path / "out", Watcher())
    assert outcome.failures == []
    assert [record.weight for record in outcome.records] == ["log"] * 3
    data = read(plays, where={"event": "play"}, columns=COLUMNS)
    split = splits.nested_split(data, 1.0, 0)
    assert data.n_items < 77_777
    for record, model, weights in zip(
        outcome.records,
        (ALS(factors=4, iterations=2), Popularity(), BPR(factors=4, iterations=2)),
        (log_counts, log_counts, None),
        strict=True,
    ):
        model.fit(split.train, split.valid, weights=weights, show_progress=False)
        expected = evaluate(model, split.train, split.test, valid=split.valid, ks=(5, 20))
        assert record.metrics == pytest.approx(expected.means)
    plain = weighed_config(plays, weight=None)
    keys = [{cell.key for cell in benchmark.plan(each, Sources(each))} for each in (plain, config)]
    assert not keys[0] & keys[1]


def test_weights_change_no_key_of_a_benchmark_without_them(plays, tmp_path):
    bare = tmp_path / "bare.csv"
    pd.read_csv(plays)[["user", "item", "event"]].to_csv(bare, index=False)
    keys = []
    for path in (plays, bare):
        config = weighed_config(path, name="plays", weight=None, columns={"user": "user", "item": "item"})
        keys.append([cell.key for cell in benchmark.plan(config, Sources(config))])
    assert keys[0] == keys[1]


def test_a_search_learns_with_the_weights(plays, tmp_path):
    made = []

    class Watched(ALS):
        def fit(self, user_items, valid=None, **options):
            made.append(options.get("weights"))
            return super().fit(user_items, valid, **options)

    config = weighed_config(plays)
    cell = benchmark.plan(config.model_copy(update={"tuning": TuningConfig(trials=2)}), Sources(config))[0]
    assert cell.weights == {"weights": log_counts}
    split = Sources(config).splits("plays", 0)[1.0]
    budget = TuningConfig(trials=2)
    tune(lambda found: Watched(factors=4, **found), split, {}, budget, tmp_path / "t.journal", **cell.weights)
    assert made == [log_counts]


def test_weights_that_the_data_do_not_have_are_an_error_before_any_work(plays):
    config = weighed_config(plays, columns={"user": "user", "item": "item"})
    with pytest.raises(ExperimentError, match=r"plays: .*has no weights and no row repeats a pair"):
        benchmark.plan(config, Sources(config))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": "logs"}, "expected one of values, log, bm25"),
        ({"weight": 3}, "weight"),
        ({"where": "event"}, "where"),
    ],
)
def test_mistakes_with_weights_are_found_at_once(plays, changes, message):
    with pytest.raises(ValueError, match=message):
        weighed_config(plays, **changes)


def test_the_report_says_which_models_ignore_weights(plays, tmp_path):
    from buir.experiment.report.content import _weights

    outcome = benchmark.run(weighed_config(plays), tmp_path / "out", Watcher())
    (said,) = _weights(frame(outcome.records))
    assert said == (
        "Training pairs of plays are weighed (log); test and validation pairs are not. "
        "**Models that cannot take weights ignore them**: BPR."
    )
    assert list(_weights(frame([replace(record, weight=None) for record in outcome.records]))) == []
