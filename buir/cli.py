"""The command line: thin, every command is a few lines over the library."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from buir import commands
from buir.description import describe

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(
    name="buir",
    help="Recommend from positives alone, and compare models fairly.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Look at files of interactions.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")
commands.register(app)

_QUIET_MLFLOW = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",
    # A server that dies costs seconds, not the four minutes of MLflow's own patience.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}

Out = Annotated[Path | None, typer.Option("--out", help="Folder of results.", file_okay=False)]
Uri = Annotated[str | None, typer.Option("--tracking-uri", help="MLflow store; wins over MLFLOW_TRACKING_URI.")]


@app.command("benchmark")
def benchmark_command(
    config: Annotated[str, typer.Argument(help="YAML file, or the name of a shipped one, such as quickstart.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, on top of the file; may be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of results; results/<name> by default.", file_okay=False)
    ] = None,
    tracking_uri: Uri = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Cells that run at the same time.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many cells, how long, how much memory.")
    ] = False,
) -> None:
    """Compare models on data at several sparsity levels; what is finished is not run again."""
    with _one_line_errors():
        from buir.experiment import config as configuration

        chosen = configuration.load(config, overrides or [])
        folder = out or Path("results") / chosen.name
        _prepare_mlflow()
        from buir.experiment import comparison

        if dry_run:
            typer.echo(comparison.forecast_text(chosen, folder, jobs))
            return
        outcome = comparison.compare(chosen, folder, say=typer.echo, jobs=jobs, tracking_uri=tracking_uri)
        typer.echo(f"Results, tables and figures: {folder}")
        typer.echo(f"Look at them in MLflow: buir ui --out {shlex.quote(str(folder))}")
    if outcome.failures:
        for cell, message in outcome.failures:
            typer.echo(f"failed: {cell.title}: {message}", err=True)
        raise typer.Exit(1)


@app.command("sync")
def sync_command(out: Out = None, tracking_uri: Uri = None) -> None:
    """Write into MLflow what it missed while it was down."""
    with _one_line_errors():
        _prepare_mlflow()
        from buir.experiment import comparison

        folder = out or _latest_results()
        done = comparison.sync(folder, say=typer.echo, tracking_uri=tracking_uri)
        for dataset in done:
            typer.echo(f"MLflow has all runs on {dataset}.")
    if not done:
        raise typer.Exit(1)


@app.command("report")
def report_command(
    out: Out = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder of the report; report/ under --out by default.", file_okay=False)
    ] = None,
) -> None:
    """Write one page, in HTML and in Markdown, that says which model is best where, and how surely."""
    with _one_line_errors():
        from buir.experiment import comparison

        folder = out or _latest_results()
        written = comparison.report(folder, to or folder / "report", say=lambda _: None)
        typer.echo(f"{written.html}\n{written.markdown}\n{written.table}")


@app.command("ui")
def ui_command(
    out: Out = None,
    store_uri: Annotated[
        str | None, typer.Option("--store", help="MLflow store, instead of the one under --out.")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 5000,
) -> None:
    """Show results in MLflow's user interface until Ctrl-C."""
    with _one_line_errors():
        _prepare_mlflow()
        from buir.experiment import store, viewer

        folder = out or (_latest_results() if store_uri is None else Path.cwd())
        if store_uri is not None and store_uri.startswith("http"):
            for name, page in viewer.pages(store_uri)(store_uri):
                typer.echo(f"{name}: {page}")
            return
        if store_uri is None and not store.database(folder).is_file():
            _stop(f"{folder} holds no MLflow store; run buir benchmark first, or name one with --out or --store", 2)
        uri = store_uri or store.store_uri(folder)
        links = viewer.pages(uri)
        typer.echo("Starting MLflow (about ten seconds) ...")
        # A polite kill ends the server too, as Ctrl-C does.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with viewer.serving(uri, folder / "mlflow-server.log", port) as (process, base):
                for name, page in links(base):
                    typer.echo(f"{name}: {page}")
                typer.echo(
                    "Ctrl-C ends it. (MLflow opens its Assistant on a first visit; once closed, it stays closed.)"
                )
                process.wait()
        except KeyboardInterrupt:
            typer.echo("Stopped.")


@data_app.command("describe")
def describe_command(
    path: Annotated[Path, typer.Argument(help="A file of interactions, gzip or not.")],
    format: commands.FormatName = None,
    column: commands.Columns = None,
    min_rating: commands.MinRating = None,
    min_user: Annotated[int, typer.Option("--min-user", min=0, help="Keep users with at least this many rows.")] = 0,
    min_item: Annotated[int, typer.Option("--min-item", min=0, help="Keep items with at least this many rows.")] = 0,
    core: Annotated[int, typer.Option("--core", min=0, help="Keep the k-core.")] = 0,
) -> None:
    """Print what a file holds: format, users, items, pairs, density, and what was merged or skipped."""
    with commands.one_line_errors():
        data = commands.read(
            path,
            format=format,
            column=column,
            min_rating=min_rating,
            min_user=min_user,
            min_item=min_item,
            core=core,
        )
        typer.echo(str(describe(data)))


def main() -> None:
    """Entry point of the ``buir`` command."""
    app()


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(version("buir"))
        raise typer.Exit


@app.callback()
def _common(
    _: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)] = False,
) -> None:
    """Take the options that come before a command."""


def _prepare_mlflow() -> None:
    """Set what MLflow reads when it is imported, unless the user has decided otherwise."""
    for name, value in _QUIET_MLFLOW.items():
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)


def _latest_results() -> Path:
    """Find the folder under results/ that was written last."""
    found = sorted(Path("results").glob("*/benchmark.json"), key=lambda file: file.stat().st_mtime)
    if not found:
        _stop("no results in ./results; run buir benchmark first, or name their folder with --out", 2)
    return found[-1].parent


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn a user's mistake into one line and an exit code: 2 for a wrong request, 1 for data or a store that fail."""
    try:
        yield
    except KeyboardInterrupt:
        _stop("stopped; finished cells are kept: the same command goes on from here", 130)
    except (ValueError, RuntimeError, OSError) as error:
        from buir.experiment.settings import ConfigError

        if isinstance(error, ConfigError):
            _stop("\n".join(f"error: {problem}" for problem in error.problems), 2)
        if not _is_mistake(error):
            raise
        _stop(f"error: {' '.join(str(error).split())}", 1)


def _is_mistake(error: Exception) -> bool:
    """Tell what a user can mend from a defect of the program, whose traceback must be seen."""
    if isinstance(error, OSError):
        return error.filename is not None
    from buir.experiment.errors import ExperimentError
    from buir.formats import ReadError

    return isinstance(error, ExperimentError | ReadError)


def _stop(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    sys.exit(main())
