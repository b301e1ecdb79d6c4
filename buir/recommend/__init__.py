"""The verbs of every model: lists, similar rows, raw ids."""

from buir.recommend.arguments import as_count, as_rows, is_one, shaped
from buir.recommend.foreign import recommend_frame
from buir.recommend.lookup import as_index, binary, lookups
from buir.recommend.ranges import check_parameters
from buir.recommend.recommender import Recommender
from buir.recommend.similarity import most_similar, vectors_of

__all__ = [
    "Recommender",
    "as_count",
    "as_index",
    "as_rows",
    "binary",
    "check_parameters",
    "is_one",
    "lookups",
    "most_similar",
    "recommend_frame",
    "shaped",
    "vectors_of",
]
