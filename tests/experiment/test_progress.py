"""The progress bar: what runs, how far it is, how long is left."""

import pytest

from buir.experiment.run import plan as benchmark
from buir.experiment.run import progress
from buir.experiment.run.progress import Forecast, Progress, Size, readable
from buir.experiment.run.sources import Sources
from tests.support.benchmarks import make_config
from tests.support.records import make_record as a_record


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (8.4, "8 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599, "59 min 59 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(seconds, text):
    assert readable(seconds) == text


class Constant(Forecast):
    """Every cell takes ten seconds."""

    def __init__(self):
        super().__init__({("synthetic", 0.5): Size(1, 1, 1), ("synthetic", 1.0): Size(1, 1, 1)})

    def seconds(self, cell):
        return 10.0


@pytest.fixture
def cells():
    config = make_config(seeds=[0])
    return benchmark.plan(config, Sources(config))


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def make_record(cell, status="ok"):
    place = {"dataset": cell.dataset, "level": cell.level, "model": cell.model, "kind": cell.kind, "status": status}
    return a_record(**place, fit_s=2.0, rank_s=0.5, metrics={"ndcg_at_20": 0.25}, reason="too large")


def test_lines_where_there_is_no_terminal(cells, clock, capsys):
    records = []
    bar = Progress(cells, Constant(), jobs=1, log=records.append)
    assert bar.left() == 40.0
    bar.on_start(cells[0])
    clock[0] += 4
    bar.on_step(cells[0], "epoch 3")
    assert bar.left() == 36.0
    clock[0] += 60
    assert bar.left() == 30.0
    bar.on_record(cells[0], make_record(cells[0]))
    assert records[0].model == "popularity"
    bar.on_start(cells[1])
    bar.on_record(cells[1], make_record(cells[1], status="refused"))
    bar.on_failure(cells[2], "ValueError: no")
    bar.on_record(cells[3], make_record(cells[3]))
    bar.close()
    done = "ndcg_at_20 0.2500, fitted in 2.0 processor s, ranked in 0.5 s"
    assert capsys.readouterr().err.splitlines() == [
        f"[1/4] synthetic 50 % popularity seed 0: {done} (30 s left)",
        "[2/4] synthetic 50 % ALS seed 0: n/a: too large (20 s left)",
        "[3/4] synthetic 100 % popularity seed 0: FAILED: ValueError: no (10 s left)",
        f"[4/4] synthetic 100 % ALS seed 0: {done}",
    ]


def test_several_processes_share_what_is_left(cells, clock):
    bar = Progress(cells, Constant(), jobs=3, log=lambda record: None)
    assert bar.left() == pytest.approx(40 / 3)
    bar.close()


def test_the_bar_names_what_runs(cells, clock, monkeypatch):
    bar = Progress(cells, Constant(), jobs=2, log=lambda record: None)
    bar._bar.disable = False
    monkeypatch.setattr(bar._bar, "refresh", lambda *_, **__: None)
    bar.on_start(cells[0])
    bar.on_start(cells[1])
    bar.on_step(cells[1], "epoch 7")
    assert bar._bar.desc == "synthetic 50 % popularity seed 0 | synthetic 50 % ALS seed 0, epoch 7"
    assert bar._bar.postfix == "about 20 s left"
    bar._bar.disable = True
    bar.close()


def test_a_search_says_what_its_best_trial_reached(cells, clock, capsys):
    bar = Progress(cells[:1], Constant(), jobs=1, log=lambda record: None, searches=True)
    tuning = {"metric": "ndcg_at_20", "best_value": 0.125}
    bar.on_start(cells[0])
    bar.on_record(cells[0], a_record(work="search", tuning=tuning, n_trials=3, tune_s=1.5))
    bar.close()
    assert capsys.readouterr().err.splitlines() == [
        "[1/1] synthetic 50 % popularity: best ndcg_at_20 0.1250, 3 trials, 1.5 processor s"
    ]
