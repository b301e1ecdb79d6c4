"""Take the pictures of MLflow that the documentation shows.

    python docs/screenshots.py results/quickstart

Serves the MLflow store of a finished benchmark on this machine, opens its first experiment in headless Chromium (chromium and
chromedriver must be installed) and writes into docs/, one picture for each question of docs/mlflow.md:

    mlflow-first.png      the page that `buir ui` links to: the answer, and the curves below it
    mlflow-note.png       the whole text above the runs
    mlflow-best.png       the best models at the smallest level
    mlflow-why.png        what a run of BUIR came to at that level, in words
    mlflow-settings.png   settings, and what every fit came to
    mlflow-load.png       how to load and serve the best BUIR of the largest level
    mlflow-lists.png      lists of all models for the same users, side by side
"""

import argparse
import io
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
)
LINES = (By.CSS_SELECTOR, ".scatterlayer .trace path.js-line")
BARS = (By.CSS_SELECTOR, ".barlayer .trace path")
UNFOLD = "//button[normalize-space()='Show more'] | //button[contains(@data-component-id, 'metadata_editor.expand')]"
ASSISTANT = "//button[contains(@aria-label, 'lose')]"
COLOURS = 128  # of a picture: a third of the bytes, and nobody sees it
SIZE, WIDE = (1500, 900), (2300, 800)


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
        folder.mkdir(parents=True, exist_ok=True)

    def shoot(
        self,
        page: str,
        name: str,
        *words: str,
        drawn: tuple[str, str] | None = None,
        then: Callable[[webdriver.Chrome], object] | None = None,
        size: tuple[int, int] = SIZE,
    ) -> None:
        """Open a page, wait until it shows the words and what is ``drawn``, do what comes ``then``, and photograph it."""
        window = self.window
        window.set_window_size(*size)
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
        # so that the few pixels of a small coloured dot have their colour, too
        few = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
        few.save(file, optimize=True)
        print(file, f"{file.stat().st_size / 1024:.0f} kB", page)


def unfold(window: webdriver.Chrome) -> None:
    """Unfold a description, to its end."""
    for button in window.find_elements(By.XPATH, UNFOLD):
        if button.is_displayed():
            button.click()


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
    kept = next(run for run in fits(client, number, most) if run.outputs and run.outputs.model_outputs)
    with viewer.serving(uri, args.results / "mlflow-server.log", 5800) as (_, base):
        window = open_browser()
        machine = "workflowType=machine_learning"

        def run_page(run: Run) -> str:
            return f"{base}/#/experiments/{number}/runs/{run.info.run_id}?{machine}"

        try:
            camera = Camera(window, args.to)
            page = store.page(base, number)
            camera.shoot(page, "mlflow-first", "has the highest mean", drawn=LINES)
            camera.shoot(page, "mlflow-note", "has the highest mean", drawn=LINES, then=unfold, size=(1500, 1500))
            camera.shoot(
                store.page(base, number, view=f"best-{least}"),
                "mlflow-best",
                store.at_level(float(least), "ndcg")[:6],
                drawn=BARS,
            )
            camera.shoot(run_page(ours_first), "mlflow-why", "test users of", then=unfold)
            settings = store.page(base, number, view="settings", charts=False)
            camera.shoot(settings, "mlflow-settings", "fit.batch_size", size=WIDE)
            camera.shoot(run_page(kept), "mlflow-load", "test users of", then=unfold)
            lists = store.page(base, number, view=f"lists-{least}", lists=True)
            camera.shoot(lists, "mlflow-lists", "recommended")
        finally:
            window.quit()


if __name__ == "__main__":
    main()
