"""The strict schema of a benchmark's YAML file: every mistake is found before any work starts."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FilePath,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from buir.data import FORMATS, datasets, weighting
from buir.errors import ConfigError, near
from buir.experiment.config import models
from buir.experiment.config.mistakes import in_lines, refuse
from buir.experiment.config.overrides import PATH_KEYS, VARIABLE, absolute, apply_override, read_yaml, to_yaml
from buir.ranking import METRICS

_SAFE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_PANEL_NAME = r"[A-Za-z0-9][A-Za-z0-9 ._-]*"
_COMMON_STEMS = frozenset({"data", "data1", "interactions", "ratings", "train", "u", "user_artists", "users"})
_FILTERS = ("min_rating", "min_user", "min_item", "core")
_LONGEST_PATH = 1000
_READING = ("separator", "encoding", "header", "drop_missing", "where", "max_bytes")
"""How a file is read, beside its format and its columns."""
_RECIPE_HEAD = """\
# What the runs of this report were: buir benchmark {name}.yaml --out FOLDER
# Paths without a variable are those of the machine that ran it.
"""


def _distinct(values: tuple[int, ...]) -> tuple[int, ...]:
    """Refuse what is listed twice: it would be the same work under the same name."""
    twice = sorted(value for value, n in Counter(values).items() if n > 1)
    if twice:
        msg = f"lists {', '.join(map(str, twice))} more than once; expected each number once: remove the repeated ones"
        raise ValueError(msg)
    return values


def per_cent(level: float) -> float:
    """Return a level in per cent: an integer from one per cent on, below it two digits.

    Examples
    --------
    >>> [per_cent(level) for level in (0.2, 0.014, 0.005, 0.00123)]
    [20, 1, 0.5, 0.12]
    """
    return round(100 * level) if level >= 0.01 else float(f"{100 * level:.2g}")


def _apart(levels: tuple[float, ...]) -> tuple[float, ...]:
    called: dict[float, float] = {}
    for level in levels:
        if per_cent(level) in called:
            msg = (
                f"levels {called[per_cent(level)]:g} and {level:g} would both be called "
                f"{per_cent(level):g} %, by which tables and runs tell levels apart; expected levels that differ by "
                "one per cent, or below it in their first two digits"
            )
            raise ValueError(msg)
        called[per_cent(level)] = level
    return levels


def _known(name: str, noun: str, names: Iterable[str]) -> str:
    if name not in names:
        msg = f"unknown {noun} {name!r}{models.suggestion(name, names)}"
        raise ValueError(msg)
    return name


def _one_of(noun: str, names: Iterable[str]) -> AfterValidator:
    return AfterValidator(lambda name: _known(name, noun, names))


def _weighting(text: str) -> str:
    weighting(text)
    return text


def _known_metric(name: str) -> str:
    length = name.rpartition("_at_")[2]
    k = length if re.fullmatch("[1-9][0-9]*", length) else "20"
    return _known(name, "metric", [f"{metric}_at_{k}" for metric in METRICS])


def _absolute(path: Any, info: ValidationInfo) -> Any:
    """Expand variables; what is relative is relative to the folder in the context, the configuration's own."""
    if not isinstance(path, str):
        return path
    if len(path) > _LONGEST_PATH:
        msg = f"has {len(path):,} characters, expected the name of a file: {path[:40]!r}..."
        raise ValueError(msg)
    unset = [name for name in VARIABLE.findall(path) if name not in os.environ]
    if unset:
        msg = (
            f"the environment variable {unset[0]} is not set; set it (export {unset[0]}=FOLDER) "
            f"or give the file: --set data.{info.field_name}=FILE"
        )
        raise ValueError(msg)
    return absolute(path, (info.context or {}).get("folder", Path.cwd()))


def _is_there(path: Path) -> Path:
    if not path.exists():
        beside = sorted(file.name for file in path.parent.glob("*"))
        msg = f"no such file: {path}{near(path.name, beside)}"
        raise ValueError(msg)
    return path


Distinct = AfterValidator(_distinct)
Entries = Field(strict=False, min_length=1)
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Seeds = Annotated[tuple[Seed, ...], Field(strict=False, min_length=1, max_length=1000), Distinct]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=0)]
Place = Annotated[Path, Field(strict=False), BeforeValidator(_absolute), AfterValidator(_is_there)]
File = Annotated[FilePath, Field(strict=False), BeforeValidator(_absolute)]


class Strict(BaseModel):
    """No unknown key, no silent conversion, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class DataConfig(Strict):
    """One data set: a named one (``dataset``), a file or folder (``path``), or the files of a split (``train`` ...)."""

    name: Annotated[str, Field(pattern=_SAFE_NAME)] | None = None
    """Name in tables and runs; without one it is made from the source."""
    dataset: Annotated[str, _one_of("data set", datasets.DATASETS)] | None = None
    """A data set that the package knows by name."""
    options: dict[str, Any] = {}
    """Arguments of the named data set, such as ``{n_users: 300}`` of ``synthetic``."""
    path: Place | None = None
    """A file, a folder of Parquet files, or, for the protocol ``given``, one of the files of a split."""
    train: File | None = None
    """The training pairs of a published split."""
    valid: File | None = None
    """The validation pairs of a published split; without them a part of train is cut off."""
    test: File | None = None
    """The test pairs of a published split."""
    format: Annotated[str, _one_of("format", FORMATS)] | None = None
    """How the file is written; without it this is told from the file."""
    columns: dict[str, str | int] | None = None
    """Which column holds user, item, rating, time and weight: by name, or by place from 0."""
    separator: str | None = None
    """What stands between two columns."""
    encoding: str | None = None
    """Of a text that is not UTF-8, such as ``cp1252``."""
    header: bool | None = None
    """Whether the first row holds names."""
    drop_missing: bool = False
    """Leave out rows without a value that is read, and count them."""
    where: dict[str, str | list[str]] | None = None
    """Only rows with these values in these columns, such as ``{event: buy}``."""
    max_bytes: Annotated[int, Field(gt=0)] | None = None
    """What a file, unpacked, or a line of it may have, in place of the usual limits."""
    weight: Annotated[str, AfterValidator(_weighting)] | None = None
    """How much training pairs count, for every model that takes weights: see ``buir.data.weighting``."""
    min_rating: float | None = None
    """Keep rows with at least this rating."""
    min_user: Count = 0
    """Keep users with at least this many rows, counted once, before anything is left out."""
    min_item: Count = 0
    """Keep items with at least this many rows, counted likewise."""
    core: Count = 0
    """Keep the k-core: users and items with at least k pairs among what is kept."""
    trials: Annotated[int, Field(gt=0)] | None = None
    """Trials of a search on these data, in place of those of ``tuning:``."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, raw: Any) -> Any:
        """Take a key set to null for one that is not there, so that ``--set data.dataset=null`` drops it."""
        return {key: value for key, value in raw.items() if value is not None} if isinstance(raw, dict) else raw

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("dataset", "path", "train") if getattr(self, name) is not None]
        if len(given) != 1 or (self.train is None) != (self.test is None):
            msg = "needs exactly one source: 'dataset' (a name), 'path' (a file), or 'train' and 'test' (two files)"
            if len(given) > 1:
                drop = f"--set data.{given[0]}=null" + " --set data.options=null" * bool(self.options)
                came = " and ".join(map(repr, given))
                msg = f"needs exactly one source, got {came}; drop all but one, {given[0]!r} with {drop}"
            raise ValueError(msg)
        unused = ("options",) if self.dataset is None else ("format", "columns", *_READING)
        if self.train is None:
            unused += ("valid",)
        else:
            # A published split is taken as it is published.
            unused += ("min_user", "min_item", "core")
        stray = [name for name in unused if name in self.model_fields_set]
        if stray:
            msg = f"{', '.join(stray)} means nothing to data given by {given[0]!r}; remove it"
            raise ValueError(msg)
        if self.dataset is not None:
            filters = {name: value for name in _FILTERS if (value := getattr(self, name))}
            try:
                datasets.check_request(self.dataset, **self.options, **filters)
            except (TypeError, ValueError) as error:
                refuse([(("dataset",), str(error))])
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


class Nested(Strict):
    """Validation and test stay the same at every level; ``levels`` are the shares of the training data."""

    kind: Literal["nested"] = "nested"
    """The protocol where none is named."""
    levels: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Entries, AfterValidator(_apart)] = (1.0,)
    """Shares of the training pairs that are kept; each smaller part lies within the larger ones."""
    split_seeds: Seeds = (0,)
    """One split for each."""


class Author(Strict):
    """The paper's split: what a level leaves over is halved into validation and test, so it is below 1."""

    kind: Literal["author"]
    """The protocol."""
    levels: Annotated[tuple[Share, ...], Entries, AfterValidator(_apart)]
    """Shares of the pairs of each user that are for training."""
    split_seeds: Seeds = (0,)
    """One split for each."""


class LeaveOneOut(Strict):
    """One pair of each user is for the test, another for validation."""

    kind: Literal["leave-one-out"]
    """The protocol."""
    by: Literal["time", "random", "order"] = "time"
    """Which pair is left out: the latest, any, or the last of the file."""
    split_seeds: Seeds = (0,)
    """One split for each."""


class ByTime(Strict):
    """The latest pairs are for the test, those before them for validation."""

    kind: Literal["time"]
    """The protocol."""
    valid_fraction: Share = 0.1
    """Share of the pairs that are for validation."""
    test_fraction: Share = 0.1
    """Share of the pairs that are for the test."""
    split_seeds: Seeds = (0,)
    """One split for each."""


class Given(Strict):
    """The test pairs have a file of their own."""

    kind: Literal["given"]
    """The protocol."""
    valid_fraction: Share = 0.1
    """Share of the training pairs that are cut off for validation."""
    split_seeds: Seeds = (0,)
    """One split for each."""


ProtocolConfig = Nested | Author | LeaveOneOut | ByTime | Given
"""How the data are split."""


class MetricsConfig(Strict):
    """Lengths of the lists that are measured."""

    ks: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(strict=False, min_length=1), Distinct] = (10, 20, 50)
    """Lengths, each above 0."""


Sampler = Literal["tpe", "random"]
"""How trials are drawn: by what earlier ones came to, or blindly."""


class ModelConfig(Strict):
    """One model: its kind, its display name and the parameters that differ from the estimator's defaults."""

    kind: Annotated[str, _one_of("kind", models.CLASSES)]
    """Which model it is."""
    name: Annotated[str, Field(pattern=_SAFE_NAME)] | None = None
    """Display name; without one it is that of the kind."""
    preset: str | None = None
    """A named set of parameters to start from: ``paper`` of ``buir``."""
    params: dict[str, Any] = {}
    """Parameters that differ from the defaults; a search leaves them as they are."""
    settings_of: str | None = None
    """Name of a model of the same kind whose search decides these settings too: both differ in ``params`` alone."""
    trials: Annotated[int, Field(gt=0)] | None = None
    """Trials of this model's search, in place of those of ``tuning:`` and of the data."""
    sampler: Sampler | None = None
    """Of this model's search, in place of that of ``tuning:``."""

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        found = models.check(self.kind, self.params, preset=self.preset)
        refuse((("preset",) if name == "preset" else ("params", name)[: 1 + bool(name)], text) for name, text in found)
        return self

    @property
    def label(self) -> str:
        """Display name: the given one, or the usual name of the kind."""
        return self.name or models.default_name(self.kind, self.params, self.preset)


class TuningConfig(Strict):
    """The same search budget for every model, spent on the held-out pairs that decide."""

    trials: Annotated[int, Field(gt=0)] = 20
    """Settings that are tried for each model, data set, level and split."""
    metric: Annotated[str, AfterValidator(_known_metric)] = "ndcg_at_20"
    """What is maximised, on validation pairs."""
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Of training in a trial."""
    fit_seconds: Annotated[float, Field(gt=0)] | None = None
    """Of training in the fits that are measured, the same for every model that trains in epochs."""
    sampler: Sampler = "tpe"
    """How trials are drawn: by what earlier ones came to, or at random."""
    seed: Count = 0
    """Decides which settings are drawn."""


class PanelsConfig(Strict):
    """Which models are judged together: a reference against the rivals of each panel, over all data and levels."""

    reference: str
    """Name of the model that is compared with every other one of a panel."""
    headline: str | None = None
    """The panel in which "leads" may be said; needed where there are several."""
    models: Annotated[dict[str, Annotated[tuple[str, ...], Field(strict=False)]], Field(min_length=1)]
    """Names of the models of each panel; the reference is in every one and need not be listed."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        names = ", ".join(self.models)
        if self.headline is None and len(self.models) > 1:
            msg = f"there are {len(self.models)} panels; add 'headline', the one that decides who leads: one of {names}"
            raise ValueError(msg)
        problems: list[tuple[tuple[str | int, ...], str]] = []
        if self.headline is not None and self.headline not in self.models:
            problems.append((("headline",), f"got {self.headline!r}{models.suggestion(self.headline, self.models)}"))
        for panel, listed in self.models.items():
            place = ("models", panel)
            if not re.fullmatch(_PANEL_NAME, panel):
                problems.append(
                    (place, f"a panel is called {panel!r}, expected letters, digits, ' ', '.', '_' and '-'")
                )
            if twice := sorted({name for name in listed if listed.count(name) > 1}):
                problems.append((place, f"lists {', '.join(twice)} more than once; remove the repeated ones"))
            if not set(listed) - {self.reference}:
                problems.append(
                    (place, f"lists no rival of {self.reference!r}; name at least one model to compare it with")
                )
        refuse(problems)
        return self

    def members(self, panel: str) -> tuple[str, ...]:
        """List the models of a panel, the reference first where it is not listed."""
        listed = self.models[panel]
        return listed if self.reference in listed else (self.reference, *listed)


class BenchmarkConfig(Strict):
    """A whole comparison: data x level x model x seed."""

    name: Annotated[str, Field(pattern=_SAFE_NAME)]
    """Name of the results; without one it is that of the file."""
    description: str = ""
    """What is compared and why, for the first lines of the report."""
    notes: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """What a reader of the searches should know, such as candidates from papers that selected on test data."""
    data: Annotated[tuple[DataConfig, ...], Field(strict=False, min_length=1)]
    """What is learned from: one entry for each data set."""
    protocol: Annotated[
        ProtocolConfig,
        Field(discriminator="kind"),
        BeforeValidator(lambda raw: {"kind": "nested", **raw} if isinstance(raw, dict) else raw),
    ] = Nested()
    """How data are split into training, validation and test."""
    seeds: Seeds = (0,)
    """Seeds of the models: every model is fitted once for each."""
    metrics: MetricsConfig = MetricsConfig()
    """What is measured."""
    models: Annotated[tuple[ModelConfig, ...], Field(strict=False, min_length=1)]
    """What is compared."""
    decided_on: Literal["valid", "inner"] = "valid"
    """Which pairs decide settings, epochs and terms: the split's validation part, or "inner": pairs held out of the
    training part, one of each user with at least three (two, where most have fewer). A model is then trained again on
    all of that part with what was decided, and the validation part decides nothing."""
    tuning: TuningConfig | None = None
    """A search for settings; without it every model has its defaults and ``params``."""
    panels: PanelsConfig | None = None
    """What the report judges; by default all models together, with BUIR's variants as references."""
    log_models: bool = False
    """Keep every fitted BUIR and log it in its run of MLflow; baselines have no file format to be logged in."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        problems: list[tuple[tuple[str | int, ...], str]] = []
        for what, labels in (("data", [d.label for d in self.data]), ("models", [m.label for m in self.models])):
            twice = sorted({label for label in labels if labels.count(label) > 1})
            problems += [((what,), f"two entries are called {label!r}; give one another 'name'") for label in twice]
        given = self.protocol.kind == "given"
        for place, data in enumerate(self.data):
            folder = data.path is not None and data.path.is_dir()
            if given != (data.train is not None) and not (given and folder):
                remedy = "'train' and 'test' files, or their folder as 'path'" if given else "one 'path' or 'dataset'"
                problems.append((("data", place), f"the protocol {self.protocol.kind!r} needs {remedy}"))
            stray = [name for name in ("min_user", "min_item", "core") if name in data.model_fields_set]
            if given and folder and stray:
                msg = f"{', '.join(stray)} means nothing to a published split, which is taken as it is; remove it"
                problems.append((("data", place), msg))
            if data.trials is not None and self.tuning is None:
                msg = f"got {data.trials}, but nothing is searched without 'tuning:'; add 'tuning: {{}}', or remove it"
                problems.append((("data", place, "trials"), msg))
        problems += [(("models", place), text) for place, m in enumerate(self.models) for text in self._misfits(m)]
        if self.panels is not None:
            names = [model.label for model in self.models]
            asked = [(("panels", "reference"), self.panels.reference)]
            asked += [
                (("panels", "models", panel), name) for panel, some in self.panels.models.items() for name in some
            ]
            problems += [
                (place, f"no model is called {name!r}{models.suggestion(name, names)}")
                for place, name in asked
                if name not in names
            ]
        refuse(problems)
        return self

    def _misfits(self, model: ModelConfig) -> Iterator[str]:
        """Say what is wrong with how a model is searched."""
        own = [name for name in ("settings_of", "trials", "sampler") if getattr(model, name) is not None]
        if own and self.tuning is None:
            yield f"{own[0]!r} means nothing without a search; add 'tuning: {{}}', or remove it"
        if self.decided_on == "inner" and model.params.get("inner_validation", "auto") is False:
            yield "inner_validation is False, and with 'decided_on: inner' every model decides inside; remove one"
        if model.settings_of is None:
            return
        if len(own) > 1:
            yield f"{own[1]!r} means nothing beside 'settings_of', which takes another model's search; remove one"
        names = [m.label for m in self.models if m.kind == model.kind and m.settings_of is None]
        if model.settings_of not in names:
            yield (
                f"settings_of is {model.settings_of!r}, expected the name of a model of kind {model.kind!r} with a "
                f"search of its own; there are: {', '.join(names) or 'none'}"
            )

    @property
    def levels(self) -> tuple[float, ...]:
        """Levels of the protocol; one without levels has the one level 1."""
        return self.protocol.levels if isinstance(self.protocol, Nested | Author) else (1.0,)

    def budget(self, label: str, model: ModelConfig | None = None) -> TuningConfig | None:
        """Return what a search on a data set may spend, for a model; None where nothing is searched."""
        (trials,) = [data.trials for data in self.data if data.label == label]
        wanted = {"trials": (model and model.trials) or trials, "sampler": model and model.sampler}
        update = {name: value for name, value in wanted.items() if value}
        return self.tuning.model_copy(update=update) if self.tuning and update else self.tuning


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
    raw = read_yaml(file)
    problems: list[str] = []
    for override in overrides:
        try:
            apply_override(raw, override)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    raw.setdefault("name", file.stem)
    try:
        return BenchmarkConfig.model_validate(raw, context={"folder": file.parent})
    except ValidationError as error:
        raise ConfigError([f"{file.name}: {line}" for line in in_lines(error, BenchmarkConfig, raw)]) from error


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


def recipe(config: Mapping[str, Any]) -> str:
    """Write the configuration that a plan holds as YAML that :func:`load` takes.

    Parameters
    ----------
    config
        All fields with their values, as `buir.experiment.run.plan.describe` keeps them.

    Notes
    -----
    A plan also holds defaults that mean nothing to the kind of data; a file must not have them.
    """
    data = [
        {name: value for name, value in entry.items() if value or name == "header"}
        for entry in named_by_variable(config)
    ]
    return _RECIPE_HEAD.format(name=config.get("name", "name")) + to_yaml({**config, "data": data})


def shared_searches(config: Mapping[str, Any]) -> dict[str, str]:
    """Tell which models of a plan's configuration take their settings from whose search."""
    entries = [entry for entry in config.get("models", []) if entry.get("settings_of")]
    labels = (
        entry.get("name") or models.default_name(entry["kind"], entry.get("params", {}), entry.get("preset"))
        for entry in entries
    )
    return {label: entry["settings_of"] for label, entry in zip(labels, entries, strict=True)}


def named_by_variable(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of ``data`` with files below the folder ``BUIR_DATA`` written as ``${BUIR_DATA}/...``."""
    folder = os.environ.get("BUIR_DATA")

    def named(name: str, value: Any) -> Any:
        if not folder or name not in PATH_KEYS or not value or not Path(value).is_relative_to(Path(folder).resolve()):
            return value
        return f"${{BUIR_DATA}}/{Path(value).relative_to(Path(folder).resolve()).as_posix()}"

    return [{name: named(name, value) for name, value in entry.items()} for entry in config.get("data", [])]
