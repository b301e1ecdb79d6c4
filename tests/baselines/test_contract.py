"""Every model of both packages keeps the contract of ``tests/support/contract.py``."""

from functools import partial

import numpy as np
import pytest
from scipy.sparse import csr_array

from baselines.contrastive import Contrastive
from baselines.filters import CooccurrenceFilter, LowRankFilter
from baselines.implicit_models import ALS, BPR, LMF
from baselines.lightgcn import LightGCN
from baselines.linear import EASE
from baselines.neighbours import ItemKNN
from baselines.popularity import Popularity
from buir.model.estimator import BUIR
from tests.support.contract import CHECKS, Case, applies
from tests.support.factors import Svd

quick_buir = partial(
    BUIR, embedding_dim=16, epochs=4, batch_size=32, learning_rate=0.01, valid_metric="ndcg_at_5", device="cpu"
)
patient_buir = (("epochs", 60), ("batch_size", 16))
quick_lightgcn = partial(LightGCN, embedding_dim=8, epochs=4, batch_size=32, valid_metric="ndcg_at_5", device="cpu")
patient_lightgcn = (("epochs", 80), ("batch_size", 16), ("learning_rate", 0.05))
quick_contrastive = partial(
    Contrastive, embedding_dim=8, epochs=20, batch_size=32, valid_metric="ndcg_at_5", device="cpu"
)
patient_contrastive = (("epochs", 60), ("batch_size", 16))

TERMS = {"filter": 0.2, "popularity": 0.1, "block": 0.1}

CASES = [
    Case("popularity", Popularity, personal=False, item_vectors=False, user_vectors=False, folds_users=True),
    Case("als", partial(ALS, factors=4, iterations=8, regularization=0.1), folds_users=True, folds_items=True),
    Case("bpr", partial(BPR, factors=8, iterations=400, learning_rate=0.1)),
    Case("lmf", partial(LMF, factors=6, iterations=100)),
    Case("item-knn cosine", partial(ItemKNN, similarity="cosine"), user_vectors=False, folds_users=True),
    Case("item-knn bm25", partial(ItemKNN, similarity="bm25"), user_vectors=False, folds_users=True),
    Case("ease", partial(EASE, regularization=2.0), item_vectors=False, user_vectors=False, folds_users=True),
    Case("item filter", CooccurrenceFilter, item_vectors=False, user_vectors=False, folds_users=True),
    Case("low rank filter", partial(LowRankFilter, rank=2), folds_users=True),
    Case("als with terms", partial(ALS, factors=4, iterations=8, terms=TERMS), folds_users=True, folds_items=True),
    Case(
        "ease with terms",
        partial(EASE, regularization=2.0, terms=TERMS),
        item_vectors=False,
        user_vectors=False,
        folds_users=True,
    ),
    Case("lightgcn", quick_lightgcn, patient_lightgcn),
    Case("contrastive", quick_contrastive, patient_contrastive),
    Case("contrastive graph", partial(quick_contrastive, n_layers=2, uniform=8, score="inner"), patient_contrastive),
    Case("buir id", partial(quick_buir, encoder="id"), patient_buir, folds_users=True, folds_items=True),
    Case("buir graph", partial(quick_buir, encoder="graph"), patient_buir, folds_users=True, folds_items=True),
    Case("buir walk", partial(quick_buir, encoder="walk"), patient_buir, folds_users=True, folds_items=True),
]


@pytest.mark.parametrize(
    ("case", "check"),
    [
        pytest.param(case, check, id=f"{case.name}-{check.__name__.removeprefix('check_')}")
        for case in CASES
        for check in CHECKS
        if applies(check, case)
    ],
)
def test_model_keeps(case, check):
    check(case)


# A contract is worth what it catches: models that break it, each in one way.


class Continuing(Svd):
    def fit(self, user_items, valid=None, **options):
        before = vars(self).get("item_factors")
        super().fit(user_items, valid, **options)
        if before is not None:
            self.item_factors = self.item_factors + np.abs(before).sum()
        return self


class Unseeded(Svd):
    def fit(self, user_items, valid=None, **options):
        super().fit(user_items, valid, **options)
        self.item_factors = np.random.default_rng().normal(size=self.item_factors.shape).astype(np.float32)
        return self


class Silent(Svd):
    def fit(self, user_items, valid=None, **options):
        super().fit(user_items, valid, **options)


class Forgetting(Svd):
    def fit(self, user_items, valid=None, **options):
        super().fit(user_items, valid, **options)
        self.seen_ = csr_array(self.seen_.shape, dtype=np.float32)
        return self


class Swapped(Svd):
    """The right shapes and the wrong users: what no shape test sees."""

    def fit(self, user_items, valid=None, **options):
        super().fit(user_items, valid, **options)
        self.user_factors = self.user_factors[::-1].copy()
        return self


class Padding(Svd):
    def recommend(self, *args, **options):
        ids, scores = super().recommend(*args, **options)
        return np.where(ids < 0, 0, ids), scores


class Writing(Svd):
    def fit(self, user_items, valid=None, **options):
        user_items.data[:] = 1
        return super().fit(user_items, valid, **options)


class Undeclared(Svd):
    def similar_items(self, itemid, N=10, **options):
        ids, scores = super().similar_items(itemid, N, **options)
        return ids[..., ::-1], scores[..., ::-1]


@pytest.mark.parametrize(
    ("model", "broken"),
    [
        (Continuing, "second_fit_starts_fresh"),
        (Unseeded, "same_seed_same_lists"),
        (Silent, "fit_returns_self"),
        (Forgetting, "nothing_seen_and_nothing_twice"),
        (Swapped, "checkerboard_is_solved"),
        (Padding, "long_lists_end_in_minus_one"),
        (Writing, "input_is_not_modified"),
        (Undeclared, "similar_items"),
    ],
)
def test_the_contract_catches(model, broken):
    check = next(check for check in CHECKS if check.__name__ == f"check_{broken}")
    check(Case("sound", Svd, folds_users=True))
    with pytest.raises((AssertionError, ValueError)):
        check(Case(model.__name__, model, folds_users=True))
