"""Data by name: the generator and its yardstick, and downloads with the network taken out."""

import hashlib
import io
import itertools
import ssl
import zipfile
from dataclasses import replace
from urllib.error import URLError

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from buir.data import datasets
from buir.data.datasets import load
from buir.data.interactions import Interactions
from buir.data.splits import nested_split
from buir.data.synthetic import make_interactions
from buir.errors import ValuesIgnoredWarning

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


ROWS = {
    "ml-100k": "196\t242\t3\t881250949\n186\t302\t5\t891717742\n",
    "ml-1m": "196::242::3::881250949\n186::302::5::891717742\n",
    "ml-latest-small": "userId,movieId,rating,timestamp\n196,242,3,881250949\n186,302,5.0,891717742\n",
}


class TestDownloads:
    """The network is taken out: what would come from it is made on the spot."""

    @pytest.fixture
    def asked(self, monkeypatch):
        """Every address that was asked for; archives hold two rows and have the digest that is expected."""
        asked = []
        served = {}
        for name, source in datasets.DOWNLOADS.items():
            stream = io.BytesIO()
            with zipfile.ZipFile(stream, "w") as archive:
                archive.writestr(source.file, ROWS[name])
            served[source.url] = stream.getvalue()
            digest = hashlib.sha256(stream.getvalue()).hexdigest()
            monkeypatch.setitem(datasets.DOWNLOADS, name, replace(source, sha256=digest))

        def urlopen(url, timeout):
            asked.append(url)
            return io.BytesIO(served[url])

        monkeypatch.setattr("urllib.request.urlopen", urlopen)
        return asked

    @pytest.mark.parametrize("name", ROWS)
    def test_raw_files_are_fetched_once(self, asked, tmp_path, name):
        with pytest.warns(ValuesIgnoredWarning, match="min_rating=5 keeps 1 of 2"):
            data = load(name, root=tmp_path)
        assert data.user_ids.tolist() == [196, 186]
        assert data.item_ids.tolist() == [242, 302]
        assert data.times.tolist() == [881250949, 891717742]
        assert load(name, root=tmp_path, min_rating=4).user_ids.tolist() == [186]
        assert asked == [datasets.DOWNLOADS[name].url]
        assert asked[0].startswith("https://")

    def test_another_archive_is_refused_before_it_is_read(self, asked, tmp_path, monkeypatch):
        source = datasets.DOWNLOADS["ml-100k"]
        monkeypatch.setitem(datasets.DOWNLOADS, "ml-100k", replace(source, sha256="0" * 64))
        with pytest.raises(ValueError, match=r"ml-100k\.zip has the SHA-256 [0-9a-f]{64}, expected 0{64} of 'ml-100k'"):
            load("ml-100k", root=tmp_path)
        assert not list((tmp_path / "ml-100k").iterdir())
        monkeypatch.setitem(datasets.DOWNLOADS, "ml-100k", source)
        assert load("ml-100k", root=tmp_path, min_rating=4).n_pairs == 1
        (tmp_path / "ml-100k" / "ml-100k.zip").write_bytes(b"changed since")
        with pytest.raises(ValueError, match=r"ml-100k\.zip has the SHA-256 .*delete it and load it again"):
            load("ml-100k", root=tmp_path)
        assert len(asked) == 2

    def test_a_file_beside_the_archive_that_was_changed_is_not_believed(self, asked, tmp_path):
        assert load("ml-1m", root=tmp_path, min_rating=4).n_pairs == 1
        (tmp_path / "ml-1m" / "ratings.dat").write_text("1::2::5::900000000\n" * 3)
        assert load("ml-1m", root=tmp_path, min_rating=4).user_ids.tolist() == [186]
        assert len(asked) == 1

    def test_certificates_are_checked(self, monkeypatch, tmp_path):
        contexts = []

        def connect(self):
            contexts.append(self._context)
            raise OSError("no route to host")

        monkeypatch.setattr("http.client.HTTPSConnection.connect", connect)
        with pytest.raises(ConnectionError, match="no route to host"):
            load("ml-1m", root=tmp_path)
        assert [(context.verify_mode, context.check_hostname) for context in contexts] == [(ssl.CERT_REQUIRED, True)]

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
        with pytest.raises(ValueError, match=r"data set 'ml-1m' has no option 'min_users'; .*did you mean 'min_user'"):
            load("ml-1m", min_users=3)
