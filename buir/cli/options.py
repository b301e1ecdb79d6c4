"""What options say: text as settings and ids, files of ids, and the files that a command writes."""

from __future__ import annotations

import inspect
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from buir.data import ROLES, read, read_text, replace_atomically
from buir.errors import InputError, counted, near

# What needs torch is imported where it is used: that takes longer than showing the help or describing a file.
if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from buir.model import BUIR
    from buir.ranking import Evaluation

_TABLES = (".csv", ".tsv", ".parquet")
_PICTURES = (".png", ".svg", ".pdf")
_WORDS = {"true": True, "false": False, "none": None, "null": None}


def columns_of(texts: Sequence[str] | None) -> dict[str, str] | None:
    """Read options such as ``rating=3`` as the columns that :func:`buir.data.read` takes; None where there are none."""
    if not texts:
        return None
    columns: dict[str, str] = {}
    for text in texts:
        role, equals, column = text.partition("=")
        if not equals or not column:
            msg = f"--column is {text!r}; expected ROLE=COLUMN, a name or a position from 0: write --column rating=3"
            raise InputError(msg)
        if role not in ROLES:
            msg = f"--column names the role {role!r}; expected one of {', '.join(ROLES)}{near(role, ROLES)}"
            raise InputError(msg)
        if role in columns:
            msg = f"--column gives {role} twice, {columns[role]!r} and {column!r}; expected one column: drop the other"
            raise InputError(msg)
        columns[role] = column
    return columns


def where_of(texts: Sequence[str] | None) -> dict[str, list[str]] | None:
    """Read options such as ``event=buy`` as the rows that :func:`buir.data.read` keeps; None where there are none."""
    if not texts:
        return None
    where: dict[str, list[str]] = {}
    for text in texts:
        column, equals, value = text.partition("=")
        if not equals or not column or not value:
            msg = f"--where is {text!r}; expected COLUMN=VALUE, a name or a position from 0: write --where event=buy"
            raise InputError(msg)
        where.setdefault(column, []).append(value)
    return where


def make_model(settings: Sequence[str], *, paper: bool) -> BUIR:
    """Build an unfitted model from texts such as ``embedding_dim=32``.

    Raises
    ------
    InputError
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
            raise InputError(msg)
        if name not in (*names, "popularity"):  # that one has an answer of its own
            msg = f"--set names {name!r}; expected one of {', '.join(names)}{near(name, names)}"
            raise InputError(msg)
        chosen[name] = _value(value)
    model = BUIR.paper(**chosen) if paper else BUIR(**chosen)
    try:
        check_parameters(BUIR, model.get_params())
        training_device(model.device)
    except (TypeError, ValueError) as error:
        msg = f"--set: {error}"
        raise InputError(msg) from None
    return model


def read_ids(path: Path) -> list[str]:
    """Read a file with one id per line; blank lines are passed over."""
    lines = [line.strip() for line in read_text(path).content.decode().splitlines()]
    ids = [line for line in lines if line]
    if not ids:
        msg = f"{path} holds no ids; expected one per line"
        raise InputError(msg)
    return ids


def read_labels(path: Path | None, ids: np.ndarray) -> list[Any] | None:
    """Read a file of ids as labels of the type that a model's ``ids`` have; None where there is no file."""
    from buir.recommend import as_labels

    return None if path is None else as_labels(read_ids(path), ids)


def read_histories(path: Path, model: BUIR) -> dict[Any, list[Any]]:
    """Read a file of interactions as the items of each user, both as labels of the model's types."""
    from buir.recommend import as_labels

    history = read(path)
    users, items = as_labels(history.user_ids, model.user_ids_), as_labels(history.item_ids, model.item_ids_)
    rows = np.split(history.items, history.matrix.indptr[1:-1])
    return {user: [items[column] for column in row] for user, row in zip(users, rows, strict=True)}


def metric_table(result: Evaluation, ks: Sequence[int]) -> str:
    """Write means as text, a line for each metric and a column for each cut-off."""
    from buir.ranking import METRICS

    head = f"{counted(result.n_users, 'user'):<18}" + "".join(f"{f'@{k}':>9}" for k in ks)
    body = [
        f"{name:<18}" + "".join(f"{result.means[f'{name}_at_{k}']:>9.4f}" for k in ks)
        for name in (*METRICS, "coverage")
    ]
    return "\n".join([head, *body])


def check_target(path: Path, *read: Path | None, table: bool, option: str = "--out") -> None:
    """Make sure that a file can be written there, over none of the files ``read``, before the work is done."""
    endings = _PICTURES if option == "--figure" else _TABLES if table else ()
    if endings and path.suffix not in endings:
        msg = f"{option} is {str(path)!r}; expected a name that ends in {', '.join(endings)}"
        raise InputError(msg)
    if path.is_dir():
        example = str(path / f"model{endings[0] if endings else '.safetensors'}")
        msg = f"{option} is {str(path)!r}, a folder; expected the name of a file: write {example!r}"
        raise InputError(msg)
    if not path.parent.is_dir():
        msg = f"{option} is {str(path)!r}, but there is no folder {str(path.parent)!r}; create it first"
        raise InputError(msg)
    for source in read:
        # Also by another name: over a link, upwards and down again, or in other letters where these do not count.
        if source is not None and path.exists() and source.exists() and path.samefile(source):
            said = f"{option} is {str(path)!r}, which is the file {str(source)!r} that this command reads"
            msg = f"{said} and would be lost; expected another name"
            raise InputError(msg)


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame in the form its name asks for; an earlier file stays until the new one is whole."""
    if path.suffix == ".parquet":
        replace_atomically(path, frame.to_parquet(index=False))
    else:
        replace_atomically(path, frame.to_csv(index=False, sep="\t" if path.suffix == ".tsv" else ",").encode())


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the form its name asks for; an earlier file stays until the new one is whole."""
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=150)
    replace_atomically(path, content.getvalue())


def _value(text: str) -> Any:
    """Read a setting: a number, true, false or none; all else is a text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return json.loads(text)
    except ValueError:
        return text
