"""`BUIR()` on Gowalla and Yelp2018, the split of LightGCN: recall and NDCG at 20, and what a fit costs.

    python -m benchmarks.large

Everything is decided on pairs that the fit holds out of the training file, then trained on all of it; the test file is read once, in the
end. Rows go to docs/results/large.csv; finished ones are not run again. Seconds are those of the processor, on one thread.
"""

import time

import torch

from benchmarks.data import data_dir
from benchmarks.ledger import RESULTS, Ledger
from buir import BUIR
from buir.data.files.readers import read_split
from buir.ranking import evaluate

SETS = ("gowalla", "yelp2018")


def measured(data: str) -> dict[str, object]:
    """Fit with the defaults and measure on the test file."""
    train, test = read_split(*(data_dir() / data / f"{part}.txt.gz" for part in ("train", "test")))
    started = time.process_time()
    model = BUIR().fit(train, show_progress=False)
    seconds = time.process_time() - started
    means = evaluate(model, train, test, ks=(20,), metrics=("recall", "ndcg")).means
    chosen = model.chosen_
    return {
        "data": data,
        "recall_at_20": f"{means['recall_at_20']:.4f}",
        "ndcg_at_20": f"{means['ndcg_at_20']:.4f}",
        "held_out_ndcg_at_20": f"{chosen.value:.4f}",
        "cpu_seconds": f"{seconds:.0f}",
        "epochs": chosen.epochs,
        "embedding_dim": chosen.embedding_dim,
        "block_dim": chosen.block_dim,
        "terms": " ".join(f"{name}={strength:g}" for name, strength in chosen.strengths.items()),
    }


def main() -> None:
    """Run it."""
    torch.set_num_threads(1)
    ledger = Ledger(RESULTS / "large.csv", ("data",))
    for data in SETS:
        if (data,) not in ledger:
            ledger.add(measured(data))


if __name__ == "__main__":
    main()
