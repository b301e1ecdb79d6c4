"""A set of interactions in numbers, and as the text that ``buir data describe`` prints."""

from dataclasses import asdict, dataclass

import numpy as np

from buir.data.ingest import IngestReport
from buir.data.interactions import Interactions
from buir.errors import counted


@dataclass(frozen=True)
class Description:
    """Sizes of a set of interactions; ``str()`` gives the text."""

    n_users: int
    """Rows of the matrix."""
    n_items: int
    """Columns of the matrix."""
    n_pairs: int
    """Distinct pairs."""
    density: float
    """Pairs over users times items."""
    per_user: tuple[int, float, int]
    """Minimum, median, maximum number of distinct items of a user."""
    per_item: tuple[int, float, int]
    """Minimum, median, maximum number of distinct users of an item."""
    first_time: float | None
    """Earliest time; None if there are no times."""
    last_time: float | None
    """Latest time."""
    report: IngestReport
    """What was read, merged and skipped."""

    def to_dict(self) -> dict[str, object]:
        """Return all numbers as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        report = self.report
        lines = [("source", report.source), ("format", report.format)]
        if report.columns:
            lines.append(("columns", report.columns))
        if report.ratings:
            lines.append(("ratings", report.ratings))
        lines += [
            ("users", f"{self.n_users:,}"),
            ("items", f"{self.n_items:,}"),
            ("distinct pairs", f"{self.n_pairs:,}"),
            ("density", f"{self.density:.3%}"),
            ("per user", "{:,} / {:,g} / {:,} (minimum / median / maximum)".format(*self.per_user)),
            ("per item", "{:,} / {:,g} / {:,}".format(*self.per_item)),
            ("times", "none" if self.first_time is None else f"{self.first_time:.0f} to {self.last_time:.0f}"),
            ("rows read", f"{report.rows_read:,}"),
        ]
        lines += [
            (name, f"{counted(count, noun)}{what}")
            for name, count, noun, what in (
                ("removed", report.missing, "row", " with a missing value"),
                ("merged", report.merged, "row", " repeating an earlier pair"),
                ("left out", report.elsewhere, "row", " of other events"),
                ("removed", report.below_rating, "row", " below the rating threshold"),
                ("removed", report.below_minimum, "row", " of users or items with too few rows"),
                ("removed", report.outside_core, "pair", " outside the core"),
                ("skipped", report.zeros, "explicit zero", ""),
                ("skipped", report.empty_lists, "user", " with an empty list"),
                ("skipped", report.blank_lines, "blank line", ""),
                ("skipped", report.comments, "line", " of comment"),
                ("skipped", report.repeated_headers, "row", " with the header again"),
                ("changed", report.stripped, "value", " with blanks around, which were taken away"),
            )
            if count
        ]
        return "\n".join(f"{name:<15} {text}" for name, text in lines)


def describe(data: Interactions) -> Description:
    """Return the sizes of a set of interactions; users and items without a pair count as 0."""
    per_user = np.diff(data.matrix.indptr)
    per_item = np.bincount(data.items, minlength=data.n_items)
    times = np.empty(0) if data.times is None else data.times
    return Description(
        data.n_users,
        data.n_items,
        data.n_pairs,
        data.density,
        _spread(per_user),
        _spread(per_item),
        float(times.min()) if times.size else None,
        float(times.max()) if times.size else None,
        data.report,
    )


def _spread(counts: np.ndarray) -> tuple[int, float, int]:
    if not counts.size:
        return 0, 0.0, 0
    return int(counts.min()), float(np.median(counts)), int(counts.max())
