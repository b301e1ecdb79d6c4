"""Which MLflow store to talk to, whether it answers, and how to show it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

VIEW_KEY = "sparsity"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW_KEY}"
_PROBE_SECONDS = 2.0


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


def answers(uri: str, seconds: float = _PROBE_SECONDS) -> bool:
    """Ask a server once whether it is there; a store without server always is."""
    if urlsplit(uri).scheme not in ("http", "https"):
        return True
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=seconds) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError, ValueError):
        return False


def is_new(uri: str) -> bool:
    """Tell whether the first use of a store will have to create its tables, which takes seconds."""
    return is_local(uri) and not Path(uri.removeprefix("sqlite:///")).exists()


def page(base: str, experiment_id: str, *, view: bool = True) -> str:
    """Write the link that opens an experiment on its charts, outside the GenAI mode of the user interface."""
    share = f"viewStateShareKey={VIEW_KEY}&" if view else ""
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs?{share}compareRunsMode=CHART&workflowType=machine_learning"


def views_supported() -> bool:
    """Tell whether this MLflow keeps named views in the format written here (internal to MLflow since 3.15)."""
    found = re.match(r"(\d+)\.(\d+)", importlib.metadata.version("mlflow"))
    return found is not None and (3, 15) <= (int(found[1]), int(found[2])) < (4, 0)


def view_tag(metrics: Mapping[str, str], existing: str | None = None) -> tuple[str, str]:
    """Write the tag of the saved view "Recall & NDCG vs sparsity".

    Parameters
    ----------
    metrics
        MLflow metrics to draw against the training share, with their titles; the first orders the table.
    existing
        The tag's present value; it is kept if only its time stamps would change.
    """
    now = int(time.time() * 1000)
    content = json.dumps(_view_state(metrics))
    if existing is not None:
        try:
            if json.loads(existing).get("state") == content:
                return VIEW_TAG, existing
        except (ValueError, AttributeError):
            existing = None
    named = {"name": "Recall & NDCG vs sparsity", "createdAt": now, "updatedAt": now, "state": content}
    return VIEW_TAG, json.dumps(named)


def _view_state(metrics: Mapping[str, str]) -> dict[str, Any]:
    columns = ["model", "train_pct", "split_seed", "seed"]
    return {
        "searchFilter": "tags.kind = 'fit' and tags.latest = 'yes'",
        "orderByKey": f"metrics.`{next(iter(metrics))}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [f"params.`{c}`" for c in columns] + [f"metrics.`{m}`" for m in (*metrics, "time/fit_s")],
        "columnOrder": [],
        "columnWidths": {},
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": "SHOW_ALL",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupsExpanded": {},
        "autoRefreshEnabled": True,
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": "model"}]},
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
        "compareRunSections": [_section(name) for name in ("Sparsity", "Cost")],
        "compareRunCharts": [_chart(m, title, "Sparsity") for m, title in metrics.items()]
        + [_chart("time/fit_s", "seconds to fit", "Cost"), _chart("memory/peak_mb", "peak memory, MB", "Cost")],
    }


def _section(name: str) -> dict[str, Any]:
    place = {"uuid": f"buir-{name.lower()}", "name": name, "columns": 2, "cardHeight": 360}
    return place | {"display": True, "isReordered": False, "deleted": False, "isGenerated": False}


def _chart(metric: str, title: str, section: str) -> dict[str, Any]:
    return {
        "uuid": f"buir-{metric.replace('/', '-')}",
        "type": "LINE",
        "metricSectionId": f"buir-{section.lower()}",
        "displayName": title,
        "deleted": False,
        "isGenerated": False,
        "runsCountToCompare": 100,
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "xAxisKey": "metric",
        "selectedXAxisMetricKey": "train_pct",
        "useGlobalXaxisKey": False,
        "useGlobalLineSmoothing": True,
        "lineSmoothness": 0,
        "scaleType": "linear",
        "xAxisScaleType": "linear",
        "range": {},
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "displayPoints": True,
        "ignoreOutliers": False,
    }
