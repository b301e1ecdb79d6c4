"""Panels: which models are judged together, and what a reference comes to against its rivals over all places."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import norm

from buir.experiment.records import Record
from buir.experiment.statistics.resampling import holm
from buir.experiment.statistics.summary import Comparison, verdict_on

Place = tuple[str, str, float]
"""Data set, protocol and level."""

N_FLIPS = 99_999
"""Sign patterns of a panel's test: 1 / (N_FLIPS + 1), the smallest p-value, passes Holm's 0.05 in a family of 5,000."""
POWER = 0.8
"""Chance with which a detectable difference would be found."""


@dataclass(frozen=True)
class Panel:
    """Models that are judged together: each reference against every other one, over all places."""

    name: str
    references: tuple[str, ...]
    models: tuple[str, ...]
    """The references among them."""
    headline: bool = True
    """Whether "leads" may be said here."""

    def rivals(self, reference: str) -> tuple[str, ...]:
        """All models but the reference."""
        return tuple(name for name in self.models if name != reference)


@dataclass(frozen=True)
class Judgement:
    """What a reference of a panel comes to on a metric: one family of comparisons over all places."""

    panel: Panel
    reference: str
    metric: str
    comparisons: dict[Place, list[Comparison]]
    """At every place that is judged; a rival that refused the data there is not among them."""
    open: dict[Place, str] = field(default_factory=dict)
    """Places where nothing is judged, and why."""

    @cached_property
    def family(self) -> list[Comparison]:
        """All comparisons that Holm corrects together."""
        return [comparison for here in self.comparisons.values() for comparison in here]

    @cached_property
    def highest(self) -> list[Place]:
        """Where no rival has a higher mean."""
        return [place for place, here in self.comparisons.items() if all(c.difference.value >= 0 for c in here)]

    @cached_property
    def better(self) -> list[Place]:
        """Where the reference is shown to be better than every rival."""
        return [place for place, here in self.comparisons.items() if all(c.verdict == "wins" for c in here)]

    @cached_property
    def worse(self) -> list[Place]:
        """Where it is shown to be worse than at least one."""
        return [place for place, here in self.comparisons.items() if any(c.verdict == "loses" for c in here)]

    @cached_property
    def not_worse(self) -> list[Place]:
        """Where it is not shown to be worse than any."""
        return [place for place in self.comparisons if place not in self.worse]

    @cached_property
    def ratios(self) -> dict[Place, float]:
        """The reference's mean over that of the best rival; not where all rivals have 0."""
        found = {place: [c.ratio for c in here if np.isfinite(c.ratio)] for place, here in self.comparisons.items()}
        return {place: min(ratios) for place, ratios in found.items() if ratios}


def default_panel(records: Iterable[Record]) -> Panel:
    """Put all models into one panel: BUIR's variants are its references, the first model if BUIR did not take part."""
    records = list(records)
    kinds = {record.model: record.kind for record in records if record.ok}
    buirs = tuple(name for name, kind in kinds.items() if kind == "buir")
    return Panel("all models", buirs or tuple(kinds)[:1], tuple(dict.fromkeys(record.model for record in records)))


def judge(found: Sequence[Any], panels: Sequence[Panel]) -> list[Judgement]:
    """Judge every reference of every panel on every headline metric.

    Parameters
    ----------
    found
        `buir.experiment.statistics.findings.Findings` of all places, made with the same panels.
    panels
        What is judged together.
    """
    metrics = found[0].headlines if found else ()
    return [
        _judge(found, panel, reference, metric)
        for panel in panels
        for reference in panel.references
        for metric in metrics
    ]


def geometric_mean(ratios: Iterable[float]) -> float:
    """Multiply the ratios and take their root; NaN of none, 0 if one is 0."""
    values = np.array(list(ratios))
    if not len(values):
        return float("nan")
    return float(np.exp(np.log(values).mean())) if (values > 0).all() else 0.0


def corrected(family: Sequence[Comparison], confidence: float) -> list[Comparison]:
    r"""Correct a family by Holm: p-values, verdicts and the smallest true differences that would be found.

    A verdict needs two things, and the detectable difference is what both would find with a chance of 80 %:

    .. math:: \max\big((z_{1-\alpha'/2} + z_{.8})\,s_u,\; h + z_{.8}\,\sqrt{s_u^2 + s_r^2}\big)

    with the standard errors over users and over runs, half the width h of the interval, and the level at which Holm's
    procedure stopped: alpha over the number of comparisons that it did not reject.
    """
    alpha = 1.0 - confidence
    adjusted = holm(np.array([comparison.p for comparison in family]))
    level = alpha / max(1, int((adjusted > alpha).sum()))
    reach, power = float(norm.ppf(1.0 - level / 2)), float(norm.ppf(POWER))

    def judged(comparison: Comparison, p: float) -> Comparison:
        d = comparison.difference
        half, error = (d.high - d.low) / 2, float(np.hypot(d.users_error, d.runs_error))
        detectable = max((reach + power) * d.users_error, half + power * error)
        return replace(comparison, p_holm=p, verdict=verdict_on(d, p, alpha), detectable=detectable)

    return [judged(comparison, float(p)) for comparison, p in zip(family, adjusted, strict=True)]


def _judge(found: Sequence[Any], panel: Panel, reference: str, metric: str) -> Judgement:
    raw: dict[Place, list[Comparison]] = {}
    open_: dict[Place, str] = {}
    for part in found:
        said = [part.comparisons.get((reference, rival, metric)) for rival in panel.rivals(reference)]
        here = [comparison for comparison in said if comparison is not None]
        if reason := _reason(part, panel, reference, here):
            open_[part.place] = reason
        else:
            raw[part.place] = here
    family = iter(corrected([c for here in raw.values() for c in here], found[0].confidence))
    return Judgement(
        panel, reference, metric, {place: [next(family) for _ in here] for place, here in raw.items()}, open_
    )


def _reason(part: Any, panel: Panel, reference: str, here: Sequence[Comparison]) -> str:
    """Say why nothing is judged at a place; nothing where it can be."""
    lacking = [text for model, text in part.missing.items() if model in panel.models]
    if lacking:
        return f"missing: {', '.join(lacking)}"
    if reference not in part.models:
        return f"{reference} has no finished run"
    if not here:
        return "no rival was run"
    kinds = {part.kinds[c.other] for c in here}
    if panel.headline and kinds == {"buir"} == {part.kinds[reference]}:
        return "only variants of BUIR were run"
    return ""
