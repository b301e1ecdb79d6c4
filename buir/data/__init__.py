"""Who had what: interactions, the files they come from, what may be wrong with them, and their splits."""

from buir.data import datasets, doctor, splits
from buir.data.datasets import load
from buir.data.files.columns import ROLES
from buir.data.files.description import describe
from buir.data.files.formats import FORMATS
from buir.data.files.readers import read, read_split
from buir.data.files.text import read_text
from buir.data.files.writing import remove_leftovers, replace_atomically
from buir.data.ingest import IngestReport
from buir.data.inputs import Labelled, as_csr, fit_inputs, partial_fit_inputs, weigh_rows
from buir.data.interactions import Interactions
from buir.data.sparse import binary, canonical, degrees, has_weights, keep, pattern, take, weighted
from buir.data.splits import Split, author_split, given_split, leave_one_out, nested_levels, nested_split, time_split
from buir.data.synthetic import make_interactions
from buir.data.weights import WEIGHTINGS, PairWeights, bm25, counts, half_life, log_counts, reading_weights, weighting

__all__ = [
    "FORMATS",
    "ROLES",
    "WEIGHTINGS",
    "IngestReport",
    "Interactions",
    "Labelled",
    "PairWeights",
    "Split",
    "as_csr",
    "author_split",
    "binary",
    "bm25",
    "canonical",
    "counts",
    "datasets",
    "degrees",
    "describe",
    "doctor",
    "fit_inputs",
    "given_split",
    "half_life",
    "has_weights",
    "keep",
    "leave_one_out",
    "load",
    "log_counts",
    "make_interactions",
    "nested_levels",
    "nested_split",
    "partial_fit_inputs",
    "pattern",
    "read",
    "read_split",
    "read_text",
    "reading_weights",
    "remove_leftovers",
    "replace_atomically",
    "splits",
    "take",
    "time_split",
    "weigh_rows",
    "weighted",
    "weighting",
]
