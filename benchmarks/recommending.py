"""(f) `recommend` for all of Gowalla's users against implicit's ALS model of the same width, at its best setting.

And against the model that MLflow serves, for 100,000 users of generated data at once.
"""

import resource

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_limits

from benchmarks.data import generated, gowalla
from benchmarks.measure import Report, Row, alternate, seconds, start, times
from benchmarks.ours import FROM_RANDOM
from buir import BUIR
from buir.data import datasets

DIM, N = 64, 20
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
    compare_served(report, 5_000 if report.args.smoke else SERVED_USERS, 2 if report.args.smoke else 5)
    report.write()


if __name__ == "__main__":
    main()
