"""Cells and trials that a later process goes on with."""

from contextlib import suppress

import pytest
from optuna.distributions import CategoricalDistribution

from baselines import Popularity
from buir import BUIR
from buir.data import datasets, splits
from buir.experiment.config import TuningConfig
from buir.experiment.records import Sittings
from buir.experiment.run import plan as benchmark
from buir.experiment.search.tuning import tune
from buir.model import spent_seconds
from tests.support.benchmarks import TINY, Watcher, make_config
from tests.support.mortal_fits import Killed, Mortal

SETTINGS = {"embedding_dim": 8, "epochs": 4, "batch_size": 64, "start": "random", "terms": {}, "uniformity": 0.0}


def cells(**options):
    models = [{"kind": "popularity"}, {"kind": "buir", "params": SETTINGS | {"device": "cpu"}}]
    return make_config(models=models, seeds=[0], protocol={"kind": "nested", "levels": [1.0]}, **options)


def test_a_cell_that_died_goes_on_and_comes_to_the_same_numbers(tmp_path, monkeypatch):
    plain = benchmark.run(cells(), tmp_path / "plain", Watcher()).records
    mortal, files = Mortal(monkeypatch), tmp_path / "out" / "checkpoints"
    mortal.lives(3)
    with pytest.raises(Killed):
        benchmark.run(cells(), tmp_path / "out", Watcher(), checkpoint_minutes=0)
    (file,) = files.iterdir()
    spent, epochs = spent_seconds(file), mortal.epochs
    assert spent > 0
    mortal.lives(99)
    records = benchmark.run(cells(), tmp_path / "out", Watcher(), checkpoint_minutes=0).records
    assert mortal.epochs == 4 > epochs > 0
    assert [record.metrics for record in records] == [record.metrics for record in plain]
    assert [record.model for record in records] == ["popularity", "BUIR"]
    timeless = [[entry | {"seconds": 0} for entry in run[1].history] for run in (records, plain)]
    assert str(timeless[0]) == str(timeless[1])
    assert records[1].fit_s > spent
    assert not list(files.iterdir())


def test_a_trial_that_died_goes_on_and_the_search_comes_to_the_same_trials(tmp_path, monkeypatch):
    split = splits.nested_split(datasets.load("synthetic", **TINY), 1.0, 0)
    space = {"momentum": CategoricalDistribution((0.9, 0.99, 0.995))}
    fixed = SETTINGS | {"device": "cpu", "seed": 0}

    def search(folder, minutes=None):
        budget = TuningConfig(trials=3)
        sittings = Sittings(folder / "checkpoints", minutes)
        build = lambda found: BUIR(**fixed | found)  # noqa: E731
        tuned = tune(build, split, space, budget, folder / "trials.journal", sittings=sittings)
        return [(trial["params"], trial["value"], trial["state"]) for trial in tuned.trials]

    mortal = Mortal(monkeypatch)
    plain, n_epochs = search(tmp_path / "plain"), mortal.epochs
    mortal.lives(9)  # within the second trial
    with pytest.raises(Killed):
        search(tmp_path / "out", minutes=0)
    assert len(list((tmp_path / "out" / "checkpoints").iterdir())) == 1
    mortal.lives(99)
    assert search(tmp_path / "out", minutes=0) == plain
    assert mortal.epochs == 2 * n_epochs
    assert not list((tmp_path / "out" / "checkpoints").iterdir())


def test_a_checkpoint_that_cannot_be_read_begins_anew_and_a_failure_leaves_none(tmp_path):
    sittings = Sittings(tmp_path, 5)
    with sittings.of(BUIR(), "a") as sitting:
        file = sitting.options["checkpoint"]
    file.write_bytes(b"damaged")
    with sittings.of(BUIR(), "a") as sitting:
        assert (sitting.spent, file.exists()) == (0, False)
        file.write_bytes(b"state")
    assert not file.exists()
    with suppress(ValueError), sittings.of(BUIR(), "a"):
        file.write_bytes(b"state")
        raise ValueError
    assert not file.exists()
    with suppress(KeyboardInterrupt), sittings.of(BUIR(), "a"):
        file.write_bytes(b"state")
        raise KeyboardInterrupt
    assert file.exists()


def test_only_fits_of_buir_that_ask_for_it_keep_any(tmp_path):
    files = set()
    for model, name in ((BUIR(), "a"), (BUIR(), "b"), (BUIR(seed=1), "a")):
        with Sittings(tmp_path, 5).of(model, name) as sitting:
            files.add(sitting.options["checkpoint"])
            assert sitting.options == {
                "checkpoint": sitting.options["checkpoint"],
                "checkpoint_minutes": 5,
                "resume": True,
            }
    assert len(files) == 3
    for minutes, model in ((None, BUIR()), (5, Popularity())):
        with Sittings(tmp_path, minutes).of(model, "a") as sitting:
            assert sitting.options == {}
