"""The regression anchor: the author's settings on the author's toy data reach the published figures."""

import logging

import numpy as np
import pytest

from buir.data.files.readers import read
from buir.data.splits import author_split
from buir.model.estimator import BUIR
from buir.ranking.evaluation import evaluate

# A run of the author's code, split seed 0, beta = .5.
PUBLISHED = {"recall_at_10": (0.1559, 0.012), "ndcg_at_10": (0.1250, 0.012), "recall_at_50": (0.3401, 0.015)}


@pytest.mark.eval
def test_the_authors_settings_reach_the_authors_figures(data_dir):
    split = author_split(read(data_dir / "buir-toy" / "users.dat"), beta=0.5, seed=0)
    parts = [part.n_pairs for part in (split.train, split.valid, split.test)]
    assert parts == [10_350, 4_206, 4_180]
    runs = []
    for seed in range(3):
        model = BUIR.paper(seed=seed, device="cpu").fit(split.train, split.valid, show_progress=False)
        result = evaluate(
            model, split.train, split.test, valid=split.valid, ks=(10, 20, 50), metrics=["recall", "ndcg"]
        )
        assert result.n_users == 840
        runs.append(result.means | {"epochs": model.history[-1]["epoch"], "seconds": model.history[-1]["seconds"]})
    means = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
    logging.getLogger(__name__).info("%s", means)
    for name, (published, width) in PUBLISHED.items():
        assert means[name] == pytest.approx(published, abs=width), means
