"""The collapse monitor warns where it should, and says what to do."""

import warnings

import numpy as np
import pytest

from buir.data.synthetic import make_interactions
from buir.errors import CollapseWarning
from buir.learning.diagnostics import LENGTH, LISTS, catalogue_share, collapse, least_catalogue_share, warn_of_collapse
from buir.model.estimator import BUIR
from buir.ranking.top_k import FactorScorer
from tests.support.plain_training import PLAIN

SHAPE = (1000, 2000)


def test_a_collapsed_representation():
    text = r"effective rank is 4\.2 of 64 dimensions and its lists show 12\.5% of the catalogue they could; raise momentum, lower learning_rate or weight_decay, or raise uniformity from 0\.3 to 0\.9$"
    with pytest.warns(CollapseWarning, match=text):
        warn_of_collapse(collapse({"effective_rank": 4.2, "catalogue_share": 0.125}, 64, SHAPE, 0.3))


@pytest.mark.parametrize(
    ("n_listed", "shape"),
    [(16, SHAPE), (13, SHAPE), (10, (1000, 99)), (10, (9, 2000)), (3, (1000, 3)), (0, (0, 0)), (0, (5, 0))],
)
@pytest.mark.parametrize(("rank", "n_dimensions"), [(6.4, 64), (33.0, 64), (0.5, 9)])
def test_a_sound_one(rank: float, n_dimensions: int, n_listed: int, shape: tuple[int, int]):
    possible = max(1, min(shape[1], min(shape[0], LISTS) * LENGTH))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_collapse(
            collapse({"effective_rank": rank, "catalogue_share": n_listed / possible}, n_dimensions, shape)
        )


@pytest.mark.parametrize("n_listed", [10, 12])
def test_the_same_list_for_everybody(n_listed: int):
    text = (
        rf"^the lists are nearly the same for everybody: 256 lists of 10, popularity and seen items aside, show {n_listed} different items of "
        r"2,000; lower weight_decay, train for more epochs, take fewer layers, or raise uniformity from 0 to 0\.1$"
    )
    with pytest.warns(CollapseWarning, match=text) as caught:
        warn_of_collapse(collapse({"effective_rank": 60.0, "catalogue_share": n_listed / 2000}, 64, SHAPE))
    assert len(caught) == 1


@pytest.mark.parametrize("shape", [(300, 500), (300, 5000), (12, 500), (1, 500), (300, 7)])
def test_the_least_share_is_that_of_equal_users(shape: tuple[int, int]):
    users, items = np.ones((shape[0], 1), np.float32), np.arange(shape[1], dtype=np.float32)[:, None]
    share = catalogue_share(FactorScorer(users, items), LENGTH, sample=LISTS)
    assert share == pytest.approx(least_catalogue_share(*shape, LENGTH, sample=LISTS), rel=1e-12)


def test_a_fit_whose_vectors_decay_to_one_list():
    """All directions are in use, but the bias alone decides: the effective rank sees nothing."""
    data = make_interactions(n_users=300, n_items=400, n_pairs=6000, seed=0)
    settings = {"encoder": "graph", "embedding_dim": 16, "epochs": 30, "device": "cpu", "learning_rate": 0.01} | PLAIN
    with pytest.warns(CollapseWarning, match=r"nearly the same for everybody: 256 lists of 10, .* items of"):
        model = BUIR(weight_decay=0.3, **settings).fit(data, show_progress=False)
    assert model.history[-1]["effective_rank"] > 8
    # Popularity of so much weight that its order is everybody's is not taken for it: the personal scores differ.
    ruled = BUIR(**settings | {"terms": {"popularity": 100.0}}).fit(data, show_progress=False)
    assert len(np.unique(ruled.recommend(np.arange(300), N=10, filter_already_liked_items=False)[0])) < 20
    assert ruled.history[-1]["catalogue_share"] > 0.1
