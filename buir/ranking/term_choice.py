"""One way to choose the strengths of all terms: coordinate ascent on validation pairs.

A candidate is judged by the places of the held-out items alone. An item that at least k unmasked items outdo in every
part of the score is below all of them under any strengths, so it is put aside once; what remains, a few per cent, is
all that the candidates are compared on. Nothing is approximated.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from buir.data import canonical, doctor
from buir.errors import report
from buir.ranking.metrics import checked_metrics, list_values
from buir.ranking.selection import largest, padded_width
from buir.ranking.terms import Dial, ItemNorm, TermScorer, own_scores, reshaped, spread, spread_of
from buir.ranking.top_k import FactorScorer, Scorer, telling

if TYPE_CHECKING:
    from buir.data import Interactions

__all__ = ["Choice", "choose_terms"]

_TILE_BYTES = 64 << 20
"""Most bytes of all parts of the scores of the users that are worked on at once."""

_GROUP = 1 << 18
"""Items kept, over all users, that a candidate's scores are computed for at once, so that they stay in a cache."""

_PREFIXES = (4, 3, 2, 1)
"""Items after the first 1/16, 1/8, 1/4 and 1/2 of the catalogue are also compared with those before."""

_SWEEPS = 4
"""Most rounds over all terms; the second or third usually changes nothing."""

_SAMPLE = 512
"""About so many columns tell where the upper tail of a row of scores begins."""

_TAIL = (0.05, 0.0025)
"""Shares of a row's items that bound the tail: they make parts of different shapes comparable. Any would do."""


@dataclass(frozen=True)
class Choice:
    """The strengths found best on validation pairs."""

    strengths: dict[str, float]
    """By term."""
    gains: dict[str, float]
    """What the metric loses, in its own unit, if this term alone has strength 0."""
    value: float
    """The metric at these strengths."""
    bare: float
    """The metric with all strengths 0."""
    n_candidates: int
    """Different combinations of strengths that were compared."""


def choose_terms(
    scorer: TermScorer,
    train: Interactions | csr_array,
    valid: Interactions | csr_array,
    *,
    metric: str = "ndcg_at_20",
    grids: Mapping[str, Sequence[float]] | None = None,
    memory_mb: int = 2048,
) -> Choice:
    """Choose the strengths of all terms, one term after the other until none changes, starting from 0.

    Parameters
    ----------
    scorer
        Base and terms; the strengths they have are not read.
    train
        Training pairs: never listed.
    valid
        Held-out pairs: the relevant items. Users without any are passed over.
    metric
        Name and cut-off of a metric, such as "recall_at_50".
    grids
        Strengths to try by name of the term; for those not named, the ``grid`` of its class. 0 is always tried. Of
        equally good ones the one nearest to 0 is taken.
    memory_mb
        Bound of the working memory in MiB, as far as the scores of one user stay within it. Where it does not hold what
        all users need, the others' scores are computed anew for each term.

    Returns
    -------
    The strengths, what each is worth, and the number of combinations that were compared.

    Raises
    ------
    ValueError
        If a grid's name or a metric is unknown, a strength is none, no user has held-out pairs, or a score is NaN.

    Notes
    -----
    One pass over the scores of all users with held-out pairs, with a product for each value of the dial; then each
    combination takes a few operations for each of the some per cent of items kept. The result depends on no chance.
    """
    name, _, cut = metric.rpartition("_at_")
    if not name or not cut.isdigit():
        msg = f"metric is {metric!r}, expected a name and a cut-off, such as 'ndcg_at_20'"
        raise ValueError(msg)
    k = int(cut)
    checked_metrics((name,), (k,))
    candidates = _candidates(scorer, grids or {})
    shape = (scorer.n_users, scorer.n_items)
    held, seen = (canonical(getattr(part, "matrix", part)) for part in (valid, train))
    for matrix, what in ((held, "valid"), (seen, "train")):
        report(doctor.shape_findings(matrix.shape, shape, what))
    users = np.flatnonzero(np.diff(held.indptr))
    if len(users) == 0:
        msg = "valid has no pairs, expected some to choose strengths by"
        raise ValueError(msg)
    parts = _Parts(scorer, candidates, seen, held, k)
    sizes = np.diff(held.indptr)[users].astype(np.float64)
    table = _Survivors(parts, users, memory_mb << 20)
    known: dict[tuple[float, ...], float] = {}

    def measure(asked: list[tuple[float, ...]]) -> list[float]:
        new = [strengths for strengths in dict.fromkeys(asked) if strengths not in known]
        for strengths, hits in zip(new, table.hits([parts.weights(each) for each in new], k), strict=True):
            known[strengths] = float(list_values(name, hits, sizes, k).mean())
        return [known[strengths] for strengths in asked]

    names = list(scorer.terms)
    best = (0.0,) * len(names)
    for _ in range(_SWEEPS):
        before = best
        for place, term in enumerate(names):
            tried = [(*best[:place], strength, *best[place + 1 :]) for strength in candidates[term]]
            values = measure(tried)
            best = tried[int(np.argmax(values))]
        if best == before:
            break
    without = [(*best[:place], 0.0, *best[place + 1 :]) for place in range(len(names))]
    bare, value, *others = measure([(0.0,) * len(names), best, *without])
    gains = {term: value - other for term, other in zip(names, others, strict=True)}
    return Choice(dict(zip(names, best, strict=True)), gains, value, bare, len(known))


def _candidates(scorer: TermScorer, grids: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Strengths to try of each term, the nearest to 0 first."""
    unknown = set(grids) - set(scorer.terms)
    if unknown:
        msg = f"no term is named {min(unknown)!r}, expected some of {', '.join(scorer.terms)}"
        raise ValueError(msg)
    found = {}
    for name, term in scorer.terms.items():
        values = {0.0, *(float(value) for value in grids.get(name, term.grid))}
        scorer.with_strengths(dict.fromkeys([name], min(values)))  # says so if there cannot be such a strength
        found[name] = sorted(values, key=lambda value: (abs(value), value))
    return found


class _Parts:
    """The parts that all candidates' scores are sums of: a base for each setting of dial and norm, and the added terms.

    Each is in units of its own spread, so that a candidate is one base plus strengths times terms.
    """

    def __init__(
        self, scorer: TermScorer, candidates: Mapping[str, list[float]], train: csr_array, held: csr_array, k: int
    ) -> None:
        self.train, self.held, self.k = train, held, k
        self.n_items = scorer.n_items
        terms = list(scorer.terms.items())
        self.shaping = [place for place, (_, term) in enumerate(terms) if isinstance(term, Dial | ItemNorm)]
        settings = list(itertools.product(*(candidates[terms[place][0]] for place in self.shaping)))
        self.base_of = {setting: number for number, setting in enumerate(settings)}
        self.n_bases = len(settings)
        self.sources: list[Scorer | tuple[int, Tensor]] = []
        self.units: list[float] = []
        undialled: dict[tuple[float, ...], int] = {}
        for setting in settings:
            shapes: list[Any] = [
                replace(terms[place][1], strength=value) for place, value in zip(self.shaping, setting, strict=True)
            ]
            dial = tuple(term.strength for term in shapes if isinstance(term, Dial))
            base = reshaped(scorer.base, shapes)
            self._append(base, spread(base), undialled.setdefault(dial, len(self.sources)))
        self.term_of: dict[int, int] = {}
        for place, (_, term) in enumerate(terms):
            if not isinstance(term, Dial | ItemNorm):
                self.term_of[place] = len(self.sources)
                own = own_scores(term, scorer.n_users)
                self._append(own, spread_of(term, own), len(self.sources))
        self.columns = self._telling()
        self.rows = max(1, _TILE_BYTES // (4 * padded_width(self.n_items) * len(self.units)))
        self.tables = torch.empty(0)

    def _telling(self) -> Tensor | None:
        """Leave out the items that no part says anything of, but for the first ones; return those that stay."""
        idle = np.ones(self.n_items, dtype=bool)
        for source in self.sources:
            if not isinstance(source, tuple):  # else it is a multiple of another one
                said = getattr(source, "idle_items", None)
                idle &= False if said is None else said
        columns = telling(idle, self.k, self.train, self.held)
        if columns is None:
            return None
        self.n_items = len(columns)
        self.train, self.held = (csr_array(matrix[:, columns]) for matrix in (self.train, self.held))
        rows = torch.from_numpy(columns)
        for number, source in enumerate(self.sources):
            if isinstance(source, FactorScorer):
                self.sources[number] = source.of_items(columns)
            elif isinstance(source, tuple):
                self.sources[number] = source[0], source[1].index_select(0, rows.to(source[1].device))
        return rows

    def _append(self, scorer: Scorer, own: float, like: int) -> None:
        """Append a part of this spread; where it is not ``like``, norms scaled that one's columns: no product."""
        unit = 1 / own if own > 0 else 0.0
        self.units.append(unit)
        if isinstance(scorer, FactorScorer):
            # all parts are written into tables where the base lies
            users = scorer.user_factors
            if self.sources and isinstance(self.sources[0], FactorScorer):
                users = users.to(self.sources[0].user_factors.device)
            scorer = FactorScorer(users, scorer.item_factors * (unit or 1.0))
            original = self.sources[like] if like < len(self.sources) else None
            if isinstance(original, FactorScorer):
                norm, other = (table.item_factors.norm(dim=1) for table in (scorer, original))
                self.sources.append((like, torch.where(other > 0, norm / other, 0.0)))
                return
        self.sources.append(scorer)

    def weights(self, strengths: tuple[float, ...]) -> dict[int, float]:
        """Return the parts that a candidate adds up, with their weights in units of the base."""
        base = self.base_of[tuple(strengths[place] for place in self.shaping)]
        # what has no spread has no unit: neither does it speak, nor do terms beside it
        speaking = [part for part in self.term_of.items() if self.units[base] > 0 and self.units[part[1]] > 0]
        return {base: 1.0} | {part: strengths[place] for place, part in speaking if strengths[place] != 0}

    def tiles(self, users: np.ndarray) -> list[np.ndarray]:
        """Cut users into parts that are worked on at once."""
        return np.array_split(users, -(-len(users) // self.rows)) if len(users) else []

    def scores(self, users: np.ndarray) -> Tensor:
        """Score users by every part in its unit: shape (n_parts, len(users), n_items), valid until the next call."""
        for number, (unit, source) in enumerate(zip(self.units, self.sources, strict=True)):
            if isinstance(source, FactorScorer):
                source.score_into(self._table(number, len(users), source.device), users)
            elif isinstance(source, tuple):
                like, scale = source
                torch.mul(self.tables[like, : len(users)], scale, out=self.tables[number, : len(users)])
            else:
                given = source.score_block(users)
                given = given if self.columns is None else given.index_select(1, self.columns.to(given.device))
                self._table(number, len(users), given.device).copy_(given).mul_(unit or 1.0)
        return self.tables[:, : len(users)]

    def _table(self, number: int, n: int, device: torch.device) -> Tensor:
        if self.tables.numel() == 0:
            self.tables = torch.empty(len(self.sources), self.rows, self.n_items, device=device)
        return self.tables[number, :n]


@dataclass(frozen=True, eq=False)
class _Kept:
    """The users with a held-out item that may be listed, and of each the items that may be above it, ascending.

    Users with the most held-out items come first, so that the r-th items of all who have one are those of the first
    users.
    """

    slots: np.ndarray
    """(n,) place of each user among all that are asked for."""
    starts: np.ndarray
    """(n + 1,) where the items of each begin in ``parts``."""
    held: list[np.ndarray]
    """For each round r, where in ``parts`` the r-th held-out item of the first users is."""
    parts: np.ndarray
    """(n_parts, n_items) float32."""

    @property
    def n_items(self) -> int:
        """Items kept, over all users."""
        return self.parts.shape[1]

    @property
    def n_bytes(self) -> int:
        """Memory that it takes."""
        return self.parts.nbytes + self.starts.nbytes + self.slots.nbytes + sum(part.nbytes for part in self.held)

    def hit(self, weights: Mapping[int, float], hits: np.ndarray) -> None:
        """Set those places of the users' lists at which there is a held-out item."""
        (base, _), *others = weights.items()
        scores = self.parts[base]
        if others:
            scores, scaled = scores.copy(), np.empty_like(scores)
            for part, weight in others:
                np.multiply(self.parts[part], np.float32(weight), out=scaled)
                np.add(scores, scaled, out=scores)
        for places in self.held:
            n = len(places)
            starts, ends = self.starts[:n], self.starts[1 : n + 1]
            # equal scores are in the order of their items: what comes before the item is above it if it is equal
            limits = np.empty((n, 2), dtype=np.float32)
            limits[:, 1] = scores[places]
            limits[:, 0] = np.nextafter(limits[:, 1], np.float32(-np.inf))
            lengths = np.empty((n, 2), dtype=np.int64)
            lengths[:, 0], lengths[:, 1] = places - starts, ends - places
            above = scores[: ends[-1]] > np.repeat(limits.ravel(), lengths.ravel())
            ranks = np.add.reduceat(above, starts, dtype=np.int32)
            listed = ranks < hits.shape[1]
            hits[self.slots[:n][listed], ranks[listed]] = True


class _Survivors:
    """What is kept of all users: as much as the memory holds, the rest computed when it is asked for."""

    def __init__(self, parts: _Parts, users: np.ndarray, memory: int) -> None:
        self.parts, self.n_users = parts, len(users)
        self.kept: list[_Kept] = []
        tiles, start, used = parts.tiles(users), 0, 0
        for tile in tiles:
            kept = _keep(parts, tile, start)
            used += kept.n_bytes
            if used > memory // 2:  # the rest is left to the tiles
                break
            if self.kept and self.kept[-1].n_items + kept.n_items <= _GROUP:
                kept = _together([self.kept.pop(), kept])
            self.kept.append(kept)
            start += len(tile)
        self.rest, self.start = users[start:], start

    def hits(self, candidates: list[dict[int, float]], k: int) -> list[np.ndarray]:
        """For each candidate, which places of the users' lists hold a held-out item, shape (n_users, k)."""
        found = [np.zeros((self.n_users, k), dtype=bool) for _ in candidates]
        for kept in itertools.chain(self.kept, self._others() if candidates else ()):
            for weights, hits in zip(candidates, found, strict=True):
                kept.hit(weights, hits)
        return found

    def _others(self) -> Iterator[_Kept]:
        start = self.start
        for tile in self.parts.tiles(self.rest):
            yield _keep(self.parts, tile, start)
            start += len(tile)


def _keep(parts: _Parts, users: np.ndarray, first: int) -> _Kept:
    """Put aside what cannot be listed; user j of the tile is number ``first + j`` of all."""
    scores = parts.scores(users)
    device, width = scores.device, parts.n_items
    seen, held = (_flat(matrix, users, width).to(device) for matrix in (parts.train, parts.held))
    row, col = held // width, held % width
    alive = ~torch.isin(held, seen)
    keep = torch.ones(scores.shape[1:], dtype=torch.bool, device=device)
    if parts.k <= width:
        torch.logical_not(_outdone(scores, parts, seen, users), out=keep)
        alive &= keep[row, col]
    wanted = torch.zeros(len(users), 1, dtype=torch.bool, device=device)
    wanted[row[alive]] = True
    keep &= wanted
    keep.view(-1).index_fill_(0, seen, False)
    flat = keep.view(-1).nonzero().squeeze(1)
    kept = torch.stack([part.view(-1).index_select(0, flat) for part in scores])
    needed = wanted.squeeze(1).nonzero().squeeze(1)
    number_of = torch.cumsum(wanted.squeeze(1), dim=0) - 1
    lengths = torch.bincount(flat // width, minlength=len(users))[needed]
    owners, at = number_of[row[alive]], torch.searchsorted(flat, held[alive])
    return _ordered(*(part.cpu().numpy() for part in (first + needed, lengths, owners, at, kept)))


def _outdone(scores: Tensor, parts: _Parts, seen: Tensor, users: np.ndarray) -> Tensor:
    """Say which items at least k unmasked ones are listed before under any strengths, shape (n_users, n_items)."""
    weakest = _weakest(scores, seen)
    values, strong = largest(weakest, parts.k)
    _check_numbers(values, users)
    limits = _reached(scores, values, strong)
    outdone = torch.ones(scores.shape[1:], dtype=torch.bool, device=scores.device)
    one = torch.empty_like(outdone)
    for number, (part, limit) in enumerate(zip(scores, limits, strict=True)):
        # strictly less in every base and no more in any term: then less in every sum
        (torch.lt if number < parts.n_bases else torch.le)(part, limit, out=one)
        outdone &= one
    width = scores.shape[2]
    if (limits[: parts.n_bases] <= scores[: parts.n_bases].amin(dim=2, keepdim=True)).any():
        # A base that says nothing of most items ties with its limit; where sums are equal the earlier item comes first,
        # so an item is outdone by earlier ones that it nowhere exceeds.
        for start in (width >> shift for shift in _PREFIXES if width >> shift >= parts.k):
            values, strong = torch.topk(weakest[:, :start], parts.k)
            later = slice(start, min(2 * start, width) if start < width // 2 else width)
            limits = _reached(scores, values, strong)
            outdone[:, later] |= (scores[:, :, later] <= limits).all(dim=0)
    return outdone


def _weakest(scores: Tensor, seen: Tensor) -> Tensor:
    """Say how strong each item is where it is weakest, -inf for the masked ones: shape (n_users, padded width)."""
    _, n, width = scores.shape
    weakest = torch.full((n, padded_width(width)), -torch.inf, device=scores.device)
    inner, scaled = weakest[:, :width], torch.empty(n, width, device=scores.device)
    for number, part in enumerate(scores):
        low, length = _tail(part)
        torch.sub(part, low, out=scaled).div_(length)
        if number:
            torch.minimum(inner, scaled, out=inner)
        else:
            inner.copy_(scaled)
    weakest.view(-1).index_fill_(0, seen // width * weakest.shape[1] + seen % width, -torch.inf)
    return weakest


def _reached(scores: Tensor, values: Tensor, strong: Tensor) -> Tensor:
    """For each part and user, what k unmasked items reach in all parts at once, shape (n_parts, n_users, 1).

    They are the items that are strongest where they are weakest. A user with fewer items has no such limit: -inf.
    """
    at = strong.clamp(max=scores.shape[2] - 1).expand(len(scores), -1, -1)
    return torch.where(values[:, -1:] > -torch.inf, scores.gather(2, at).amin(dim=2, keepdim=True), -torch.inf)


def _flat(matrix: csr_array, users: np.ndarray, width: int) -> Tensor:
    """Places of the entries of some rows in a flat table of these rows."""
    rows = matrix[users]
    owners = np.repeat(np.arange(len(users), dtype=np.int64), np.diff(rows.indptr))
    return torch.from_numpy(owners * width + rows.indices)


def _tail(part: Tensor) -> tuple[Tensor, Tensor]:
    """Where the upper tail of each row begins, and its length."""
    sample = part[:, :: max(1, part.shape[1] // _SAMPLE)]
    n = [max(1, round(share * sample.shape[1])) for share in _TAIL]
    top = torch.topk(sample, n[0], dim=1).values
    low, high = top[:, -1:], top[:, n[1] - 1 : n[1]]
    length = torch.where(high > low, high - low, top[:, :1] - low)
    return low, torch.where(length > 0, length, 1.0)


def _check_numbers(values: Tensor, users: np.ndarray) -> None:
    broken = torch.isnan(values[:, 0]).nonzero().squeeze(1)
    if len(broken):
        msg = (
            f"the scores of {len(broken)} of {len(users)} users hold NaN (first: user {users[int(broken[0])]}), "
            "expected numbers: training has diverged, try a lower learning rate"
        )
        raise ValueError(msg)


def _ordered(slots: np.ndarray, lengths: np.ndarray, owners: np.ndarray, at: np.ndarray, parts: np.ndarray) -> _Kept:
    """Put the users with the most held-out items first; ``at`` is where these items are, ``owners`` whose they are."""
    counts = np.bincount(owners, minlength=len(slots))
    order = np.argsort(-counts, kind="stable")
    old = np.concatenate([[0], np.cumsum(lengths)])
    starts = np.concatenate([[0], np.cumsum(lengths[order])])
    moved = np.repeat(old[order] - starts[:-1], lengths[order]) + np.arange(starts[-1])
    rank = np.empty(len(slots), dtype=np.int64)
    rank[order] = np.arange(len(slots))
    at = at - old[owners] + starts[rank[owners]]
    # owners ascend, so an item's round is its place among those of its owner
    rounds = np.arange(len(owners)) - np.concatenate([[0], np.cumsum(counts)])[owners]
    by_round = np.lexsort((rank[owners], rounds))
    cuts = np.cumsum(np.bincount(rounds))[:-1] if len(rounds) else []
    held = np.split(at[by_round], cuts) if len(rounds) else []
    return _Kept(slots[order], starts, held, parts[:, moved])


def _together(tiles: list[_Kept]) -> _Kept:
    """Put tiles into one."""
    offset = np.concatenate([[0], np.cumsum([tile.starts[-1] for tile in tiles])])
    first = np.concatenate([[0], np.cumsum([len(tile.slots) for tile in tiles])])
    owners = np.concatenate([first[i] + np.arange(len(p)) for i, tile in enumerate(tiles) for p in tile.held] or [[]])
    at = np.concatenate([offset[i] + p for i, tile in enumerate(tiles) for p in tile.held] or [[]])
    order = np.lexsort((at, owners))
    return _ordered(
        np.concatenate([tile.slots for tile in tiles]),
        np.concatenate([np.diff(tile.starts) for tile in tiles]),
        owners[order].astype(np.int64),
        at[order].astype(np.int64),
        np.concatenate([tile.parts for tile in tiles], axis=1),
    )
