"""Lists and their worth: what gives a score to every item, the masked top-k, and metrics."""

from buir.ranking.arguments import as_count, as_rows, check_shape
from buir.ranking.evaluation import Evaluation, evaluate
from buir.ranking.metrics import METRICS, coverage, user_metrics
from buir.ranking.popularity import PopularityTerm
from buir.ranking.top_k import FactorScorer, Scorer, top_k

__all__ = [
    "METRICS",
    "Evaluation",
    "FactorScorer",
    "PopularityTerm",
    "Scorer",
    "as_count",
    "as_rows",
    "check_shape",
    "coverage",
    "evaluate",
    "top_k",
    "user_metrics",
]
