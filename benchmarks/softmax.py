"""The softmax rival on Gowalla and Yelp2018, the split of LightGCN: how far it comes in an hour of one processor.

    python -m benchmarks.softmax gowalla [--layers 1]

A tenth of the training pairs is held out. Three temperatures train for 600 processor seconds each, the best of them for 3,600 (matrix
factorisation) or 5,400 (LightGCN's encoder), each to its best held-out NDCG@20; then terms are chosen, and the test file is read once. The
curves go to docs/results/negatives/large-curves.csv, the ends to docs/results/negatives/large.csv; a temperature that was tried to its end
is not tried again.
"""

import argparse
import time

import numpy as np
import torch

from baselines import Contrastive
from benchmarks.data import data_dir
from benchmarks.ledger import RESULTS, Ledger
from buir.data import keep, of_some_users
from buir.data.files.readers import read_split
from buir.ranking import FactorScorer, evaluate
from buir.recommend import ScoreTerms

TEMPERATURES = (0.07, 0.1, 0.14)
TRIED, LONG = 600, {0: 3600, 1: 5400}
"""Processor seconds of each temperature, and of the best one by the number of layers."""
WATCHED = 5000
"""Users by whose held-out pairs an epoch is judged."""


class Curve:
    """Ends a training after so many processor seconds and keeps what it came to on the way."""

    def __init__(self, ledger: Ledger, about: dict[str, object], seconds: float) -> None:
        self.ledger, self.about, self.seconds, self.best = ledger, about, seconds, 0.0
        self.started = time.process_time()

    def __call__(self, record: dict[str, object]) -> bool:
        """Note a validation; say whether the time is over."""
        took, value = time.process_time() - self.started, record["ndcg_at_20"]
        assert isinstance(value, float)
        self.best = max(self.best, value)
        self.ledger.add(
            self.about | {"cpu_seconds": f"{took:.0f}", "epoch": record["epoch"], "held_out_ndcg_at_20": f"{value:.4f}"}
        )
        return took >= self.seconds


def noted(curves: Ledger, about: tuple[object, ...]) -> float | None:
    """Return the best value of a training that an earlier call has finished; None without one."""
    rows = [row for row in curves.rows if tuple(row[name] for name in curves.key[:-1]) == tuple(map(str, about))]
    over = any(float(row["cpu_seconds"]) >= float(row["limit"]) for row in rows)
    return max(float(row["held_out_ndcg_at_20"]) for row in rows) if over else None


def run(data: str, layers: int) -> None:
    """Find a temperature, train with it, and read the test part."""
    train, test = read_split(*(data_dir() / data / f"{part}.txt.gz" for part in ("train", "test")))
    matrix = train.matrix
    held = np.random.default_rng(0).random(matrix.nnz) < 0.1
    rest, held_out = keep(matrix, ~held), keep(matrix, held)
    shown = of_some_users(held_out, WATCHED)
    folder = RESULTS / "negatives"
    curves = Ledger(folder / "large-curves.csv", ("data", "layers", "temperature", "limit", "epoch"))
    ends = Ledger(folder / "large.csv", ("data", "layers"))
    if (data, str(layers)) in ends:
        return

    def model(temperature: float) -> Contrastive:
        return Contrastive(
            n_layers=layers,
            temperature=temperature,
            learning_rate=1e-2,
            correction=1.0,
            uniform=512,
            in_batch=512,
            epochs=10_000,
            patience=20,
        )

    def fitted(temperature: float, limit: int) -> tuple[Contrastive, Curve]:
        curve = Curve(curves, {"data": data, "layers": layers, "temperature": temperature, "limit": limit}, limit)
        return model(temperature).fit(rest, valid=shown, callback=curve, show_progress=False), curve

    reached = {
        temperature: noted(curves, (data, layers, temperature, TRIED)) or fitted(temperature, TRIED)[1].best
        for temperature in TEMPERATURES
    }
    best = max(reached, key=reached.__getitem__)
    long, curve = fitted(best, LONG[layers])
    spent = time.process_time() - curve.started
    told: dict[str, object] = {"data": data, "layers": layers, "temperature": best, "cpu_seconds": f"{spent:.0f}"}
    told["held_out_ndcg_at_20"] = f"{curve.best:.4f}"
    base = FactorScorer(long.user_factors, long.item_factors)
    terms, choice = ScoreTerms.choose(base, rest, held_out, "ndcg_at_20")
    for name, scorer in (("", base), ("with_terms_", ScoreTerms.of(base, rest, terms)[1])):
        means = evaluate(scorer, matrix, test.matrix, ks=(20,), metrics=("recall", "ndcg")).means
        told |= {name + metric: f"{value:.4f}" for metric, value in means.items()}
    ends.add(
        told | {"terms": " ".join(f"{name}={strength:g}" for name, strength in choice.strengths.items() if strength)}
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=("gowalla", "yelp2018"))
    parser.add_argument("--layers", type=int, choices=tuple(LONG), default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    run(args.data, args.layers)


if __name__ == "__main__":
    main()
