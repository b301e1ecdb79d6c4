"""What folding in costs: NDCG@20 of users and items that training never saw, against the same ones trained normally.

    BUIR_DATA=... python -m benchmarks.folding

A tenth of the users and a tenth of the items with at least 5 neighbours are strangers; a fifth of each stranger's pairs is the test part. Three models:
one trains on everything but the test parts, one without the strange users, one without the strange items. The strangers are then
represented from the rest of their pairs, in each of several ways, and ranked like the nodes of the first model: a user's list holds items, an
item's list holds users. "own part" is the trained node ranked by its own part alone, e / (L + 1), to tell what leaving out s gains for trained nodes. Rows go to docs/results/folding.csv; finished ones are not measured again.

Choices for encoders with layers, where a stranger lacks the own (layer-0) part; s is the sum over the stranger's neighbours:

    shipped      what ``BUIR`` does (buir/folding.py)
    zero         own part 0: s / (L + 1)
    rescaled     mean over the layers that are there: s / L
    mean         the own part of the average training node
    regression   own part s @ R, with R from a ridge regression on the training nodes
    returns out  the same, but s of a training node leaves out what came from the node itself by a return over two edges
    affine       "returns out" with an intercept
    own alone    the own part of "returns out" without s

For BUIR-id s is the sum of the neighbours' vectors over the square root of their number: "mean" is their mean as it stands, "from mean" maps the mean
linearly, "regression" maps s linearly, "affine" with an intercept, "unit" maps the sum of their directions.
"""

import argparse
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from benchmarks.ledger import RESULTS, Ledger
from benchmarks.ours import FROM_RANDOM
from benchmarks.quality import load
from buir import BUIR
from buir.errors import InputWarning
from buir.graph.bipartite import BipartiteGraph
from buir.graph.encoders import mean_of_layers
from buir.model.folding import fit_folding
from buir.ranking.evaluation import evaluate
from buir.ranking.top_k import FactorScorer

DATA = ("citeulike", "ml-100k")
EPOCHS = {"walk": 40, "id": 100}
RIDGE = 1e-3


def parted(matrix: csr_array, rng: np.random.Generator) -> tuple[np.ndarray, csr_array]:
    """Choose a tenth of the rows with at least 5 entries, and a fifth of each one's entries.

    Returns
    -------
    The rows, ascending, and a matrix of ``matrix``'s shape with the chosen entries.
    """
    sizes = np.diff(matrix.indptr)
    enough = np.flatnonzero(sizes >= 5)
    rows = np.sort(rng.choice(enough, len(enough) // 10, replace=False))
    places = [
        rng.choice(matrix.indices[slice(*matrix.indptr[row : row + 2])], sizes[row] // 5, replace=False) for row in rows
    ]
    coordinates = (np.repeat(rows, sizes[rows] // 5), np.concatenate(places))
    return rows, csr_array((np.ones(len(coordinates[0]), dtype=np.float32), coordinates), shape=matrix.shape)


def turned(matrix: csr_array) -> csr_array:
    """Exchange users and items."""
    return csr_array(matrix.T.tocsr())


def without(matrix: csr_array, rows: np.ndarray) -> csr_array:
    """Take rows out."""
    return csr_array(matrix[np.setdiff1d(np.arange(matrix.shape[0]), rows)])


def fitted(encoder: str, seed: int, matrix: csr_array, file: Path | None) -> BUIR:
    """Train for a fixed number of epochs, or read the model of an earlier run."""
    if file is not None and file.exists():
        return BUIR.load(file)
    epochs = EPOCHS[encoder]
    model = BUIR(
        **FROM_RANDOM,
        encoder=encoder,  # type: ignore[arg-type]  # one of its three names
        epochs=epochs,
        validate_every=epochs,
        seed=seed,
        device="cpu",
    )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", InputWarning
        )  # items of strangers alone stay as empty columns: one id space for all models
        model.fit(matrix, show_progress=False)
    if file is not None:
        model.save(file)
    return model


def layers_of(model: BUIR) -> int:
    """Return L; 0 for BUIR-id."""
    return 0 if model.encoder == "id" else model.n_layers


def vectors(model: BUIR) -> tuple[Tensor, Tensor]:
    """Return the representations of all users and all items of a model."""
    table, matrix = model.weights_.table, model.seen_
    assert matrix is not None
    every = (
        table if model.encoder == "id" else mean_of_layers(table, BipartiteGraph.from_matrix(matrix), model.n_layers)
    )
    return every[: matrix.shape[0]], every[matrix.shape[0] :]


def ndcg(model: BUIR, asking: Tensor, listed: Tensor, seen: csr_array, test: csr_array) -> float:
    """Return NDCG@20 of the lists of the vectors ``asking``; the model's score is symmetric, so either side may ask."""
    weight, bias = model.weights_.predictor_weight, model.weights_.predictor_bias
    scorer = FactorScorer(torch.addmm(bias, asking, weight + weight.T), listed)
    return evaluate(scorer, seen, test, ks=(20,), metrics=["ndcg"]).means["ndcg_at_20"]


def ridge(inputs: Tensor, outputs: Tensor) -> Tensor:
    """Solve the least-squares map between rows, with a ridge relative to the inputs."""
    inputs, outputs = inputs.double(), outputs.double()
    gram = inputs.T @ inputs
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    return torch.linalg.solve(gram, inputs.T @ outputs).float()


def affine(inputs: Tensor, outputs: Tensor, asked: Tensor) -> Tensor:
    """Fit a map with an intercept and apply it."""
    centre, level = inputs.mean(0), outputs.mean(0)
    return level + (asked - centre) @ ridge(inputs - centre, outputs - level)


def lengths(rows: csr_array) -> Tensor:
    """Count the entries of each row, as a column."""
    return torch.from_numpy(np.diff(rows.indptr)).unsqueeze(1)


def two_step_returns(rows: csr_array) -> Tensor:
    r"""Return the weight of each node's own embedding in its layer 2, :math:`\sum_i 1 / (d_u d_i)`, as a column."""
    degree = np.maximum(np.diff(turned(rows).indptr), 1)
    share = csr_array((1 / degree[rows.indices], rows.indices, rows.indptr), shape=rows.shape).sum(axis=1)
    return torch.from_numpy(share / np.maximum(np.diff(rows.indptr), 1)).float().unsqueeze(1)


def represented(model: BUIR, side: str, strangers: csr_array) -> Iterator[tuple[str, Tensor]]:
    """Represent the strangers in every way, from rows of their neighbours."""
    assert model.seen_ is not None
    # anew, so that a model from a file is folded by the present code
    layers = layers_of(model)
    graph = BipartiteGraph.from_matrix(model.seen_)
    folding = fit_folding(model.weights_.table, graph, layers, model.seen_)[side == "items"]
    rows = model.seen_ if side == "users" else turned(model.seen_)
    n_users = model.seen_.shape[0]
    own = model.weights_.table[:n_users] if side == "users" else model.weights_.table[n_users:]
    trained = torch.from_numpy(np.flatnonzero(np.diff(rows.indptr)))
    inputs, asked = folding.scaled_sum(rows), folding.scaled_sum(strangers)
    yield "shipped", folding.scoring_vectors(strangers)
    if model.encoder == "id":
        per_mean, per_mean_asked = (
            part / lengths(some).clamp(min=1).sqrt() for part, some in ((inputs, rows), (asked, strangers))
        )
        yield "mean", per_mean_asked
        yield "from mean", per_mean_asked @ ridge(per_mean, own)
        yield "regression", asked @ ridge(inputs, own)
        yield "affine", affine(inputs[trained], own[trained], asked)
        directions = replace(folding, sums=torch.nn.functional.normalize(folding.sums))
        yield "unit", directions.scaled_sum(strangers) @ ridge(directions.scaled_sum(rows), own)
        return
    clean = (inputs - two_step_returns(rows) * own) if layers > 1 else inputs
    yield "zero", asked / (layers + 1)
    yield "rescaled", asked / layers
    yield "mean", (asked + own[trained].mean(0)) / (layers + 1)
    yield "regression", (asked + asked @ ridge(inputs, own)) / (layers + 1)
    yield "returns out", (asked + asked @ ridge(clean, own)) / (layers + 1)
    yield "own alone", asked @ ridge(clean, own) / (layers + 1)
    yield "affine", (asked + affine(clean[trained], own[trained], asked)) / (layers + 1)


def measure(data: str, encoder: str, seed: int, ledger: Ledger, models: Path | None) -> None:
    """Fit the three models and measure every choice for both sides."""
    matrix = load(data).matrix
    rng = np.random.default_rng(seed)
    parts = {"users": parted(matrix, rng), "items": parted(turned(matrix), rng)}
    train = csr_array(
        matrix - matrix.multiply(((parts["users"][1] + turned(parts["items"][1])) > 0).astype(np.float32))
    )
    train.eliminate_zeros()
    file = None if models is None else models / f"{data}-{encoder}-{seed}-all.safetensors"
    normal = fitted(encoder, seed, train, file)
    for side, (rows, test) in parts.items():
        turn = turned if side == "items" else csr_array
        known, held = csr_array(turn(train)[rows]), csr_array(test[rows])
        file = None if models is None else models / f"{data}-{encoder}-{seed}-{side}.safetensors"
        model = fitted(encoder, seed, turn(without(turn(train), rows)), file)
        mine, others = vectors(normal) if side == "users" else vectors(normal)[::-1]
        reference = ndcg(normal, mine[rows], others, known, held)
        own = normal.weights_.table[rows + (train.shape[0] if side == "items" else 0)]
        own_reference = ndcg(normal, own / (1 + layers_of(normal)), others, known, held)
        listed = vectors(model)[side == "users"]
        for choice, asking in represented(model, side, known):
            if (data, encoder, side, choice, seed) in ledger:
                continue
            value = ndcg(model, asking, listed, known, held)
            ledger.add(
                {
                    "data": data,
                    "encoder": encoder,
                    "side": side,
                    "choice": choice,
                    "seed": seed,
                    "epochs": EPOCHS[encoder],
                    "strangers": len(rows),
                    "folded_ndcg_at_20": f"{value:.4f}",
                    "trained_ndcg_at_20": f"{reference:.4f}",
                    "trained_own_ndcg_at_20": f"{own_reference:.4f}",
                    "ratio": f"{value / reference:.4f}",
                }
            )


def main() -> None:
    """Measure what is missing and print the mean ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", nargs="*", choices=DATA, default=DATA)
    parser.add_argument("--encoders", nargs="*", choices=tuple(EPOCHS), default=tuple(EPOCHS))
    parser.add_argument(
        "--models",
        type=Path,
        help="folder that keeps the fitted models, to measure another choice without fitting again",
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "folding.csv")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    ledger = Ledger(args.out, ("data", "encoder", "side", "choice", "seed"))
    for seed in range(args.seeds):
        for encoder in args.encoders:
            for data in args.data:
                if args.models is None and (data, encoder, "items", "affine", seed) in ledger:
                    continue
                started = time.process_time()
                measure(data, encoder, seed, ledger, args.models)
                print(f"{data} {encoder} seed {seed}: {time.process_time() - started:.0f} CPU seconds", flush=True)
    print(f"\n{'data':10s} {'encoder':8s} {'side':6s} {'choice':12s} seeds  folded  trained  own part  mean ratio")
    by = ("data", "encoder", "side", "choice")
    names = ("folded_ndcg_at_20", "trained_ndcg_at_20", "trained_own_ndcg_at_20")
    columns = [ledger.means(by, name) for name in names]
    for group, (ratio, count) in ledger.means(by, "ratio").items():
        folded, trained, own = (column[group][0] for column in columns)
        labels = " ".join(f"{label:{width}s}" for label, width in zip(group, (10, 8, 6, 12), strict=True))
        print(f"{labels} {count:5d}  {folded:6.4f}  {trained:7.4f}  {own:8.4f}  {ratio:10.3f}")


if __name__ == "__main__":
    main()
