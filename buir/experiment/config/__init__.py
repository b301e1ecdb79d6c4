"""The schema of ``configs/*.yaml``, overrides on the command line, and the models they can name."""

from buir.experiment.config import models
from buir.experiment.config.json_schema import json_schema
from buir.experiment.config.mistakes import in_lines
from buir.experiment.config.models import suggestion
from buir.experiment.config.overrides import read_yaml, to_yaml
from buir.experiment.config.schema import (
    BenchmarkConfig,
    DataConfig,
    ModelConfig,
    PanelsConfig,
    ProtocolConfig,
    Strict,
    TuningConfig,
    load,
    named_by_variable,
    per_cent,
    recipe,
    shared_searches,
    shipped_configs,
)

__all__ = [
    "BenchmarkConfig",
    "DataConfig",
    "ModelConfig",
    "PanelsConfig",
    "ProtocolConfig",
    "Strict",
    "TuningConfig",
    "in_lines",
    "json_schema",
    "load",
    "models",
    "named_by_variable",
    "per_cent",
    "read_yaml",
    "recipe",
    "shared_searches",
    "shipped_configs",
    "suggestion",
    "to_yaml",
]
