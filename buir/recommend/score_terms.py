"""The terms that a fitted model adds to its scores: chosen on validation pairs, and for strangers too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from buir.data import degrees, of_some_users
from buir.graph import Spectrum, spectral_factors
from buir.ranking import (
    Choice,
    Dial,
    FactorScorer,
    ItemFilter,
    ItemNorm,
    PopularityTerm,
    Scorer,
    SpectralBlock,
    SumScorer,
    Term,
    TermScorer,
    choose_terms,
    spread,
)

__all__ = ["TERMS", "ScoreTerms", "make_terms"]

_SHARPENING = {"filter": 0.0, "sharpened_filter": 0.6}
FILTERS = tuple(_SHARPENING)
"""The item filter, as it is and sharpened: a score has one of the two."""

TERMS = (*FILTERS, "popularity", "block", "sharp_block", "dial", "norm")
"""Names of the terms, in the order in which their strengths are chosen."""

EVEN = "block"
BLOCKS = (EVEN, "sharp_block")
"""The terms made of singular vectors."""

BLOCK_WIDTHS, ROOM = (512, 256, 128), 16
"""Widths of the block that are tried, the widest first, on data with so many times as many users and items."""
MOST_CHOSEN = 6000
"""Users with held-out pairs by whom terms are chosen at most: with more it takes minutes on large data."""
CLEARLY, ABOUT = 1.025, 1.005
"""How many times as well a wider block must validate to be taken, and a narrower one to be as good."""

CHEAP = (*FILTERS, "popularity")
"""Terms that cost little to choose: two of them at most."""

LONG, MOST_SQUARED = 15, 1 << 17
"""Pairs of a user, on average, below which sharpening the filter is not tried, and items above which it takes long."""
MOST_COMPARED, AHEAD = 1500, 1.01
"""Users by whom it is judged at most, and how many times as well it must validate to be taken."""

_SHARPNESS = {"block": 0.0, "sharp_block": 2.0}
"""b of the two spectral blocks: all directions alike, and towards popularity."""

SHAPES = ("dial", "norm")
"""Terms that change factors, which a model without any has not."""


def make_terms(
    matrix: csr_array,
    strengths: Mapping[str, float] | None = None,
    *,
    width: int = 64,
    spectrum: Spectrum | None = None,
    factors: bool = True,
) -> dict[str, Term]:
    """Compute the terms from training pairs.

    Parameters
    ----------
    matrix
        Training pairs, canonical, with their weights, shape (n_users, n_items).
    strengths
        Only the terms with a strength here, at that strength; None: all terms, at 0, of the filters the plain one.
    width
        Singular vectors of the spectral blocks.
    spectrum
        Of the matrix, if it is known already.
    factors
        Whether the base scores are an inner product: dial and norm change nothing else.

    Returns
    -------
    Terms by name, in the order of ``TERMS``.
    """
    wanted = {
        name: 0.0 if strengths is None else strengths[name]
        for name in TERMS
        if (name != FILTERS[1] if strengths is None else strengths.get(name)) and (factors or name not in SHAPES)
    }
    degree = torch.from_numpy(degrees(matrix)[1].astype(np.float32))
    if spectrum is None and any(name in wanted for name in _SHARPNESS):
        spectrum = spectral_factors(matrix, min(width, *matrix.shape))
    made: dict[str, Term] = {}
    for name, strength in wanted.items():
        if name in FILTERS:
            made[name] = _filter(matrix, name, strength)
        elif name == "popularity":
            made[name] = PopularityTerm(degree, strength)
        elif name in _SHARPNESS:
            assert spectrum is not None
            block = SpectralBlock(spectrum, degree, sharpness=_SHARPNESS[name], exponent=0.25, strength=strength)
            made[name] = block.of(spectrum)
        else:
            made[name] = Dial(strength) if name == "dial" else ItemNorm(strength)
    return made


def _filter(matrix: csr_array, name: str, strength: float) -> ItemFilter:
    made = ItemFilter.from_matrix(matrix, sharpening=_SHARPENING[name], strength=strength)
    return replace(made, own_spread=spread(made))


def choose_filter(
    base: Scorer, terms: Mapping[str, Term], valid: csr_array, metric: str
) -> tuple[dict[str, Term], int]:
    """Take the sharpened filter where it is clearly better on held-out pairs, beside a base and popularity.

    Sharpening is for dense data; where users have few pairs it is not tried, nor on the largest catalogues.

    Parameters
    ----------
    base
        What the model says.
    terms
        With the plain filter.
    valid
        Held-out pairs, shape (n_users, n_items).
    metric
        Such as "ndcg_at_20".

    Returns
    -------
    terms, n_candidates
        With the filter that stays, and how many combinations of strengths were compared.
    """
    plain = terms[FILTERS[0]]
    assert isinstance(plain, ItemFilter)
    train = plain.history
    if train.nnz < LONG * max(1, np.count_nonzero(np.diff(train.indptr))) or train.shape[1] > MOST_SQUARED:
        return dict(terms), 0
    tried, shown = (dict(terms), with_filter(terms, FILTERS[1])), of_some_users(valid, MOST_COMPARED)
    choices = []
    for each in tried:
        cheap = {name: term for name, term in each.items() if name in CHEAP}
        choices.append(choose_terms(TermScorer(base, cheap), train, shown, metric=metric))
    clearly = choices[1].value > AHEAD * choices[0].value
    return tried[clearly], sum(choice.n_candidates for choice in choices)


def with_filter(terms: Mapping[str, Term], name: str) -> dict[str, Term]:
    """Put the filter of this name in the place of the plain one, if that is there."""
    plain = terms.get(FILTERS[0])
    if name == FILTERS[0] or not isinstance(plain, ItemFilter):
        return dict(terms)
    found = {**terms, FILTERS[0]: _filter(plain.history, name, plain.strength)}
    return {name if other == FILTERS[0] else other: term for other, term in found.items()}


def with_block(terms: Mapping[str, Term], spectrum: Spectrum) -> dict[str, Term]:
    """Give the block of even weights other singular vectors, as many as they are."""
    block = terms[EVEN]
    assert isinstance(block, SpectralBlock)
    return {**terms, EVEN: block.of(spectrum)}


def width_of_block(terms: Mapping[str, Term]) -> int | None:
    """Return how many singular vectors the block of even weights has; None without it."""
    block = terms.get(EVEN)
    return block.spectrum.values.shape[0] if isinstance(block, SpectralBlock) else None


def choose_with_block(
    choose: Callable[[int, Mapping[str, Term]], Choice], terms: Mapping[str, Term], spectrum: Callable[[int], Spectrum]
) -> tuple[dict[str, Term], Choice]:
    """Choose strengths, with a wider block where it is clearly better: of widths about as good the narrowest.

    Large catalogues have more directions than training all of them could pay for; as a part of the score they cost one
    decomposition.

    Parameters
    ----------
    choose
        Chooses the strengths of terms with a block of a width.
    terms
        With the block that stays unless another is better.
    spectrum
        Finds so many singular vectors of the training matrix, or more.
    """
    block = terms.get(EVEN)
    if not isinstance(block, SpectralBlock):
        return dict(terms), choose(0, terms)
    narrow, least = block.spectrum.values.shape[0], min(len(block.spectrum.users), len(block.spectrum.items))
    found = {narrow: (dict(terms), choose(narrow, terms))}
    wide = [width for width in BLOCK_WIDTHS if narrow < width and ROOM * BLOCK_WIDTHS[0] <= least]
    vectors = spectrum(wide[0]) if wide else None
    for width in wide:
        assert vectors is not None
        wider = with_block(terms, vectors.cut(width))
        choice = choose(width, wider)
        if choice.value <= CLEARLY * found[narrow][1].value:
            break
        found[width] = wider, choice
    best = max(choice.value for _, choice in found.values())
    return found[min(width for width, (_, choice) in found.items() if ABOUT * choice.value >= best)]


def with_strengths(terms: Mapping[str, Term], choice: Choice) -> dict[str, Term]:
    """Return the terms that a choice gave a strength, with it."""
    strengths = {name: strength for name, strength in choice.strengths.items() if strength}
    return {name: replace(term, strength=strengths[name]) for name, term in terms.items() if name in strengths}


@dataclass(frozen=True, eq=False)
class ScoreTerms:
    """What a fitted model keeps of its terms: enough to score anybody, also who was not in training."""

    strengths: dict[str, float]
    """Of the terms that have one, in the units of ``buir.ranking.TermScorer``."""
    choice: Choice | None = None
    """How they were chosen; None where they were given."""
    dial: Tensor | None = None
    """What the users' vectors of the base are multiplied by, shape (d, d)."""
    lifts: tuple[Tensor, ...] = ()
    """For each spectral block what an item of a history adds to a user's coordinates, shape (n_items, k)."""
    padding: float = 0.0
    """Added to the weight of a history before such a sum is divided by its root: the mean weight in training."""
    weights: csr_array | None = None
    """The item filter times its scale, shape (n_items, n_items)."""
    n_further: int = 0
    """Coordinates of the factors after those of the base."""
    gains: dict[str, float] = field(default_factory=dict)
    """What the metric loses if one term alone has strength 0; empty where the strengths were given."""
    tables: FactorScorer | None = None
    """The terms' coordinates, of a model without factors; any other model's own factors hold them."""

    @property
    def record(self) -> dict[str, Any]:
        """What a fit tells of the choice; empty without one.

        Strengths, gains, the metric with the terms (``value``) and without (``bare``), and the number of candidates.
        """
        if self.choice is None:
            return {}
        told = {"strengths": self.strengths, "gains": self.gains}
        return {"terms": told | {name: getattr(self.choice, name) for name in ("value", "bare", "n_candidates")}}

    @property
    def filter(self) -> str:
        """Name of the item filter in the score; the plain one's without any."""
        return FILTERS[FILTERS[1] in self.strengths]

    @property
    def width_of_block(self) -> int | None:
        """Singular vectors of the block of even weights; None without one."""
        return self.lifts[0].shape[1] if EVEN in self.strengths else None

    @classmethod
    def choose(cls, base: Scorer, train: csr_array, valid: csr_array, metric: str) -> tuple[dict[str, Term], Choice]:
        """Choose terms for a base on held-out pairs, with the width of the block; return those that have a strength."""
        looked_at: list[int] = []
        valid = of_some_users(valid, MOST_CHOSEN)

        def choose(_: int, terms: Mapping[str, Term]) -> Choice:
            choice = choose_terms(TermScorer(base, terms), train, valid, metric=metric)
            looked_at.append(choice.n_candidates)
            return choice

        terms = make_terms(train, factors=isinstance(base, FactorScorer))
        terms, n_compared = choose_filter(base, terms, valid, metric)
        looked_at.append(n_compared)
        terms, choice = choose_with_block(choose, terms, lambda width: spectral_factors(train, width))
        return with_strengths(terms, choice), replace(choice, n_candidates=sum(looked_at))

    @classmethod
    def of(
        cls, base: Scorer, matrix: csr_array, terms: Mapping[str, Term], choice: Choice | None = None
    ) -> tuple[ScoreTerms, SumScorer]:
        """Keep the terms that have a strength; also return the scorer of base and terms over the training users."""
        terms = {name: term for name, term in terms.items() if term.strength}
        whole = TermScorer(base, terms)
        dial, lifts, weights, further = None, [], None, 0
        of_users, of_items = degrees(matrix)
        padding = float(of_users[of_users > 0].mean()) if matrix.nnz else 1.0
        for term in terms.values():
            if isinstance(term, Dial) and isinstance(base, FactorScorer):
                dial = term.matrix(base.user_factors)
            elif isinstance(term, SpectralBlock):
                lifts.append(term.spectrum.lift(of_items, term.sharpness))
                further += lifts[-1].shape[1]
            elif isinstance(term, PopularityTerm):
                further += 1
        for scale, scorer in whole.sum.further:
            if isinstance(scorer, ItemFilter):
                weights = csr_array(scorer.weights * np.float32(scale))
        kept = cls(
            {name: float(term.strength) for name, term in terms.items()},
            choice,
            None if dial is None else dial.cpu(),
            tuple(lifts),
            padding,
            weights,
            further,
            {} if choice is None else choice.gains,
            None if isinstance(base, FactorScorer) else whole.sum.tables,
        )
        return kept, whole.sum

    def scorer(self, base: Scorer | None, tables: FactorScorer | None, seen: csr_array | None) -> Scorer:
        """Put a score together: ``tables`` hold the factors of base and terms; ``base`` is one without factors."""
        parts: list[tuple[float, Scorer]] = []
        if self.weights is not None:
            if seen is None:
                msg = (
                    "the item filter of this model scores with the training rows, without which it was saved; save it "
                    "with its training matrix, or give users by what they had: recommend(..., user_items=rows, "
                    "recalculate_user=True) or recommend_frame(histories=...)"
                )
                raise ValueError(msg)
            frozen = not self.weights.data.flags.writeable
            parts.append((1.0, ItemFilter(seen, self.weights, keeps_sums=frozen)))
        if tables is not None and base is None and not parts:
            return tables
        return SumScorer(tables, parts, base)

    def strangers(self, base: Scorer, rows: csr_array, item_factors: np.ndarray | Tensor | None) -> Scorer:
        """Score the users of these rows, of whom nothing else is known.

        Parameters
        ----------
        base
            Scores of the model itself for these users; with factors, the users' vectors are of the base's width.
        rows
            Their items, shape (n_rows, n_items), with weights where the model has them.
        item_factors
            The model's, with the coordinates of the terms; None for a model without factors.
        """
        coordinates = []
        item_factors = item_factors if self.tables is None else self.tables.item_factors
        if isinstance(base, FactorScorer):
            users = base.user_factors
            coordinates.append(users if self.dial is None else users @ self.dial.to(users.device))
        coordinates.append(self.coordinates(rows))
        tables = None
        if any(part.shape[1] for part in coordinates) and item_factors is not None:
            users = torch.cat([part.to(torch.float32) for part in coordinates], dim=1)
            tables = FactorScorer(users, item_factors)
        parts: list[tuple[float, Scorer]] = []
        if self.weights is not None:
            parts.append((1.0, ItemFilter(rows, self.weights)))
        without = None if isinstance(base, FactorScorer) else base
        return tables if tables is not None and without is None and not parts else SumScorer(tables, parts, without)

    def coordinates(self, rows: csr_array) -> Tensor:
        """Return the terms' coordinates of users with these items, in the order of ``TERMS``.

        Shape (n_rows, n_further).
        """
        sizes = degrees(rows)[0]
        found: list[Tensor] = [torch.ones(rows.shape[0], 1)] if "popularity" in self.strengths else []
        scale = torch.from_numpy(1 / np.sqrt(sizes + self.padding)).float().unsqueeze(1)
        found += [scale * torch.from_numpy(rows @ lift.numpy()) for lift in self.lifts]
        return torch.cat(found, dim=1) if found else torch.zeros(rows.shape[0], 0)

    def parts(self, history: csr_array, user: Tensor, item: Tensor, column: int) -> list[tuple[str, float]]:
        """Say what each term adds to the score of one item for one user.

        Parameters
        ----------
        history
            The user's items, shape (1, n_items).
        user, item
            Their factors, of which the last ``n_further`` are the coordinates of the terms.
        column
            The item.
        """
        told = []
        mine, theirs = (vector[len(vector) - self.n_further :].double() for vector in (user, item))
        products = (mine * theirs).tolist()
        if "popularity" in self.strengths:
            told.append(("popularity", products.pop(0)))
        names = [name for name in _SHARPNESS if name in self.strengths]
        for name, lift in zip(names, self.lifts, strict=True):
            width = lift.shape[1]
            told.append((name, sum(products[:width])))
            products = products[width:]
        if self.weights is not None:
            told.append((self.filter, float((history @ self.weights[:, [column]]).sum())))
        return told

    def pack(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays and JSON facts for a model's file."""
        arrays = {f"terms.lift{place}": lift.numpy() for place, lift in enumerate(self.lifts)}
        if self.dial is not None:
            arrays["terms.dial"] = self.dial.numpy()
        if self.weights is not None:
            arrays |= {f"terms.filter.{name}": getattr(self.weights, name) for name in ("data", "indices", "indptr")}
        choice = None if self.choice is None else vars(self.choice)
        facts = {"strengths": self.strengths, "choice": choice, "padding": self.padding, "n_further": self.n_further}
        return arrays, facts

    @classmethod
    def unpack(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any], n_items: int) -> ScoreTerms:
        """Read what ``pack`` returned; the arrays become the terms' own."""
        lifts = tuple(torch.from_numpy(arrays[f"terms.lift{n}"]) for n in range(sum("lift" in k for k in arrays)))
        dial = torch.from_numpy(arrays["terms.dial"]) if "terms.dial" in arrays else None
        weights = None
        if "terms.filter.data" in arrays:
            parts = tuple(arrays[f"terms.filter.{name}"] for name in ("data", "indices", "indptr"))
            weights = csr_array(parts, shape=(n_items, n_items))
        choice = None if facts["choice"] is None else Choice(**facts["choice"])
        gains = {} if choice is None else choice.gains
        return cls(facts["strengths"], choice, dial, lifts, facts["padding"], weights, facts["n_further"], gains)
