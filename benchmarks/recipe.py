"""What changes of BUIR's training gain: validation NDCG@20 of single changes, most of which were not kept and live here alone.

    python -m benchmarks.recipe                   all changes, one row for each data set, level, seed and change
    python -m benchmarks.recipe --only iso sides  some

ML-100K and CiteULike at 20 and 80 % of the pairs, nested levels, split seed 0, three model seeds; the test part is never read. A change is
kept if the geometric mean over the four rises by at least half a per cent. Rows go to docs/results/ablation/recipe.csv; finished ones are
not run again. Seconds are those of the processor.
"""

import argparse
import csv
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional

from benchmarks.data import nested
from buir import BUIR
from buir.graph import stream
from buir.graph.encoders import WalkEncoder
from buir.learning.bootstrap import UNIFORMITY_SAMPLE, Bootstrap
from buir.learning.learner import BootstrapLearner
from buir.learning.losses import bootstrap_loss, uniformity_loss
from buir.model import fitting
from buir.ranking import FactorScorer, ItemFilter
from buir.recommend import ScoreTerms

OUT = Path(__file__).parent.parent / "docs" / "results" / "ablation" / "recipe.csv"
SETS = ("ml-100k", "citeulike")
LEVELS, SEEDS, METRIC = (0.2, 0.8), (0, 1, 2), "ndcg_at_20"


def encoded(bootstrap: Bootstrap, users: Tensor, items: Tensor, key: int) -> tuple[Tensor, Tensor, int]:
    """Return the online and the target vectors of a batch, users' first, and its size, as ``Bootstrap.loss`` does."""
    rows = torch.cat([users, items + bootstrap.n_users])
    online = bootstrap.encoder.encode(bootstrap.weights.table, rows, stream(key, 0), sparse=bootstrap.row_sparse)
    return online, bootstrap.target.encode(rows, stream(key, 1)), len(users)


def spread(online: Tensor, n: int, weights: tuple[float, float]) -> Tensor:
    """Return the uniformity of users and of items, each with its own weight."""
    m = min(n, UNIFORMITY_SAMPLE)
    parts = [w * uniformity_loss(part[:m]) for w, part in zip(weights, (online[:n], online[n:]), strict=True) if w]
    return torch.stack(parts).sum() / 2 if parts and n > 1 else online.new_zeros(())


def sides_loss(bootstrap: Any, users: Tensor, items: Tensor, key: int) -> Tensor:
    """Weigh uniformity for users and items apart."""
    online, target, n = encoded(bootstrap, users, items, key)
    predicted = bootstrap.predict(online)
    loss = bootstrap_loss(predicted[:n], target[n:]) + bootstrap_loss(predicted[n:], target[:n])
    return loss + spread(online, n, bootstrap.uniformity or (0.0, 0.0))


def iso_loss(bootstrap: Any, users: Tensor, items: Tensor, key: int) -> Tensor:
    """IsoLoss (Halvagal et al., NeurIPS 2023): the error reaches the vectors without the predictor's small factors."""
    online, target, n = encoded(bootstrap, users, items, key)
    crossed = torch.cat([target[n:], target[:n]])
    # the predictor learns as before, from vectors that it does not move
    loss = 2 * bootstrap_loss(bootstrap.predict(online.detach()), crossed)
    predicted = functional.normalize(bootstrap.predict(online), dim=1).detach()
    error = predicted - functional.normalize(crossed, dim=1)
    loss = loss + 4 * (error * functional.normalize(online, dim=1)).sum(dim=1).mean()
    return loss + spread(online, n, (bootstrap.uniformity, bootstrap.uniformity))


@contextmanager
def residual(matrix: csr_array) -> Iterator[None]:
    """Weigh a pair by what the item filter does not say of it: 1 where it says nothing, 1/2 at its mean."""
    item_filter = ItemFilter.from_matrix(matrix)
    said = (
        (matrix @ item_filter.weights).multiply(matrix).tocsr()
    )  # the diagonal of the filter is 0: without the pair itself
    share = np.zeros(matrix.nnz)
    owners = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    keys = owners * matrix.shape[1] + matrix.indices
    of_said = (
        np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(said.indptr)) * matrix.shape[1] + said.indices
    )
    share[np.searchsorted(keys, of_said)] = said.data
    weights = 1 / (1 + share / share.mean())
    table, lookup = torch.from_numpy(weights / weights.mean()).float(), torch.from_numpy(keys)

    def loss(bootstrap: Any, users: Tensor, items: Tensor, key: int) -> Tensor:
        online, target, n = encoded(bootstrap, users, items, key)
        predicted = bootstrap.predict(online)
        weight = table[torch.searchsorted(lookup, users * matrix.shape[1] + items)]
        parts = [(predicted[:n], target[n:]), (predicted[n:], target[:n])]
        loss = sum((weight * (2 - 2 * functional.cosine_similarity(p, z, dim=1))).mean() for p, z in parts)
        return loss + spread(online, n, (bootstrap.uniformity, bootstrap.uniformity))

    with patch.object(Bootstrap, "loss", loss):
        yield


@contextmanager
def watched_once() -> Iterator[None]:
    """Watch the scores with the terms alone, not those without beside."""
    plain = fitting._Training.watched

    def watched(training: Any) -> Any:
        mine = plain(training)
        mine.metrics = mine.metrics[:1]
        return mine

    with patch.object(fitting._Training, "watched", watched):
        yield


@contextmanager
def farther_target() -> Iterator[None]:
    """Let the target see one hop more than the online network: positives of a higher order."""
    plain = Bootstrap.__init__

    def init(bootstrap: Any, weights: Any, encoder: Any, n_users: int, **options: Any) -> None:
        plain(bootstrap, weights, encoder, n_users, **options)
        bootstrap.target.encoder = WalkEncoder(encoder.graph, encoder.n_layers + 1, encoder.walks)

    with patch.object(Bootstrap, "__init__", init):
        yield


@contextmanager
def decay(half: float) -> Iterator[None]:
    """Divide the learning rate by 1 + epoch / ``half``."""
    plain_learner, plain_step = fitting._Training.learner, BootstrapLearner.step

    def learner(training: Any, uniformity: float) -> BootstrapLearner:
        made: Any = plain_learner(training, uniformity)
        made.steps, made.per_epoch = 0, max(1, len(training.pairs) / training.plan.batch_size)
        made.rates = [optimiser.learning_rate for optimiser in made.optimisers]
        return made

    def step(learner: Any, users: Tensor, items: Tensor, key: int) -> Tensor:
        for optimiser, rate in zip(learner.optimisers, learner.rates, strict=True):
            optimiser.learning_rate = rate / (1 + learner.steps / learner.per_epoch / half)
        learner.steps += 1
        return plain_step(learner, users, items, key)

    with patch.object(fitting._Training, "learner", learner), patch.object(BootstrapLearner, "step", step):
        yield


BEFORE = {"predictor": "linear", "momentum": 0.995}
"""What all of them were tried with; ``benchmarks.predictor`` is what came after."""
SIDES = ((0.0, 0.0), (0.3, 0.3), (0.3, 0.0), (0.0, 0.3))
FORMER = {"WIDTHS": (64, 32, 128), "CLEARLY": 1.02, "PAYS": 1.0}
"""The recipe that the changes were tried on, watched with the terms alone; "kept" is what came of it, "watched once" the same but for that. Layers were
tried later, beside the sharpened filter: they are to be compared with each other."""
TODAY = ("kept", "watched once", "two layers", "three layers", "four layers")
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "base": ({}, {}),
    "kept": ({}, {}),
    "watched once": ({}, {}),
    "two layers": ({"n_layers": 2}, {}),
    "three layers": ({"n_layers": 3}, {}),
    "four layers": ({"n_layers": 4}, {}),
    "width 64": ({"embedding_dim": 64}, {}),
    "width 128": ({"embedding_dim": 128}, {}),
    "iso": ({}, {"loss": iso_loss}),
    "sides": ({}, {"loss": sides_loss, "BRANCHES": {"linear": SIDES}}),
    "four branches": ({}, {"BRANCHES": {"linear": (0.0, 0.1, 0.3, 1.0)}}),
    "decay": ({}, {"decay": 4.0}),
    "residual": ({}, {"residual": True}),
    "high order": ({}, {"farther": True}),
    "norm .01": ({}, {"START_RMS": 0.01}),
    "norm .05": ({}, {"START_RMS": 0.05}),
    "ridge": ({}, {"ridge": True}),
}


def ridge(model: BUIR, train: csr_array, valid: csr_array) -> tuple[float, float]:
    """Regress the users' rows, zeros and all, on the item vectors; return validation and the ridge that did best."""
    items = torch.from_numpy(np.asarray(model.item_factors)[:, : model.chosen_.embedding_dim]).double()
    moment, sums = items.T @ items, torch.from_numpy(train @ items.numpy())
    found = []
    for share in (0.01, 0.1, 1.0, 10.0):
        eye = torch.eye(len(moment), dtype=moment.dtype) * share * moment.diagonal().mean()
        users = torch.linalg.solve(moment + eye, sums.T).T
        base = FactorScorer(users.float(), items.float())
        found.append((ScoreTerms.choose(base, train, valid, METRIC)[1].value, share))
    return max(found)


def measure(data: str, level: float, seed: int, name: str) -> dict[str, Any]:
    """Fit once with a change and tell what held-out pairs say."""
    split = nested(data, level)
    settings, changed = CHANGES[name]
    started = time.process_time()
    with ExitStack() as stack:
        constants = {constant: value for constant, value in changed.items() if constant.isupper()}
        for constant, value in (({} if name in TODAY else FORMER) | constants).items():
            stack.enter_context(patch.object(fitting, constant, value))
        if name not in TODAY or name == "watched once":
            stack.enter_context(watched_once())
        if "loss" in changed:
            stack.enter_context(patch.object(Bootstrap, "loss", changed["loss"]))
        if "decay" in changed:
            stack.enter_context(decay(changed["decay"]))
        if "residual" in changed:
            stack.enter_context(residual(split.train.matrix))
        if "farther" in changed:
            stack.enter_context(farther_target())
        model = BUIR(**BEFORE | settings, seed=seed).fit(split.train, split.valid, show_progress=False)
    chosen = model.chosen_
    value, told = chosen.value, ""
    if "ridge" in changed:
        value, told = ridge(model, split.train.matrix, split.valid.matrix)
    assert value is not None
    return {
        "valid_ndcg_at_20": f"{value:.5f}",
        "start": f"{chosen.start or 0:.5f}",
        "trained": f"{chosen.trained or 0:.5f}",
        "epochs": chosen.epochs,
        "uniformity": told or chosen.uniformity,
        "width": chosen.embedding_dim,
        "cpu_seconds": f"{time.process_time() - started:.1f}",
    }


def main() -> None:
    """Run what the file lacks, then print the geometric means over the base's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(CHANGES), default=list(CHANGES))
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    rows = list(csv.DictReader(args.out.open(encoding="utf-8"))) if args.out.exists() else []
    done = {(row["data"], row["level"], row["seed"], row["change"]) for row in rows}
    for seed in SEEDS:
        for name in args.only:
            for data in SETS:
                for level in LEVELS:
                    place = {"data": data, "level": str(level), "seed": str(seed), "change": name}
                    if tuple(place.values()) in done:
                        continue
                    rows.append(place | measure(data, level, seed, name))
                    print(", ".join(f"{key}={value}" for key, value in rows[-1].items()), flush=True)
                    with args.out.open("w", encoding="utf-8", newline="") as file:
                        writer = csv.DictWriter(file, fieldnames=list(rows[-1]))
                        writer.writeheader()
                        writer.writerows(rows)
    means = {name: logs(rows, name) for name in CHANGES}
    for name, found in means.items():
        both = sorted(found.keys() & means["base"].keys())
        if both:
            gain = np.exp(np.mean([found[place] - means["base"][place] for place in both])) - 1
            print(f"{name:14} {100 * gain:+.2f} % over {len(both)} cells and seeds")


def logs(rows: list[dict[str, Any]], name: str) -> dict[tuple[str, ...], float]:
    """Return the logarithms of a change's values by place."""
    mine = [row for row in rows if row["change"] == name]
    return {(r["data"], r["level"], r["seed"]): float(np.log(float(r["valid_ndcg_at_20"]))) for r in mine}


if __name__ == "__main__":
    main()
