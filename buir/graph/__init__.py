"""The bipartite graph and how it is read: weighted reads, propagation, walks, encoders, spectrum."""

from buir.graph.bipartite import BipartiteGraph
from buir.graph.encoders import EmbeddingEncoder, Encoder, GraphEncoder, WalkEncoder
from buir.graph.hashing import mix, permutation, stream, uniform
from buir.graph.propagation import propagate, sum_of_layers
from buir.graph.reads import Bags, neighbour_sum, read, take_rows
from buir.graph.spectral import Spectrum, spectral_factors
from buir.graph.walks import sample_walks

__all__ = [
    "Bags",
    "BipartiteGraph",
    "EmbeddingEncoder",
    "Encoder",
    "GraphEncoder",
    "Spectrum",
    "WalkEncoder",
    "mix",
    "neighbour_sum",
    "permutation",
    "propagate",
    "read",
    "sample_walks",
    "spectral_factors",
    "stream",
    "sum_of_layers",
    "take_rows",
    "uniform",
]
