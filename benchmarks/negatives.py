"""Does what is said of a sampler before training predict what it gives? ECI, lift and hardness beside the NDCG of Contrastive.

    python -m benchmarks.negatives             36 trainings, one row for each data set, level and sampler
    python -m benchmarks.negatives --levels    false negatives of the samplers against sparsity, a CSV file and a figure for each data set

CiteULike, ML-100K and Amazon-Beauty at 20 and 50 % of the pairs, nested levels, split seed 0; samplers of 16 negatives for each pair, without
correction, and otherwise Contrastive's defaults, without terms. NDCG@20 is that of the validation part, where training stops early, and after
20 seconds of the processor at the latest, those of the sampler aside; the test part is never read. Rows go to docs/results/negatives/; finished
ones are not run again.
"""

import argparse
import time

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from baselines import Contrastive, assess_levels, assess_negatives
from baselines.contrast import KnownPairs, Sampler, frozen_vectors, make_samplers
from benchmarks.data import load, nested
from benchmarks.ledger import RESULTS, Ledger
from buir.data import Interactions
from buir.experiment.figures import false_negative_figure

FOLDER = RESULTS / "negatives"
SETS = ("citeulike", "ml-100k", "amazon-beauty")
LEVELS, DRAWS, SECONDS = (0.2, 0.5), 16, 20.0
MANY_LEVELS = (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 1.0)
SAID = ("eci", "hardness", "safety", "lift", "hard_share", "effective_negatives")


def trained(train: Interactions, valid: Interactions, sampler: Sampler) -> dict[str, object]:
    """Train once with a sampler and tell what held-out pairs say."""
    started, drawing = time.process_time(), 0.0

    def timed(users: Tensor, items: Tensor, key: int) -> Tensor:
        nonlocal drawing
        before = time.process_time()
        drawn = sampler(users, items, key)
        drawing += time.process_time() - before
        return drawn

    def is_over(_: object = None) -> bool:
        return time.process_time() - started - drawing > SECONDS

    model = Contrastive(sampler=timed, correction=0.0, device="cpu")
    model.fit(train, valid, show_progress=False, callback=is_over)
    best = max(model.history, key=lambda record: record["ndcg_at_20"])
    last = model.history[-1]["epoch"]
    waited = last - best["epoch"] >= model.patience * model.validate_every
    return {
        "valid_ndcg_at_20": f"{best['ndcg_at_20']:.5f}",
        "best_epoch": best["epoch"],
        "epochs": last,
        "capped": "no" if waited or last == model.epochs else "yes",
        "cpu_seconds": f"{time.process_time() - started:.1f}",
        "drawing_seconds": f"{drawing:.1f}",
    }


def predict() -> None:
    """Run the trainings that the file lacks, then print rank correlations over samplers."""
    ledger = Ledger(FOLDER / "prediction.csv", ("data", "level", "sampler"))
    for data in SETS:
        for level in LEVELS:
            cell(ledger, data, level)
    correlations(ledger)


def cell(ledger: Ledger, data: str, level: float) -> None:
    """Assess the samplers of a cell and train with each."""
    names = {row["sampler"] for row in ledger.rows if (row["data"], row["level"]) == (data, str(level))}
    split = nested(data, level)
    users, items = frozen_vectors(split.train.matrix)
    samplers = make_samplers(KnownPairs(split.train.matrix, torch.device("cpu")), users, items, DRAWS)
    if names >= samplers.keys():
        return
    table = assess_negatives(split.train, split.valid, n=DRAWS).set_index("sampler")
    for name, sampler in samplers.items():
        if name not in names:
            said = {column: f"{table.at[name, column]:.5g}" for column in SAID}
            ledger.add(
                {"data": data, "level": level, "sampler": name} | said | trained(split.train, split.valid, sampler)
            )


def correlations(ledger: Ledger) -> None:
    """Print, for each thing that is said, Spearman's correlation with NDCG@20 in each cell, and the median."""
    cells = list(dict.fromkeys((row["data"], row["level"]) for row in ledger.rows))
    print(f"{'':20}" + "".join(f"{f'{data} {level}':>20}" for data, level in cells) + f"{'median':>10}")
    for column in SAID:
        found = []
        for place in cells:
            rows = [row for row in ledger.rows if (row["data"], row["level"]) == place]
            found.append(
                spearmanr([float(r[column]) for r in rows], [float(r["valid_ndcg_at_20"]) for r in rows]).statistic
            )
        print(f"{column:20}" + "".join(f"{value:20.2f}" for value in found) + f"{np.median(found):10.2f}")


def sparsity() -> None:
    """Write the table and the figure of false negatives against sparsity of each data set."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for data in SETS:
        table = assess_levels(load(data), MANY_LEVELS, n=DRAWS)
        table.drop(columns="seconds").to_csv(FOLDER / f"levels-{data}.csv", index=False, float_format="%.5g")
        figure = false_negative_figure(table, f"{data}: what samplers of negatives draw that is hidden and true")
        figure.savefig(FOLDER / f"levels-{data}.png", dpi=110)
        print(f"written: {FOLDER / f'levels-{data}.csv'} and .png", flush=True)


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--levels", action="store_true")
    torch.set_num_threads(1)
    if parser.parse_args().levels:
        sparsity()
    else:
        predict()


if __name__ == "__main__":
    main()
