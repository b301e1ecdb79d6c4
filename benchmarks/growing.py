"""What growing costs: NDCG@20 after a fit on 90 % of the pairs and ``partial_fit`` with the rest, against one fit on all of them.

    BUIR_DATA=... python -m benchmarks.growing

A fifth of each user's pairs is the test part, the same for both and seen by neither. ``partial_fit`` goes through all pairs for a tenth of the fit's epochs.
"kept" is the model of the 90 % as it stands, which shows how much there is to gain; "grown (file)" goes through a saved file without the
optimiser's state, so that optimiser and target network restart. Rows go to docs/results/growing.csv; finished ones are not measured again.
"""

import argparse
import io
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array

from benchmarks.ledger import RESULTS, Ledger
from benchmarks.ours import FROM_RANDOM
from benchmarks.quality import load
from buir import BUIR
from buir.errors import InputWarning
from buir.ranking.evaluation import evaluate
from buir.ranking.top_k import FactorScorer

DATA = ("citeulike", "ml-100k")
EPOCHS = 40


def picked(matrix: csr_array, places: np.ndarray) -> csr_array:
    """Keep the pairs at some places of the CSR order."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[places]
    return csr_array((np.ones(len(places), dtype=np.float32), (rows, matrix.indices[places])), shape=matrix.shape)


def early_first(matrix: csr_array, early: csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Order users and items so that those without a pair in ``early`` come last: they are new when the late pairs arrive."""
    return tuple(
        np.argsort(np.bincount(part, minlength=size) == 0, kind="stable")
        for part, size in zip(early.tocoo().coords, matrix.shape, strict=True)
    )  # type: ignore[return-value]  # a pair


def fifth_of_each(matrix: csr_array, rng: np.random.Generator) -> np.ndarray:
    """Choose a fifth of each row's pairs, rounded down; return a mask in CSR order."""
    order = np.lexsort((rng.random(matrix.nnz), np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))))
    sizes = np.diff(matrix.indptr)
    first = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], sizes) < np.repeat(sizes // 5, sizes)
    mask = np.zeros(matrix.nnz, dtype=bool)
    mask[order[first]] = True
    return mask


def measure(data: str, encoder: str, seed: int, ledger: Ledger, models: Path | None) -> None:
    """Fit once on everything, once on 90 %, and grow the latter."""
    matrix = load(data).matrix
    rng = np.random.default_rng(seed)
    mask = fifth_of_each(matrix, rng)
    places = rng.permutation(np.flatnonzero(~mask))
    cut = len(places) * 9 // 10
    whole, early, late = (picked(matrix, np.sort(some)) for some in (places, places[:cut], places[cut:]))
    test = picked(matrix, np.flatnonzero(mask))
    users, items = early_first(matrix, early)
    whole, early, late, test = (csr_array(part[users][:, items]) for part in (whole, early, late, test))
    known = tuple(int((np.diff(part.indptr) > 0).sum()) for part in (early, csr_array(early.T.tocsr())))
    kept = fitted(
        encoder,
        seed,
        csr_array(early[: known[0], : known[1]]),
        models and models / f"{data}-{encoder}-{seed}-early.safetensors",
    )
    full = fitted(encoder, seed, whole, models and models / f"{data}-{encoder}-{seed}-full.safetensors")
    values = {"full": ndcg(full, whole, test), "kept": ndcg(padded(kept, *matrix.shape), whole, test)}
    file = io.BytesIO()
    kept.save(file)
    file.seek(0)
    restarted = BUIR.load(file)
    for name, model in {"grown": kept, "grown (file)": restarted}.items():
        model.partial_fit(late, show_progress=False)
        values[name] = ndcg(model, whole, test)
    for way, value in values.items():
        if (data, encoder, way, seed) not in ledger:
            ledger.add(
                {
                    "data": data,
                    "encoder": encoder,
                    "way": way,
                    "seed": seed,
                    "epochs": EPOCHS,
                    "new_users": matrix.shape[0] - known[0],
                    "new_items": matrix.shape[1] - known[1],
                    "ndcg_at_20": f"{value:.4f}",
                    "ratio": f"{value / values['full']:.4f}",
                }
            )


def fitted(encoder: str, seed: int, matrix: csr_array, file: Path | None) -> BUIR:
    """Train for a fixed number of epochs, or read the model of an earlier run."""
    if file is not None and file.exists():
        return BUIR.load(file)
    model = BUIR(
        **FROM_RANDOM,
        encoder=encoder,  # type: ignore[arg-type]  # one of its three names
        epochs=EPOCHS,
        validate_every=EPOCHS,
        seed=seed,
        device="cpu",
    )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", InputWarning
        )  # the full fit keeps the columns of items that only the test part holds
        model.fit(matrix, show_progress=False)
    if file is not None:
        model.save(file, optimiser=True)
    return model


def padded(model: BUIR, n_users: int, n_items: int) -> FactorScorer:
    """Score users and items that a model does not know with 0."""
    users, items = (
        np.pad(table, ((0, size - len(table)), (0, 0)))
        for table, size in ((model.user_factors, n_users), (model.item_factors, n_items))
    )
    return FactorScorer(users, items)


def ndcg(model: BUIR | FactorScorer, seen: csr_array, test: csr_array) -> float:
    """Return NDCG@20 on the test part; what either model has trained on is never listed."""
    return evaluate(model, seen, test, ks=(20,), metrics=["ndcg"]).means["ndcg_at_20"]


def main() -> None:
    """Measure what is missing and print the mean ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", nargs="*", choices=DATA, default=DATA)
    parser.add_argument("--encoders", nargs="*", choices=("walk", "id", "graph"), default=("walk",))
    parser.add_argument(
        "--models",
        type=Path,
        help="folder that keeps the fitted models, to measure partial_fit again without fitting again",
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "growing.csv")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    ledger = Ledger(args.out, ("data", "encoder", "way", "seed"))
    for seed in range(args.seeds):
        for encoder in args.encoders:
            for data in args.data:
                if (data, encoder, "grown (file)", seed) in ledger:
                    continue
                started = time.process_time()
                measure(data, encoder, seed, ledger, args.models)
                print(f"{data} {encoder} seed {seed}: {time.process_time() - started:.0f} CPU seconds", flush=True)
    print(f"\n{'data':10s} {'encoder':8s} {'way':14s} seeds  NDCG@20  mean ratio")
    by = ("data", "encoder", "way")
    ndcgs = ledger.means(by, "ndcg_at_20")
    for group, (ratio, count) in ledger.means(by, "ratio").items():
        print(f"{group[0]:10s} {group[1]:8s} {group[2]:14s} {count:5d}  {ndcgs[group][0]:7.4f}  {ratio:10.3f}")


if __name__ == "__main__":
    main()
