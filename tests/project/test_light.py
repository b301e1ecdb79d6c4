"""The light installation: one model is fitted, kept and asked without what only the benchmark needs."""

import json
import os
import re
import subprocess
import sys
import tomllib
import venv
from functools import partial
from importlib import metadata
from pathlib import Path

import pytest

from buir import errors
from buir.errors import NotInstalledError, needing

ROOT = Path(__file__).parents[2]
SERVING = ROOT / "requirements" / "serving.txt"
REQUIRED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]

LIBRARY = """
import io, json
import numpy as np
import pandas as pd
from scipy.sparse import csr_array
import buir
from buir import BUIR, Interactions, evaluate
from buir.data import datasets, doctor, nested_split, read

whole = datasets.load("synthetic", n_users=60, n_items=40, n_pairs=600, n_groups=4, seed=0)
split = nested_split(whole, 1.0)
model = BUIR(epochs=2, embedding_dim=8, inner_validation=False, terms={"popularity": 0.2}).fit(
    split.train, show_progress=False
)
file = io.BytesIO()
model.save(file)
file.seek(0)
back = BUIR.load(file)
everybody = np.arange(model.n_users)
ids, scores = back.recommend(everybody, N=4)
seen["same"] = bool(np.array_equal(ids, model.recommend(everybody, N=4)[0]))
seen["shape"] = list(ids.shape)
seen["rows"] = len(back.recommend_frame(split.train.user_ids[:3], k=4))
seen["alike"] = int(back.similar_items(np.arange(back.n_items), N=5)[0][3, 0])
seen["explained"] = back.explain(split.train.user_ids[0], back.item_ids_[ids[0][0]]) is not None
back.partial_fit(pd.DataFrame({"user": [-1, -1], "item": split.train.item_ids[:2]}), epochs=1, show_progress=False)
seen["grown"] = back.n_users - model.n_users
seen["ndcg"] = float(evaluate(model, split.train, split.test, ks=[10]).means["ndcg_at_10"])
whole.to_frame()[["user", "item"]].to_csv("pairs.csv", index=False)
seen["read"] = read("pairs.csv").n_pairs == whole.n_pairs
"""

COMMANDS = """
import contextlib, io
from pathlib import Path
from buir.cli import main

# sixty users of forty items: ten each in a row to learn from, then two to be found
for name, taken in (("pairs", range(10)), ("test", range(10, 12))):
    lines = [f"{user},{(7 * user + step) % 40}" for user in range(60) for step in taken]
    Path(f"{name}.csv").write_text("\\n".join(["user,item", *lines]) + "\\n")

def run(*words):
    sys.argv = ["buir", *words]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    return [code, out.getvalue(), err.getvalue()]

seen["describe"] = run("data", "describe", "pairs.csv")
seen["fit"] = run("fit", "pairs.csv", "--out", "model.safetensors", "--set", "epochs=1", "--set", "embedding_dim=8")
seen["recommend"] = run("recommend", "model.safetensors", "--user", "1", "--k", "3")
seen["parquet"] = run("recommend", "model.safetensors", "--out", "lists.parquet", "--k", "3")
seen["evaluate"] = run("evaluate", "model.safetensors", "test.csv", "--k", "5")
seen["benchmark"] = run("benchmark", "quickstart", "--out", "results")
"""

REFUSALS = """
def told(ask):
    try:
        ask()
    except ImportError as error:
        return [type(error).__name__, str(error)]

from buir import baselines, experiment
seen["popularity"] = baselines.Popularity().fit(whole).recommend(range(60), N=3)[0][0].tolist()
seen["als"] = told(lambda: baselines.ALS)
seen["lightgcn"] = told(lambda: baselines.LightGCN)
seen["compare"] = told(lambda: experiment.compare)
seen["graph"] = told(whole.to_hetero_data)
"""


def name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0]


def light() -> list[str]:
    return [line for line in SERVING.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def blocked() -> list[str]:
    """Modules of what only the whole installation has."""
    names = {name_of(entry) for entry in REQUIRED} - {name_of(entry) for entry in light()}
    return sorted({name.partition(".")[0].replace("-", "_") for name in names})


def test_the_light_requirements_are_a_few_of_the_whole_ones():
    assert len(light()) <= 11
    assert set(light()) <= set(REQUIRED)
    assert {"mlflow", "implicit", "torch_geometric", "optuna", "matplotlib", "pydantic", "jinja2", "filelock"} <= set(
        blocked()
    )


def run_blocked(code: str, folder: Path, *, spared: str = "") -> dict:
    """Run code where what only the whole installation has cannot be imported; it fills `seen`, which comes back."""
    names = [name for name in blocked() if name != spared]
    program = f"""
import json, sys
import importlib.abc
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
seen = {{}}
{code}
print(json.dumps(seen))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def check_library(seen: dict) -> None:
    assert seen["same"]
    assert seen["shape"] == [60, 4]
    assert seen["rows"] == 12
    assert seen["alike"] == 3
    assert seen["explained"]
    assert seen["grown"] == 1
    assert 0 < seen["ndcg"] < 1
    assert seen["read"]


def check_commands(seen: dict) -> None:
    codes = {name: code for name, (code, _, _) in seen.items()}
    assert codes == {"describe": 0, "fit": 0, "recommend": 0, "parquet": 0, "evaluate": 0, "benchmark": 1}, seen
    assert "distinct pairs  600" in seen["describe"][1]
    assert seen["fit"][1].startswith("model.safetensors: BUIR, encoder walk, 60 users")
    assert seen["recommend"][1].splitlines()[0] == "user,item,score,rank"
    assert len(seen["recommend"][1].splitlines()) == 4
    assert seen["parquet"][1] == "lists.parquet: 180 rows, lists for 60 users\n"
    assert seen["evaluate"][1].startswith("test.csv: 120 pairs, 120 measured")


def test_one_model_needs_nothing_of_the_benchmark(tmp_path):
    seen = run_blocked(f"{LIBRARY}\n{REFUSALS}", tmp_path)
    check_library(seen)
    assert len(seen["popularity"]) == 3
    for asked, what, module in (
        ("als", "baselines.ALS", "implicit"),
        ("lightgcn", "baselines.LightGCN", "torch_geometric"),
        ("graph", "a graph of PyG", "torch_geometric"),
    ):
        said = f"{what} needs {module}, which is not installed here (a light installation goes without): "
        # the package is only hidden here, so that the command can say no more than its name
        assert seen[asked] == ["NotInstalledError", f"{said}pip install {module}"]
    kind, said = seen["compare"]
    assert kind == "NotInstalledError"
    assert re.fullmatch(r"comparing models needs \w+, which is not installed here \(a .*\): pip install \w+", said)


def test_the_commands_of_one_model_need_nothing_of_the_benchmark(tmp_path):
    # typer, which the light installation has, is made of pydantic in its later versions
    seen = run_blocked(COMMANDS, tmp_path, spared="pydantic")
    check_commands(seen)
    said = r"error: this command needs \w+, which is not installed here \(a light .*\): pip install \w+\n"
    assert re.fullmatch(said, seen["benchmark"][2])


@pytest.fixture
def half_installed(monkeypatch):
    """The project's requirements are known, and two of them are not installed."""
    lines = ["torch>=2.6", "mlflow<4,>=3.15", "torch_geometric>=2.6", 'faiss-cpu>=1.9; extra == "ann"']

    def version(name: str) -> str:
        if name == "torch":
            return "2.6"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", lambda _: lines)
    monkeypatch.setattr(metadata, "version", version)


@pytest.mark.parametrize(
    ("missing", "whole", "command"),
    [
        ("torch_geometric.data", False, "pip install 'torch_geometric>=2.6'"),
        ("mlflow", False, "pip install 'mlflow<4,>=3.15'"),
        ("pydantic_core", True, "pip install 'mlflow<4,>=3.15' 'torch_geometric>=2.6'"),
        ("sqlalchemy.orm", False, "pip install sqlalchemy"),
    ],
)
def test_the_command_installs_what_is_missing_in_its_range(half_installed, missing, whole, command):
    with pytest.raises(NotInstalledError) as raised, needing("this", whole=whole):
        raise ModuleNotFoundError(name=missing)
    start = f"this needs {missing.partition('.')[0]}, which is not installed here (a light installation goes without)"
    assert str(raised.value) == f"{start}: {command}"
    assert isinstance(raised.value, ImportError)


def test_without_metadata_the_command_names_the_module(monkeypatch):
    def unknown(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", unknown)
    assert errors._absent_requirements() == {}


@pytest.mark.parametrize("name", ["buir.nothing", "baselines.nothing", "buir_baselines.nothing", None])
def test_a_missing_module_of_our_own_is_a_defect(name):
    with pytest.raises(ModuleNotFoundError) as raised, needing("this"):
        raise ModuleNotFoundError(name=name)
    assert raised.value.name == name


def test_a_model_is_loaded_and_asked_without_what_reads_frames_and_compiles(tmp_path):
    code = """
from buir import BUIR
from buir.data import datasets
train = datasets.load("synthetic", n_users=60, n_items=40, n_pairs=600, n_groups=4, seed=0)
model = BUIR(epochs=1, embedding_dim=8, inner_validation=False, terms={}).fit(train, show_progress=False)
model.save("model.safetensors")
seen["length"] = BUIR.load("model.safetensors").recommend(range(60), N=4)[0].shape[1]
seen["loaded"] = [name for name in ("narwhals", "torch._dynamo", "sympy", "pydantic", "typer") if name in sys.modules]
"""
    seen = run_blocked(code, tmp_path)
    assert seen["length"] == 4
    assert seen["loaded"] == []


@pytest.mark.slow
def test_a_fresh_environment_of_the_light_requirements_serves(wheel_file, tmp_path):
    home, work = tmp_path / "light", tmp_path / "work"
    work.mkdir()
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    run = partial(subprocess.run, cwd=work, env=environment, capture_output=True, text=True, check=False)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    index = os.environ.get("BUIR_TORCH_INDEX")
    torch = [["--index-url", index, "-c", ROOT / "constraints.txt", "torch"]] if index else []
    for what in (*torch, ["-c", ROOT / "constraints.txt", "-r", SERVING], ["--no-deps", wheel_file]):
        done = run([*pip, *map(str, what)])
        assert done.returncode == 0, done.stderr
    installed = {
        entry["name"].lower() for entry in json.loads(run([python, "-m", "pip", "list", "--format=json"]).stdout)
    }
    assert {"buir", "torch", "typer"} <= installed
    assert not installed & {"mlflow", "implicit", "torch-geometric", "optuna", "matplotlib", "ruamel.yaml"}

    def filled(code: str) -> dict:
        program = f"import json, sys\nseen = {{}}\n{code}\nprint(json.dumps(seen))"
        done = run([python, "-W", "error", "-c", program])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    check_library(filled(LIBRARY))
    seen = filled(COMMANDS)
    check_commands(seen)
    # the command to install names all that a benchmark needs, and none of what is there
    words = seen["benchmark"][2].strip().rpartition("pip install ")[2].split()
    named = {name_of(word.strip("'")).replace(".", "-") for word in words}
    assert {"mlflow", "implicit", "torch-geometric", "optuna", "ruamel-yaml"} <= named
    assert not named & {name_of(entry) for entry in light()}
    script = run([home / "bin" / "buir", "recommend", "model.safetensors", "--user", "1", "--k", "2"])
    assert len(script.stdout.splitlines()) == 3, script.stderr
