"""The figure shows the intervals of the findings, in fixed colours, without touching Matplotlib's global state."""

from dataclasses import replace
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer

from buir.errors import InputError
from buir.experiment.config import models
from buir.experiment.figures import score_figure
from buir.experiment.records.record import metric_label
from buir.experiment.report.figures import sparsity_figure
from buir.experiment.statistics.findings import find
from buir.experiment.statistics.summary import Summary
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
        assert to_hex(line.get_color()) == models.colours([name])[name]
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


def test_labels():
    assert metric_label("ndcg_at_20") == "NDCG@20"
    assert metric_label("capped_precision_at_5") == "Capped precision@5"
    assert metric_label("loss") == "loss"


def test_colours_are_fixed_and_distinct():
    known = ["BUIR-nb", "BUIR-id", "BUIR-walk", "ALS", "BPR", "LMF", "item-KNN", "EASE", "LightGCN", "Contrastive"]
    known += ["popularity"]
    assert len(set(models.colours(known).values())) == len(known)
    more = models.colours([*known, *(f"mine-{i}" for i in range(8))])
    assert len(set(more.values())) == len(more)
    assert models.colours(["ALS", "mine-1"])["mine-1"] == models.colours(["mine-1"])["mine-1"]
    many = models.colours([f"mine-{i}" for i in range(20)])
    assert all(colour.startswith("#") for colour in many.values())


def look(epoch: int, **shift: float) -> dict:
    return {"epoch": epoch, "scores": {kind: [s, s + 1, s + 2, s + 3, s + 4] for kind, s in shift.items()}}


def test_scores_are_medians_in_their_bands():
    history = [look(0, positive=0, other=0), look(2, positive=5, other=-1) | {"looks": [look(1, positive=3, other=1)]}]
    (axes,) = score_figure([*history, {"epoch": 3}], "mine").axes
    lines = {str(line.get_label()): np.asarray(line.get_xydata()).tolist() for line in axes.lines}
    assert lines == {
        "training pairs": [[0, 2], [1, 5], [2, 7]],
        "unobserved pairs": [[0, 2], [1, 3], [2, 1]],
    }
    inner, outer = (np.asarray(band.get_paths()[0].vertices) for band in axes.collections[:2])
    assert [inner[:, 1].min(), inner[:, 1].max()] == [1, 8]  # quartiles of the training pairs
    assert [outer[:, 1].min(), outer[:, 1].max()] == [0, 9]


def test_one_look_is_drawn_side_by_side():
    (axes,) = score_figure([look(15, positive=1, held_out=0, other=-1)]).axes
    spans = [(min(line.get_xdata()), max(line.get_xdata())) for line in axes.lines]
    assert len(spans) == 3
    assert all(before[1] < after[0] for before, after in pairwise(spans))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["15"]


def test_a_history_without_scores_is_an_error():
    with pytest.raises(InputError, match="no scores to draw; expected that of a fit with held-out pairs") as caught:
        score_figure([{"epoch": 1, "loss": 0.5}])
    assert caught.value.argument == "history"
