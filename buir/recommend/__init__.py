"""The verbs of every model: lists, similar rows, raw ids; and the terms that a fitted score keeps."""

from buir.recommend.foreign import recommend_frame
from buir.recommend.frames import Catalogue, steering_rows
from buir.recommend.held_out import HeldOut, held_out_pairs
from buir.recommend.lookup import Lookup, as_labels, lookups
from buir.recommend.ranges import Above, AtLeast, MetricAtK, Strengths, Terms, check_parameters
from buir.recommend.recommender import Recommender
from buir.recommend.score_terms import BLOCKS, TERMS, ScoreTerms, make_terms
from buir.recommend.similarity import vectors_of
from buir.recommend.steering import Steering, steer

__all__ = [
    "BLOCKS",
    "TERMS",
    "Above",
    "AtLeast",
    "Catalogue",
    "HeldOut",
    "Lookup",
    "MetricAtK",
    "Recommender",
    "ScoreTerms",
    "Steering",
    "Strengths",
    "Terms",
    "as_labels",
    "check_parameters",
    "held_out_pairs",
    "lookups",
    "make_terms",
    "recommend_frame",
    "steer",
    "steering_rows",
    "vectors_of",
]
