"""What samplers of negatives are like, before anything is trained with them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional

from buir.data import Labelled, fit_inputs, nested_levels
from buir.errors import Argument, InputError, counted, shortened
from buir.graph import permutation, spectral_factors, stream
from buir.ranking import FactorScorer

from .candidates import KnownPairs, checked_draws
from .samplers import Sampler, make_samplers, row_scores

WIDTH = 64
"""Singular vectors of the scores."""
COLUMNS = ("negatives", "hardness", "safety", "eci", "false_negative_rate", "lift", "hard_share", "effective_negatives")
"""What is said of a sampler, in the order of the table."""


def expected_capability(hardness: float, safety: float, n: float) -> float:
    r"""Return :math:`\log(1 + N) \cdot 2HS / (H + S)`: many negatives, hard, and few that outdo their pair.

    References
    ----------
    After "effective contrastive information" (ECI, 2026), whose hardness and safety are of texts.
    """
    total = hardness + safety
    if math.isnan(total):
        return math.nan  # no pair got a negative
    return math.log1p(n) * 2 * hardness * safety / total if total > 0 else 0.0


def assess_negatives(
    train: Any,
    valid: Any = None,
    *,
    model: Any = None,
    samplers: Mapping[str, Sampler] | None = None,
    n: int = 64,
    pairs: int = 4096,
    temperature: float = 0.1,
    seed: int = 0,
) -> pd.DataFrame:
    """Describe samplers of negatives on the pairs they would be used for.

    Parameters
    ----------
    train
        Training pairs: any SciPy format, ``Interactions`` or a data frame.
    valid
        Held-out pairs of the same shape: drawn for their user they are false negatives, which are counted. None leaves
        those columns NaN.
    model
        A fitted model with factors, whose cosines are the scores, those of its own coordinates without the terms of its
        score; None takes 64 singular vectors of the normalised matrix. Users and items are those of the same ids; where
        model or data have none, those of the same rows: of the other side the ids have to be these.
    samplers
        Functions by name, as the field ``sampler`` of ``Contrastive`` takes them; None compares even draws, draws by
        popularity and its root, half and half, the hardest of 16 times as many even draws, and items of the group of
        the pair's item.
    n
        Draws of the built-in samplers for each pair.
    pairs
        Training pairs looked at, at most.
    temperature
        Of the softmax over a pair's negatives.
    seed
        Decides pairs and draws.

    Returns
    -------
    One row for each ``sampler``, means over the pairs that get negatives. A repeated item counts once, a training pair
    not at all. ``negatives``: how many remain. ``hardness``: their mean score, scores below 0 as 0. ``safety``: the
    share that scores below the pair. ``eci``: :func:`expected_capability` of these. ``false_negative_rate``: the share
    that is a held-out pair; ``lift``: that over the rate of even draws for the same pairs, which is known exactly: 1 is
    no worse than chance. ``hard_share``: the share that carries more than an even part of the softmax;
    ``effective_negatives``: the exponential of its entropy. ``seconds`` to draw.

    Notes
    -----
    With many candidates and a full correction all samplers estimate the same sum, so that what is said here can matter
    for few candidates, or without correction. There ``eci`` ranked samplers the wrong way round in all places that were
    measured (docs/results/negatives), since hard negatives were worse ones; the lift, which is a count, ranked them.

    Raises
    ------
    buir.errors.InputError
        If ``n`` or ``pairs`` is below 1 or no whole number, ``temperature`` is not above 0, there is no sampler, or the
        model has no factors or not those of all users and items.
    """
    for name, value, least in (("n", n, 1), ("pairs", pairs, 1), ("seed", seed, 0)):
        if isinstance(value, bool | np.bool_) or not isinstance(value, Integral) or value < least:
            raise InputError(Argument(name), f" is {value!r}; expected a whole number of at least {least}")
    if isinstance(temperature, bool | np.bool_) or not isinstance(temperature, Real) or not 0 < temperature < math.inf:
        raise InputError(Argument("temperature"), f" is {temperature!r}; expected a number above 0, such as 0.1")
    if samplers is not None:
        _check_samplers(samplers)
    labelled, held_out = fit_inputs(train, valid)
    matrix = labelled.matrix
    n_users, n_items = matrix.shape
    tables = None if model is None else _tables_of(model, labelled)
    user_vectors, item_vectors = frozen_vectors(matrix, tables, seed=seed)
    known = KnownPairs(matrix, torch.device("cpu"))
    owners = torch.repeat_interleave(torch.arange(n_users), known.bounds.diff())
    chosen = permutation(len(owners), stream(seed, 7), torch.device("cpu"))[:pairs]
    chosen = chosen[known.bounds.diff()[owners[chosen]] < n_items]
    users, items = owners[chosen], known.items[chosen]
    positive = (user_vectors[users] * item_vectors[items]).sum(1)
    if samplers is None:
        samplers = make_samplers(known, user_vectors, item_vectors, n)
    relevant = None if held_out is None else KnownPairs(held_out, torch.device("cpu"))
    found = []
    for place, (name, sampler) in enumerate(samplers.items()):
        started = time.perf_counter()
        drawn = checked_draws(sampler(users, items, stream(seed, 8, place)), len(users), n_items)
        seconds = time.perf_counter() - started
        drawn = drawn.sort(dim=1).values
        counts = torch.ones_like(drawn, dtype=torch.bool)
        counts[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
        counts &= ~known.contain(users[:, None], drawn)
        scores = row_scores(user_vectors[users], item_vectors, drawn)
        record = _described(scores, positive, counts, temperature)
        if relevant is None:
            record |= {"false_negative_rate": math.nan, "lift": math.nan}
        else:
            rate = _mean(relevant.contain(users[:, None], drawn), counts)
            some = users[counts.any(dim=1)]
            base = (relevant.bounds.diff()[some] / (n_items - known.bounds.diff()[some])).mean().item()
            record |= {"false_negative_rate": rate, "lift": rate / base if base else math.nan}
        found.append({"sampler": name} | record | {"seconds": seconds})
    return pd.DataFrame(found)[["sampler", *COLUMNS, "seconds"]]


def assess_levels(
    data: Any,
    levels: Sequence[float] = (1.0,),
    *,
    n: int = 64,
    pairs: int = 4096,
    temperature: float = 0.1,
    seed: int = 0,
) -> pd.DataFrame:
    """Describe the usual samplers of negatives as data become sparse.

    Pairs that a nested level hides are known at the levels above it: drawn as negatives they are false, which is
    counted and not modelled.

    Parameters
    ----------
    data
        All pairs: ``Interactions``, a data frame or any SciPy format.
    levels
        Shares of the training pool that are kept, each in (0, 1].
    n, pairs, temperature
        As in :func:`assess_negatives`.
    seed
        Decides the split, the pairs looked at and the draws.

    Returns
    -------
    The table of :func:`assess_negatives` for each level in rising order, with ``level``, ``train_pairs`` and
    ``hidden_pairs`` before it. Hidden are the validation part and what the level leaves out; the test part is never
    looked at.
    """
    if isinstance(levels, str | bytes) or not isinstance(levels, Sequence | np.ndarray) or len(levels) == 0:
        raise InputError(Argument("levels"), f" is {levels!r}; expected a list of shares, such as [0.2, 1.0]")
    tables = []
    for level, split in sorted(nested_levels(data, sorted(set(levels)), seed).items()):
        hidden = split.valid.joined(split.dropped)
        table = assess_negatives(split.train, hidden, n=n, pairs=pairs, temperature=temperature, seed=seed)
        for place, (name, value) in enumerate(
            (("level", level), ("train_pairs", split.train.n_pairs), ("hidden_pairs", hidden.n_pairs))
        ):
            table.insert(place, name, value)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def frozen_vectors(
    matrix: csr_array, tables: tuple[np.ndarray, np.ndarray] | None = None, *, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Return unit vectors of users and items: of two tables, or 64 singular vectors of the normalised matrix."""
    if tables is None:
        found = spectral_factors(matrix, min(WIDTH, *matrix.shape), seed=seed).tables()
    else:
        held = FactorScorer(*tables)
        found = held.user_factors, held.item_factors
    users, items = (functional.normalize(table.float(), dim=1) for table in found)
    return users, items


def _tables_of(model: Any, labelled: Labelled) -> tuple[np.ndarray, np.ndarray]:
    """Return a model's own coordinates of the users and items of some data."""
    name, kinds = type(model).__name__, ("user", "item")
    found: list[Any] = [getattr(model, f"{kind}_factors", None) for kind in kinds]
    if any(table is None for table in found):
        msg = f" is of type {name}, which has no user_factors and item_factors; expected a fitted model with both, "
        raise InputError(Argument("model"), msg, "such as BUIR or ALS, or None")
    own = getattr(model, "_likeness", None)
    tables = []
    for kind, whole, size in zip(kinds, found, labelled.matrix.shape, strict=True):
        table = np.asarray(whole if own is None else own(whole))
        asked, known = getattr(labelled, f"{kind}_ids"), getattr(model, f"{kind}_ids_", None)
        if asked is None or known is None:
            rows = np.arange(size)
            given = asked if known is None else known
            # row 3 of a matrix is not the user that a frame calls 7
            if len(table) != size or (given is not None and not np.array_equal(given, rows)):
                msg = f" is of type {name} and has {counted(len(table), kind)}, the data have {counted(size, kind)}, "
                way = "and one of both goes by rows: expected the matrix that it was fitted on, or ids on both sides"
                raise InputError(Argument("model"), msg, way)
        else:
            rows = pd.Index(known).get_indexer(pd.Index(asked))
        if asked is not None and (rows < 0).any():
            unknown = asked[rows < 0]
            more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
            msg = f" is of type {name} and does not know {kind} {unknown[:1].tolist()[0]!r}{more} of the data; "
            raise InputError(Argument("model"), msg, "expected one that was fitted on all of them")
        tables.append(table[rows])
    return tables[0], tables[1]


def _check_samplers(samplers: Any) -> None:
    if not isinstance(samplers, Mapping) or not samplers:
        msg = f" is {shortened(samplers)}; expected functions by name, such as {{'mine': draw}}"
        raise InputError(Argument("samplers"), msg)
    for name, sampler in samplers.items():
        if not callable(sampler):
            msg = f" holds {sampler!r} as {name!r}; expected a function of users, items and a key"
            raise InputError(Argument("samplers"), msg)


def _mean(values: Tensor, counts: Tensor) -> float:
    """Average over the entries that count of each row, then over the rows that have some."""
    number = counts.sum(1)
    rows = torch.where(counts, values.double(), 0.0).sum(1)[number > 0] / number[number > 0]
    return rows.mean().item() if len(rows) else math.nan


def _described(scores: Tensor, positive: Tensor, counts: Tensor, temperature: float) -> dict[str, float]:
    number = counts.sum(1)
    n = number[number > 0].double().mean().item()
    hardness = _mean(scores.clamp_min(0), counts)
    safety = _mean(scores < positive[:, None], counts)
    part = (scores.double() / temperature).masked_fill(~counts, -torch.inf).softmax(dim=1)
    entropy = -torch.where(counts, part * part.clamp_min(1e-300).log(), 0.0).sum(1)[number > 0]
    return {
        "negatives": n,
        "hardness": hardness,
        "safety": safety,
        "eci": expected_capability(hardness, safety, n),
        "hard_share": _mean(part * number[:, None] > 1 + 1e-9, counts),
        "effective_negatives": entropy.exp().mean().item(),
    }
