"""Which MLflow store to talk to, whether it answers, and how to show it."""

import json
import os
import re
import time
import urllib.request
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

VIEW_KEY = "sparsity"
_VIEW_PREFIX = "mlflow.sharedViewState."
VIEW_TAG = f"{_VIEW_PREFIX}{VIEW_KEY}"


def store_uri(out: str | Path) -> str:
    """Return the SQLite store under an output folder, by absolute path."""
    return f"sqlite:///{database(out)}"


def database(out: str | Path) -> Path:
    """Return the database file of an output folder."""
    return Path(out).resolve() / "mlflow.db"


def choose_uri(out: str | Path, given: str | None = None) -> str:
    """Choose the store: the one given, else the environment's MLFLOW_TRACKING_URI, else SQLite under ``out``."""
    return given or os.environ.get("MLFLOW_TRACKING_URI") or store_uri(out)


def is_local(uri: str) -> bool:
    """Tell whether a store is a database file of this machine."""
    return uri.startswith("sqlite:")


def answers(uri: str, seconds: float = 2.0) -> bool:
    """Ask a server once whether it is there; a store without server always is."""
    if urlsplit(uri).scheme not in ("http", "https"):
        return True
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=seconds) as reply:
            return reply.status == 200
    except (OSError, ValueError):
        return False


def is_new(uri: str) -> bool:
    """Tell whether the first use of a store will have to create its tables, which takes seconds."""
    return is_local(uri) and not Path(uri.removeprefix("sqlite:///")).exists()


def page(base: str, experiment_id: str, *, view: str | None = VIEW_KEY, charts: bool = True) -> str:
    """Write the link that opens an experiment, outside the GenAI mode of the interface.

    It opens on the saved view of key ``view``, with or without charts beside the table of runs.
    """
    wanted = [f"viewStateShareKey={view}"] if view else []
    wanted += ["compareRunsMode=CHART"] if charts else []
    return (
        f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs?{'&'.join([*wanted, 'workflowType=machine_learning'])}"
    )


def views_supported(version: str) -> bool:
    """Tell whether a version of MLflow keeps named views in the format written here (internal to MLflow since 3.15)."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is not None and (3, 15) <= (int(found[1]), int(found[2])) < (4, 0)


def view_tags(metrics: Mapping[str, str], levels: Iterable[int], existing: Mapping[str, str]) -> dict[str, str]:
    """Write the tags of the saved views: the curves, and the best models at each level.

    The curves are those of the sweeps, one run for each model: of the single fits MLflow loads no more than a hundred
    at first, and draws without a word what it has. The tables list the fits, and MLflow orders groups by their means.

    ``metrics`` are those of MLflow to show, with their titles; the first orders the tables. A view keeps its tag among
    the ``existing`` ones of the experiment if only the time stamps would change.
    """
    given = json.loads(files("buir.experiment.tracking").joinpath("views.json").read_text(encoding="utf-8"))
    costs, columns = given["costs"], [f"metrics.`{metric}`" for metric in metrics]
    curves = given["curves"] | {
        "selectedColumns": ["params.`model`", *columns, "metrics.`time/fit_s`"],
        "compareRunCharts": _charts(given["chart"], metrics, "sparsity") + _charts(given["chart"], costs, "cost"),
    }
    best = given["best"] | {
        "selectedColumns": ["params.`model`", "params.`train_pct`", *columns],
        "compareRunCharts": _charts(given["chart"] | given["bar"], metrics, "best"),
    }
    views = {VIEW_KEY: ("Recall & NDCG vs sparsity", curves)} | {
        f"best-{pct}": (f"Best at {pct} %", best | {"searchFilter": best["searchFilter"] % pct}) for pct in levels
    }
    tags, now = {}, int(time.time() * 1000)
    for key, (name, view) in views.items():
        tag = f"{_VIEW_PREFIX}{key}"
        content = json.dumps(given["state"] | {"orderByKey": columns[0]} | view)
        same = existing.get(tag, "").endswith(f'"state": {json.dumps(content)}}}')
        made = json.dumps({"name": name, "createdAt": now, "updatedAt": now, "state": content})
        tags[tag] = existing[tag] if same else made
    return tags


def _charts(chart: Mapping[str, Any], metrics: Mapping[str, str], section: str) -> list[dict[str, Any]]:
    return [
        {**chart, "uuid": f"buir-{metric.replace('/', '-')}", "metricSectionId": f"buir-{section}"}
        | {"displayName": title, "metricKey": metric, "selectedMetricKeys": [metric]}
        for metric, title in metrics.items()
    ]
