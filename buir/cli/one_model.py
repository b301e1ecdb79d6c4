"""The commands over one model: ``buir fit``, ``recommend`` and ``evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from buir.cli.terminal import one_line_errors
from buir.errors import StorageError, counted

# What needs pandas or torch is imported within the commands: that takes longer than showing the help.
if TYPE_CHECKING:
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
MinRating = Annotated[float | None, typer.Option("--min-rating", help="Keep rows with at least this rating.")]

_NOTHING = "nothing was written"


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
    min_rating: MinRating = None,
    min_user: Annotated[int, typer.Option(min=0, help="Keep users with at least this many rows.")] = 0,
    min_item: Annotated[int, typer.Option(min=0, help="Keep items with at least this many rows.")] = 0,
    weight: Annotated[
        str | None,
        typer.Option(
            help="How much a pair counts: values (of the column of weights, or how many rows it has), log, bm25, or "
            "half-life=DAYS. None: all alike."
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Hyper-parameter, such as embedding_dim=32 or 'terms={\"popularity\": 0.3}'; repeatable."
        ),
    ] = None,
    paper: Annotated[bool, typer.Option("--paper", help="Start from the author's settings.")] = False,
) -> None:
    """Train a model on all pairs of a file and save it.

    Epochs, uniformity and the terms of the score are decided by pairs held out inside, one of every user who can spare
    it; the model that is saved is then trained on all pairs. ``--set inner_validation=false`` does without.
    """
    with one_line_errors(_NOTHING, "use a smaller number for --set embedding_dim or batch_size, or fewer pairs"):
        from buir.cli import options
        from buir.data import read, reading_weights, weighting

        options.check_target(out, data, table=False)
        model = options.make_model(overrides or [], paper=paper)
        form = {"format": format, "columns": options.columns_of(column), "separator": separator, "encoding": encoding}
        form |= {"header": header, "drop_missing": drop_missing, "where": options.where_of(where)}
        filters = {"min_rating": min_rating, "min_user": min_user, "min_item": min_item}
        weights = None if weight is None else weighting(weight)
        with reading_weights(weights):
            interactions = read(data, **form, **filters)
        model.fit(interactions, weights=weights)
        model.save(out)
        sizes = ((model.n_users, "user"), (model.n_items, "item"), (interactions.n_pairs, "pair"))
        read_in = ", ".join(counted(size, noun) for size, noun in sizes)
        typer.echo(f"{out}: BUIR, encoder {model.encoder}, {read_in}; {model.chosen_}")


def recommend(
    model_file: Model,
    user: Annotated[list[str] | None, typer.Option("--user", help="A user id; repeatable. None: everybody.")] = None,
    users: Annotated[Path | None, typer.Option(help="File of user ids, one per line.")] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Length of a list.")] = 10,
    out: Annotated[
        Path | None, typer.Option("--out", help="A .csv, .tsv or .parquet file; else to the screen.")
    ] = None,
    unknown: Annotated[
        Literal["error", "skip", "popular"], typer.Option(help="What to do with ids the model does not know.")
    ] = "error",
    history: Annotated[
        Path | None, typer.Option(help="File of interactions of users to be judged by these alone, new ones too.")
    ] = None,
    allow: Annotated[Path | None, typer.Option(help="File of the only items to list, an id per line.")] = None,
    deny: Annotated[Path | None, typer.Option(help="File of items never to list, an id per line.")] = None,
    include_seen: Annotated[bool, typer.Option("--include-seen", help="List what a user has already.")] = False,
    less_like: Annotated[
        list[str] | None,
        typer.Option("--less-like", help="An item id; lists have less of what it is like. Repeatable."),
    ] = None,
    more_like: Annotated[
        list[str] | None,
        typer.Option("--more-like", help="An item id; lists have more of what it is like. Repeatable."),
    ] = None,
    strength: Annotated[float, typer.Option("--strength", help="How far such an item turns lists, from 0.")] = 0.5,
) -> None:
    """List the best items for users, as rows of user, item, score and rank."""
    with one_line_errors(_NOTHING, "use a smaller number for --k, or fewer users"):
        from buir.cli import options

        if out is not None:
            options.check_target(out, model_file, users, history, allow, deny, table=True)
        model = load(model_file)
        from buir.recommend import as_labels

        asked = [*(user or []), *(options.read_ids(users) if users else [])]
        frame = model.recommend_frame(
            list(dict.fromkeys(as_labels(asked, model.user_ids_))) if asked else None,
            k,
            exclude_seen=not include_seen,
            allow=options.read_labels(allow, model.item_ids_),
            deny=options.read_labels(deny, model.item_ids_),
            unknown=unknown,
            histories=None if history is None else options.read_histories(history, model),
            less_like=as_labels(less_like or [], model.item_ids_),
            more_like=as_labels(more_like or [], model.item_ids_),
            strength=strength,
        )
        if frame["user"].map(type).nunique() > 1:  # Parquet has no column of integers and texts together
            frame = frame.assign(user=frame["user"].astype(str))
        if out is None:
            typer.echo(frame.to_csv(index=False), nl=False)
            return
        options.write_table(frame, out)
        typer.echo(f"{out}: {counted(len(frame), 'row')}, lists for {counted(frame['user'].nunique(), 'user')}")


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
    min_rating: MinRating = None,
    out: Annotated[Path | None, typer.Option("--out", help="Values of each user, .csv, .tsv or .parquet.")] = None,
) -> None:
    """Measure a model on held-out pairs: training pairs are never listed, what it cannot know is dropped and said."""
    with one_line_errors(_NOTHING, "use a smaller number for --k"):
        from buir.cli import options
        from buir.data import read
        from buir.ranking import evaluate
        from buir.recommend import held_out_pairs

        if out is not None:
            options.check_target(out, model_file, test, table=True)
        model = load(model_file)
        form = {"format": format, "columns": options.columns_of(column), "separator": separator, "encoding": encoding}
        form |= {"header": header, "drop_missing": drop_missing, "where": options.where_of(where)}
        data = read(test, **form, min_rating=min_rating)
        found = held_out_pairs(model, data)
        measured = f"{counted(data.n_pairs, 'pair')}, {found.pairs.nnz:,} measured"
        typer.echo(f"{test}: {measured}; dropped: {found.dropped}")
        cutoffs = sorted(set(k or [10, 20, 50]))
        result = evaluate(model, found.seen, found.pairs, ks=cutoffs)
        typer.echo(options.metric_table(result, cutoffs))
        if out is not None:
            options.write_table(result.to_frame().assign(user=model.user_ids_[result.users]), out)
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
