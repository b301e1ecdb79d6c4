"""(d) Peak memory of an epoch of fit and of full ranking; each measurement is a process of its own."""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array

from benchmarks.data import generated, gowalla
from benchmarks.measure import Row, start
from benchmarks.ours import FROM_RANDOM
from benchmarks.plain import PlainBUIR
from buir import BUIR
from buir.data import keep
from buir.ranking.evaluation import evaluate
from buir.ranking.top_k import FactorScorer


def peak_mb() -> float:
    """Most memory that this program ever held, in MiB.

    The kernel's high-water mark where it can be read: getrusage also counts the parent from which the process was forked.
    """
    status = Path("/proc/self/status")
    marks = (
        [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        if status.exists()
        else []
    )
    return int(marks[0]) / 1024 if marks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def factors(shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Random factor tables with d = 64."""
    generator = torch.Generator().manual_seed(0)
    users, items = (torch.randn(n, 64, generator=generator) for n in shape)
    return users, items


def fit_walk(train: csr_array, _test: csr_array) -> None:
    """One epoch of fit: walk encoder, row-sparse, batch 8,192."""
    BUIR(**FROM_RANDOM, encoder="walk", walks=8, row_sparse=True, batch_size=8192, epochs=1, device="cpu").fit(
        train, show_progress=False
    )


def fit_graph(train: csr_array, _test: csr_array) -> None:
    """One epoch of fit with the whole-graph encoder at a large batch: the memory does not depend on it much."""
    BUIR(**FROM_RANDOM, encoder="graph", n_layers=3, edge_drop_rate=0.2, batch_size=65_536, epochs=1, device="cpu").fit(
        train, show_progress=False
    )


def fit_plain(train: csr_array, _test: csr_array) -> None:
    """Two steps of the plain implementation: the second has all of Adam's state."""
    plain = PlainBUIR(train, n_layers=3)
    for start_row in (0, 1024):
        plain.step(plain.users[start_row : start_row + 1024], plain.items[start_row : start_row + 1024])


def rank_ours(train: csr_array, test: csr_array) -> None:
    """Full ranking and metrics."""
    evaluate(FactorScorer(*factors(train.shape)), train, test, ks=(20,), metrics=["recall", "ndcg"])


def rank_plain(train: csr_array, test: csr_array) -> None:
    """Full sort of blocks of 1,024 users."""
    PlainBUIR(train, n_layers=0).evaluate(test)


JOBS: dict[str, Callable[[csr_array, csr_array], None]] = {
    job.__name__: job for job in (fit_walk, fit_graph, fit_plain, rank_ours, rank_plain)
}


def data(name: str) -> tuple[csr_array, csr_array]:
    """Training and test matrix: "gowalla", or a number of pairs to generate."""
    if name == "gowalla":
        train, test = gowalla()
        return train.matrix, test.matrix
    train = generated(int(name))
    some = np.random.default_rng(0).random(train.nnz) < 0.1
    return keep(train, ~some), keep(train, some)


def measured(job: str, name: str, threads: int) -> tuple[float, float]:
    """Run a job in a fresh process; MiB at its peak, and before it began (the libraries and the data)."""
    command = [sys.executable, "-m", "benchmarks.memory", "--job", job, name, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = done.stdout.split()[-2:]
    return float(after), float(before)


def run_job(job: str, name: str, threads: int) -> None:
    """Do one job and print the memory before and after."""
    torch.set_num_threads(threads)
    train, test = data(name)
    before = peak_mb()
    JOBS[job](train, test)
    print(before, peak_mb())


def main() -> None:
    """Compare peaks."""
    report = start("Peak memory")
    real, large = ("20000", "50000") if report.args.smoke else ("gowalla", "10000000")
    for title, name, plain, ours, bar in (
        ("fit, whole-graph encoder, L = 3", real, "fit_plain", "fit_graph", ""),
        ("fit, walk encoder, L = 2, 8 walks, row-sparse", real, "fit_plain", "fit_walk", ""),
        ("fit, walk encoder, L = 2, 8 walks, row-sparse", large, None, "fit_walk", "at most 8,192 MiB"),
        ("full ranking and metrics, top 20", real, "rank_plain", "rank_ours", ""),
    ):
        peak, before = measured(ours, name, report.args.threads)
        size = (
            name
            if name == "gowalla"
            else f"generated, {int(name):,} pairs, {int(name) // 10:,} users, {int(name) // 50:,} items"
        )
        reference = measured(plain, name, report.args.threads)[0] if plain else None
        report.add(
            Row(
                f"peak memory: {title}",
                f"{size}, d = 64; of ours {before:,.0f} MiB were held before the job (libraries and data)",
                f"{reference:,.0f} MiB" if reference else "not run",
                f"{peak:,.0f} MiB",
                f"{peak / reference:.2f}" if reference else "",
                bar,
            )
        )
    report.write()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--job"]:
        run_job(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
