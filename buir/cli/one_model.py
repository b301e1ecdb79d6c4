"""The commands over one model: ``buir fit``, ``update``, ``recommend``, ``similar`` and ``evaluate``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from buir.cli.terminal import AsJson, one_line_errors, option, show_json
from buir.errors import Argument, InputError, PairsDroppedWarning, StorageError, counted

# What needs pandas or torch is imported within the commands: that takes longer than showing the help.
if TYPE_CHECKING:
    import pandas as pd

    from buir.model import BUIR

Data = Annotated[Path, typer.Argument(metavar="DATA", help="A file of interactions, gzip or not.")]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model that buir fit, or BUIR.save, wrote.")]
FormatName = Annotated[str | None, typer.Option("--format", help="Name of the format, if it is not to be detected.")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", help="Which column holds what, such as user=customer or rating=3 (from 0); repeatable."),
]
Separator = Annotated[
    str | None, typer.Option("--separator", help="What stands between two columns, such as '|', if not to be detected.")
]
Encoding = Annotated[str | None, typer.Option("--encoding", help="Of a text that is not UTF-8, such as cp1252.")]
Header = Annotated[
    bool | None, typer.Option("--header/--no-header", help="Whether the first row holds names, if not to be detected.")
]
DropMissing = Annotated[
    bool, typer.Option("--drop-missing", help="Leave out rows without user, item, rating or time, and count them.")
]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", help="Keep rows with this value in a column, such as event=buy; repeatable, for either."),
]
MaxBytes = Annotated[
    int | None,
    typer.Option(
        "--max-bytes",
        min=1,
        help="What the file, unpacked, or a line may have, instead of 8 GiB (of a gzip 100 times its size) and 16 MiB.",
    ),
]
Excel = Annotated[
    bool,
    typer.Option(
        "--excel", help="In text, put ' before a value that a spreadsheet would run: one with =, +, - or @ first."
    ),
]
Length = Annotated[int, typer.Option("--k", min=1, help="Length of a list.")]
Out = Annotated[Path | None, typer.Option("--out", help="A .csv, .tsv or .parquet file; else to the screen.")]
Titles = Annotated[
    Path | None, typer.Option(help="File of item ids and titles, which are written beside the items of the lists.")
]
MinRating = Annotated[float | None, typer.Option("--min-rating", help="Keep rows with at least this rating.")]
Weight = Annotated[
    str | None,
    typer.Option(
        "--weight",
        help="How much a pair counts: values (of the column of weights, or how many rows it has), log, bm25, or "
        "half-life=DAYS. None: all alike.",
    ),
]

_NOTHING = "nothing was written"
_FEWER = "use a smaller number for --set embedding_dim or batch_size, or fewer pairs"


def fit(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="The model file to write, such as model.safetensors.")],
    format: FormatName = None,
    column: Columns = None,
    separator: Separator = None,
    encoding: Encoding = None,
    header: Header = None,
    drop_missing: DropMissing = False,
    where: Where = None,
    max_bytes: MaxBytes = None,
    min_rating: MinRating = None,
    min_user: Annotated[int, typer.Option(min=0, help="Keep users with at least this many rows.")] = 0,
    min_item: Annotated[int, typer.Option(min=0, help="Keep items with at least this many rows.")] = 0,
    weight: Weight = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Hyper-parameter, such as embedding_dim=32 or 'terms={\"popularity\": 0.3}'; repeatable."
        ),
    ] = None,
    paper: Annotated[bool, typer.Option("--paper", help="Start from the author's settings.")] = False,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="A file that keeps the state of training until MODEL is saved.")
    ] = None,
    checkpoint_minutes: Annotated[
        float, typer.Option("--checkpoint-minutes", min=0, help="Least time between two writings of it.")
    ] = 10.0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from --checkpoint if it is there; begin anew if it is not.")
    ] = False,
) -> None:
    """Train a model on all pairs of a file and save it.

    Epochs, uniformity and the terms of the score are decided by pairs held out inside, one of every user who can spare
    it; the model that is saved is then trained on all pairs. ``--set inner_validation=false`` does without.

    Example: buir fit ratings.csv --min-rating 4 --out model.safetensors
    """

    def kept() -> str:
        if checkpoint is None:
            return f"{_NOTHING}: --checkpoint FILE keeps what was learned, and with --resume as well training goes on"
        if not checkpoint.exists():
            return _NOTHING
        return f"{checkpoint} keeps the best weights so far: the same command with --resume goes on from there"

    with one_line_errors(kept, _FEWER):
        from buir.cli import options
        from buir.data import read, reading_weights, weighting

        options.check_target(out, data, table=False)
        if checkpoint is not None:
            options.check_target(checkpoint, data, table=False, option="--checkpoint")
            # it is removed at the end; letters may not count as capital or small
            if str(checkpoint.resolve()).casefold() == str(out.resolve()).casefold():
                msg = f"--checkpoint is {str(checkpoint)!r}, which is --out as well; expected another name"
                raise InputError(msg)
            if resume and not checkpoint.exists():
                typer.echo(f"{checkpoint} is not there: training begins anew", err=True)
        model = options.make_model(overrides or [], paper=paper)
        form = {"format": format, "columns": options.columns_of(column), "separator": separator, "encoding": encoding}
        form |= {"header": header, "drop_missing": drop_missing, "where": options.where_of(where)}
        form |= {"max_bytes": max_bytes}
        filters = {"min_rating": min_rating, "min_user": min_user, "min_item": min_item}
        weights = None if weight is None else weighting(weight)
        with reading_weights(weights):
            interactions = read(data, **form, **filters)
        journal = {"checkpoint": checkpoint, "checkpoint_minutes": checkpoint_minutes, "resume": resume}
        model.fit(interactions, weights=weights, **journal)
        model.save(out)
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
        read_in = ", ".join(counted(size, noun) for noun, size in options.sizes_of(model).items())
        left_out = interactions.report.left_out
        rows = f" (of {counted(interactions.report.rows_read, 'row')}: {left_out})" if left_out else ""
        typer.echo(f"{out}: BUIR, encoder {model.encoder}, {read_in}{rows}; {model.chosen_}")


def update(
    model_file: Model,
    new: Annotated[Path, typer.Argument(metavar="NEW", help="A file of new interactions, gzip or not.")],
    out: Annotated[Path, typer.Option("--out", help="The model file to write, such as updated.safetensors.")],
    format: FormatName = None,
    column: Columns = None,
    separator: Separator = None,
    encoding: Encoding = None,
    header: Header = None,
    drop_missing: DropMissing = False,
    where: Where = None,
    max_bytes: MaxBytes = None,
    min_rating: MinRating = None,
    weight: Weight = None,
    epochs: Annotated[
        int | None, typer.Option(min=0, help="Passes over old and new pairs; by default a tenth of those of the fit.")
    ] = None,
) -> None:
    """Go on learning with new pairs, new users and new items. What MODEL has learned is kept, and its file as well.

    Example: buir update model.safetensors new.csv --out updated.safetensors
    """
    with one_line_errors(_NOTHING, "use fewer new pairs"):
        from buir.cli import options
        from buir.data import read, reading_weights, weighting

        options.check_target(out, model_file, new, table=False)
        model = load(model_file)
        form = {"format": format, "columns": options.columns_of(column), "separator": separator, "encoding": encoding}
        form |= {"header": header, "drop_missing": drop_missing, "where": options.where_of(where)}
        form |= {"max_bytes": max_bytes}
        weights = None if weight is None else weighting(weight)
        with reading_weights(weights):
            arrived = options.with_labels_of(model, read(new, **form, min_rating=min_rating), new)
        before, state = options.sizes_of(model), model.state_
        model.partial_fit(arrived, weights=weights, epochs=epochs)
        model.save(out, optimiser=state is not None)
        after = options.sizes_of(model)
        now, more = (
            ", ".join(counted(size, noun) for noun, size in sizes.items())
            for sizes in (after, {noun: size - before[noun] for noun, size in after.items()})
        )
        typer.echo(f"{out}: BUIR, encoder {model.encoder}, {now}; new are {more}")


def recommend(
    model_file: Model,
    user: Annotated[list[str] | None, typer.Option("--user", help="A user id; repeatable. None: everybody.")] = None,
    users: Annotated[Path | None, typer.Option(help="File of user ids, one per line.")] = None,
    everybody: Annotated[
        bool, typer.Option("--all", help="Everybody, also where --history names some: its users and the model's.")
    ] = False,
    k: Length = 10,
    out: Out = None,
    unknown: Annotated[
        Literal["error", "skip", "popular"], typer.Option(help="What to do with ids the model does not know.")
    ] = "error",
    history: Annotated[
        Path | None, typer.Option(help="File of interactions of users to be judged by these alone, new ones too.")
    ] = None,
    allow: Annotated[Path | None, typer.Option(help="File of the only items to list, an id per line.")] = None,
    deny: Annotated[Path | None, typer.Option(help="File of items never to list, an id per line.")] = None,
    titles: Titles = None,
    include_seen: Annotated[bool, typer.Option("--include-seen", help="List what a user has already.")] = False,
    less_like: Annotated[
        list[str] | None, typer.Option("--less-like", help="Id of an item; lists have less of its kind. Repeatable.")
    ] = None,
    more_like: Annotated[
        list[str] | None, typer.Option("--more-like", help="Id of an item; lists have more of its kind. Repeatable.")
    ] = None,
    strength: Annotated[
        float | None, typer.Option("--strength", help="How far such an item turns lists, from 0.")
    ] = None,
    excel: Excel = False,
) -> None:
    """List the best items for users. Rows hold user, item, score and rank.

    Example: buir recommend model.safetensors --user 42 --k 10
    """

    def typed(argument: Argument) -> str:
        of_file = argument.name == "users" and argument.value is None and users is not None and not user
        return f"--users {users}" if of_file else option(argument)

    with one_line_errors(_NOTHING, "use a smaller number for --k, or fewer users", typed):
        from buir.cli import options
        from buir.data import as_labels

        if everybody and (user or users):
            msg = "--all asks for everybody, and --user and --users for some; expected one of them"
            raise InputError(msg)
        if strength is not None and not less_like and not more_like:
            msg = f"--strength is {strength:g} and no item is named; expected --less-like or --more-like beside it"
            raise InputError(msg)
        if out is not None:
            options.check_target(out, model_file, users, history, allow, deny, titles, table=True)
        model = load(model_file)
        ids = model.user_ids_
        told = None if history is None else options.read_histories(history, model)
        called = options.titles_of(titles, model.item_ids_)
        further = {
            "exclude_seen": not include_seen,
            "allow": options.read_labels(allow, model.item_ids_),
            "deny": options.read_labels(deny, model.item_ids_),
            "unknown": unknown,
            "less_like": as_labels(less_like or [], model.item_ids_),
            "more_like": as_labels(more_like or [], model.item_ids_),
        }
        further |= {} if strength is None else {"strength": strength}
        named = [*(user or []), *(options.read_ids(users) if users else [])]
        asked = as_labels(named, ids) if named else [*(told or ()), *([] if told and not everybody else ids.tolist())]
        asked = list(dict.fromkeys(asked))
        # Parquet has no column of integers and texts together
        listed = asked if unknown == "popular" else told or ()
        text = ids.dtype.kind not in "iu" or any(isinstance(label, str) for label in listed)

        def lists(block: Sequence[Any]) -> pd.DataFrame:
            histories = None if told is None else {label: told[label] for label in block if label in told}
            frame = model.recommend_frame(block, k, histories=histories, **further)
            frame["user"] = frame["user"].astype(str if text else "int64")
            return options.with_titles(frame, called, "item")

        _write(options.in_blocks(asked, lists, "user", show=out is not None), out, "user", excel=excel)


def similar(
    model_file: Model,
    item: Annotated[list[str] | None, typer.Option("--item", help="An item id; repeatable. None: all items.")] = None,
    items: Annotated[Path | None, typer.Option(help="File of item ids, one per line.")] = None,
    user: Annotated[list[str] | None, typer.Option("--user", help="A user id, for similar users; repeatable.")] = None,
    users: Annotated[Path | None, typer.Option(help="File of user ids, one per line.")] = None,
    k: Length = 10,
    out: Out = None,
    unknown: Annotated[
        Literal["error", "skip"], typer.Option(help="What to do with ids the model does not know.")
    ] = "error",
    allow: Annotated[Path | None, typer.Option(help="File of the only ids to list, one per line.")] = None,
    deny: Annotated[Path | None, typer.Option(help="File of ids never to list, one per line.")] = None,
    titles: Titles = None,
    excel: Excel = False,
) -> None:
    """List what is most similar to items, or to users. Rows hold item, similar_item, score (cosine) and rank.

    Example: buir similar model.safetensors --item 42 --k 10
    """
    with one_line_errors(_NOTHING, "use a smaller number for --k, or fewer items"):
        from buir.cli import options
        from buir.data import as_labels

        of_users = bool(user or users)
        if of_users and (item or items or titles):
            msg = (
                f"--user asks for similar users, and --{'titles' if titles else 'item'} is of items; expected one kind"
            )
            raise InputError(msg)
        if out is not None:
            options.check_target(out, model_file, items, users, allow, deny, titles, table=True)
        model = load(model_file)
        ids, noun = (model.user_ids_, "user") if of_users else (model.item_ids_, "item")
        called = options.titles_of(titles, model.item_ids_)
        file, lone = (users, user) if of_users else (items, item)
        named = [*(lone or []), *(options.read_ids(file) if file else [])]
        asked = list(dict.fromkeys(as_labels(named, ids))) if named else ids.tolist()
        similar_frame = model.similar_users_frame if of_users else model.similar_items_frame
        further = {"allow": options.read_labels(allow, ids), "deny": options.read_labels(deny, ids), "unknown": unknown}

        def lists(block: Sequence[Any]) -> pd.DataFrame:
            return options.with_titles(similar_frame(block, k, **further), called, f"similar_{noun}")

        _write(options.in_blocks(asked, lists, noun, show=out is not None), out, noun, excel=excel)


def _write(frames: Iterator[pd.DataFrame], out: Path | None, noun: str, *, excel: bool) -> None:
    """Write lists to a file and say how many, or print them."""
    from buir.cli import options

    if out is None:
        for place, frame in enumerate(frames):
            typer.echo(options.as_text(frame, header=place == 0, excel=excel), nl=False)
        return
    n_rows = n_lists = 0

    def counting() -> Iterator[pd.DataFrame]:
        nonlocal n_rows, n_lists
        for frame in frames:
            n_rows, n_lists = n_rows + len(frame), n_lists + frame[noun].nunique()
            yield frame

    options.write_table(counting(), out, excel=excel)
    typer.echo(f"{out}: {counted(n_rows, 'row')}, lists for {counted(n_lists, noun)}")


def evaluate(
    model_file: Model,
    test: Annotated[Path, typer.Argument(metavar="TEST", help="A file of held-out interactions.")],
    k: Annotated[list[int] | None, typer.Option("--k", min=1, help="Cut-off; repeatable. 10, 20 and 50.")] = None,
    format: FormatName = None,
    column: Columns = None,
    separator: Separator = None,
    encoding: Encoding = None,
    header: Header = None,
    drop_missing: DropMissing = False,
    where: Where = None,
    max_bytes: MaxBytes = None,
    min_rating: MinRating = None,
    out: Annotated[Path | None, typer.Option("--out", help="Values of each user, .csv, .tsv or .parquet.")] = None,
    as_json: AsJson = False,
    excel: Excel = False,
) -> None:
    """Measure a model on held-out pairs. Training pairs are never listed; what it cannot know is dropped and said.

    Example: buir evaluate model.safetensors test.csv --k 20 --json
    """
    with one_line_errors(_NOTHING, "use a smaller number for --k"):
        from buir.cli import options
        from buir.data import read
        from buir.ranking import evaluate

        if out is not None:
            options.check_target(out, model_file, test, table=True)
        model = load(model_file)
        form = {"format": format, "columns": options.columns_of(column), "separator": separator, "encoding": encoding}
        form |= {"header": header, "drop_missing": drop_missing, "where": options.where_of(where)}
        form |= {"max_bytes": max_bytes}
        data = read(test, **form, min_rating=min_rating)
        if model.seen_ is None:
            msg = f"{model_file} was saved without its training rows, which must not be listed; save it with them"
            raise InputError(msg, argument="model")
        cutoffs = sorted(set(k or [10, 20, 50]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PairsDroppedWarning)  # the line below says it
            try:
                result = evaluate(model, model.seen_, data, ks=cutoffs)
            except InputError as error:
                named = str(error).startswith(f"{test.name}: ")
                raise InputError(*(() if named else (str(test), ": ")), *error.message, argument="test") from error
        known = result.dropped.get("that are in training", 0)
        if known > result.n_pairs:
            what = f"{test}: {known:,} of {counted(data.n_pairs, 'pair')} are those that the model was trained on"
            typer.echo(f"{what}; expected held-out pairs: is this the training file?", err=True)
        if out is not None:
            options.write_table([result.to_frame()], out, excel=excel)
        if as_json:
            counts = {"n_pairs": data.n_pairs, "n_measured": result.n_pairs, "n_users": result.n_users}
            dropped = {what.removeprefix("that are ").replace(" ", "_"): n for what, n in result.dropped.items()}
            show_json({"test": test, **counts, "dropped": dropped, "means": result.means, "out": out})
            return
        dropped = ", ".join(f"{count:,} {what}" for what, count in result.dropped.items()) or "none"
        typer.echo(f"{test}: {counted(data.n_pairs, 'pair')}, {result.n_pairs:,} measured; dropped: {dropped}")
        typer.echo(options.metric_table(result, cutoffs))
        if out is not None:
            typer.echo(f"{out}: values of {counted(result.n_users, 'user')}")


def load(path: Path) -> BUIR:
    """Load a fitted model."""
    from buir.model import BUIR

    model = BUIR.load(path)
    if not hasattr(model, "user_ids_"):
        remedy = "write it with buir fit, or save after fit"
        msg = f"{path} holds a model that was never fitted; expected a fitted one: {remedy}"
        raise StorageError(msg)
    return model
