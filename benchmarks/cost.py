"""What a whole fit of `BUIR()` costs, and when it is as good as tuned ALS, in fits of implicit's ALS.

    python -m benchmarks.cost

Two measures on the cells of the sweep, nested levels, and the first of them on Gowalla's training file; processor seconds on one thread, no
test part read:

* `als_fits`: a fit with defaults on the training part alone, choice and refit included, over a fit of ALS with 64 factors and 15 iterations.
* `reached_als_fits`: a fit with the validation pairs of 1,500 users, up to its first state with the NDCG@20 of ALS tuned on the same users
  (16 settings drawn from the ranges of configs/models/als.yaml), over one fit of that ALS. Where no state between epochs has it, the
  whole fit counts if it ends there, and else it is "not reached".

ALS is fitted three times and its median taken. Rows go to docs/results/cost.csv; finished ones are not run again. Run it while nothing else
works.
"""

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_limits

from benchmarks.data import SETS, gowalla, nested
from benchmarks.ledger import RESULTS, Ledger
from buir import BUIR
from buir.data import of_some_users
from buir.model.fitting import MOST_VALIDATED
from buir.ranking import evaluate

LEVELS, SEED, DRAWN = (0.1, 0.2, 0.5, 0.8), 1, 16


def seconds(run: Callable[[], object]) -> float:
    """Return the processor seconds of a call."""
    started = time.process_time()
    run()
    return time.process_time() - started


def als(train: csr_array, **settings: Any) -> tuple[Any, float]:
    """Fit ALS; return it and the processor seconds that it took."""
    from implicit.cpu.als import AlternatingLeastSquares

    pairs = csr_matrix(train)
    with threadpool_limits(1):
        model = AlternatingLeastSquares(num_threads=1, random_state=0, **settings)
        return model, seconds(lambda: model.fit(pairs, show_progress=False))


def als_seconds(train: csr_array, **settings: Any) -> float:
    """Return the median processor seconds of three fits of ALS."""
    return float(np.median([als(train, **settings)[1] for _ in range(3)]))


def tuned_als(train: csr_array, shown: csr_array) -> tuple[float, dict[str, Any]]:
    """Draw settings of ALS; return the best validation NDCG@20 and the settings that gave it."""
    rng = np.random.default_rng(0)
    found: list[tuple[float, dict[str, Any]]] = []
    for _ in range(DRAWN):
        settings: dict[str, Any] = {
            "factors": int(rng.choice([32, 64, 128, 256])),
            "alpha": float(10 ** rng.uniform(0, 2)),
            "regularization": float(10 ** rng.uniform(-1, 3)),
            "iterations": int(rng.integers(5, 31)),
        }
        model, _ = als(train, **settings)
        found.append((evaluate(model, train, shown, ks=20, metrics=["ndcg"]).means["ndcg_at_20"], settings))
    return max(found, key=lambda one: one[0])


def reached(train: csr_array, valid: csr_array, wanted: float) -> tuple[float | None, float]:
    """Fit with validation data; return the seconds to the first state that has what is wanted, and what it came to."""
    started, reached_after = time.process_time(), []

    def look(record: dict[str, Any]) -> None:
        if record.get("ndcg_at_20", 0.0) >= wanted:
            reached_after.append(time.process_time() - started)

    model = BUIR(device="cpu").fit(train, valid, callback=look, show_progress=False)
    value = model.chosen_.value
    assert value is not None
    if value >= wanted:
        reached_after.append(time.process_time() - started)
    return (reached_after[0] if reached_after else None), value


def whole(train: csr_array) -> dict[str, object]:
    """Fit both on all of a matrix."""
    theirs, model = als_seconds(train, factors=64, iterations=15), BUIR(device="cpu")
    ours = seconds(lambda: model.fit(train, show_progress=False))
    chosen = model.chosen_
    return {
        "pairs": train.nnz,
        "als_seconds": f"{theirs:.2f}",
        "seconds": f"{ours:.2f}",
        "als_fits": f"{ours / theirs:.1f}",
        "asked": 30 if chosen.epochs else 10,
        "epochs": chosen.epochs,
        "embedding_dim": chosen.embedding_dim,
    }


def until_as_good(train: csr_array, valid: csr_array) -> dict[str, object]:
    """Fit until ours is as good as tuned ALS."""
    shown = of_some_users(valid, MOST_VALIDATED)  # as many as a spectral start looks at between epochs
    wanted, settings = tuned_als(train, shown)
    of_tuned = als_seconds(train, **settings)
    first, value = reached(train, shown, wanted)
    return {
        "tuned_als_ndcg_at_20": f"{wanted:.4f}",
        "ndcg_at_20": f"{value:.4f}",
        "tuned_als_seconds": f"{of_tuned:.2f}",
        "reached_seconds": "not reached" if first is None else f"{first:.2f}",
        "reached_als_fits": "" if first is None else f"{first / of_tuned:.1f}",
    }


_UNTIL = ("tuned_als_ndcg_at_20", "ndcg_at_20", "tuned_als_seconds", "reached_seconds", "reached_als_fits")


def main() -> None:
    """Run it."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # sparse levels have items without pairs, and they say so
    ledger = Ledger(RESULTS / "cost.csv", ("data", "level"))
    for data in SETS:
        for level in LEVELS:
            if (data, str(level)) not in ledger:
                split = nested(data, level, SEED)
                train, valid = split.train.matrix, split.valid.matrix
                ledger.add({"data": data, "level": level} | whole(train) | until_as_good(train, valid))
    if ("gowalla", "1.0") not in ledger:
        ledger.add({"data": "gowalla", "level": 1.0} | whole(gowalla()[0].matrix) | dict.fromkeys(_UNTIL, ""))


if __name__ == "__main__":
    main()
