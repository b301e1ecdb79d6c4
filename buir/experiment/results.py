"""Where the results of benchmarks lie: folders, found by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from buir.experiment.config import ConfigError, suggestion
from buir.experiment.records import Journal
from buir.experiment.tracking import experiment_name

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path("results")
"""Where the command line writes unless it is told otherwise."""


def latest(root: Path = ROOT) -> Path:
    """Find the folder of the benchmark that was written last.

    Raises
    ------
    ConfigError
        If there is none.
    """
    found = _folders(root)
    if not found:
        msg = f"no results in ./{root}; run buir benchmark first, or name their folder with --out"
        raise ConfigError([msg])
    return found[-1]


def find(name: str, root: Path = ROOT) -> Path:
    """Find the folder of a benchmark.

    Parameters
    ----------
    name
        A folder; the name of a benchmark under ``root``, such as "quickstart"; or the name that MLflow shows for it on a
        data set, such as "buir-quickstart-synthetic".
    root
        Where the benchmarks are.

    Raises
    ------
    ConfigError
        If nothing is called so.
    """
    folders = _folders(root)
    # A folder's own name comes before what the benchmark of another one is called.
    known = {called: folder for folder in folders for called in _names(folder)} | {f.name: f for f in folders}
    if name in known:
        return known[name]
    if Path(name).is_dir():
        return Path(name)
    names = suggestion(name, known) if known else ": there are no results at all; run buir benchmark first"
    msg = f"{name}: neither a folder nor a benchmark in ./{root}{names}"
    raise ConfigError([msg])


def _folders(root: Path) -> list[Path]:
    """List the folders that hold a benchmark, the latest last."""
    plans = sorted(root.glob("*/benchmark.json"), key=lambda file: file.stat().st_mtime)
    return [plan.parent for plan in plans]


def _names(folder: Path) -> Iterator[str]:
    """List what the benchmark of a folder is called."""
    plan = Journal(folder).read_plan()
    if plan is not None:
        # Plans of older versions do not list their data; they are found by the other names.
        yield from (experiment_name(plan["name"], dataset) for dataset in plan.get("datasets", []))
        yield plan["name"]
