"""Pictures of several models: against the share of the data, and by the activity of users."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from buir.errors import InputError, listed, near
from buir.plots.canvas import MARKERS, axes_of, finish, wrong
from buir.plots.colours import model_colours
from buir.ranking import Evaluation, metric_label, quantile_groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["sparsity_curves", "user_activity"]

_NORMAL = 1.96
"""Standard errors on each side of an interval of 95 %."""


def sparsity_curves(
    results: Any, metric: str = "ndcg_at_20", *, dataset: str | None = None, ax: Axes | None = None
) -> Figure:
    """Draw a metric of every model against the share of training data that was kept.

    Parameters
    ----------
    results
        A benchmark: `buir.experiment.Results`, what `buir.experiment.compare` returns, or the ``frame()`` of one of
        them, also a part of it.
    metric
        A column of that frame.
    dataset
        Which data set; None where there is one.
    ax
        Where to draw; None makes a figure.

    Returns
    -------
    The figure: lines are means over runs, and each dot is one run (a split seed and a model seed), the mean over its
    test users. By the author's protocol every level has test pairs of its own, so there the means are not joined.
    Intervals and verdicts are in the report.

    Raises
    ------
    buir.errors.InputError
        If there is no finished run, several data sets or protocols, or no such metric.
    """
    table = results if isinstance(results, pd.DataFrame) else getattr(results, "frame", lambda: None)()
    if not isinstance(table, pd.DataFrame):
        expected = 'results or their frame, such as buir.experiment.Results.open("results/quickstart")'
        raise wrong(results, "results", expected)
    _need_columns(table, ("dataset", "protocol", "train_pct", "model"), "results")
    if dataset is not None:
        known = table["dataset"].unique().tolist()
        if dataset not in known:
            msg = f"the results have no data set {dataset!r}{near(dataset, known)}; expected one of {listed(known)}"
            raise InputError(msg, argument="dataset")
        table = table[table["dataset"] == dataset]
    _need_one(table, ("dataset", "protocol"), "results", 'name one, such as dataset="..."')
    _need_metric(table, metric)
    runs = table[table[metric].notna()]
    if runs.empty:
        msg = f"the results have no finished run with {metric}, expected some: run the benchmark first"
        raise InputError(msg, argument="results")
    axes = axes_of(ax)
    joined = "none" if (runs["protocol"] == "author").any() else "-"
    colours = model_colours(runs["model"].unique())
    for place, (name, mine) in enumerate(runs.groupby("model", sort=False)):
        marks: Any = {"color": colours[str(name)], "marker": MARKERS[place % len(MARKERS)]}
        means = mine.groupby("train_pct")[metric].mean()
        axes.plot(means.index, means, linestyle=joined, markersize=5, linewidth=1.8, label=name, **marks)
        axes.plot(mine["train_pct"], mine[metric], linestyle="none", markersize=3, alpha=0.4, **marks)
    levels = sorted(runs["train_pct"].unique())
    axes.set_xticks(levels, [f"{level:g}" for level in levels])
    axes.set_ylim(bottom=0, auto=None)  # of shared axes others may still draw on
    return finish(axes, x="training data kept, %", y=metric_label(metric))


def user_activity(users: Any, metric: str = "ndcg_at_20", *, n_groups: int = 5, ax: Axes | None = None) -> Figure:
    """Draw a metric for groups of test users, from the least to the most active in training.

    Parameters
    ----------
    users
        An ``Evaluation``, several by the names of their models, or a frame with columns ``user``, ``train_degree``, the
        metric and, for several models, ``model``: ``Evaluation.to_frame()``, or ``users()`` of
        `buir.experiment.Results`.
    metric
        Of the evaluation.
    n_groups
        Groups wanted, equal in users; users of equal activity stay together, so that there may be fewer.
    ax
        Where to draw; None makes a figure.

    Returns
    -------
    The figure: means with intervals of 95 % over users (of a user with several runs their mean counts), below each
    group its training pairs and its number of users.

    Raises
    ------
    buir.errors.InputError
        If there are no users, several data sets or levels, or no such metric.
    """
    table = _user_table(users)
    _need_columns(table, ("user", "train_degree"), "users")
    _need_metric(table, metric)
    some = [name for name in ("dataset", "protocol", "train_pct") if name in table]
    _need_one(table, some, "users", "select one, such as frame[frame.train_pct == 10]")
    if isinstance(n_groups, bool) or not isinstance(n_groups, int | np.integer) or n_groups < 1:
        msg = f"n_groups is {n_groups!r}, expected how many groups there should be: an integer from 1 on"
        raise InputError(msg, argument="n_groups")
    table = table[table[metric].notna()]
    if table.empty:
        msg = f"there is no user with {metric}, expected some"
        raise InputError(msg, argument="users")
    table = table.assign(model=table.get("model", ""))
    # a user has another history in another split, but not with another model or seed
    per_user = table.groupby(["model", "user", "train_degree"], sort=False)[metric].mean().reset_index()
    groups = quantile_groups(per_user["train_degree"].to_numpy(), n_groups=int(n_groups))
    numbers = np.unique(groups, return_inverse=True)[1]
    axes, names = axes_of(ax), list(per_user["model"].unique())
    colours = model_colours(names)
    for place, name in enumerate(names):
        here = (per_user["model"] == name).to_numpy()
        found = per_user[metric][here].groupby(numbers[here]).agg(["mean", "std", "size"])
        error = _NORMAL * (found["std"] / np.sqrt(found["size"])).fillna(0.0)  # no spread is known of a single user
        axes.errorbar(
            found.index + (place - (len(names) - 1) / 2) * min(0.08, 0.6 / len(names)),
            found["mean"],
            yerr=error,
            label=name or None,
            color=colours[name],
            marker=MARKERS[place % len(MARKERS)],
            markersize=5,
            linewidth=1.8,
            elinewidth=1,
            capsize=2,
        )
    degree = per_user["train_degree"].groupby(numbers).agg(["min", "max"])
    people = per_user.groupby(numbers)["user"].nunique()
    ends = zip(degree["min"], degree["max"], people, strict=True)
    labels = [f"{f'{low:g}' if low == high else f'{low:g}-{high:g}'}\n{n:,} users" for low, high, n in ends]
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylim(bottom=0, auto=None)  # of shared axes others may still draw on
    return finish(axes, x="training pairs of a user", y=metric_label(metric))


def _user_table(users: Any) -> pd.DataFrame:
    """Return a frame of users, from an evaluation, from several by name, or as it is."""
    expected = "an Evaluation, several by the names of their models, or a frame of users"
    if isinstance(users, pd.DataFrame):
        return users
    if isinstance(users, Evaluation):
        return users.to_frame()
    if not isinstance(users, Mapping) or not all(isinstance(one, Evaluation) for one in users.values()):
        raise wrong(users, "users", expected)
    if not users:
        msg = f"users is empty, expected {expected}"
        raise InputError(msg, argument="users")
    return pd.concat([one.to_frame().assign(model=str(name)) for name, one in users.items()], ignore_index=True)


def _need_columns(table: pd.DataFrame, names: Iterable[str], argument: str) -> None:
    if missing := [name for name in names if name not in table]:
        msg = f"{argument} lacks the columns {missing}, it has {listed(table.columns)}; expected an untouched frame()"
        raise InputError(msg, argument=argument)


def _need_one(table: pd.DataFrame, names: Iterable[str], argument: str, remedy: str) -> None:
    for name in names:
        if len(held := table[name].unique().tolist()) > 1:
            msg = f"{argument} has several of {name}, {listed(held)}, expected one for a picture: {remedy}"
            raise InputError(msg, argument=argument)


def _need_metric(table: pd.DataFrame, metric: str) -> None:
    known = [str(name) for name in table if "_at_" in str(name)]
    if metric not in table or not pd.api.types.is_numeric_dtype(table[metric]):
        msg = f"there is no metric {metric!r}{near(metric, known)}; expected one of {listed(known)}"
        raise InputError(msg, argument="metric")
