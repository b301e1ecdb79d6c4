"""The configuration of a finished benchmark as a file that runs it again."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from buir.experiment.config.overrides import PATH_KEYS
from buir.experiment.config.schema import PROTOCOL_FIELDS

_HEAD = """\
# What the runs of this report were: buir benchmark {name}.yaml --out FOLDER
# Paths without a variable are those of the machine that ran it.
"""


def recipe(config: Mapping[str, Any]) -> str:
    """Write the configuration that a plan holds as YAML that `buir.experiment.config.schema.load` takes.

    Parameters
    ----------
    config
        All fields with their values, as `buir.experiment.run.plan.describe` keeps them.

    Notes
    -----
    A plan also holds defaults that mean nothing to the chosen protocol or kind of data; a file must not have them.
    """
    kept = dict(config)
    protocol = kept.get("protocol")
    if protocol:
        meant = ("kind", *PROTOCOL_FIELDS[protocol["kind"]], "split_seeds")
        kept["protocol"] = {name: protocol[name] for name in meant if name in protocol}
    kept["data"] = [{name: value for name, value in entry.items() if value} for entry in named_by_variable(kept)]
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(kept, stream)
    return _HEAD.format(name=config.get("name", "name")) + stream.getvalue()


def named_by_variable(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of ``data`` with files below the folder ``BUIR_DATA`` written as ``${BUIR_DATA}/...``."""
    return [
        {name: _portable(value) if name in PATH_KEYS and value else value for name, value in entry.items()}
        for entry in config.get("data", [])
    ]


def _portable(path: str) -> str:
    """Name a file by the folder of data that BUIR_DATA names, if it lies there."""
    folder = os.environ.get("BUIR_DATA")
    if not folder or not Path(path).is_relative_to(Path(folder).resolve()):
        return path
    return f"${{BUIR_DATA}}/{Path(path).relative_to(Path(folder).resolve()).as_posix()}"
