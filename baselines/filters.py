"""Two filters of the graph without training: co-occurring items, and the leading singular vectors."""

from dataclasses import field, replace
from typing import Annotated, ClassVar

import numpy as np
import torch
from scipy.sparse import csr_array

from buir.data import degrees
from buir.graph import spectral_factors
from buir.ranking import FactorScorer, ItemFilter, Scorer
from buir.recommend import AtLeast, Terms, estimator

from .fitting import FittedAtOnce, Look


@estimator
class CooccurrenceFilter(FittedAtOnce):
    r"""Sum over the user's items of how often others occur together with them, normalised by degrees.

    .. math:: S = R\, G,\qquad G = D_I^{-x} (R' D_U^{-y} R)\, D_I^{-z} \text{ with zero diagonal}

    Known models are corners: x, y, z = 0.5, 0, 0.5 is the cosine of items (`ItemKNN`); 0.5, 1, 0.5 the linear filter of
    GF-CF; :math:`\alpha, \alpha, \beta` is RP3beta, where :math:`\alpha` = 1 and :math:`\beta` = 0 are three steps of a
    random walk (P3). What these multiply a user's scores with, the same for all items, is left out, and so is the
    diagonal, which scores seen items alone; all were published with every co-occurrence or with the largest of each
    row.

    New users need no training: ``recommend(..., recalculate_user=True)`` filters their rows.

    References
    ----------
    Sarwar et al., "Item-based Collaborative Filtering Recommendation Algorithms", WWW 2001; Paudel et al., "Updatable,
    Accurate, Diverse, and Scalable Recommendations for Interactive Applications", TiiS 2016, for RP3beta; Shen et al.,
    "How Powerful is Graph Convolution for Recommendation?", CIKM 2021, for GF-CF.
    """

    takes_weights: ClassVar[bool] = True

    x: Annotated[float, AtLeast(0)] = 0.5
    """Exponent of the degree of the item the user has. Raise it where items that everybody has say too much: 0 to 1."""
    y: Annotated[float, AtLeast(0)] = 0.5
    """Exponent of the degree of the users in between: the more, the less those with many items say. Raise it where a
    few users have most pairs: 0 to 1."""
    z: Annotated[float, AtLeast(0)] = 0.25
    """Exponent of the degree of the item scored: the more, the less popular the lists. Lower it for sparse data: 0 to
    1."""
    keep: Annotated[int, AtLeast(1)] = 300
    """Largest entries kept for each item a user may have. Raise it where memory allows; lower it for faster lists."""
    sharpening: Annotated[float, AtLeast(0)] = 0.0
    """How much of what items have in common by way of third ones is taken away, see ``ItemFilter.from_matrix``. Set 0.3
    to 0.9 where users have many pairs; 0 for the published filters."""
    terms: Terms = field(default_factory=dict)
    """What is added to the score after the fit, with "auto" as held-out pairs choose; see ``buir.recommend.Terms``. Set
    "auto" where a model is to have what BUIR has."""
    seed: Annotated[int, AtLeast(0)] = 0
    """Part of every model's constructor; nothing is drawn here. Leave it."""

    weights: csr_array = field(init=False, repr=False)
    """G, float32, shape (n_items, n_items): row j holds what item j says for others."""

    def _learn(self, train: csr_array, *, show_progress: bool, look: Look) -> None:
        made = {"exponents": (self.x, self.y, self.z), "keep": self.keep, "sharpening": self.sharpening}
        self.weights = ItemFilter.from_matrix(train, **made).weights

    def _own_scorer(self) -> Scorer:
        return self._recalculated_users(self._seen_rows(np.arange(self.n_users), "a filter's score"))

    def _recalculated_users(self, user_items: csr_array) -> Scorer:
        return ItemFilter(user_items, self.weights)


@estimator
class LowRankFilter(FittedAtOnce):
    r"""Projects a user's items on the leading singular vectors of the normalised matrix.

    .. math:: S = A V \Sigma^{2b-1} V',\qquad
              A = (D_U + a\, m_U)^{-1/2} R\, (D_I + a\, m_I)^{-1/2} \approx U \Sigma V'

    with the degrees D, their means m over the users (items) that have pairs, and :math:`\Sigma` in units of the largest
    singular value. Scores are inner products of :math:`U \Sigma^b` and :math:`V \Sigma^b`. With b = 0.5 all directions
    pass alike, which is the ideal low-pass filter of GF-CF (whose a is 0, and which multiplies an item's score by the
    root of its degree at the end); other b weigh the directions by the spectrum, as SGFCF does.

    New users need no training: ``recommend(..., recalculate_user=True)`` takes the same sum over their items as ``fit``
    does for the training users.

    References
    ----------
    Shen et al., "How Powerful is Graph Convolution for Recommendation?", CIKM 2021, for GF-CF; Peng et al., "How
    Powerful is Graph Filtering for Recommendation", KDD 2024, for SGFCF.
    """

    takes_weights: ClassVar[bool] = True

    rank: Annotated[int, AtLeast(1)] = 64
    """Singular vectors. Raise it for large dense data: 16 to 512."""
    exponent: Annotated[float, AtLeast(0)] = 1.0
    """b, the sharpness of the spectrum. Raise it to 2 to 4 for few pairs, towards popularity; lower it to 0 to 1 for
    many."""
    regularisation: Annotated[float, AtLeast(0)] = 1.0
    """a, in mean degrees. Leave it above 0: with 0 the leading vectors of sparse data are spent on their smallest
    components."""
    terms: Terms = field(default_factory=dict)
    """What is added to the score after the fit, with "auto" as held-out pairs choose; see ``buir.recommend.Terms``. Set
    "auto" where a model is to have what BUIR has."""
    seed: Annotated[int, AtLeast(0, most=2**63 - 1)] = 0
    """Decides the random subspace in which the vectors are looked for. Leave it: the result hardly depends on it."""

    def _learn(self, train: csr_array, *, show_progress: bool, look: Look) -> None:
        rank = min(self.rank, *train.shape)
        spectrum = spectral_factors(train, rank, regularisation=self.regularisation, seed=self.seed)
        sizes, degree = degrees(train)
        values = spectrum.values / spectrum.values.max().clamp(min=torch.finfo(torch.float32).tiny)
        unit = replace(spectrum, values=values)
        self._lift = unit.lift(degree, self.exponent, self.regularisation).numpy()
        self._padding = self.regularisation * float(sizes[sizes > 0].mean()) if train.nnz else 0.0
        self.user_factors = self._coordinates(train)
        self.item_factors = (unit.items * torch.where(values > 0, values**self.exponent, 0.0)).numpy()

    def _coordinates(self, user_items: csr_array) -> np.ndarray:
        """Return U Sigma^b of users with these rows, up to one factor for all of them."""
        size = degrees(user_items)[0] + self._padding
        scale = np.divide(1, np.sqrt(size), out=np.zeros(len(size)), where=size > 0)
        return (scale[:, None] * (user_items @ self._lift)).astype(np.float32)

    def _recalculated_users(self, user_items: csr_array) -> Scorer:
        return FactorScorer(self._coordinates(user_items), self._likeness(self.item_factors))
