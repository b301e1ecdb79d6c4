"""What is shipped, and what importing it does and does not do."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from functools import partial
from importlib import metadata
from pathlib import Path

import pytest

import baselines
import buir

ROOT = Path(__file__).parents[2]


def names_below(folder: str, pattern: str) -> set[str]:
    return {file.relative_to(ROOT).as_posix() for file in (ROOT / folder).rglob(pattern)}


@pytest.fixture(scope="module")
def wheel(wheel_file) -> zipfile.ZipFile:
    return zipfile.ZipFile(wheel_file)


def test_the_wheel_holds_the_packages_and_what_they_read(wheel):
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    code = (
        names_below("buir", "*.py") | {f"buir_{name}" for name in names_below("baselines", "*.py")} | {"buir/py.typed"}
    )
    configs = {f"buir/{name}" for name in names_below("configs", "*.yaml") | {"configs/schema.json"}}
    assert configs
    read = names_below("buir", "*.json") | names_below("buir", "*.j2")
    assert {"buir/experiment/tracking/note.md.j2", "buir/experiment/tracking/views.json"} <= read
    assert {f"buir/experiment/report/templates/report.{form}.j2" for form in ("html", "md")} <= read
    assert shipped == code | configs | read


def test_the_wheel_carries_the_licence_and_the_command(wheel):
    info = {Path(name).name: wheel.read(name).decode() for name in wheel.namelist() if ".dist-info/" in name}
    assert info["LICENSE"].startswith("MIT License")
    assert "buir = buir.cli:main" in info["entry_points.txt"]
    assert "Requires-Python: >=3.11" in info["METADATA"]
    assert "License-Expression: MIT" in info["METADATA"]


CONFIG = """
name: tiny
data:
  - {dataset: synthetic, options: {n_users: 60, n_items: 40, n_pairs: 600, n_groups: 4, seed: 0}}
protocol: {kind: nested, levels: [1.0]}
metrics: {ks: [5, 20]}
models:
  - {kind: popularity}
  - {kind: als, params: {factors: 4, iterations: 2}}
  - {kind: buir, params: {embedding_dim: 4, epochs: 1, batch_size: 64, device: cpu}}
"""


@pytest.mark.slow
def test_what_is_installed_compares_with_its_own_baselines_wherever_it_runs(wheel_file, tmp_path):
    site, work = tmp_path / "site", tmp_path / "work"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", str(site)]
    subprocess.run([*pip, str(wheel_file)], check=True)
    write_decoy(work)
    (work / "tiny.yaml").write_text(CONFIG)
    environment = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    run = partial(subprocess.run, cwd=work, env=environment, capture_output=True, text=True, check=False)
    say = "import buir; from buir import baselines; print(buir.__file__, baselines.__file__, baselines.ALS.__module__)"
    told = run([sys.executable, "-c", say]).stdout.split()
    homes = [str(site / name / "__init__.py") for name in ("buir", "buir_baselines")]
    assert told == [*homes, "buir_baselines.implicit_models"]
    start = "from buir.cli import main; main()"  # with -c the folder with the decoy is first in the path
    done = run([sys.executable, "-c", start, "benchmark", "tiny.yaml", "--out", "out", "--jobs", "2"])
    assert done.returncode == 0, done.stderr
    records = [json.loads(file.read_text()) for file in sorted((work / "out" / "cells").glob("*.json"))]
    assert sorted((record["model"], record["status"]) for record in records) == [
        ("ALS", "ok"),
        ("BUIR", "ok"),
        ("popularity", "ok"),
    ]
    assert all(0 < record["metrics"]["ndcg_at_20"] < 1 for record in records)


def write_decoy(folder: Path) -> None:
    """Somebody else's package of the name that ours has in a checkout."""
    (folder / "baselines").mkdir(parents=True)
    (folder / "baselines" / "__init__.py").write_text("class ALS:\n    pass\n")


def test_a_checkout_never_takes_somebody_elses_baselines(tmp_path):
    assert buir.baselines is baselines
    write_decoy(tmp_path)
    code = f"""
sys.path[:0] = [{str(ROOT)!r}]
import buir
sys.path[:0] = [{str(tmp_path)!r}]
try:
    from buir import baselines
except ImportError as error:
    seen["said"] = str(error)
"""
    expected = f"baselines is imported from {tmp_path / 'baselines'}, expected {ROOT / 'baselines'}: "
    assert after_import(code)["said"].startswith(expected)


def after_import(code: str) -> dict:
    """Run code in a fresh interpreter; it fills the dictionary `seen`, which comes back."""
    program = f"import json, sys\nseen = {{}}\n{code}\nprint(json.dumps(seen))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_import_leaves_the_heavy_ones_alone():
    heavy = ["mlflow", "implicit", "torch_geometric", "baselines", "matplotlib", "optuna", "buir.experiment"]
    seen = after_import(f"import buir\nseen['loaded'] = [name for name in {heavy!r} if name in sys.modules]")
    assert seen["loaded"] == []


def test_import_waits_with_torch_until_it_is_asked_for():
    code = """
import buir
seen["before"] = [name for name in ("torch", "pandas", "scipy", "numpy") if name in sys.modules]
seen["listed"] = [name for name in buir.__all__ if name in dir(buir)]
from buir import BUIR, Interactions, recommend_frame
seen["homes"] = [found.__module__ for found in (BUIR, Interactions, recommend_frame)]
seen["same"] = [getattr(buir, name) is found for name, found in zip(buir.__all__, (BUIR, Interactions, buir.evaluate, recommend_frame))]
seen["after"] = "torch" in sys.modules
"""
    seen = after_import(code)
    assert seen["before"] == []
    assert seen["listed"] == ["BUIR", "Interactions", "evaluate", "recommend_frame"]
    assert seen["homes"] == ["buir.model.estimator", "buir.data.interactions", "buir.recommend.foreign"]
    assert seen["same"] == [True, True, True, True]
    assert seen["after"]


def test_a_module_is_there_without_an_import_of_its_own_and_a_misspelt_name_is_told():
    code = """
import buir
seen["module"] = buir.data.files.readers.read.__module__
try:
    buir.BIUR
except AttributeError as error:
    seen["said"] = str(error)
seen["private"] = hasattr(buir, "_nothing") or hasattr(buir, "__wrapped__")
"""
    seen = after_import(code)
    assert seen["module"] == "buir.data.files.readers"
    assert seen["said"] == "module 'buir' has no attribute 'BIUR'; it has BUIR, Interactions, evaluate, recommend_frame"
    assert not seen["private"]


def test_a_file_is_described_without_torch(tmp_path):
    (tmp_path / "pairs.csv").write_text("user,item\n1,2\n")
    code = f"""
import contextlib, io
sys.argv = ["buir", "data", "describe", {str(tmp_path / "pairs.csv")!r}]
from buir.cli.app import main
shown = io.StringIO()
with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
    main()
seen["shown"] = shown.getvalue()
seen["torch"] = "torch" in sys.modules
"""
    seen = after_import(code)
    assert "distinct pairs  1" in seen["shown"]
    assert not seen["torch"]


def test_import_changes_nothing_outside():
    code = """
import os, random, threading
import numpy, torch
random.seed(7); numpy.random.seed(7); torch.manual_seed(7); torch.set_num_threads(1)
def state():
    numbers = numpy.random.get_state()
    return [hash(random.getstate()), numbers[1].tolist(), numbers[2], torch.get_rng_state().tolist(), torch.get_num_threads(),
            torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(), str(torch.get_default_dtype()),
            os.getcwd(), dict(os.environ), threading.active_count()]
before = state()
import buir
for name in buir.__all__:
    getattr(buir, name)
seen["same"] = before == state()
"""
    assert after_import(code)["same"]


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["fit", "-h"], ["data", "describe", "--help"]])
def test_help_is_light(words):
    code = f"""
import contextlib, io
sys.argv = ["buir", *{words!r}]
from buir.cli.app import main
shown = io.StringIO()
with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
    main()
seen["help"] = shown.getvalue()
heavy = ("torch", "pandas", "scipy", "pyarrow", "narwhals", "mlflow", "implicit", "torch_geometric")
seen["loaded"] = [name for name in heavy if name in sys.modules]
"""
    seen = after_import(code)
    assert seen["help"].startswith(f"Usage: {' '.join(['buir', *words[:-1]])} [OPTIONS]")
    assert "-h, --help" in seen["help"]
    assert ("benchmark" in seen["help"]) == (len(words) == 1)
    assert seen["loaded"] == []


def run_as_module(*words: str, **environment: str) -> str:
    command = [sys.executable, "-W", "error", "-m", "buir", *words]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert not done.stderr
    return done.stdout


def test_python_m_buir_is_the_command():
    assert run_as_module("--version").strip() == buir.__version__
    assert run_as_module("-h").startswith("Usage: buir [OPTIONS] COMMAND")


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("buir rec", ["recommend"]), ("buir data de", ["describe"]), ("buir fit --min-r", ["--min-rating"])],
)
def test_the_shell_completes_commands_and_options(typed, completed):
    place = str(len(typed.split()) - 1)
    assert run_as_module(_BUIR_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=place).split() == completed


def test_the_script_of_the_completion_is_for_buir():
    shown = run_as_module("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_BUIR_COMPLETE=complete_bash" in shown
    assert shown.rstrip().endswith("buir")


def test_constraints_are_exact_and_cover_what_the_project_names():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", pin) for pin in pins)
    pinned = {canonical(pin) for pin in pins}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = [entry for group in settings["dependency-groups"].values() for entry in group if isinstance(entry, str)]
    named = {canonical(entry) for entry in settings["project"]["dependencies"] + groups}
    assert named <= pinned
    assert "torch==2.13.0" in pins


def canonical(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def test_the_version_is_written_once():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    seen = after_import("import buir\nseen['version'] = buir.__version__")
    assert seen["version"] == settings["project"]["version"] == metadata.version("buir")
