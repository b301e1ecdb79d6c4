"""What a whole fit of `BUIR()` costs, choice and refit included, in fits of implicit's ALS (64 factors, 15 iterations).

    python -m benchmarks.cost

Nested levels, split seed 0, the training part; nothing but seconds of the processor is read off, on one thread. ALS is fitted three times
and its median taken. Rows go to docs/results/cost.csv; finished ones are not run again. Run it while nothing else works.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_limits

from benchmarks.data import data_dir
from benchmarks.ledger import RESULTS, Ledger
from benchmarks.sharpening import SETS as SHARPENED
from buir import BUIR
from buir.data.files.readers import read
from buir.data.splits import nested_split

SETS: dict[str, tuple[str, dict[str, Any]]] = {**SHARPENED, "amazon-beauty": ("amazon-beauty/Beauty.inter.gz", {})}
LEVELS = (0.2, 0.8)


def seconds(run: Callable[[], object]) -> float:
    """Return the processor seconds of a call."""
    started = time.process_time()
    run()
    return time.process_time() - started


def als(train: csr_array) -> float:
    """Return the processor seconds of a fit of ALS, the median of three."""
    from implicit.cpu.als import AlternatingLeastSquares

    pairs = csr_matrix(train)
    with threadpool_limits(1):
        return float(
            np.median(
                [
                    seconds(
                        lambda: AlternatingLeastSquares(factors=64, iterations=15, num_threads=1, random_state=0).fit(
                            pairs, show_progress=False
                        )
                    )
                    for _ in range(3)
                ]
            )
        )


def measured(data: str, level: float) -> dict[str, object]:
    """Fit both on a level of a data set."""
    path, filters = SETS[data]
    train = nested_split(read(data_dir() / path, **filters), level, seed=0).train.matrix
    theirs, model = als(train), BUIR()
    ours = seconds(lambda: model.fit(train, show_progress=False))
    chosen = model.chosen_
    return {
        "data": data,
        "level": level,
        "pairs": train.nnz,
        "als_seconds": f"{theirs:.2f}",
        "seconds": f"{ours:.2f}",
        "als_fits": f"{ours / theirs:.1f}",
        "asked": 30 if chosen.epochs else 10,
        "epochs": chosen.epochs,
        "embedding_dim": chosen.embedding_dim,
    }


def main() -> None:
    """Run it."""
    torch.set_num_threads(1)
    ledger = Ledger(RESULTS / "cost.csv", ("data", "level"))
    for data in SETS:
        for level in LEVELS:
            if (data, str(level)) not in ledger:
                ledger.add(measured(data, level))


if __name__ == "__main__":
    main()
