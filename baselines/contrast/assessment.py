"""What samplers of negatives are like, before anything is trained with them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional

from buir.data import fit_inputs, nested_levels
from buir.errors import Argument, InputError
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
        A fitted model with factors, whose cosines are the scores; None takes 64 singular vectors of the normalised
        matrix.
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
    that is a held-out pair; ``lift``: that over the rate of even draws, which is known exactly: 1 is no worse than
    chance. ``hard_share``: the share that carries more than an even part of the softmax; ``effective_negatives``: the
    exponential of its entropy. ``seconds`` to draw.

    Notes
    -----
    With many candidates and a full correction all samplers estimate the same sum, so that what is said here can matter
    for few candidates, or without correction. There ``eci`` ranked samplers the wrong way round in all places that were
    measured (docs/results/negatives), since hard negatives were worse ones; the lift, which is a count, ranked them.

    Raises
    ------
    buir.errors.InputError
        If ``n`` or ``pairs`` is below 1, or ``temperature`` is not above 0.
    """
    for name, value in (("n", n), ("pairs", pairs)):
        if value < 1:
            raise InputError(Argument(name), f" is {value}; expected at least 1")
    if not 0 < temperature < math.inf:
        raise InputError(Argument("temperature"), f" is {temperature}; expected a number above 0, such as 0.1")
    labelled, held_out = fit_inputs(train, valid)
    matrix = labelled.matrix
    n_users, n_items = matrix.shape
    user_vectors, item_vectors = frozen_vectors(matrix, model, seed=seed)
    known = KnownPairs(matrix, torch.device("cpu"))
    owners = torch.repeat_interleave(torch.arange(n_users), known.bounds.diff())
    chosen = permutation(len(owners), stream(seed, 7), torch.device("cpu"))[:pairs]
    chosen = chosen[known.bounds.diff()[owners[chosen]] < n_items]
    users, items = owners[chosen], known.items[chosen]
    positive = (user_vectors[users] * item_vectors[items]).sum(1)
    if samplers is None:
        samplers = make_samplers(known, user_vectors, item_vectors, n)
    relevant = None if held_out is None else KnownPairs(held_out, torch.device("cpu"))
    base = math.nan
    if relevant is not None:
        lacking = n_items - known.bounds.diff()[users]
        base = (relevant.bounds.diff()[users] / lacking).mean().item()
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


def frozen_vectors(matrix: csr_array, model: Any = None, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return unit vectors of users and items: a fitted model's, or 64 singular vectors of the normalised matrix."""
    if model is None:
        spectrum = spectral_factors(matrix, min(WIDTH, *matrix.shape), seed=seed)
        tables = spectrum.tables()
    else:
        held = FactorScorer(np.asarray(model.user_factors), np.asarray(model.item_factors))
        tables = held.user_factors, held.item_factors
    users, items = (functional.normalize(table.float(), dim=1) for table in tables)
    return users, items


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
    part = (scores / temperature).masked_fill(~counts, -torch.inf).softmax(dim=1).double()
    entropy = -torch.where(counts, part * part.clamp_min(1e-300).log(), 0.0).sum(1)[number > 0]
    return {
        "negatives": n,
        "hardness": hardness,
        "safety": safety,
        "eci": expected_capability(hardness, safety, n),
        "hard_share": _mean(part * number[:, None] > 1 + 1e-9, counts),
        "effective_negatives": entropy.exp().mean().item(),
    }
