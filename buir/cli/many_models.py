"""The commands over many models, from ``buir benchmark`` to ``buir register``, and ``buir config schema``."""

from __future__ import annotations

import logging
import os
import shlex
import signal
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buir.cli.terminal import AsJson, one_line_errors, setting, show_json, stop

if TYPE_CHECKING:
    from buir.experiment.run import Outcome

_QUIET_MLFLOW = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",
    # Through a server, every run would print two links.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A server that dies costs seconds, not the four minutes of MLflow's own patience.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}

Config = Annotated[str, typer.Argument(help="YAML file, or the name of a shipped one, such as quickstart.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="key=value, on top of the file; may be repeated.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="Folder of results; results/<name> by default.", file_okay=False)
]
Latest = Annotated[
    Path | None, typer.Option("--out", help="Folder of results; the latest under results/ by default.", file_okay=False)
]
Uri = Annotated[str | None, typer.Option("--tracking-uri", help="MLflow store; wins over MLFLOW_TRACKING_URI.")]

Checkpoints = Annotated[
    float | None,
    typer.Option(
        "--checkpoint-minutes",
        min=0,
        help="Keep fits of BUIR that are not finished too, so often at most; that counts as their time.",
    ),
]

_TOLD = ("dataset", "protocol", "level", "model", "split_seed", "seed", "status", "reason", "metrics")
_TOLD += ("params", "chosen", "n_test_users", "fit_s", "tune_s", "key")
"""Of a record, in ``--json``."""

_AGAIN = "the same command goes on from here"
_LESS = "use smaller data, fewer --jobs or smaller models"


def benchmark(
    config: Config,
    overrides: Overrides = None,
    out: Out = None,
    tracking_uri: Uri = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Cells that run at the same time.")] = 1,
    checkpoint_minutes: Checkpoints = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many cells, how long, how much memory.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare models on data at several levels of sparsity. What is finished is not run again.

    Example: buir benchmark quickstart --set seeds=[0] --jobs 2
    """
    with one_line_errors(f"finished cells are kept: {_AGAIN}", _LESS, setting):
        from buir.experiment.config import load

        chosen = load(config, overrides or [])
        folder = out or Path("results") / chosen.name
        _prepare_mlflow()
        from buir.experiment import comparison

        if dry_run:
            outlook = comparison.foresee(chosen, folder, jobs)
            show_json(asdict(outlook)) if as_json else typer.echo(str(outlook))
            return
        say = partial(typer.echo, err=as_json)
        settings = [word for override in overrides or [] for word in ("--set", override)]
        started = shlex.join(["buir", "benchmark", config, *settings, "--out", str(folder), "--jobs", str(jobs)])
        told = {"say": say, "jobs": jobs, "tracking_uri": tracking_uri, "command": started}
        outcome = comparison.compare(chosen, folder, **told, checkpoint_minutes=checkpoint_minutes)
        look = _look(folder, tracking_uri)
        say(f"Results, tables and figures: {folder}")
        say(f"Look at them in MLflow: {look}")
        if as_json:
            records = [{name: getattr(record, name) for name in _TOLD} for record in outcome.records]
            failures = [{"cell": cell.title, "error": message} for cell, message in outcome.failures]
            found = {"folder": folder, "records": records, "failures": failures}
            show_json(found | {"in_mlflow": outcome.tracked, "look": look})
    _tell_failures(outcome)


def tune(
    config: Config,
    overrides: Overrides = None,
    out: Out = None,
    data: Annotated[str | None, typer.Option("--data", help="Only the searches on this data set.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only those of this model.")] = None,
    level: Annotated[float | None, typer.Option("--level", help="Only those at this level, such as 0.5.")] = None,
    tracking_uri: Uri = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Searches that run at the same time.")] = 1,
    checkpoint_minutes: Checkpoints = None,
) -> None:
    """Search the settings of models, and nothing else. A benchmark of the same configuration finds what was found.

    Example: buir tune sparsity --set data.path=ratings.txt --set tuning.trials=20
    """
    with one_line_errors(f"finished trials are kept: {_AGAIN}", _LESS, setting):
        from buir.experiment.config import load

        chosen = load(config, overrides or [])
        folder = out or Path("results") / chosen.name
        _prepare_mlflow()
        from buir.experiment import comparison

        outcome = comparison.explore(
            chosen,
            folder,
            say=typer.echo,
            jobs=jobs,
            tracking_uri=tracking_uri,
            data=data,
            model=model,
            level=level,
            checkpoint_minutes=checkpoint_minutes,
        )
    _tell_failures(outcome)


def sync(out: Latest = None, tracking_uri: Uri = None) -> None:
    """Write into MLflow what it missed while it was down.

    Example: buir sync --out results/quickstart
    """
    with one_line_errors(f"finished cells are kept: {_AGAIN}", _LESS):
        _prepare_mlflow()
        from buir.experiment import comparison, records

        folder = out or records.latest_results()
        done = comparison.sync(folder, say=typer.echo, tracking_uri=tracking_uri)
        for dataset in done:
            typer.echo(f"MLflow has all runs on {dataset}.")
    if not done:
        raise typer.Exit(1)


def report(
    experiment: Annotated[
        str | None,
        typer.Argument(metavar="[EXPERIMENT]", help="A benchmark by its name, or its folder; by default the latest."),
    ] = None,
    out: Latest = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder of the report; report/ under --out by default.", file_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a page that says which model is best where. It comes in HTML and in Markdown, with its numbers as CSV.

    Example: buir report quickstart
    """
    with one_line_errors(f"finished cells are kept: {_AGAIN}", _LESS):
        from buir.experiment import comparison, records

        if experiment is not None and out is not None:
            stop(f"got {experiment!r} and --out {out}, expected one of them: leave out the other", 2)
        folder = out or (records.find_results(experiment) if experiment is not None else records.latest_results())
        written = comparison.make_report(folder, to or folder / "report", say=lambda _: None)
        if as_json:
            show_json({"files": written.files, "warning": written.warning, "places": written.places()})
            return
        for file in written.files:
            typer.echo(file)
        if written.warning:
            typer.echo(f"warning: {written.warning}", err=True)


def schema() -> None:
    """Print the JSON Schema of a benchmark's YAML file. By it an editor completes and checks keys.

    Example: buir config schema > schema.json, and "# yaml-language-server: $schema=schema.json" on top of the YAML
    """
    with one_line_errors("nothing was written", _LESS):
        from buir.experiment.config import json_schema

        show_json(json_schema())


def ui(
    out: Latest = None,
    store_uri: Annotated[
        str | None, typer.Option("--store", help="MLflow store, instead of the one under --out.")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Where the page is served.")] = 5000,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open the first page; without a screen none is opened.")
    ] = False,
) -> None:
    """Show results in MLflow's pages until Ctrl-C. The link of the benchmark that was written last is opened.

    Example: buir ui --out results/quickstart --port 5001 --no-browser
    """
    with one_line_errors(f"finished cells are kept: {_AGAIN}", _LESS):
        _prepare_mlflow()
        from buir.experiment import records
        from buir.experiment.tracking import store, viewer

        folder = out or (records.latest_results() if store_uri is None else Path.cwd())
        if store_uri is not None and store_uri.startswith("http"):
            _show(viewer.pages(store_uri)(store_uri), browser=not no_browser)
            return
        if store_uri is None and not store.database(folder).is_file():
            stop(f"{folder} holds no MLflow store; run buir benchmark first, or name one with --out or --store", 2)
        if store_uri is None:
            store.check_home(store.database(folder), records.Journal(folder).experiments())
        uri = store_uri or store.store_uri(folder)
        links = viewer.pages(uri)
        typer.echo("Starting MLflow (about ten seconds) ...")
        # A polite kill ends the server too, as Ctrl-C does.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with viewer.serving(uri, folder / "mlflow-server.log", port) as (process, base):
                _show(links(base), browser=not no_browser)
                typer.echo(
                    "Ctrl-C ends it. (MLflow opens its Assistant on a first visit; once closed, it stays closed.)"
                )
                process.wait()
        except KeyboardInterrupt:
            typer.echo("Stopped.")


def register(
    name: Annotated[str, typer.Argument(help="Name of the registered model; it is made where it is missing.")],
    best_at: Annotated[float, typer.Option("--best-at", help="Level of sparsity: per cent of the training data.")],
    alias: Annotated[str | None, typer.Option("--alias", help="What this version is called, such as champion.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="Data set, where the benchmark has several.")] = None,
    out: Latest = None,
    tracking_uri: Uri = None,
) -> None:
    """Register the best BUIR of a benchmark in MLflow. It is the best by its validation, never by test values.

    The model with the highest mean of the headline metric (such as NDCG@20) on VALIDATION data, over its fits at the
    level, and of these fits the best. Test values play no part, so that the reported ones stay honest. The benchmark
    must have kept its models (log_models: true).

    Example: buir register movies --best-at 10 --alias champion
    """
    with one_line_errors("nothing was registered", _LESS):
        _prepare_mlflow()
        from buir.experiment import records
        from buir.experiment.tracking import registry

        folder = out or records.latest_results()
        registry.register(folder, name, best_at, alias=alias, data=data, tracking_uri=tracking_uri, say=typer.echo)


def _show(pages: list[tuple[str, str]], *, browser: bool) -> None:
    """Print the links of experiments, and open the first."""
    from buir.experiment.tracking import viewer

    for name, page in pages:
        typer.echo(f"{name}: {page}")
    if browser:
        viewer.open_page(pages[0][1])


def _look(folder: Path, tracking_uri: str | None) -> str:
    """Write the command that shows the runs where they are, which need not be the folder's own store."""
    from buir.experiment.tracking import store

    uri = store.choose_uri(folder, tracking_uri)
    own = uri == store.store_uri(folder)
    return shlex.join(["buir", "ui", *(["--out", str(folder)] if own else ["--store", uri])])


def _tell_failures(outcome: Outcome) -> None:
    """End with an exit code if anything broke down: 1 where a cell did, 3 where all is there and MLflow lacks it."""
    for cell, message in outcome.failures:
        typer.echo(f"failed: {cell.title}: {message}", err=True)
    if outcome.failures or not outcome.tracked:
        raise typer.Exit(1 if outcome.failures else 3)


def _prepare_mlflow() -> None:
    """Set what MLflow reads when it is imported, unless the user has decided otherwise."""
    for name, value in _QUIET_MLFLOW.items():
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow.models.signature").setLevel(logging.WARNING)
    # Of what goes wrong in a store it would print a traceback beside our one line.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
