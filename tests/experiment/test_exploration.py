"""Searching without fitting: what it finds is shown, kept, pasted, and found again by a benchmark."""

import re
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from baselines import ALS, Refused
from buir.errors import ConfigError
from buir.experiment import comparison
from buir.experiment.config.overrides import parse
from buir.experiment.records.journal import Journal
from buir.experiment.run import plan as benchmark
from buir.experiment.tracking import store
from tests.support.benchmarks import Watcher, make_config, rehomed

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
]

MODELS = [{"kind": "popularity"}, {"kind": "als", "name": "fast-ALS", "params": {"iterations": 2}}]


def tuned_config(**changes):
    return make_config(**{"models": MODELS, "tuning": {"trials": 3}} | changes)


def said(run) -> list[str]:
    lines: list[str] = []
    run(lines.append)
    return "\n".join(lines).splitlines()


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{file}", registry_uri=f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture(scope="module")
def explored(tmp_path_factory, empty_store) -> tuple[Path, list[str], benchmark.Outcome]:
    """Four searches: two models at two levels."""
    out = tmp_path_factory.mktemp("explored") / "out"
    out.mkdir()
    shutil.copy(empty_store, out / "mlflow.db")
    outcomes = []
    lines = said(lambda say: outcomes.append(comparison.explore(tuned_config(), out, say=say)))
    return out, lines, outcomes[0]


@pytest.fixture
def out(explored, tmp_path) -> Path:
    return rehomed(explored[0], tmp_path / "out")


def tune_runs(out: Path):
    client = MlflowClient(tracking_uri=store.store_uri(out), registry_uri=store.store_uri(out))
    (experiment,) = [e for e in client.search_experiments() if e.name == "buir-tiny-synthetic"]
    return client, client.search_runs([experiment.experiment_id], "tags.kind = 'tune'")


def test_a_table_for_each_level_says_what_was_found(explored):
    out, lines, outcome = explored
    assert outcome.failures == []
    assert [(r.level, r.model) for r in outcome.records] == [
        (0.5, "popularity"),
        (0.5, "fast-ALS"),
        (1.0, "popularity"),
        (1.0, "fast-ALS"),
    ]
    assert [line for line in lines if line.startswith("synthetic")] == [
        "synthetic, train 50 %",
        "synthetic, train 100 %",
    ]
    head = lines[lines.index("synthetic, train 50 %") + 1]
    assert re.split(r"  +", head) == ["model", "valid NDCG@20", "trials", "processor s", "best settings"]
    rows = [re.split(r"  +", line) for line in lines if line.startswith("fast-ALS")]
    for row, record in zip(rows, outcome.records[1::2], strict=True):
        assert (row[1], row[2]) == (f"{record.tuning['best_value']:.4f}", "3")
        assert f"factors={record.tuning['best_params']['factors']}" in row[4]
    assert lines[-1] == f"Best settings, to be pasted into a configuration: {out / 'best.yaml'}"


def test_nothing_is_searched_again_neither_by_tuning_nor_by_the_benchmark(out, monkeypatch):
    lines = said(lambda say: comparison.explore(tuned_config(), out, say=say))
    assert lines[0] == "4 of 4 searches are finished already and are not run again."
    fits = []
    original = ALS.fit
    monkeypatch.setattr(ALS, "fit", lambda self, *a, **k: fits.append(self.seed) or original(self, *a, **k))
    watcher = Watcher()
    outcome = benchmark.run(tuned_config(), out, watcher)
    assert outcome.failures == []
    # two levels with two seeds each: four fits, and not one for a trial
    assert sorted(fits) == [0, 0, 1, 1]
    assert not [text for what, text in watcher.events if what == "step" and "trial" in text]
    found = {(r.model, r.level): r.tuning["best_params"] for r in Journal(out).records()}
    searched = (Journal(out).read_search(file.stem) for file in (out / "searches").glob("*.json"))
    assert found == {(r.model, r.level): r.tuning["best_params"] for r in searched if r is not None}


def test_the_best_settings_can_be_pasted_into_a_benchmark(explored):
    out, _, outcome = explored
    text = (out / "best.yaml").read_text()
    assert text.startswith(
        "# Best settings on validation data, found by: buir tune (3 trials on synthetic; benchmark tiny).\n"
    )
    best = parse(text, "best.yaml")
    assert list(best) == ["synthetic, train 50 %, split seed 0", "synthetic, train 100 %, split seed 0"]
    pasted = make_config(models=best["synthetic, train 100 %, split seed 0"])
    assert [model.label for model in pasted.models] == ["popularity", "fast-ALS"]
    record = outcome.records[3]
    assert pasted.models[1].params == {"iterations": 2, **record.tuning["best_params"]}


def test_searches_are_runs_of_mlflow(out):
    client, found = tune_runs(out)
    assert {run.info.run_name for run in found} == {
        f"{model}-train{pct}-tuning" for model in ("popularity", "fast-ALS") for pct in (50, 100)
    }
    assert {run.info.status for run in found} == {"FINISHED"}
    run = next(run for run in found if run.info.run_name == "fast-ALS-train50-tuning")
    record = Journal(out).read_search(run.data.tags["search"])
    assert record is not None
    tuning = record.tuning
    assert run.data.params["als.factors"] == str(tuning["best_params"]["factors"])
    assert (run.data.params["als.iterations"], run.data.params["tuning.trials"]) == ("2", "3")
    assert run.data.metrics["tune/ndcg_at_20"] == pytest.approx(tuning["best_value"])
    points = client.get_metric_history(run.info.run_id, "tune/best_ndcg_at_20")
    values = [trial["value"] for trial in tuning["results"]]
    assert [point.step for point in points] == [1, 2, 3]
    assert [point.value for point in points] == pytest.approx([max(values[: n + 1]) for n in range(3)])
    assert {i.tags[0].value for i in run.inputs.dataset_inputs} == {"train", "valid"}
    assert [artifact.path for artifact in client.list_artifacts(run.info.run_id)] == [
        "environment.json",
        "trials.json",
    ]
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert (parent.data.tags["kind"], parent.data.tags["model"], parent.info.status) == (
        "sweep",
        "fast-ALS",
        "FINISHED",
    )


def test_a_benchmark_logs_no_search_twice_and_takes_the_runs_in(out):
    before = {run.info.run_id for run in tune_runs(out)[1]}
    comparison.compare(tuned_config(seeds=[0]), out, say=lambda _: None)
    client, after = tune_runs(out)
    assert {run.info.run_id for run in after} == before
    assert {run.data.tags["latest"] for run in after} == {"yes"}
    for run in after:
        parent = client.get_run(run.data.tags["mlflow.parentRunId"])
        assert "test/ndcg_at_20" in parent.data.metrics
    larger = tuned_config(seeds=[0], tuning={"trials": 4})
    comparison.explore(larger, out, say=lambda _: None, model="popularity", level=1.0)
    latest = [run for run in tune_runs(out)[1] if run.data.tags["latest"] == "yes"]
    assert [run.info.run_name for run in latest] == ["popularity-train100-tuning"]


def test_a_store_that_is_down_loses_no_search(tmp_path, empty_store):
    lines = said(
        lambda say: comparison.explore(
            tuned_config(), tmp_path, say=say, tracking_uri="http://127.0.0.1:9", model="popularity", level=0.5
        )
    )
    assert sum("MLflow cannot be used" in line for line in lines) == 1
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    done = comparison.sync(tmp_path, say=lambda _: None)
    assert list(done) == ["synthetic"]
    assert [run.info.run_name for run in tune_runs(tmp_path)[1]] == ["popularity-train50-tuning"]


def test_a_part_of_the_searches_can_be_chosen_and_the_file_keeps_the_others(out, monkeypatch):
    data = [{"dataset": "synthetic", "name": "other", "options": {"n_users": 60, "n_items": 40, "n_pairs": 600}}]
    config = tuned_config(data=[*data, tuned_config().data[0].model_dump(exclude_unset=True)])
    outcome = comparison.explore(config, out, say=lambda _: None, data="other", model="popularity", level=1.0)
    assert [(r.dataset, r.model, r.level) for r in outcome.records] == [("other", "popularity", 1.0)]
    best = parse((out / "best.yaml").read_text(), "best.yaml")
    assert {place: len(entries) for place, entries in best.items()} == {
        "other, train 100 %, split seed 0": 1,
        "synthetic, train 50 %, split seed 0": 2,
        "synthetic, train 100 %, split seed 0": 2,
    }


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"data": "synthetik"}, "--data: 'synthetik' is not in the configuration; did you mean 'synthetic'?"),
        ({"model": "fast-als"}, "--model: 'fast-als' is not in the configuration; did you mean 'fast-ALS'?"),
        ({"level": 50.0}, "--level: got 50, expected a level of the configuration: 0.5, 1"),
    ],
)
def test_a_wrong_choice_is_told_and_nothing_is_written(tmp_path, choice, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        comparison.explore(tuned_config(), tmp_path / "out", say=lambda _: None, **choice)
    assert not (tmp_path / "out").exists()


def test_without_a_budget_there_is_nothing_to_search(tmp_path):
    with pytest.raises(
        ConfigError, match="tiny: the configuration has no 'tuning:', so there is nothing to search; add"
    ):
        comparison.explore(make_config(), tmp_path, say=lambda _: None)


def test_refusals_and_failures_stand_beside_what_was_found(tmp_path, empty_store, monkeypatch):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    config = tuned_config(
        protocol={"kind": "nested", "levels": [1.0], "split_seeds": [0, 1]}, models=[*MODELS, {"kind": "item-knn"}]
    )

    def refuse(self, *args, **kwargs):
        msg = "too many items"
        raise Refused(msg)

    def fail(self, *args, **kwargs):
        msg = "out of range"
        raise ValueError(msg)

    monkeypatch.setattr(ALS, "fit", refuse)
    monkeypatch.setattr("baselines.neighbours.ItemKNN.fit", fail)
    outcomes = []
    lines = said(lambda say: outcomes.append(comparison.explore(config, tmp_path, say=say)))
    (head,) = [line for line in lines if line.startswith("model")]
    assert re.split(r"  +", head)[:3] == ["model", "split seed", "valid NDCG@20"]
    rows = [re.split(r"  +", line)[:3] for line in lines if line.startswith("fast-ALS")]
    assert rows == [["fast-ALS", "0", "n/a"], ["fast-ALS", "1", "n/a"]]
    assert sum("refused: too many items" in line for line in lines) == 2
    assert [cell.search_title for cell, _ in outcomes[0].failures] == [
        "synthetic 100 % item-KNN",
        "synthetic 100 % item-KNN split seed 1",
    ]
    assert outcomes[0].failures[0][1].startswith("TuningError: none of 3 trials of ItemKNN gave a value: ")
    best = parse((tmp_path / "best.yaml").read_text(), "best.yaml")
    assert [[entry["kind"] for entry in entries] for entries in best.values()] == [["popularity"], ["popularity"]]
    statuses = {run.info.run_name: run.data.tags["status"] for run in tune_runs(tmp_path)[1]}
    assert statuses["fast-ALS-train100-split1-tuning"] == "refused"


@pytest.mark.slow
def test_several_processes_find_what_one_finds(explored, tmp_path, empty_store):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    outcome = comparison.explore(tuned_config(), tmp_path, say=lambda _: None, jobs=2)
    for mine, other in zip(outcome.records, explored[2].records, strict=True):
        assert (mine.key, mine.tuning["best_params"]) == (other.key, other.tuning["best_params"])
