"""Take the pictures of MLflow's compare page that the documentation shows.

    python docs/screenshots.py results/sweep

Serves the MLflow store of a finished benchmark on this machine, opens each of its experiments in headless Chromium (chromium and
chromedriver must be installed) and writes docs/mlflow-<data>.png, the charts, and docs/mlflow-<data>-table.png, the runs as a table.
"""

import argparse
import shutil
import sys
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from buir.experiment import store, viewer

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


def main() -> None:
    """Photograph every experiment of a store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of a finished benchmark")
    parser.add_argument("--to", type=Path, default=DOCS)
    args = parser.parse_args()
    uri = store.store_uri(args.results)
    links = viewer.pages(uri)
    with viewer.serving(uri, args.results / "mlflow-server.log", 5800) as (_, base):
        window = open_browser()
        try:
            for name, page in links(base):
                data = name.rpartition("-")[2]
                window.get(page)
                WebDriverWait(window, 120).until(lambda w: len(w.find_elements(*DRAWN)) >= 2)
                for button in window.find_elements(By.XPATH, ASSISTANT):
                    if button.is_displayed():
                        button.click()
                time.sleep(3)
                window.save_screenshot(str(args.to / f"mlflow-{data}.png"))
                window.get(page.replace("compareRunsMode=CHART&", ""))
                WebDriverWait(window, 120).until(lambda w: "ndcg_at_20" in w.find_element(By.TAG_NAME, "body").text)
                time.sleep(3)
                window.save_screenshot(str(args.to / f"mlflow-{data}-table.png"))
                print(name, page)
        finally:
            window.quit()


if __name__ == "__main__":
    main()
