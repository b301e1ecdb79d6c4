"""What all pictures share: no Matplotlib before the first, no global state, colours, and a notebook that shows them."""

import ast
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from buir import plots
from buir.errors import NotInstalledError


def test_only_the_picture_itself_imports_matplotlib_at_its_top():
    for file in sorted(Path(plots.__file__).parent.glob("*.py")):
        tops = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert any("matplotlib" in ast.unparse(node) for node in tops) == (file.name == "picture.py")


def test_a_light_installation_is_told_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("matplotlib", "buir.plots.picture"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(NotInstalledError, match="a picture needs matplotlib, which is not installed here"):
        plots.spectrum(np.eye(2))


def test_nothing_global_is_touched_and_a_notebook_shows_the_picture():
    before, pyplot = dict(mpl.rcParams), "matplotlib.pyplot" in sys.modules
    figure = plots.spectrum(np.eye(2))
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert dict(mpl.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == pyplot


def test_colours_are_fixed_and_distinct():
    known = ["BUIR-nb", "BUIR-id", "BUIR-walk", "ALS", "BPR", "LMF", "item-KNN", "EASE", "LightGCN", "Contrastive"]
    known += ["popularity"]
    assert len(set(plots.model_colours(known).values())) == len(known)
    more = plots.model_colours([*known, *(f"mine-{i}" for i in range(8))])
    assert len(set(more.values())) == len(more)
    assert plots.model_colours(["ALS", "mine-1"])["mine-1"] == plots.model_colours(["mine-1"])["mine-1"]
    many = plots.model_colours([f"mine-{i}" for i in range(20)])
    assert all(colour.startswith("#") for colour in many.values())


def test_shared_axes_hold_what_comes_second():
    left, right = Figure().subplots(1, 2, sharey=True)
    plots.spectrum(np.eye(4), ax=left)
    plots.spectrum(np.diag([9.0, 1.0]), ax=right)
    low, high = left.get_ylim()
    assert low == 0
    assert high > 0.9
