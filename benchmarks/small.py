"""Small data: whether training adds to the start there, and what a fit costs.

    python -m benchmarks.small

Users of the training and validation part of the 80 % level (nested, split seed 0; the test part is never read) are drawn, each with 3 to 14 of the
pairs, and of those with four or more one is held out of the fit, until the fit has so many pairs; a set is drawn several times. ``start`` is
``BUIR(epochs=0)``, which chooses width and terms by pairs that it holds out itself, ``trained`` is ``BUIR(epochs=100)``, which chooses all as ``BUIR()``
does on larger data. NDCG@20 and processor seconds are means over the draws; ``error`` is the standard error of trained less start. Rows go to
docs/results/small.csv; finished ones are not run again.
"""

import time
import warnings

import numpy as np
import torch
from scipy.sparse import csr_array

from benchmarks.data import SETS, nested
from benchmarks.ledger import RESULTS, Ledger
from buir import BUIR
from buir.errors import NoValidationWarning
from buir.ranking import evaluate

SIZES, DRAWS = (2000, 4000), 8
SHORTEST, LONGEST = 3, 14
WAYS = {"start": 0, "trained": 100}


def drawn(pool: csr_array, n_pairs: int, seed: int) -> tuple[csr_array, csr_array]:
    """Draw users and some pairs of each; return what a fit gets and one held-out pair of those with four or more."""
    rng = np.random.default_rng([seed, n_pairs])
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    for user in rng.permutation(pool.shape[0]):
        if sum(len(kept) for kept, _ in rows) >= n_pairs:
            break
        items = rng.permutation(pool.indices[pool.indptr[user] : pool.indptr[user + 1]])
        items = items[: rng.integers(SHORTEST, LONGEST + 1)]
        if len(items) >= SHORTEST:
            n_held = int(len(items) > SHORTEST)
            rows.append((items[n_held:], items[:n_held]))
    known, parts = np.unique(np.concatenate([kept for kept, _ in rows])), []
    for side in zip(*rows, strict=True):
        users = np.repeat(np.arange(len(side)), [len(items) for items in side])
        items = np.concatenate(side)
        places = np.searchsorted(known, items).clip(max=len(known) - 1)
        there = known[places] == items
        ones = np.ones(there.sum(), dtype=np.float32)
        parts.append(csr_array((ones, (users[there], places[there])), shape=(len(rows), len(known))))
    return parts[0], parts[1]


def compared(pool: csr_array, n_pairs: int) -> dict[str, object]:
    """Fit both ways on every draw."""
    values = {way: np.empty(DRAWS) for way in WAYS}
    seconds = {way: np.empty(DRAWS) for way in WAYS}
    for seed in range(DRAWS):
        train, held = drawn(pool, n_pairs, seed)
        for way, epochs in WAYS.items():
            begun = time.process_time()
            model = BUIR(epochs=epochs, seed=seed).fit(train, show_progress=False)
            seconds[way][seed] = time.process_time() - begun
            values[way][seed] = evaluate(model, train, held, ks=(20,), metrics=("ndcg",)).means["ndcg_at_20"]
    row: dict[str, object] = {way: f"{values[way].mean():.4f}" for way in WAYS}
    row["error"] = f"{(values['trained'] - values['start']).std(ddof=1) / DRAWS**0.5:.4f}"
    for way in WAYS:
        row |= {f"{way}_seconds": f"{seconds[way].mean():.2f}", f"{way}_longest": f"{seconds[way].max():.2f}"}
    return row


def main() -> None:
    """Run it."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", NoValidationWarning)
    ledger = Ledger(RESULTS / "small.csv", ("data", "pairs"))
    for n_pairs in SIZES:
        for data in SETS:
            if (data, n_pairs) not in ledger:
                split = nested(data, 0.8)
                pool = csr_array((split.train.matrix + split.valid.matrix).tocsr())
                ledger.add({"data": data, "pairs": n_pairs} | compared(pool, n_pairs))


if __name__ == "__main__":
    main()
