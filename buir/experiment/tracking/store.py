"""Which MLflow store to talk to, whether it answers, and how to show it."""

import itertools
import json
import os
import re
import secrets
import shlex
import sqlite3
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from buir.errors import ConfigError, ExperimentError, near, one_line

_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")
VIEW_KEY = "sparsity"
_VIEW_PREFIX = "mlflow.sharedViewState."
VIEW_TAG = f"{_VIEW_PREFIX}{VIEW_KEY}"


def store_uri(out: str | Path) -> str:
    """Return the SQLite store under an output folder, by absolute path."""
    return address(database(out))


def address(file: Path) -> str:
    """Return the address of a database file, which in an address may be spelled otherwise than on the disk.

    Raises
    ------
    ConfigError
        If its name holds what SQLAlchemy, of the version that is installed, reads as something else.
    """
    if not set(str(file)) & {"%", "?"}:
        return f"sqlite:///{file}"
    from sqlalchemy.engine import make_url

    # With the driver's name MLflow does not make a folder of the spelling.
    spelled = str(file).replace("%", "%25").replace("?", "%3F")
    for uri in (f"sqlite:///{file}", f"sqlite+pysqlite:///{spelled}"):
        url = make_url(uri)
        if url.database == str(file) and not url.query:
            return uri
    msg = f"--out makes {str(file)!r} the file of the MLflow store, whose address cannot hold '?'; name another folder"
    raise ConfigError([msg])


def database(out: str | Path) -> Path:
    """Return the database file of an output folder."""
    return Path(out).resolve() / "mlflow.db"


def missing_file(uri: str) -> Path | None:
    """Return the database that a store of this machine has not made yet; None where there is nothing to make."""
    path = unquote(urlsplit(uri).path)[1:] if uri.startswith("sqlite:///") else ""
    return Path(path).absolute() if path and path != ":memory:" and not Path(path).exists() else None


def choose_uri(out: str | Path, given: str | None = None) -> str:
    """Choose the store: the one given, else the environment's MLFLOW_TRACKING_URI, else SQLite under ``out``.

    Raises
    ------
    ConfigError
        If the address is none that MLflow has.
    """
    chosen = given or os.environ.get("MLFLOW_TRACKING_URI")
    if chosen:
        check_uri(chosen)
    return chosen or store_uri(out)


def is_local(uri: str) -> bool:
    """Tell whether a store is a database file of this machine."""
    return uri.startswith(("sqlite:", "sqlite+"))


def answers(uri: str, seconds: float = 2.0) -> bool:
    """Ask a server once whether it is there; a store without server always is."""
    if urlsplit(uri).scheme not in ("http", "https"):
        return True
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=seconds) as reply:
            return reply.status == 200
    except (OSError, ValueError):
        return False


def check_uri(uri: str) -> None:
    """Refuse the address of a store that MLflow cannot have.

    Raises
    ------
    ConfigError
        If its scheme is none of MLflow's.
    """
    scheme = uri.partition(":")[0].partition("+")[0].lower()
    if scheme not in _SCHEMES:
        known = f"{', '.join(_SCHEMES)}"
        msg = (
            f"the MLflow store is {uri!r}, expected an address that begins with one of {known}{near(scheme, _SCHEMES)}"
        )
        raise ConfigError([msg])


def prepare(file: Path, say: Callable[[str], object]) -> None:
    """Make the database of a store where it is missing, all or nothing, and set aside one that cannot be opened.

    Of several processes one does it, and the others wait; what a killed one left half made is removed.

    Parameters
    ----------
    file
        The database.
    say
        Told what is done, where it takes seconds or changes something.

    Raises
    ------
    ExperimentError
        If it cannot be made, as on a full disk.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".lock-{file.name}")):
        _prepare(file, say)


def _prepare(file: Path, say: Callable[[str], object]) -> None:
    for part in file.parent.glob(f".{file.name}.*"):
        part.unlink()
    if file.exists():
        if (wrong := fault(file)) is None:
            return
        aside = _set_aside(file, "damaged")
        say(f"warning: {file} cannot be opened ({wrong}): it is kept as {aside.name}, and made anew from the results.")
    say("Creating the MLflow store (once, a few seconds).")
    from mlflow import MlflowClient

    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        MlflowClient(tracking_uri=address(part)).search_experiments(max_results=1)
        part.replace(file)
    except Exception as error:
        part.unlink(missing_ok=True)
        reason = one_line(getattr(error, "orig", error))[:200]
        msg = f"{file}: the MLflow store cannot be made ({reason}); check the folder and the space on the disk"
        raise ExperimentError(msg) from error


def fault(file: Path) -> str | None:
    """Say what is wrong with a database; None if it is whole and MLflow has finished making it."""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                return one_line(found)
            made = connection.execute("SELECT count(*) FROM alembic_version").fetchone()[0]
            connection.execute("SELECT count(*) FROM experiments").fetchone()
    except sqlite3.OperationalError as error:
        # one that others write to, or that may not be read, is whole as far as anybody knows
        return "it is only half made" if "no such table" in str(error) else None
    except sqlite3.DatabaseError as error:
        return one_line(error)
    return None if made else "it is only half made"


def elsewhere(file: Path, experiments: Iterable[str]) -> Path | None:
    """Find where a store keeps the artifacts of experiments, if that is not under the folder of its own database.

    So it is after a folder of results was copied or moved: MLflow knows artifacts by their absolute path.

    Parameters
    ----------
    file
        The database of a folder of results.
    experiments
        The names of those that the folder itself has written.

    Returns
    -------
    The folder that was copied; None where all is at home, or nothing can be read.
    """
    names = list(experiments)
    if not names or not file.is_file():
        return None
    found = f"SELECT artifact_location FROM experiments WHERE name IN ({', '.join('?' * len(names))})"
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            places = [urlsplit(place) for (place,) in connection.execute(found, names)]
    except sqlite3.DatabaseError:
        return None  # what is wrong with it is said where it is opened
    home = file.parent.resolve()
    for place in places:
        folder = Path(unquote(place.path)).parents[1:2]
        # the same folder may have two paths
        if place.scheme == "file" and folder and not (folder[0].exists() and folder[0].samefile(home)):
            return folder[0]
    return None


def check_home(file: Path, experiments: Iterable[str]) -> None:
    """Refuse the store of a copied folder, through which the artifacts of the original would be read and written.

    Raises
    ------
    ExperimentError
        If its artifacts are elsewhere.
    """
    if (original := elsewhere(file, experiments)) is not None:
        again = shlex.join(["buir", "sync", "--out", str(file.parent)])
        msg = (
            f"{file} keeps its artifacts in {original}, from where its folder was copied or moved; write a store of "
            f"this folder's own with: {again}"
        )
        raise ExperimentError(msg)


def renew(file: Path, experiments: Iterable[str], say: Callable[[str], object]) -> None:
    """Set the store of a copied folder aside, so that the next one that is made has its artifacts at home.

    Parameters
    ----------
    file, experiments
        As those of `elsewhere`.
    say
        Told of it.
    """
    with FileLock(file.with_name(f".lock-{file.name}")):
        if (original := elsewhere(file, experiments)) is not None:
            aside = _set_aside(file, "copied")
            say(
                f"{file} keeps its artifacts in {original}, from where its folder was copied or moved: it is kept as "
                f"{aside.name}, and made anew from the results; registered models are not in them."
            )


def _set_aside(file: Path, why: str) -> Path:
    number = next(n for n in itertools.count(1) if not file.with_name(f"{file.name}.{why}-{n}").exists())
    return file.replace(file.with_name(f"{file.name}.{why}-{number}"))


def page(
    base: str,
    experiment_id: str,
    *,
    view: str | None = VIEW_KEY,
    charts: bool = True,
    lists: bool = False,
) -> str:
    """Write the link that opens an experiment, outside the GenAI mode of the interface.

    It opens on the saved view of key ``view``, with or without charts beside the table of runs; with ``lists`` on the
    tables of the runs side by side instead.
    """
    mode = "ARTIFACT" if lists else "CHART" if charts else ""
    wanted = [f"viewStateShareKey={view}"] if view else []
    wanted += [f"compareRunsMode={mode}"] if mode else []
    return (
        f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs?{'&'.join([*wanted, 'workflowType=machine_learning'])}"
    )


def links(experiment_id: str, levels: Sequence[float]) -> str:
    """Write the links to the saved views, for the text above the runs: from the same server, so without its address."""
    ways = {"curves": page("", experiment_id)}
    ways |= {f"best at {pct} %": page("", experiment_id, view=f"best-{pct}") for pct in levels}
    ways |= {"settings": page("", experiment_id, view="settings", charts=False)}
    ways |= {f"lists at {pct} %": page("", experiment_id, view=f"lists-{pct}", lists=True) for pct in levels}
    return "Views: " + ", ".join(f"[{name}]({way.removeprefix('/')})" for name, way in ways.items()) + "."


def views_supported(version: str) -> bool:
    """Tell whether a version of MLflow keeps named views in the format written here (internal to MLflow since 3.15)."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is not None and (3, 15) <= (int(found[1]), int(found[2])) < (4, 0)


def at_level(pct: float, metric: str) -> str:
    """Name what a sweep has at one level, to be drawn as a bar: ``at_010/ndcg_at_20``, in the order of the levels."""
    return f"at_{pct:03g}/{metric.removeprefix('test/')}"


def view_tags(
    metrics: Mapping[str, str],
    levels: Iterable[float],
    existing: Mapping[str, str],
    *,
    settings: Sequence[str] = (),
    seeds: tuple[int, int] = (0, 0),
) -> dict[str, str]:
    """Write the tags of the saved views: the curves, the best at each level, settings, and lists side by side.

    Charts are of the sweeps, one run for each model in its own colour: of the single fits MLflow loads no more than a
    hundred at first, and draws without a word what it has.

    Parameters
    ----------
    metrics
        Those of MLflow to show, with their titles; the first orders the tables.
    levels
        Training shares in per cent.
    existing
        Tags of the experiment: a view keeps its own if only the time stamps would change.
    settings
        Parameters that tell settings apart.
    seeds
        Split seed and model seed of the fits whose lists stand side by side.
    """
    given = json.loads(files("buir.experiment.tracking").joinpath("views.json").read_text(encoding="utf-8"))
    costs, columns = given["costs"], [f"metrics.`{metric}`" for metric in metrics]
    curves = given["curves"] | {
        "selectedColumns": ["params.`model`", *columns, "metrics.`usage/fit_s`"],
        "compareRunCharts": _charts(given["chart"], metrics, "sparsity") + _charts(given["chart"], costs, "cost"),
    }
    fits = given["fits"]
    named = ["params.`model`", "params.`train_pct`", "params.`seed`"]
    decided = given["fits"] | {"selectedColumns": [*named, *(f"params.`{name}`" for name in settings)]}
    views = {VIEW_KEY: ("Recall & NDCG vs sparsity", curves), "settings": ("Settings and what fits came to", decided)}
    for pct in levels:
        here = {at_level(pct, metric): f"{title} at {pct} %" for metric, title in metrics.items()}
        bars = given["best"] | {
            "selectedColumns": ["params.`model`", *(f"metrics.`{metric}`" for metric in here)],
            "compareRunCharts": _charts(given["chart"] | given["bar"], here, "best"),
            "orderByKey": f"metrics.`{next(iter(here))}`",
        }
        one = zip(("train_pct", "split_seed", "seed"), (pct, *seeds), strict=True)
        some = fits["searchFilter"] + "".join(f" and params.{name} = '{value}'" for name, value in one)
        lists = {"searchFilter": some, "selectedColumns": [*named, *columns]}
        views |= {f"best-{pct}": (f"Best at {pct} %", bars), f"lists-{pct}": (f"Lists at {pct} %", lists)}
    tags, now = {}, int(time.time() * 1000)
    for key, (name, view) in views.items():
        tag = f"{_VIEW_PREFIX}{key}"
        content = json.dumps(given["state"] | {"orderByKey": columns[0]} | view)
        same = existing.get(tag, "").endswith(f'"state": {json.dumps(content)}}}')
        made = json.dumps({"name": name, "createdAt": now, "updatedAt": now, "state": content})
        tags[tag] = existing[tag] if same else made
    return tags


def _charts(chart: Mapping[str, Any], metrics: Mapping[str, str], section: str) -> list[dict[str, Any]]:
    return [
        {**chart, "uuid": f"buir-{metric.replace('/', '-')}", "metricSectionId": f"buir-{section}"}
        | {"displayName": title, "metricKey": metric, "selectedMetricKeys": [metric]}
        for metric, title in metrics.items()
    ]
