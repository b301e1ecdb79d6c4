"""(e) Full ranking and metrics of Gowalla's test users against the bare score products."""

import numpy as np
import torch
from scipy.sparse import csr_array

from benchmarks.data import generated, gowalla
from benchmarks.measure import Report, Row, alternate, seconds, start, times
from buir.ranking.evaluation import evaluate
from buir.ranking.top_k import FactorScorer

SORTED_USERS = 4096


def compare(report: Report, train: csr_array, test: csr_array, dim: int, repeats: int) -> None:
    """Compare evaluation with its products alone, and with a full sort, on random factors."""
    users = np.flatnonzero(np.diff(test.indptr))
    seen, held = train[users], test[users]
    generator = torch.Generator().manual_seed(0)
    user_factors, item_factors = (torch.randn(n, dim, generator=generator) for n in train.shape)
    scorer = FactorScorer(user_factors, item_factors)
    # The products get blocks of the size that ours ranks in, so that both find their scores in the same level of the cache.
    size = (64 << 20) // (4 * train.shape[1])
    buffer = torch.empty(size, train.shape[1])
    blocks = [slice(first, first + size) for first in range(0, len(users), size)]
    some = blocks[: -(-SORTED_USERS // size)]

    def products() -> None:
        for block in blocks:
            rows = user_factors[users[block]]
            torch.mm(rows, item_factors.T, out=buffer[: len(rows)])

    def ours() -> object:
        return evaluate(scorer, train, test, ks=(20,), metrics=["recall", "ndcg"])

    def full_sort() -> None:
        for block in some:
            scores = user_factors[users[block]] @ item_factors.T
            scores[torch.from_numpy(seen[block].toarray() > 0)] = -torch.inf
            ranked = torch.argsort(scores, dim=1, descending=True)[:, :20]
            torch.from_numpy(held[block].toarray() > 0).gather(1, ranked)

    took = alternate({"products": products, "ours": ours}, repeats)
    share = min(1.0, len(some) * size / len(users))
    sort = alternate({"sort": full_sort}, 1, warmup=0)["sort"] / share
    what = f"{len(users):,} users x {train.shape[1]:,} items, d = {dim}, top 20, recall and NDCG"
    report.add(
        Row(
            "full ranking over bare products",
            f"{what}; plain is the products alone in blocks of {size} users, median of {repeats}",
            seconds(took["products"]),
            seconds(took["ours"]),
            f"{took['ours'] / took['products']:.3g}",
            "at most 1.6",
        )
    )
    report.add(
        Row(
            "full ranking against a full sort",
            f"{what}; the sort is timed on {share:.0%} of the users",
            seconds(sort),
            seconds(took["ours"]),
            times(sort, took["ours"]),
        )
    )


def main() -> None:
    """Run both widths."""
    report = start("Ranking throughput")
    if report.args.smoke:
        train, repeats = generated(20_000), 2
        test = generated(20_000, seed=1)
        test = csr_array(test - test.multiply(train))
        test.eliminate_zeros()
    else:
        (train, test), repeats = (part.matrix for part in gowalla()), 5
    for dim in (64, 250):
        compare(report, train, test, dim, repeats)
    report.write()


if __name__ == "__main__":
    main()
