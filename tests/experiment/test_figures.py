"""The figure shows the intervals of the findings, in fixed colours, without touching Matplotlib's global state."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer

from buir.experiment.report.figures import sparsity_figure
from buir.experiment.statistics.findings import find
from buir.experiment.statistics.summary import Summary
from buir.plots import model_colours
from tests.support.records import make_cells

MEANS = {"BUIR-nb": (0.2, 0.4), "ALS": (0.1, 0.5), "popularity": (0.15, 0.2)}


def bars(axes) -> dict[str, ErrorbarContainer]:
    return {str(c.get_label()): c for c in axes.containers if isinstance(c, ErrorbarContainer)}


def found_in(means, **cells):
    records, frames = make_cells(means, **cells)
    return records, find(records, frames.__getitem__)


def test_points_and_bars_are_those_of_the_findings(monkeypatch):
    _, found = found_in(MEANS)
    # the figure shows what the statistics module said, and asks it nothing
    monkeypatch.setattr(Summary, "interval", lambda *_: pytest.fail("computed again"))
    before = dict(mpl.rcParams)
    figure = sparsity_figure(found, ("recall_at_20", "ndcg_at_20"))
    assert dict(mpl.rcParams) == before
    assert [axes.get_ylabel() for axes in figure.axes] == ["Recall@20", "NDCG@20"]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["20", "50"]
    drawn = bars(figure.axes[1])
    assert set(drawn) == set(MEANS)
    for name, container in drawn.items():
        intervals = [part.intervals[name, "ndcg_at_20"] for part in found]
        line, _, (sticks,) = container.lines
        np.testing.assert_allclose(
            np.asarray(line.get_ydata(), dtype=float), [interval.value for interval in intervals]
        )
        ends = np.array([segment[:, 1] for segment in sticks.get_segments()], dtype=float)
        np.testing.assert_allclose(ends, [[interval.low, interval.high] for interval in intervals])
        assert to_hex(line.get_color()) == model_colours([name])[name]
    assert "95 % intervals over users, model seeds" in figure.get_suptitle()


def test_levels_are_drawn_in_rising_order_with_the_confidence_of_the_findings():
    records, frames = make_cells({"ALS": (0.1, 0.5)})
    found = [replace(part, confidence=0.8) for part in find(records, frames.__getitem__)]
    figure = sparsity_figure(found[::-1])
    assert [axes.get_ylabel() for axes in figure.axes] == ["NDCG@20", "Recall@20"]
    low, high = np.asarray(bars(figure.axes[0])["ALS"].lines[0].get_ydata(), dtype=float)
    assert low < high
    assert "80 % intervals" in figure.get_suptitle()


def test_a_model_may_miss_a_level():
    records, frames = make_cells(MEANS)
    records = [replace(r, status="refused") if (r.model, r.level) == ("ALS", 0.5) else r for r in records]
    figure = sparsity_figure(find(records, frames.__getitem__), ("ndcg_at_20",))
    assert len(bars(figure.axes[0])["ALS"].lines[0].get_ydata()) == 1
    assert len(bars(figure.axes[0])["BUIR-nb"].lines[0].get_ydata()) == 2


def test_levels_of_the_authors_protocol_are_not_joined():
    drawn = {}
    for protocol in ("nested", "author"):
        _, found = found_in(MEANS, protocol=protocol)
        figure = sparsity_figure(found)
        drawn[protocol] = {container.lines[0].get_linestyle() for container in bars(figure.axes[0]).values()}
        warned = "the test set shrinks as the level grows: compare models within a level" in figure.get_suptitle()
        assert warned == (protocol == "author")
    assert drawn == {"nested": {"-"}, "author": {"None"}}


def test_one_data_set_a_figure():
    _, found = found_in(MEANS, datasets=("a", "b"))
    with pytest.raises(ValueError, match=r"one data set, got \['a', 'b'\]; draw one figure for each"):
        sparsity_figure(found)
    with pytest.raises(ValueError, match="got no findings"):
        sparsity_figure([])
