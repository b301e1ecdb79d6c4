"""Item-KNN: an item scores by its similarity to the user's items."""

from dataclasses import field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from implicit import nearest_neighbours
from scipy.sparse import csr_array, csr_matrix

from buir.ranking import Scorer
from buir.recommend import Above, AtLeast, Terms, estimator

from .fitting import FittedAtOnce, Look
from .inner import fit_inner
from .linear import LinearScorer


@estimator
class ItemKNN(FittedAtOnce):
    r"""Sum of an item's similarities to the user's items, over the nearest neighbours of each of these.

    .. math:: s(u, i) = \sum_{j \in R_u,\ i \in N_k(j)} \mathrm{sim}(j, i),\qquad \mathrm{sim}(j, i) = w_j \cdot w_i

    with :math:`w_i` the users of item i, and their weights if pairs have any: divided by their norm ("cosine"), or
    weighted by BM25, where users with few items count more and items with few users are lifted ("bm25"). The
    neighbours are other items: an item is not its own.

    New users need no training: ``recommend(..., recalculate_user=True)``. ``similar_items`` compares by the cosine of
    the :math:`w`, over all items and not only the stored neighbours.

    Notes
    -----
    Neighbours and weights are `implicit`'s. Which of several equally similar items is the last neighbour is up to its
    heap.

    References
    ----------
    Sarwar et al., "Item-based Collaborative Filtering Recommendation Algorithms", WWW 2001.
    """

    takes_weights: ClassVar[bool] = True

    similarity: Literal["cosine", "bm25"] = "cosine"
    """How the users of two items are compared. Take "bm25" where popular items crowd the lists."""
    neighbours: Annotated[int, AtLeast(1)] = 100
    """k: other items kept for each item. Raise it for sparse data, lower it for memory: 20 to 1,000."""
    bm25_k1: Annotated[float, Above(0)] = 1.2
    """Saturation of BM25; without weights it matters through the length of items alone. Raise it where counts are to
    count longer."""
    bm25_b: Annotated[float, AtLeast(0)] = 0.75
    """How much BM25 holds an item's number of users against it, 0 to 1. Lower it where popular items are wanted."""
    num_threads: Annotated[int, AtLeast(0)] = 0
    """Threads of the fit, 0 for all cores; the result does not depend on it. Lower it where others need the cores."""
    terms: Terms = field(default_factory=dict)
    """What is added to the score after the fit, with "auto" as held-out pairs choose; see ``buir.recommend.Terms``. Set
    "auto" where a model is to have what BUIR has."""
    seed: Annotated[int, AtLeast(0)] = 0
    """Part of every model's constructor; nothing is drawn here. Leave it."""

    weights: csr_array = field(init=False, repr=False)
    """Similarities float32, shape (n_items, n_items): row j holds the neighbours of item j."""

    def _learn(self, train: csr_array, *, show_progress: bool, look: Look) -> None:
        # One more than asked, because the item itself may be, but need not be, among the nearest.
        inner: Any = nearest_neighbours.ItemItemRecommender(K=self.neighbours + 1, num_threads=self.num_threads)
        fit_inner(inner, self._weigh(train), show_progress=show_progress)
        self.weights = nearest_others(csr_array(inner.similarity), self.neighbours)

    def _weigh(self, user_items: csr_array) -> csr_array:
        """Weigh the users of each item, float64, shape (n_users, n_items)."""
        item_users = csr_matrix(user_items.T.astype(np.float64))
        if self.similarity == "cosine":
            return csr_array(nearest_neighbours.normalize(item_users).T)
        weigh: Any = nearest_neighbours.bm25_weight
        return csr_array(weigh(item_users, self.bm25_k1, self.bm25_b).T)

    def _own_scorer(self) -> Scorer:
        """Score by the training rows times the similarities."""
        return LinearScorer(self._seen_rows(np.arange(self.n_users), "scoring by neighbours"), self.weights)

    def _recalculated_users(self, user_items: csr_array) -> Scorer:
        return LinearScorer(user_items, self.weights)

    def _item_cosines(self, queries: np.ndarray | None = None) -> Scorer:
        """Compare items by their weighted users; nothing else can be asked, since no item is recalculated."""
        weighted = self._weigh(self._seen_rows(np.arange(self.n_users), "similar_items"))
        vectors = csr_array(nearest_neighbours.normalize(weighted.T))
        return LinearScorer(vectors, vectors.T.tocsr())


def nearest_others(similarity: csr_array, k: int) -> csr_array:
    """Keep the ``k`` largest entries of each row, the diagonal left out; float32.

    Parameters
    ----------
    similarity
        Square; a row holds its ``k`` + 1 largest entries, the diagonal possibly among them.
    k
        Entries to keep in a row, at most.
    """
    stored = similarity.tocoo()
    rows, columns, values = stored.row, stored.col, stored.data
    other = rows != columns
    rows, columns, values = rows[other], columns[other], values[other]
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    starts = np.searchsorted(rows, np.arange(similarity.shape[0]))
    kept = np.arange(len(rows)) - starts[rows] < k
    entries = (values[kept].astype(np.float32), (rows[kept], columns[kept]))
    nearest = csr_array(entries, shape=similarity.shape)
    nearest.sort_indices()
    return nearest
