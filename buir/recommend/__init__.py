"""The verbs of every model: lists, similar rows, raw ids."""

from buir.recommend.foreign import recommend_frame
from buir.recommend.frames import Catalogue
from buir.recommend.held_out import HeldOut, held_out_pairs
from buir.recommend.lookup import Lookup, as_labels, lookups
from buir.recommend.ranges import Above, AtLeast, MetricAtK, check_parameters
from buir.recommend.recommender import Recommender
from buir.recommend.similarity import vectors_of

__all__ = [
    "Above",
    "AtLeast",
    "Catalogue",
    "HeldOut",
    "Lookup",
    "MetricAtK",
    "Recommender",
    "as_labels",
    "check_parameters",
    "held_out_pairs",
    "lookups",
    "recommend_frame",
    "vectors_of",
]
