"""MLflow shows what the journal holds: the vocabulary, nothing twice, and nothing lost when the store is away."""

import importlib
import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from sqlalchemy.engine import make_url

from buir import BUIR
from buir.errors import ConfigError, ExperimentError
from buir.experiment.records import headline
from buir.experiment.records.journal import Journal
from buir.experiment.report.figures import sparsity_figure
from buir.experiment.run import plan as benchmark
from buir.experiment.statistics.findings import find
from buir.experiment.tracking import runs, store, viewer
from buir.experiment.tracking.tracker import Tracker
from tests.support.benchmarks import Watcher, make_config
from tests.support.plain_training import PLAIN
from tests.support.records import make_record

pytestmark = [
    # MLflow's own affairs: they come from its modules and say nothing about ours.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow"),
    # SQLAlchemy's pool closes connections when it is collected.
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
]


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory) -> Path:
    """A store whose tables exist: making them takes seconds, copying the file does not."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{file}", registry_uri=f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The journal of a finished benchmark: two models, two levels, two seeds."""
    folder = tmp_path_factory.mktemp("finished")
    models = [
        {"kind": "popularity"},
        {"kind": "buir", "params": {"encoder": "id", "epochs": 3, "embedding_dim": 4} | PLAIN},
    ]
    config = make_config(models=models, description="a test", metrics={"ks": [20]}, log_models=True)
    benchmark.run(config, folder, Watcher())
    return folder


@pytest.fixture
def out(finished, empty_store, tmp_path) -> Path:
    folder = tmp_path / "out"
    shutil.copytree(finished, folder)
    shutil.copy(empty_store, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="module")
def synced(finished, empty_store, tmp_path_factory) -> Path:
    """A journal and its store with everything in it, to be read."""
    folder = tmp_path_factory.mktemp("synced") / "out"
    shutil.copytree(finished, folder)
    shutil.copy(empty_store, folder / "mlflow.db")
    tracker, told = make_tracker(folder)
    tracker.finish("benchmark", {"synthetic": {"table.md": "x"}})
    assert told == []
    return folder


@pytest.fixture
def copied(synced, tmp_path) -> Path:
    """A copy of that, to be changed."""
    return Path(shutil.copytree(synced, tmp_path / "copied"))


class Told(list):
    """Collects lines."""

    def __call__(self, line: str) -> None:
        self.append(line)


def make_tracker(out: Path, uri: str | None = None) -> tuple[Tracker, Told]:
    told = Told()
    return Tracker(Journal(out), uri or store.store_uri(out), told), told


def make_client(out: Path) -> MlflowClient:
    return MlflowClient(tracking_uri=store.store_uri(out), registry_uri=store.store_uri(out))


def all_runs(out: Path, kind: str, view: int = ViewType.ACTIVE_ONLY):
    client = make_client(out)
    experiments = [e.experiment_id for e in client.search_experiments() if e.name.startswith("buir-")]
    return client.search_runs(experiments, f"tags.kind = '{kind}'", run_view_type=view) if experiments else []


def test_the_door_loads_mlflow_when_the_tracker_is_asked_for():
    code = "import sys; from buir.experiment import tracking; print('mlflow' in sys.modules)"
    ask = [sys.executable, "-c", f"{code}; tracking.Tracker; print('mlflow' in sys.modules)"]
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split() == ["False", "True"]


def test_leaf_runs(synced):
    out = synced
    client = make_client(out)
    experiment = client.get_experiment_by_name("buir-tiny-synthetic")
    assert experiment is not None
    assert experiment.artifact_location == (out / "artifacts" / "buir-tiny-synthetic").as_uri()
    found = client.search_runs(
        [experiment.experiment_id],
        "tags.kind = 'fit' and params.train_pct = '50' and params.seed = '1'",
        order_by=["metrics.`test/ndcg_at_20` DESC"],
    )
    assert {run.info.run_name for run in found} == {"popularity-train50-s1", "BUIR-id-train50-s1"}
    run = next(run for run in found if run.data.params["model"] == "BUIR-id")
    record = next(r for r in Journal(out).records() if r.key == run.data.tags["cell"])
    params = run.data.params
    assert (params["dataset"], params["protocol"], params["split_seed"]) == ("synthetic", "nested", "0")
    assert (params["buir.embedding_dim"], params["buir.epochs"], params["buir.encoder"]) == ("4", "3", "id")
    assert (params["fit.stopped"], params["fit.device"], params["fit.batch_size"]) == ("epochs", "cpu", "128")
    assert not [name for name in params if name.startswith("model.")]
    assert run.data.metrics["test/ndcg_at_20"] == pytest.approx(record.metrics["ndcg_at_20"])
    assert run.data.metrics["train_pct"] == 50
    shown = ("fit_s", "rank_s", "peak_mb")
    training = ("effective_rank", "epochs_run", "best_epoch", "valid_trained")
    for name in (
        *("test/recall_at_20", "test_more/mrr_at_20"),
        *(f"usage/{name}" for name in shown),
        *(f"training/{name}" for name in training),
    ):
        (point,) = client.get_metric_history(run.info.run_id, name)
        assert point.step == 50
    # sections are in the order of their names: curves, the headlines, the others, what it came to, its cost
    sections = {name.partition("/")[0] for name in run.data.metrics if "/" in name}
    assert sorted(sections - {"system"}) == ["curve", "test", "test_more", "training", "usage"]
    assert {name for name in run.data.metrics if name.startswith("test/")} == {"test/ndcg_at_20", "test/recall_at_20"}
    assert len([name for name in run.data.metrics if name.startswith("test_more/")]) == len(record.metrics) - 2
    losses = client.get_metric_history(run.info.run_id, "curve/loss")
    assert [point.step for point in losses] == [1, 2, 3]
    assert [point.value for point in losses] == pytest.approx([entry["loss"] for entry in record.history])
    assert len(client.get_metric_history(run.info.run_id, "curve/valid_ndcg_at_20")) == 3
    tags = run.data.tags
    assert tags["mlflow.runColor"] == "#ff7f0e"
    assert tags["split_digest"] == record.split_digest
    assert tags["latest"] == "yes"
    assert not [name for name in tags if name.startswith("version.")]
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time >= 1000 * record.fit_s - 2


def test_data_and_artifacts_of_a_leaf(synced):
    out = synced
    run = next(run for run in all_runs(out, "fit") if run.info.run_name == "popularity-train100-s0")
    record = next(r for r in Journal(out).records() if r.key == run.data.tags["cell"])
    inputs = {i.tags[0].value: i.dataset for i in run.inputs.dataset_inputs}
    assert set(inputs) == {"train", "valid", "test"}
    assert (inputs["train"].name, inputs["test"].name) == ("synthetic-train100", "synthetic-test")
    assert inputs["train"].digest == record.data["train_digest"]
    assert json.loads(inputs["train"].profile)["pairs"] == record.data["train"]
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    users = pd.read_parquet(folder / "users" / f"{record.key}.parquet")
    assert users["ndcg_at_20"].mean() == pytest.approx(record.metrics["ndcg_at_20"])
    table = json.loads((folder / "lists" / "examples.json").read_text())
    assert table["columns"] == ["user", "recommended", "history", "held_out"]
    assert len(table["data"]) == len(record.examples)
    assert [sorted(look["scores"]) for look in record.history] == [["held_out", "other", "positive"]]
    assert (folder / "scores.png").read_bytes().startswith(b"\x89PNG")
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["versions"]["mlflow"] == mlflow.__version__
    assert environment["machine"]["cores"] >= 1


def test_a_fitted_buir_is_loaded_from_its_run_and_recommends(synced, monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    found = {run.info.run_name: run for run in all_runs(synced, "fit")}
    assert len(found) == 8
    # a baseline has no file of its own
    assert [bool(run.outputs.model_outputs) for run in found.values()] == [
        run.data.params["model"] == "BUIR-id" for run in found.values()
    ]
    run = found["BUIR-id-train50-s1"]
    kept = BUIR.load(Journal(synced).model_file(run.data.tags["cell"]))
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(store.store_uri(synced))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's own, on import
            (output,) = run.outputs.model_outputs
            assert f'load_model("models:/{output.model_id}")' in run.data.tags["mlflow.note.content"]
            loaded = importlib.import_module("mlflow.pyfunc").load_model(f"models:/{output.model_id}")
    finally:
        mlflow.set_tracking_uri(before)
    user = kept.user_ids_[3].item()
    (answer,) = loaded.predict([{"user": user}], params={"k": 5})
    frame = kept.recommend_frame(users=[user], k=5)
    assert answer.items == frame["item"].tolist()
    assert answer.scores == pytest.approx(frame["score"].tolist())
    assert (loaded.metadata.run_id, loaded.metadata.model_id) == (run.info.run_id, output.model_id)
    logged = make_client(synced).get_logged_model(output.model_id)
    assert (logged.name, str(logged.status), logged.params["embedding_dim"]) == (
        *("BUIR-id-train50-s1", "READY"),
        "4",
    )
    values = {metric.key: metric for metric in logged.metrics}
    assert values["test/ndcg_at_20"].value == run.data.metrics["test/ndcg_at_20"]
    linked = {
        name: (values[name].dataset_name, values[name].dataset_digest) for name in ("test/ndcg_at_20", "usage/fit_s")
    }
    record = next(r for r in Journal(synced).records() if r.key == run.data.tags["cell"])
    assert linked == {"test/ndcg_at_20": ("synthetic-test", record.data["test_digest"]), "usage/fit_s": (None, None)}


def test_without_log_models_nothing_is_kept(tmp_path):
    models = [{"kind": "buir", "params": {"encoder": "id", "epochs": 1, "embedding_dim": 4}}]
    benchmark.run(make_config(models=models, seeds=[0]), tmp_path, Watcher())
    assert len(list((tmp_path / "cells").glob("*.json"))) == 2
    assert list((tmp_path / "cells").glob("*.safetensors")) == []


def test_sweeps_carry_the_means_and_parent_the_leaves(synced):
    out = synced
    client = make_client(out)
    sweeps = {run.info.run_name: run for run in all_runs(out, "sweep")}
    assert set(sweeps) == {"popularity", "BUIR-id"}
    sweep = sweeps["BUIR-id"]
    assert sweep.data.tags["mlflow.runColor"] == "#ff7f0e"
    points = client.get_metric_history(sweep.info.run_id, "test/recall_at_20")
    mine = [r for r in Journal(out).records() if r.model == "BUIR-id"]
    for point in points:
        values = [r.metrics["recall_at_20"] for r in mine if r.train_pct == point.step]
        assert point.value == pytest.approx(sum(values) / 2)
    assert [point.step for point in points] == [50, 100]
    bars = {f"at_{level}/{name}_at_20" for level in ("050", "100") for name in ("ndcg", "recall")}
    shown = {"test/ndcg_at_20", "test/recall_at_20", "usage/fit_s", "usage/peak_mb", "train_pct"}
    assert set(sweep.data.metrics) == shown | bars
    axis = client.get_metric_history(sweep.info.run_id, "train_pct")
    assert [(point.step, point.value) for point in axis] == [(50, 50.0), (100, 100.0)]
    (bar,) = client.get_metric_history(sweep.info.run_id, "at_050/recall_at_20")
    assert (bar.step, bar.value) == (0, points[0].value)
    assert sweep.data.tags["mlflow.note.content"].splitlines()[2].startswith("* At 50 %: NDCG@20 0.")
    assert sweep.info.end_time > sweep.info.start_time
    children = client.search_runs([sweep.info.experiment_id], f"tags.`mlflow.parentRunId` = '{sweep.info.run_id}'")
    assert {run.data.tags["cell"] for run in children} == {r.key for r in mine}


def test_the_summary_run_and_the_page(out):
    journal = Journal(out)
    records = list(journal.records())
    figure = sparsity_figure(find(records, journal.read_users))
    tracker, _ = make_tracker(out)
    given = {"answer.md": "ALS is best.", "table.md": "| a |", "sparsity.png": figure, "report.html": lambda: "<p>"}
    experiments = tracker.finish("benchmark", {"synthetic": given})
    (summary,) = all_runs(out, "summary")
    folder = Path(summary.info.artifact_uri.removeprefix("file://"))
    assert {p.name for p in folder.iterdir()} == {
        *("config.json", "table.md", "sparsity.png", "report.html", "users.parquet", "groups")
    }
    assert (folder / "report.html").read_text() == "<p>"
    users = pd.read_parquet(folder / "users.parquet")
    assert [*users] == [
        "train_pct",
        "model",
        "split_seed",
        "seed",
        "user",
        "train_degree",
        "ndcg_at_20",
        "recall_at_20",
    ]
    assert len(users) == sum(record.n_test_users for record in records)
    means = users.groupby(["train_pct", "model", "seed"])["ndcg_at_20"].mean()
    for record in records:
        found = means[record.train_pct, record.model, record.seed]
        assert found == pytest.approx(record.metrics["ndcg_at_20"], rel=1e-5)
    for of in ("user", "item"):
        table = json.loads((folder / "groups" / f"{of}s.json").read_text())
        flat = pd.DataFrame(table["data"], columns=table["columns"])
        mine = [r.groups[of][0]["ndcg_at_20"] for r in records if (r.model, r.train_pct) == ("popularity", 50)]
        first = flat[(flat["model"] == "popularity") & (flat["train_pct"] == 50)].iloc[0]
        assert first["ndcg_at_20"] == pytest.approx(sum(mine) / len(mine))
    assert (folder / "sparsity.png").read_bytes().startswith(b"\x89PNG")
    experiment = make_client(out).get_experiment(experiments["synthetic"])
    assert summary.data.tags["mlflow.note.content"] == experiment.tags["mlflow.note.content"]
    note = experiment.tags["mlflow.note.content"]
    assert note.splitlines()[0] == "* ALS is best."
    assert "**tiny on synthetic**: a test" in note
    assert f"[settings](#/experiments/{experiment.experiment_id}/runs?viewStateShareKey=settings&workflow" in note
    assert "kind nested" in note
    assert "| a |" in note
    assert records[0].split_digest in note
    view = json.loads(experiment.tags[store.VIEW_TAG])
    state = json.loads(view["state"])
    assert view["name"] == "Recall & NDCG vs sparsity"
    assert [c["metricKey"] for c in state["compareRunCharts"]][:2] == ["test/ndcg_at_20", "test/recall_at_20"]
    axes = {(c["xAxisKey"], c["selectedXAxisMetricKey"]) for c in state["compareRunCharts"]}
    assert axes == {("metric", "train_pct")}
    found = make_client(out).search_runs([experiment.experiment_id], state["searchFilter"])
    assert {run.data.params["model"] for run in found} == {"popularity", "BUIR-id"}
    assert len(found) == 2
    state = json.loads(json.loads(experiment.tags["mlflow.sharedViewState.best-50"])["state"])
    found = make_client(out).search_runs([experiment.experiment_id], state["searchFilter"])
    assert sorted(run.info.run_name for run in found) == ["BUIR-id", "popularity"]
    assert state["orderByKey"] == "metrics.`at_050/ndcg_at_20`"
    assert [(c["type"], c["metricKey"], c["displayName"]) for c in state["compareRunCharts"]] == [
        ("BAR", "at_050/ndcg_at_20", "NDCG@20 at 50 %"),
        ("BAR", "at_050/recall_at_20", "Recall@20 at 50 %"),
    ]
    assert all(c["metricKey"] in run.data.metrics for c in state["compareRunCharts"] for run in found)
    state = json.loads(json.loads(experiment.tags["mlflow.sharedViewState.settings"])["state"])
    columns = [column.split("`")[1] for column in state["selectedColumns"]]
    assert columns[:4] == ["model", "train_pct", "seed", "fit.stopped"]
    assert {"fit.batch_size", "buir.epochs", "buir.encoder"} <= set(columns)
    found = make_client(out).search_runs([experiment.experiment_id], state["searchFilter"])
    assert len(found) == 8
    assert {name for run in found for name in run.data.params} >= set(columns)
    state = json.loads(json.loads(experiment.tags["mlflow.sharedViewState.lists-50"])["state"])
    found = make_client(out).search_runs([experiment.experiment_id], state["searchFilter"])
    assert sorted(run.info.run_name for run in found) == ["BUIR-id-train50-s0", "popularity-train50-s0"]


def test_the_first_line_of_the_note_names_the_best_model_of_each_level(finished):
    journal = Journal(finished)
    plan, records = journal.read_plan(), list(journal.records())
    assert plan is not None
    best = {}
    for pct in (50, 100):
        means = {
            model: sum(r.metrics["ndcg_at_20"] for r in records if (r.model, r.train_pct) == (model, pct))
            for model in ("popularity", "BUIR-id")
        }
        best[pct] = max(means, key=means.__getitem__)
    lines = runs.note(plan, records, "").splitlines()
    for place, pct in enumerate((50, 100)):
        here = [r for r in records if (r.model, r.train_pct) == (best[pct], pct)]
        mean = sum(r.metrics["ndcg_at_20"] for r in here) / 2
        said = f"* At {pct} % of the training data **{best[pct]}** has the highest mean (NDCG@20 {mean:.4f})"
        assert lines[place].startswith(said)
        popular = "; its lists **are what is popular**." if all(r.is_popularity for r in here) else "."
        assert lines[place] == said + popular
    assert runs.answers([replace(record, status="refused") for record in records], "ndcg_at_20") == [
        "Nothing is finished."
    ]


def test_the_note_names_units_and_what_must_not_be_compared(finished):
    journal = Journal(finished)
    plan, records = journal.read_plan(), list(journal.records())
    assert plan is not None
    assert "usage/fit_s and usage/tune_s are seconds of the processor" in runs.note(plan, records, "")
    assert "The test set shrinks" not in runs.note(plan, records, "")
    protocol = plan["config"]["protocol"] | {"kind": "author"}
    tuning = {"trials": 2, "metric": "ndcg_at_20", "max_seconds": 20.0, "seed": 0}
    changed = plan | {"config": plan["config"] | {"protocol": protocol, "tuning": tuning}}
    text = runs.note(changed, records, "")
    assert "The test set shrinks as the level grows: compare models within a level, not levels." in text
    assert "Seconds are those of the processor; they end the training of models with epochs only." in text


def test_nothing_is_logged_twice(out):
    first, _ = make_tracker(out)
    for record in Journal(out).records():
        first.log(record)
    first.finish("benchmark", {"synthetic": {"table.md": "x"}})
    before = {kind: {r.info.run_id for r in all_runs(out, kind, ViewType.ALL)} for kind in ("fit", "sweep", "summary")}
    assert {kind: len(ids) for kind, ids in before.items()} == {"fit": 8, "sweep": 2, "summary": 1}
    second, _ = make_tracker(out)
    second.finish("benchmark", {"synthetic": {"table.md": "x"}})
    after = {kind: {r.info.run_id for r in all_runs(out, kind, ViewType.ALL)} for kind in ("fit", "sweep", "summary")}
    assert after == before


def test_a_half_written_run_is_replaced(copied):
    out = copied
    client = make_client(out)
    victim = next(run for run in all_runs(out, "fit") if run.data.params["model"] == "BUIR-id")
    (model,) = victim.outputs.model_outputs
    client.set_terminated(victim.info.run_id, "FAILED")
    again, _ = make_tracker(out)
    again.finish("benchmark", {})
    leaves = all_runs(out, "fit")
    assert len(leaves) == 8
    assert {run.info.status for run in leaves} == {"FINISHED"}
    assert victim.info.run_id not in {run.info.run_id for run in leaves}
    assert victim.data.tags["cell"] in {run.data.tags["cell"] for run in leaves}
    found = client.search_logged_models([victim.info.experiment_id])
    assert len(found) == 4
    assert model.model_id not in {logged.model_id for logged in found}


@pytest.mark.slow
def test_more_seeds_make_new_means_and_older_settings_leave_the_view(copied):
    out = copied
    old = {run.info.run_name: run.info.run_id for run in all_runs(out, "sweep")}
    models = [{"kind": "popularity"}, {"kind": "buir", "params": {"encoder": "id", "epochs": 2, "embedding_dim": 4}}]
    config = make_config(models=models, seeds=[0, 1, 2], metrics={"ks": [20]})
    benchmark.run(config, out, Watcher())
    again, _ = make_tracker(out)
    again.finish("benchmark", {})
    sweeps = {run.info.run_name: run for run in all_runs(out, "sweep")}
    assert set(sweeps) == {"popularity", "BUIR-id"}
    assert sweeps["BUIR-id"].info.run_id != old["BUIR-id"]
    leaves = all_runs(out, "fit")
    latest = [run for run in leaves if run.data.tags["latest"] == "yes"]
    assert len(leaves) == 8 + 2 + 6
    assert len(latest) == 12
    assert {run.data.tags["latest"] for run in sweeps.values()} == {"yes"}
    assert {run.data.params.get("buir.epochs") for run in latest if run.data.params["model"] == "BUIR-id"} == {"2"}
    parents = {run.data.tags["mlflow.parentRunId"] for run in leaves if run.data.params["model"] == "BUIR-id"}
    assert parents == {sweeps["BUIR-id"].info.run_id}


def test_a_refused_cell_is_a_run_with_the_reason(out):
    journal = Journal(out)
    plan = journal.read_plan()
    assert plan is not None
    record = journal.read(plan["keys"][0])
    assert record is not None
    journal.write(replace(record, status="refused", reason="too many items", metrics={}, history=[], system=[]))
    tracker, told = make_tracker(out)
    tracker.finish("benchmark", {})
    assert told == []
    (run,) = [run for run in all_runs(out, "fit") if run.data.tags["status"] == "refused"]
    assert run.data.tags["reason"] == "too many items"
    assert set(run.data.metrics) == {"train_pct"}
    assert run.data.params["fit.stopped"] == "refused"
    assert run.data.tags["mlflow.note.content"] == "n/a: too many items"


@contextmanager
def broken_server(health: int) -> Iterator[tuple[str, list[str]]]:
    """A server that says how it is and fails at everything else; its address, and the paths it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(health if self.path == "/health" else 400)
            self.end_headers()

        do_POST = do_GET  # noqa: N815 - the name is http.server's

        def log_message(self, format, *args):
            """Be quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
def test_runs_in_the_names_of_an_earlier_version_are_written_anew_and_that_is_told(copied):
    client, before = make_client(copied), {}
    for kind in ("fit", "sweep", "summary"):
        for run in all_runs(copied, kind):
            client.delete_tag(run.info.run_id, "vocabulary")
            before[run.info.run_id] = run
    lost = next(run for run in before.values() if run.info.run_name == "popularity-train50-s0")
    registered = next(run for run in before.values() if run.info.run_name == "BUIR-id-train50-s0")
    (model,) = registered.outputs.model_outputs
    client.create_registered_model("kept")
    place = client.get_logged_model(model.model_id).artifact_location
    client.create_model_version("kept", place, registered.info.run_id)
    (copied / "cells" / f"{lost.data.tags['cell']}.json").unlink()
    tracker, told = make_tracker(copied)
    tracker.finish("benchmark", {})
    assert len(told) == 1
    assert told[0].startswith("10 runs of buir-tiny-synthetic had names of an earlier version")
    leaves = all_runs(copied, "fit")
    assert len(leaves) == 8
    # what the journal has no more stays, out of the views
    assert {run.info.run_id for run in leaves} & set(before) == {lost.info.run_id}
    assert next(run for run in leaves if run.info.run_id == lost.info.run_id).data.tags["latest"] == "no"
    assert {kind: len(all_runs(copied, kind)) for kind in ("sweep", "summary")} == {"sweep": 2, "summary": 1}
    assert client.get_logged_model(model.model_id).name == "BUIR-id-train50-s0"
    assert make_tracker(copied)[0].finish("benchmark", {})
    again, told = make_tracker(copied)
    again.finish("benchmark", {})
    assert told == []


@pytest.mark.slow
def test_a_server_that_is_down_costs_a_probe_in_a_minute_one_at_the_end_and_one_warning(out):
    with broken_server(health=503) as (uri, asked):
        tracker, told = make_tracker(out, uri)
        for record in Journal(out).records():
            tracker.log(record)
        assert tracker.finish("benchmark", {}) == {}
    assert asked == ["/health", "/health"]
    assert len(told) == 1
    assert told[0].startswith(f"MLflow cannot be used (no answer from {uri}). Nothing is lost: ")
    assert told[0].endswith(f"buir sync --out {out} --tracking-uri {uri}")
    later, told = make_tracker(out)
    assert len(later.finish("benchmark", {})) == 1
    assert told == []
    assert len(all_runs(out, "fit")) == 8


def test_a_server_that_breaks_down_later_is_told_once(out):
    with broken_server(health=200) as (uri, asked):
        assert store.answers(uri)
        tracker, told = make_tracker(out, uri)
        for record in Journal(out).records():
            tracker.log(record)
        assert tracker.down
        assert len(told) == 1
        assert asked.count("/health") == 2
    assert not store.answers(uri, seconds=0.5)


def logged_cells(out: Path) -> set[str]:
    return {run.data.tags["cell"] for run in all_runs(out, "fit") if run.info.status == "FINISHED"}


@pytest.mark.slow
def test_after_an_outage_mlflow_gets_what_it_missed_and_each_outage_is_told_once(out, monkeypatch):
    """The store fails at some calls of a fake clock's time; the runs are real."""
    now, broken, failed = [0.0], [False], []
    told = Told()
    tracker = Tracker(Journal(out), store.store_uri(out), told, clock=lambda: now[0])
    log_inputs = MlflowClient.log_inputs

    def fail(self, run_id, *args, **options):
        # a run is begun and not finished, as when a server dies in the middle of it
        if broken[0]:
            failed.append(run_id)
            msg = "connection reset"
            raise ConnectionError(msg)
        log_inputs(self, run_id, *args, **options)

    monkeypatch.setattr(MlflowClient, "log_inputs", fail)
    records = list(Journal(out).records())
    tracker.log(records[0])
    broken[0] = True
    tracker.log(records[1])
    now[0] = 59.0
    broken[0] = False
    tracker.log(records[2])
    assert tracker.down
    assert logged_cells(out) == {records[0].key}
    assert len(failed) == 1
    assert len(told) == 1
    assert told[0].startswith("MLflow cannot be used (connection reset). Nothing is lost: ")
    now[0] = 60.0
    tracker.log(records[3])
    assert not tracker.down
    assert told[1:] == ["MLflow can be used again, and has what it missed."]
    assert logged_cells(out) == {record.key for record in records}
    assert len(all_runs(out, "fit")) == 8
    make_client(out).set_terminated(next(r.info.run_id for r in all_runs(out, "fit")), "FAILED")
    tracker = Tracker(Journal(out), store.store_uri(out), told, clock=lambda: now[0])
    broken[0] = True
    for record in records:
        tracker.log(record)
    assert len(failed) == 2
    assert [line.startswith("MLflow cannot be used") for line in told] == [True, False, True]
    broken[0] = False
    # The end does not wait for the minute to be over.
    assert len(tracker.finish("benchmark", {})) == 1
    assert len(told) == 4
    assert logged_cells(out) == {record.key for record in records}
    assert len(all_runs(out, "fit")) == 8
    assert {run.info.run_name for run in all_runs(out, "sweep")} == {"popularity", "BUIR-id"}


def test_a_deleted_experiment_is_named(copied):
    client = make_client(copied)
    experiment = client.get_experiment_by_name("buir-tiny-synthetic")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    again, told = make_tracker(copied)
    again.finish("benchmark", {})
    assert "the experiment 'buir-tiny-synthetic' was deleted in MLflow; restore it there" in told[0]


def test_which_store(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert store.choose_uri("x") == f"sqlite:///{tmp_path}/x/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there:5000")
    assert store.choose_uri("x") == "http://there:5000"
    assert store.choose_uri("x", "sqlite:////y.db") == "sqlite:////y.db"
    with pytest.raises(ConfigError, match=r"the MLflow store is 'htps://there', expected .*; did you mean 'https'\?"):
        store.choose_uri("x", "htps://there")


@pytest.mark.parametrize("name", ["res %20", "a?b", "50%", "c #d&e=1", "100%25?x=%41", "über uns"])
def test_a_folder_of_any_name_has_an_address(tmp_path, name):
    file = store.database(tmp_path / name)
    url = make_url(store.store_uri(tmp_path / name))
    assert (url.database, dict(url.query)) == (str(file), {})
    assert store.is_local(store.store_uri(tmp_path / name))


@pytest.mark.parametrize("name", ["res %20", "a?b"])
def test_a_store_in_a_folder_of_any_name(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store.prepare(store.database(name), lambda _: None)
    client = MlflowClient(tracking_uri=store.store_uri(name), registry_uri=store.store_uri(name))
    client.create_experiment("buir-x", artifact_location=(tmp_path / name / "artifacts").as_uri())
    with closing(sqlite3.connect(store.database(name).as_uri(), uri=True)) as connection:
        assert ("buir-x",) in connection.execute("SELECT name FROM experiments").fetchall()
    assert [folder.name for folder in tmp_path.iterdir()] == [name]  # and no folder of the address's spelling


def test_what_to_run_is_ready_for_the_shell(tmp_path):
    folder = tmp_path / "my results?"
    folder.mkdir()
    store.database(folder).write_bytes(b"no database")
    with pytest.raises(
        ExperimentError, match=f"delete it and run: buir sync --out {re.escape(shlex.quote(str(folder)))}$"
    ):
        viewer.pages(store.store_uri(folder))


def test_a_store_is_made_whole_or_not_at_all(tmp_path, monkeypatch):
    file, told = tmp_path / "a folder" / "mlflow.db", []
    file.parent.mkdir()
    (file.parent / ".mlflow.db.0123").write_bytes(b"left by a process that was killed")

    class Killed(BaseException):
        pass

    def killed(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "search_experiments", killed)
        with pytest.raises(Killed):
            store.prepare(file, told.append)
    assert not file.exists()
    store.prepare(file, told.append)
    assert sorted(path.name for path in file.parent.iterdir()) == [".lock-mlflow.db", "mlflow.db"]
    assert told == ["Creating the MLflow store (once, a few seconds)."] * 2
    before = file.read_bytes()
    store.prepare(file, told.append)
    assert len(told) == 2
    assert file.read_bytes() == before
    assert store.fault(file) is None


def half_made(file):
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        connection.commit()


def made_without_an_end(file):
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.commit()


def test_what_is_wrong_with_a_store(tmp_path, empty_store):
    whole = empty_store
    assert store.fault(whole) is None
    for name, damage, told in (
        ("garbled", lambda file: file.write_bytes(b"no database " * 1000), "file is not a database"),
        ("cut", lambda file: file.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2]), "malformed"),
        ("half", half_made, "it is only half made"),
        ("endless", made_without_an_end, "it is only half made"),
        ("empty", lambda file: file.write_bytes(b""), "it is only half made"),
    ):
        damage(tmp_path / name)
        assert told in str(store.fault(tmp_path / name)), name


def test_a_store_that_cannot_be_opened_is_kept_aside_and_made_anew(tmp_path):
    file, told = tmp_path / "mlflow.db", []
    (tmp_path / "mlflow.db.damaged-1").write_bytes(b"an earlier one")
    file.write_bytes(b"garbled")
    store.prepare(file, told.append)
    assert (tmp_path / "mlflow.db.damaged-2").read_bytes() == b"garbled"
    assert told[0] == (
        f"warning: {file} cannot be opened (file is not a database): it is kept as mlflow.db.damaged-2, and made anew "
        "from the results."
    )
    assert store.fault(file) is None


def test_links():
    assert store.page("http://h:1/", "7") == (
        "http://h:1/#/experiments/7/runs?viewStateShareKey=sparsity&compareRunsMode=CHART&workflowType=machine_learning"
    )
    assert store.page("http://h:1", "7", view=None) == (
        "http://h:1/#/experiments/7/runs?compareRunsMode=CHART&workflowType=machine_learning"
    )
    assert store.page("http://h:1", "7", view="best-10", charts=False) == (
        "http://h:1/#/experiments/7/runs?viewStateShareKey=best-10&workflowType=machine_learning"
    )
    assert store.page("http://h:1", "7", view="lists-10", lists=True) == (
        "http://h:1/#/experiments/7/runs?viewStateShareKey=lists-10&compareRunsMode=ARTIFACT"
        "&workflowType=machine_learning"
    )
    assert "[best at 0.5 %](#/experiments/7/runs?viewStateShareKey=best-0.5&compareRunsMode=CHART" in store.links(
        "7", [0.5]
    )
    assert [store.at_level(pct, "test/ndcg_at_20") for pct in (0.5, 10, 100)] == [
        f"at_{level}/ndcg_at_20" for level in ("0.5", "010", "100")
    ]


def test_the_views_are_left_alone_unless_they_change(monkeypatch):
    shown = {"test/ndcg_at_20": "NDCG@20"}
    first = store.view_tags(shown, [10, 50], {})
    names = {tag: json.loads(value)["name"] for tag, value in first.items()}
    assert names == {
        store.VIEW_TAG: "Recall & NDCG vs sparsity",
        "mlflow.sharedViewState.settings": "Settings and what fits came to",
        "mlflow.sharedViewState.best-10": "Best at 10 %",
        "mlflow.sharedViewState.best-50": "Best at 50 %",
        "mlflow.sharedViewState.lists-10": "Lists at 10 %",
        "mlflow.sharedViewState.lists-50": "Lists at 50 %",
    }
    monkeypatch.setattr(store.time, "time", lambda: 1.0)
    assert store.view_tags(shown, [10, 50], first) == first
    assert store.view_tags({"test/mrr_at_20": "MRR@20"}, [10], first)[store.VIEW_TAG] != first[store.VIEW_TAG]
    for broken in ("not json", "[1]"):
        assert store.view_tags(shown, [], {store.VIEW_TAG: broken})[store.VIEW_TAG] != broken
    assert all(len(value) < 20_000 for value in first.values())


def test_views_are_written_for_versions_whose_format_is_known():
    for version, supported in (("3.14.9", False), ("3.15.0", True), ("3.17.2", True), ("4.0.0", False), ("x", False)):
        assert store.views_supported(version) is supported


@pytest.mark.slow
def test_a_version_of_another_format_shows_the_note_and_no_views(out, monkeypatch):
    monkeypatch.setattr(mlflow, "__version__", "4.0.0")
    tracker, told = make_tracker(out)
    experiments = tracker.finish("benchmark", {"synthetic": {"table.md": "x"}})
    assert told == []
    tags = make_client(out).get_experiment(experiments["synthetic"]).tags
    assert tags["mlflow.note.content"].startswith("* At 50 % of the training data **")
    assert "Views:" not in tags["mlflow.note.content"]
    assert not [tag for tag in tags if tag.startswith("mlflow.sharedViewState.")]


def test_names_and_numbers_that_mlflow_refuses_stay_out(tmp_path):
    assert runs.finite({"a": 1, "b": float("nan"), "c": float("inf"), "d": None, "e": True, "f": "x"}) == {"a": 1.0}
    data = {"users": 1, "items": 1} | dict.fromkeys(("train", "valid", "test"), 1)
    data |= {f"{part}_digest": part for part in ("train", "valid", "test")}
    told = {"model": "ALS", "data": data, "status": "refused"}
    for name, facts in {
        "ALS-train20-s1": {"seed": 1},
        "ALS-train20-split2-s1": {"split_seed": 2, "seed": 1},
        "ALS-train20-split2-tuning": {"split_seed": 2, "work": "search"},
    }.items():
        assert runs.RunContent.of(make_record(**told, **facts), Journal(tmp_path)).name == name
    assert headline((10, 20)) == ("ndcg_at_20", "recall_at_20")
    assert headline((5, 10)) == ("ndcg_at_5", "recall_at_5")


TOLD = {
    "model": "BUIR",
    "kind": "buir",
    "level": 0.1,
    "params": {"epochs": "auto", "valid_metric": "ndcg_at_20"},
    "metrics": {"ndcg_at_20": 0.0724, "recall_at_20": 0.1483, "map_at_20": 0.03},
    "chosen": {
        "epochs": 0,
        "epochs_run": 0,
        "stopped": "start",
        "strengths": {"popularity": 30.0},
        "batch_size": 256,
        "start": 0.07,
        "trained": 0.065,
        "value": 0.08,
        "bare": 0.04,
        "with_terms": True,
        "embedding_dim": 16,
    },
    "n_test_users": 1200,
    "popularity_overlap": 0.97,
    "examples": [{"user": "17"}, {"user": "20"}],
}


def test_a_run_is_described_in_words_with_the_lines_that_load_it():
    record = make_record(**TOLD)
    said = runs.describe_fit(record, "models:/m-1", Path("cells/k.safetensors")).splitlines()
    assert said[:9] == [
        "**BUIR-train10-s0**: NDCG@20 0.0724, Recall@20 0.1483 on 1,200 test users of toy, 10 % of the training data.",
        "",
        "* **This is popularity**: 97% of the places of its lists hold what is popular.",
        "* Its start was kept: no branch of training validated better, so that no epoch was run.",
        "* Training added -0.0050 over its start: 0.0700 before, 0.0650 after.",
        "* NDCG@20 on held-out pairs: 0.0800 with the terms of the score and 0.0400 without.",
        "* Terms of the score: popularity 30.",
        "* Decided by the fit: batch size 256, embedding dim 16.",
        "* What was asked for is under Parameters, as `buir.<name>`.",
    ]
    assert 'lists = mlflow.pyfunc.load_model("models:/m-1")' in said
    assert 'print(lists.predict([{"user": 17}], params={"k": 10}))' in said
    assert "mlflow models serve -m models:/m-1 --env-manager local --port 5001" in said
    named = replace(record, examples=[{"user": "007"}])
    assert """print(lists.predict([{"user": '007'}], params={"k": 10}))""" in runs.describe_fit(named, "m", Path("f"))
    assert runs.describe_fit(record, None, Path("f")).endswith("`log_models: true`, in a new folder of results.")
    assert "log_models" not in runs.describe_fit(replace(record, kind="als"), None, Path("f"))
    assert runs.decided(record) == {
        "stopped": "start",
        "batch_size": 256,
        "embedding_dim": 16,
        "terms": {"popularity": 30.0},
        "popularity": "this is popularity",
    }


def test_a_sweep_and_a_search_are_described_in_words():
    record = make_record(**TOLD)
    other = replace(record, level=0.5, popularity_overlap=0.3, seed=1)
    refused = replace(record, level=1.0, status="refused")
    assert runs.describe_sweep([other, record, refused], ["ndcg_at_20"]).splitlines() == [
        "**BUIR** on toy, means over its seeds. The single fits are its children.",
        "",
        "* At 10 %: NDCG@20 0.0724; ended by: start; **this is popularity**.",
        "* At 50 %: NDCG@20 0.0724; ended by: start.",
        "* At 100 %: refused.",
    ]
    tuning = {"metric": "ndcg_at_20", "best_value": 0.25, "best_params": {"alpha": 3}}
    search = replace(record, work="search", tuning=tuning, n_trials=4)
    assert runs.describe_fit(search, None, Path("f")) == (
        "**BUIR-train10-tuning**: 4 trials; best on validation pairs NDCG@20 0.2500 with alpha=3."
    )
    assert runs.model_name(replace(record, model="a/b.c", level=0.005)) == "a-b-c-train0-5-s0"
