"""Results are found by the names that people know them by."""

import os

import pytest

from buir.errors import ConfigError
from buir.experiment.records.journal import Journal, find_results, latest_results


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
