"""How many users with held-out pairs should be looked at between epochs: validation NDCG@20 and seconds of a fit, by that number.

    python -m benchmarks.watched

Nested levels, split seed 0, two or three model seeds; the test part is never read. What is told is the metric of the final score on up to 6,000
users. Rows go to docs/results/ablation/watched.csv; finished ones are not run again.
"""

import time
import warnings
from unittest.mock import patch

import torch

from benchmarks.data import nested
from benchmarks.ledger import RESULTS, Ledger
from buir import BUIR
from buir.model import fitting

CELLS = {
    "citeulike": ((0.2, 0.8), (0, 1, 2), (1500, 6000)),
    "amazon-beauty": ((0.1, 0.2, 0.5, 0.8), (0, 1), (1500, 4470)),
}
"""Levels, model seeds, and users."""


def main() -> None:
    """Run it."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # sparse levels have items without pairs, and they say so
    ledger = Ledger(RESULTS / "ablation" / "watched.csv", ("data", "level", "seed", "users"))
    for data, (levels, seeds, numbers) in CELLS.items():
        for place in ((level, seed, users) for level in levels for seed in seeds for users in numbers):
            if (data, *place) in ledger:
                continue
            level, seed, users = place
            split = nested(data, level)
            started = time.process_time()
            with patch.object(fitting, "MOST_VALIDATED", users):
                model = BUIR(start="spectral", seed=seed).fit(
                    split.train.matrix, split.valid.matrix, show_progress=False
                )
            chosen = model.chosen_
            ledger.add(
                {
                    "data": data,
                    "level": level,
                    "seed": seed,
                    "users": users,
                    "valid_ndcg_at_20": f"{chosen.value:.5f}",
                    "epochs": chosen.epochs,
                    "embedding_dim": chosen.embedding_dim,
                    "cpu_seconds": f"{time.process_time() - started:.0f}",
                }
            )


if __name__ == "__main__":
    main()
