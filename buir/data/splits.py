"""Splits into train, valid and test over one space of labels.

Every split obeys its seed, its parts and ``dropped`` are disjoint and add up to the input, and every user of valid or
test has a training pair.  Held-out items that no training pair shows stay and count against every model alike; only
:func:`author_split`, which reproduces a published protocol, removes them.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real
from typing import Any, Literal

import numpy as np
from scipy.sparse import csr_array

from buir.data.inputs import as_interactions
from buir.data.interactions import Interactions, in_one_space
from buir.data.sparse import keep, pattern
from buir.errors import Argument, InputError, counted

TRAIN, VALID, TEST, DROPPED = 0, 1, 2, 3
LEAST_PAIRS, LEAST_HELD, MOST_HELD, HOLD_OUT = 3, 200, 20_000, 0x401D
"""A user with so many training pairs lends one to inner validation, and one with a pair less where most users have
fewer; with fewer such users nobody does, with more only so many. The last is the first number of the seed that draws
them."""


@dataclass(frozen=True, eq=False)
class Split:
    """Three disjoint parts of one set of interactions, what was left out, and how it was done."""

    train: Interactions
    """What ``fit`` learns from."""
    valid: Interactions
    """What ``fit`` may select by."""
    test: Interactions
    """Read once, after everything is decided."""
    dropped: Interactions
    """Pairs of the input in none of the three."""
    protocol: str
    """"author", "leave-one-out", "time", "given" or "nested"."""
    params: dict[str, Any]
    """Arguments of the split, seed included."""

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits over protocol, arguments and the three parts."""
        head = json.dumps([self.protocol, self.params], sort_keys=True)
        parts = [part.digest for part in (self.train, self.valid, self.test)]
        return hashlib.sha256("|".join([head, *parts]).encode()).hexdigest()[:16]

    @property
    def test_users(self) -> np.ndarray:
        """Rows of the users that have test pairs, ascending."""
        return np.flatnonzero(np.diff(self.test.matrix.indptr))

    def inside(self, seed: int = 0) -> "Split":
        """Hold out pairs of the training part, as ``hold_out`` does, to decide by in place of the validation part.

        Raises
        ------
        buir.errors.InputError
            If too few users can lend one.
        """
        held = _lent(self.train.matrix, seed, LEAST_HELD)
        if held is None:
            able = int((np.diff(self.train.matrix.indptr) >= LEAST_PAIRS).sum())
            needs = f"{LEAST_HELD} users with at least {LEAST_PAIRS} training pairs, {able:,} have so many"
            msg = f"to decide inside the training part takes {needs}; decide by the validation part"
            raise InputError(msg)
        params = self.params | {"inside": int(seed)}
        return replace(self, train=self.train.keep(~held), valid=self.train.keep(held), params=params)

    def __repr__(self) -> str:
        sizes = f"{self.train.n_pairs} / {self.valid.n_pairs} / {self.test.n_pairs}"
        return f"Split({self.protocol}, train / valid / test {sizes}, {self.dropped.n_pairs} dropped)"


def author_split(data: Any, beta: float, seed: int = 0) -> Split:
    """Split each user's items at the ratio of the paper's experiments.

    Users in file order; each user's distinct items in file order, shuffled by one legacy random state; of n =
    int(#items * (1 - beta) / 2), test takes the first n, valid the next n, train the rest.  Then items unseen in train
    leave valid and test, and a user whose valid or test is empty leaves both.

    Parameters
    ----------
    data
        What to split: ``Interactions``, or a data frame or SciPy matrix, which are made into them.
    beta
        Share of a user's items that go to train, in (0, 1).
    seed
        Seed of the shuffles.

    Raises
    ------
    ValueError
        If ``beta`` is outside (0, 1), or no user is left to test.

    References
    ----------
    Lee et al., "Bootstrapping User and Item Representations for One-Class Collaborative Filtering", SIGIR 2021.
    """
    data = as_interactions(data, "data")
    _check_share("beta", beta)
    part = np.full(data.n_pairs, TRAIN, dtype=np.int8)
    rng = np.random.RandomState(seed)
    in_file_order = np.lexsort((data.positions, data.users))
    for start, stop in zip(data.matrix.indptr[:-1], data.matrix.indptr[1:], strict=True):
        pairs = in_file_order[start:stop]
        rng.shuffle(pairs)
        n = int(len(pairs) * (1 - beta) / 2)  # the float error of 1 - beta is part of the protocol
        part[pairs[:n]] = TEST
        part[pairs[n : 2 * n]] = VALID
    known = _has(data.items, data.n_items, part == TRAIN)
    part[(part != TRAIN) & ~known[data.items]] = DROPPED
    complete = _has(data.users, data.n_users, part == VALID) & _has(data.users, data.n_users, part == TEST)
    part[(part != TRAIN) & ~complete[data.users]] = DROPPED
    return _split(data, part, "author", {"beta": float(beta), "seed": int(seed)})


def nested_levels(data: Any, levels: tuple[float, ...] | list[float], seed: int = 0) -> dict[float, Split]:
    """Return :func:`nested_split` at each level, keyed by level."""
    data = as_interactions(data, "data")
    return {level: nested_split(data, level, seed) for level in levels}


def nested_split(data: Any, level: float, seed: int = 0) -> Split:
    """Hold out the same pairs at every sparsity level, and keep a growing part of the rest.

    A user with n >= 3 pairs gives max(1, round(n / 10)) pairs each to valid and test; all other pairs, in one seeded
    order, are the user's training pool, of which level p keeps the first ceil(p * #pool).  So valid and test are the
    same at all levels, and a lower level's train is part of a higher one's.

    Parameters
    ----------
    data
        What to split: ``Interactions``, or a data frame or SciPy matrix, which are made into them.
    level
        Share of the training pool that is kept, in (0, 1]; the rest is in ``dropped``.
    seed
        Seed of the order.
    """
    data = as_interactions(data, "data")
    _check_share("level", level, whole=True)
    place = np.random.default_rng(seed).permutation(data.n_pairs)[_source_rank(data)]
    order, rank, count = _ranked(data, place)
    held = np.where(count >= 3, np.maximum(1, np.rint(count / 10)), 0).astype(np.int64)
    # 0.7 * 10 is 7.000000000000001: without the tolerance its ceiling would be 8
    kept = np.ceil(level * (count - 2 * held) - 1e-9).astype(np.int64)
    part = np.full(data.n_pairs, DROPPED, dtype=np.int8)
    part[order] = np.select([rank < held, rank < 2 * held, rank < 2 * held + kept], [TEST, VALID, TRAIN], DROPPED)
    return _split(data, part, "nested", {"level": float(level), "seed": int(seed)})


def leave_one_out(data: Any, seed: int = 0, by: Literal["time", "order", "random"] = "time") -> Split:
    """Hold out each user's last pair for test and the last but one for valid.

    Users with fewer than three pairs stay in train altogether.

    Parameters
    ----------
    data
        What to split: ``Interactions``, or a data frame or SciPy matrix, which are made into them.
    seed
        Seed of the order "random"; without effect on the others.
    by
        "time": order of time, ties in source order.  "order": source order.  "random": a seeded order.

    Raises
    ------
    ValueError
        If ``by`` is unknown, or "time" and the interactions have no times.
    """
    if by not in ("time", "order", "random"):
        msg = f"by is {by!r}, expected 'time', 'order' or 'random'"
        raise ValueError(msg)
    data = as_interactions(data, "data")
    place = _source_rank(data)
    if by == "time":
        times = _times(data, "leave one out by 'order' or 'random' (by, in a configuration protocol.by)")
        place = np.argsort(np.lexsort((place, times)))
    elif by == "random":
        place = np.random.default_rng(seed).permutation(data.n_pairs)[place]
    order, rank, count = _ranked(data, place)
    part = np.full(data.n_pairs, TRAIN, dtype=np.int8)
    long = count >= 3
    part[order] = np.select([long & (rank == count - 1), long & (rank == count - 2)], [TEST, VALID], TRAIN)
    return _split(data, part, "leave-one-out", {"by": by, "seed": int(seed)})


def time_split(data: Any, valid_fraction: float = 0.1, test_fraction: float = 0.1) -> Split:
    """Cut at two moments for everybody: train before, valid between, test after.

    Pairs of one moment are never separated: ties at a cut go to the later part, and valid has its share of what is
    before test.  Users without training pairs leave valid and test.

    Parameters
    ----------
    data
        What to split, as for :func:`nested_split`; needs times.
    valid_fraction, test_fraction
        Shares of all pairs, each in (0, 1), together below 1; exact where times are distinct.

    Raises
    ------
    ValueError
        If there are no times, or nobody is left to test.
    """
    data = as_interactions(data, "data")
    _check_share("valid_fraction", valid_fraction)
    _check_share("test_fraction", test_fraction)
    times = np.asarray(_times(data, "take another protocol, such as nested, or leave-one-out by 'order'"))
    n_test = max(1, round(data.n_pairs * test_fraction))
    n_valid = max(1, round(data.n_pairs * valid_fraction))
    ordered = np.sort(times)
    first_test = ordered[-n_test]
    earlier = ordered[ordered < first_test]
    if len(ordered) > 1 and ordered[0] == ordered[-1]:
        msg = f"all {data.n_pairs:,} pairs have one time, {ordered[0]}: none is before another; name another column of "
        raise InputError(msg, "times, or take another protocol, such as nested, or leave-one-out by 'random'")
    if len(earlier) <= n_valid:
        last = int(np.count_nonzero(ordered == ordered[-1]))
        tied = f"; {counted(last, 'pair')} have the latest time and stay together" if last > n_test else ""
        msg = (
            f"valid_fraction {valid_fraction} and test_fraction {test_fraction} leave none of {data.n_pairs} pairs to "
            f"train ({len(earlier)} are earlier than test{tied}); take "
            f"{'another protocol, such as nested' if tied else 'smaller shares'}"
        )
        raise ValueError(msg)
    first_valid = earlier[-n_valid]
    part = np.select([times >= first_test, times >= first_valid], [TEST, VALID], TRAIN).astype(np.int8)
    part[(part != TRAIN) & ~_has(data.users, data.n_users, part == TRAIN)[data.users]] = DROPPED
    return _split(data, part, "time", {"valid_fraction": float(valid_fraction), "test_fraction": float(test_fraction)})


def given_split(train: Any, test: Any, valid_fraction: float = 0.1, seed: int = 0, *, valid: Any = None) -> Split:
    """Keep a published test part as it is, and the published valid part, or cut valid from the train part.

    Where valid is cut, each user gives round(valid_fraction * n) pairs to it, never the last one, and never the last
    training pair of an item: an item known to the given train part stays known, so the cut takes nothing from the
    test's reach.

    The test part keeps items that no training pair shows, as published results do.  Three kinds of held-out pairs alone
    are dropped: pairs that are in train too, which masking would make unreachable, pairs of users without training, and
    test pairs that are in the given valid part.

    Parameters
    ----------
    train, test
        Parts over one space of labels, as :func:`buir.data.read_split` returns them, or data frames.
    valid_fraction
        Share of each user's training pairs, in [0, 1); 0 cuts none, and valid is empty.
    seed
        Seed of the choice.
    valid
        The published valid part, of the same labels; nothing is then cut from train.

    Raises
    ------
    ValueError
        If the parts have different labels, or nobody is left to test.
    """
    if valid_fraction != 0:
        _check_share("valid_fraction", valid_fraction)
    names = ("train", "test", "valid")
    given = [(name, part) for name, part in zip(names, (train, test, valid), strict=True) if part is not None]
    parts = [as_interactions(part, name) for name, part in given]
    if not any(isinstance(part, Interactions) for _, part in given):
        parts = in_one_space(parts)
    train, test = parts[:2]
    for (name, _), part in zip(given[1:], parts[1:], strict=True):
        for ids in ("user_ids", "item_ids"):
            if not np.array_equal(getattr(train, ids), getattr(part, ids)):
                msg = f"train and {name} have different {ids}; read both with read_split, which gives them one space"
                raise ValueError(msg)
    if valid is not None:
        held = parts[2]
        usable_valid = _usable(held, train)
        usable = _usable(test, train) & ~np.isin(_keys(test), _keys(held.keep(usable_valid)))
        _check_tested(int(np.count_nonzero(usable)), "given")
        dropped = held.keep(~usable_valid).joined(test.keep(~usable))
        return Split(train, held.keep(usable_valid), test.keep(usable), dropped, "given", {"valid": "given"})
    place = np.random.default_rng(seed).permutation(train.n_pairs)[_source_rank(train)]
    order, rank, count = _ranked(train, place)
    chosen = np.zeros(train.n_pairs, dtype=bool)
    chosen[order] = rank < np.minimum(np.rint(valid_fraction * count), count - 1)
    # of an item whose pairs were all chosen, the one first in the seeded order goes back
    lost = np.flatnonzero(chosen & ~_has(train.items, train.n_items, ~chosen)[train.items])
    lost = lost[np.argsort(place[lost])]
    chosen[lost[np.unique(train.items[lost], return_index=True)[1]]] = False

    usable = _usable(test, train)
    _check_tested(int(np.count_nonzero(usable)), "given")
    return Split(
        train.keep(~chosen),
        train.keep(chosen),
        test.keep(usable),
        test.keep(~usable),
        "given",
        {"valid_fraction": float(valid_fraction), "seed": int(seed)},
    )


def hold_out(matrix: csr_array, seed: int, least: int = LEAST_HELD) -> tuple[csr_array, csr_array] | None:
    """Hold out one pair of every user with at least three, of at most 20,000; None where fewer than ``least`` can.

    Where most users with pairs have fewer than three, those who have two lend one as well: long histories want other
    strengths of terms than those of most users, for whom the lists are (docs/results/README.md).

    Returns
    -------
    The remaining pairs, with their weights, and the held-out ones, without, both of the matrix's shape.
    """
    held = _lent(matrix, seed, least)
    return None if held is None else (keep(matrix, ~held), pattern(keep(matrix, held)))


def _lent(matrix: csr_array, seed: int, least: int) -> np.ndarray | None:
    """Draw which pairs are lent to inner validation, in the order of the matrix; None where too few users can."""
    lengths = np.diff(matrix.indptr)
    users = np.flatnonzero(lengths >= LEAST_PAIRS)
    if len(users) < least:
        return None
    if 2 * len(users) < np.count_nonzero(lengths):
        users = np.flatnonzero(lengths >= LEAST_PAIRS - 1)
    rng = np.random.default_rng([seed, HOLD_OUT])
    if len(users) > MOST_HELD:
        users = np.sort(rng.choice(users, MOST_HELD, replace=False))
    held = np.zeros(matrix.nnz, dtype=bool)
    held[matrix.indptr[users] + (rng.random(len(users)) * lengths[users]).astype(np.int64)] = True
    return held


def _usable(part: Interactions, train: Interactions) -> np.ndarray:
    """Return which held-out pairs can be found: not in train, and of a user with training pairs."""
    trained = _has(train.users, train.n_users, np.ones(train.n_pairs, dtype=bool))
    return ~np.isin(_keys(part), _keys(train)) & trained[part.users]


def _keys(part: Interactions) -> np.ndarray:
    return part.users * np.int64(part.n_items) + part.items


def _split(data: Interactions, part: np.ndarray, protocol: str, params: dict[str, Any]) -> Split:
    _check_tested(int(np.count_nonzero(part == TEST)), protocol)
    train, valid, test, dropped = (data.keep(part == code) for code in (TRAIN, VALID, TEST, DROPPED))
    return Split(train, valid, test, dropped, protocol, params)


def _source_rank(data: Interactions) -> np.ndarray:
    """Rank of every pair in the source: what random choices are tied to, rather than to the numbering of items."""
    return np.argsort(np.argsort(data.positions))


def _ranked(data: Interactions, place: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs ordered by user, then place; the rank of each within its user; and the size of its user."""
    order = np.lexsort((place, data.users))
    rank = np.arange(data.n_pairs) - data.matrix.indptr[data.users]
    return order, rank, np.diff(data.matrix.indptr)[data.users]


def _has(codes: np.ndarray, n: int, mask: np.ndarray) -> np.ndarray:
    """For each of ``n`` users or items, whether any of its pairs, which have its code, is in ``mask``."""
    return np.bincount(codes[mask], minlength=n) > 0


def _times(data: Interactions, instead: str) -> np.ndarray:
    if data.times is None:
        msg = f"the interactions have no times; name the column of times when reading, or {instead}"
        raise ValueError(msg)
    return data.times


def _check_share(name: str, value: float, *, whole: bool = False) -> None:
    number = isinstance(value, Real)
    if not number or not 0 < value <= 1 or (value == 1 and not whole):
        expected = f"expected a share {'in (0, 1]' if whole else 'strictly between 0 and 1'}"
        if number:
            raise InputError(Argument(name), f" is {value}, {expected}")
        msg = f"{name} is {value!r}, {expected}"
        raise TypeError(msg)


def _check_tested(n_pairs: int, protocol: str) -> None:
    if not n_pairs:
        msg = f"the {protocol} split leaves no test pair of a user with training pairs; use more data or other shares"
        raise InputError(msg)
