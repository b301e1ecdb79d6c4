"""What befalls a benchmark from outside: some of it here, more with ``make faults``; kills of a fit are with the checkpoints."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def outages(**counts: int) -> str:
    """Try so many in a process of its own, which is copied at every trial; return its last line."""
    none = {"kills": 0, "damage": 0, "full-disk": 0, "servers": 0, "pairs": 0}
    asked = [f"--{name}={count}" for name, count in (none | counts).items()]
    command = [sys.executable, "-m", "tests.support.faults", *asked]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-3000:]
    return told.stdout.splitlines()[-1]


@pytest.mark.slow
def test_two_processes_on_one_store_and_in_one_folder_lose_nothing():
    assert outages(pairs=1) == "tried 2, survived 2, defects 0"


@pytest.mark.slow
def test_ten_kills_and_twenty_damaged_files():
    assert outages(kills=10, damage=20) == "tried 30, survived 30, defects 0"


@pytest.mark.slow
def test_a_full_disk_and_servers_that_go_away():
    assert outages(**{"full-disk": 4, "servers": 2}).endswith("defects 0")
