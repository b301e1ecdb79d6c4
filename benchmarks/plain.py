"""BUIR-nb written plainly, as the paper describes it: what our speed is compared with.

It is the model that a careful reader of the paper writes with torch's own parts: every operation is vectorised and there is no Python loop
over pairs or users, but the adjacency matrix is a COO tensor that is built anew for every call of an encoder, every step propagates over
the whole graph for both encoders, the optimiser is torch's default Adam over both tables, the moving average visits every row, and
evaluation sorts all items of every user.
"""

import copy

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.nn import functional


class PlainEncoder(nn.Module):
    """LightGCN: the mean over the layers 0..L of the normalised adjacency's powers times the table."""

    def __init__(self, train: csr_array, embedding_dim: int, n_layers: int, edge_drop_rate: float) -> None:
        super().__init__()
        self.n_users, self.n_items = train.shape
        self.n_layers = n_layers
        self.edge_drop_rate = edge_drop_rate
        self.user_table = nn.Parameter(torch.empty(self.n_users, embedding_dim))
        self.item_table = nn.Parameter(torch.empty(self.n_items, embedding_dim))
        nn.init.xavier_uniform_(self.user_table)
        nn.init.xavier_uniform_(self.item_table)
        indices, values = normalised_adjacency(train)
        self.register_buffer("indices", indices)
        self.register_buffer("values", values)

    def adjacency(self, *, augmented: bool) -> Tensor:
        """Build the sparse matrix of one call; augmented, each directed entry is dropped on its own at a rate drawn from U(0, edge_drop_rate)."""
        indices, values = self.indices, self.values
        if augmented and self.edge_drop_rate > 0:
            rate = torch.rand(()).item() * self.edge_drop_rate
            kept = torch.rand(len(values), device=values.device) >= rate
            indices, values = indices[:, kept], values[kept] / (1 - rate)
        n_nodes = self.n_users + self.n_items
        return torch.sparse_coo_tensor(indices, values, (n_nodes, n_nodes), check_invariants=False)

    def forward(self, *, augmented: bool) -> tuple[Tensor, Tensor]:
        """Represent all users and all items."""
        adjacency = self.adjacency(augmented=augmented)
        layer = torch.cat([self.user_table, self.item_table])
        layers = [layer]
        for _ in range(self.n_layers):
            layer = torch.sparse.mm(adjacency, layer)
            layers.append(layer)
        users, items = torch.stack(layers).mean(dim=0).split([self.n_users, self.n_items])
        return users, items


class PlainBUIR:
    """Online and target encoder, predictor, Adam with L2, and a moving average over all rows.

    Parameters
    ----------
    train
        Training pairs, shape (n_users, n_items).
    edge_drop_rate
        Upper bound of the drop rate that each encoder call draws; 0 is off.
    seed
        Seeds torch's global generator here, once: this is a stand-alone program, unlike the package.
    """

    def __init__(
        self,
        train: csr_array,
        *,
        embedding_dim: int = 64,
        n_layers: int = 3,
        edge_drop_rate: float = 0.2,
        momentum: float = 0.995,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        batch_size: int = 1024,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(seed)  # noqa: TID251
        self.train = csr_array(train)
        pairs = self.train.tocoo()
        self.users = torch.from_numpy(pairs.row.astype(np.int64)).to(device)
        self.items = torch.from_numpy(pairs.col.astype(np.int64)).to(device)
        self.momentum = momentum
        self.batch_size = batch_size
        self.online = PlainEncoder(self.train, embedding_dim, n_layers, edge_drop_rate).to(device)
        self.target = copy.deepcopy(self.online).requires_grad_(requires_grad=False)
        self.predictor = nn.Linear(embedding_dim, embedding_dim).to(device)
        parameters = [*self.online.parameters(), *self.predictor.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=learning_rate, weight_decay=weight_decay)

    @property
    def n_steps(self) -> int:
        """Steps of one epoch."""
        return -(-len(self.users) // self.batch_size)

    def loss(self, users: Tensor, items: Tensor) -> Tensor:
        """Both directions of the bootstrap loss, averaged over the pairs."""
        online_users, online_items = self.online(augmented=True)
        with torch.no_grad():
            target_users, target_items = self.target(augmented=True)
        user_side = functional.cosine_similarity(self.predictor(online_users[users]), target_items[items])
        item_side = functional.cosine_similarity(self.predictor(online_items[items]), target_users[users])
        return (4 - 2 * user_side - 2 * item_side).mean()

    def step(self, users: Tensor, items: Tensor) -> Tensor:
        """Take one training step on a batch of pairs; return its loss."""
        self.optimizer.zero_grad()
        loss = self.loss(users, items)
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(self.target.parameters(), self.online.parameters(), strict=True):
                slow.mul_(self.momentum).add_(fast, alpha=1 - self.momentum)
        return loss.detach()

    def epoch(self) -> float:
        """Train once on every pair, shuffled; return the mean loss of the steps."""
        order = torch.randperm(len(self.users), device=self.users.device)
        losses = [self.step(self.users[batch], self.items[batch]) for batch in order.split(self.batch_size)]
        return torch.stack(losses).mean().item()

    @torch.no_grad()
    def evaluate(self, held_out: csr_array, k: int = 20, block: int = 1024) -> float:
        """Mean NDCG at ``k`` over the users with held-out items, every item ranked by a full sort and the training items masked."""
        held_out = csr_array(held_out)
        users, items = self.online(augmented=False)
        predicted_users, predicted_items = self.predictor(users), self.predictor(items)
        device = users.device
        discount = 1 / torch.log2(torch.arange(2, k + 2, dtype=torch.float64, device=device))
        ideal = discount.cumsum(0)
        total = 0.0
        asked = np.flatnonzero(np.diff(held_out.indptr))
        for start in range(0, len(asked), block):
            rows = asked[start : start + block]
            scores = predicted_users[rows] @ items.T + users[rows] @ predicted_items.T
            scores[torch.from_numpy(self.train[rows].toarray() > 0).to(device)] = -torch.inf
            ranked = torch.argsort(scores, dim=1, descending=True)[:, :k]
            relevant = torch.from_numpy(held_out[rows].toarray() > 0).to(device)
            hits = relevant.gather(1, ranked).to(torch.float64)
            total += ((hits @ discount[: hits.shape[1]]) / ideal[relevant.sum(dim=1).clamp(max=k) - 1]).sum().item()
        return total / len(asked)


def normalised_adjacency(train: csr_array) -> tuple[Tensor, Tensor]:
    """Return the entries of D^-1/2 A D^-1/2 over users, then items: int64 (2, n_edges) and float32 (n_edges,)."""
    pairs = csr_array(train).tocoo()
    users, items = pairs.row.astype(np.int64), pairs.col.astype(np.int64) + train.shape[0]
    indices = np.stack([np.concatenate([users, items]), np.concatenate([items, users])])
    degree = np.bincount(indices[0], minlength=sum(train.shape)).astype(np.float64)
    values = 1 / np.sqrt(degree[indices[0]] * degree[indices[1]])
    return torch.from_numpy(indices), torch.from_numpy(values.astype(np.float32))
