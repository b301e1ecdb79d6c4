"""Lists with less, or more, of what some items stand for, by turning users' vectors; nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from buir.data import degrees
from buir.errors import Argument, InputError
from buir.ranking import FactorScorer, Scorer, SumScorer

STRONGEST = 1e6
"""Largest strength: beyond it a user's own taste is lost in rounding."""


def steer(users: Tensor, directions: Tensor, strength: float, centre: Tensor) -> Tensor:
    r"""Turn users' vectors away from directions, at right angles to what is their own.

    .. math:: u' = u - w\,|\delta u| \sum_k s_k \frac{\delta v_k - (\delta v_k \cdot e)\, e}{|\delta v_k|},\qquad
              \delta u = u - \bar u,\quad e = \delta u / |\delta u|

    The part of a user's vector that is her own keeps its length along itself, so that her score of what she likes does
    not change; a direction that is her own does nothing.

    Parameters
    ----------
    users
        Shape (n, d).
    directions
        :math:`s_k\, \delta v_k / |\delta v_k|` for each item, +1 for less and -1 for more of it, shape (k, d); or their
        sum, shape (1, d).
    strength
        w, the tangent of the largest angle by which one item turns a user; 0 returns ``users`` themselves.
    centre
        :math:`\bar u`, what users have in common, shape (d,).

    References
    ----------
    Armandpour et al., "Re-imagine the negative prompt algorithm" (Perp-Neg), 2023, for the perpendicular part.
    """
    if strength == 0:
        return users
    own = (users - centre).double()
    length = own.norm(dim=1, keepdim=True)
    unit = own / length.clamp_min(torch.finfo(own.dtype).tiny)
    total = directions.double().sum(dim=0)
    across = total - (unit @ total).unsqueeze(1) * unit
    return (users.double() - strength * length * across).to(users.dtype)


@dataclass(frozen=True, eq=False)
class Steering:
    """What is asked for, in the coordinates of one model."""

    name: str
    """Of the model, for messages."""
    direction: Tensor
    """Sum of the items' directions, shape (d,); 0 in coordinates that hold no taste."""
    centre: Tensor
    """Mean of the users' vectors, shape (d,)."""
    taste: Tensor
    """Which coordinates hold taste, bool, shape (d,): not those of the score's terms, nor biases."""
    width: int
    """Coordinates of the model itself, which come first."""
    strength: float

    @classmethod
    def of(cls, model: Any, less: Any, more: Any, strength: Any, ids: np.ndarray | None = None) -> Steering | None:
        """Read what is asked for; None if nothing is.

        Parameters
        ----------
        model
            Fitted.
        less, more
            Item rows, int64; a repeated one counts once.
        strength
            At least 0.
        ids
            What messages call the items; None: by their rows.

        Raises
        ------
        buir.errors.InputError
            If the strength is out of range, the model has no factors, an item is named on both sides, or one has no
            vector.
        """
        if (
            isinstance(strength, bool | np.bool_)
            or not isinstance(strength, Real)
            or not 0 <= float(strength) <= STRONGEST
        ):
            msg = f" is {strength!r}; expected a number from 0, which changes nothing, to {STRONGEST:,.0f}, such as 0.5"
            raise InputError(Argument("strength"), msg)
        asked = [np.unique(np.asarray(rows, dtype=np.int64)) for rows in (less, more)]
        if not any(rows.size for rows in asked):
            return None
        sides = Argument("less_like"), Argument("more_like")
        name = type(model).__name__
        tables: list[Any] = [getattr(model, table, None) for table in ("user_factors", "item_factors")]
        if tables[0] is None or tables[1] is None:
            msg = f" turns the vector of a user, and {name} has none, since it scores by items alone; expected a model "
            way = "with user_factors and item_factors, such as BUIR or ALS: take one, or leave single items out"
            raise InputError(sides[0] if asked[0].size else sides[1], msg, way)
        called = np.arange(len(tables[1])) if ids is None else ids
        both = called[np.intersect1d(asked[0], asked[1])]
        if both.size:
            msg = f" both name item {_first(both)}; expected each item on one side"
            raise InputError(sides[0], " and ", sides[1], msg)
        held = FactorScorer(np.asarray(tables[0]), np.asarray(tables[1]))  # reads those that nobody may write to
        users, items = held.user_factors, held.item_factors
        width = model._likeness(tables[1]).shape[1]
        known = [(table[:, :width] != 0).any(dim=1) for table in (users, items)]
        if (seen := getattr(model, "seen_", None)) is not None:  # vectors of whom no pair is known may be random ones
            known = [
                rows & torch.from_numpy(degree > 0).to(rows.device)
                for rows, degree in zip(known, degrees(seen), strict=True)
            ]
        taste, centres = torch.arange(users.shape[1]) < width, []
        for table, rows in zip((users, items), known, strict=True):
            some = table if rows.all() else table[rows]
            centres.append(some.mean(dim=0, dtype=torch.float64))
            taste &= some.amax(dim=0) > some.amin(dim=0) if len(some) else False  # what all share is a bias
        direction = torch.zeros(users.shape[1], dtype=torch.float64)
        for side, rows, sign in zip(sides, map(torch.from_numpy, asked), (1, -1), strict=True):
            lacking = called[rows[~known[1][rows]].numpy()]
            if lacking.size:
                msg = f" names item {_first(lacking)}, which has no vector, since {name} saw no user of it; expected "
                raise InputError(side, msg, "items with training users: leave it out")
            vectors = torch.where(taste, items[rows] - centres[1], 0.0)
            lengths = vectors.norm(dim=1, keepdim=True)
            direction += sign * torch.where(lengths > 0, vectors / lengths, 0.0).sum(dim=0)
        return cls(name, direction, torch.where(taste, centres[0], 0.0), taste, width, float(strength))

    def over(self, scorer: Scorer, rows: np.ndarray, names: np.ndarray, pairs: csr_array | None) -> Scorer:
        """Turn what a scorer of the model says of users.

        Parameters
        ----------
        scorer
            Of the model's users, or of strangers; its terms stay as they are.
        rows
            The users that will be asked for.
        names
            What messages call them.
        pairs
            What is known of each of them, one row each; None if that is not stored.

        Raises
        ------
        buir.errors.InputError
            If nothing is known of one of them, or her vector is 0.
        """
        tables = scorer.tables if isinstance(scorer, SumScorer) else scorer
        assert isinstance(tables, FactorScorer)
        asked = tables.user_factors[torch.from_numpy(rows).to(tables.user_factors.device)]
        lacking = ~(asked[:, : self.width] != 0).any(dim=1).cpu().numpy()
        if pairs is not None:
            lacking |= np.diff(pairs.indptr) == 0
        if lacking.any():
            msg = f"user {_first(names[lacking])} has no vector that could be turned, since no pair of hers is known; "
            way = "expected users with pairs: leave her out, give her a history, or do without "
            raise InputError(msg, way, Argument("less_like"), " and ", Argument("more_like"))
        return SteeredScorer(scorer, tables, self)


def _first(names: np.ndarray) -> str:
    """Write the first of some names, and how many more there are."""
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"{names[:1].tolist()[0]!r}{more}"


class SteeredScorer:
    """A model's scores with the inner products of turned users in place of their own."""

    def __init__(self, scorer: Scorer, tables: FactorScorer, steering: Steering) -> None:
        self.scorer, self.tables, self.steering = scorer, tables, steering

    @property
    def n_users(self) -> int:
        """Number of users that can be scored."""
        return self.scorer.n_users

    @property
    def n_items(self) -> int:
        """Number of items that each user is scored against."""
        return self.scorer.n_items

    def score_block(self, users: np.ndarray) -> Tensor:
        """Score all items for ``users``: float32, shape (len(users), n_items)."""
        said, tables = self.scorer.score_block(users), self.tables
        if self.steering.strength == 0:
            return said
        own = tables.user_factors[torch.as_tensor(users, dtype=torch.int64, device=tables.user_factors.device)]
        parts = (self.steering.direction, self.steering.centre, self.steering.taste)
        direction, centre, taste = (part.to(own.device) for part in parts)
        own = torch.where(taste, own.double(), 0.0)
        turned = steer(own, direction.unsqueeze(0), self.steering.strength, centre)
        # only the difference: what else the score is made of stays as it is
        return torch.addmm(said, (turned - own).float(), tables.item_factors.T)
