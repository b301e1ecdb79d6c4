"""The command line: mistakes are one line with an exit code, results are printed, help is cheap."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from mlflow import MlflowClient
from typer.testing import CliRunner

from baselines import ALS, Refused
from buir.cli.app import app
from buir.experiment.records.journal import Journal
from buir.experiment.tracking import store

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
]

TINY = """
data:
  - {dataset: synthetic, options: {n_users: 60, n_items: 40, n_pairs: 600, n_groups: 4}}
protocol: {kind: nested, levels: [0.5, 1.0]}
seeds: [0, 1]
metrics: {ks: [20]}
models:
  - {kind: popularity}
  - {kind: als, params: {factors: 4, iterations: 2}}
"""


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{file}", registry_uri=f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def here(tmp_path, monkeypatch, empty_store) -> Path:
    """A working directory with a configuration and a prepared store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "results" / "tiny").mkdir(parents=True)
    shutil.copy(empty_store, tmp_path / "results" / "tiny" / "mlflow.db")
    return tmp_path


def call(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def fails(code: int, *arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result.stderr


def test_a_benchmark_from_nothing_to_the_table_and_again(here):
    first = call("benchmark", "tiny.yaml")
    assert first.exit_code == 0, first.output
    out = here / "results" / "tiny"
    assert (out / "figures" / "synthetic-sparsity.png").stat().st_size > 5_000
    assert len(list((out / "cells").glob("*.json"))) == 8
    mean = sum(r.metrics["ndcg_at_20"] for r in Journal(out).records() if r.model == "ALS" and r.level == 1) / 2
    (row,) = re.findall(r"^ALS .*", first.stdout, flags=re.MULTILINE)[:1]
    assert f"{mean:.4f} [" in row
    assert "NDCG@20" in first.stdout
    assert "Recall@20" in first.stdout
    assert "Look at them in MLflow: buir ui --out results/tiny" in first.stdout
    assert first.stderr.count("[8/8] synthetic 100 % ALS seed 1: ndcg_at_20 0.") == 1
    assert (out / "tables" / "synthetic.md").read_text().count("| ALS |") == 3

    second = call("benchmark", "tiny.yaml")
    assert second.exit_code == 0
    assert second.stdout.startswith("8 of 8 cells are finished already and are not run again.\n")
    assert second.stdout.split("\n", 1)[1] == first.stdout
    client = MlflowClient(tracking_uri=store.store_uri(out), registry_uri=store.store_uri(out))
    experiment = client.get_experiment_by_name("buir-tiny-synthetic")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id], "tags.kind = 'fit'")) == 8
    (summary,) = client.search_runs([experiment.experiment_id], "tags.kind = 'summary'")
    artifacts = {artifact.path for artifact in client.list_artifacts(summary.info.run_id)}
    assert artifacts == {
        *("config.json", "groups", "report.html", "sparsity.png", "table.md", "users.parquet", "verdicts.png"),
    }

    forecast = call("benchmark", "tiny.yaml", "--dry-run", "--set", "seeds=[0,1,2]").stdout
    assert forecast.startswith(
        "12 cells (1 data x 2 levels x 2 models x 1 split seeds x 3 seeds); 8 finished, 4 to run\n"
    )
    assert re.search(r"^  ALS: 2 cells, about \d", forecast, flags=re.MULTILINE)
    assert re.search(r"GB of memory", forecast)

    page = call("report", "--out", "results/tiny")
    assert page.exit_code == 0, page.output
    assert "ALS" in (out / "report" / "tiny.md").read_text()
    assert "Runs: `buir benchmark tiny.yaml --out results/tiny --jobs 1`" in (out / "report" / "tiny.md").read_text()
    assert page.stdout.splitlines() == [
        f"results/tiny/report/tiny{end}" for end in (".html", ".md", ".csv", "-differences.csv", "-groups.csv", ".yaml")
    ]
    for name in ("tiny", "buir-tiny-synthetic", "results/tiny"):
        again = call("report", name, "--to", "elsewhere")
        assert (again.exit_code, again.stdout) == (0, page.stdout.replace("results/tiny/report", "elsewhere"))
    assert (here / "elsewhere" / "tiny.csv").read_bytes() == (out / "report" / "tiny.csv").read_bytes()
    assert fails(2, "report", "tyni") == (
        "error: tyni: neither a folder nor a benchmark in ./results; did you mean 'tiny'?\n"
    )
    assert fails(2, "report", "tiny", "--out", "x") == (
        "error: got 'tiny' and --out x, expected one of them: leave out the other\n"
    )


@pytest.mark.slow
def test_the_runs_are_looked_at_where_they_are_and_several_commits_are_told_once(here):
    wanted = ["benchmark", "tiny.yaml", "--set", "seeds=[0]"]
    away = call(*wanted, "--tracking-uri", "http://127.0.0.1:9")
    assert away.exit_code == 3, away.output
    assert away.stdout.splitlines()[-1] == "Look at them in MLflow: buir ui --store http://127.0.0.1:9"
    assert "were computed by" not in away.output
    journal = Journal(here / "results" / "tiny")
    record = next(journal.records())
    journal.write(replace(record, git_commit="0" * 40), journal.read_users(record.key))
    again = call(*wanted)
    assert again.stdout.splitlines()[-1] == "Look at them in MLflow: buir ui --out results/tiny"
    assert again.stdout.count("warning: These runs were computed by 2 commits of one version: ") == 1
    page = call("report", "tiny")
    assert page.exit_code == 0
    assert page.stderr.count("warning: These runs were computed by 2 commits of one version: ") == 1


def test_settings_are_searched_first_and_found_by_the_benchmark(here):
    wanted = ["tiny.yaml", "--set", "tuning.trials=2", "--set", "seeds=[0]", "--set", "protocol.levels=[1.0]"]
    tuned = call("tune", *wanted, "--model", "ALS", "--data", "synthetic", "--level", "1")
    assert tuned.exit_code == 0, tuned.output
    assert re.search(r"^ALS +0\.\d{4} +2 +\d+\.\d +alpha=", tuned.stdout, flags=re.MULTILINE)
    assert tuned.stderr.splitlines()[-1].startswith("[1/1] synthetic 100 % ALS: best ndcg_at_20 0.")
    assert "- kind: als\n" in (here / "results" / "tiny" / "best.yaml").read_text()
    (file,) = (here / "results" / "tiny" / "tuning").glob("*.journal")
    written = file.read_bytes()
    assert call("benchmark", *wanted).exit_code == 0
    assert file.read_bytes() == written
    assert len(list(file.parent.glob("*.journal"))) == 2


def test_a_search_that_fails_gives_an_exit_code(here, monkeypatch):
    def fail(self, *args, **kwargs):
        msg = "loss is nan"
        raise FloatingPointError(msg)

    monkeypatch.setattr(ALS, "fit", fail)
    error = fails(1, "tune", "tiny.yaml", "--set", "tuning.trials=1", "--model", "ALS", "--level", "0.5")
    assert "failed: synthetic 50 % ALS seed 0: TuningError: none of 1 trials of ALS gave a value: " in error


def test_a_refused_model_is_not_available_and_fails_nothing(here, monkeypatch):
    def refuse(self, *args, **kwargs):
        msg = "too many items"
        raise Refused(msg)

    monkeypatch.setattr(ALS, "fit", refuse)
    result = call("benchmark", "tiny.yaml", "--set", "seeds=[0]")
    assert result.exit_code == 0, result.output
    assert re.search(r"^ALS +n/a +n/a$", result.stdout, flags=re.MULTILINE)
    assert "n/a: ALS: too many items" in result.stdout


def test_a_broken_cell_is_told_and_gives_an_exit_code(here, monkeypatch):
    def fail(self, *args, **kwargs):
        msg = "loss is nan"
        raise FloatingPointError(msg)

    monkeypatch.setattr(ALS, "fit", fail)
    error = fails(1, "benchmark", "tiny.yaml", "--set", "seeds=[0]")
    assert "failed: synthetic 50 % ALS seed 0: FloatingPointError: loss is nan (see results/tiny/failures/" in error


def test_ctrl_c_says_how_to_go_on(here, monkeypatch):
    def interrupt(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(ALS, "fit", interrupt)
    error = fails(130, "benchmark", "tiny.yaml")
    assert error.endswith("stopped; finished cells are kept: the same command goes on from here\n")
    assert len(list(Journal(here / "results" / "tiny").records())) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["benchmark", "tyni.yaml"], 2, "error: tyni.yaml: no such configuration file"),
        (
            ["benchmark", "tiny.yaml", "--set", "sedes=1"],
            2,
            "error: tiny.yaml: sedes: unknown key; did you mean 'seeds'?",
        ),
        (
            ["benchmark", "tiny.yaml", "--set", "data=[{path: no.txt}]"],
            2,
            "error: tiny.yaml: data.0.path: no such file: ",
        ),
        (["benchmark", "tiny.yaml", "--set", "data=[{path: bad.txt}]"], 1, "error: bad: "),
        (
            ["benchmark", "tiny.yaml", "--set", "data.options.n_userz=1"],
            2,
            "error: tiny.yaml: data.0.dataset: data set 'synthetic' has no option 'n_userz'; expected some of n_users",
        ),
        (["tune", "tiny.yaml"], 2, "error: tiny: the configuration has no 'tuning:', so there is nothing to search"),
        (["tune", "tiny.yaml", "--set", "tuning.trials=1", "--model", "AIS"], 2, "error: --model: 'AIS' is not in"),
        (["ui", "--out", "nowhere"], 2, "nowhere holds no MLflow store; run buir benchmark first"),
        (["sync", "--out", "nowhere"], 1, "error: nowhere holds no benchmark; name the folder of one with --out"),
        (["register", "x", "--best-at", "10", "--out", "nowhere"], 2, "error: nowhere holds no benchmark; name the"),
        (["register", "a/b", "--best-at", "10", "--out", "nowhere"], 2, "error: NAME is 'a/b'; expected letters"),
        (["report", "--out", "nowhere"], 1, "error: nowhere holds no benchmark"),
        (
            ["report", "--out", "broken"],
            1,
            "benchmark.json is damaged; run the benchmark again: finished cells",
        ),
        (["sync"], 2, "no results in ./results; run buir benchmark first, or name their folder with --out"),
        (["data", "describe", "missing.txt"], 1, "missing.txt"),
    ],
)
def test_mistakes_are_one_line(here, arguments, code, expected):
    (here / "bad.txt").write_bytes(b"\x00\x01")
    (here / "broken").mkdir()
    (here / "broken" / "benchmark.json").write_text("{")
    error = fails(code, *arguments)
    assert expected in error
    assert error.count("\n") == 1


def test_a_report_needs_a_finished_run(here):
    plan = {"name": "tiny", "keys": ["0" * 16], "config": {}, "headline": [], "datasets": []}
    Journal(here / "begun").write_plan(plan)
    error = fails(1, "report", "--out", "begun")
    assert (
        error
        == "error: begun: none of the 1 runs of 'tiny' is finished; run it again: buir benchmark tiny.yaml --out begun\n"
    )


@pytest.mark.parametrize(
    "arguments", [["benchmrk"], ["benchmark"], ["benchmark", "tiny.yaml", "--jobs", "0"], ["ui", "--port", "x"]]
)
def test_wrong_usage_is_code_two(here, arguments):
    fails(2, *arguments)


def test_cells_that_ran_before_models_were_wanted_are_told(here):
    ours = "models=[{kind: buir, params: {encoder: id, epochs: 1, embedding_dim: 4}}]"
    wanted = ["tiny.yaml", "--set", "seeds=[0]", "--set", ours]
    assert call("benchmark", *wanted).exit_code == 0
    again = call("benchmark", *wanted, "--set", "log_models=true")
    assert again.exit_code == 0, again.output
    assert (
        "2 finished cells of BUIR ran without log_models and have no model to log; to fit them again, choose another "
        "folder with --out."
    ) in again.stdout


def test_json_of_a_benchmark_and_its_report(here):
    smaller = ["tiny.yaml", "--set", "seeds=[0]", "--json"]
    outlook = json.loads(call("benchmark", *smaller, "--dry-run").stdout)
    assert (outlook["n_cells"], outlook["n_missing"]) == (4, 4)
    assert outlook["counts"] == {"data": 1, "levels": 2, "models": 2, "split_seeds": 1, "seeds": 1}
    done = call("benchmark", *smaller)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [(record["model"], record["level"], record["status"]) for record in found["records"]] == [
        (model, level, "ok") for level in (0.5, 1.0) for model in ("popularity", "ALS")
    ]
    assert (found["folder"], found["failures"], found["in_mlflow"]) == ("results/tiny", [], True)
    assert "Look at them in MLflow" in done.stderr
    told = json.loads(call("report", "--json").stdout)
    assert all(Path(file).is_file() for file in told["files"])
    assert [place["level"] for place in told["places"]] == [0.5, 1.0]
    for place in told["places"]:
        means = {(row["model"], row["metric"]): row["mean"] for row in place["means"]}
        for record in found["records"]:
            if record["level"] == place["level"]:
                measured = record["metrics"]["ndcg_at_20"]
                assert means[record["model"], "ndcg_at_20"] == pytest.approx(measured, abs=1e-12)
        assert place["leaders"]["ndcg_at_20"][0] in ("popularity", "ALS")


def test_describe(here):
    (here / "log.tsv").write_text("1\t5\n1\t6\n2\t5\n1\t5\n")
    result = call("data", "describe", "log.tsv")
    assert result.exit_code == 0, result.output
    for word in ("users", "items", "distinct pairs", "density", "merged"):
        assert word in result.stdout


@pytest.mark.slow
def test_a_store_that_is_down_loses_nothing(here, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    result = call("benchmark", "tiny.yaml", "--set", "seeds=[0]")
    assert result.exit_code == 3, result.output
    assert result.stdout.count("MLflow cannot be used") == 1
    assert "buir sync --out results/tiny --tracking-uri http://127.0.0.1:9" in result.stdout
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    result = call("sync")
    assert result.exit_code == 0, result.output
    assert "MLflow has all runs on synthetic." in result.stdout
    assert call("sync", "--tracking-uri", "http://127.0.0.1:9").exit_code == 1


_CHEAP = """
import sys
from buir.cli.app import app
from typer.testing import CliRunner
result = CliRunner().invoke(app, ["--help"])
assert result.exit_code == 0 and "benchmark" in result.output, result.output
print(sorted({"mlflow", "torch_geometric", "implicit", "optuna", "matplotlib"} & set(sys.modules)))
"""


def commands(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_is_told_in_a_sentence_with_an_example(path):
    told, *_, example = COMMANDS[path].help.split("\n\n")
    summary = re.match(r"[A-Z][^.]*\.", told)[0]
    listed = call(*path[:-1], "--help").stdout
    assert re.search(rf"^  {path[-1]} +{re.escape(summary)}$", listed, re.MULTILINE)  # whole, on its line
    found = re.fullmatch(r"Example: (buir .*?)(?: > .*)?", example.strip())
    words = shlex.split(found[1])
    assert words[1 : 1 + len(path)] == list(path)
    options = {name for parameter in COMMANDS[path].params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
    assert all(parameter.help for parameter in COMMANDS[path].params)


def test_help_is_cheap():
    done = subprocess.run([sys.executable, "-c", _CHEAP], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_the_user_interface_starts_and_stops(here):
    assert call("benchmark", "tiny.yaml", "--set", "seeds=[0]").exit_code == 0
    command = [sys.executable, "-u", "-m", "buir", "ui", "--port", "5600"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": ""})
    assert process.stdout is not None
    with process.stdout:
        lines = [process.stdout.readline() for _ in range(3)]
        (link,) = re.findall(r"^buir-tiny-synthetic: (http://127\.0\.0\.1:\d+)/#/experiments/\d+/runs\?", lines[1])
        assert store.answers(link)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    end = time.monotonic() + 10
    while store.answers(link, seconds=0.5) and time.monotonic() < end:
        time.sleep(0.2)
    assert not store.answers(link, seconds=0.5)


def test_the_version():
    from importlib.metadata import version

    result = call("--version")
    assert (result.exit_code, result.stdout) == (0, f"{version('buir')}\n")


def test_sizes_of_made_up_data_are_checked_by_name(here):
    for value, expected in (
        ("many", "synthetic: n_users is 'many', expected a whole number of at least 1"),
        ("-80", "synthetic: n_users is -80, expected a whole number of at least 1"),
    ):
        assert fails(1, "benchmark", "tiny.yaml", "--set", f"data.options.n_users={value}") == f"error: {expected}\n"


def test_data_in_place_of_a_configuration_are_not_repeated(here):
    (here / "r.txt").write_text("1 2 3 4\n" * 4_000)
    message = fails(2, "benchmark", "r.txt")
    assert message.startswith("error: r.txt: holds '1 2 3 4 1 2 3 4")
    assert message.endswith("... (text), expected keys such as 'data:' and 'models:'\n")
    assert len(message) < 200
