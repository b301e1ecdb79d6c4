"""A benchmark runs every cell once, survives what breaks, and gives the same records however it is run."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from baselines import ALS, Popularity, Refused
from buir.data import datasets, splits
from buir.errors import ExperimentError
from buir.experiment.records.journal import Journal
from buir.experiment.run import plan as benchmark
from buir.experiment.run.run_cell import FIT, N_EXAMPLES, SEARCH, Bench
from buir.experiment.run.sources import Sources
from buir.experiment.run.workers import run_tasks
from buir.ranking.evaluation import evaluate
from tests.support.benchmarks import TINY, Watcher, make_config
from tests.support.plain_training import PLAIN

TIMES = ("fit_s", "rank_s", "tune_s", "peak_mb", "started", "history", "system", "tuning", "machine")


def without_times(record):
    return {name: value for name, value in dataclasses.asdict(record).items() if name not in TIMES}


def test_the_plan_is_the_product_with_seeds_slowest():
    config = make_config(protocol={"kind": "nested", "levels": [0.5, 1.0], "split_seeds": [3, 4]})
    plan = benchmark.plan(config, Sources(config))
    assert len(plan) == 2 * 2 * 2 * 2
    assert len({cell.key for cell in plan}) == len(plan)
    assert [(c.split_seed, c.seed, c.level, c.model) for c in plan[:5]] == [
        (3, 0, 0.5, "popularity"),
        (3, 0, 0.5, "ALS"),
        (3, 0, 1.0, "popularity"),
        (3, 0, 1.0, "ALS"),
        (3, 1, 0.5, "popularity"),
    ]
    assert plan[0].title == "synthetic 50 % popularity seed 0"


def test_a_key_follows_what_decides_the_result():
    config = make_config()
    cell = benchmark.plan(config, Sources(config))[1]
    assert cell.kind == "als"
    same = dataclasses.replace(cell, params={"iterations": 2, "factors": 4, "alpha": ALS().alpha})
    assert same.key == cell.key
    changes = {
        "seed": 9,
        "level": 0.7,
        "split_digest": "x",
        "model": "other",
        "ks": (5,),
        "params": {"factors": 5},
        "tuning": {"trials": 3},
        "dataset": "other",
    }
    keys = {dataclasses.replace(cell, **{name: value}).key for name, value in changes.items()}
    assert len(keys | {cell.key}) == len(changes) + 1


def test_a_record_is_the_model_measured_by_the_evaluator(tmp_path):
    outcome = benchmark.run(make_config(), tmp_path, Watcher())
    assert outcome.failures == []
    assert len(outcome.records) == 8
    record = next(r for r in outcome.records if (r.model, r.level, r.seed) == ("ALS", 0.5, 1))
    split = splits.nested_split(datasets.load("synthetic", **TINY), 0.5, 0)
    model = ALS(factors=4, iterations=2, seed=1).fit(split.train, split.valid, show_progress=False)
    expected = evaluate(model, split.train, split.test, valid=split.valid, ks=(5, 20))
    assert record.metrics == pytest.approx(expected.means)
    assert next(iter(record.metrics)) == "ndcg_at_20"
    assert record.split_digest == split.digest
    assert record.n_test_users == expected.n_users
    assert record.train_pct == 50
    assert record.params["factors"] == 4
    assert "seed" not in record.params
    assert record.data["train"] == split.train.n_pairs
    assert record.fit_s > 0
    assert record.peak_mb > 10
    frame = Journal(tmp_path).read_users(record.key)
    np.testing.assert_array_equal(frame["user"], expected.users)
    np.testing.assert_allclose(frame["ndcg_at_20"], expected.per_user["ndcg_at_20"])
    groups = record.groups["user"]
    assert sum(group["n_users"] for group in groups) == expected.n_users


def test_a_record_tells_the_terms_that_validation_chose(tmp_path):
    models = [
        {"kind": "als", "params": {"factors": 4, "iterations": 2, "terms": "auto"}},
        {"kind": "item-filter", "params": {"terms": {"popularity": 0.5}}},
        {"kind": "low-rank-filter", "params": {"rank": 4}},
    ]
    config = make_config(models=models, seeds=[0], protocol={"kind": "nested", "levels": [0.5]})
    outcome = benchmark.run(config, tmp_path, Watcher())
    assert outcome.failures == []
    als, filtered, low_rank = outcome.records
    told = als.history[-1]["terms"]
    assert set(told) == {"strengths", "gains", "value", "bare", "n_candidates"}
    assert told["value"] >= told["bare"]
    assert set(told["strengths"]) <= set(told["gains"])
    assert told["n_candidates"] > 1
    assert filtered.params["terms"] == {"popularity": 0.5}
    assert "terms" not in filtered.history[-1] | low_rank.history[-1]


def test_a_record_knows_its_machine_and_the_plan_how_it_was_started(tmp_path):
    config = make_config(seeds=[0], models=[{"kind": "popularity"}])
    (record, _) = benchmark.run(config, tmp_path, Watcher(), command="buir benchmark tiny.yaml").records
    assert set(record.machine) == {"processor", "cores", "threads", "system"}
    plan = Journal(tmp_path).read_plan()
    assert plan is not None
    assert (plan["jobs"], plan["command"]) == (1, "buir benchmark tiny.yaml")
    benchmark.run(config, tmp_path, Watcher())
    assert "command" not in (Journal(tmp_path).read_plan() or {})


def test_examples_mark_the_hits(tmp_path):
    outcome = benchmark.run(make_config(seeds=[0]), tmp_path, Watcher())
    split = splits.nested_split(datasets.load("synthetic", **TINY), 1.0, 0)
    record = next(r for r in outcome.records if r.level == 1.0)
    rows = {str(label): row for row, label in enumerate(split.test.user_ids)}
    assert len(record.examples) == N_EXAMPLES
    for example in record.examples:
        user = rows[example["user"]]
        held = {str(split.test.item_ids[i]) for i in split.test.matrix[[user]].indices}
        listed = example["recommended"].split()
        assert len(listed) == 10
        for word in listed:
            assert (word.strip("[]") in held) == word.startswith("[")


def test_a_second_run_runs_nothing_and_a_larger_one_what_is_new(tmp_path):
    first = benchmark.run(make_config(), tmp_path, Watcher())
    watcher = Watcher()
    second = benchmark.run(make_config(), tmp_path, watcher)
    assert watcher.events == []
    assert second.records == first.records
    watcher = Watcher()
    third = benchmark.run(make_config(seeds=[0, 1, 2]), tmp_path, watcher)
    assert watcher.count("start") == watcher.count("ok") == 4
    assert all("seed 2" in title for _, title in watcher.events)
    assert [without_times(r) for r in third.records[:8]] == [without_times(r) for r in first.records]


def test_a_refusal_is_a_result(tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        msg = "too many items:\n 3,\n at most 2"
        raise Refused(msg)

    monkeypatch.setattr(ALS, "fit", refuse)
    watcher = Watcher()
    outcome = benchmark.run(make_config(seeds=[0]), tmp_path, watcher)
    assert outcome.failures == []
    assert (watcher.count("ok"), watcher.count("refused")) == (2, 2)
    refused = [r for r in outcome.records if r.model == "ALS"]
    assert [(r.status, r.reason, r.metrics) for r in refused] == [("refused", "too many items: 3, at most 2", {})] * 2
    watcher = Watcher()
    benchmark.run(make_config(seeds=[0]), tmp_path, watcher)
    assert watcher.events == []


def test_a_broken_cell_does_not_end_the_others_and_is_tried_again(tmp_path, monkeypatch):
    def fail(self, *args, **kwargs):
        msg = "loss is nan"
        raise FloatingPointError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(Popularity, "fit", fail)
        outcome = benchmark.run(make_config(seeds=[0]), tmp_path, Watcher())
    assert [r.model for r in outcome.records] == ["ALS", "ALS"]
    assert len(outcome.failures) == 2
    cell, message = outcome.failures[0]
    assert message.startswith("FloatingPointError: loss is nan (see ")
    text = (tmp_path / "failures" / f"{cell.key}.txt").read_text()
    assert text.startswith("synthetic 50 % popularity seed 0\n")
    assert "Traceback" in text
    watcher = Watcher()
    assert len(benchmark.run(make_config(seeds=[0]), tmp_path, watcher).records) == 4
    assert watcher.count("ok") == 2
    assert list((tmp_path / "failures").iterdir()) == []


def test_interruption_keeps_what_is_finished(tmp_path, monkeypatch):
    original, calls = ALS.fit, []

    def interrupt(self, *args, **kwargs):
        calls.append(self.seed)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ALS, "fit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            benchmark.run(make_config(seeds=[0]), tmp_path, Watcher())
    assert len(list(Journal(tmp_path).records())) == 3
    watcher = Watcher()
    benchmark.run(make_config(seeds=[0]), tmp_path, watcher)
    assert watcher.count("start") == 1


def test_tuning_is_done_once_for_all_seeds(tmp_path):
    config = make_config(
        models=[{"kind": "popularity"}, {"kind": "als", "params": {"iterations": 2}}],
        protocol={"kind": "nested", "levels": [1.0]},
        tuning={"trials": 3, "metric": "ndcg_at_20", "seed": 0},
    )
    watcher = Watcher()
    outcome = benchmark.run(config, tmp_path, watcher)
    assert [text for what, text in watcher.events if what == "step" and "trial" in text] == [
        "trial 1/1",
        "trial 1/3",
        "trial 2/3",
        "trial 3/3",
    ]
    als = [r for r in outcome.records if r.model == "ALS"]
    assert als[0].params == als[1].params == als[0].params | als[0].tuning["best_params"]
    assert als[0].n_trials == 3
    assert als[0].tune_s > 0
    assert als[0].key != als[1].key
    watcher = Watcher()
    again = benchmark.run(config, tmp_path, watcher)
    assert watcher.events == []
    assert again.records == outcome.records


def test_a_search_sees_its_own_split_only_and_its_model_seeds_share_it(tmp_path):
    config = make_config(
        models=[{"kind": "als", "params": {"iterations": 2}}],
        protocol={"kind": "nested", "levels": [1.0], "split_seeds": [0, 1]},
        data=[{"dataset": "synthetic", "options": TINY, "trials": 2}],
        tuning={"trials": 5, "seed": 0},
    )
    sources = Sources(config)
    plan = benchmark.plan(config, sources)
    assert [(c.split_seed, c.tuning["split_seed"], c.tuning["trials"]) for c in plan if c.tuning] == [
        (0, 0, 2),
        (0, 0, 2),
        (1, 1, 2),
        (1, 1, 2),
    ]
    groups = benchmark.group(plan, together=True)
    assert [[(c.split_seed, c.seed) for c in cells] for cells in groups] == [[(0, 0), (0, 1)], [(1, 0), (1, 1)]]
    outcome = benchmark.run(config, tmp_path, Watcher(), sources=sources)
    assert outcome.failures == []
    assert len(list((tmp_path / "tuning").glob("*.journal"))) == 2
    by_split = {}
    for record in outcome.records:
        by_split.setdefault(record.split_seed, []).append(record)
    for number, records in by_split.items():
        split = sources.splits("synthetic", number)[1.0]
        assert {r.split_digest for r in records} == {split.digest}
        assert records[0].tuning["results"] == records[1].tuning["results"]
        assert records[0].n_trials == 2
        best = records[0].tuning
        model = ALS(iterations=2, **best["best_params"], seed=0).fit(split.train, split.valid, show_progress=False)
        again = evaluate(model, split.train, split.valid, ks=(20,), metrics=("ndcg",)).means["ndcg_at_20"]
        assert again == pytest.approx(best["best_value"])
    assert by_split[0][0].tune_s != by_split[1][0].tune_s


def test_the_clock_ends_fits_of_models_with_epochs_and_says_so(tmp_path):
    patient = {"encoder": "id", "embedding_dim": 4, "epochs": 100_000, "patience": 100_000, "batch_size": 256} | PLAIN
    config = make_config(
        models=[{"kind": "als", "params": {"factors": 4, "iterations": 2}}, {"kind": "buir", "params": patient}],
        protocol={"kind": "nested", "levels": [1.0]},
        seeds=[0],
        tuning={"trials": 1, "max_seconds": 0.05, "fit_seconds": 0.3},
    )
    als, ours = benchmark.run(config, tmp_path, Watcher()).records
    assert (als.capped, ours.capped) == (False, True)
    assert als.fit_seconds == ours.fit_seconds == 0.3
    assert 0.3 < ours.fit_s < 10
    assert 1 <= ours.history[-1]["epoch"] < 100_000
    assert ours.tuning["results"][0]["capped"]
    assert not als.tuning["results"][0]["capped"]
    # the limit decides the result, so it makes another cell; the search is the same
    free = config.model_copy(update={"tuning": config.tuning.model_copy(update={"fit_seconds": 0.2})})
    keys = {cell.key for cell in benchmark.plan(free, Sources(free))}
    assert keys.isdisjoint({als.key, ours.key})
    benchmark.run(free, tmp_path, Watcher())
    assert len(list((tmp_path / "tuning").glob("*.journal"))) == 2


def test_a_record_keeps_what_held_out_pairs_decided(tmp_path):
    settings = {"encoder": "graph", "embedding_dim": 4, "epochs": 3, "learning_rate": 0.01, "start": "spectral"}
    settings |= {"device": "cpu"}
    config = make_config(
        models=[{"kind": "popularity"}, {"kind": "buir", "params": settings}],
        protocol={"kind": "nested", "levels": [1.0]},
        seeds=[0],
    )
    popular, ours = benchmark.run(config, tmp_path, Watcher()).records
    assert popular.chosen == {}
    decided = {"embedding_dim", "uniformity", "epochs", "strengths", "gains", "start", "trained", "value"}
    came_to = {"bare", "kept", "other", "epochs_run", "stopped", "held_out", "collapse", "began", "beside"}
    plan = {"device", "block_dim", "batch_size", "learning_rate", "momentum", "row_sparse"}
    assert decided | came_to | plan | {"n_candidates", "with_terms"} == set(ours.chosen)
    assert (ours.chosen["epochs_run"], ours.chosen["held_out"], ours.chosen["device"]) == (3, "given", "cpu")
    assert ours.chosen["value"] >= ours.chosen["bare"] > 0
    assert set(ours.chosen["gains"]) == set(ours.chosen["strengths"])
    assert (popular.popularity_overlap, popular.is_popularity) == (1.0, False)
    assert 0 < ours.popularity_overlap <= 1
    watched = "ndcg_at_20" if ours.chosen["with_terms"] else "bare_ndcg_at_20"
    assert ours.chosen["start"] == ours.history[0][watched]
    assert ours.chosen["value"] > 0
    assert ours.chosen["uniformity"] in (0.1, 0.3, 1.0)
    assert ours.params["terms"] == ours.params["uniformity"] == "auto"
    kept = next(record for record in Journal(tmp_path).records() if record.key == ours.key)
    assert kept.chosen == ours.chosen


def test_data_that_cannot_be_split_are_named(tmp_path):
    file = tmp_path / "log.txt"
    file.write_text("1 2\n3 4\n")
    config = make_config(data=[{"path": str(file)}])
    with pytest.raises(ExperimentError, match=r"^log: the protocol 'nested' cannot split these data: "):
        benchmark.plan(config, Sources(config))
    file.write_text("1\n")
    with pytest.raises(ExperimentError, match=r"^log: .*log\.txt"):
        benchmark.plan(config, Sources(config))


@pytest.mark.parametrize(
    ("protocol", "levels"),
    [
        ({"kind": "author", "levels": [0.5]}, [0.5]),
        ({"kind": "leave-one-out", "by": "order"}, [1.0]),
        ({"kind": "time", "test_fraction": 0.2}, [1.0]),
    ],
)
def test_other_protocols(tmp_path, protocol, levels):
    outcome = benchmark.run(make_config(protocol=protocol, seeds=[0]), tmp_path, Watcher())
    assert [r.level for r in outcome.records if r.model == "ALS"] == levels
    assert {r.protocol for r in outcome.records} == {protocol["kind"]}


def test_a_given_split(tmp_path):
    rng = np.random.default_rng(0)
    for name, start in (("train", 0), ("test", 20)):
        rows = {(u, int(i) + start) for u in range(20) for i in rng.integers(0, 20, 6)}
        (tmp_path / f"{name}.txt").write_text("".join(f"{u}\t{i % 25}\n" for u, i in sorted(rows)))
    data = [{"name": "pair", "train": str(tmp_path / "train.txt"), "test": str(tmp_path / "test.txt")}]
    config = make_config(data=data, protocol={"kind": "given", "valid_fraction": 0.2}, seeds=[0])
    outcome = benchmark.run(config, tmp_path / "out", Watcher())
    assert [r.status for r in outcome.records] == ["ok", "ok"]
    assert outcome.records[0].dataset == "pair"


def test_grouping_keeps_searches_together():
    config = make_config()
    plan = benchmark.plan(config, Sources(config))
    assert benchmark.group(plan, together=False) == [[cell] for cell in plan]
    together = benchmark.group(plan, together=True)
    assert len(together) == 4
    assert {cell.seed for cell in together[0]} == {0, 1}
    assert len({(cell.level, cell.model) for cell in together[0]}) == 1


@pytest.mark.slow
def test_processes_give_the_records_of_one_process(tmp_path):
    config = make_config(seeds=[0])
    alone = benchmark.run(config, tmp_path / "a", Watcher())
    watcher = Watcher()
    together = benchmark.run(config, tmp_path / "b", watcher, jobs=2)
    assert [without_times(r) for r in together.records] == [without_times(r) for r in alone.records]
    assert watcher.count("start") == watcher.count("ok") == 4


@pytest.mark.slow
def test_what_breaks_down_in_a_process_is_told_in_the_order_of_the_plan(tmp_path):
    models = [{"kind": "bpr", "params": {"factors": 4, "learning_rate": 1e30}}, {"kind": "popularity"}]
    watcher = Watcher()
    outcome = benchmark.run(make_config(seeds=[0], models=models), tmp_path, watcher, jobs=2)
    assert [(cell.model, cell.level) for cell, _ in outcome.failures] == [("BPR", 0.5), ("BPR", 1.0)]
    assert sorted(text for what, text in watcher.events if what == "failure") == sorted(
        message for _, message in outcome.failures
    )
    for cell, message in outcome.failures:
        assert message.startswith("FloatingPointError: ")
        assert "Traceback" in (tmp_path / "failures" / f"{cell.key}.txt").read_text()
    assert [record.model for record in outcome.records] == ["popularity", "popularity"]


def test_a_search_is_work_like_a_fit_and_fails_for_itself(tmp_path, monkeypatch):
    config = make_config(models=[{"kind": "popularity"}], seeds=[0], tuning={"trials": 1})
    sources = Sources(config)
    cells = benchmark.plan(config, sources)
    bench = Bench(config, Journal(tmp_path), sources)
    watcher = Watcher()
    assert run_tasks(SEARCH, [cells], bench, watcher, jobs=1) == []
    assert watcher.count("ok") == 2
    assert bench.journal.read(cells[0].key) is None
    assert [bench.journal.read_search(cell.search_key).n_trials for cell in cells] == [1, 1]
    # A fit that breaks down leaves its own file, which a search that succeeds does not remove.
    with monkeypatch.context() as patch:
        patch.setattr(Popularity, "fit", None)
        assert [cell.key for cell, _ in run_tasks(FIT, [cells], bench, watcher, jobs=1)] == [c.key for c in cells]
    run_tasks(SEARCH, [cells], bench, watcher, jobs=1)
    assert {file.stem for file in (tmp_path / "failures").iterdir()} == {cell.key for cell in cells}
    assert run_tasks(FIT, [cells], bench, watcher, jobs=1) == []
    assert not any((tmp_path / "failures").iterdir())


_KILLED = """
import sys
from buir.experiment.run import plan as benchmark
from tests.support.benchmarks import Watcher, make_config
if __name__ == "__main__":
    endless = {"encoder": "id", "epochs": 100000, "patience": 100000, "start": "random", "uniformity": 0.0}
    models = [{"kind": "popularity"}, {"kind": "buir", "params": endless}]
    benchmark.run(make_config(models=models, seeds=[0]), sys.argv[1], Watcher(), jobs=int(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("jobs", "sign"), [(1, signal.SIGKILL), (2, signal.SIGINT)])
def test_a_killed_benchmark_goes_on_where_it_was(tmp_path, jobs, sign):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])}
    script = tmp_path / "run.py"
    script.write_text(_KILLED)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "out"), str(jobs)], env=environment, stderr=subprocess.DEVNULL
    )
    journal = Journal(tmp_path / "out")
    end = time.monotonic() + 120
    while not list(journal.records()) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
    process.send_signal(sign)
    assert process.wait(30) != 0
    finished = {r.key for r in journal.records()}
    assert finished
    plan = journal.read_plan()
    assert plan is not None
    assert finished < set(plan["keys"])


_KILLED_WITH_WORKERS = """
import os, sys, time
from baselines import Popularity
from buir.experiment.run import plan as benchmark
from tests.support.benchmarks import Watcher, make_config

folder, patience = sys.argv[1], float(sys.argv[2])
original = Popularity.fit

def slow(self, *args, **kwargs):
    open(os.path.join(folder, f"{os.getpid()}.pid"), "w").close()
    end = time.monotonic() + patience
    while time.monotonic() < end:  # as busy as a fit
        pass
    return original(self, *args, **kwargs)

Popularity.fit = slow  # the workers import this script, too
if __name__ == "__main__":
    watcher = Watcher()
    benchmark.run(make_config(models=[{"kind": "popularity"}]), os.path.join(folder, "out"), watcher, jobs=2)
    print(watcher.count("start"), watcher.count("ok"))
"""


def is_running(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes under /proc")
def test_workers_end_with_a_parent_that_is_killed_and_the_next_run_does_each_cell_once(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(_KILLED_WITH_WORKERS)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])}

    def start(patience: float) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(script), str(tmp_path), str(patience)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    parent = start(3600)
    end = time.monotonic() + 120
    while len(pids := [int(file.stem) for file in tmp_path.glob("*.pid")]) < 2:
        assert parent.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)
    try:
        assert all(is_running(pid) for pid in pids)
        parent.kill()
        parent.communicate(timeout=30)
        end = time.monotonic() + 10
        while any(is_running(pid) for pid in pids) and time.monotonic() < end:
            time.sleep(0.1)
        assert not any(is_running(pid) for pid in pids)
    finally:
        for pid in pids:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
    for file in tmp_path.glob("*.pid"):
        file.unlink()
    assert list(Journal(tmp_path / "out").records()) == []
    assert start(0).communicate(timeout=120)[0] == b"4 4\n"
    assert len(list(Journal(tmp_path / "out").records())) == 4


@pytest.mark.slow
def test_a_worker_that_dies_is_told(tmp_path, monkeypatch):
    file = tmp_path / "lines.txt"
    file.write_text("1 2\n")
    config = make_config(seeds=[0])
    plan = benchmark.plan(config, Sources(config))
    bench = Bench(config, Journal(tmp_path), Sources(config))
    # Unpickling this in the worker ends it as the system's memory killer would.
    with pytest.raises(ExperimentError, match="smaller --jobs"):
        run_tasks(FIT, [[_Deadly(plan[0])]], bench, Watcher(), jobs=2)  # type: ignore[list-item]


class _Deadly:
    """Kills the process that unpickles it."""

    def __init__(self, cell):
        self.cell = cell

    def __reduce__(self):
        return os._exit, (9,)


def test_a_warning_of_a_fit_is_one_line_for_all_its_seeds(tmp_path, capsys):
    small = {"encoder": "id", "embedding_dim": 4, "epochs": 1, "batch_size": 5000}
    config = make_config(models=[{"kind": "buir", "params": small}])
    assert benchmark.run(config, tmp_path, Watcher()).failures == []
    warned = [line for line in capsys.readouterr().err.splitlines() if "fewer than one batch" in line]
    assert [line[: line.index(" user_items")] for line in warned] == [
        "warning: synthetic 50 % BUIR-id:",
        "warning: synthetic 100 % BUIR-id:",
    ]
