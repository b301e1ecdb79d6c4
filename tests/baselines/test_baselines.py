"""The package `baselines` itself: names, what importing it costs, what it refuses."""

import subprocess
import sys

import pytest

import baselines
from buir.data.files.readers import read
from buir.data.splits import author_split
from buir.ranking.evaluation import evaluate
from buir.recommend.recommender import Recommender


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, baselines; print({'torch', 'implicit', 'torch_geometric', 'scipy', 'numpy'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_every_name_leads_to_a_model():
    for name in baselines.__all__:
        found = getattr(baselines, name)
        assert found.__name__ == name
        if not name.startswith("assess_"):
            assert issubclass(found, ValueError if name == "Refused" else Recommender)
    assert dir(baselines) == sorted(baselines.__all__)


def test_an_unknown_name_says_which_there_are():
    with pytest.raises(AttributeError, match="no attribute 'SVD'; it has ALS, BPR, EASE"):
        baselines.SVD  # noqa: B018


@pytest.mark.eval
def test_filmtrust_at_half_of_the_data(data_dir):
    """A data set of popularity: hardly any personalised model beats it, and weak regularization is punished."""
    data = read(data_dir / "filmtrust" / "ratings.txt", min_user=5, min_rating=0.5)  # every rating
    split = author_split(data, 0.5, seed=0)
    models = {
        "popularity": baselines.Popularity(),
        "als": baselines.ALS(alpha=3, regularization=30),
        "knn": baselines.ItemKNN(),
        "ease": baselines.EASE(regularization=1000),
        "lightgcn": baselines.LightGCN(device="cpu"),
    }
    found = {}
    for name, model in models.items():
        model.fit(split.train, split.valid, show_progress=False)
        found[name] = evaluate(model, split.train, split.test, valid=split.valid, ks=(20,)).means["ndcg_at_20"]
    assert found["popularity"] == pytest.approx(0.636, abs=0.001)
    assert found["knn"] == pytest.approx(0.569, abs=0.002)
    assert found["ease"] == pytest.approx(0.649, abs=0.002)
    assert found["als"] == pytest.approx(0.656, abs=0.005)
    assert found["lightgcn"] == pytest.approx(0.640, abs=0.015)
