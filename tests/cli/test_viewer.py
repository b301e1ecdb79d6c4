"""The user interface: a real server, a benchmark over HTTP, and what a newcomer's browser shows."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from buir.cli import app
from buir.errors import ExperimentError
from buir.experiment import comparison
from buir.experiment.records.journal import Journal
from buir.experiment.tracking import store, viewer
from tests.support.benchmarks import make_config

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
]


def test_a_port_in_use_is_passed_over():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert viewer.free_port(port) > port
        with pytest.raises(ExperimentError, match=f"no free port between {port} and {port}; give another with --port"):
            viewer.free_port(port, tries=1)


def test_a_server_that_does_not_start_is_told(tmp_path, monkeypatch):
    popen = subprocess.Popen
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    monkeypatch.setattr(viewer.subprocess, "Popen", lambda _, **kwargs: popen(command, **kwargs))
    log = tmp_path / "log"
    with (
        pytest.raises(ExperimentError, match="mlflow server ended with code 3; its output is in "),
        viewer.serving("x", log),
    ):
        pytest.fail("it did not start")


def test_a_damaged_store_is_told(tmp_path):
    store.database(tmp_path).write_bytes(b"bad")
    with pytest.raises(
        ExperimentError, match="cannot be read \\(file is not a database\\); if its file is damaged, delete it"
    ):
        viewer.pages(store.store_uri(tmp_path))


def test_a_page_is_opened_where_there_is_a_screen(monkeypatch):
    opened = []
    monkeypatch.setattr(viewer.webbrowser, "open", lambda page: not opened.append(page))
    monkeypatch.setattr(viewer.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    assert not viewer.open_page("http://127.0.0.1:1/a")
    monkeypatch.setenv("DISPLAY", ":0")
    assert viewer.open_page("http://127.0.0.1:1/b")
    assert opened == ["http://127.0.0.1:1/b"]

    def fails(page: str) -> bool:
        raise viewer.webbrowser.Error(page)

    monkeypatch.setattr(viewer.webbrowser, "open", fails)
    assert not viewer.open_page("http://127.0.0.1:1/c")


@pytest.mark.parametrize(("options", "opens"), [([], True), (["--no-browser"], False)])
def test_the_latest_benchmark_is_opened_in_the_mode_that_shows_its_runs(monkeypatch, options, opens):
    pages, opened = [("buir-a-b", "http://x/#/experiments/2/runs?workflowType=machine_learning"), ("old", "y")], []
    monkeypatch.setattr(viewer, "pages", lambda _: lambda _: pages)
    monkeypatch.setattr(viewer, "open_page", opened.append)
    done = CliRunner().invoke(app, ["ui", "--store", "http://x", *options])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [f"{name}: {page}" for name, page in pages]
    assert opened == ([pages[0][1]] if opens else [])


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with viewer.serving(store.store_uri(folder), folder / "log", port=5700) as (_, base):
        yield base


@pytest.mark.slow
def test_everything_that_a_benchmark_writes_is_read_back_over_http(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    out, told = tmp_path / "out", []
    config = make_config(name="http", metrics={"ks": [20]}, tuning={"trials": 2})
    records = comparison.compare(config, out, say=told.append, tracking_uri=server).records
    assert not any("MLflow cannot be used" in line for line in told)
    client = MlflowClient(tracking_uri=server, registry_uri=server)
    experiment = client.get_experiment_by_name("buir-http-synthetic")
    assert experiment is not None

    def runs_of(kind: str):
        return client.search_runs([experiment.experiment_id], f"tags.kind = '{kind}'")

    fits = {run.data.tags["cell"]: run for run in runs_of("fit")}
    assert set(fits) == {record.key for record in records}
    sweeps = {run.data.params["model"]: run for run in runs_of("sweep")}
    assert set(sweeps) == {"popularity", "ALS"}
    for record in records:
        run = fits[record.key]
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == sweeps[record.model].info.run_id
        assert run.data.metrics["test/recall_at_20"] == pytest.approx(record.metrics["recall_at_20"])
        inputs = {i.tags[0].value: i.dataset for i in run.inputs.dataset_inputs}
        assert {part: dataset.digest for part, dataset in inputs.items()} == {
            part: record.data[f"{part}_digest"] for part in ("train", "valid", "test")
        }
        assert json.loads(inputs["train"].source) == {"uri": "synthetic", "split": record.split_digest}
        assert json.loads(inputs["test"].source) == {"uri": "synthetic"}
        assert {a.path for a in client.list_artifacts(run.info.run_id)} == {
            "environment.json",
            "groups.json",
            "lists",
            "scores.png",
            "users",
        }
    for model, run in sweeps.items():
        for point in client.get_metric_history(run.info.run_id, "test/ndcg_at_20"):
            mine = [r for r in records if (r.model, r.train_pct) == (model, point.step)]
            assert point.value == pytest.approx(sum(r.metrics["ndcg_at_20"] for r in mine) / len(mine))

    searches = {record.key: record for record in map(Journal(out).read_search, _searches(out)) if record}
    tuned = {run.data.tags["search"]: run for run in runs_of("tune")}
    assert set(tuned) == set(searches)
    assert len(tuned) == 4
    for key, record in searches.items():
        run = tuned[key]
        assert run.data.metrics["tune/ndcg_at_20"] == pytest.approx(record.tuning["best_value"])
        assert run.data.metrics["tune/trials"] == record.n_trials
        inputs = {i.tags[0].value: i.dataset.digest for i in run.inputs.dataset_inputs}
        assert inputs == {part: record.data[f"{part}_digest"] for part in ("train", "valid")}
        file = client.download_artifacts(run.info.run_id, "trials.json", str(tmp_path))
        assert json.loads(Path(file).read_text())["best_params"] == record.tuning["best_params"]

    (summary,) = runs_of("summary")
    names = {artifact.path for artifact in client.list_artifacts(summary.info.run_id)}
    assert names == {
        *("config.json", "groups", "report.html", "sparsity.png", "table.md", "users.parquet", "verdicts.png"),
    }
    kept = {name: Path(client.download_artifacts(summary.info.run_id, name, str(tmp_path))) for name in names}
    assert kept["table.md"].read_bytes() in (out / "tables" / "synthetic.md").read_bytes()
    assert json.loads(kept["config.json"].read_text())["name"] == "http"
    assert all(kept[name].read_bytes().startswith(b"\x89PNG") for name in ("sparsity.png", "verdicts.png"))
    note = summary.data.tags["mlflow.note.content"]
    assert note == client.get_experiment(experiment.experiment_id).tags["mlflow.note.content"]
    assert kept["table.md"].read_text() in note


def _searches(out: Path) -> list[str]:
    return [file.stem for file in (out / "searches").glob("*.json")]


@pytest.mark.slow
@pytest.mark.browser
def test_a_newcomer_sees_recall_and_ndcg_against_sparsity(server, tmp_path):
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("needs chromium and chromedriver")
    told = []
    out = tmp_path / "out"
    outcome = comparison.compare(make_config(metrics={"ks": [20]}), out, say=told.append, tracking_uri=server)
    assert len(outcome.records) == 8
    assert not any("MLflow cannot be used" in line for line in told)
    client = MlflowClient(tracking_uri=server, registry_uri=server)
    experiment = client.get_experiment_by_name("buir-tiny-synthetic")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], "tags.kind = 'fit' and params.model = 'ALS'")
    expected = {r.key: r.metrics["ndcg_at_20"] for r in outcome.records if r.model == "ALS"}
    assert {run.data.tags["cell"]: run.data.metrics["test/ndcg_at_20"] for run in found} == pytest.approx(expected)

    page = dict(viewer.pages(server)(server))["buir-tiny-synthetic"]
    best = store.page(server, experiment.experiment_id, view="best-50")
    (text, lines), (listed, bars) = _look(browser, driver, page, best)
    for word in (
        "Recall & NDCG vs sparsity",
        "test/ndcg_at_20",
        "test/recall_at_20",
        "Means against training data kept, %",
        "ALS",
    ):
        assert word in text
    assert lines >= 4  # two charts with two models each
    assert bars >= 4  # two charts with two models each
    assert "at_050" in listed
    assert "-train100-" not in listed


def _look(browser: str, driver: str, curves: str, bars: str) -> list[tuple[str, int]]:
    """Return the texts of a page of curves and of one of bars, and how many of these are drawn."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1600,1000",
    ):
        options.add_argument(argument)
    for argument in (
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--disable-sync",
    ):
        options.add_argument(argument)
    window = webdriver.Chrome(options=options, service=Service(driver))
    try:
        drawn = (By.CSS_SELECTOR, ".scatterlayer .trace path.js-line")
        seen = []
        for page, mark in ((curves, drawn), (bars, (By.CSS_SELECTOR, ".barlayer .trace path"))):
            window.get("about:blank")
            window.get(page)
            WebDriverWait(window, 90).until(lambda w, mark=mark: len(w.find_elements(*mark)) >= 4)
            seen.append((_text(window), len(window.find_elements(*mark))))
        return seen
    finally:
        window.quit()


def _text(window) -> str:
    return window.find_element("tag name", "body").text
