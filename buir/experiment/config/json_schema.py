"""The schema of a benchmark's YAML file as JSON Schema, for editors: every kind of model with its parameters."""

from typing import Any

from buir.data import FORMATS, datasets
from buir.experiment.config import models
from buir.experiment.config.schema import BenchmarkConfig
from buir.recommend import parameters_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Give the whole schema as plain data.

    Notes
    -----
    An editor sees keys, types and ranges; what needs more than one entry, or the files themselves, only
    :func:`buir.experiment.config.schema.load` can check.
    """
    schema = BenchmarkConfig.model_json_schema()
    schema["required"].remove("name")  # the file's own name stands in
    parts = schema["$defs"]
    for part, field, names in (("DataConfig", "dataset", datasets.DATASETS), ("DataConfig", "format", FORMATS)):
        parts[part]["properties"][field]["anyOf"][0]["enum"] = list(names)
    model = parts["ModelConfig"]
    model["properties"]["kind"]["enum"] = list(models.CLASSES)
    model["allOf"] = [
        {
            "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
            "then": {"properties": {"params": _params(kind)}},
        }
        for kind in models.CLASSES
    ]
    return {"$schema": DIALECT, "title": "A benchmark of buir"} | schema | {"$defs": _untitled(parts)}


def _params(kind: str) -> dict[str, Any]:
    """Give the parameters of a kind; the seed comes from the benchmark."""
    found = [one for one in parameters_of(models.estimator_class(kind)) if one.name != "seed"]
    known = {one.name: one.schema | {"description": one.about, "default": one.default} for one in found}
    return {"properties": known, "additionalProperties": False}


def _untitled(value: Any) -> Any:
    """Leave out titles that only repeat the key."""
    if isinstance(value, list):
        return [_untitled(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {name: _untitled(inner) for name, inner in value.items() if not (name == "title" and isinstance(inner, str))}
