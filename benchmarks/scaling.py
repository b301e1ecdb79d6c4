"""(c) How the epoch grows with the number of interactions."""

import numpy as np
import torch
from scipy.sparse import csr_array

from benchmarks.data import generated
from benchmarks.measure import Row, alternate, seconds, start
from benchmarks.ours import OurTraining
from benchmarks.plain import PlainBUIR
from buir import BUIR

SIZES = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
SMOKE_SIZES = (2_000, 5_000, 10_000)
PLAIN_LIMIT = 1_000_000
BATCH = 8192


def plain_epoch(train: csr_array) -> float:
    """Return the plain epoch's seconds at batch 1,024: its steps times the median of three."""
    plain = PlainBUIR(train, embedding_dim=64, n_layers=2, batch_size=1024)
    generator = torch.Generator().manual_seed(0)

    def once() -> torch.Tensor:
        batch = torch.randint(len(plain.users), (1024,), generator=generator)
        return plain.step(plain.users[batch], plain.items[batch])

    return alternate({"step": once}, 3)["step"] * plain.n_steps


def rows_moved(training: OurTraining) -> int:
    """Count the rows that one more step, over a whole batch from all over the data, moves."""
    some = slice(None, None, max(1, len(training.pairs) // BATCH))
    training.step(training.pairs.users[some][:BATCH], training.pairs.items[some][:BATCH])
    return training.learner.bootstrap.weights.table.grad._indices().shape[1]


def exponent(sizes: list[int], values: list[float]) -> float:
    """Slope of the line through the points in logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def main() -> None:
    """Time epochs over growing data and fit the exponent."""
    report = start("Growth of the epoch with the data")
    sizes = SMOKE_SIZES if report.args.smoke else SIZES
    ours, plain = [], []
    settings = f"users = pairs / 10, items = pairs / 50, d = 64, L = 2; ours: 8 walks, batch {BATCH:,}, row-sparse; plain: batch 1,024"
    for size in sizes:
        train = generated(size)
        model = BUIR(
            encoder="walk", walks=8, embedding_dim=64, n_layers=2, row_sparse=True, batch_size=BATCH, device="cpu"
        )
        training = OurTraining(model, train)
        ours.append(
            alternate(
                {"epoch": training.epoch}, 3 if size <= PLAIN_LIMIT else 1, warmup=1 if size <= PLAIN_LIMIT else 0
            )["epoch"]
        )
        moved = rows_moved(training)
        del training
        if size <= PLAIN_LIMIT:
            plain.append(plain_epoch(train))
        known = len(plain) == len(ours)
        report.add(
            Row(
                f"epoch over {size:,} pairs",
                f"{settings}; a step of ours moves {moved:,} rows of {sum(train.shape):,}",
                seconds(plain[-1]) if known else "not run",
                seconds(ours[-1]),
                f"{plain[-1] / ours[-1]:.3g} x" if known else "",
            )
        )
    for first in (0, len(sizes) // 2):
        span = f"{sizes[first]:,} to {sizes[-1]:,} pairs"
        plain_slope = (
            f"{exponent(list(sizes[: len(plain)]), plain):.3f} (to {sizes[len(plain) - 1]:,})" if first == 0 else ""
        )
        report.add(
            Row(
                f"exponent of the epoch over {span}",
                settings,
                plain_slope,
                f"{exponent(list(sizes[first:]), ours[first:]):.3f}",
                "",
                "at most 1.1",
            )
        )
    report.write()


if __name__ == "__main__":
    main()
