"""Lists and their worth: what gives a score to every item, the masked top-k, and metrics."""

from buir.ranking.evaluation import Evaluation, evaluate
from buir.ranking.metrics import METRICS, canonical, coverage, user_metrics
from buir.ranking.popularity import PopularityTerm
from buir.ranking.scorers import FactorScorer, Scorer
from buir.ranking.top_k import top_k

__all__ = [
    "METRICS",
    "Evaluation",
    "FactorScorer",
    "PopularityTerm",
    "Scorer",
    "canonical",
    "coverage",
    "evaluate",
    "top_k",
    "user_metrics",
]
