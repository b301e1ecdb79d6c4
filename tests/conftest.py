"""Fixtures of several test modules."""

import os
from pathlib import Path

import pytest
import torch

from buir.data.interactions import Interactions


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test marked `gpu` skips where there is no CUDA, whichever file it stands in."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs CUDA"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with the public data sets."""
    folder = os.environ.get("BUIR_DATA")
    if not folder:
        pytest.skip("needs the public data sets: set BUIR_DATA to their folder")
    return Path(folder)


@pytest.fixture
def toy() -> Interactions:
    """Four users, five items, nine pairs, with labels that are not row numbers, and times."""
    users = ["ann", "ann", "bob", "ann", "cat", "bob", "dan", "cat", "ann"]
    items = [30, 10, 30, 20, 50, 10, 30, 40, 50]
    return Interactions.from_pairs(users, items, times=[5, 1, 2, 9, 4, 3, 6, 8, 7])
