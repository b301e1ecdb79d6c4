"""The schema of ``configs/*.yaml``, overrides on the command line, and the models they can name."""

from buir.experiment.config import models
from buir.experiment.config.models import suggestion
from buir.experiment.config.overrides import ConfigError, one_line, read_yaml
from buir.experiment.config.recipe import named_by_variable, recipe
from buir.experiment.config.schema import (
    PROTOCOL_FIELDS,
    BenchmarkConfig,
    DataConfig,
    ProtocolConfig,
    TuningConfig,
    load,
    shipped_configs,
)

__all__ = [
    "PROTOCOL_FIELDS",
    "BenchmarkConfig",
    "ConfigError",
    "DataConfig",
    "ProtocolConfig",
    "TuningConfig",
    "load",
    "models",
    "named_by_variable",
    "one_line",
    "read_yaml",
    "recipe",
    "shipped_configs",
    "suggestion",
]
