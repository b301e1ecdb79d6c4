"""Pictures of several models draw the means of frames."""

import numpy as np
import pandas as pd
import pytest

from buir import plots
from buir.errors import InputError
from buir.experiment.records import tidy
from buir.ranking import Evaluation
from tests.support.records import make_cells

MEANS = {"ALS": (0.1, 0.5), "popularity": 0.2}


class Results:
    """Has a frame."""

    def __init__(self, table):
        self.table = table

    def frame(self):
        return self.table


def results(**cells):
    return tidy(make_cells(MEANS, **cells)[0])


def test_lines_are_means_and_dots_are_runs():
    table = results()
    for given in (table, Results(table)):
        (axes,) = plots.sparsity_curves(given).axes
        line, dots, *_ = axes.lines
        als = table[table["model"] == "ALS"]
        assert line.get_label() == "ALS"
        means = als.groupby("train_pct")["ndcg_at_20"].mean()
        np.testing.assert_allclose(np.asarray(line.get_xydata()), [*means.items()])
        np.testing.assert_allclose(dots.get_ydata(), als["ndcg_at_20"])
        assert line.get_color() == plots.model_colours(["ALS"])["ALS"]
        assert [text.get_text() for text in axes.get_xticklabels()] == ["20", "50"]
        assert axes.get_ylabel() == "NDCG@20"


def test_a_refused_run_is_left_out_and_the_authors_levels_are_not_joined():
    table = results(protocol="author")
    table.loc[(table["model"] == "ALS") & (table["train_pct"] == 50), "ndcg_at_20"] = np.nan
    (axes,) = plots.sparsity_curves(table).axes
    assert list(axes.lines[0].get_xdata()) == [20]
    assert {line.get_linestyle() for line in axes.lines} == {"None"}


def test_one_data_set_a_picture():
    table = results(datasets=("a", "b"))
    with pytest.raises(InputError, match=r"several of dataset, \['a', 'b'\], expected one.*dataset=\"...\""):
        plots.sparsity_curves(table)
    (axes,) = plots.sparsity_curves(table, "recall_at_20", dataset="b").axes
    mine = table[(table["dataset"] == "b") & (table["model"] == "popularity")]
    np.testing.assert_allclose(axes.lines[3].get_ydata(), mine["recall_at_20"])
    with pytest.raises(InputError, match="no data set 'c'") as caught:
        plots.sparsity_curves(table, dataset="c")
    assert caught.value.argument == "dataset"


def test_what_are_no_results():
    with pytest.raises(InputError, match=r"of type str, expected results or their frame, such as .*Results.open"):
        plots.sparsity_curves("results/quickstart")
    with pytest.raises(InputError, match="lacks the columns"):
        plots.sparsity_curves(results().drop(columns="model"))
    with pytest.raises(InputError, match=r"no metric 'ndcg_at_10'; did you mean 'ndcg_at_20'\?"):
        plots.sparsity_curves(results(), "ndcg_at_10")
    with pytest.raises(InputError, match="no metric 'model'"):
        plots.sparsity_curves(results(), "model")
    with pytest.raises(InputError, match="no finished run"):
        plots.sparsity_curves(results().assign(ndcg_at_20=np.nan))


def evaluation(values, degrees):
    n = len(values)
    per_user = {"ndcg_at_20": np.asarray(values, dtype=float)}
    return Evaluation(np.arange(n), per_user, {}, np.zeros((n, 1), np.int32), np.asarray(degrees))


def bars(axes):
    """Means and half lengths of the intervals, by label."""
    found = {}
    for container in axes.containers:
        line, _, (sticks,) = container.lines
        ends = np.array([segment[:, 1] for segment in sticks.get_segments()], dtype=float)
        found[str(container.get_label())] = (np.asarray(line.get_ydata(), dtype=float), (ends[:, 1] - ends[:, 0]) / 2)
    return found


def test_groups_of_equal_activity_with_intervals_over_users():
    few, many = [0.0, 0.2, 0.4], [0.5, 0.7]
    made = evaluation([*few, *many], [1, 1, 1, 8, 9])
    (axes,) = plots.user_activity(made, n_groups=2).axes
    ((means, errors),) = bars(axes).values()
    np.testing.assert_allclose(means, [0.2, 0.6])
    np.testing.assert_allclose(errors, [1.96 * 0.2 / 3**0.5, 1.96 * (0.1 * 2**0.5) / 2**0.5])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1\n3 users", "8-9\n2 users"]
    assert axes.get_legend() is None


def test_several_models_and_seeds():
    left, right = evaluation([0.1, 0.3], [1, 5]), evaluation([0.2, 0.4], [1, 5])
    (axes,) = plots.user_activity({"ALS": left, "BUIR": right}, n_groups=2).axes
    found = bars(axes)
    assert list(found) == ["ALS", "BUIR"]
    np.testing.assert_allclose(found["BUIR"], [[0.2, 0.4], [0, 0]])
    # of a user with several runs the mean counts, so that seeds make no interval narrower
    seeds = pd.concat([left.to_frame().assign(model="ALS"), right.to_frame().assign(model="ALS")])
    np.testing.assert_allclose(bars(plots.user_activity(seeds, n_groups=1).axes[0])["ALS"][0], [0.25])
    spread = 1.96 * np.std([0.15, 0.35], ddof=1) / 2**0.5
    np.testing.assert_allclose(bars(plots.user_activity(seeds, n_groups=1).axes[0])["ALS"][1], [spread])


def test_what_are_no_users():
    made = evaluation([0.1, 0.3], [1, 5])
    with pytest.raises(InputError, match="of type float, expected an Evaluation, several by the names"):
        plots.user_activity(0.3)
    with pytest.raises(InputError, match="of type dict, expected an Evaluation"):
        plots.user_activity({"ALS": 0.3})
    with pytest.raises(InputError, match="users is empty"):
        plots.user_activity({})
    with pytest.raises(InputError, match="no metric 'map_at_20'"):
        plots.user_activity(made, "map_at_20")
    two = pd.concat([made.to_frame().assign(train_pct=pct) for pct in (10, 20)])
    with pytest.raises(InputError, match=r"several of train_pct, \[10, 20\].*frame\[frame.train_pct == 10\]"):
        plots.user_activity(two)
    for wrong in (0, 2.0, True):
        with pytest.raises(InputError, match=r"n_groups is .* expected how many groups") as caught:
            plots.user_activity(made, n_groups=wrong)
        assert caught.value.argument == "n_groups"
    with pytest.raises(InputError, match="no user with ndcg_at_20"):
        plots.user_activity(evaluation([np.nan], [1]))
