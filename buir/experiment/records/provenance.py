"""Which versions of what computed the numbers, and on which machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from buir.experiment.records.record import Record


@cache
def version(package: str) -> str:
    """Version of an installed package, "unknown" if it runs from somewhere else."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@cache
def versions() -> dict[str, str]:
    """Versions of what computes the numbers."""
    packages = ("buir", "torch", "torch-geometric", "numpy", "scipy", "implicit", "optuna", "mlflow")
    return {"python": platform.python_version()} | {package: version(package) for package in packages}


def available_cores() -> int:
    """Count the cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """Describe what computes: seconds mean nothing without it."""
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine() or "unknown"


def commits(records: Iterable[Record]) -> dict[str, int]:
    """Count records by the commit that computed them, the most frequent first."""
    return dict(Counter(record.git_commit or "unknown" for record in records).most_common())


def mixture(records: Iterable[Record]) -> str | None:
    """Warn of records of several commits: a key holds the version of the package, and commits can differ within one."""
    found = commits(records)
    if len(found) < 2:
        return None
    short = {commit: commit[:10] + "-dirty" * commit.endswith("-dirty") for commit in found}
    counts = ", ".join(f"{short[commit]} ({number})" for commit, number in found.items())
    return (
        f"These runs were computed by {len(found)} commits of one version: {counts}. What changed between them may "
        "have changed results; to be sure, run everything again in a new folder (--out)."
    )


@cache
def git_commit() -> str | None:
    """Commit of the source this package runs from, with ``-dirty`` after local changes; None outside a repository."""
    git = ["git", "-C", str(Path(__file__).parent)]
    describe = [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    # Asking must not write: git would refresh its index, and be in the way of somebody who commits.
    calm = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", __file__], env=calm, capture_output=True, check=True)
        out = subprocess.run(describe, env=calm, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return out.stdout.strip() or None
