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
    from collections.abc import Iterable, Mapping

VIEW_KEY = "sparsity"
_VIEW_PREFIX = "mlflow.sharedViewState."
VIEW_TAG = f"{_VIEW_PREFIX}{VIEW_KEY}"
_PROBE_SECONDS = 2.0
_SECTIONS = {
    "Sparsity": "Mean against the share of training data kept (step: per cent)",
    "Cost": "Cost (step: per cent kept)",
}


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


def best_key(train_pct: int) -> str:
    """Name the saved view that shows the best models at a level, as links name it."""
    return f"best-{train_pct}"


def page(base: str, experiment_id: str, *, view: str | None = VIEW_KEY, charts: bool = True) -> str:
    """Write the link that opens an experiment, on charts or on the table of runs, outside the GenAI mode of the interface.

    Parameters
    ----------
    base
        The server's address.
    experiment_id
        Of MLflow.
    view
        Key of a saved view; None for none.
    charts
        Whether charts are shown beside the table.
    """
    wanted = [f"viewStateShareKey={view}"] if view else []
    wanted += ["compareRunsMode=CHART"] if charts else []
    return (
        f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs?{'&'.join([*wanted, 'workflowType=machine_learning'])}"
    )


def views_supported() -> bool:
    """Tell whether this MLflow keeps named views in the format written here (internal to MLflow since 3.15)."""
    found = re.match(r"(\d+)\.(\d+)", importlib.metadata.version("mlflow"))
    return found is not None and (3, 15) <= (int(found[1]), int(found[2])) < (4, 0)


def view_tags(metrics: Mapping[str, str], levels: Iterable[int], existing: Mapping[str, str]) -> dict[str, str]:
    """Write the tags of the saved views: the curves, and the best models at each level.

    Parameters
    ----------
    metrics
        MLflow metrics to show, with their titles; the first orders the tables.
    levels
        Shares of the training data, in per cent.
    existing
        The experiment's present tags; a view keeps its tag if only the time stamps would change.
    """
    views = {VIEW_KEY: ("Recall & NDCG vs sparsity", _curves(metrics))}
    views |= {best_key(pct): (f"Best at {pct} %", _best(metrics, pct)) for pct in levels}
    return {
        f"{_VIEW_PREFIX}{key}": _view(name, state, existing.get(f"{_VIEW_PREFIX}{key}"))
        for key, (name, state) in views.items()
    }


def _view(name: str, state: Mapping[str, Any], existing: str | None) -> str:
    now = int(time.time() * 1000)
    content = json.dumps(state)
    if existing is not None:
        try:
            if json.loads(existing).get("state") == content:
                return existing
        except (ValueError, AttributeError):
            pass
    return json.dumps({"name": name, "createdAt": now, "updatedAt": now, "state": content})


def _curves(metrics: Mapping[str, str]) -> dict[str, Any]:
    """Draw the means against the training share, a line for each model, and below what they cost.

    The lines are those of the sweeps, one run for each model: of the single fits MLflow loads no more than a hundred at first,
    and draws without a word what it has.
    """
    charts = [_chart(m, title, "Sparsity") for m, title in metrics.items()]
    charts += [
        _chart("time/fit_s", "processor seconds to fit", "Cost"),
        _chart("memory/peak_mb", "peak memory, MB", "Cost"),
    ]
    return _state("sweep", metrics, ["model"], ["time/fit_s"]) | {
        "compareRunSections": [_section(name) for name in _SECTIONS],
        "compareRunCharts": charts,
    }


def _best(metrics: Mapping[str, str], train_pct: int) -> dict[str, Any]:
    """List the models at one level, the highest mean first: MLflow orders groups by their means."""
    bar = {"type": "BAR", "runsCountToCompare": 20}
    charts = [_chart(m, title, "Best") | bar for m, title in metrics.items()]
    state = _state("fit", metrics, ["model", "train_pct"], [])
    return state | {
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": "model"}]},
        "searchFilter": f"{state['searchFilter']} and params.train_pct = '{train_pct}'",
        "compareRunSections": [_section("Best")],
        "compareRunCharts": charts,
    }


def _state(kind: str, metrics: Mapping[str, str], columns: Iterable[str], costs: Iterable[str]) -> dict[str, Any]:
    """Write what all views have in common: the latest runs of a kind, the highest value first."""
    return {
        "searchFilter": f"tags.kind = '{kind}' and tags.latest = 'yes'",
        "orderByKey": f"metrics.`{next(iter(metrics))}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [f"params.`{c}`" for c in columns] + [f"metrics.`{m}`" for m in (*metrics, *costs)],
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
        "groupBy": None,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _section(name: str) -> dict[str, Any]:
    place = {"uuid": f"buir-{name.lower()}", "name": _SECTIONS.get(name, name), "columns": 2, "cardHeight": 360}
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
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
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
