"""Results are found by the names that people know them by, and are frames."""

import os
from dataclasses import replace

import numpy as np
import pytest

from buir.errors import ConfigError, ExperimentError
from buir.experiment import Results
from buir.experiment.records.journal import Journal, find_results, latest_results
from buir.experiment.records.record import Record
from buir.experiment.run.plan import Outcome
from tests.support.records import make_cells


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two benchmarks, the older one in a folder with a name of its own."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "results"
    for age, (folder, name, datasets) in enumerate(
        [("mine", "quickstart", ["films", "books"]), ("sparsity", "sparsity", ["films"])]
    ):
        journal = Journal(root / folder)
        journal.write_plan({"name": name, "datasets": datasets, "keys": []})
        os.utime(journal.plan_file(), (1000 + age, 1000 + age))
    (root / "empty").mkdir()
    return root


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("sparsity", "sparsity"),
        ("quickstart", "mine"),
        ("mine", "mine"),
        ("buir-quickstart-books", "mine"),
        ("buir-sparsity-films", "sparsity"),
    ],
)
def test_a_benchmark_is_found_by_each_of_its_names(root, name, folder):
    assert find_results(name, root) == root / folder


def test_a_folder_is_taken_as_it_is(root):
    assert find_results("results/empty", root).resolve() == root / "empty"


def test_the_folder_of_that_name_comes_before_another_benchmark_of_that_name(root):
    Journal(root / "quickstart").write_plan({"name": "other", "datasets": [], "keys": []})
    assert find_results("quickstart", root) == root / "quickstart"
    os.utime(Journal(root / "quickstart").plan_file(), (1, 1))
    assert find_results("quickstart", root) == root / "quickstart"


def test_an_unknown_name_is_told_with_the_nearest(root, tmp_path):
    with pytest.raises(
        ConfigError, match=r"quikstart: neither a folder nor a benchmark in .*; did you mean 'quickstart'"
    ):
        find_results("quikstart", root)
    with pytest.raises(ConfigError, match=r"x: neither .*: there are no results at all; run buir benchmark first"):
        find_results("x", tmp_path / "nowhere")


def test_the_latest_is_the_one_written_last(root, tmp_path):
    assert latest_results(root) == root / "sparsity"
    with pytest.raises(ConfigError, match=r"no results in .*nowhere; run buir benchmark first, or name their folder"):
        latest_results(tmp_path / "nowhere")


def test_frames_of_runs_and_users(tmp_path):
    records, frames = make_cells({"ALS": (0.1, 0.5), "popularity": 0.2}, seeds=(0, 1), n_users=6)
    records[-1] = replace(records[-1], status="refused", reason="too large", metrics={})
    journal = Journal(tmp_path)
    for record in records:
        journal.write(record, frames[record.key] if record.ok else None)
    # in the order of the plan, without what an earlier one left, and without what is not finished yet
    keys = [record.key for record in reversed(records[1:])]
    journal.write_plan({"name": "mine", "datasets": ["toy"], "keys": [*keys, "f" * 16]})
    results = Results.open(tmp_path)
    table = results.frame()
    told = ["dataset", "protocol", "train_pct", "model", "split_seed", "seed", "status", "ndcg_at_20", "recall_at_20"]
    assert list(table.columns[:9]) == told
    assert table["key"].tolist() == keys
    assert table["ndcg_at_20"][1:].tolist() == [record.metrics["ndcg_at_20"] for record in records[-2:0:-1]]
    assert (table["status"][0], table["reason"][0], np.isnan(table["ndcg_at_20"][0])) == ("refused", "too large", True)
    assert not any(isinstance(value, dict | list | Record) for value in table.iloc[1])
    assert Outcome(list(journal.records(keys))).frame().equals(table)
    users = results.users()
    assert len(users) == 6 * 6
    mine = users[(users["model"] == "ALS") & (users["train_pct"] == 50) & (users["seed"] == 1)]
    (key,) = (r.key for r in records if (r.model, r.level, r.seed) == ("ALS", 0.5, 1))
    assert mine["ndcg_at_20"].tolist() == frames[key]["ndcg_at_20"].tolist()
    assert list(users.columns[:8]) == [*told[:6], "user", "train_degree"]


def test_results_of_nothing(root):
    assert Results.open("sparsity").folder.name == "sparsity"
    assert Results.open().frame().empty
    assert Results.open().users().empty
    with pytest.raises(ExperimentError, match="empty holds no benchmark that can be read"):
        Results.open(root / "empty")
    with pytest.raises(ConfigError, match="did you mean 'quickstart'"):
        Results.open("quikstart")
