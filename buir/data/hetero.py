"""A bipartite graph of PyG, with two kinds of nodes, as arrays of pairs and labels; and back."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from buir.data.labels import as_ids, as_times
from buir.errors import needing

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from buir.data.interactions import Interactions

EDGE_TYPE = ("user", "interacts", "item")


def make_graph(data: "Interactions") -> "HeteroData":
    """Return nodes "user" and "item" with ``num_nodes`` and ``ids``, edges with ``position``, ``time``, ``weight``."""
    import torch

    with needing("a graph of PyG"):
        from torch_geometric.data import HeteroData

    graph = HeteroData()
    for kind, labels in (("user", data.user_ids), ("item", data.item_ids)):
        graph[kind].num_nodes = len(labels)
        graph[kind].ids = torch.from_numpy(labels.copy()) if labels.dtype == np.int64 else labels.tolist()
    order = np.argsort(data.positions, kind="stable")
    edges = graph[EDGE_TYPE]
    edges.edge_index = torch.from_numpy(np.stack([data.users[order], data.items[order]]).astype(np.int64))
    edges.position = torch.from_numpy(data.positions[order])
    if data.times is not None:
        edges.time = torch.from_numpy(data.times[order])
    if data.weights is not None:
        edges.weight = torch.from_numpy(data.weights[order])
    return graph


def read_graph(
    data: "HeteroData", edge_type: tuple[str, str, str] | None
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Return labels of both kinds of nodes, pairs (2, n), and, if there, positions, times and weights of the edges.

    Raises
    ------
    ValueError
        If it cannot be told which edges are meant, or an edge points outside the nodes.
    """
    if edge_type is None:
        found = [kind for kind in data.edge_types if kind[0] == "user" and kind[2] != "user"]
        if len(found) != 1:
            msg = f"cannot tell which edges of the graph are interactions among {data.edge_types}; pass edge_type"
            raise ValueError(msg)
        edge_type = found[0]
    if edge_type not in data.edge_types:
        msg = f"the graph has no edges {edge_type}; it has {data.edge_types}"
        raise ValueError(msg)
    edges = data[edge_type]
    pairs = edges.edge_index.cpu().numpy()
    user_ids, item_ids = (_node_ids(data[kind], kind) for kind in (edge_type[0], edge_type[2]))
    for kind, rows, n in ((edge_type[0], pairs[0], len(user_ids)), (edge_type[2], pairs[1], len(item_ids))):
        outside = rows[(rows < 0) | (rows >= n)]
        if outside.size:
            msg = f"an edge names {kind} {outside[0]}, expected 0 to {n - 1}; correct num_nodes of {kind!r}"
            raise ValueError(msg)
    positions = edges.position.cpu().numpy() if "position" in edges else None
    times = as_times(edges.time.cpu().numpy()) if "time" in edges else None
    weights = edges.weight.cpu().numpy() if "weight" in edges else None
    return (user_ids, item_ids), pairs, positions, times, weights


def _node_ids(nodes: Any, kind: str) -> np.ndarray:
    with warnings.catch_warnings():  # the error below says it better
        warnings.simplefilter("ignore", UserWarning)
        n = nodes.num_nodes
    if n is None:
        msg = f"the graph does not say how many {kind!r} nodes it has; set num_nodes"
        raise ValueError(msg)
    if "ids" not in nodes:
        return np.arange(n, dtype=np.int64)
    return as_ids(nodes.ids if isinstance(nodes.ids, list) else nodes.ids.cpu().numpy(), kind)
