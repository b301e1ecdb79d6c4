"""Negatives from articles about the same, after LEMON: is it worth it to push users from more of the kind that they read.

    python -m benchmarks.groups

The words of CiteULike's articles (title and abstract) are weighed by log count and inverse document frequency, brought to 64 singular
vectors and cut into 100 groups by k-means. `Contrastive` has the settings that the sweep's search found at a level
(docs/results/sweep-again/sweep-again.md), at most 30 processor seconds a training, and 0, .1, .3 or .5 of its negatives from the group of
the pair's item. Nested levels 20 and 80 %, split seed 1; intervals are 95 %, of the difference to a share of 0, bootstrap over test users.
`lift` is how many times as often as an even draw such a draw is a held-out pair of its user. Rows go to docs/results/negatives/groups.csv;
finished ones are not run again.
"""

import gzip
import time

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from scipy.sparse import csr_array
from scipy.sparse.linalg import svds
from torch import Tensor

from baselines import Contrastive, assess_negatives
from benchmarks.again import settings_found
from benchmarks.data import data_dir, nested
from benchmarks.ledger import RESULTS, Ledger
from buir.data.splits import Split
from buir.ranking import evaluate

LEVELS, SHARES = (0.2, 0.8), (0.0, 0.1, 0.3, 0.5)
WIDTH, N_GROUPS, SECONDS, DRAWS, METRIC = 64, 100, 30.0, 2000, "ndcg_at_20"


def words() -> csr_array:
    """Read how often each article has each word, shape (n_articles, n_words)."""
    with gzip.open(data_dir() / "citeulike-t" / "mult.dat.gz", "rt", encoding="utf-8") as file:
        told = [[part.split(":") for part in line.split()[1:]] for line in file]
    rows = np.repeat(np.arange(len(told)), [len(pairs) for pairs in told])
    columns, counts = np.array([pair for pairs in told for pair in pairs], dtype=np.int64).T
    return csr_array((counts.astype(np.float64), (rows, columns)), shape=(len(told), int(columns.max()) + 1))


def text_groups(counts: csr_array, width: int, n_groups: int) -> np.ndarray:
    """Cut texts into groups of similar ones: a number from 0 for each, -1 for a text without words."""
    some = np.diff(counts.indptr) > 0
    frequency = np.bincount(counts.indices, minlength=counts.shape[1])
    weighed = counts.copy()
    weighed.data = np.log1p(counts.data) * np.log(some.sum() / frequency)[counts.indices]
    left, values, _ = svds(weighed, k=width, random_state=0)
    points = (left * values)[some]
    points /= np.linalg.norm(points, axis=1, keepdims=True).clip(1e-12)
    _, labels = kmeans2(points, n_groups, minit="++", seed=0)
    groups = np.full(len(some), -1, dtype=np.int64)
    groups[some] = np.unique(labels, return_inverse=True)[1]
    return groups


class FromGroups:
    """Draws 16 items for each pair, a share of them from the group of its item."""

    def __init__(self, groups: np.ndarray, share: float) -> None:
        self.groups, self.share = groups, share
        self.members = [np.flatnonzero(groups == group) for group in range(int(groups.max()) + 1)]

    def __call__(self, users: Tensor, items: Tensor, key: int) -> Tensor:
        """Draw by a key."""
        rng = np.random.default_rng(key % 2**32)  # a key may be negative
        drawn = rng.integers(len(self.groups), size=(len(users), 16))
        for row, group in enumerate(self.groups[items.cpu().numpy()]):
            if group >= 0:
                own = rng.random(16) < self.share
                drawn[row, own] = rng.choice(self.members[group], own.sum())
        return torch.from_numpy(drawn)


def fitted(split: Split, settings: dict[str, object]) -> Contrastive:
    """Train for so many seconds at most."""
    started = time.process_time()
    model = Contrastive(**settings)  # pyright: ignore[reportArgumentType]
    ends = lambda _: time.process_time() - started > SECONDS  # noqa: E731
    return model.fit(split.train.matrix, split.valid.matrix, callback=ends, show_progress=False)


def main() -> None:
    """Run what is missing."""
    torch.set_num_threads(1)
    found = settings_found(RESULTS / "sweep-again" / "sweep-again.md")
    ledger = Ledger(RESULTS / "negatives" / "groups.csv", ("level", "share"))
    every = text_groups(words(), WIDTH, N_GROUPS)
    for level in LEVELS:
        if all((level, share) in ledger for share in SHARES):
            continue
        split, settings = nested("citeulike", level, 1), found["citeulike", level, "Contrastive"]
        groups = every[np.asarray(split.train.item_ids).astype(np.int64)]
        base = np.empty(0)
        for share in SHARES:
            model = fitted(split, settings | ({"groups": groups, "group_share": share} if share else {}))
            valid = evaluate(model, split.train.matrix, split.valid.matrix, ks=20, metrics=["ndcg"]).means[METRIC]
            told = evaluate(
                model, split.train.matrix, split.test.matrix, valid=split.valid.matrix, ks=20, metrics=["ndcg"]
            )
            base = told.per_user[METRIC] if share == 0 else base
            difference = told.per_user[METRIC] - base
            drawn = np.random.default_rng(0).integers(len(base), size=(DRAWS, len(base)))
            low, high = np.quantile(difference[drawn].mean(axis=1), [0.025, 0.975])
            sampler = {"groups": FromGroups(groups, share)}
            lift = assess_negatives(split.train.matrix, split.valid.matrix, samplers=sampler)["lift"].iloc[0]
            row: dict[str, object] = {"level": level, "share": share, "lift": f"{lift:.2f}", "valid": f"{valid:.4f}"}
            row |= {"test": f"{told.means[METRIC]:.4f}", "difference": f"{difference.mean():+.4f}"}
            ledger.add(row | {"low": f"{low:+.4f}", "high": f"{high:+.4f}"})


if __name__ == "__main__":
    main()
