"""Slow and obvious float64 oracles of the core: dense matrices, loops, formulas as the paper writes them."""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from buir.graph.bipartite import BipartiteGraph
from buir.graph.reads import Bags

UINT32 = 0xFFFFFFFF
UINT64 = 0xFFFFFFFFFFFFFFFF


def random_matrix(n_users: int = 14, n_items: int = 11, density: float = 0.25, seed: int = 0) -> csr_array:
    """A random pattern whose user 3 and item 5 have nobody, and whose item 0 has one user."""
    dense = np.random.default_rng(seed).random((n_users, n_items)) < density
    dense[3], dense[:, 5], dense[:, 0] = False, False, False
    dense[1, 0] = True
    return csr_array(dense.astype(np.float32))


def graph_of(matrix: csr_array, dtype: torch.dtype = torch.float64) -> BipartiteGraph:
    return BipartiteGraph.from_matrix(matrix).to("cpu", dtype)


def adjacency(matrix: csr_array) -> Tensor:
    """D^-1/2 Adj D^-1/2 of the bipartite graph, float64 (n_nodes, n_nodes)."""
    n_users, n_items = matrix.shape
    pattern = np.zeros((n_users + n_items, n_users + n_items))
    for user, item in zip(*matrix.nonzero(), strict=True):
        pattern[user, n_users + item] = pattern[n_users + item, user] = 1
    degree = pattern.sum(axis=1)
    for row, col in np.argwhere(pattern):
        pattern[row, col] /= math.sqrt(degree[row] * degree[col])
    return torch.from_numpy(pattern)


def as_dense(graph: BipartiteGraph, weight: Tensor) -> Tensor:
    """The matrix that the graph's CSR holds with these edge weights."""
    dense = torch.zeros(graph.n_nodes, graph.n_nodes, dtype=weight.dtype)
    for row in range(graph.n_nodes):
        for edge in range(int(graph.rowptr[row]), int(graph.rowptr[row + 1])):
            dense[row, int(graph.col[edge])] += weight[edge]
    return dense


def mean_of_powers(matrix: Tensor, n_layers: int) -> Tensor:
    """(I + A + ... + A^L) / (L + 1)."""
    power = total = torch.eye(len(matrix), dtype=matrix.dtype)
    for _ in range(n_layers):
        power = matrix @ power
        total = total + power
    return total / (n_layers + 1)


def reading_matrix(bags: Bags, n_nodes: int) -> torch.Tensor:
    """The dense matrix whose product with a table is what the bags read."""
    n_outputs = len(bags.node) // bags.width
    matrix = torch.zeros(n_outputs, n_nodes, dtype=torch.float64)
    for entry, (node, weight) in enumerate(zip(bags.node.tolist(), bags.weight.tolist(), strict=True)):
        matrix[entry // bags.width, node] += weight
    return matrix


def hash_pair(row: int, col: int) -> int:
    """SplitMix64's finaliser of row * 2^32 + col, its upper half; a signed 32-bit integer."""
    state = (row << 32 | col) & UINT64
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & UINT64
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & UINT64
    return signed(state >> 32)


def hash_int(value: int, key: int) -> int:
    """MurmurHash3's finaliser of value ^ key, in Python's integers; a signed 32-bit integer."""
    x = (value ^ key) & UINT32
    x ^= x >> 16
    x = x * 0x85EBCA6B & UINT32
    x ^= x >> 13
    x = x * 0xC2B2AE35 & UINT32
    x ^= x >> 16
    return signed(x)


def signed(x: int) -> int:
    return x - (1 << 32) if x >= 1 << 31 else x


def mask_matrix(graph: BipartiteGraph, rate: float, key: int) -> Tensor:
    """1 / (1 - rate) where the directed edge (row, col) is kept, else 0, float64 (n_nodes, n_nodes)."""
    kept = torch.zeros(graph.n_nodes, graph.n_nodes, dtype=torch.float64)
    for row in range(graph.n_nodes):
        for col in graph.col[graph.rowptr[row] : graph.rowptr[row + 1]].tolist():
            share = (hash_int(hash_pair(row, col), key) + 2**31) / 2**32
            kept[row, col] = 1 / (1 - rate) if share < 1 - rate else 0.0
    return kept


def bootstrap(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean over the rows of |p / |p| - z / |z||^2, one row after the other."""
    return sum(((p / p.norm() - z / z.norm()) ** 2).sum() for p, z in zip(predicted, target, strict=True)) / len(target)


class DenseBuir:
    """BUIR with dense matrices: one encoder matrix a call, Adam and the moving average written out."""

    def __init__(self, table: Tensor, weight: Tensor, bias: Tensor, n_users: int) -> None:
        self.online = [part.detach().clone().requires_grad_() for part in (table, weight, bias)]
        self.target = table.detach().clone()
        self.n_users = n_users
        self.mean = [torch.zeros_like(part) for part in self.online]
        self.square = [torch.zeros_like(part) for part in self.online]
        self.steps = 0

    def loss(self, online_encoder: Tensor, target_encoder: Tensor) -> Tensor:
        """Of encoder matrices with a row for each user of the batch, then one for each item."""
        table, weight, bias = self.online
        online = online_encoder @ table
        target = target_encoder @ self.target
        n = len(online) // 2
        loss = torch.zeros((), dtype=torch.float64)
        for pair in range(n):
            for one, other in ((pair, n + pair), (n + pair, pair)):
                predicted = weight @ online[one] + bias
                cosine = predicted @ target[other] / (predicted.norm() * target[other].norm())
                loss = loss + 2 - 2 * cosine
        return loss / n

    def step(
        self, loss: Tensor, learning_rate: float, weight_decay: float, momentum: float, rows: list[int] | None = None
    ) -> None:
        """Adam with an L2 gradient, then every target row moves.

        With ``rows``, only these rows of the table have moments that change and move, with decoupled decay.
        """
        gradients = torch.autograd.grad(loss, self.online)
        self.steps += 1
        with torch.no_grad():
            for i, (part, gradient) in enumerate(zip(self.online, gradients, strict=True)):
                lazy = i == 0 and rows is not None
                where = rows if lazy else slice(None)
                gradient = gradient if lazy else gradient + weight_decay * part
                self.mean[i][where] = (0.9 * self.mean[i] + 0.1 * gradient)[where]
                self.square[i][where] = (0.999 * self.square[i] + 0.001 * gradient**2)[where]
                corrected = self.mean[i] / (1 - 0.9**self.steps)
                scale = (self.square[i] / (1 - 0.999**self.steps)).sqrt() + 1e-8
                kept = (1 - learning_rate * weight_decay) * part if lazy else part
                part[where] = (kept - learning_rate * corrected / scale)[where]
            self.target = momentum * self.target + (1 - momentum) * self.online[0]


def finite_differences(function: Callable[[Tensor], Tensor], at: Tensor, step: float = 1e-6) -> Tensor:
    """Central differences of a scalar function, one coordinate after the other."""
    gradient = torch.zeros_like(at)
    for i in range(at.numel()):
        moved = [at.detach().clone() for _ in range(2)]
        moved[0].view(-1)[i] += step
        moved[1].view(-1)[i] -= step
        gradient.view(-1)[i] = (function(moved[0]) - function(moved[1])) / (2 * step)
    return gradient
