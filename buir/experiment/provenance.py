"""Which versions of what computed the numbers."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from functools import cache
from pathlib import Path


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
    packages = ("buir", "torch", "torch-geometric", "numpy", "scipy", "implicit")
    return {"python": platform.python_version()} | {package: version(package) for package in packages}


@cache
def git_commit() -> str | None:
    """Commit of the source this package runs from, with ``-dirty`` after local changes; None outside a repository."""
    folder = Path(__file__).parent
    git = ["git", "-C", str(folder)]
    try:
        tracked = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, check=False)
        if tracked.returncode != 0:
            return None
        out = subprocess.run(
            [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return out.stdout.strip() or None
