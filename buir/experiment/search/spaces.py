"""Search spaces: which settings of a model are tuned, and between which bounds (``configs/models/*.yaml``)."""

from __future__ import annotations

import inspect
import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, model_validator

from buir.experiment.config import ConfigError, in_lines, models, read_yaml, shipped_configs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from optuna.trial import Trial

Value = bool | int | float | str | None


class _Setting(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FloatSetting(_Setting):
    """A number between two bounds."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    """Draw evenly on a logarithmic scale."""
    step: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _bounds(self) -> FloatSetting:
        _check_bounds(self.low, self.high, self.step, log=self.log)
        return self

    def suggest(self, trial: Trial, name: str) -> Value:
        """Draw a value for a trial."""
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)

    def contains(self, value: Any) -> bool:
        """Tell whether the value can be drawn."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / (self.step or 1.0)
        return self.step is None or math.isclose(steps, round(steps), abs_tol=1e-9)


class IntSetting(_Setting):
    """A whole number between two bounds, both included."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    """Draw evenly on a logarithmic scale."""
    step: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _bounds(self) -> IntSetting:
        _check_bounds(self.low, self.high, self.step, log=self.log)
        return self

    def suggest(self, trial: Trial, name: str) -> Value:
        """Draw a value for a trial."""
        return trial.suggest_int(name, self.low, self.high, log=self.log, step=self.step or 1)

    def contains(self, value: Any) -> bool:
        """Tell whether the value can be drawn."""
        if isinstance(value, bool) or not isinstance(value, int):
            return False
        return self.low <= value <= self.high and (value - self.low) % (self.step or 1) == 0


class ChoiceSetting(_Setting):
    """One of some values, in no order."""

    type: Literal["categorical"]
    choices: Annotated[tuple[Value, ...], Field(strict=False, min_length=1)]

    def suggest(self, trial: Trial, name: str) -> Value:
        """Draw a value for a trial."""
        return trial.suggest_categorical(name, self.choices)

    def contains(self, value: Any) -> bool:
        """Tell whether the value can be drawn; True is not 1."""
        return any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in self.choices)


Setting = Annotated[FloatSetting | IntSetting | ChoiceSetting, Field(discriminator="type")]


class SearchSpace(RootModel[dict[str, Setting]]):
    """The tuned settings of a model by name; an empty space means that there is nothing to tune."""

    model_config = ConfigDict(frozen=True)

    def without(self, fixed: Mapping[str, Any]) -> SearchSpace:
        """Return the space without the settings that the benchmark fixes."""
        return SearchSpace({name: setting for name, setting in self.root.items() if name not in fixed})

    def suggest(self, trial: Trial) -> dict[str, Value]:
        """Draw a value for every setting."""
        return {name: setting.suggest(trial, name) for name, setting in self.root.items()}

    def describe(self) -> dict[str, dict[str, Any]]:
        """Give the space as plain data, for records and reports."""
        return {name: setting.model_dump(mode="json", exclude_defaults=True) for name, setting in self.root.items()}

    def __len__(self) -> int:
        return len(self.root)


def find_space(
    kind: str, params: Mapping[str, Any], name: str | None = None, folder: Path | None = None
) -> SearchSpace:
    """Read a model's search space, without the settings that ``params`` fixes.

    Parameters
    ----------
    kind
        Kind of the model, as in a benchmark.
    params
        What the benchmark fixes. Its encoder also decides which of BUIR's files is read.
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
    names = [name, models.default_name(kind, {**defaults, **params}), kind]
    stems = list(dict.fromkeys(_stem(text) for text in names if text))
    for stem in stems:
        file = folder / f"{stem}.yaml"
        if file.is_file():
            return read_space(file, list(defaults)).without(params)
    present = ", ".join(sorted(f.stem for f in folder.glob("*.yaml")))
    msg = f"no search space for {name or kind}: looked for {', '.join(f'{s}.yaml' for s in stems)} in {folder}, found {present or 'nothing'}; write one ({{}} if the model has no settings)"
    raise ConfigError([msg])


def read_space(file: Path, parameters: list[str]) -> SearchSpace:
    """Read one file and check it, the names against the estimator's ``parameters``."""
    raw = read_yaml(file)
    problems = [
        f"{file.name}: {name}: unknown parameter{models.suggestion(str(name), parameters)}"
        for name in raw
        if name not in parameters
    ]
    try:
        space = SearchSpace.model_validate(raw)
    except ValidationError as error:
        problems += [f"{file.name}: {line}" for line in in_lines(error, dict[str, Setting], raw)]
        raise ConfigError(problems) from error
    if problems:
        raise ConfigError(problems)
    return space


def _check_bounds(low: float, high: float, step: float | None, *, log: bool) -> None:
    if not low < high:
        msg = f"low is {low:g} and high is {high:g}, expected low < high"
        raise ValueError(msg)
    if log and (low <= 0 or step is not None):
        msg = "a logarithmic scale needs low > 0 and no step"
        raise ValueError(msg)


def _stem(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
