"""The command about negatives: ``buir negatives``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from buir.cli import one_model
from buir.cli.terminal import AsJson, one_line_errors, show_json
from buir.errors import counted


def negatives(
    path: one_model.Data,
    level: Annotated[
        list[float] | None, typer.Option("--level", help="Share of the training pairs to keep, 0 to 1; repeatable. 1.")
    ] = None,
    format: one_model.FormatName = None,
    column: one_model.Columns = None,
    separator: one_model.Separator = None,
    encoding: one_model.Encoding = None,
    header: one_model.Header = None,
    drop_missing: one_model.DropMissing = False,
    where: one_model.Where = None,
    max_bytes: one_model.MaxBytes = None,
    min_rating: one_model.MinRating = None,
    min_user: Annotated[int, typer.Option(min=0, help="Keep users with at least this many rows.")] = 0,
    min_item: Annotated[int, typer.Option(min=0, help="Keep items with at least this many rows.")] = 0,
    n: Annotated[int, typer.Option("--n", min=1, help="Negatives drawn for each pair.")] = 64,
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="Training pairs looked at, at most.")] = 4096,
    temperature: Annotated[float, typer.Option(help="Of the softmax over a pair's negatives.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Decides what is held out and what is drawn.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="The table as a .csv, .tsv or .parquet file, too.")] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", help="False negatives against the level, a .png, .svg or .pdf file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what samplers of negatives are like on a file. Nothing is trained.

    A tenth of each user's pairs is held out, and what a level leaves out is hidden as well: negatives among these are
    false. lift: how often that happens, over even draws. eci: many negatives, hard (hardness), few that outdo their
    pair (safety). Another tenth, the test part of a benchmark, is never looked at.

    Example: buir negatives ratings.csv --level 0.2 --level 0.8
    """
    with one_line_errors("nothing was written", "use smaller numbers for --n and --pairs"):
        from buir import baselines
        from buir.cli import options
        from buir.data import read

        if out is not None:
            options.check_target(out, path, table=True)
        if figure is not None:
            options.check_target(figure, path, table=False, option="--figure")
        form = {"format": format, "columns": options.columns_of(column), "separator": separator, "encoding": encoding}
        form |= {"header": header, "drop_missing": drop_missing, "where": options.where_of(where)}
        form |= {"max_bytes": max_bytes}
        data = read(path, **form, min_rating=min_rating, min_user=min_user, min_item=min_item)
        table = baselines.assess_levels(data, level or [1.0], n=n, pairs=pairs, temperature=temperature, seed=seed)
        say = (lambda _: None) if as_json else typer.echo
        say(f"{path}: {counted(data.n_users, 'user')}, {counted(data.n_items, 'item')}")
        for (share, train, hidden), part in table.groupby(["level", "train_pairs", "hidden_pairs"], sort=False):
            say(f"\nlevel {share:g}: {counted(train, 'training pair')}, {counted(hidden, 'hidden pair')}")
            rows = part.drop(columns=["level", "train_pairs", "hidden_pairs"])
            say(rows.to_string(index=False, float_format=lambda value: f"{value:.4g}", na_rep="-"))
        if out is not None:
            options.write_table([table], out)
            say(f"{out}: {counted(len(table), 'row')}")
        if figure is not None:
            from buir.experiment.figures import false_negative_figure

            options.write_figure(false_negative_figure(table), figure)
            say(f"{figure}: false negatives at {counted(table['level'].nunique(), 'level')}")
        if as_json:
            sizes = {"n_users": data.n_users, "n_items": data.n_items}
            show_json({"path": path, **sizes, "table": table.to_dict("records"), "out": out, "figure": figure})
