"""What stands between the online network and its target, how fast the target follows, and where training starts.

    python -m benchmarks.predictor
    python -m benchmarks.predictor --blind

Nested levels, split seed 0; the test part is never read. ``BUIR()`` decides everything on the held-out pairs of one half of the users and is
measured on those of the other half, and the other way round; the value is the mean of both. Rows go to docs/results/ablation/predictor.csv;
finished ones are not run again. The change was found on ML-100K, CiteULike and Amazon-Beauty at 20 %; the others only say whether it holds.

With ``--blind`` the held-out pairs decide nothing and measure all: ten epochs without terms at several weights of uniformity, or none, and
what ``BUIR().fit(X)`` comes to, which decides by pairs that it holds out of the training part (docs/results/ablation/blind.csv).
"""

import argparse
import time
from typing import Any

import numpy as np
import torch

from benchmarks.data import halves, nested
from benchmarks.ledger import RESULTS, Ledger
from buir import BUIR
from buir.model.fitting import many_pairs, starts_of
from buir.ranking import evaluate

CELLS = {
    "ml-100k": (0.1, 0.2, 0.5, 0.8),
    "citeulike": (0.1, 0.2, 0.5, 0.8),
    "amazon-beauty": (0.1, 0.2, 0.8),
    "filmtrust": (0.1, 0.2, 0.8),
    "lastfm": (0.1, 0.2, 0.8),
    "ciao": (0.2, 0.8),
}
WAYS: dict[str, dict[str, Any]] = {
    "linear .995": {"predictor": "linear", "momentum": 0.995, "start": "spectral"},
    "none .9": {"predictor": "none", "momentum": 0.9, "start": "spectral"},
    "none .9, random": {"predictor": "none", "momentum": 0.9, "start": "random"},
    "none .9, both": {"predictor": "none", "momentum": 0.9, "start": "auto"},  # as rows of a wider rule are called, too
    "linear .9": {"predictor": "linear", "momentum": 0.9, "start": "spectral"},
    "none 0": {"predictor": "none", "momentum": 0.0, "start": "spectral"},
    "none .995": {"predictor": "none", "momentum": 0.995, "start": "spectral"},
}
"""The paper's predictor and target first, then the default of today, and what it decides between where the graph is in pieces."""
BLIND: dict[str, dict[str, Any]] = {
    "auto": {},
    "start": {"epochs": 0},
    "linear .995, 0": {"epochs": 10, "predictor": "linear", "momentum": 0.995, "uniformity": 0.0},
    "none .9, 0.1": {"epochs": 10, "uniformity": 0.1},
    "none .9, 0.3": {"epochs": 10, "uniformity": 0.3},
    "none .9, 1": {"epochs": 10, "uniformity": 1.0},
    "BUIR().fit(X)": {"inner_validation": "auto"},
}
"""The last holds out pairs of the training part and decides everything by them."""


def asked(data: str, level: float, way: str) -> bool:
    """Whether a way is run: a random start where pairs are few, both where the graph is in pieces, the rest everywhere."""
    train = nested(data, level).train.matrix
    if way == "none .9, both":
        return len(starts_of(train)) > 1
    return way != "none .9, random" or not many_pairs(train.nnz, sum(train.shape))


def measured(data: str, level: float, way: str) -> dict[str, object]:
    """Decide on each half of the users with held-out pairs, measure on the other."""
    split = nested(data, level)
    parts = halves(split)
    values, told, started = [], [], time.process_time()
    for seed, (mine, other) in enumerate((parts, parts[::-1])):
        model = BUIR(**WAYS[way], seed=seed).fit(split.train, mine, show_progress=False)
        values.append(evaluate(model, split.train, other, ks=(20,), metrics=("ndcg",)).means["ndcg_at_20"])
        chosen = model.chosen_
        began = f" from {chosen.began}" if chosen.beside is not None else ""
        told.append(f"{chosen.epochs} of {chosen.epochs_run} at {chosen.uniformity:g}{began}")
    seconds = (time.process_time() - started) / 2
    return {"ndcg_at_20": f"{np.mean(values):.4f}", "cpu_seconds": f"{seconds:.1f}", "epochs": " and ".join(told)}


def unwatched(data: str, level: float, way: str) -> dict[str, object]:
    """Train without held-out pairs."""
    split = nested(data, level)
    train = split.train.matrix
    model = BUIR(**{"inner_validation": False} | BLIND[way]).fit(split.train, show_progress=False)
    value = evaluate(model, split.train, split.valid, ks=(20,), metrics=("ndcg",)).means["ndcg_at_20"]
    told = {"pairs": train.nnz, "pairs_a_node": f"{train.nnz / sum(train.shape):.1f}", "epochs": model.chosen_.epochs}
    rank = {"effective_rank": f"{model.history[-1]['effective_rank']:.0f}"}
    return {"ndcg_at_20": f"{value:.4f}"} | rank | told | {"uniformity": f"{model.chosen_.uniformity:g}"}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blind", action="store_true", help="without held-out pairs")
    blind = parser.parse_args().blind
    torch.set_num_threads(1)
    name, ways, row = ("blind.csv", BLIND, unwatched) if blind else ("predictor.csv", WAYS, measured)
    ledger = Ledger(RESULTS / "ablation" / name, ("data", "level", "way"))
    for way in ways:
        for data, levels in CELLS.items():
            for level in levels:
                if (data, str(level), way) not in ledger and asked(data, level, way):
                    ledger.add({"data": data, "level": level, "way": way} | row(data, level, way))


if __name__ == "__main__":
    main()
