"""Take the pictures of MLflow that the documentation shows.

    python docs/screenshots.py results/quickstart

Serves the MLflow store of a finished benchmark on this machine, opens its first experiment in headless Chromium (chromium and
chromedriver must be installed) and writes into docs/, one picture for each question of docs/mlflow.md:

    mlflow-first.png      the page that `buir ui` links to: the answer, and the curves below it
    mlflow-best.png       the best models at the smallest level
    mlflow-curves.png     the curves, over the whole page
    mlflow-why.png        what a run of BUIR came to at that level, in words
    mlflow-training.png   its training: charts of the same run
    mlflow-settings.png   settings, and what every fit came to
    mlflow-load.png       how to load and serve the best BUIR of the largest level
    mlflow-lists.png      lists of all models for the same users, side by side
    mlflow-compare.png    the page that compares runs: one of each model
"""

import argparse
import io
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
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
    "--window-size=1500,1000",
)
LINES = (By.CSS_SELECTOR, ".scatterlayer .trace path.js-line")
BARS = (By.CSS_SELECTOR, ".barlayer .trace path")
ASSISTANT = "//button[contains(@aria-label, 'lose')]"
COLOURS = 128  # of a picture: a third of the bytes, and nobody sees it


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


class Camera:
    """A browser window that keeps what pages look like, in a folder."""

    def __init__(self, window: webdriver.Chrome, folder: Path) -> None:
        self.window, self.folder = window, folder

    def shoot(
        self,
        page: str,
        name: str,
        *words: str,
        drawn: tuple[str, str] | None = None,
        then: Callable[[webdriver.Chrome], object] | None = None,
    ) -> None:
        """Open a page, wait until it shows the words and what is ``drawn``, do what comes ``then``, and photograph it."""
        window = self.window
        # The pages of one address differ behind the # only, which would not load anything.
        window.get("about:blank")
        window.get(page)
        wait = WebDriverWait(window, 180, ignored_exceptions=[WebDriverException])
        wait.until(lambda w: all(word in w.find_element(By.TAG_NAME, "body").text for word in words))
        for button in window.find_elements(By.XPATH, ASSISTANT):
            if button.is_displayed():
                button.click()
        if drawn:
            wait.until(lambda w: len(w.find_elements(*drawn)) >= 2)
        if then is not None:
            then(window)
        time.sleep(4)
        picture = Image.open(io.BytesIO(window.get_screenshot_as_png())).convert("RGB")
        file = self.folder / f"{name}.png"
        picture.quantize(COLOURS).save(file, optimize=True)
        print(file, f"{file.stat().st_size / 1024:.0f} kB", page)


def show(text: str) -> Callable[[webdriver.Chrome], object]:
    """Scroll to the first thing that holds a text."""
    return lambda window: window.execute_script(
        "arguments[0].scrollIntoView({block: 'start'})",
        window.find_element(By.XPATH, f"//*[text()[contains(., '{text}')]]"),
    )


def fits(client: MlflowClient, experiment_id: str, pct: str) -> list[Run]:
    """Return the fits of a level, the best first."""
    latest = "tags.kind = 'fit' and tags.latest = 'yes' and tags.status = 'ok'"
    return list(
        client.search_runs(
            [experiment_id],
            f"{latest} and params.train_pct = '{pct}'",
            order_by=["metrics.`test/ndcg_at_20` DESC"],
            max_results=1000,
        )
    )


def main() -> None:
    """Photograph the pages that answer the questions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of a finished benchmark, whose first data set is shown")
    parser.add_argument("--to", type=Path, default=DOCS)
    args = parser.parse_args()
    uri = store.store_uri(args.results)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    ours = [e for e in client.search_experiments(order_by=["creation_time ASC"]) if e.name.startswith("buir-")]
    number = ours[0].experiment_id
    sweeps = client.search_runs([number], "tags.kind = 'sweep' and tags.latest = 'yes'")
    points = client.get_metric_history(sweeps[0].info.run_id, "train_pct")
    least, most = (f"{end(point.value for point in points):g}" for end in (min, max))
    ours_first = next(run for run in fits(client, number, least) if run.data.tags["model"].startswith("BUIR"))
    kept = next(run for run in fits(client, number, most) if run.outputs.model_outputs)
    each = {run.data.params["model"]: run for run in reversed(fits(client, number, least))}
    with viewer.serving(uri, args.results / "mlflow-server.log", 5800) as (_, base):
        window = open_browser()
        machine = "workflowType=machine_learning"

        def run_page(run: Run, tab: str = "") -> str:
            return f"{base}/#/experiments/{number}/runs/{run.info.run_id}{tab}?{machine}"

        try:
            camera = Camera(window, args.to)
            page = store.page(base, number)
            camera.shoot(page, "mlflow-first", "has the highest mean", drawn=LINES)
            camera.shoot(page, "mlflow-curves", "NDCG@20", drawn=LINES, then=show("Mean against"))
            camera.shoot(store.page(base, number, view=f"best-{least}"), "mlflow-best", f"at {least} %", drawn=BARS)
            camera.shoot(run_page(ours_first), "mlflow-why", "ended by")
            camera.shoot(run_page(ours_first, "/model-metrics"), "mlflow-training", "curve")
            settings = store.page(base, number, view="settings", charts=False)
            camera.shoot(settings, "mlflow-settings", "fit.stopped")
            camera.shoot(run_page(kept), "mlflow-load", "load_model")
            lists = store.page(base, number, view=f"lists-{least}", lists=True)
            camera.shoot(lists, "mlflow-lists", "recommended")
            chosen = [
                json.dumps(part, separators=(",", ":")) for part in ([r.info.run_id for r in each.values()], [number])
            ]
            compare = f"{base}/#/compare-runs?runs={chosen[0]}&experiments={chosen[1]}&{machine}"
            camera.shoot(compare, "mlflow-compare", ours_first.info.run_name or "")
        finally:
            window.quit()


if __name__ == "__main__":
    main()
