"""The command line: thin, every command is a few lines over the library."""

from pathlib import Path
from typing import Annotated

import typer

from buir.cli import many_models, negatives, one_model
from buir.cli.terminal import AsJson, one_line_errors, show_json, wants_traceback

app = typer.Typer(
    name="buir",
    help="Recommend from positives alone, and compare models fairly.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Look at files of interactions.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")
config_app = typer.Typer(help="Look at configurations of benchmarks.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config_app, name="config")
config_app.command()(many_models.schema)
for command in (
    many_models.benchmark,
    many_models.tune,
    many_models.sync,
    many_models.report,
    many_models.ui,
    many_models.register,
    one_model.fit,
    one_model.update,
    one_model.recommend,
    one_model.similar,
    one_model.evaluate,
    negatives.negatives,
):
    app.command()(command)


@data_app.command("describe")
def describe_command(
    path: Annotated[Path, typer.Argument(help="A file of interactions, gzip or not, or a folder of Parquet files.")],
    format: one_model.FormatName = None,
    column: one_model.Columns = None,
    separator: one_model.Separator = None,
    encoding: one_model.Encoding = None,
    header: one_model.Header = None,
    drop_missing: one_model.DropMissing = False,
    where: one_model.Where = None,
    max_bytes: one_model.MaxBytes = None,
    min_rating: one_model.MinRating = None,
    min_user: Annotated[int, typer.Option("--min-user", min=0, help="Keep users with at least this many rows.")] = 0,
    min_item: Annotated[int, typer.Option("--min-item", min=0, help="Keep items with at least this many rows.")] = 0,
    core: Annotated[int, typer.Option("--core", min=0, help="Keep the k-core.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Print what a file of interactions holds. It counts what was merged, skipped and changed, too.

    Example: buir data describe ratings.txt --min-rating 4
    """
    with one_line_errors("nothing was written", "keep fewer pairs"):
        from buir.cli import options  # and pandas with it, which the help does without
        from buir.data import describe, read

        form = {"format": format, "columns": options.columns_of(column), "separator": separator, "encoding": encoding}
        form |= {"header": header, "drop_missing": drop_missing, "where": options.where_of(where)}
        filters = {"min_rating": min_rating, "min_user": min_user, "min_item": min_item, "core": core}
        found = describe(read(path, **form, max_bytes=max_bytes, **filters))
        show_json(found.to_dict()) if as_json else typer.echo(str(found))


def main() -> None:
    """Entry point of the ``buir`` command, and of ``python -m buir``, whose shell completion is that of ``buir``."""
    app(prog_name="buir")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(version("buir"))
        raise typer.Exit


@app.callback()
def _common(
    _: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where in the code an error that nobody has foreseen comes from.")
    ] = False,
) -> None:
    """Take the options that come before a command."""
    wants_traceback.set(traceback)
