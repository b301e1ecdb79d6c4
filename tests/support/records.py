"""Invented cell records and per-user values, shaped like those of a benchmark."""

from zlib import crc32

import numpy as np
import pandas as pd

from buir.experiment.records.record import Record

KINDS = {
    "popularity": "popularity",
    "ALS": "als",
    "BPR": "bpr",
    "LMF": "lmf",
    "item-KNN": "item-knn",
    "EASE": "ease",
    "LightGCN": "lightgcn",
    "BUIR-id": "buir",
    "BUIR-nb": "buir",
    "BUIR-walk": "buir",
}
DETERMINISTIC = ("popularity", "item-KNN", "EASE")
IN_EPOCHS = ("buir", "lightgcn")


def make_record(**facts) -> Record:
    """A record with what is asked for, and something in the fields that every record has."""
    given = {
        "key": "k",
        "dataset": "toy",
        "protocol": "nested",
        "level": 0.2,
        "model": "a",
        "kind": "als",
        "params": {},
    }
    return Record(**(given | facts))


def make_cells(
    means,
    *,
    datasets=("toy",),
    levels=(0.2, 0.5),
    split_seeds=(0,),
    seeds=(0, 1, 2),
    n_users=60,
    names=("ndcg", "recall"),
    ks=(20,),
    protocol="nested",
    tuned=False,
):
    """Make records and frames: ``means[model]`` is a mean, or one for each level; 0.1 of noise per user and 0.002 per seed.

    Users' own level is shared by all models, so that pairs differ less than users do.
    """
    records, frames = [], {}
    for dataset in datasets:
        for level_number, level in enumerate(levels):
            for split in split_seeds:
                rng = np.random.default_rng([crc32(dataset.encode()), level_number, split])
                base = rng.normal(0, 0.15, n_users)
                degree = np.sort(rng.integers(1, 30, n_users))
                for model, mean in means.items():
                    centre = mean[level_number] if isinstance(mean, tuple | list) else mean
                    own = rng.normal(0, 0.1, n_users)
                    for seed in seeds:
                        noise = 0.0 if model in DETERMINISTIC else rng.normal(0, 0.002)
                        columns = {
                            f"{name}_at_{k}": np.clip(centre + base + own + noise, 0, 1) * (1 + 0.1 * number)
                            for number, name in enumerate(names)
                            for k in ks
                        }
                        record = _record(dataset, protocol, level, split, model, seed, columns, degree, tuned=tuned)
                        records.append(record)
                        frames[record.key] = pd.DataFrame(
                            {"user": np.arange(n_users), "train_degree": degree, **columns}
                        )
    return records, frames


def _record(dataset, protocol, level, split, model, seed, columns, degree, *, tuned):
    key = f"{crc32(f'{dataset}{level}{split}{model}{seed}'.encode()):016x}"
    edges = np.array_split(np.arange(len(degree)), 5)
    bounds = sorted({(int(degree[part[0]]), int(degree[part[-1]])) for part in edges if len(part)})
    users = [
        {"group": number + 1, "low": low, "high": high, "n_users": int(((degree >= low) & (degree <= high)).sum())}
        for number, (low, high) in enumerate(bounds)
    ]
    items = [{"group": n + 1, "low": 3 * n, "high": 3 * n + 2, "n_users": 9, "n_items": 4} for n in range(5)]
    means = {name: float(values.mean()) for name, values in columns.items()}
    return Record(
        key=key,
        dataset=dataset,
        protocol=protocol,
        level=level,
        model=model,
        kind=KINDS[model],
        params=_params(model),
        split_seed=split,
        seed=seed,
        split_digest=f"{crc32(f'{dataset}{level}{split}'.encode()):016x}",
        status="ok",
        reason=None,
        metrics={**means, "coverage_at_20": 0.25 + 0.01 * seed},
        groups={"user": users, "item": [{**group, **dict.fromkeys(columns, 0.1 + 0.01 * seed)} for group in items]},
        history=[],
        fit_seconds=None,
        capped=False,
        fit_s=0.5 if model in DETERMINISTIC else 8.0 + seed,
        rank_s=0.1,
        peak_mb=300.0 + seed,
        n_test_users=len(degree),
        effective_rank=None,
        data={"users": len(degree), "items": 100, "train": int(degree.sum()), "valid": 50, "test": 70},
        versions={"python": "3.11.1", "torch": "2.13.0"},
        git_commit="0123abc",
        **(_search(model, split) if tuned else {}),
    )


def _params(model):
    if model in DETERMINISTIC:
        return {}
    return {"embedding_dim": 64, "learning_rate": 0.001} | ({"epochs": 100} if KINDS[model] in IN_EPOCHS else {})


def _search(model, split):
    space = (
        {}
        if model == "popularity"
        else {
            "embedding_dim": {"type": "categorical", "choices": [32, 64]},
            "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
        }
    )
    trials = [
        {
            "number": n,
            "params": {"embedding_dim": 64},
            "value": 0.1 + n / 100,
            "state": "pruned" if n == 1 else "complete",
            "seconds": 2.0 + split,
            "capped": n == 2,
            "error": None,
        }
        for n in range(3 if space else 1)
    ]
    tuning = {
        "trials": 3,
        "metric": "ndcg_at_20",
        "max_seconds": 60.0,
        "fit_seconds": None,
        "seed": 0,
        "space": space,
        "best_params": trials[-1]["params"],
        "best_value": trials[-1]["value"],
        "results": trials,
    }
    return {"tune_s": (2.0 + split) * len(trials), "n_trials": len(trials), "tuning": tuning}
