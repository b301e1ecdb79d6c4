"""Lists and their worth: what gives a score to every item, terms of a score, the masked top-k, and metrics."""

from buir.ranking.arguments import as_count, as_rows, check_shape
from buir.ranking.evaluation import Evaluation, evaluate
from buir.ranking.item_filter import ItemFilter
from buir.ranking.metrics import METRICS, coverage, metric_label, quantile_groups, user_metrics
from buir.ranking.sources import as_scorer
from buir.ranking.term_choice import Choice, choose_terms
from buir.ranking.terms import (
    Dial,
    ItemNorm,
    PopularityTerm,
    SpectralBlock,
    SumScorer,
    Term,
    TermScorer,
    WatchedScorer,
    spread,
)
from buir.ranking.top_k import FactorScorer, Scorer, top_k

__all__ = [
    "METRICS",
    "Choice",
    "Dial",
    "Evaluation",
    "FactorScorer",
    "ItemFilter",
    "ItemNorm",
    "PopularityTerm",
    "Scorer",
    "SpectralBlock",
    "SumScorer",
    "Term",
    "TermScorer",
    "WatchedScorer",
    "as_count",
    "as_rows",
    "as_scorer",
    "check_shape",
    "choose_terms",
    "coverage",
    "evaluate",
    "metric_label",
    "quantile_groups",
    "spread",
    "top_k",
    "user_metrics",
]
