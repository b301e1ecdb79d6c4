"""The bipartite graph and how it is read: propagation, walks, encoders."""

from buir.graph.bipartite import BipartiteGraph
from buir.graph.encoders import EmbeddingEncoder, Encoder, GraphEncoder, WalkEncoder
from buir.graph.hashing import mix, permutation, stream
from buir.graph.propagation import layer_tables, neighbour_sum, propagate
from buir.graph.walks import Bags, read, sample_walks

__all__ = [
    "Bags",
    "BipartiteGraph",
    "EmbeddingEncoder",
    "Encoder",
    "GraphEncoder",
    "WalkEncoder",
    "layer_tables",
    "mix",
    "neighbour_sum",
    "permutation",
    "propagate",
    "read",
    "sample_walks",
    "stream",
]
