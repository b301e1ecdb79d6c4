"""What it costs to have less of a topic: lists that turn away from five named items, beside simpler ways.

    python -m benchmarks.steering     measure what the file lacks, then print the tables and draw the figure

A topic is a tag of CiteULike-t or a category of Ciao that 20 to 500 items bear and of which 20 users or more have two
training pairs; five of its items with training users are named, all drawn by a fixed seed. Asked are the users whose
unsteered lists hold two of its items or more. Six ways, s the strength:

    none             the model's lists
    perpendicular    recommend(..., less_like=named, strength=s): u - s |du| sum_k (part of dv_k / |dv_k| across du)
    plain            u - s |u| sum_k v_k / |v_k|: the same items and unit, neither centred nor projected
    centred          u - s |du| sum_k dv_k / |dv_k|: centred, not projected
    nearest          no item of the s nearest to the named ones, by the sum of their cosines
    filter           no item of the topic; it has to be known which items these are

Terms of the score stay as they are in all of them. Nested level .8, split seed 0; models have their defaults, and
nothing is chosen by what is measured here. Rows go to docs/results/negatives/; finished ones are not run again.
"""

import argparse
import gzip
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.sparse import csc_array, csr_array
from torch import Tensor
from torch.nn import functional

from baselines import ALS
from benchmarks.data import data_dir
from benchmarks.ledger import RESULTS, Ledger
from buir import BUIR
from buir.data.files.readers import read
from buir.data.interactions import Interactions
from buir.data.splits import Split, nested_split
from buir.ranking import FactorScorer, SumScorer, top_k, user_metrics
from buir.recommend import Recommender, Steering

FOLDER = RESULTS / "negatives"
KEY = ("data", "model", "topic", "rule", "strength")
LEVEL, SEED, LENGTH = 0.8, 0, 20
SIZES, FOLLOWERS, N_TOPICS, N_NAMED = (20, 500), 20, 30, 5
"""Items of a topic, users with ``SOME`` training pairs of it at least, topics at most, and items named of each."""
SOME, MOST_USERS = 2, 300
"""Topic items in the unsteered list of a user who is asked, and users asked for a topic at most."""
FEWEST_USERS = 10
"""A topic with fewer asked users says nothing, and is left out of the means."""
TURNS, COUNTS = (0.1, 0.2, 0.5, 1.0, 2.0), (20.0, 50.0, 200.0, 1000.0, 3000.0)
STRENGTHS = {"perpendicular": TURNS, "plain": TURNS, "centred": TURNS, "nearest": COUNTS}
NONE, FILTER = ("none", 0.0), ("filter", 0.0)
WAYS = [NONE, *((rule, strength) for rule, some in STRENGTHS.items() for strength in some), FILTER]
LEVELS = (0.25, 0.5, 0.75)
"""Suppressions at which the rules are compared."""
DRAWS = 2000
LOOKS = (("#d62728", "o"), ("#1f77b4", "s"), ("#17a2b8", "^"), ("#8c564b", "D"))
MODELS: dict[str, Callable[[], Recommender]] = {
    "BUIR": BUIR,
    "BUIR without terms": lambda: BUIR(terms={}),
    "ALS": ALS,
}


# what is asked for


@dataclass(frozen=True, eq=False)
class Topic:
    """Items that bear one tag, and those of them that a user names."""

    name: str
    items: np.ndarray
    """Item rows, ascending."""
    named: np.ndarray
    """Some of ``items``."""

    def askers(self, lists: np.ndarray) -> np.ndarray:
        """Draw users whose lists, one row each, hold some of the topic: rows, ascending."""
        users = np.flatnonzero(np.isin(lists, self.items).sum(axis=1) >= SOME)
        some = np.random.default_rng(SEED).permutation(len(users))[:MOST_USERS]
        return np.sort(users[some])


def draw_topics(bearers: Mapping[str, Sequence[int]], train: Interactions) -> list[Topic]:
    """Draw topics of a middle size that some users follow, and what is named of each.

    Parameters
    ----------
    bearers
        Ids of the items of each topic; those that are no items of the data do not count.
    train
        Says who follows a topic, and which items have a vector, so that they can be named.
    """
    rows = {label: row for row, label in enumerate(train.item_ids.tolist())}
    known = {
        name: np.unique(np.array([rows[label] for label in labels if label in rows], dtype=np.int64))
        for name, labels in bearers.items()
    }
    fit = [name for name, items in known.items() if SIZES[0] <= len(items) <= SIZES[1]]
    users_of = csc_array(train.matrix)
    pairs = {name: users_of[:, known[name]] for name in fit}
    trained = {name: known[name][np.diff(matrix.indptr) > 0] for name, matrix in pairs.items()}
    followed = [
        name
        for name, matrix in pairs.items()
        if (np.bincount(matrix.indices) >= SOME).sum() >= FOLLOWERS and len(trained[name]) > N_NAMED
    ]
    rng = np.random.default_rng(SEED)
    chosen = [followed[place] for place in np.sort(rng.permutation(len(followed))[:N_TOPICS])]
    return [Topic(name, known[name], rng.choice(trained[name], N_NAMED, replace=False)) for name in chosen]


def citeulike() -> tuple[Split, list[Topic]]:
    """Articles and their tags: a line of a file is an item, or a tag, counted from 0."""
    folder = data_dir() / "citeulike-t"
    items = ([int(word) for word in line.split()[1:]] for line in _lines(folder / "tag-item.dat.gz"))
    bearers = dict(zip(_lines(folder / "tags.dat.gz"), items, strict=True))
    return _split(read(folder / "users.dat", min_user=5), bearers)


def ciao() -> tuple[Split, list[Topic]]:
    """Products and their categories, which have numbers alone."""
    path = data_dir() / "ciao" / "ratings.txt.gz"
    bearers = defaultdict(list)
    for line in _lines(path):
        _, item, category, *_ = line.split()
        bearers[f"category {category}"].append(int(item))
    return _split(read(path, columns={"rating": 3}, min_user=5, min_item=5, min_rating=0), bearers)


SETS: dict[str, Callable[[], tuple[Split, list[Topic]]]] = {"CiteULike": citeulike, "Ciao": ciao}


def _lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


def _split(data: Interactions, bearers: Mapping[str, Sequence[int]]) -> tuple[Split, list[Topic]]:
    split = nested_split(data, LEVEL, seed=SEED)
    return split, draw_topics(bearers, split.train)


# the ways to have less of it


class Moved:
    """A model's scores with the directions of items subtracted from users' vectors; terms of the score stay."""

    def __init__(self, model: Recommender, named: np.ndarray, strength: float, *, centred: bool) -> None:
        asked = Steering.of(model, named, [], strength)
        self.scorer, self.strength = model.scorer(), strength
        tables = self.scorer.tables if isinstance(self.scorer, SumScorer) else self.scorer
        assert asked is not None
        assert isinstance(tables, FactorScorer)
        self.n_users, self.n_items, self.items = tables.n_users, tables.n_items, tables.item_factors
        self.users = torch.where(asked.taste, tables.user_factors, 0.0)
        self.centre, self.direction = asked.centre.float(), asked.direction.float()
        if not centred:
            own = torch.where(asked.taste, self.items[torch.from_numpy(named)], 0.0)
            self.centre, self.direction = torch.zeros_like(self.centre), functional.normalize(own, dim=1).sum(dim=0)

    def score_block(self, users: np.ndarray) -> Tensor:
        """Score all items for ``users``: float32, shape (len(users), n_items)."""
        lengths = (self.users[torch.from_numpy(users)] - self.centre).norm(dim=1, keepdim=True)
        moved = -self.strength * lengths * self.direction
        return torch.addmm(self.scorer.score_block(users), moved, self.items.T)


def nearest(model: Recommender, named: np.ndarray, n: int) -> np.ndarray:
    """Return the rows of the ``n`` items with the largest sums of cosines with those named."""
    unit = functional.normalize(torch.from_numpy(model._likeness(model.item_factors)), dim=1)
    return (unit @ unit[torch.from_numpy(named)].sum(dim=0)).topk(min(n, len(unit))).indices.numpy()


def lists_of(model: Recommender, users: np.ndarray, topic: Topic, rule: str, strength: float) -> np.ndarray:
    """Make the lists of some users in one of the ways."""
    if rule == "filter":
        return model.recommend(users, N=LENGTH, filter_items=topic.items)[0]
    if rule == "nearest":
        return model.recommend(users, N=LENGTH, filter_items=nearest(model, topic.named, int(strength)))[0]
    if rule in ("plain", "centred"):
        assert model.seen_ is not None
        moved = Moved(model, topic.named, strength, centred=rule == "centred")
        return top_k(moved, users, LENGTH, exclude=model.seen_[users])[0]
    return model.recommend(users, N=LENGTH, less_like=topic.named, strength=strength)[0]


# measuring


def measure(ledger: Ledger, data: str, name: str, model: Any, split: Split, topics: list[Topic]) -> None:
    """Add the rows of a model that the ledger lacks; the model is fitted if there are any."""
    lacking = [(topic, way) for topic in topics for way in WAYS if (data, name, topic.name, *way) not in ledger]
    if not lacking:
        return
    model.fit(split.train.matrix, split.valid.matrix, show_progress=False)
    before = model.recommend(np.arange(model.n_users), N=LENGTH)[0]
    for topic, (rule, strength) in lacking:
        users = topic.askers(before)
        lists = lists_of(model, users, topic, rule, strength)
        place = {"data": data, "model": name, "topic": topic.name, "rule": rule, "strength": strength}
        ledger.add(
            place | {"items": len(topic.items), "users": len(users)} | worth(lists, split.test.matrix[users], topic)
        )


def worth(lists: np.ndarray, held_out: csr_array, topic: Topic) -> dict[str, Any]:
    """Count the topic's items in lists, those named aside, and measure them by the held-out pairs of their users.

    Returns
    -------
    ``listed``, the number of these items in a list, and NDCG@20 by the pairs that are not of the topic, ``rest``, and
    by all: means over the users that have such pairs, NaN if there are none.
    """
    others = np.setdiff1d(topic.items, topic.named)
    apart = np.ones(held_out.shape[1])
    apart[topic.items] = 0
    rest = csr_array(held_out.multiply(apart))
    rest.eliminate_zeros()
    found = {"listed": np.isin(lists, others).sum(axis=1).astype(float)}
    for column, pairs in (("rest", rest), ("all", held_out)):
        found[column] = user_metrics(lists, pairs, ("ndcg",), (LENGTH,))[f"ndcg_at_{LENGTH}"]
    return {
        column: f"{values[~np.isnan(values)].mean():.5g}" if (~np.isnan(values)).any() else "nan"
        for column, values in found.items()
    }


# what comes out


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the ways came to on one data set with one model, for each topic."""

    listed: dict[tuple[str, float], np.ndarray]
    rest: dict[tuple[str, float], np.ndarray]
    whole: dict[tuple[str, float], np.ndarray]
    n_users: int

    @classmethod
    def of(cls, rows: list[dict[str, str]]) -> "Outcome":
        """Read the rows of the finished topics that enough users were asked about."""
        cells = {(row["topic"], row["rule"], float(row["strength"])): row for row in rows}
        asked = {row["topic"]: int(row["users"]) for row in rows}
        topics = [
            topic
            for topic, n in asked.items()
            if n >= FEWEST_USERS
            and all((topic, *way) in cells for way in WAYS)
            # what is zero before can neither leave a list nor be kept
            and all(float(cells[topic, *NONE][column]) > 0 for column in ("listed", "rest"))
        ]
        tables = [
            {way: np.array([float(cells[topic, *way][column]) for topic in topics]) for way in WAYS}
            for column in ("listed", "rest", "all")
        ]
        return cls(*tables, n_users=sum(asked[topic] for topic in topics))

    @property
    def n_topics(self) -> int:
        """Number of topics that count."""
        return len(self.listed[WAYS[0]])

    # ``topics`` are places in these tables: all, or those of one draw in each row; a value for each row

    def suppression(self, way: tuple[str, float], topics: Any = slice(None)) -> np.ndarray:
        """Share of the topic's items, those named aside, that left the lists: the mean over topics."""
        return np.mean(1 - self.listed[way][topics] / self.listed[NONE][topics], axis=-1)

    def kept(self, way: tuple[str, float], topics: Any = slice(None), *, whole: bool = False) -> np.ndarray:
        """Mean NDCG over topics, by pairs of other topics or by all, over that of the unsteered lists."""
        values = self.whole if whole else self.rest
        return np.mean(values[way][topics], axis=-1) / np.mean(values[NONE][topics], axis=-1)

    def kept_at(self, level: float, rule: str, topics: Any = slice(None)) -> np.ndarray:
        """Interpolate what a rule keeps of the rest's NDCG at a suppression; NaN where it does not come so far."""
        ways = ways_of(rule)
        xs, ys = (np.array([value(way, topics) for way in ways]) for value in (self.suppression, self.kept))
        return crossing(level, xs, ys)

    def lead_at(self, level: float, rule: str, other: str, topics: Any = slice(None)) -> np.ndarray:
        """Return what a rule keeps more than another where both suppress as much."""
        return self.kept_at(level, rule, topics) - self.kept_at(level, other, topics)

    def told(self, value: Callable[..., np.ndarray]) -> str:
        """Write a value of all topics, and its interval if it has one."""
        low, high = self.interval(value)
        return _short(value()) + ("" if np.isnan(low) else f" ({_short(low)}, {_short(high)})")

    def interval(self, value: Callable[..., np.ndarray]) -> np.ndarray:
        """Return both ends of the 95 % interval of a value, by topics drawn with replacement.

        Of a value that is missing in one in twenty draws or more, there is no interval, NaN.
        """
        rng = np.random.default_rng(SEED)
        drawn = value(topics=rng.integers(self.n_topics, size=(DRAWS, self.n_topics)))
        if np.isnan(drawn).mean() >= 0.05:
            return np.full(2, np.nan)
        return np.nanpercentile(drawn, [2.5, 97.5])


def ways_of(rule: str) -> list[tuple[str, float]]:
    """Return a rule's ways, from the unsteered one on."""
    return [NONE, *((rule, strength) for strength in STRENGTHS[rule])]


def crossing(level: float, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Return y where broken lines first come to x = level; NaN for those that never do.

    Parameters
    ----------
    level
        At least the x of the first points.
    xs, ys
        The points, shape (n_points, ...): one line, or many side by side.
    """
    found = np.full(xs.shape[1:], np.nan)
    for x, to_x, y, to_y in zip(xs, xs[1:], ys, ys[1:], strict=False):
        here = np.isnan(found) & (x <= level) & (level <= to_x) & (x < to_x)
        found = np.where(here, y + (to_y - y) * (level - x) / np.where(here, to_x - x, 1), found)
    return found


def outcomes(ledger: Ledger) -> dict[tuple[str, str], Outcome]:
    """Return what came out for each data set and model, in order of appearance."""
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in ledger.rows:
        groups.setdefault((row["data"], row["model"]), []).append(row)
    return {group: Outcome.of(rows) for group, rows in groups.items()}


def unsteered(found: Mapping[tuple[str, str], Outcome]) -> list[str]:
    """Write what the others are compared with, in Markdown: means over topics."""
    lines = ["| | | topics | lists | topic items in a list, the named aside | NDCG@20 of the rest | of all pairs |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|")
    for (data, model), one in found.items():
        listed, rest, whole = (table[NONE].mean() for table in (one.listed, one.rest, one.whole))
        counts = f"{one.n_topics} | {one.n_users:,} | {listed:.1f}"
        lines.append(f"| {data} | {model} | {counts} | {_short(rest, 4)} | {_short(whole, 4)} |")
    return lines


def by_strength(found: Mapping[tuple[str, str], Outcome]) -> list[str]:
    """Write the table of all ways, in Markdown."""
    lines = ["| | | way | strength | suppression | NDCG@20 of the rest, over unsteered | of all pairs |"]
    lines.append("|---|---|---|---:|---:|---:|---:|")
    for (data, model), one in found.items():
        for way in WAYS[1:]:
            values = (
                one.told(partial(one.suppression, way)),
                one.told(partial(one.kept, way)),
                one.told(partial(one.kept, way, whole=True)),
            )
            strength = f"{way[1]:g}" if way[1] else ""
            lines.append(f"| {data} | {model} | {way[0]} | {strength} | {' | '.join(values)} |")
    return lines


def at_equal_suppression(found: Mapping[tuple[str, str], Outcome]) -> list[str]:
    """Write what each rule keeps of the rest's NDCG where all suppress as much, in Markdown."""
    first, *others = STRENGTHS
    lines = [f"| | | suppression | {' | '.join(STRENGTHS)} | {' | '.join(f'{first} - {rule}' for rule in others)} |"]
    lines.append("|---|---|" + "---:|" * (2 * len(STRENGTHS)))
    for (data, model), one in found.items():
        for level in LEVELS:
            values = [_short(one.kept_at(level, rule)) for rule in STRENGTHS]
            values += [one.told(partial(one.lead_at, level, first, rule)) for rule in others]
            lines.append(f"| {data} | {model} | {_short(level)} | {' | '.join(values)} |")
    return lines


def _short(value: float | np.ndarray, digits: int = 2) -> str:
    """Write 0.12 as .12, and a missing number as a dash."""
    if np.isnan(value):
        return "-"
    text = f"{float(value):.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def draw(found: Mapping[tuple[str, str], Outcome]) -> Figure:
    """Draw what is kept of the rest against what left the lists: a row for each data set, a column for each model."""
    sets, models = (list(dict.fromkeys(part)) for part in zip(*found, strict=True))
    figure = Figure(figsize=(3.7 * len(models) + 0.4, 3.2 * len(sets) + 0.6), layout="constrained")
    panels = figure.subplots(len(sets), len(models), squeeze=False, sharex=True, sharey="row")
    for (data, model), one in found.items():
        axes = panels[sets.index(data), models.index(model)]
        axes.axhline(100, color="#999999", linewidth=0.8, linestyle=":")
        for rule, (colour, marker) in zip(STRENGTHS, LOOKS, strict=True):
            ways = ways_of(rule)
            xs, ys = [100 * one.suppression(way) for way in ways], [100 * one.kept(way) for way in ways]
            axes.plot(xs, ys, color=colour, marker=marker, markersize=4.5, label=rule)
            for way, x in zip(ways[1:], xs[1:], strict=True):
                axes.plot([x, x], 100 * one.interval(partial(one.kept, way)), color=colour, alpha=0.35, linewidth=1)
        ends = [100 * one.suppression(FILTER)], [100 * one.kept(FILTER)]
        axes.plot(*ends, color="#444444", marker="*", markersize=10, linestyle="none", label="filter")
        axes.set_title(f"{data}, {model} ({one.n_topics} topics)", fontsize=10)
        axes.grid(visible=True, axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[-1]:
        axes.set_xlabel("topic items that left the lists, %")
    for axes in panels[:, 0]:
        axes.set_ylabel("NDCG@20 of the rest, % of unsteered")
        axes.set_ylim(bottom=0)
    handles, labels = next(axes for axes in panels.flat if axes.lines).get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    return figure


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    torch.set_num_threads(1)
    ledger = Ledger(FOLDER / "steering.csv", KEY)
    for data, load in SETS.items():
        split, topics = load()
        for name, make in MODELS.items():
            measure(ledger, data, name, make(), split, topics)
    found = outcomes(ledger)
    print("\n".join([*unsteered(found), "", *by_strength(found), "", *at_equal_suppression(found)]))
    draw(found).savefig(FOLDER / "steering.png", dpi=110)
    print(f"written: {FOLDER / 'steering.png'}")


if __name__ == "__main__":
    main()
