"""How long to train: the number of epochs that serves pairs held out best."""

from typing import NamedTuple

from buir.data import Interactions, splits
from buir.errors import Argument, InputError, counted
from buir.model.estimator import BUIR


class Choice(NamedTuple):
    """A number of epochs, and what speaks for it."""

    model: BUIR
    """Unfitted, with that number of epochs."""
    value: float
    """Of the model's ``valid_metric`` on the pairs held out."""
    n_held: int
    """How many those were."""


def choose_epochs(model: BUIR, data: Interactions, valid_fraction: float) -> Choice:
    """Find the best number of epochs on a held-out share of each user's pairs, to train on all of them afterwards.

    Parameters
    ----------
    model
        Its settings and its seed are those of the trial; it is fitted on the way.
    data
        All training pairs.
    valid_fraction
        Share of each user's pairs that is held out, in (0, 1).

    Raises
    ------
    InputError
        If the share is none, or too small to hold out anything.
    """
    train, held = splits.hold_out(data, valid_fraction, model.seed)
    if not held.n_pairs:
        few = f"none of {counted(data.n_pairs, 'pair')}, too few to a user"
        what = f" of {valid_fraction:g} holds out {few}; expected a larger share"
        raise InputError(Argument("valid_fraction"), what)
    model.fit(train, held)
    best = [record for record in model.history if record["best"]][-1]
    chosen = type(model)(**(model.get_params() | {"epochs": best["epoch"]}))
    return Choice(chosen, best[model.valid_metric], held.n_pairs)
