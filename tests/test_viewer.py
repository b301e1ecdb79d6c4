"""The user interface: a real server, a benchmark over HTTP, and what a newcomer's browser shows."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from mlflow import MlflowClient

from buir.experiment import comparison, store, viewer
from buir.experiment.errors import ViewerError
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
        with pytest.raises(ViewerError, match=f"no free port between {port} and {port}; give another with --port"):
            viewer.free_port(port, tries=1)


def test_a_server_that_does_not_start_is_told(tmp_path, monkeypatch):
    popen = subprocess.Popen
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    monkeypatch.setattr(viewer.subprocess, "Popen", lambda _, **kwargs: popen(command, **kwargs))
    log = tmp_path / "log"
    with (
        pytest.raises(ViewerError, match="mlflow server ended with code 3; its output is in "),
        viewer.serving("x", log),
    ):
        pytest.fail("it did not start")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with viewer.serving(store.store_uri(folder), folder / "log", port=5700) as (_, base):
        yield base


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
    expected = {r["key"]: r["metrics"]["ndcg_at_20"] for r in outcome.records if r["model"] == "ALS"}
    assert {run.data.tags["cell"]: run.data.metrics["test/ndcg_at_20"] for run in found} == pytest.approx(expected)

    [(name, page)] = viewer.pages(server)(server)
    assert name == "buir-tiny-synthetic"
    text, lines = _look(browser, driver, page)
    for word in (
        "Recall & NDCG vs sparsity",
        "test/ndcg_at_20",
        "test/recall_at_20",
        "train_pct",
        "Group: ALS",
        "tiny on synthetic",
    ):
        assert word in text
    assert lines >= 4  # two charts with two models each


def _look(browser: str, driver: str, page: str) -> tuple[str, int]:
    """Return the text of a page and the number of lines drawn in its charts."""
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
        window.get(page)
        drawn = (By.CSS_SELECTOR, ".scatterlayer .trace path.js-line")
        WebDriverWait(window, 90).until(lambda w: len(w.find_elements(*drawn)) >= 4)
        return window.find_element(By.TAG_NAME, "body").text, len(window.find_elements(*drawn))
    finally:
        window.quit()
