"""evaluate(model, train, test): per-user values and means from one full ranking, or from lists that are given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from buir.data import Interactions, canonical, doctor, html_table, is_frame, take
from buir.errors import counted, report
from buir.ranking.held_out import Labels, held_out, placed, read, warn_of_dropped
from buir.ranking.metrics import METRICS, checked_metrics, coverage, metric_label, user_metrics
from buir.ranking.sources import GivenLists, as_scorer
from buir.ranking.top_k import top_k

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one ranking of the test users is worth."""

    users: np.ndarray
    """Rows of the users evaluated, ascending: those with test items."""
    per_user: dict[str, np.ndarray]
    """Values by name ("recall_at_20"), float64, aligned with ``users``."""
    means: dict[str, float]
    """Mean over ``users`` of each, and "coverage_at_20", ... of the lists together."""
    ranked: np.ndarray
    """The lists, item rows, -1 where a list ran out; as wide as max(ks), or as the catalogue if that is less."""
    train_degree: np.ndarray
    """Training interactions of each user."""
    user_ids: np.ndarray | None = None
    """Labels of ``users``; None where nobody gave any."""
    n_pairs: int = 0
    """Test pairs measured."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Test pairs that could not be measured, by why: "of unknown users", "that are in training", ..."""

    @property
    def n_users(self) -> int:
        """Number of users evaluated."""
        return len(self.users)

    def to_frame(self) -> pd.DataFrame:
        """Make a table with a row for each user: ``user`` (label, or row), ``train_degree``, a column per metric."""
        import pandas as pd

        users = self.users if self.user_ids is None else self.user_ids
        return pd.DataFrame({"user": users, "train_degree": self.train_degree, **self.per_user})

    def __repr__(self) -> str:
        means = ", ".join(f"{name}={value:.4f}" for name, value in self.means.items())
        return f"Evaluation({counted(self.n_users, 'user')}, {counted(self.n_pairs, 'pair')}: {means})"

    def _repr_html_(self) -> str:
        """Tabulate the means, a column for each length of the lists."""
        parts = {name: (metric_label(name).partition("@")[0], name.rpartition("_at_")[2]) for name in self.means}
        ks = list(dict.fromkeys(k for _, k in parts.values()))
        found = {parts[name]: f"{value:.4f}" for name, value in self.means.items()}
        rows = [[what, *(found.get((what, k), "") for k in ks)] for what in dict.fromkeys(w for w, _ in parts.values())]
        left = "".join(f", {n:,} {why} left out" for why, n in self.dropped.items() if n)
        title = f"Evaluation: means over {counted(self.n_users, 'user')}, {counted(self.n_pairs, 'pair')}{left}"
        return html_table(title, rows, head=["", *(f"@{k}" for k in ks)])


def evaluate(
    model: Any,
    train: Any,
    test: Any,
    *,
    valid: Any = None,
    ks: int | Sequence[int] = (10, 20, 50),
    metrics: Iterable[str] | None = None,
    memory_mb: int = 256,
) -> Evaluation:
    """Rank all items for every user with test items, once, and measure the lists; or measure lists that are given.

    Parameters
    ----------
    model
        Anything with ``scorer()``, or with ``user_factors`` and ``item_factors``, or with `implicit`'s ``recommend``; a
        scorer; or lists, whoever made them: a frame with columns ``user``, ``item`` and ``rank``, or ``score``.
    train
        Training interactions: never listed. A matrix, ``Interactions`` or a frame.
    test
        Held-out interactions: the relevant items.
    valid
        Interactions that selected the model: never listed either.
    ks
        Lengths of the lists that are measured; one or several.
    metrics
        Some of ``buir.ranking.metrics.METRICS``; None for all.
    memory_mb
        Bound for the ranking's working memory in MiB.

    Returns
    -------
    Values of each user and their means, by names such as "recall_at_20", and the lists.

    Raises
    ------
    ValueError
        If shapes differ, no pair can be measured, a metric is unknown, or a score is NaN; or if the model remembers
        that it was trained on most of ``test`` and not on ``train``: these are swapped.
    TypeError
        If the model cannot score, or interactions are of another kind.

    Warns
    -----
    buir.errors.PairsDroppedWarning
        If test pairs are of unknown users or items, or in ``train`` or ``valid``, where they could never be listed:
        these are left out and counted in ``dropped``.
    buir.errors.TestSeenWarning
        If the model remembers that it was trained on some of the pairs that are measured.

    Notes
    -----
    Interactions and frames go by their ids: those of the model, or of ``train`` if it has none; a matrix goes by rows.
    All items are candidates, also those without training interactions. Lists that are given are measured as they are;
    a test user without one has an empty list.
    """
    ks = ks if isinstance(ks, Iterable) else (ks,)
    names = checked_metrics(METRICS if metrics is None else metrics, ks)
    parts = {"train": train, "test": test} | ({} if valid is None else {"valid": valid})
    read_in = {name: read(part, name) for name, part in parts.items()}
    lists, labels = None, Labels.of(model, read_in["train"], needed=any(map(is_frame, (model, *parts.values()))))
    if is_frame(model):
        fixed = not isinstance(read_in["train"], Interactions)
        read_in = {name: _labelled(part, labels, name) for name, part in read_in.items()}
        lists = GivenLists.read(model, read_in["train"], read_in["test"], fixed=fixed)
        labels = Labels(lists.user_ids, lists.item_ids)
    seen, gone = placed(read_in["train"], labels, "train")
    warn_of_dropped("train", seen, gone)
    excluded = seen
    if valid is not None:
        chosen, gone = placed(read_in["valid"], labels, "valid")
        report(doctor.shape_findings(chosen.shape, seen.shape, "valid"))
        warn_of_dropped("valid", chosen, gone)
        excluded = canonical(csr_array(seen + chosen))
    longest = min(max(ks), max(1, seen.shape[1]))
    scorer = None
    if lists is None:
        scorer = as_scorer(model, seen, longest + int(np.diff(excluded.indptr).max(initial=0)))
        report(doctor.shape_findings(seen.shape, (scorer.n_users, scorer.n_items), "train"))
    held, dropped = held_out(read_in["test"], labels, seen, excluded, getattr(model, "seen_", None))
    asked = np.flatnonzero(np.diff(held.indptr))
    if lists is not None:
        ranked = lists.ranked(asked, max(ks), excluded)
    else:
        assert scorer is not None
        ranked, _ = top_k(scorer, asked, longest, exclude=take(excluded, asked), memory_mb=memory_mb)
    per_user = user_metrics(ranked, take(held, asked), names, ks)
    means = {name: float(values.mean()) for name, values in per_user.items()}
    means |= {f"coverage_at_{k}": coverage(ranked[:, :k], seen.shape[1]) for k in ks}
    degree = np.diff(seen.indptr)[asked].astype(np.int64)
    ids = None if labels.users is None else labels.users[asked]
    return Evaluation(asked, per_user, means, ranked, degree, ids, held.nnz, dropped)


def _labelled(part: Interactions | csr_array, labels: Labels, name: str) -> Interactions:
    """Give a matrix beside a frame of lists the labels of its rows and columns."""
    if isinstance(part, Interactions):
        return part
    assert labels.users is not None
    assert labels.items is not None
    report(doctor.shape_findings(part.shape, (len(labels.users), len(labels.items)), name))
    return Interactions.from_matrix(part, user_ids=labels.users, item_ids=labels.items)
