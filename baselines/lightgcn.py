"""LightGCN trained with BPR, on torch_geometric's sparse product."""

from __future__ import annotations

import warnings
from typing import Annotated, Any

import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional

from buir.learning import DenseAdam, Validation, effective_rank
from buir.ranking import FactorScorer
from buir.recommend import Above, AtLeast, estimator

from .fitting import FittedInEpochs
from .negatives import NegativeSampler, bpr_loss

with warnings.catch_warnings():
    # Importing it compiles classes by a way that torch has deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch_geometric import EdgeIndex

INITIAL_SCALE = 0.1
"""Standard deviation of the initial table, as in the authors' code."""


class Propagation:
    r"""Mean over the layers of :math:`A^k E`, with :math:`A = D^{-1/2} \mathrm{Adj} D^{-1/2}` of users and items.

    The adjacency holds ones alone and both scalings are elementwise: its pattern is symmetric, so that ``EdgeIndex``
    uses one CSR for the product and for its gradient, and nothing is sorted, permuted or transposed in a step.

    Parameters
    ----------
    user_items
        Binary, shape (n_users, n_items).
    n_layers
        Products; 0 is plain matrix factorisation.
    device
        Where the graph lies.
    """

    def __init__(self, user_items: csr_array, n_layers: int, device: torch.device) -> None:
        n_users, n_items = user_items.shape
        pairs = user_items.tocoo()
        users, items = torch.from_numpy(pairs.row).int(), torch.from_numpy(pairs.col).int() + n_users
        edges = torch.stack([torch.cat([users, items]), torch.cat([items, users])])
        size = (n_users + n_items, n_users + n_items)
        build: Any = EdgeIndex  # a tensor's constructor hides its own from type checkers
        self.edges = build(edges, sparse_size=size, is_undirected=True).sort_by("row").values.to(device).fill_cache_()
        with warnings.catch_warnings():
            # torch says once in a process, here, that CSR tensors are in beta and unchecked; neither concerns the user.
            warnings.filterwarnings(
                "ignore", message="Sparse (CSR tensor support|invariant checks)", category=UserWarning
            )
            self.edges.matmul(torch.zeros(size[0], 1, device=device))
        degrees = torch.bincount(edges[0], minlength=size[0]).float()
        self.inverse_degree = degrees.clamp_min(1).reciprocal()[:, None].to(device)
        self.inverse_root = self.inverse_degree.sqrt()
        self.n_layers = n_layers

    def __call__(self, table: Tensor) -> Tensor:
        """Propagate ``table``, shape (n_users + n_items, d), users first."""
        if self.n_layers == 0:
            return table
        # The scalings of neighbouring layers are joined, since they cost as much as the product on a small graph.
        product = total = self.edges.matmul(table * self.inverse_root)
        for _ in range(self.n_layers - 1):
            product = self.edges.matmul(product * self.inverse_degree)
            total = total + product
        return (table + total * self.inverse_root) / (self.n_layers + 1)


def initial_table(shape: tuple[int, int], dim: int, seed: int, device: torch.device) -> Tensor:
    """Draw vectors of users, then of items, with gradient: on the CPU, so that every device starts from the same."""
    table = torch.randn(sum(shape), dim, generator=torch.Generator().manual_seed(seed)) * INITIAL_SCALE
    return table.to(device).requires_grad_()


class LightGCNLearner:
    """Table and optimiser: what the training loop sees of LightGCN.

    Parameters
    ----------
    settings
        The model whose hyper-parameters are used.
    user_items
        Training pairs, binary.
    validation
        None trains without looking at held-out data.
    device
        Where to train.
    """

    remedy = "lower learning_rate"

    def __init__(
        self, settings: LightGCN, user_items: csr_array, validation: Validation | None, device: torch.device
    ) -> None:
        self.n_users, self.validation, self.weight_decay = user_items.shape[0], validation, settings.weight_decay
        self.propagation = Propagation(user_items, settings.n_layers, device)
        self.sampler = NegativeSampler(user_items, device)
        self.table = initial_table(user_items.shape, settings.embedding_dim, settings.seed, device)
        self.optimiser = DenseAdam([self.table], settings.learning_rate, weight_decay=0.0)

    def loss(self, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
        """Return the BPR loss of the pairs plus the decay of the table's rows they are made of."""
        rows = torch.stack([users, items + self.n_users, negatives + self.n_users])
        # embedding() and not an index: its gradient adds up in a fixed order for any number of threads.
        user, item, negative = functional.embedding(rows, self.propagation(self.table)).unbind()
        decay = functional.embedding(rows, self.table).square().sum() / (2 * len(users))
        return bpr_loss((user * item).sum(dim=1), (user * negative).sum(dim=1)) + self.weight_decay * decay

    def step(self, users: Tensor, items: Tensor, key: int) -> Tensor:
        """Learn from a batch of pairs; return its loss."""
        self.optimiser.zero_grad()
        loss = self.loss(users, items, self.sampler.draw(users, key))
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def factors(self) -> tuple[Tensor, Tensor]:
        """Propagate the table as it is; return the users' and the items' vectors."""
        vectors = self.propagation(self.table.detach())
        return vectors[: self.n_users], vectors[self.n_users :]

    def validate(self) -> dict[str, Any]:
        """Measure the effective rank of all vectors, and the held-out pairs."""
        users, items = self.factors()
        record, scorer = {"effective_rank": effective_rank(torch.cat([users, items]))}, FactorScorer(users, items)
        return record if self.validation is None else record | self.validation(scorer) | self.validation.look(scorer)

    def snapshot(self) -> Tensor:
        """Copy the table."""
        return self.table.detach().clone()

    @torch.no_grad()
    def restore(self, snapshot: Tensor) -> None:
        """Take a copy's values."""
        self.table.copy_(snapshot)


@estimator
class LightGCN(FittedInEpochs):
    r"""Light graph convolution trained with Bayesian personalised ranking.

    .. math:: e = \frac{1}{L+1} \sum_{k=0}^{L} A^k E,\qquad
              \min_E\ -\log\sigma(e_u \cdot e_i - e_u \cdot e_j) + \frac{\lambda}{2}(|E_u|^2 + |E_i|^2 + |E_j|^2)

    averaged over training pairs (u, i), with j drawn evenly among the items that u does not have: a draw that hits one
    of them is repeated. Users who have every item have no negative and teach nothing. The paper's batches have 1,024
    pairs.

    References
    ----------
    He et al., "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020, equations
    3-9, 15; Rendle et al., "BPR", UAI 2009.
    """

    embedding_dim: Annotated[int, AtLeast(1)] = 64
    """Width of the vectors; 64 in the paper. Raise it for large data: 32 to 256."""
    n_layers: Annotated[int, AtLeast(0)] = 3
    """Layers of propagation, 0 is matrix factorisation; 3 in the paper. Lower it for dense data."""
    learning_rate: Annotated[float, Above(0)] = 5e-3
    """Adam's step size; 1e-3 in the paper, which trains for 1,000 epochs. Lower it where the first validations are the
    best."""
    weight_decay: Annotated[float, AtLeast(0)] = 1e-4
    """Weight of the squared rows of a batch; 1e-4 in the paper. Raise it for sparse data: 1e-6 to 1e-2."""

    _needs = "LightGCN's BPR needs a negative"

    def _learner(self, user_items: csr_array, validation: Validation | None, device: torch.device) -> LightGCNLearner:
        return LightGCNLearner(self, user_items, validation, device)
