"""What options say: text as settings and ids, files of ids, and the files that a command writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from buir.data import ROLES, as_labels, read, read_text, read_titles, replacing
from buir.errors import InputError, InputWarning, counted, near, report

# What needs torch is imported where it is used: that takes longer than showing the help or describing a file.
if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from buir.data import Interactions
    from buir.model import BUIR
    from buir.ranking import Evaluation

BLOCK = 10_000
"""Users, or items, whose lists are made and written at once."""
_TABLES = (".csv", ".tsv", ".parquet")
_PICTURES = (".png", ".svg", ".pdf")
_WORDS = {"true": True, "false": False}


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
    from buir.recommend import check_parameters, unknown_parameters

    chosen: dict[str, Any] = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals:
            msg = f"--set is {text!r}; expected NAME=VALUE: write --set embedding_dim=32"
            raise InputError(msg)
        chosen[name] = _value(value)
    if unknown := unknown_parameters(BUIR, chosen):
        msg = f"--set: {unknown}"
        raise InputError(msg)
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
    return None if path is None else as_labels(read_ids(path), ids)


def read_histories(path: Path, model: BUIR) -> dict[Any, list[Any]]:
    """Read a file of interactions as the items of each user, both as labels of the model's types."""
    history = read(path)
    users, items = as_labels(history.user_ids, model.user_ids_), as_labels(history.item_ids, model.item_ids_)
    rows = np.split(history.items, history.matrix.indptr[1:-1])
    return {user: [items[column] for column in row] for user, row in zip(users, rows, strict=True)}


def with_labels_of(model: BUIR, data: Interactions, path: Path) -> Interactions:
    """Give the ids of a file the types of a model's: 7 and "7" are one id.

    Raises
    ------
    InputError
        If the model's ids are integers and one of the file's is none.
    """
    ids = {}
    for noun, theirs, mine in (
        ("user", data.user_ids, model.user_ids_),
        ("item", data.item_ids, model.item_ids_),
    ):
        integers = mine.dtype.kind in "iu"
        labels = as_labels(theirs, mine)
        for label in labels:
            if integers and not isinstance(label, int | np.integer):
                msg = (
                    f"{path} has the {noun} id {label!r}, and the model's are integers such as {mine[:1].tolist()[0]}; "
                )
                msg += f"expected integers: give a file with the {noun}s' ids as fit had them"
                raise InputError(msg)
        ids[f"{noun}_ids"] = np.array(labels, dtype=np.int64 if integers else object)
    return replace(data, **ids)


def sizes_of(model: BUIR) -> dict[str, int]:
    """Return how many users, items and training pairs a model has, by the noun."""
    return {"user": model.n_users, "item": model.n_items, "pair": 0 if model.seen_ is None else model.seen_.nnz}


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


def as_text(frame: pd.DataFrame, *, header: bool = True, excel: bool = False, separator: str = ",") -> str:
    """Write a frame as text, for a spreadsheet with ``excel``: no value of text in it is then taken for a formula."""
    if excel:
        texts = [name for name in frame.columns if any(isinstance(value, str) for value in frame[name])]
        frame = frame.assign(**{name: frame[name].map(_no_formula) for name in texts})
    return frame.to_csv(index=False, header=header, sep=separator)


def _no_formula(value: Any) -> Any:
    # blanks and line breaks in front do not stop a spreadsheet
    formula = isinstance(value, str) and (value[:1] in ("\t", "\r", "\n") or value.strip()[:1] in ("=", "+", "-", "@"))
    return f"'{value}" if formula else value


def write_table(frames: Iterable[pd.DataFrame], path: Path, *, excel: bool = False) -> None:
    """Write the rows of frames of one form, as the file's name asks for, holding no more than one of them.

    An earlier file stays until the new one is whole.
    """
    import pyarrow as pa
    import pyarrow.parquet

    with replacing(path) as stream:
        frames = iter(frames)
        first = next(frames)
        if path.suffix != ".parquet":
            for frame in chain([first], frames):
                separator = "\t" if path.suffix == ".tsv" else ","
                stream.write(as_text(frame, header=frame is first, excel=excel, separator=separator).encode())
            return
        # an empty frame does not say what its columns would hold
        kinds = [
            (name, pa.from_numpy_dtype(kind) if pd.api.types.is_numeric_dtype(kind) else pa.string())
            for name, kind in first.dtypes.items()
        ]
        schema = pa.schema(kinds)
        with pyarrow.parquet.ParquetWriter(stream, schema) as writer:
            for frame in chain([first], frames):
                writer.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False))


def in_blocks(
    ids: Sequence[Any], lists_of: Callable[[Sequence[Any]], pd.DataFrame], noun: str, *, show: bool
) -> Iterator[pd.DataFrame]:
    """Make the lists of so many users, or items, that they are better not held together.

    Parameters
    ----------
    ids
        Whose lists are wanted.
    lists_of
        Makes those of some of them.
    noun
        What they are, for the progress bar.
    show
        Whether to show one, on a terminal.
    """
    from tqdm import tqdm

    with tqdm(total=len(ids), unit=f" {noun}s", leave=False, disable=None if show else True) as bar:
        for start in range(0, max(1, len(ids)), BLOCK):
            block = ids[start : start + BLOCK]
            yield lists_of(block)
            bar.update(len(block))


def titles_of(path: Path | None, ids: np.ndarray) -> dict[str, str] | None:
    """Read the titles of a model's items, by the text of their ids; None where there is no file.

    Raises
    ------
    InputError
        If they are those of other items.

    Warns
    -----
    buir.errors.InputWarning
        If some items have none.
    """
    if path is None:
        return None
    found = read_titles(path)
    lacking = [str(label) for label in ids.tolist() if str(label) not in found]
    if len(lacking) == len(ids):
        looks = f"{next(iter(found), '')!r}, those of the model such as {lacking[0]!r}"
        msg = (
            f"{path} has titles of {counted(len(found), 'item')}, none of them the model's: its ids are such as {looks}"
        )
        msg += "; expected a column of the ids that the model was trained with"
        raise InputError(msg, argument="titles")
    if lacking:
        msg = f"{path} has no title for {len(lacking):,} of {len(ids):,} items, such as {lacking[0]!r}"
        report([InputWarning(f"{msg}; it stays empty there", argument="titles")])
    return found


def with_titles(frame: pd.DataFrame, titles: dict[str, str] | None, column: str) -> pd.DataFrame:
    """Put what items are called beside a column of their ids."""
    if titles is None:
        return frame
    place = list(frame.columns).index(column) + 1
    called = [titles.get(str(label)) for label in frame[column].tolist()]
    frame.insert(place, "title", pd.Series(called, dtype=object, index=frame.index))
    return frame


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the form its name asks for; an earlier file stays until the new one is whole."""
    with replacing(path) as stream:
        figure.savefig(stream, format=path.suffix[1:], dpi=150)


def _value(text: str) -> Any:
    """Read a setting: a number, true or false; all else is a text, such as the none of a predictor."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
