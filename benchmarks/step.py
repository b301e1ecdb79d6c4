"""(a) Steps and epochs of our encoders against the plain implementation, on Gowalla's training graph."""

import warnings
from collections.abc import Callable

import torch
from scipy.sparse import csr_array
from torch_geometric import EdgeIndex

from benchmarks.data import generated, gowalla
from benchmarks.measure import Report, Row, alternate, seconds, start, times
from benchmarks.ours import OurTraining
from benchmarks.plain import PlainBUIR, normalised_adjacency
from buir import BUIR
from buir.graph.bipartite import BipartiteGraph
from buir.graph.propagation import propagate

EDGE_DROP = 0.2
DEFAULT_BATCH = 8192


def batches(n_pairs: int, size: int, device: str) -> Callable[[], torch.Tensor]:
    """Return a function that draws the places of a random batch, the same sequence for every caller."""
    generator = torch.Generator(device).manual_seed(0)
    return lambda: torch.randint(n_pairs, (size,), generator=generator, device=device)


def whole_graph_step(report: Report, train: csr_array, dim: int, bar: str, repeats: int) -> None:
    """One step of the same model with exact options only: edges drop, dense Adam, every row of the target moves."""
    settings = {"embedding_dim": dim, "n_layers": 3, "edge_drop_rate": EDGE_DROP, "momentum": 0.995}
    settings |= {"learning_rate": 1e-3, "weight_decay": 1e-4, "batch_size": 1024}
    device = report.args.device
    plain = PlainBUIR(train, device=device, **settings)
    ours = OurTraining(BUIR(encoder="graph", row_sparse=False, device=device, **settings), train)
    draws = [batches(train.nnz, 1024, device) for _ in range(2)]

    def run(side: PlainBUIR | OurTraining, draw: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        users, items = (plain.users, plain.items) if side is plain else (ours.pairs.users, ours.pairs.items)

        def once() -> torch.Tensor:
            batch = draw()
            return side.step(users[batch], items[batch])

        return once

    took = alternate({"plain": run(plain, draws[0]), "ours": run(ours, draws[1])}, repeats)
    report.add(
        Row(
            f"whole-graph step, d = {dim}",
            f"{graph_name(train)}, L = 3, batch 1,024, edge drop U(0, {EDGE_DROP}), dense Adam, median of {repeats}",
            seconds(took["plain"]),
            seconds(took["ours"]),
            times(took["plain"], took["ours"]),
            bar,
        )
    )


def walk_epochs(report: Report, train: csr_array, repeats: int) -> None:
    """Epochs of the walk encoder; the plain epoch is its number of steps times the median step, since a whole one takes many minutes."""
    settings = {"embedding_dim": 64, "n_layers": 2}
    plain_epoch = {}
    device = report.args.device
    for size in (1024, DEFAULT_BATCH):
        plain = PlainBUIR(train, edge_drop_rate=EDGE_DROP, batch_size=size, device=device, **settings)
        draw = batches(train.nnz, size, device)

        def once(plain: PlainBUIR = plain, draw: Callable[[], torch.Tensor] = draw) -> torch.Tensor:
            batch = draw()
            return plain.step(plain.users[batch], plain.items[batch])

        plain_epoch[size] = alternate({"step": once}, repeats)["step"] * plain.n_steps
    for size, plain_size, bar in (
        (1024, 1024, "40 x"),
        (DEFAULT_BATCH, 1024, "90 x"),
        (DEFAULT_BATCH, DEFAULT_BATCH, ""),
    ):
        ours = OurTraining(BUIR(encoder="walk", walks=8, batch_size=size, device=device, **settings), train)
        took = alternate({"ours": ours.epoch}, 1 if size == 1024 else min(repeats, 3), warmup=0)["ours"]
        report.add(
            Row(
                f"walk epoch at batch {size:,}",
                f"{graph_name(train)}, d = 64, L = 2, 8 walks; plain at batch {plain_size:,}: its steps x the median of {repeats}",
                seconds(plain_epoch[plain_size]),
                seconds(took),
                times(plain_epoch[plain_size], took),
                bar,
            )
        )


def against_edge_index(report: Report, train: csr_array, repeats: int) -> None:
    """Three layers of propagation, forward and backward, without edge drop: PyG's fastest way and ours."""
    graph = BipartiteGraph.from_matrix(train)
    indices, values = normalised_adjacency(train)
    edges = EdgeIndex(indices, sparse_size=(graph.n_nodes, graph.n_nodes), is_undirected=True)
    edges, order = edges.sort_by("row")
    edges.fill_cache_()
    values = values[order]
    rows = torch.arange(graph.n_nodes)
    table = torch.randn(graph.n_nodes, 64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    upstream = torch.ones_like(table)

    def pyg() -> torch.Tensor:
        layer = total = table
        for _ in range(3):
            layer = edges.matmul(layer, input_value=values)
            total = total + layer
        table.grad = None
        (total / 4).backward(upstream)
        return table.grad

    def ours() -> torch.Tensor:
        table.grad = None
        propagate(table, graph, 3, rows).backward(upstream)
        return table.grad

    torch.testing.assert_close(pyg(), ours(), rtol=1e-3, atol=1e-5)
    took = alternate({"pyg": pyg, "ours": ours}, repeats)
    report.add(
        Row(
            "propagation, forward and backward",
            f"{graph_name(train)}, d = 64, L = 3, all rows, no edge drop; plain is PyG's EdgeIndex.matmul",
            seconds(took["pyg"]),
            seconds(took["ours"]),
            times(took["pyg"], took["ours"]),
        )
    )


def graph_name(train: csr_array) -> str:
    """Name a graph by its size."""
    return f"{train.shape[0]:,} users, {train.shape[1]:,} items, {train.nnz:,} pairs"


def main() -> None:
    """Run all comparisons of steps."""
    warnings.filterwarnings("ignore", message="Sparse (CSR|invariant)")
    report = start("Step and epoch against the plain implementation")
    train = generated(20_000) if report.args.smoke else gowalla()[0].matrix
    repeats = 2 if report.args.smoke else 7
    whole_graph_step(report, train, 64, "9 x", repeats)
    whole_graph_step(report, train, 250, "7 x", repeats)
    walk_epochs(report, train, repeats)
    against_edge_index(report, train, repeats)
    report.write()


if __name__ == "__main__":
    main()
