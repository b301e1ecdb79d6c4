"""What the command line orders: text as settings and ids, files as lists of ids."""

from __future__ import annotations

import difflib
import inspect
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from buir.data import ROLES, ReadError, binary, canonical, check_text, read_bytes
from buir.errors import UnknownIdError, counted

# What needs torch is imported where it is used: importing torch takes longer than showing the help or describing a file.
if TYPE_CHECKING:
    from buir.data import Interactions
    from buir.model import BUIR
    from buir.ranking import Evaluation

_LISTS = {"allow": "--allow", "deny": "--deny", "histories": "--history"}
_WORDS = {"true": True, "false": False, "none": None, "null": None}


class OrderError(ValueError):
    """An option that cannot be followed; the message says what came, what was expected and what to do."""


def columns_of(texts: Sequence[str] | None) -> dict[str, str] | None:
    """Read options such as ``rating=3`` as the columns that :func:`buir.data.read` takes; None where there are none."""
    if not texts:
        return None
    columns: dict[str, str] = {}
    for text in texts:
        role, equals, column = text.partition("=")
        if not equals or not column:
            msg = f"--column is {text!r}; expected ROLE=COLUMN, a name or a position from 0: write --column rating=3"
            raise OrderError(msg)
        if role not in ROLES:
            msg = f"--column names the role {role!r}{_near(role, ROLES)}; expected one of {', '.join(ROLES)}"
            raise OrderError(msg)
        if role in columns:
            msg = f"--column gives {role} twice, {columns[role]!r} and {column!r}; expected one column: drop the other"
            raise OrderError(msg)
        columns[role] = column
    return columns


def make_model(settings: Sequence[str], *, paper: bool) -> BUIR:
    """Build an unfitted model from texts such as ``embedding_dim=32``.

    Raises
    ------
    OrderError
        If a name or a value is none that BUIR takes.
    """
    from buir.learning import training_device
    from buir.model import BUIR
    from buir.recommend import check_parameters

    names = list(inspect.signature(BUIR).parameters)
    chosen: dict[str, Any] = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals:
            msg = f"--set is {text!r}; expected NAME=VALUE: write --set embedding_dim=32"
            raise OrderError(msg)
        if name not in names:
            msg = f"--set names {name!r}{_near(name, names)}; expected one of {', '.join(names)}"
            raise OrderError(msg)
        chosen[name] = _value(value)
    model = BUIR.paper(**chosen) if paper else BUIR(**chosen)
    try:
        check_parameters(BUIR, model.get_params())
        training_device(model.device)
    except (TypeError, ValueError) as error:
        msg = f"--set: {error}"
        raise OrderError(msg) from None
    return model


def choose_epochs(model: BUIR, data: Interactions, fraction: float) -> tuple[BUIR, str]:
    """Find the best number of epochs on a held-out share of each user's pairs.

    Returns
    -------
    An unfitted model with that number of epochs, and a line about it.
    """
    draw = np.random.default_rng(model.seed).random(data.n_pairs)
    rank, count = np.empty(data.n_pairs, dtype=np.int64), np.diff(data.matrix.indptr)[data.users]
    rank[np.lexsort((draw, data.users))] = np.arange(data.n_pairs) - data.matrix.indptr[data.users]
    # A user's last pair stays: nobody is validated whom training has not seen.
    held = rank < np.minimum(np.rint(fraction * count), count - 1)
    if not held.any():
        msg = f"--valid-fraction {fraction:g} holds out none of {counted(data.n_pairs, 'pair')}, too few to a user; expected a larger share, or none"
        raise OrderError(msg)
    model.fit(data.keep(~held), data.keep(held))
    best = [record for record in model.history if record["best"]][-1]
    said = f"{counted(int(held.sum()), 'pair')} held out: {model.valid_metric} is best, {best[model.valid_metric]:.4f}, after {counted(best['epoch'], 'epoch')}"
    return type(model)(**(model.get_params() | {"epochs": best["epoch"]})), said


def read_ids(path: Path) -> list[str]:
    """Read a file with one id per line; blank lines are passed over."""
    raw = read_bytes(path)[0]
    try:
        check_text(path, raw)
    except ReadError:
        msg = f"{path} is not a text file in UTF-8; expected one id per line"
        raise OrderError(msg) from None
    lines = [line.strip() for line in raw.decode().splitlines()]
    ids = [line for line in lines if line]
    if not ids:
        msg = f"{path} holds no ids; expected one per line"
        raise OrderError(msg)
    return ids


def as_labels(values: Any, ids: np.ndarray) -> list[Any]:
    """Give ids the type of a model's: "7" is 7 for integers, and what is no canonical integer of 64 bits stays an unknown text."""
    if ids.dtype.kind not in "iu":
        return [str(value) for value in values]
    texts = [(value, str(value)) for value in values]
    return [
        int(text) if re.fullmatch(r"0|-?[1-9][0-9]{0,18}", text) and -(2**63) <= int(text) < 2**63 else value
        for value, text in texts
    ]


def lists(
    model: BUIR,
    users: list[str] | None,
    k: int,
    *,
    unknown: str,
    history: Interactions | None,
    allow: list[str] | None,
    deny: list[str] | None,
    exclude_seen: bool,
) -> pd.DataFrame:
    """Make the lists of users named by text; None for all, or for all of ``history``."""
    if exclude_seen and model.seen_ is None:
        msg = "the model was saved without its training rows, so what a user has cannot be left out; save it with them, or pass --include-seen"
        raise OrderError(msg)
    if unknown == "popular" and model.seen_ is None:
        msg = "--unknown popular needs the training rows, without which the model was saved; save it with them, or pass --unknown skip"
        raise OrderError(msg)
    try:
        frame = model.recommend_frame(
            None if users is None else list(dict.fromkeys(as_labels(users, model.user_ids_))),
            k,
            exclude_seen=exclude_seen,
            allow=None if allow is None else as_labels(allow, model.item_ids_),
            deny=None if deny is None else as_labels(deny, model.item_ids_),
            unknown=unknown,
            histories=None if history is None else _histories(model, history),
        )
    except UnknownIdError as error:
        way = "pass --unknown skip to leave them out, or --unknown popular"
        if error.noun == "item":
            way = "take them out of the file, or pass --unknown skip to pass them over"
        said = re.sub(r"^(allow|deny|histories) ", lambda found: f"{_LISTS[found[1]]} ", str(error))
        msg = f"{said.rpartition(': pass ')[0]}: {way}"
        raise OrderError(msg) from None
    # Parquet has no column of integers and texts together.
    return frame if frame["user"].map(type).nunique() < 2 else frame.assign(user=frame["user"].astype(str))


def _histories(model: BUIR, history: Interactions) -> dict[Any, list[Any]]:
    users, items = as_labels(history.user_ids, model.user_ids_), as_labels(history.item_ids, model.item_ids_)
    bounds, columns = history.matrix.indptr.tolist(), history.items.tolist()
    return {
        user: [items[column] for column in columns[bounds[row] : bounds[row + 1]]] for row, user in enumerate(users)
    }


def matched(model: BUIR, data: Interactions, name: str) -> tuple[csr_array, str]:
    """Find held-out pairs in a model's own rows.

    Returns
    -------
    The pairs that can be measured, and a line that says which were dropped.

    Raises
    ------
    OrderError
        If none can be, or the model does not hold its training rows.
    """
    from buir.recommend import as_index, lookups

    seen = _training_rows(model)
    of_users, of_items = lookups(model)
    users = of_users.rows(as_index(as_labels(data.user_ids, model.user_ids_)), "users", strict=False)[data.users]
    items = of_items.rows(as_index(as_labels(data.item_ids, model.item_ids_)), "items", strict=False)[data.items]
    known = (users >= 0) & (items >= 0)
    pairs = binary(users[known], items[known], (model.n_users, model.n_items))
    trained = pairs.multiply(seen)
    held_out = canonical(pairs - trained)
    counts = {
        "of unknown users": int((users < 0).sum()),
        "of unknown items": int(((users >= 0) & (items < 0)).sum()),
        "that are in training": int(trained.nnz),
    }
    dropped = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "none"
    said = f"{name}: {counted(data.n_pairs, 'pair')}, {held_out.nnz:,} measured; dropped: {dropped}"
    if trained.nnz and not held_out.nnz:
        which = (
            f"all {counted(data.n_pairs, 'pair')}"
            if known.all()
            else f"all {counted(trained.nnz, 'pair')} that the model knows"
        )
        msg = f"{said}; {which} are in the training data; expected held-out pairs: give a file of pairs that buir fit has not read"
        raise OrderError(msg)
    if not held_out.nnz:
        mine = ", ".join(repr(ids[:1].tolist()[0]) for ids in (model.user_ids_, model.item_ids_))
        theirs = ", ".join(repr(ids[:1].tolist()[0]) for ids in (data.user_ids, data.item_ids))
        msg = f"{said}; expected ids such as the model's {mine}, the file's are such as {theirs}: give the test part of the same data"
        raise OrderError(msg)
    return held_out, said


def measure(model: BUIR, held_out: csr_array, ks: Sequence[int]) -> Evaluation:
    """Evaluate with the training rows masked."""
    from buir.ranking import evaluate

    return evaluate(model, _training_rows(model), held_out, ks=ks)


def metric_table(result: Evaluation, ks: Sequence[int]) -> str:
    """Write means as text, a line for each metric and a column for each cut-off."""
    from buir.ranking import METRICS

    head = f"{counted(result.n_users, 'user'):<18}" + "".join(f"{f'@{k}':>9}" for k in ks)
    body = [
        f"{name:<18}" + "".join(f"{result.means[f'{name}_at_{k}']:>9.4f}" for k in ks)
        for name in (*METRICS, "coverage")
    ]
    return "\n".join([head, *body])


def _training_rows(model: BUIR) -> csr_array:
    if model.seen_ is None:
        msg = (
            "the model was saved without its training rows, which must not be listed; save it with training_matrix=True"
        )
        raise OrderError(msg)
    return model.seen_


def _near(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _value(text: str) -> Any:
    """Read a setting: a number, true, false or none; all else is a text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return json.loads(text)
    except ValueError:
        return text
