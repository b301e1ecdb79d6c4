"""Pictures of a fit draw the numbers of its history."""

from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from buir import plots
from buir.errors import InputError

RECORDS = [
    {"epoch": 0, "loss": float("nan"), "seconds": 0.0, "ndcg_at_20": 0.1, "coverage_at_20": 0.5, "best": True},
    {"epoch": 1, "loss": 0.9, "seconds": 1.0, "ndcg_at_20": 0.3, "coverage_at_20": 0.6, "best": True},
    {"epoch": 2, "loss": 0.7, "seconds": 2.0, "ndcg_at_20": 0.2, "coverage_at_20": 0.7, "best": False},
]


class Fitted:
    history = RECORDS


def lines(axes) -> dict[str, list]:
    return {str(line.get_label()): np.asarray(line.get_xydata()).tolist() for line in axes.lines}


def test_the_metric_the_best_epoch_and_the_loss():
    before = dict(mpl.rcParams)
    left, right = plots.history(Fitted()).axes
    assert dict(mpl.rcParams) == before
    assert lines(left)["NDCG@20"] == [[0, 0.1], [1, 0.3], [2, 0.2]]
    assert lines(left)["best: epoch 1, 0.3"] == [[1, 0.3]]
    assert [line.get_xdata()[0] for line in left.lines if line.get_linestyle() == "--"] == [1]
    (loss,) = right.lines
    assert np.asarray(loss.get_xydata()).tolist() == [[1, 0.9], [2, 0.7]]
    assert (left.get_xlabel(), left.get_ylabel(), right.get_ylabel()) == ("epoch", "NDCG@20", "loss (dotted)")


def test_another_number_and_given_axes():
    figure = Figure()
    axes = figure.subplots()
    assert plots.history(RECORDS, "coverage_at_20", ax=axes) is figure
    assert lines(axes)["best: epoch 1, 0.6"] == [[1, 0.6]]
    assert axes.get_ylabel() == "Coverage@20"


def test_without_validation_the_loss_alone():
    blind = [{"epoch": n, "loss": 1 / n, "seconds": 0.0, "effective_rank": 2.0, "best": False} for n in (1, 2)]
    (axes,) = plots.history(blind).axes
    assert lines(axes) == {"loss": [[1, 1], [2, 0.5]]}
    assert plots.history(blind, "effective_rank").axes[0].get_ylabel() == "effective rank"


@pytest.mark.parametrize("draw", [plots.history, plots.score_distributions])
def test_what_is_no_history_is_named(draw):
    for wrong in (3, "results", object()):
        with pytest.raises(InputError, match=f"is of type {type(wrong).__name__}, expected a fitted model") as caught:
            draw(wrong)
        assert caught.value.argument == "model"
    for empty in ([], [1, 2]):
        with pytest.raises(InputError, match="no records with an epoch"):
            draw(empty)
    with pytest.raises(InputError, match=r"ax is of type str, expected Matplotlib axes.*plt.subplots"):
        draw([look(1, positive=0) | {"loss": 1.0}], ax="left")


def test_unknown_numbers_are_named():
    with pytest.raises(InputError, match=r"no 'ndcg_at_10'; did you mean 'ndcg_at_20'\?; expected one of") as caught:
        plots.history(RECORDS, "ndcg_at_10")
    assert caught.value.argument == "metric"
    with pytest.raises(InputError, match="no 'best'"):
        plots.history(RECORDS, "best")


def look(epoch: int, **shift: float) -> dict:
    return {"epoch": epoch, "scores": {kind: [s, s + 1, s + 2, s + 3, s + 4] for kind, s in shift.items()}}


def test_scores_are_medians_in_their_bands():
    history = [look(0, positive=0, other=0), look(2, positive=5, other=-1) | {"looks": [look(1, positive=3, other=1)]}]
    (axes,) = plots.score_distributions([*history, {"epoch": 3}]).axes
    assert lines(axes) == {
        "training pairs": [[0, 2], [1, 5], [2, 7]],
        "unobserved pairs": [[0, 2], [1, 3], [2, 1]],
    }
    inner, outer = (np.asarray(band.get_paths()[0].vertices) for band in axes.collections[:2])
    assert [inner[:, 1].min(), inner[:, 1].max()] == [1, 8]  # quartiles of the training pairs
    assert [outer[:, 1].min(), outer[:, 1].max()] == [0, 9]


def test_one_look_is_drawn_side_by_side():
    (axes,) = plots.score_distributions([look(15, positive=1, held_out=0, other=-1)]).axes
    spans = [(min(line.get_xdata()), max(line.get_xdata())) for line in axes.lines]
    assert len(spans) == 3
    assert all(before[1] < after[0] for before, after in pairwise(spans))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["15"]


def test_a_history_without_scores_is_an_error():
    with pytest.raises(InputError, match="no scores to draw; expected that of a fit with held-out pairs") as caught:
        plots.score_distributions([{"epoch": 1, "loss": 0.5}])
    assert caught.value.argument == "model"
