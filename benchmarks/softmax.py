"""The softmax rival on Gowalla and Yelp2018, the split of LightGCN: how far it comes in an hour of one processor.

    python -m benchmarks.softmax gowalla [--layers 1]

A tenth of the training pairs is held out. Three temperatures train for 600 processor seconds each, then the best of them with a larger
weight of the negatives, then the better of both without correction of the candidates' popularity; the best of these five trains for 3,600
(matrix factorisation) or 5,400 seconds (LightGCN's encoder). Each goes to its best held-out NDCG@20; then terms are chosen, and a model is
trained on all pairs of the training file for as many epochs, which reads the test file. The curves go to
docs/results/negatives/large-curves.csv, what they decide to large-chosen.csv and the ends to large.csv beside it; what was done to its end
is not done again.
"""

import argparse
import time
from typing import Any

import numpy as np
import torch

from baselines import Contrastive
from benchmarks.data import data_dir
from benchmarks.ledger import RESULTS, Ledger
from buir.data import keep, of_some_users
from buir.data.files.readers import read_split
from buir.graph import spectral_factors
from buir.ranking import FactorScorer, evaluate
from buir.recommend import ScoreTerms, make_terms, width_of_block, with_block

VALUES = {"temperature": (0.07, 0.1, 0.14), "negative_weight": (1.0, 1.22), "correction": (1.0, 0.0)}
"""What is tried, one after the other, each beside the best values of those before it and the first values of those after."""
TRIED, LONG = 600, {0: 3600, 1: 5400}
"""Processor seconds of each trial, and of the best one by the number of layers."""
WATCHED, METRIC = 5000, "ndcg_at_20"
"""Users by whose held-out pairs an epoch is judged, and what by."""


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


def noted(curves: Ledger, about: dict[str, object]) -> float | None:
    """Return the best value of a training that an earlier call has finished; None without one."""
    rows = [row for row in curves.rows if all(row[name] == str(value) for name, value in about.items())]
    over = any(float(row["cpu_seconds"]) >= float(row["limit"]) for row in rows)
    return max(float(row["held_out_ndcg_at_20"]) for row in rows) if over else None


class Large:
    """A data set and an encoder, and what is known of them from earlier calls."""

    def __init__(self, data: str, layers: int) -> None:
        train, test = read_split(*(data_dir() / data / f"{part}.txt.gz" for part in ("train", "test")))
        self.train, self.test, self.layers = train.matrix, test.matrix, layers
        held = np.random.default_rng(0).random(self.train.nnz) < 0.1
        self.rest, self.held_out = keep(self.train, ~held), keep(self.train, held)
        self.where: dict[str, object] = {"data": data, "layers": layers}
        folder, names = RESULTS / "negatives", ("data", "layers", *VALUES)
        self.curves = Ledger(folder / "large-curves.csv", (*names, "limit", "epoch"))
        self.chosen = Ledger(folder / "large-chosen.csv", names)
        self.ends = Ledger(folder / "large.csv", (*names, "trained_pairs"))

    def run(self) -> None:
        """Find settings, train with them, and read the test part."""
        best: dict[str, Any] = {name: values[0] for name, values in VALUES.items()}
        for name, values in VALUES.items():
            best = max([best | {name: tried} for tried in values], key=self.value)
        named = (*self.where.values(), *best.values())
        if named not in self.chosen:
            self.chosen.add(self.where | best | self.decide(best))
        if (*named, self.train.nnz) not in self.ends:
            texts = [str(value) for value in named]
            (row,) = (row for row in self.chosen.rows if [row[name] for name in self.chosen.key] == texts)
            self.ends.add(self.where | best | self.tested(best, row))

    def model(self, settings: dict[str, Any]) -> Contrastive:
        """Make the model with what nobody searches."""
        fixed: dict[str, Any] = {"learning_rate": 1e-2, "uniform": 512, "in_batch": 512, "patience": 20}
        return Contrastive(n_layers=self.layers, **fixed | settings)

    def watched(self, settings: dict[str, Any], limit: int) -> tuple[Contrastive, Curve]:
        """Train on nine tenths to the best state by the held-out tenth."""
        curve = Curve(self.curves, self.where | settings | {"limit": limit}, limit)
        model = self.model(settings | {"epochs": 10_000})
        shown = of_some_users(self.held_out, WATCHED)
        return model.fit(self.rest, valid=shown, callback=curve, show_progress=False), curve

    def value(self, settings: dict[str, Any]) -> float:
        """Return what a trial came to, of an earlier call or of this one."""
        known = noted(self.curves, self.where | settings | {"limit": TRIED})
        return self.watched(settings, TRIED)[1].best if known is None else known

    def decide(self, settings: dict[str, Any]) -> dict[str, object]:
        """Train for long; return the epochs, the score and the terms that are best."""
        long, curve = self.watched(settings, LONG[self.layers])
        base = FactorScorer(long.user_factors, long.item_factors)
        found, choice = ScoreTerms.choose(base, self.rest, self.held_out, METRIC)
        return {
            "cpu_seconds": f"{time.process_time() - curve.started:.0f}",
            "epochs": max(record["epoch"] for record in long.history if record["best"]),
            "score": long.chosen_.score,
            "held_out_ndcg_at_20": f"{curve.best:.4f}",
            "with_terms_held_out_ndcg_at_20": f"{choice.value:.4f}",
            "terms": " ".join(f"{name}={term.strength:g}" for name, term in found.items()),
            "block": width_of_block(found) or "",
        }

    def tested(self, settings: dict[str, Any], decided: dict[str, str]) -> dict[str, object]:
        """Train on everything as it was decided; return what the test part says, without the terms and with them."""
        started = time.process_time()
        told = {"epochs": int(decided["epochs"]), "score": decided["score"]}
        model = self.model(settings | told).fit(self.train, show_progress=False)
        found: dict[str, object] = {"trained_pairs": self.train.nnz}
        found["cpu_seconds"] = f"{time.process_time() - started:.0f}"
        strengths = {name: float(value) for name, value in (part.split("=") for part in decided["terms"].split())}
        terms = make_terms(self.train, strengths)
        if decided["block"]:
            terms = with_block(terms, spectral_factors(self.train, int(decided["block"])))
        base = FactorScorer(model.user_factors, model.item_factors)
        for prefix, scorer in (("", base), ("with_terms_", ScoreTerms.of(base, self.train, terms)[1])):
            means = evaluate(scorer, self.train, self.test, ks=(20,), metrics=("recall", "ndcg")).means
            found |= {prefix + metric: f"{value:.4f}" for metric, value in means.items()}
        return found | {"terms": decided["terms"]}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=("gowalla", "yelp2018"))
    parser.add_argument("--layers", type=int, choices=tuple(LONG), default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    Large(args.data, args.layers).run()


if __name__ == "__main__":
    main()
