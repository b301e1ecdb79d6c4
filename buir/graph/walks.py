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
    so an output averages its own row and n_layers * walks others, whatever the size of the graph.

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
        # u is below 1 by at least 2^-24, so that u * degree, rounded to float32, is below degree
        choice = (uniform(counter, stream(key, step)) * degree).to(torch.int32)
        # an isolated node at the end of the graph has no edge to look at
        edge = graph.rowptr.index_select(0, here).add_(choice).clamp_(max=max(len(graph.col) - 1, 0))
        here = torch.where(degree > 0, graph.col.index_select(0, edge), here) if len(graph.col) else here
        degree = graph.degree.index_select(0, here)
        nodes.append(here.view(-1, walks))
        degrees.append(degree.view(-1, walks))
    end_degree = torch.cat(degrees, dim=1)
    # Layer 0 is the row itself with weight 1; an isolated start has no further layer.
    weight = torch.sqrt(degrees[0] / end_degree.clamp(min=1)) / (walks * (n_layers + 1))
    weight[:, 0] = 1 / (n_layers + 1)
    return Bags(torch.cat(nodes, dim=1).view(-1), weight.view(-1), 1 + n_layers * walks)
