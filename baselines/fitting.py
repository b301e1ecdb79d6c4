"""What the baselines' fits have in common: one record made after."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from buir.ranking import evaluate

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Callback = Callable[[dict[str, Any]], Any] | None
"""Called with every history record; what it returns matters only to models that train in epochs."""

VALID_KS = (10, 20, 50)
VALID_METRICS = ("ndcg", "recall")


def validate(model: Any, train: csr_array, valid: csr_array) -> dict[str, float]:
    """Measure NDCG, recall and coverage of a fitted model's lists on held-out pairs, training items masked."""
    return evaluate(model, train, valid, ks=VALID_KS, metrics=VALID_METRICS).means


def report_fit(
    model: Any, train: csr_array, valid: csr_array | None, *, epoch: int, started: float, callback: Callback
) -> list[dict[str, Any]]:
    """Make the history of a model that was fitted in one go, and hand its record to ``callback``.

    Parameters
    ----------
    model
        Fitted.
    train, valid
        Binary matrices of one shape; ``valid`` may be None.
    epoch
        Passes over the data that the fit took.
    started
        ``time.perf_counter()`` at the start of the fit.
    callback
        Called once with the record, as at the end of a last epoch. What it raises passes through.

    Returns
    -------
    One record: "epoch", "seconds" (of the fit, with the choice of terms), with ``valid`` the validation metrics, and
    where held-out pairs chose terms "terms": their strengths, gains and the number of candidates.
    """
    record: dict[str, Any] = {"epoch": epoch, "seconds": time.perf_counter() - started}
    if valid is not None:
        record |= validate(model, train, valid)
    if (terms := getattr(model, "terms_", None)) is not None:
        record |= terms.record
    if callback is not None:
        callback(record)
    return [record]
