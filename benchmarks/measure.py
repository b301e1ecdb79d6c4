"""Timing two programs side by side, and the rows in which the results are told."""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from benchmarks.machine import describe


@dataclass(frozen=True)
class Row:
    """One comparison."""

    measure: str
    settings: str
    plain: str
    """What the plain implementation (or another reference) took, with its unit."""
    ours: str
    ratio: str
    bar: str = ""
    """What we ask of ourselves; empty where nothing is asked."""


@dataclass
class Report:
    """The rows of one script; printed as they come, written as JSON at the end."""

    args: argparse.Namespace
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Take a row and print it."""
        self.rows.append(row)
        print(markdown_line(row), flush=True)

    def write(self) -> None:
        """Leave the rows where `python -m benchmarks` asked for them."""
        if self.args.json:
            self.args.json.write_text(json.dumps([asdict(row) for row in self.rows]), encoding="utf-8")


def start(description: str) -> Report:
    """Read the command line that all scripts share, set the threads, and name the machine."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, default=2, help="threads of both sides (default 2)")
    parser.add_argument(
        "--smoke", action="store_true", help="small generated data and few repeats: the numbers mean nothing"
    )
    parser.add_argument("--device", default="cpu", help="torch device of both sides, in step and time_to_quality")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"# {description}\n# {describe()}\n", flush=True)
    print("\n".join(markdown_header()), flush=True)
    return Report(args)


def alternate(functions: dict[str, Callable[[], object]], repeats: int, warmup: int = 1) -> dict[str, float]:
    """Time functions in turn, so that a busy moment of the machine meets all of them; return each one's median in seconds."""
    measured: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(warmup + repeats):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            wait()
            took = time.perf_counter() - started
            if turn >= warmup:
                measured[name].append(took)
    return {name: statistics.median(values) for name, values in measured.items()}


def wait() -> None:
    """Let a GPU finish what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(value: float) -> str:
    """Say a duration with three digits."""
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


def times(plain: float, ours: float) -> str:
    """Say how many times as fast ours is."""
    return f"{plain / ours:.3g} x"


def markdown_header() -> list[str]:
    """Head of the table."""
    return ["| measure | settings | plain | ours | ratio | bar |", "|---|---|---:|---:|---:|---:|"]


def markdown_line(row: Row) -> str:
    """One line of the table."""
    return f"| {' | '.join(asdict(row).values())} |"
