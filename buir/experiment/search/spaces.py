"""Search spaces: which settings of a model are tuned, and between which bounds (``configs/models/*.yaml``)."""

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from buir.errors import ConfigError
from buir.experiment.config import Strict, in_lines, models, read_yaml, shipped_configs, suggestion

Value = bool | int | float | str | None
Space = dict[str, BaseDistribution]
"""The tuned settings of a model by name; an empty space means that there is nothing to tune."""


class _Float(Strict):
    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    step: float | None = None


class _Int(Strict):
    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: int = 1


class _Categorical(Strict):
    type: Literal["categorical"]
    choices: Annotated[tuple[Value, ...], Field(strict=False, min_length=1)]


_CLASSES = {"float": FloatDistribution, "int": IntDistribution, "categorical": CategoricalDistribution}


def _distribution(entry: Any) -> BaseDistribution:
    """Leave the bounds to Optuna, but for two that are equal: that setting belongs into the benchmark."""
    if entry.type != "categorical" and entry.low == entry.high:
        msg = f"low is {entry.low:g} and high is {entry.high:g}, expected low < high"
        raise ValueError(msg)
    return _CLASSES[entry.type](**entry.model_dump(exclude={"type"}))


_Setting = Annotated[_Float | _Int | _Categorical, Field(discriminator="type"), AfterValidator(_distribution)]
_SPACE: TypeAdapter[Any] = TypeAdapter(dict[str, _Setting])


def as_json(space: Space) -> dict[str, dict[str, Any]]:
    """Give a space as plain data, for keys, records and reports; what Optuna takes by default is left out."""
    names = {made: name for name, made in _CLASSES.items()}
    plain: dict[str, dict[str, Any]] = {}
    for setting, drawn in space.items():
        arguments = inspect.signature(type(drawn)).parameters.items()
        given = {name: getattr(drawn, name) for name, p in arguments if getattr(drawn, name) != p.default}
        plain[setting] = {"type": names[type(drawn)]} | given
    return plain


def contains(setting: BaseDistribution, value: Any) -> bool:
    """Tell whether a value can be drawn; True is not 1, nor "1" a number, which Optuna takes for the same."""
    try:
        create_trial(value=0.0, params={"x": value}, distributions={"x": setting})
    except ValueError:
        return False
    drawn = setting.to_external_repr(setting.to_internal_repr(value))
    return type(value) in (type(drawn), int)


def find_space(kind: str, params: Mapping[str, Any], name: str | None = None, folder: Path | None = None) -> Space:
    """Read a model's search space, without the settings that ``params`` fixes.

    Parameters
    ----------
    kind
        Kind of the model, as in a benchmark.
    params
        What the benchmark fixes. An encoder among it decides which of BUIR's files is read; without one BUIR
        has nothing to search.
    name
        Display name; a file called after it comes before the one of the kind.
    folder
        Where to look; the files that come with the package by default.

    Raises
    ------
    ConfigError
        If there is no file or it holds a mistake: a model that is silently not tuned would make the comparison unfair.
    """
    folder = shipped_configs() / "models" if folder is None else folder
    defaults = {field: p.default for field, p in inspect.signature(models.estimator_class(kind)).parameters.items()}
    names = [name, models.default_name(kind, params), kind]
    stems = list(dict.fromkeys(_stem(text) for text in names if text))
    for stem in stems:
        file = folder / f"{stem}.yaml"
        if file.is_file():
            space = read_space(file, list(defaults))
            return {setting: drawn for setting, drawn in space.items() if setting not in params}
    present = ", ".join(sorted(f.stem for f in folder.glob("*.yaml")))
    msg = (
        f"no search space for {name or kind}: looked for {', '.join(f'{s}.yaml' for s in stems)} in {folder}, found "
        f"{present or 'nothing'}; write one ({{}} if the model has no settings)"
    )
    raise ConfigError([msg])


def read_space(file: Path, parameters: list[str]) -> Space:
    """Read one file and check it, the names against the estimator's ``parameters``."""
    raw = read_yaml(file)
    unknown = [name for name in raw if name not in parameters]
    problems = [f"{name}: unknown parameter{suggestion(str(name), parameters)}" for name in unknown]
    space: Space = {}
    try:
        space = _SPACE.validate_python(raw)
    except ValidationError as error:
        problems += in_lines(error, dict[str, _Setting], raw)
    if problems:
        raise ConfigError([f"{file.name}: {problem}" for problem in problems])
    return space


def _stem(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
