"""The clock of a fit: it ends training in epochs, and says truly whether it did."""

from types import SimpleNamespace

from buir import BUIR
from buir.data import datasets, splits
from buir.experiment.records.clock import Clock
from tests.support.benchmarks import TINY


def test_without_a_limit_nothing_ends():
    clock = Clock(None)
    assert not clock.is_up({"epoch": 1})
    assert not clock.ended(SimpleNamespace(epochs=5))


def test_a_fit_that_ran_all_its_epochs_or_has_none_was_not_ended():
    clock = Clock(1e-9)
    assert clock.is_up({"epoch": 3})
    assert clock.ended(SimpleNamespace(epochs=5))
    assert not clock.ended(SimpleNamespace(epochs=3))
    assert clock.ended(SimpleNamespace(epochs="auto"))
    assert not clock.ended(SimpleNamespace(iterations=5))


def test_before_the_time_is_up_training_goes_on():
    clock = Clock(1000.0)
    assert not clock.is_up({"epoch": 1})
    assert 0 < clock.seconds < 1000
    assert not clock.ended(SimpleNamespace(epochs=5))


def test_training_without_early_stopping_is_ended_too():
    split = splits.nested_split(datasets.load("synthetic", **TINY), 1.0, 0)
    clock = Clock(1e-9)
    model = BUIR(encoder="id", embedding_dim=4, epochs=50).fit(split.train, show_progress=False, callback=clock.is_up)
    assert [entry["epoch"] for entry in model.history] == [1]
    assert clock.ended(model)
