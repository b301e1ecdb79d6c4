"""The verbs of every model: lists, similar rows, raw ids."""

from buir.recommend.foreign import recommend_frame
from buir.recommend.frames import Catalogue
from buir.recommend.lookup import Lookup, as_index, lookups
from buir.recommend.ranges import Above, AtLeast, MetricAtK, check_parameters
from buir.recommend.recommender import Recommender
from buir.recommend.similarity import vectors_of

__all__ = [
    "Above",
    "AtLeast",
    "Catalogue",
    "Lookup",
    "MetricAtK",
    "Recommender",
    "as_index",
    "check_parameters",
    "lookups",
    "recommend_frame",
    "vectors_of",
]
