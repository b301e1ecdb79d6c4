"""From a configuration to data and splits; each is made once in a process."""

import warnings
from dataclasses import replace
from typing import Any

from buir.data import Interactions, Split, datasets, fit_inputs, read_split, reading_weights, splits, weighting
from buir.data import read as read_file
from buir.errors import ExperimentError, Finding, InputWarning, counted, report
from buir.experiment.config import BenchmarkConfig, DataConfig, ProtocolConfig
from buir.experiment.run.progress import Size


class Sources:
    """The data sets and splits of a benchmark, kept for the cells that share them.

    ``quiet`` leaves out the warnings of a file, which another process has given already.
    """

    def __init__(self, config: BenchmarkConfig, *, quiet: bool = False) -> None:
        self._config = config
        self._quiet = quiet
        self._data: dict[str, tuple[Interactions, ...]] = {}
        self._splits: dict[tuple[str, int], dict[float, Split]] = {}

    def splits(self, label: str, split_seed: int) -> dict[float, Split]:
        """Return the splits of a data set at all levels."""
        place = (label, split_seed)
        if place not in self._splits:
            protocol = self._config.protocol
            try:
                self._splits[place] = make_splits(self._read(label), protocol, split_seed)
            except ValueError as error:
                msg = f"{label}: the protocol {protocol.kind!r} cannot split these data: {error}"
                raise ExperimentError(msg) from error
            if protocol.kind == "nested" and not self._quiet and split_seed == protocol.split_seeds[0]:
                report(_alike(label, self._splits[place]))
        return self._splits[place]

    def sizes(self) -> dict[tuple[str, float], Size]:
        """Return the sizes of the training data by data set and level."""
        first = self._config.protocol.split_seeds[0]
        return {
            (data.label, level): Size(split.train.n_users, split.train.n_items, split.train.n_pairs)
            for data in self._config.data
            for level, split in self.splits(data.label, first).items()
        }

    def _read(self, label: str) -> tuple[Interactions, ...]:
        if label not in self._data:
            (data,) = [d for d in self._config.data if d.label == label]
            try:
                with warnings.catch_warnings():
                    if self._quiet:
                        warnings.simplefilter("ignore", InputWarning)
                    parts = read(data, split=self._config.protocol.kind == "given")
                    self._data[label] = _weighed(parts, data.weight)
            except (OSError, ValueError) as error:
                msg = f"{label}: {error}"
                raise ExperimentError(msg) from error
        return self._data[label]


def _alike(label: str, levels: dict[float, Split]) -> list[Finding]:
    """Warn of nested levels that keep the same training pairs, as every user keeps at least one."""
    by_size: dict[int, list[float]] = {}
    for level, split in levels.items():
        by_size.setdefault(split.train.n_pairs, []).append(level)
    found: list[Finding] = []
    for n_pairs, same in by_size.items():
        if len(same) > 1:
            names = " and ".join(f"{level:g}" for level in sorted(same))
            what = f"{label}: levels {names} keep the same {counted(n_pairs, 'training pair')}, as every user keeps one"
            found.append(InputWarning(f"{what} at least; leave all but one of them out", argument="levels"))
    return found


def read(data: DataConfig, *, split: bool = False) -> tuple[Interactions, ...]:
    """Load one data set: its interactions, or its training, test and validation part where it comes as a ``split``."""
    filters = {"min_rating": data.min_rating, "min_user": data.min_user, "min_item": data.min_item, "core": data.core}
    if data.dataset is not None:
        chosen = {name: value for name, value in filters.items() if value}
        return (datasets.load(data.dataset, **data.options, **chosen),)
    form: dict[str, Any] = {
        "format": data.format,
        "columns": data.columns,
        "separator": data.separator,
        "encoding": data.encoding,
    }
    form |= {"header": data.header, "drop_missing": data.drop_missing, "where": data.where}
    form |= {"max_bytes": data.max_bytes}
    with reading_weights(data.weight):
        if split:
            first = data.train or data.path
            assert first is not None  # the schema asks for one of them
            return read_split(first, data.test, data.valid, min_rating=data.min_rating, **form)
        assert data.path is not None  # the schema asks for one of the three
        return (read_file(data.path, **form, **filters),)


def _weighed(parts: tuple[Interactions, ...], weight: str | None) -> tuple[Interactions, ...]:
    """Make sure that pairs have what the weights are made of; without weights drop it, so that no digest knows it."""
    if weight is None:
        return tuple(replace(part, weights=None) for part in parts)
    fit_inputs(parts[0], weights=weighting(weight))
    return parts


def make_splits(parts: tuple[Interactions, ...], protocol: ProtocolConfig, seed: int) -> dict[float, Split]:
    """Split at every level of the protocol; protocols without levels have the one level 1."""
    data = parts[0]
    if protocol.kind == "nested":
        return splits.nested_levels(data, protocol.levels, seed)
    if protocol.kind == "author":
        return {level: splits.author_split(data, level, seed) for level in protocol.levels}
    if protocol.kind == "leave-one-out":
        return {1.0: splits.leave_one_out(data, seed, by=protocol.by)}
    if protocol.kind == "time":
        fractions = {"valid_fraction": protocol.valid_fraction, "test_fraction": protocol.test_fraction}
        return {1.0: splits.time_split(data, **fractions)}
    train, test, *more = parts
    valid = more[0] if more else None
    return {1.0: splits.given_split(train, test, protocol.valid_fraction, seed, valid=valid)}
