"""Held-out interactions in the rows of a fitted model, so that it can be measured on them."""

from dataclasses import dataclass

from scipy.sparse import csr_array

from buir.data import Interactions, binary, canonical, pattern
from buir.errors import InputError, counted
from buir.recommend.ids import as_index
from buir.recommend.lookup import as_labels, lookups
from buir.recommend.recommender import Recommender


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The pairs that a model can be measured on, and how many others there were."""

    pairs: csr_array
    """In the model's rows and columns, none of them in training."""
    seen: csr_array
    """The model's training rows."""
    of_unknown_users: int
    of_unknown_items: int
    """Those of known users."""
    in_training: int
    """Pairs that the model was trained on, so that it must not list them."""

    @property
    def dropped(self) -> str:
        """The numbers as text, such as "1 of unknown users, 3 that are in training"."""
        counts = {
            "of unknown users": self.of_unknown_users,
            "of unknown items": self.of_unknown_items,
            "that are in training": self.in_training,
        }
        return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "none"


def held_out_pairs(model: Recommender, data: Interactions) -> HeldOut:
    """Find held-out pairs in a model's own rows, to ``evaluate(model, found.seen, found.pairs)``.

    Parameters
    ----------
    model
        Fitted, with its training rows.
    data
        Pairs of the same ids; an integer and its spelling are one id.

    Raises
    ------
    InputError
        If no pair can be measured, or the model does not hold its training rows.
    """
    if model.seen_ is None:
        msg = (
            "the model was saved without its training rows, which must not be listed; save it with its training matrix"
        )
        raise InputError(msg, argument="model")
    of_users, of_items = lookups(model)
    users = of_users.rows(as_index(as_labels(data.user_ids, model.user_ids_)), "users", strict=False)[data.users]
    items = of_items.rows(as_index(as_labels(data.item_ids, model.item_ids_)), "items", strict=False)[data.items]
    known = (users >= 0) & (items >= 0)
    pairs = binary(users[known], items[known], (model.n_users, model.n_items))
    trained = pairs.multiply(pattern(model.seen_))
    new = canonical(pairs - trained)
    found = HeldOut(new, model.seen_, int((users < 0).sum()), int(((users >= 0) & (items < 0)).sum()), int(trained.nnz))
    if new.nnz:
        return found
    said = f"{data.report.source}: none of {counted(data.n_pairs, 'pair')} can be measured ({found.dropped}); expected "
    if trained.nnz:
        msg = f"{said}held-out pairs: give some that the model was not trained on"
    else:
        mine = ", ".join(repr(ids[:1].tolist()[0]) for ids in (model.user_ids_, model.item_ids_))
        theirs = ", ".join(repr(ids[:1].tolist()[0]) for ids in (data.user_ids, data.item_ids))
        msg = f"{said}ids such as the model's {mine}, these are such as {theirs}: give the test part of the same data"
    raise InputError(msg, argument="data")
