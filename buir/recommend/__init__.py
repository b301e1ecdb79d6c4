"""The verbs of every model: lists, similar rows, raw ids; and the terms that a fitted score keeps."""

from buir.recommend.foreign import recommend_frame
from buir.recommend.frames import Catalogue, steering_rows
from buir.recommend.ids import read_histories
from buir.recommend.lookup import Lookup, lookups
from buir.recommend.parameters import answer, answering, check_callback, estimator, unknown_parameters
from buir.recommend.ranges import (
    Above,
    AtLeast,
    MetricAtK,
    Parameter,
    Strengths,
    Terms,
    check_parameters,
    parameters_of,
)
from buir.recommend.recommender import Recommender
from buir.recommend.score_terms import (
    BLOCKS,
    CHEAP,
    EVEN,
    FILTERS,
    MOST_CHOSEN,
    TERMS,
    ScoreTerms,
    choose_filter,
    choose_with_block,
    make_terms,
    width_of_block,
    with_block,
    with_filter,
    with_strengths,
)
from buir.recommend.similarity import vectors_of
from buir.recommend.steering import STRONGEST, Steering, steer

__all__ = [
    "BLOCKS",
    "CHEAP",
    "EVEN",
    "FILTERS",
    "MOST_CHOSEN",
    "STRONGEST",
    "TERMS",
    "Above",
    "AtLeast",
    "Catalogue",
    "Lookup",
    "MetricAtK",
    "Parameter",
    "Recommender",
    "ScoreTerms",
    "Steering",
    "Strengths",
    "Terms",
    "answer",
    "answering",
    "check_callback",
    "check_parameters",
    "choose_filter",
    "choose_with_block",
    "estimator",
    "lookups",
    "make_terms",
    "parameters_of",
    "read_histories",
    "recommend_frame",
    "steer",
    "steering_rows",
    "unknown_parameters",
    "vectors_of",
    "width_of_block",
    "with_block",
    "with_filter",
    "with_strengths",
]
