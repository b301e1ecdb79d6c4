"""(f) `recommend` for all of Gowalla's users, and for one at a time, against implicit's models of the same width.

Of one user the same processor seconds are compared beside those of the clock: other programs of a busy machine are not
in them. And against the model that MLflow serves, for 100,000 users of generated data at once.
"""

import copy
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_limits

from benchmarks.data import generated, gowalla
from benchmarks.measure import Report, Row, alternate, seconds, start, times
from benchmarks.ours import FROM_RANDOM
from buir import BUIR
from buir.data import datasets

DIM, N = 64, 20
TERMS: dict[str, dict[str, float]] = {
    "inner product": {},
    "popularity, filter": {"filter": 1.0, "popularity": 0.3},
    "popularity, filter, dial, block": {"filter": 1.0, "popularity": 0.3, "block": 1.0, "dial": 0.5},
    "what `BUIR()` chooses here": {"sharpened_filter": 30.0, "popularity": 0.3, "block": 5.0, "norm": -0.5},
}
"""What is in the score; a block makes its product longer."""
BLOCKS = {"popularity, filter, dial, block": DIM, "what `BUIR()` chooses here": 512}
"""Coordinates of the blocks; the others have none."""
SERVED_USERS, SERVED_N = 100_000, 10


def compare(report: Report, train: csr_array, repeats: int) -> None:
    """Time both public calls, the training items left out, on models fitted for one pass each."""
    from implicit.cpu.als import AlternatingLeastSquares

    everybody = np.arange(train.shape[0])
    seen = csr_matrix(train)
    with threadpool_limits(1, "blas"):
        als = AlternatingLeastSquares(factors=DIM, iterations=1, num_threads=report.args.threads, random_state=0)
        als.fit(seen, show_progress=False)
    before = peak_mib()
    model = BUIR(**FROM_RANDOM, embedding_dim=DIM, epochs=1).fit(train, show_progress=False)

    def theirs() -> object:
        with threadpool_limits(1, "blas"):
            return als.recommend(everybody, seen, N=N)

    took = alternate({"ours": lambda: model.recommend(everybody, N=N), "theirs": theirs}, repeats)
    size = f"{train.shape[0]:,} users x {train.shape[1]:,} items, d = {DIM}, N = {N}, median of {repeats}"
    report.add(
        Row(
            "recommend for all users against implicit's ALS",
            f"{size}; implicit with num_threads={report.args.threads}, BLAS on one thread",
            seconds(took["theirs"]),
            seconds(took["ours"]),
            times(took["theirs"], took["ours"]),
            "at least 1 x, aim 1.5 x",
        )
    )
    report.add(
        Row(
            "memory of recommend for all users",
            f"{size}; peak of the whole process, both models and the data in it",
            f"{before:.0f} MiB before",
            f"{peak_mib():.0f} MiB",
            f"{peak_mib() / 1024:.2f} GiB",
            "below 2 GB",
        )
    )


def serve(report: Report, train: csr_array, n_users: int) -> None:
    """Ask every model for the same users, one after another, each with its seen items left out; one thread."""
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    threads, seen = torch.get_num_threads(), csr_matrix(train)
    torch.set_num_threads(1)
    users = np.random.default_rng(0).permutation(train.shape[0])[: n_users + _WARM].tolist()
    with threadpool_limits(1):
        theirs: dict[str, Any] = {}
        widths = {f"ALS of width {DIM + block}": DIM + block for block in BLOCKS.values()}
        for name, kind, width in (
            ("ALS", AlternatingLeastSquares, DIM),
            ("BPR", BayesianPersonalizedRanking, DIM),
            *((name, AlternatingLeastSquares, width) for name, width in widths.items()),
        ):
            theirs[name] = kind(factors=width, iterations=1, num_threads=1, random_state=0)
            theirs[name].fit(seen, show_progress=False)
        for what, terms in TERMS.items():
            block = BLOCKS.get(what, "auto")
            settings = {
                "embedding_dim": DIM,
                "epochs": 2,
                "terms": terms,
                "block_dim": block,
                "inner_validation": False,
            }
            ours = BUIR(**settings).fit(train, show_progress=False)
            frozen = copy.deepcopy(ours).freeze()
            frozen.recommend(users[0])  # the first list takes longer
            asked: dict[str, Callable[[int], object]] = {
                name: lambda user, model=model: model.recommend(user, seen[user], N=N) for name, model in theirs.items()
            }
            own: dict[str, Callable[[int], object]] = {
                "stored rows": lambda user, model=ours: model.recommend(user, N=N),
                "given rows": lambda user, model=ours: model.recommend(user, seen[user], N=N),
                "frozen, stored rows": lambda user, model=frozen: model.recommend(user, N=N),
            }
            wide = [name for name, width in widths.items() if width == DIM + BLOCKS.get(what, 0)]
            rivals = ["ALS", "BPR", *wide]
            for mine, ask in own.items():
                for name in rivals:  # two models at a time: a third would be in the way of both in the cache
                    took = one_by_one({name: asked[name], mine: ask}, users)
                    _compare(report, f"BUIR ({what}), {mine}, against {name}", took[name], took[mine], n_users, train)
    torch.set_num_threads(threads)


_WARM = 20
"""First users, whose times are not counted."""


def one_by_one(asked: dict[str, Callable[[int], object]], users: list[int]) -> dict[str, np.ndarray]:
    """Ask in turn for one user after another; return seconds by the clock and of the processor, shape (users, 2)."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
    for user in users:
        for name, ask in asked.items():
            started = time.perf_counter(), time.thread_time()
            ask(user)
            took[name].append((time.perf_counter() - started[0], time.thread_time() - started[1]))
    return {name: np.array(each)[_WARM:] for name, each in took.items()}


def _compare(report: Report, measure: str, theirs: np.ndarray, ours: np.ndarray, n: int, train: csr_array) -> None:
    """Add a row: the 50th and the 99th percentile of each, by the clock and, in brackets, of the processor."""
    them, us = (np.percentile(took, (50, 99), axis=0) for took in (theirs, ours))
    ratio = us / them
    report.add(
        Row(
            f"one user: {measure}",
            f"{train.shape[0]:,} users x {train.shape[1]:,} items, N = {N}, {n} users in turn, one thread; p50, p99",
            _milliseconds(them),
            _milliseconds(us),
            f"{ratio[0, 0]:.2f}, {ratio[1, 0]:.2f} as long ({ratio[0, 1]:.2f}, {ratio[1, 1]:.2f})",
            "at most 1.3, 1",
        )
    )


def _milliseconds(took: np.ndarray) -> str:
    (p50, of_processor), (p99, at_most) = took * 1e3
    return f"{p50:.2f}, {p99:.2f} ms ({of_processor:.2f}, {at_most:.2f})"


def compare_served(report: Report, n_users: int, repeats: int) -> None:
    """Time what a logged model answers to a frame and to queries, beside `recommend` for the same users."""
    from buir.experiment.serving import Lists

    # A small catalogue: the fewer items there are to score, the more all the rest counts.
    sizes = {"n_users": n_users, "n_items": 2000, "n_pairs": 12 * n_users}
    train = datasets.load("synthetic", **sizes, n_groups=20).matrix
    settings = {**FROM_RANDOM, "embedding_dim": DIM, "epochs": 0}
    model = BUIR(**settings).fit(train, show_progress=False)
    lists, users = Lists(model), np.arange(n_users)
    frame = pd.DataFrame({"user": users.astype(float), "age": 1})  # as pandas has it, once an id is missing
    queries = [{"user": user} for user in users.tolist()]
    took = alternate(
        {
            "recommend": lambda: model.recommend(users, N=SERVED_N),
            "frame": lambda: lists.answer(frame, {"k": SERVED_N}),
            "list of queries": lambda: lists.answer(queries, {"k": SERVED_N}),
        },
        repeats,
    )
    size = f"{n_users:,} users x {train.shape[1]:,} items, d = {DIM}, N = {SERVED_N}, median of {repeats}"
    for form in ("frame", "list of queries"):
        report.add(
            Row(
                f"lists of a logged model, asked with a {form}",
                f"{size}; against recommend for the same users",
                seconds(took["recommend"]),
                seconds(took[form]),
                times(took[form], took["recommend"]),
                "at most 3 x",
            )
        )


def peak_mib() -> float:
    """Return the largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run it."""
    report = start("Recommending for everybody")
    train = generated(20_000) if report.args.smoke else gowalla()[0].matrix
    compare(report, train, 2 if report.args.smoke else 5)
    serve(report, train, 20 if report.args.smoke else 1000)
    compare_served(report, 5_000 if report.args.smoke else SERVED_USERS, 2 if report.args.smoke else 5)
    report.write()


if __name__ == "__main__":
    main()
