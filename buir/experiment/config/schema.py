"""The strict schema of a benchmark's YAML file: every mistake is found before any work starts."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from buir.experiment.config import checks, models
from buir.experiment.config import overrides as settings
from buir.experiment.config.overrides import ConfigError

PROTOCOL_FIELDS = {
    "nested": ("levels",),
    "author": ("levels",),
    "leave-one-out": ("by",),
    "time": ("valid_fraction", "test_fraction"),
    "given": ("valid_fraction",),
}
"""Fields of a protocol that mean something to each kind, besides the split seeds."""
_SAFE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_COMMON_STEMS = frozenset({"data", "data1", "interactions", "ratings", "train", "u", "user_artists", "users"})


def _distinct(values: tuple[int, ...]) -> tuple[int, ...]:
    """Refuse what is listed twice: it would be the same work under the same name."""
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        msg = f"lists {', '.join(map(str, twice))} more than once; expected each number once: remove the repeated ones"
        raise ValueError(msg)
    return values


Distinct = AfterValidator(_distinct)
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False, min_length=1), Distinct]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=0)]
File = Annotated[Path, Field(strict=False)]


class Strict(BaseModel):
    """No unknown key, no silent conversion, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DataConfig(Strict):
    """One data set: a named one (``dataset``), a file (``path``), or a split given by two files (``train``, ``test``)."""

    name: Annotated[str, Field(pattern=_SAFE_NAME)] | None = None
    dataset: str | None = None
    options: dict[str, Any] = {}
    path: File | None = None
    train: File | None = None
    test: File | None = None
    format: str | None = None
    columns: dict[str, str | int] | None = None
    min_rating: float | None = None
    min_user: Count = 0
    min_item: Count = 0
    core: Count = 0
    trials: Annotated[int, Field(gt=0)] | None = None
    """Trials of a search on these data, in place of those of ``tuning:``."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, raw: Any) -> Any:
        """Take a key set to null for one that is not there, so that ``--set data.dataset=null`` drops it."""
        return {key: value for key, value in raw.items() if value is not None} if isinstance(raw, dict) else raw

    @model_validator(mode="after")
    def _one_source(self) -> DataConfig:
        given = [name for name in ("dataset", "path", "train") if getattr(self, name) is not None]
        if len(given) != 1 or (self.train is None) != (self.test is None):
            msg = "needs exactly one source: 'dataset' (a name), 'path' (a file), or 'train' and 'test' (two files)"
            if len(given) > 1:
                drop = f"--set data.{given[0]}=null" + " --set data.options=null" * bool(self.options)
                msg = f"needs exactly one source, got {' and '.join(map(repr, given))}; drop all but one, {given[0]!r} with {drop}"
            raise ValueError(msg)
        unused = ("options",) if self.dataset is None else ("format", "columns")
        if self.train is not None:
            # A published split is taken as it is published.
            unused += ("min_user", "min_item", "core")
        stray = [name for name in unused if name in self.model_fields_set]
        if stray:
            msg = f"{', '.join(stray)} means nothing to data given by {given[0]!r}; remove it"
            raise ValueError(msg)
        return self

    @property
    def label(self) -> str:
        """Name of the data in tables: the given one, or one made from the file's place."""
        if self.name or self.dataset:
            return self.name or str(self.dataset)
        file = self.path or self.train
        assert file is not None  # _one_source has seen to it
        stem = file.name.split(".")[0]
        label = file.parent.name if stem in _COMMON_STEMS and file.parent.name else stem
        return re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-") or "data"


class ProtocolConfig(Strict):
    """How the data are split; ``levels`` are the shares of training data."""

    kind: Literal["nested", "author", "leave-one-out", "time", "given"] = "nested"
    levels: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(strict=False, min_length=1)] = (1.0,)
    split_seeds: Seeds = (0,)
    by: Literal["time", "random", "order"] = "time"
    valid_fraction: Share = 0.1
    test_fraction: Share = 0.1

    @model_validator(mode="after")
    def _fits_kind(self) -> ProtocolConfig:
        used = {"kind", "split_seeds", *PROTOCOL_FIELDS[self.kind]}
        stray = sorted(self.model_fields_set - used)
        if stray:
            msg = f"{', '.join(stray)} means nothing to the protocol {self.kind!r}; remove it"
            raise ValueError(msg)
        if self.kind == "author" and max(self.levels) >= 1:
            msg = "the author's protocol needs levels below 1: what is left is halved into validation and test"
            raise ValueError(msg)
        if len({round(100 * level) for level in self.levels}) != len(self.levels):
            msg = "levels must differ by at least one per cent, so that a run's name tells its level"
            raise ValueError(msg)
        return self


class MetricsConfig(Strict):
    """Lengths of the lists that are measured."""

    ks: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(strict=False, min_length=1), Distinct] = (10, 20, 50)


class ModelConfig(Strict):
    """One model: its kind, its display name and the parameters that differ from the estimator's defaults."""

    kind: str
    name: Annotated[str, Field(pattern=_SAFE_NAME)] | None = None
    preset: str | None = None
    params: dict[str, Any] = {}

    @property
    def label(self) -> str:
        """Display name: the given one, or the usual name of the kind."""
        return self.name or models.default_name(self.kind, self.params, self.preset)


class TuningConfig(Strict):
    """The same search budget for every model, spent on validation data."""

    trials: Annotated[int, Field(gt=0)] = 20
    metric: str = "ndcg_at_20"
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Of training in a trial."""
    fit_seconds: Annotated[float, Field(gt=0)] | None = None
    """Of training in the fits that are measured, the same for every model that trains in epochs."""
    seed: Count = 0


class BenchmarkConfig(Strict):
    """A whole comparison: data x level x model x seed."""

    name: Annotated[str, Field(pattern=_SAFE_NAME)]
    description: str = ""
    data: Annotated[tuple[DataConfig, ...], Field(strict=False, min_length=1)]
    protocol: ProtocolConfig = ProtocolConfig()
    seeds: Seeds = (0,)
    metrics: MetricsConfig = MetricsConfig()
    models: Annotated[tuple[ModelConfig, ...], Field(strict=False, min_length=1)]
    tuning: TuningConfig | None = None
    log_models: bool = False
    """Keep every fitted BUIR and log it in its run of MLflow; baselines have no file format to be logged in."""

    def budget(self, label: str) -> TuningConfig | None:
        """Return what a search on a data set may spend; None where nothing is searched."""
        (trials,) = [data.trials for data in self.data if data.label == label]
        return self.tuning.model_copy(update={"trials": trials}) if self.tuning and trials else self.tuning


def load(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> BenchmarkConfig:
    """Read a configuration, apply ``key=value`` overrides and check everything.

    Parameters
    ----------
    path
        A YAML file, or the name of a configuration that comes with the package ("quickstart").
    overrides
        ``key=value`` with a dotted key; values are read as YAML. List entries are addressed by place or by name; the
        place may be left out where there is one entry.

    Raises
    ------
    ConfigError
        With all mistakes at once, one line each.
    """
    file = find(path)
    raw = settings.read_yaml(file)
    problems = [p for override in overrides for p in settings.apply_override(raw, override)]
    if problems:
        raise ConfigError(problems)
    raw.setdefault("name", file.stem)
    problems = settings.resolve_paths(raw, file.parent)
    config: BenchmarkConfig | None = None
    try:
        config = BenchmarkConfig.model_validate(raw)
    except ValidationError as error:
        problems += [settings.one_line(e, BenchmarkConfig) for e in error.errors() if settings.is_cause(e)]
    problems += checks.file_problems(raw) + checks.model_problems(raw)
    if config is not None:
        problems += _cross_problems(config)
    if problems or config is None:
        raise ConfigError([f"{file.name}: {p}" for p in problems])
    return config


def find(path: str | Path) -> Path:
    """Return the file, or the shipped configuration of that name."""
    path = Path(path)
    if path.is_file():
        return path
    shipped = shipped_configs()
    named = shipped / f"{path}.yaml"
    if path.parent == Path() and named.is_file():
        return named
    if path.is_dir():
        msg = f"{path}: is a folder, expected a YAML file; name one"
        raise ConfigError([msg])
    names = sorted(p.stem for p in shipped.glob("*.yaml"))
    msg = f"{path}: no such configuration file{models.suggestion(path.stem, names)}"
    raise ConfigError([msg])


def shipped_configs() -> Path:
    """Return the folder of the configurations that come with the package."""
    package = Path(str(resources.files("buir")))
    installed = package / "configs"
    # An editable install reads them where the repository keeps them.
    return installed if installed.is_dir() else package.parent / "configs"


def _cross_problems(config: BenchmarkConfig) -> list[str]:
    problems: list[str] = []
    for what, labels in (("data", [d.label for d in config.data]), ("models", [m.label for m in config.models])):
        twice = sorted({label for label in labels if labels.count(label) > 1})
        problems += [f"{what}: two entries are called {label!r}; give one another 'name'" for label in twice]
    given = config.protocol.kind == "given"
    for place, data in enumerate(config.data):
        if given != (data.train is not None):
            remedy = "'train' and 'test' files" if given else "one 'path' or 'dataset'"
            problems.append(f"data.{place}: the protocol {config.protocol.kind!r} needs {remedy}")
        if data.trials is not None and config.tuning is None:
            problems.append(
                f"data.{place}.trials: got {data.trials}, but nothing is searched without 'tuning:'; "
                "add 'tuning: {}', or remove it"
            )
    if config.tuning and (problem := checks.metric_problem(config.tuning.metric)):
        problems.append(f"tuning.metric: {problem}")
    return problems
