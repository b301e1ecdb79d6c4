"""Data by name: the generator and its yardstick, and downloads with the network taken out."""

import itertools
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from buir.data import datasets
from buir.data.datasets import load, load_split
from buir.data.interactions import Interactions
from buir.data.splits import nested_split
from buir.data.synthetic import make_interactions
from buir.errors import ValuesIgnoredWarning

# torch_geometric still compiles with torch.jit when it is imported
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

SMALL = {"n_users": 300, "n_items": 200, "n_pairs": 3000}


class TestSynthetic:
    @pytest.mark.parametrize("sizes", [SMALL, {"n_users": 40, "n_items": 500, "n_pairs": 1000}, {}])
    def test_sizes_are_exact(self, sizes):
        data = load("synthetic", **sizes)
        wanted = {"n_users": 2000, "n_items": 1500, "n_pairs": 40_000} | sizes
        assert {name: getattr(data, name) for name in wanted} == wanted
        assert np.diff(data.matrix.indptr).min() >= 3
        assert np.bincount(data.items).min() >= 1
        assert data.report.rows_read == data.n_pairs
        assert data.report.format == "generated"
        assert np.array_equal(np.argsort(data.times), np.argsort(data.positions))

    def test_the_seed_decides_everything(self):
        assert load("synthetic", **SMALL).digest == load("synthetic", **SMALL, seed=0).digest
        assert load("synthetic", **SMALL).digest != load("synthetic", **SMALL, seed=1).digest

    def test_long_tails(self):
        data = load("synthetic")
        for counts in (np.bincount(data.items), np.diff(data.matrix.indptr)):
            ordered = np.sort(counts)[::-1]
            assert ordered[: len(ordered) // 5].sum() > 0.5 * ordered.sum()
            assert ordered[0] > 8 * np.median(ordered)

    def test_labels_are_not_row_numbers(self):
        data = load("synthetic", **SMALL)
        assert sorted(data.user_ids) == list(range(300))
        assert not np.array_equal(data.user_ids, np.arange(300))
        assert not np.array_equal(data.item_ids, np.arange(200))

    def test_noise_takes_the_tastes_away(self):
        # the largest singular values beyond the first are the tastes
        def taste(noise):
            dense = make_interactions(**SMALL, n_groups=5, groups_per_user=1, noise=noise).matrix.toarray()
            values = np.linalg.svd(dense, compute_uv=False)
            return values[1:5].sum() / values[5:9].sum()

        assert taste(0.0) > 1.6 > 1.2 > taste(1.0)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"n_pairs": 50}, "n_pairs is 50, expected 7500 to 750000 for 2000 users and 1500 items"),
            ({"n_pairs": 10**7}, "at most a quarter of all cells"),
            ({"n_groups": 0}, "n_groups is 0, expected a whole number of 1 to 1500"),
            ({"groups_per_user": 0.5}, "groups_per_user is 0.5, expected a number of 1 to 20"),
            ({"noise": 1.5}, "noise is 1.5, expected a number of 0 to 1"),
            ({"n_user": 5}, "data set 'synthetic' has no option 'n_user'; .*did you mean 'n_users'"),
        ],
    )
    def test_errors(self, options, message):
        with pytest.raises(ValueError, match=message):
            load("synthetic", **options)


def ndcg_at_20(scores: np.ndarray, seen: Interactions, relevant: Interactions) -> float:
    """Mean NDCG@20 over users with relevant items, written out here so that the yardstick rests on nothing else."""
    scores = np.where(seen.matrix.toarray() > 0, -np.inf, scores)
    hits = np.take_along_axis(relevant.matrix.toarray(), np.argsort(-scores, axis=1)[:, :20], axis=1)
    discounts = 1 / np.log2(np.arange(2, 22))
    n_relevant = np.diff(relevant.matrix.indptr)
    tested = n_relevant > 0
    ideal = np.cumsum(discounts)[np.minimum(n_relevant[tested], 20) - 1]
    return float(np.mean((hits[tested] @ discounts) / ideal))


def als_scores(train: Interactions, factors: int, alpha: float, regularization: float) -> np.ndarray:
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=factors, alpha=alpha, regularization=regularization, random_state=0, num_threads=1
        )
        model.fit(csr_matrix(train.matrix), show_progress=False)
    return model.user_factors @ model.item_factors.T


def gain_over_popularity(data: Interactions, grid) -> float:
    split = nested_split(data, 1.0)
    whole = replace(split.train, matrix=split.train.matrix + split.valid.matrix)
    popularity = np.tile(split.train.matrix.sum(axis=0), (data.n_users, 1))
    scores = [als_scores(split.train, *point) for point in grid]
    best = max(scores, key=lambda each: ndcg_at_20(each, split.train, split.valid))
    return ndcg_at_20(best, whole, split.test) / ndcg_at_20(popularity, whole, split.test)


def test_yardstick_of_the_generator():
    """ALS, tuned on valid, beats popularity by at least half; the quick form with three settings."""
    assert gain_over_popularity(load("synthetic"), [(16, 2, 3), (16, 10, 10), (32, 2, 10)]) > 1.5


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_yardstick_of_the_generator_on_a_grid(seed):
    grid = itertools.product((16, 32, 64), (2, 10, 40), (0.1, 3, 10))
    assert gain_over_popularity(load("synthetic", seed=seed), grid) > 1.5


class TestDownloads:
    """PyG's classes with their ``download`` replaced by files written on the spot."""

    @pytest.fixture
    def fetch(self, monkeypatch):
        def install(pyg_class, files):
            from torch_geometric import datasets as pyg

            def download(self):
                for name, text in files.items():
                    path = Path(self.raw_dir) / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text)

            monkeypatch.setattr(getattr(pyg, pyg_class), "download", download)

        return install

    @pytest.fixture
    def unchecked(self, monkeypatch):
        for name, source in datasets.DOWNLOADS.items():
            monkeypatch.setitem(datasets.DOWNLOADS, name, replace(source, sizes=None))

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("name", "pyg_class", "file", "text"),
        [
            ("ml-100k", "MovieLens100K", "u.data", "196\t242\t3\t881250949\n186\t302\t5\t891717742\n"),
            ("ml-1m", "MovieLens1M", "ratings.dat", "196::242::3::881250949\n186::302::5::891717742\n"),
            (
                "ml-latest-small",
                "MovieLens",
                "ml-latest-small/ratings.csv",
                "userId,movieId,rating,timestamp\n196,242,3,881250949\n186,302,5.0,891717742\n",
            ),
        ],
    )
    def test_raw_files(self, fetch, tmp_path, name, pyg_class, file, text):
        names = ("u.item", "u.user", "u1.base", "u1.test", "movies.dat", "users.dat", "ml-latest-small/movies.csv")
        fetch(pyg_class, dict.fromkeys(names, "") | {file: text})
        with pytest.warns(ValuesIgnoredWarning, match="min_rating=5 keeps 1 of 2"):
            data = load(name, root=tmp_path)
        assert data.user_ids.tolist() == [196, 186]
        assert data.item_ids.tolist() == [242, 302]
        assert data.times.tolist() == [881250949, 891717742]
        assert load(name, root=tmp_path, min_rating=4).user_ids.tolist() == [186]
        assert (tmp_path / name / "raw" / file).exists()

    @pytest.mark.usefixtures("unchecked")
    def test_published_split(self, fetch, tmp_path):
        lists = {"user_list.txt": "", "item_list.txt": "", "train.txt": "0 1 2\n1 2\n", "test.txt": "0 3\n1 1\n"}
        fetch("AmazonBook", lists)
        train, test = load_split("amazon-book", root=tmp_path)
        assert (train.n_pairs, test.n_pairs, train.n_items) == (3, 2, 3)
        whole = load("amazon-book", root=tmp_path)
        assert whole.matrix.toarray().tolist() == [[1, 1, 1], [1, 1, 0]]
        assert load("amazon-book", root=tmp_path, min_user=3).n_users == 1

    def test_graph(self, fetch, tmp_path):
        import scipy.sparse as sp

        fetch("LastFM", {})
        raw = tmp_path / "lastfm" / "raw"
        raw.mkdir(parents=True)
        np.save(raw / "node_types.npy", np.array([0, 0, 1, 1, 1]))
        sp.save_npz(raw / "adjM.npz", sp.csr_matrix(([1, 1, 1, 1], ([0, 1, 2, 3], [2, 3, 0, 1])), shape=(5, 5)))
        held = {"val_pos_user_artist": np.array([[0, 2]]), "test_pos_user_artist": np.array([[1, 0], [1, 1]])}
        np.savez(raw / "train_val_test_pos_user_artist.npz", **held)
        none = {f"{name}_neg_user_artist": np.array([[0, 1]]) for name in ("train", "val", "test")}
        np.savez(raw / "train_val_test_neg_user_artist.npz", **none)
        data = load("lastfm", root=tmp_path)
        found = set(zip(data.user_ids[data.users].tolist(), data.item_ids[data.items].tolist(), strict=True))
        assert found == {(0, 0), (1, 1), (0, 2), (1, 0)}
        assert data.report.merged == 1

    def test_wrong_content_is_found(self, fetch, tmp_path):
        names = ("u.item", "u.user", "u1.base", "u1.test")
        fetch("MovieLens100K", dict.fromkeys(names, "") | {"u.data": "1\t2\t3\t900000000\n"})
        with pytest.raises(ValueError, match=r"\(1, 1, 1\) users, items and pairs, expected \(943, 1682, 100000\)"):
            load("ml-100k", root=tmp_path)

    def test_without_a_network(self, monkeypatch, tmp_path):
        def refuse(*_, **__):
            raise URLError("no route to host")

        monkeypatch.setattr("urllib.request.urlopen", refuse)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        with pytest.raises(ConnectionError, match=r"cannot download 'ml-100k' from https://.*no route to host.*"):
            load("ml-100k")
        assert (tmp_path / "buir" / "ml-100k").is_dir()

    def test_names_and_options(self):
        with pytest.raises(ValueError, match=r"unknown data set 'ml100k'; .*did you mean 'ml-100k'"):
            load("ml100k")
        with pytest.raises(ValueError, match=r"unknown data set 'ml-1m'.*expected one of amazon-book"):
            load_split("ml-1m")
        with pytest.raises(ValueError, match=r"data set 'ml-1m' has no option 'min_users'; .*did you mean 'min_user'"):
            load("ml-1m", min_users=3)
        with pytest.raises(ValueError, match="data set 'amazon-book' has no option 'min_rating'"):
            load("amazon-book", min_rating=3)
