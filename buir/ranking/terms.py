"""The terms of a score: what is added to a model's scores, or done to its factors, after training.

Every term is computed from training pairs alone and has a strength; at strength 0 it is not there. Strengths of added
terms are spreads over the items, in units of the spread of the base scores: 1 says that term and model speak equally
loud.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from buir.ranking.bounds import Bound
from buir.ranking.item_filter import ItemFilter
from buir.ranking.top_k import FactorScorer, Scorer

if TYPE_CHECKING:
    from buir.graph import Spectrum

__all__ = [
    "Dial",
    "ItemNorm",
    "SpectralBlock",
    "SumScorer",
    "Term",
    "TermScorer",
    "WatchedScorer",
    "reshaped",
    "spread",
]

_SAMPLE = 512
"""Users whose scores say how widely a scorer without factors spreads."""

_ROUNDING = 1e-12
"""Share of the squares of float32 numbers that is their rounding."""

_BLOCK_BYTES = 16 << 20
"""Most bytes of these scores at a time."""


@dataclass(frozen=True, eq=False)
class Dial:
    r"""Divides the users' second moment out of the score, :math:`u' M^{-p} v` with :math:`M \propto \sum_u u u'`.

    What all users share, popularity before all, fills the leading directions of M. The score stays an inner product:
    only the users' vectors change. At p = 1 on singular vectors it is a regression on zeros, algebraically, though no
    pair serves as a negative.
    """

    strength: float = 0.0
    """p: 0 leaves the factors as they are, 1 whitens them, less than 0 sharpens."""

    grid: ClassVar[tuple[float, ...]] = (0.0, 0.5, 0.75)
    """Strengths tried by default."""

    def __call__(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors with the users' vectors turned by M^-p; directions in which there are no users vanish."""
        if self.strength == 0 or not len(users):
            return users, items
        return users @ self.matrix(users), items

    def matrix(self, users: Tensor) -> Tensor:
        """Return M^-p of a table of users, shape (d, d)."""
        table = users.double()
        values, vectors = torch.linalg.eigh(table.T @ table)
        real = values > len(values) * torch.finfo(torch.float32).eps * values[-1]
        # in units of their mean: a moment without directions changes nothing
        size = torch.where(real, values / values.clamp(min=0).mean(), 1.0)
        power = torch.where(real, size**-self.strength, 0.0)
        return ((vectors * power) @ vectors.T).to(users.dtype)


@dataclass(frozen=True, eq=False)
class ItemNorm:
    r"""Multiplies every item's vector by a power of its length, :math:`|v|^q v`, lengths in units of their RMS."""

    strength: float = 0.0
    """q: -1 leaves directions only, 0 all as it is, 1 counts the length twice."""

    grid: ClassVar[tuple[float, ...]] = (0.0, -0.5)
    """Strengths tried by default."""

    def __call__(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors with the items' vectors scaled; a vector of zeros stays one."""
        if self.strength == 0:
            return users, items
        norm = items.double().square().sum(dim=1, keepdim=True).sqrt()
        scale = torch.where(norm > 0, (norm / norm.square().mean().sqrt()) ** self.strength, 0.0)
        return users, items * scale.to(items.dtype)


@dataclass(frozen=True, eq=False)
class PopularityTerm:
    r"""Adds :math:`w\, \sigma \sqrt{d_v} / \mathrm{sd}(\sqrt d)` to the score of every item v, as one more coordinate.

    An extension of the paper. :math:`\tilde A^k E` turns towards the leading eigenvector :math:`D^{1/2} 1` of the
    normalised adjacency matrix as k grows, so this is the layer that no finite number of layers reaches; where pairs
    are scarce it says more than the others.
    """

    degree: Tensor
    """Training users of each item, by the weights of their pairs, shape (n_items,)."""
    strength: float = 0.0
    """w >= 0: the spread of popularity over the items, in units of sigma.

    Sigma is the spread of the personal scores over the items (root mean square over users).
    """

    grid: ClassVar[tuple[float, ...]] = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
    """Strengths tried by default, up to so much that the personal part only orders equally popular items."""

    def factors(self, n_users: int) -> FactorScorer:
        """Return the term in its own unit as one coordinate: 1 for a user, the root of the degree for an item."""
        root = self.degree.to(torch.float32).sqrt().unsqueeze(1)
        return FactorScorer(root.new_ones(n_users, 1), root)


@dataclass(frozen=True, eq=False)
class SpectralBlock:
    r"""Adds inner products of singular vectors, :math:`P = U S^b` and :math:`Q = D^z V S^b`, as further coordinates."""

    spectrum: Spectrum
    """Of the training matrix."""
    degree: Tensor
    """Training users of each item, by the weights of their pairs, shape (n_items,)."""
    sharpness: float = 1.0
    """b, 0 to 4: 0 weighs all directions equally; the more, the closer to popularity, which few pairs want."""
    exponent: float = 0.0
    """z: what an item's degree adds to its vector, 0 for nothing."""
    strength: float = 0.0
    """At least 0: the spread of the term over the items, in units of the spread of the base scores."""
    own_spread: float | None = None
    """Spread of the scores over the items, if it is known: it does not follow the strength."""

    grid: ClassVar[tuple[float, ...]] = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
    """Strengths tried by default."""

    def of(self, spectrum: Spectrum) -> SpectralBlock:
        """Return the term with other singular vectors, whose spread is known: of wide ones it takes seconds."""
        other = replace(self, spectrum=spectrum, own_spread=None)
        return replace(other, own_spread=spread(other.factors(len(spectrum.users))))

    def factors(self, n_users: int) -> FactorScorer:
        """Return the term in its own unit as coordinates."""
        users, values, items = self.spectrum.users, self.spectrum.values, self.spectrum.items
        if len(users) != n_users:
            msg = f"the spectrum has {len(users)} users, expected {n_users}, those of the base scores"
            raise ValueError(msg)
        power = torch.where(values > 0, values**self.sharpness, 0.0)
        degree = self.degree.to(items.device, items.dtype)
        weight = torch.where(degree > 0, degree**self.exponent, 0.0)
        return FactorScorer(users * power, items * power * weight.unsqueeze(1))


Term = Dial | ItemNorm | PopularityTerm | SpectralBlock | ItemFilter
"""Dial and norm change the factors of the base; the others add scores to it."""


class TermScorer:
    r"""A scorer and terms, as one scorer.

    .. math:: s(u, i) = b(u, i) + \sum_t w_t \frac{\sigma_b}{\sigma_t} t(u, i)

    with b the base scores after dial and norm, and :math:`\sigma` the spreads of :func:`spread`. Strengths do not
    interact: each is in units of the base alone.

    Parameters
    ----------
    base
        What the model says. Dial and norm need its factors.
    terms
        Terms by name, in the order in which their strengths are chosen.

    Raises
    ------
    TypeError
        If dial or norm have a strength and the base has no factors.
    ValueError
        If a term has other users or items than the base, or a strength that is not finite, or below 0 where it is a
        spread.
    """

    def __init__(self, base: Scorer, terms: Mapping[str, Term]) -> None:
        self.base, self.terms = base, dict(terms)
        _check(self.base, self.terms)
        active = [term for term in self.terms.values() if term.strength != 0]
        added = [term for term in active if not isinstance(term, Dial | ItemNorm)]
        self._base = reshaped(base, [term for term in active if isinstance(term, Dial | ItemNorm)])
        scorers = [own_scores(term, base.n_users) for term in added]
        whole = spread(self._base) if added else 0.0
        scales = [term.strength * _ratio(whole, term, own) for term, own in zip(added, scorers, strict=True)]
        tables = [self._base] if isinstance(self._base, FactorScorer) else []
        further: list[tuple[float, Scorer]] = []
        for scale, scorer in zip(scales, scorers, strict=True):
            if isinstance(scorer, FactorScorer):
                tables.append(FactorScorer(scorer.user_factors, scorer.item_factors * scale))
            else:
                further.append((scale, scorer))
        self.sum = SumScorer(
            _side_by_side(tables), further, None if isinstance(self._base, FactorScorer) else self._base
        )

    @property
    def n_users(self) -> int:
        """Number of users that can be scored."""
        return self.base.n_users

    @property
    def n_items(self) -> int:
        """Number of items that each user is scored against."""
        return self.base.n_items

    @property
    def factors(self) -> FactorScorer | None:
        """The same scores as one inner product; None where the base or a term with a strength has no factors."""
        return None if self.sum.further or self.sum.base is not None else self.sum.tables

    def with_strengths(self, strengths: Mapping[str, float]) -> TermScorer:
        """Return a scorer whose terms have other strengths; those not named keep theirs."""
        unknown = set(strengths) - set(self.terms)
        if unknown:
            msg = f"no term is named {min(unknown)!r}, expected some of {', '.join(self.terms)}"
            raise ValueError(msg)
        changed: dict[str, Any] = {name: replace(self.terms[name], strength=value) for name, value in strengths.items()}
        return TermScorer(self.base, self.terms | changed)

    def score_block(self, users: np.ndarray) -> Tensor:
        """Score all items for ``users``: float32, shape (len(users), n_items)."""
        return self.sum.score_block(users)

    def bounds_of(self, user: int) -> Bound | None:
        """Bound the scores of all items for a user."""
        return self.sum.bounds_of(user)

    @property
    def device(self) -> torch.device:
        """Where the scores are computed."""
        return self.sum.device

    def score_into(self, out: Tensor, users: np.ndarray) -> None:
        """Score all items for ``users`` into ``out``."""
        self.sum.score_into(out, users)


class SumScorer:
    """A sum of scores: of a base without factors, of inner products, and of multiples of other scorers."""

    def __init__(
        self, tables: FactorScorer | None, further: Sequence[tuple[float, Scorer]], base: Scorer | None = None
    ) -> None:
        self.tables, self.further, self.base = tables, list(further), base
        self._one: Scorer = next(part for part in (base, tables, *(part for _, part in further)) if part is not None)

    @property
    def n_users(self) -> int:
        """Number of users that can be scored."""
        return self._one.n_users

    @property
    def n_items(self) -> int:
        """Number of items that each user is scored against."""
        return self._one.n_items

    @property
    def device(self) -> torch.device:
        """Where the sum is formed."""
        return torch.device("cpu") if self.tables is None else self.tables.device

    def score_block(self, users: np.ndarray) -> Tensor:
        """Score all items for ``users``: float32, shape (len(users), n_items)."""
        if self.tables is None:
            return self._with_others(torch.zeros(len(users), self.n_items, device=self.device), users)
        return self._with_others(self.tables.score_block(users), users)

    def score_into(self, out: Tensor, users: np.ndarray) -> None:
        """Score all items for ``users`` into ``out``."""
        if self.tables is None:
            out.zero_()
        else:
            self.tables.score_into(out, users)
        self._with_others(out, users)

    def bounds_of(self, user: int) -> Bound | None:
        """Bound the scores of all items for a user by those of the inner products; None where these have no bounds."""
        found = None if self.tables is None or self.base is not None else self.tables.bounds_of(user)
        if found is None or not self.further:
            return found
        if len(self.further) == 1 and self.further[0][0] == 1:  # a fitted model's: no other table is filled
            further = self.further[0][1].score_block(np.array([user]))[0].cpu().numpy()
        else:
            further = self._with_others(torch.zeros(1, self.n_items), np.array([user]))[0].numpy()
        np.add(found.upper, further, out=found.upper)
        return found._replace(scores=lambda items: found.scores(items) + further[items])

    def _with_others(self, out: Tensor, users: np.ndarray) -> Tensor:
        """Add what has no tables."""
        if self.base is not None:
            out.add_(self.base.score_block(users).to(out.device))
        for scale, scorer in self.further:
            out.add_(scorer.score_block(users).to(out.device), alpha=scale)
        return out


class WatchedScorer:
    """Base factors that change and terms that do not, for some users who are scored again and again.

    The scores of the terms are computed once, in units of the base's spread, and kept; so a look at the users after
    each epoch costs one product and one sum.

    Parameters
    ----------
    terms
        Added terms with their strengths, none of dial and norm.
    users
        The rows that will be asked for, ascending.
    shape
        Users and items.
    """

    def __init__(self, terms: Mapping[str, Term], users: np.ndarray, shape: tuple[int, int]) -> None:
        self.users, self.shape = users, shape
        self.kept: Tensor | None = None
        for term in terms.values():
            assert not isinstance(term, Dial | ItemNorm)
            scorer = own_scores(term, shape[0])
            scores = scorer.score_block(users) * (term.strength * _ratio(1.0, term, scorer))
            self.kept = scores if self.kept is None else self.kept.add_(scores.to(self.kept.device))
        self.idle = None if self.kept is None else ~self.kept.any(dim=0).cpu().numpy()
        self.narrow: tuple[np.ndarray, Tensor] | None = None
        """The columns that were last asked for, which are mostly the same, and what is kept of them."""

    def kept_of(self, items: np.ndarray) -> Tensor:
        """Return the terms' scores of some items, shape (n watched users, n items)."""
        assert self.kept is not None
        if self.narrow is None or not np.array_equal(self.narrow[0], items):
            rows = torch.as_tensor(items, dtype=torch.int64, device=self.kept.device)
            self.narrow = items.copy(), self.kept.index_select(1, rows)
        return self.narrow[1]

    def over(self, base: FactorScorer) -> Scorer:
        """Return the scorer of a base and the terms, for these users only."""
        return base if self.kept is None else _Watched(self, base, self.kept, spread(base))


class _Watched:
    def __init__(self, watched: WatchedScorer, base: FactorScorer, kept: Tensor, scale: float) -> None:
        self.watched, self.base, self.kept, self.scale = watched, base, kept, scale
        self.n_users, self.n_items, self.device = base.n_users, base.n_items, base.device

    @property
    def idle_items(self) -> np.ndarray | None:
        idle = self.base.idle_items
        return None if idle is None else idle & self.watched.idle

    def of_items(self, items: np.ndarray) -> _Watched:
        return _Watched(self.watched, self.base.of_items(items), self.watched.kept_of(items), self.scale)

    def score_block(self, users: np.ndarray) -> Tensor:
        out = torch.empty(len(users), self.n_items, device=self.device)
        self.score_into(out, users)
        return out

    def score_into(self, out: Tensor, users: np.ndarray) -> None:
        rows = np.searchsorted(self.watched.users, users)
        # all of them are asked for in their order: then no copy is made
        together = len(rows) > 0 and rows[-1] - rows[0] == len(rows) - 1 and bool((np.diff(rows) == 1).all())
        kept = self.kept[rows[0] : rows[-1] + 1] if together else self.kept[torch.from_numpy(rows)]
        torch.addmm(kept.to(self.device), self.base.of_users(users), self.base.item_factors.T, beta=self.scale, out=out)


def spread(scorer: Scorer) -> float:
    """Return the standard deviation of a user's scores over all items, as the root of the mean square over users.

    Exact for factors, by the moments of the two tables; else over a sample of evenly spaced users.
    """
    if isinstance(scorer, FactorScorer):
        users, items = scorer.user_factors.double(), scorer.item_factors.double()
        mean, moment = items.mean(dim=0), users.T @ users
        items = items - mean
        centred = items.T @ items
        total = (centred * moment).sum().item()
        square = total + len(items) * (mean @ moment @ mean).item()
        return _deviation(total, square, len(items) * len(users))
    n_users, n_items = scorer.n_users, scorer.n_items
    if not n_users * n_items:
        return 0.0
    rows = np.unique(np.linspace(0, n_users - 1, _SAMPLE).astype(np.int64))
    total, square = 0.0, 0.0
    for part in np.array_split(rows, min(-(-8 * n_items * len(rows) // _BLOCK_BYTES), len(rows))):
        scores = scorer.score_block(part).double()
        square += scores.square().sum().item()
        total += (scores.var(dim=1, correction=0) * n_items).sum().item()
    return _deviation(total, square, len(rows) * n_items)


def _deviation(total: float, square: float, n: int) -> float:
    """Return the root of a mean of squared deviations; 0 if they are but the rounding of the scores themselves."""
    return 0.0 if total <= _ROUNDING * square else float(np.sqrt(total / n))


def reshaped(base: Scorer, terms: list[Dial | ItemNorm]) -> Scorer:
    """Return the base after dial and norm; without strengths the very same."""
    terms = [term for term in terms if term.strength != 0]
    if not terms:
        return base
    if not isinstance(base, FactorScorer):
        msg = f"{type(terms[0]).__name__} changes factors, {type(base).__name__} has none; take a FactorScorer as base"
        raise TypeError(msg)
    users, items = base.user_factors, base.item_factors
    for term in terms:
        users, items = term(users, items)
    return FactorScorer(users, items)


def own_scores(term: PopularityTerm | SpectralBlock | ItemFilter, n_users: int) -> Scorer:
    """Return what an added term says in its own unit, whatever its strength."""
    return term if isinstance(term, ItemFilter) else term.factors(n_users)


def spread_of(term: PopularityTerm | SpectralBlock | ItemFilter, scorer: Scorer) -> float:
    """Return the spread of what a term says in its own unit, which is ``scorer``; computed where it is not known."""
    known = None if isinstance(term, PopularityTerm) else term.own_spread
    return spread(scorer) if known is None else known


def _ratio(whole: float, term: PopularityTerm | SpectralBlock | ItemFilter, scorer: Scorer) -> float:
    """Return how many units of a term's scores make one of the base; 0 for a term that says the same of all items."""
    own = spread_of(term, scorer)
    return whole / own if own > 0 else 0.0


def _side_by_side(tables: list[FactorScorer]) -> FactorScorer | None:
    """Return the sum of inner products as one."""
    if len(tables) < 2:
        return tables[0] if tables else None
    device = tables[0].user_factors.device
    return FactorScorer(
        torch.cat([table.user_factors.to(device) for table in tables], dim=1),
        torch.cat([table.item_factors.to(device) for table in tables], dim=1),
    )


def _check(base: Scorer, terms: Mapping[str, Term]) -> None:
    shape = (base.n_users, base.n_items)
    for name, term in terms.items():
        signed = isinstance(term, Dial | ItemNorm)
        if not np.isfinite(term.strength) or (term.strength < 0 and not signed):
            msg = f"the strength of {name} is {term.strength}, expected a number{'' if signed else ' of at least 0'}"
            raise ValueError(msg)
        if isinstance(term, ItemFilter) and (term.n_users, term.n_items) != shape:
            msg = f"{name} is for {(term.n_users, term.n_items)} users and items, expected {shape}"
            raise ValueError(msg)
        if isinstance(term, PopularityTerm | SpectralBlock) and len(term.degree) != shape[1]:
            msg = f"{name} has {len(term.degree)} degrees, expected {shape[1]}, one for each item"
            raise ValueError(msg)
