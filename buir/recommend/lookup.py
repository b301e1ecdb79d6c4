"""Raw ids to rows, and what to say of ids that nobody knows."""

import reprlib
from typing import Any

import numpy as np
import pandas as pd

from buir.errors import Argument, UnknownIdError

_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 60
"""Characters of one id that a message repeats: what came may be a whole file."""
_SKIP = Argument("unknown", "skip")


class Lookup:
    """Rows of one kind of ids.

    Parameters
    ----------
    ids
        Distinct labels, int64 or str, one for each row.
    noun
        What they label, "user" or "item".
    """

    def __init__(self, ids: np.ndarray, noun: str) -> None:
        self.ids, self.noun = ids, noun
        self.index = pd.Index(ids)
        self.knows(ids[:1])  # pandas hashes at the first look, and a thread that looks meanwhile would find nothing

    def knows(self, labels: np.ndarray) -> np.ndarray:
        """Tell which of some labels, of the ids' own type, are ids."""
        return self.index.get_indexer(pd.Index(labels)) >= 0

    def rows(self, labels: pd.Index, what: str, *, strict: bool) -> np.ndarray:
        """Return the row of each label, -1 where unknown; ``strict`` makes those an error that names ``what``."""
        rows = self.index.get_indexer(labels)
        if strict and (rows < 0).any():
            raise self.unknown(labels[rows < 0], what)
        return rows

    def row(self, label: Any, what: str) -> int:
        """Return the row of one label.

        Raises
        ------
        TypeError
            If it is a list or something else that is no id.
        UnknownIdError
            If the model does not know it.
        """
        if not np.isscalar(label):
            expected = f"expected one {self.noun} id, an integer or a string: ask for one at a time"
            msg = f"{what} is {_SHOWN.repr(label)} of type {type(label).__name__}; {expected}"
            raise TypeError(msg)
        row = int(self.index.get_indexer(pd.Index([label]))[0])
        if row < 0:
            known = f"its {self.noun} ids look like {self._looks()}"
            expected = f"expected one {self.noun} of the training data: partial_fit adds new ones"
            if self.noun == "user":
                expected += ", and histories say what others have liked"
            msg = f"{what} is {_SHOWN.repr(label)}, an id unknown to the model; {known}: {expected}"
            raise UnknownIdError(msg, noun=self.noun, argument=what)
        return row

    def unknown(self, labels: pd.Index, what: str, *, listed: bool = False) -> UnknownIdError:
        """Make the error that says which ids are unknown, what the known ones look like, and the way out.

        ``listed`` users are those of a list, by whom nothing else goes.
        """
        known = f"its {self.noun} ids look like {self._looks()}"
        msg = f" holds {self.noun} ids unknown to the model: {_first(labels)}; {known}: "
        if listed:
            way = "leave them out, or pass ", _SKIP, " to pass them over"
        elif what == "users":
            popular = Argument("unknown", "popular")
            way = "pass ", _SKIP, " to leave them out, or ", popular, ", or pass ", Argument("histories")
        elif self.noun == "user":
            way = "correct these keys, which must be of the ids' own type, or pass ", _SKIP, " to pass them over"
        else:
            way = "leave them out, or pass ", _SKIP, " to pass them over"
        return UnknownIdError(Argument(what), msg, *way, noun=self.noun)

    def without_history(self, labels: pd.Index) -> UnknownIdError:
        """Make the error for unknown users whose histories are empty."""
        msg = f" is empty for users unknown to the model: {_first(labels)}; give at least one known item, or pass "
        way = Argument("unknown", "popular"), " or ", _SKIP
        return UnknownIdError(Argument("histories"), msg, *way, noun=self.noun)

    def without_vector(self, labels: pd.Index) -> UnknownIdError:
        """Make the error for unknown users whose lists would be of popular items, which nothing can turn."""
        msg = f" lists what is popular for users unknown to the model, {_first(labels)}, which cannot be turned by "
        way = "; expected histories of them: give these, or pass ", _SKIP
        sides = Argument("less_like"), " or ", Argument("more_like")
        return UnknownIdError(Argument("unknown", "popular"), msg, *sides, *way, noun=self.noun)

    def _looks(self) -> str:
        return _SHOWN.repr(self.index[:1].tolist()[0]) if len(self.index) else "nothing"


def _first(labels: pd.Index) -> str:
    """Write the first three ids, and how many more there are."""
    more = f" and {len(labels) - 3:,} more" if len(labels) > 3 else ""
    return ", ".join(_SHOWN.repr(label) for label in labels[:3].tolist()) + more


def lookups(model: Any) -> tuple[Lookup, Lookup]:
    """Return the lookups of a fitted model's users and items, made once and kept with the model."""
    kept = vars(model).get("_lookups")
    # Hashing a million ids takes longer than making a list. New ids always come as new arrays.
    if kept is None or kept[0].ids is not model.user_ids_ or kept[1].ids is not model.item_ids_:
        kept = model._lookups = (Lookup(model.user_ids_, "user"), Lookup(model.item_ids_, "item"))
    return kept
