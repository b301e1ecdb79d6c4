"""What no schema can see: whether the files, models and metrics that a configuration names exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from buir.data import FORMATS, datasets
from buir.experiment.config import models
from buir.experiment.config import overrides as settings
from buir.ranking import METRICS


def file_problems(raw: dict[str, Any]) -> list[str]:
    """Check that files exist and formats are known, whatever else is wrong."""
    problems: list[str] = []
    entries = raw.get("data")
    for place, entry in enumerate(entries if isinstance(entries, list) else []):
        if not isinstance(entry, dict):
            continue
        if isinstance(entry.get("dataset"), str):
            options = entry.get("options") or {}
            filters = {key: entry[key] for key in ("min_rating", "min_user", "min_item", "core") if entry.get(key)}
            try:
                datasets.check_request(entry["dataset"], **(options if isinstance(options, dict) else {}), **filters)
            except (TypeError, ValueError) as error:
                problems.append(f"data.{place}.dataset: {error}")
        form = entry.get("format")
        if isinstance(form, str) and form not in FORMATS:
            problems.append(f"data.{place}.format: unknown format {form!r}{models.suggestion(form, FORMATS)}")
        for key in settings.PATH_KEYS:
            file = entry.get(key)
            if isinstance(file, str) and "${" not in file and not Path(file).is_file():
                problems.append(f"data.{place}.{key}: no such file: {file}{settings.nearest_file(Path(file))}")
    return problems


def model_problems(raw: dict[str, Any]) -> list[str]:
    """Check kinds and parameters against the estimators themselves; other mistakes are the schema's business."""
    problems: list[str] = []
    entries = raw.get("models")
    for place, entry in enumerate(entries if isinstance(entries, list) else []):
        if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str):
            continue
        kind, params, preset = entry["kind"], entry.get("params") or {}, entry.get("preset")
        if kind not in models.CLASSES:
            problems.append(f"models.{place}.kind: unknown kind {kind!r}{models.suggestion(kind, models.CLASSES)}")
        elif isinstance(params, dict) and (preset is None or isinstance(preset, str)):
            for name, problem in models.check(kind, params, preset=preset):
                key = name if name == "preset" else f"params.{name}" if name else "params"
                problems.append(f"models.{place}.{key}: {problem}")
    return problems


def metric_problem(name: str) -> str | None:
    """Check the name of a metric such as ``ndcg_at_20``; say what is wrong with it, if anything is."""
    known, _, length = name.rpartition("_at_")
    if known in METRICS and re.fullmatch("[1-9][0-9]*", length):
        return None
    length = length if known and re.fullmatch("[1-9][0-9]*", length) else "20"
    return f"unknown metric {name!r}{models.suggestion(name, [f'{metric}_at_{length}' for metric in METRICS])}"
