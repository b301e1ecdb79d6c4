"""Random walks as a sampled, unbiased view of the propagation."""

import torch
from torch import Tensor

from buir.graph.bipartite import BipartiteGraph
from buir.graph.hashing import stream, uniform
from buir.graph.reads import Bags


def sample_walks(graph: BipartiteGraph, rows: Tensor, n_layers: int, walks: int, key: int) -> Bags:
    r"""Draw walks from each of ``rows``; read with the returned weights, they are an unbiased view of the propagation.

    With :math:`\tilde A^k = D^{1/2} (D^{-1} A)^k D^{-1/2}`, row s of :math:`\tilde A^k E` is the expectation of
    :math:`\sqrt{d_s / d_t}\, E_t` over a k-step walk from s that ends in t. Every step of a walk serves its own layer,
    so an output averages its own row and n_layers * walks others, whatever the size of the graph. A step takes an edge
    in proportion to its weight.

    Parameters
    ----------
    graph
        Where to walk.
    rows
        Nodes to start from, int64 (n_rows,); a repeated node gets its own walks.
    n_layers
        Steps of a walk.
    walks
        Walks from each row.
    key
        Hash key of the draws.

    Returns
    -------
    Bags of width 1 + n_layers * walks.
    """
    start = rows.to(torch.int32)
    here = start.repeat_interleave(walks)
    counter = torch.arange(len(here), dtype=torch.int32, device=rows.device)
    nodes = [start.unsqueeze(1)]
    degrees = [graph.degree.index_select(0, start).unsqueeze(1)]
    degree = degrees[0].view(-1).repeat_interleave(walks)
    for step in range(n_layers):
        share = uniform(counter, stream(key, step))
        edge = _edges(graph, here, share, degree) if graph.reach is None else _heavy_edges(graph, here, share)
        here = torch.where(degree > 0, graph.col.index_select(0, edge), here) if len(graph.col) else here
        degree = graph.degree.index_select(0, here)
        nodes.append(here.view(-1, walks))
        degrees.append(degree.view(-1, walks))
    end_degree = torch.cat(degrees, dim=1)
    # Layer 0 is the row itself with weight 1; an isolated start has no further layer.
    weight = torch.sqrt(degrees[0] / torch.where(end_degree > 0, end_degree, 1)) / (walks * (n_layers + 1))
    weight[:, 0] = 1 / (n_layers + 1)
    return Bags(torch.cat(nodes, dim=1).view(-1), weight.view(-1), 1 + n_layers * walks)


def _edges(graph: BipartiteGraph, here: Tensor, share: Tensor, degree: Tensor) -> Tensor:
    """Return the edge of each node that a share in [0, 1) falls on, where all its edges weigh the same."""
    # the share is below 1 by at least 2^-24, so that share * degree, rounded to float32, is below degree
    choice = (share * degree).to(torch.int32)
    # an isolated node at the end of the graph has no edge to look at
    return graph.rowptr.index_select(0, here).add_(choice).clamp_(max=max(len(graph.col) - 1, 0))


def _heavy_edges(graph: BipartiteGraph, here: Tensor, share: Tensor) -> Tensor:
    """Return the same where edges have weights: each node's stretch of ``reach`` is cut in their proportion."""
    assert graph.reach is not None
    first, end = (graph.rowptr.index_select(0, node) for node in (here, here + 1))
    start, stop = (graph.reach.index_select(0, edge) for edge in (first, end))
    edge = torch.searchsorted(graph.reach, torch.lerp(start, stop, share.double()), right=True) - 1
    # rounding must not lead to another node's edge; an isolated node is told by its degree
    return torch.minimum(torch.maximum(edge.to(torch.int32), first), end - 1).clamp_(0, max(len(graph.col) - 1, 0))
