"""The page for those who come from implicit: its code runs, and no name of implicit is missing in its table."""

import inspect
import re
import warnings
from pathlib import Path

import implicit
import implicit.evaluation
import implicit.nearest_neighbours
import numpy as np
import pytest
import scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.bpr import BayesianPersonalizedRanking
from implicit.cpu.lmf import LogisticMatrixFactorization
from threadpoolctl import threadpool_limits

from buir import BUIR
from buir.recommend import answer

PAGE = (Path(__file__).parents[2] / "docs" / "from-implicit.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
TABLE = "\n".join(line for line in PAGE.splitlines() if line.startswith("| "))
MODELS = [AlternatingLeastSquares, BayesianPersonalizedRanking, LogisticMatrixFactorization]
NEIGHBOURS = implicit.nearest_neighbours
HERE = {
    "factors": "embedding_dim",
    "iterations": "epochs",
    "random_state": "seed",
    "regularization": "weight_decay",
    "use_gpu": "device",
}


@pytest.fixture(scope="module")
def run():
    """What the blocks leave behind, one after the other."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 9, (40, 25)) * (rng.random((40, 25)) < 0.3)
    names = {"user_item_data": sp.csr_matrix(counts.astype(np.float32)), "userid": 3, "itemid": 5}
    kept = []
    with warnings.catch_warnings(), threadpool_limits(1, "blas"):
        warnings.simplefilter("ignore")  # the data are small
        for block in BLOCKS:
            exec(block, names)
            kept.append(dict(names))
    return kept


def test_both_quickstarts_give_the_same_shapes(run):
    assert BLOCKS[0].count("\n") == BLOCKS[1].count("\n")
    theirs, ours, als = run[:3]
    seen = set(ours["user_item_data"][3].indices.tolist())
    for name in ("recommendations", "related"):
        for first, second in zip(theirs[name], ours[name], strict=True):
            assert first.shape == second.shape == (10,)
            assert first.dtype == second.dtype
    for one in (theirs, ours, als):
        assert not seen & set(one["recommendations"][0].tolist())
    assert theirs["related"][0][0] == ours["related"][0][0] == 5
    assert ours["related"][1][0] == pytest.approx(1)


def test_short_lists_end_here_and_are_filled_there(run):
    theirs, kept = run[0], run[3]["kept"]
    rows, row = theirs["user_item_data"], run[0]["user_item_data"][3]
    ids, scores = theirs["model"].recommend(3, row, N=25)
    assert set(ids) & set(row.indices)
    assert scores.min() < -1e38
    beyond = theirs["model"].recommend([3, 4], rows[[3, 4]], N=30)[0]
    assert beyond.shape == (2, 30)
    assert len(set(beyond[0])) == 25
    for place, user in enumerate((3, 4)):
        assert sorted(kept[place]) == sorted(set(range(25)) - set(rows[user].indices))
    assert run[3]["ids"].shape == (2, 25)
    assert run[3]["ids"].min() == -1


def test_ids_and_new_people(run):
    named, new = run[4], run[5]
    frame = named["named"].recommend_frame(["ann", "cat"], k=2)
    assert frame.columns.tolist() == ["user", "item", "score", "rank"]
    assert frame[frame.user == "ann"].item.tolist() == ["sofa"]
    assert sorted(frame[frame.user == "cat"].item) == ["lamp", "sofa"]
    assert not set(new["ids"]) & set(new["user_item_data"][3].indices)


def named(*names):
    return [name for name in names if not re.search(rf"`[^`]*\b{name}\b[^`]*`", TABLE)]


@pytest.mark.parametrize(
    "model", [*MODELS, *(getattr(NEIGHBOURS, name) for name in ("ItemItemRecommender", "BM25Recommender"))]
)
def test_every_name_of_a_model_is_in_the_table(model):
    assert named(model.__name__) == []
    parameters = [name for name in inspect.signature(model).parameters if name not in ("args", "kwargs")]
    assert parameters
    assert named(*parameters) == []
    verbs = {name for one in model.__mro__[:-1] for name in vars(one) if not name.startswith("_")}
    assert "recommend" in verbs
    assert named(*verbs) == []


def test_every_argument_of_the_verbs_is_in_the_table():
    for verb in ("fit", "recommend", "similar_items", "similar_users"):
        theirs = list(inspect.signature(getattr(AlternatingLeastSquares, verb)).parameters)[1:]
        assert re.search(rf"`{verb}\({', '.join(theirs)}\)`", TABLE)
    metrics = [name for name in vars(implicit.evaluation) if name.endswith(("_at_k", "_split"))]
    assert len(metrics) > 4
    assert named(*metrics) == []


def test_the_table_and_the_answers_agree():
    for name, here in HERE.items():
        assert re.search(rf"^\| `{name}` \| [^|]*`{here}", TABLE, re.MULTILINE)
        assert answer(BUIR, name, 1).startswith(f"here it is {here}")
    for name in ("alpha", "num_threads", "dtype", "calculate_training_loss"):
        assert re.search(rf"^\| `{name}`[^|]*\| none", TABLE, re.MULTILINE)
        assert "here it is" not in answer(BUIR, name, 1)
