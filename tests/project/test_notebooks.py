"""The notebooks run, and the paired files hold the same cells."""

import importlib.util
from pathlib import Path

import jupytext
import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
SCRIPTS = sorted(FOLDER.glob("[0-9]*.py"))
MOST_BYTES = 300_000
"""Of a notebook with its outputs: every version stays in the repository."""


def builder():
    spec = importlib.util.spec_from_file_location("notebook_builder", FOLDER / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("default")  # the kernel's client opens event loops of its own
@pytest.mark.parametrize(
    "script",
    [pytest.param(one, marks=[pytest.mark.slow] if place else [], id=one.stem) for place, one in enumerate(SCRIPTS)],
)
def test_a_notebook_runs(script, monkeypatch):
    # a store that a test before has set is left in the environment by MLflow, and would be that of the kernel
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    build = builder()
    done = build.execute(build.read(script, smoke=True), timeout=600)
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error"] == []
    assert any("image/png" in output.get("data", {}) for output in outputs)
    warned = [output.text for output in outputs if output.get("name") == "stderr" and "Warning" in output.text]
    assert warned == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_pair_holds_the_same_cells(script):
    paired = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    source = jupytext.read(script)
    assert [(cell.cell_type, cell.source) for cell in paired.cells] == [
        (cell.cell_type, cell.source) for cell in source.cells
    ]
    assert all(cell.execution_count for cell in paired.cells if cell.cell_type == "code")
    assert script.with_suffix(".ipynb").stat().st_size < MOST_BYTES


def test_the_switch_is_turned():
    build = builder()
    for script in SCRIPTS:
        assert "SMOKE = True" in "".join(cell.source for cell in build.read(script, smoke=True).cells)
        assert "SMOKE = True" not in "".join(cell.source for cell in build.read(script, smoke=False).cells)
