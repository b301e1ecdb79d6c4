"""Take the pictures of MLflow that the documentation shows.

    python docs/screenshots.py results/sweep

Serves the MLflow store of a finished benchmark on this machine, opens each of its experiments in headless Chromium (chromium and
chromedriver must be installed) and writes into docs/:

    mlflow-<data>.png           the curves
    mlflow-<data>-table.png     the runs as a table
    mlflow-<data>-best.png      the saved view of the best models at the smallest level
    mlflow-<data>-compare.png   the page that compares runs: the best one of each of the leading models at that level
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from buir.experiment.tracking import store, viewer

DOCS = Path(__file__).parent
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--disable-sync",
    "--window-size=1700,1300",
)
DRAWN = (By.CSS_SELECTOR, ".scatterlayer .trace path.js-line")
ASSISTANT = "//button[contains(@aria-label, 'lose')]"
SHOWN = 4  # models on the compare page


def open_browser() -> webdriver.Chrome:
    """Start headless Chromium, or say what is missing."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        sys.exit("needs chromium and chromedriver on the PATH; install both")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for option in OPTIONS:
        options.add_argument(option)
    return webdriver.Chrome(options=options, service=Service(driver))


def photograph(window: webdriver.Chrome, page: str, file: Path, *words: str) -> None:
    """Open a page, wait until it shows the words, and keep what it looks like."""
    # The pages of one address differ behind the # only, which would not load anything.
    window.get("about:blank")
    window.get(page)
    WebDriverWait(window, 120).until(lambda w: all(word in w.find_element(By.TAG_NAME, "body").text for word in words))
    for button in window.find_elements(By.XPATH, ASSISTANT):
        if button.is_displayed():
            button.click()
    time.sleep(3)
    window.save_screenshot(str(file))
    print(file, page)


def best_runs(client: MlflowClient, experiment_id: str) -> tuple[int, list[Run]]:
    """Find the smallest level, and there the best run of each of the leading models."""
    latest = "tags.kind = 'fit' and tags.latest = 'yes' and tags.status = 'ok'"
    runs = client.search_runs([experiment_id], latest, max_results=1000)
    level = min(int(run.data.params["train_pct"]) for run in runs)
    at_level = f"{latest} and params.train_pct = '{level}'"
    ranked = client.search_runs([experiment_id], at_level, order_by=["metrics.`test/ndcg_at_20` DESC"])
    by_model = {run.data.params["model"]: run for run in reversed(ranked)}
    return level, [run for run in ranked if by_model[run.data.params["model"]] is run][:SHOWN]


def main() -> None:
    """Photograph every experiment of a store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of a finished benchmark")
    parser.add_argument("--to", type=Path, default=DOCS)
    args = parser.parse_args()
    uri = store.store_uri(args.results)
    links = viewer.pages(uri)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    with viewer.serving(uri, args.results / "mlflow-server.log", 5800) as (_, base):
        window = open_browser()
        try:
            for name, page in links(base):
                data = name.rpartition("-")[2]
                number = client.get_experiment_by_name(name).experiment_id
                level, best = best_runs(client, number)
                window.get(page)
                WebDriverWait(window, 120).until(lambda w: len(w.find_elements(*DRAWN)) >= 2)
                photograph(window, page, args.to / f"mlflow-{data}.png", "Recall & NDCG vs sparsity")
                table = store.page(base, number, charts=False)
                photograph(window, table, args.to / f"mlflow-{data}-table.png", "ndcg_at_20")
                view = store.page(base, number, view=f"best-{level}", charts=False)
                photograph(window, view, args.to / f"mlflow-{data}-best.png", f"Best at {level} %", "ndcg_at_20")
                chosen = [json.dumps(part, separators=(",", ":")) for part in ([r.info.run_id for r in best], [number])]
                compare = (
                    f"{base}/#/compare-runs?runs={chosen[0]}&experiments={chosen[1]}&workflowType=machine_learning"
                )
                photograph(window, compare, args.to / f"mlflow-{data}-compare.png", best[0].info.run_name, "ndcg_at_20")
        finally:
            window.quit()


if __name__ == "__main__":
    main()
