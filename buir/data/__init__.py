"""Who had what: interactions, the files they come from, what may be wrong with them, and their splits."""

from buir.data import datasets, doctor, splits
from buir.data.datasets import load
from buir.data.files.columns import ROLES
from buir.data.files.description import describe
from buir.data.files.formats import FORMATS
from buir.data.files.readers import read, read_split, read_titles
from buir.data.files.text import read_text
from buir.data.files.writing import remove_leftovers, replace_atomically, replacing
from buir.data.ingest import IngestReport
from buir.data.inputs import (
    Labelled,
    Placed,
    as_csr,
    fit_inputs,
    partial_fit_inputs,
    place,
    warn_of_ratings,
    weigh_rows,
)
from buir.data.interactions import Interactions, html_table
from buir.data.labels import as_labels, column_of, frame_ids, is_frame
from buir.data.sparse import (
    binary,
    canonical,
    degrees,
    has_weights,
    keep,
    of_some_users,
    outside,
    pattern,
    take,
    weighted,
)
from buir.data.splits import (
    LEAST_HELD,
    LEAST_PAIRS,
    Split,
    author_split,
    given_split,
    hold_out,
    leave_one_out,
    nested_levels,
    nested_split,
    time_split,
)
from buir.data.synthetic import make_interactions
from buir.data.weights import WEIGHTINGS, PairWeights, bm25, counts, half_life, log_counts, reading_weights, weighting

__all__ = [
    "FORMATS",
    "LEAST_HELD",
    "LEAST_PAIRS",
    "ROLES",
    "WEIGHTINGS",
    "IngestReport",
    "Interactions",
    "Labelled",
    "PairWeights",
    "Placed",
    "Split",
    "as_csr",
    "as_labels",
    "author_split",
    "binary",
    "bm25",
    "canonical",
    "column_of",
    "counts",
    "datasets",
    "degrees",
    "describe",
    "doctor",
    "fit_inputs",
    "frame_ids",
    "given_split",
    "half_life",
    "has_weights",
    "hold_out",
    "html_table",
    "is_frame",
    "keep",
    "leave_one_out",
    "load",
    "log_counts",
    "make_interactions",
    "nested_levels",
    "nested_split",
    "of_some_users",
    "outside",
    "partial_fit_inputs",
    "pattern",
    "place",
    "read",
    "read_split",
    "read_text",
    "read_titles",
    "reading_weights",
    "remove_leftovers",
    "replace_atomically",
    "replacing",
    "splits",
    "take",
    "time_split",
    "warn_of_ratings",
    "weigh_rows",
    "weighted",
    "weighting",
]
