"""The figure shows the intervals of the records, in fixed colours, without touching Matplotlib's global state."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer

from buir.experiment import models
from buir.experiment.figures import metric_label, sparsity_figure
from buir.experiment.panel import make_panels
from buir.experiment.statistics import Summary
from tests.support.records import make_cells

MEANS = {"BUIR-nb": (0.2, 0.4), "ALS": (0.1, 0.5), "popularity": (0.15, 0.2)}


def bars(axes) -> dict[str, ErrorbarContainer]:
    return {str(c.get_label()): c for c in axes.containers if isinstance(c, ErrorbarContainer)}


def test_points_and_bars_are_those_of_the_statistics():
    records, frames = make_cells(MEANS)
    read_users = frames.__getitem__
    before = dict(mpl.rcParams)
    figure = sparsity_figure(records, read_users, ("recall_at_20", "ndcg_at_20"))
    assert dict(mpl.rcParams) == before
    assert [axes.get_ylabel() for axes in figure.axes] == ["Recall@20", "NDCG@20"]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["20", "50"]
    panels = make_panels(records, read_users, ("recall_at_20", "ndcg_at_20"))
    drawn = bars(figure.axes[1])
    assert set(drawn) == set(MEANS)
    for name, container in drawn.items():
        intervals = [Summary(panel).interval(name, "ndcg_at_20") for panel in panels]
        line, _, (sticks,) = container.lines
        np.testing.assert_allclose(
            np.asarray(line.get_ydata(), dtype=float), [interval.value for interval in intervals]
        )
        ends = np.array([segment[:, 1] for segment in sticks.get_segments()], dtype=float)
        np.testing.assert_allclose(ends, [[interval.low, interval.high] for interval in intervals])
        assert to_hex(line.get_color()) == models.colours([name])[name]
    assert "95 % intervals over users, model seeds" in figure.get_suptitle()


def test_a_model_may_miss_a_level():
    records, frames = make_cells(MEANS)
    read_users = frames.__getitem__
    for record in records:
        if record["model"] == "ALS" and record["level"] == 0.5:
            record["status"] = "refused"
    figure = sparsity_figure(records, read_users, ("ndcg_at_20",))
    assert len(bars(figure.axes[0])["ALS"].lines[0].get_ydata()) == 1
    assert len(bars(figure.axes[0])["BUIR-nb"].lines[0].get_ydata()) == 2


def test_one_data_set_a_figure():
    records, frames = make_cells(MEANS, datasets=("a", "b"))
    read_users = frames.__getitem__
    with pytest.raises(ValueError, match=r"one data set, got \['a', 'b'\]; draw one figure for each"):
        sparsity_figure(records, read_users)
    with pytest.raises(ValueError, match="got no records"):
        sparsity_figure([], read_users)


def test_labels():
    assert metric_label("ndcg_at_20") == "NDCG@20"
    assert metric_label("capped_precision_at_5") == "Capped precision@5"
    assert metric_label("loss") == "loss"


def test_colours_are_fixed_and_distinct():
    known = ["BUIR-nb", "BUIR-id", "BUIR-walk", "ALS", "BPR", "LMF", "item-KNN", "EASE", "LightGCN", "popularity"]
    assert len(set(models.colours(known).values())) == len(known)
    more = models.colours([*known, *(f"mine-{i}" for i in range(8))])
    assert len(set(more.values())) == len(more)
    assert models.colours(["ALS", "mine-1"])["mine-1"] == models.colours(["mine-1"])["mine-1"]
    many = models.colours([f"mine-{i}" for i in range(20)])
    assert all(colour.startswith("#") for colour in many.values())
