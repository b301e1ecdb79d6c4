"""A light MLflow server on a local store, for looking."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from buir.errors import ExperimentError
from buir.experiment.tracking import store

_START_SECONDS = 120.0
_LIGHT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Job execution starts a dozen processes and takes 2 GB; nothing here needs it.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


@contextmanager
def serving(uri: str, log: Path, port: int = 5000) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run ``mlflow server`` on a store until the block ends: one worker, this machine only.

    Give the process and the server's address once it answers. What it prints is in ``log``; if ``port`` is in use, the
    next free one is taken.
    """
    port = free_port(port)
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    # Its default would be the working directory, for runs that are logged through this server.
    command += ["--artifacts-destination", str(log.parent / "mlartifacts")]
    with log.open("wb") as output:
        # Its own process group: the server's workers end with it, and Ctrl-C reaches it through us alone.
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | _LIGHT, start_new_session=True
        )
        try:
            _wait(process, base, log)
            yield process, base
        finally:
            _stop(process)


def pages(uri: str) -> Callable[[str], list[tuple[str, str]]]:
    """Look up the benchmarks of a store; given a server's address, the result lists their names and links.

    Raises
    ------
    ExperimentError
        If the store cannot be read.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiments = client.search_experiments(order_by=["last_update_time DESC"])
    except (MlflowException, SQLAlchemyError) as error:
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        file = make_url(uri).database if store.is_local(uri) else None
        again = ["buir", "sync", *(["--out", str(Path(file).parent)] if file else ["--tracking-uri", uri])]
        way = f"if its file is damaged, delete it and run: {shlex.join(again)}"
        msg = f"the MLflow store {uri} cannot be read ({reason}); {way}"
        raise ExperimentError(msg) from error
    ours = [(e.name, e.experiment_id, store.VIEW_TAG in e.tags) for e in experiments if e.name.startswith("buir-")]
    return lambda base: (
        [(name, store.page(base, number, view=store.VIEW_KEY if view else None)) for name, number, view in ours]
        or [("MLflow", base)]
    )


def open_page(page: str) -> bool:
    """Show a page in the user's browser, where there is a screen to show it on; tell whether that was done."""
    # On a terminal without a screen Python would start a browser of text, in place of the command.
    screen = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    with suppress(webbrowser.Error, OSError):
        return screen and webbrowser.open(page)
    return False


def free_port(wanted: int, tries: int = 100) -> int:
    """Return the first port from ``wanted`` on that nobody listens to."""
    for port in range(wanted, wanted + tries):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    msg = f"no free port between {wanted} and {wanted + tries - 1}; give another with --port"
    raise ExperimentError(msg)


def _wait(process: subprocess.Popen[bytes], base: str, log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            msg = f"mlflow server ended with code {process.returncode}; its output is in {log}"
            raise ExperimentError(msg)
        if store.answers(base, seconds=1.0):
            return
        time.sleep(0.2)
    msg = f"mlflow server did not answer within {_START_SECONDS:.0f} s; its output is in {log}"
    raise ExperimentError(msg)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and its workers, politely first."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, sign)
            process.wait(5.0)
