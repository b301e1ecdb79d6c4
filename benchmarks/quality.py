"""What the extensions gain or cost: NDCG@20 and effective rank of encoders, uniformity and batch sizes, one fit each.

    python -m benchmarks.quality encoders     walk against whole graph
    python -m benchmarks.quality uniformity   weights of the uniformity term at 20 % and 80 %
    python -m benchmarks.quality terms        the same with terms in the score, chosen on validation data
    python -m benchmarks.quality batches      the rates of batch_size="auto", from 1,024 to 65,536 pairs a step
    python -m benchmarks.quality weights      plays as weights of pairs, and what is made of them, on LastFM; defaults, nested levels, validation part only

Author's protocol, split seed 0, model seed 0, d = 64; validation decides the epoch, the test part is read once at the end. A fit ends after
15 validations without improvement or after --seconds of CPU time. Rows go to docs/results/quality-<table>.csv; finished ones are not run again.
"""

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import torch

from baselines import ALS, ItemKNN
from benchmarks.data import load, nested
from benchmarks.ours import FROM_RANDOM
from buir import BUIR
from buir.data import weighting
from buir.data.splits import author_split
from buir.ranking.evaluation import evaluate

OUT = Path(__file__).parent.parent / "docs" / "results"
SETS = ("filmtrust", "citeulike", "amazon-beauty", "ml-100k")
PLAYS = "lastfm-hetrec"


def variants(table: str) -> list[tuple[str, float, str, dict[str, Any]]]:
    """List the fits of a table: data set, training ratio, name, settings."""
    if table == "encoders":
        fits = {"walk": {"encoder": "walk"}, "graph": {"encoder": "graph"}}
        return [
            (data, 0.5, name, kw) for data in ("filmtrust", "citeulike", "amazon-beauty") for name, kw in fits.items()
        ]
    if table == "uniformity":
        weights = (0.0, 0.1, 0.3)
        return [(d, beta, f"uniformity {w}", {"uniformity": w}) for d in SETS for beta in (0.2, 0.8) for w in weights]
    if table == "terms":
        weights = (0.0, 0.03, 0.1, 0.3)
        added = {"terms": "auto"}
        return [
            (d, beta, f"uniformity {w}", {"uniformity": w} | added)
            for d in SETS
            for beta in (0.2, 0.8)
            for w in weights
        ]
    if table == "weights":
        made = {"BUIR": BUIR, "ALS": ALS, "ItemKNN": ItemKNN}
        weights = (None, "values", "log", "bm25")
        return [
            (PLAYS, level, f"{name}, weights {w or 'none'}, seed {seed}", {"make": make, "weights": w, "seed": seed})
            for seed in (0, 1)
            for level in (0.2, 0.8)
            for name, make in made.items()
            if not seed or name == "BUIR"
            for w in weights
        ]
    sizes = (1024, 4096, 16384, 65536)
    return [(d, 0.8, f"batch {size}", rates(size)) for d in ("citeulike", "amazon-beauty") for size in sizes]


def rates(size: int) -> dict[str, Any]:
    """Scale the rates as ``batch_size="auto"`` does (see `Plan.of` in buir/model/fitting.py)."""
    growth, plain = size / 1024, BUIR(**FROM_RANDOM)
    return {
        "batch_size": size,
        "learning_rate": plain.learning_rate * growth**0.5,
        "momentum": plain.momentum**growth,
    }


def measure(data: str, beta: float, settings: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Fit once and measure once."""
    split = author_split(load(data), beta, seed=0)
    started = time.process_time()
    # Terms in the score and a spectral start would cover what the tables compare.
    model = BUIR(**(FROM_RANDOM | {"epochs": 1000, "patience": 15} | settings))
    model.fit(split.train, split.valid, callback=lambda _: time.process_time() - started > seconds)
    best = max(model.history, key=lambda record: record["ndcg_at_20"])
    means = evaluate(model, split.train, split.test, valid=split.valid, ks=(20,)).means
    return {
        "test_ndcg_at_20": f"{means['ndcg_at_20']:.4f}",
        "test_recall_at_20": f"{means['recall_at_20']:.4f}",
        "valid_ndcg_at_20": f"{best['ndcg_at_20']:.4f}",
        "effective_rank": f"{best['effective_rank']:.1f}",
        "best_epoch": best["epoch"],
        "last_epoch": model.history[-1]["epoch"],
        "cpu_seconds": f"{time.process_time() - started:.0f}",
    }


def measure_weights(level: float, make: Any, weights: str | None, seed: int) -> dict[str, Any]:
    """Fit once with weights and measure the validation part, which has also chosen epoch and terms; the test part is not read."""
    split = nested("lastfm", level)
    started = time.process_time()
    model = make(seed=seed).fit(split.train, split.valid, weights=weights and weighting(weights), show_progress=False)
    means = evaluate(model, split.train, split.valid, ks=(20,)).means
    seconds = f"{time.process_time() - started:.0f}"
    chosen = str(getattr(model, "chosen_", ""))
    found = {f"valid_{name}": f"{means[name]:.4f}" for name in ("ndcg_at_20", "recall_at_20", "coverage_at_20")}
    return {**found, "chosen": chosen, "cpu_seconds": seconds}


def main() -> None:
    """Run the fits of a table that are not in its file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("encoders", "uniformity", "terms", "batches", "weights"))
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    path = OUT / f"quality-{args.table}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = list(csv.DictReader(path.open(encoding="utf-8"))) if path.exists() else []
    done = {(row["data"], row["train_ratio"], row["variant"]) for row in rows}
    for data, beta, name, settings in variants(args.table):
        if (data, str(beta), name) in done:
            continue
        weighed = args.table == "weights"
        found = measure_weights(beta, **settings) if weighed else measure(data, beta, settings, args.seconds)
        row = {"data": data, "train_ratio": str(beta), "variant": name, **found}
        print(", ".join(f"{key}={value}" for key, value in row.items()), flush=True)
        rows.append(row)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
