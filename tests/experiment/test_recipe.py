"""The configuration beside a report asks for the very cells of the runs."""

import pytest

from buir.experiment import config
from buir.experiment.config import named_by_variable, recipe
from buir.experiment.run import plan as benchmark
from buir.experiment.run.sources import Sources
from tests.support.benchmarks import TINY, make_config

CHANGES = {
    "nested": {},
    "tuned": {"tuning": {"trials": 3, "max_seconds": 20.0}, "log_models": True},
    "author": {"protocol": {"kind": "author", "levels": [0.5]}},
    "leave one out": {"protocol": {"kind": "leave-one-out", "by": "random", "split_seeds": [0, 1]}},
    "by time": {"protocol": {"kind": "time", "test_fraction": 0.2}},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_the_file_makes_the_same_cells(tmp_path, changes):
    chosen = make_config(**changes)
    plan = benchmark.describe(chosen, [])
    assert set(plan["planned"].values()) == {len(chosen.protocol.split_seeds) * len(chosen.seeds)}
    file = tmp_path / "tiny.yaml"
    file.write_text(recipe(plan["config"]))
    again = config.load(file)
    assert [c.key for c in benchmark.plan(again, Sources(again))] == [
        c.key for c in benchmark.plan(chosen, Sources(chosen))
    ]
    assert again.log_models == chosen.log_models
    assert file.read_text().startswith("# What the runs of this report were: buir benchmark tiny.yaml --out FOLDER\n")


def test_files_keep_their_place_and_their_filters(tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.txt").write_text("".join(f"{u}\t{(u + i) % 9}\n" for u in range(9) for i in range(3)))
    (tmp_path / "all.txt").write_text("".join(f"{u}\t{(u + i) % 9}\n" for u in range(9) for i in range(6)))
    given = {
        "data": [{"name": "p", "train": str(tmp_path / "train.txt"), "test": str(tmp_path / "test.txt")}],
        "protocol": {"kind": "given"},
    }
    filtered = {"data": [{"path": str(tmp_path / "all.txt"), "min_user": 2}]}
    for number, changes in enumerate((given, filtered)):
        chosen = make_config(**changes)
        file = tmp_path / f"{number}.yaml"
        file.write_text(recipe(chosen.model_dump(mode="json", exclude_none=True)))
        assert config.load(file).data[0].model_dump() == chosen.data[0].model_dump()


def test_files_in_the_folder_of_data_are_named_by_its_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("BUIR_DATA", str(tmp_path))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "all.txt").write_text("".join(f"{u}\t{(u + i) % 9}\n" for u in range(9) for i in range(6)))
    chosen = make_config(data=[{"path": str(tmp_path / "set" / "all.txt")}])
    text = recipe(chosen.model_dump(mode="json", exclude_none=True))
    assert "path: ${BUIR_DATA}/set/all.txt" in text
    assert str(tmp_path) not in text
    (tmp_path / "again.yaml").write_text(text)
    assert config.load(tmp_path / "again.yaml").data == chosen.data


def test_the_page_names_files_by_the_variable_too(tmp_path, monkeypatch):
    monkeypatch.setenv("BUIR_DATA", str(tmp_path))
    entry = {"name": "set", "path": str(tmp_path / "all.txt"), "core": 0}
    assert named_by_variable({"data": [entry]}) == [{"name": "set", "path": "${BUIR_DATA}/all.txt", "core": 0}]


def test_runs_are_counted_by_data_set_where_some_have_more_splits():
    made = {"dataset": "synthetic", "options": TINY}
    protocol = {"kind": "nested", "levels": [0.5, 1.0], "split_seeds": [0, 1]}
    chosen = make_config(data=[made | {"name": "toy"}, made | {"name": "other"}], protocol=protocol)
    cells = benchmark.plan(chosen, Sources(chosen))
    of_one = [cell for cell in cells if cell.dataset == "toy" or cell.split_seed == 0]
    runs = len(chosen.seeds)
    assert set(benchmark.describe(chosen, cells)["planned"].values()) == {2 * runs}
    (planned, *others) = benchmark.describe(chosen, of_one)["planned"].values()
    assert planned == {"toy": 2 * runs, "other": runs}
    assert all(other == planned for other in others)
