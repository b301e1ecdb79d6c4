"""Where a random start is better than a spectral one, and whether the rule that decides between them says so.

    python -m benchmarks.starts

Nested levels, split seed 0; the test part is never read. ``BUIR()`` decides everything on the held-out pairs of one half of the users and is
measured on those of the other half, and the other way round; the value is the mean of both. The rule was found on the data of the sweep, where
there are enough pairs, and on four others. Rows go to docs/results/ablation/starts.csv; finished ones are not run again.
"""

import time

import numpy as np
import torch

from benchmarks.data import SETS, halves, load
from benchmarks.ledger import RESULTS, Ledger
from buir import BUIR
from buir.data import nested_split
from buir.model.fitting import connected, starts_of
from buir.ranking import evaluate

OTHERS = {
    "amazon-music": ("amazon-music/ratings.txt", {}),
    "lastfm-lightgcn": ("lastfm-lightgcn/data1.txt", {}),
    "ml-latest-small": ("ml-latest-small/ratings.csv.gz", {}),
    "ml-1m-sample": ("ml-1m-sample/ratings.dat.gz", {}),
}
CELLS = tuple((data, level) for among in (SETS, OTHERS) for level in (0.8, 0.5) for data in among)
STARTS = ("spectral", "random")


def main() -> None:
    """Measure what is missing."""
    torch.set_num_threads(1)
    SETS.update(OTHERS)
    ledger = Ledger(RESULTS / "ablation" / "starts.csv", ("data", "level", "start"))
    for data, level in CELLS:
        if all((data, level, start) in ledger for start in STARTS):
            continue
        split = nested_split(load(data), level)
        train = split.train.matrix
        n_nodes, rule = connected(train), " and ".join(starts_of(train))
        about = {"pairs_a_node": f"{train.nnz / n_nodes:.2f}", "nodes": n_nodes, "rule": rule}
        for start in STARTS:
            if (data, level, start) in ledger:
                continue
            values, began, parts = [], time.process_time(), halves(split)
            for seed, (mine, other) in enumerate((parts, parts[::-1])):
                model = BUIR(start=start, seed=seed).fit(train, mine, show_progress=False)
                values.append(evaluate(model, train, other, ks=(20,), metrics=("ndcg",)).means["ndcg_at_20"])
            told = {"ndcg_at_20": f"{np.mean(values):.4f}", "cpu_seconds": f"{(time.process_time() - began) / 2:.1f}"}
            ledger.add({"data": data, "level": level, "start": start} | about | told)


if __name__ == "__main__":
    main()
