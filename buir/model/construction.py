"""From hyper-parameters to the networks: what "auto" means, and which encoder reads which graph."""

from typing import Any

from buir.graph import BipartiteGraph, EmbeddingEncoder, Encoder, GraphEncoder, WalkEncoder
from buir.learning import Bootstrap, Weights

__all__ = ["batch_size", "make_bootstrap", "step_rates"]

SMALLEST_BATCH = 128
REFERENCE_BATCH = 1024
LARGEST_BATCH = 8192


def make_bootstrap(settings: Any, weights: Weights, graph: BipartiteGraph) -> Bootstrap:
    """Build online and target network over a graph.

    Parameters
    ----------
    settings
        An estimator with BUIR's hyper-parameters.
    weights
        Online weights, on the graph's device.
    graph
        The training graph.
    """
    encoder: Encoder = EmbeddingEncoder()
    if settings.encoder == "graph":
        encoder = GraphEncoder(graph, settings.n_layers, settings.edge_drop_rate)
    elif settings.encoder == "walk":
        encoder = WalkEncoder(graph, settings.n_layers, settings.walks)
    return Bootstrap(
        weights,
        encoder,
        graph.n_users,
        momentum=step_rates(settings, len(graph.col) // 2)[1],
        uniformity=settings.uniformity,
        row_sparse=row_sparse(settings, graph),
        output_target=settings.output_target,
    )


def row_sparse(settings: Any, graph: BipartiteGraph) -> bool:
    """Choose between steps that pass over the whole table and steps that gather the rows they read.

    A gathered row costs a few times what a row of a pass costs, so gathering pays when a step reads a small share of the table.
    """
    if settings.row_sparse != "auto":
        return settings.row_sparse
    width = 1 + settings.n_layers * settings.walks if settings.encoder == "walk" else 1
    reads = 2 * batch_size(settings, len(graph.col) // 2) * width
    return settings.encoder != "graph" and 3 * reads < graph.n_nodes


def batch_size(settings: Any, n_pairs: int) -> int:
    """Return the pairs of a step; "auto" aims at 32 to 64 steps an epoch, in powers of two from 128 to 8,192."""
    if settings.batch_size != "auto":
        return settings.batch_size
    size = SMALLEST_BATCH
    while size < LARGEST_BATCH and 64 * size <= n_pairs:
        size *= 2
    return min(size, n_pairs)


def step_rates(settings: Any, n_pairs: int) -> tuple[float, float]:
    r"""Return the learning rate and the momentum of a step.

    The fields are meant for batches of 1,024. With ``batch_size="auto"`` a batch b times as large takes :math:`\eta\sqrt b` (the noise of a mean over
    b times as many pairs is :math:`\sqrt b` times smaller) and :math:`\tau^b` (the target forgets as much in an epoch as before); up to
    65,536 pairs were measured (docs/results/README.md). A batch given as a number takes the rates as they are given.
    A smaller batch keeps the rates: few pairs need all the steps that they can give.
    """
    if settings.batch_size != "auto":
        return settings.learning_rate, settings.momentum
    growth = max(1.0, batch_size(settings, n_pairs) / REFERENCE_BATCH)
    return settings.learning_rate * growth**0.5, settings.momentum**growth
