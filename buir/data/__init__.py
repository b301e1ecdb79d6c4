"""Who had what: interactions, the files they come from, what may be wrong with them, and their splits."""

from buir.data import datasets, doctor, splits
from buir.data.datasets import load, load_split
from buir.data.description import describe
from buir.data.files.columns import ROLES
from buir.data.files.formats import FORMATS, check_text, read_bytes
from buir.data.files.readers import read, read_split
from buir.data.files.writing import replace_atomically
from buir.data.ingest import IngestReport
from buir.data.inputs import Labelled, Placed, as_csr, fit_inputs, partial_fit_inputs, place, warn_of_ratings
from buir.data.interactions import Interactions
from buir.data.labels import as_labels, column_of, frame_ids, is_frame
from buir.data.sparse import binary, canonical, keep, outside, take
from buir.data.splits import Split, author_split, given_split, leave_one_out, nested_levels, nested_split, time_split
from buir.data.synthetic import make_interactions

__all__ = [
    "FORMATS",
    "ROLES",
    "IngestReport",
    "Interactions",
    "Labelled",
    "Placed",
    "Split",
    "as_csr",
    "as_labels",
    "author_split",
    "binary",
    "canonical",
    "check_text",
    "column_of",
    "datasets",
    "describe",
    "doctor",
    "fit_inputs",
    "frame_ids",
    "given_split",
    "is_frame",
    "keep",
    "leave_one_out",
    "load",
    "load_split",
    "make_interactions",
    "nested_levels",
    "nested_split",
    "outside",
    "partial_fit_inputs",
    "place",
    "read",
    "read_bytes",
    "read_split",
    "replace_atomically",
    "splits",
    "take",
    "time_split",
    "warn_of_ratings",
]
