"""What a fit came to, told alike for every model from what its record holds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from buir.errors import counted
from buir.experiment.records.record import Record, metric_label

ENDS = {
    "patience": "patience: {since} without improvement",
    "epochs": "all its epochs",
    "seconds": "the limit of its seconds",
    "start": "its start, which no training beat",
    "few": "its start, as pairs are too few to tell what training adds",
    "callback": "the caller",
    "at once": "itself: it is fitted in one go",
    "refused": "a refusal",
}
"""What ended a training -> how it is said, after "ended by"."""
_DECIDED = (
    "device",
    "batch_size",
    "learning_rate",
    "momentum",
    "row_sparse",
    "embedding_dim",
    "block_dim",
    "began",
    "uniformity",
    "held_out",
)
"""What BUIR's "auto" came to, of what it keeps."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a fit came to; None is what is not known."""

    stopped: str
    """One of ``ENDS``."""
    metric: str = "ndcg_at_20"
    """What validation watched; the numbers below are its."""
    epochs_run: int | None = None
    """None of a model that is fitted in one go, as ``best_epoch``."""
    best_epoch: int | None = None
    """0 if the start was best."""
    terms: Mapping[str, float] = field(default_factory=dict)
    """Strengths of the terms of the score that have one."""
    gains: Mapping[str, float] = field(default_factory=dict)
    """What ``value`` loses without one of them, as far as it is known."""
    start: float | None = None
    """The validation metric before the first step."""
    trained: float | None = None
    """The best that training came to, watched as the start was."""
    bare: float | None = None
    """The metric without any term, on all users with held-out pairs."""
    value: float | None = None
    """The metric with the terms as they were chosen, on the same."""
    kept: str | None = None
    """Which of the two best states was kept, "with terms" or "without terms", as it was watched; None where it is one.
    """
    compared: tuple[float, float] | None = None
    """Of the kept one and of the other what decided between them: the metric with the terms that each wants of those
    that are added to a score, on the users looked at between epochs."""
    starts: tuple[str, float] | None = None
    """Where two starts were trained, which one was kept, and what ``value`` was from the other one."""
    decided: Mapping[str, Any] = field(default_factory=dict)
    """What every "auto" came to, and what the model decided besides."""
    collapse: str | None = None
    """A warning of a collapse."""

    @classmethod
    def of(cls, record: Record) -> Self:
        """Read it from a record, also one of an earlier version, as far as that says it."""
        if not record.ok:
            return cls(stopped="refused")
        chosen, history = record.chosen, record.history
        if "trained" in chosen:
            return cls._of_buir(record)
        last: Mapping[str, Any] = history[-1] if history else {}
        told = last.get("terms", {})
        in_epochs = len(history) > 1 or ("epochs" in record.params and bool(history))
        metric = record.params.get("valid_metric", "ndcg_at_20")
        facts: dict[str, Any] = {"metric": metric, "terms": told.get("strengths", {}), "decided": dict(chosen)}
        facts |= {name: told.get(name) for name in ("value", "bare")} | {"gains": told.get("gains", {})}
        if not in_epochs:
            facts["value"] = facts["value"] if facts["value"] is not None else last.get(metric)
            return cls(stopped="at once", **facts)
        run = int(last["epoch"])
        best = [entry for entry in history if entry.get("best")]
        facts |= {"epochs_run": run, "best_epoch": int(best[-1]["epoch"]) if best else run}
        facts["trained"] = max((entry[metric] for entry in history if entry.get(metric) is not None), default=None)
        if not told:  # epochs are validated before terms are chosen
            facts["value"] = facts["bare"] = facts["trained"]
        return cls(stopped=_end(record, run), **facts)

    @classmethod
    def _of_buir(cls, record: Record) -> Self:
        chosen = record.chosen
        run = chosen.get("epochs_run")
        if run is None:  # of an earlier version
            run = int(record.history[-1]["epoch"]) if record.history else int(chosen.get("epochs", 0))
        stopped = chosen.get("stopped") or ("start" if run == 0 else _end(record, run))
        kept, other = chosen.get("kept"), chosen.get("other")
        compared = None if kept is None or other is None else (float(kept), float(other))
        cut = record.capped and stopped == "callback"  # a limit may have cut the training from the other start
        drawn = chosen.get("began") == "random"  # such a training is watched once, without terms
        twice = compared is not None or (not chosen.get("with_terms", True) and not drawn)
        return cls(
            stopped="seconds" if cut else stopped,
            metric=record.params.get("valid_metric", "ndcg_at_20"),
            epochs_run=run,
            best_epoch=int(chosen.get("epochs", run)),
            terms=chosen.get("strengths", {}),
            gains=chosen.get("gains", {}),
            start=chosen.get("start"),
            trained=chosen.get("trained"),
            bare=chosen.get("bare"),
            value=chosen.get("value"),
            kept=("with terms" if chosen.get("with_terms", True) else "without terms") if twice else None,
            compared=compared,
            decided={name: chosen[name] for name in _DECIDED if chosen.get(name) is not None},
            starts=(chosen["began"], float(chosen["beside"])) if chosen.get("beside") is not None else None,
            collapse=chosen.get("collapse"),
        )

    @property
    def gain(self) -> float | None:
        """What training added to the validation metric over its start; below 0 where the start was kept."""
        return None if self.start is None or self.trained is None else self.trained - self.start

    @property
    def end(self) -> str:
        """What ended the training, in words."""
        since = (self.epochs_run or 0) - (self.best_epoch or 0)
        return ENDS[self.stopped].format(since=counted(since, "epoch"))

    @property
    def numbers(self) -> dict[str, float]:
        """The numbers that are known, by the names that MLflow shows."""
        found = {
            "epochs_run": self.epochs_run,
            "best_epoch": self.best_epoch,
            "valid_start": self.start,
            "valid_trained": self.trained,
            "gain_over_start": self.gain,
            "valid_without_terms": self.bare,
            "valid_with_terms": self.value,
        }
        return {name: float(value) for name, value in found.items() if value is not None}

    def words(self) -> Iterator[str]:
        """Tell it in sentences."""
        if self.stopped == "refused":
            return
        if self.epochs_run is None:
            yield "Fitted in one go, without epochs."
        elif self.stopped == "start":
            yield "Its start was kept: no branch of training validated better, so that no epoch was run."
        elif self.stopped == "few":
            yield "Its start was kept, and no epoch was run: pairs are too few to tell what training adds."
        else:
            yield f"Ran {counted(self.epochs_run, 'epoch')}, best after {self.best_epoch}; ended by {self.end}."
        if self.gain is not None:
            added = f"{self.gain:+.4f}" if self.gain else "nothing"
            yield f"Training added {added} over its start: {self.start:.4f} before, {self.trained:.4f} after."
        if self.starts is not None:
            kept, other = self.starts
            left = "spectral" if kept == "random" else "random"
            values = f"{self.value:.4f}; from the {left} one {other:.4f}"
            yield f"Two starts were trained: kept is what began from the {kept} one ({values})."
        if self.kept is not None:
            both = "" if self.compared is None else " ({:.4f}; the other one {:.4f})".format(*self.compared)
            yield f"Of the two best states the one watched {self.kept} was kept{both}."
        if self.value is not None and self.bare is not None and self.terms:
            both = f"{self.value:.4f} with the terms of the score and {self.bare:.4f} without"
            yield f"{metric_label(self.metric)} on held-out pairs: {both}."
        elif self.value is not None:
            yield f"{metric_label(self.metric)} on held-out pairs: {self.value:.4f}."
        terms = ", ".join(f"{name} {strength:g}" for name, strength in self.terms.items())
        yield f"Terms of the score: {terms or 'none'}."
        if self.collapse:
            yield f"Warning: {self.collapse}."


def _end(record: Record, run: int) -> str:
    most = record.params.get("epochs")
    if record.capped:
        return "seconds"
    return "epochs" if isinstance(most, int) and run >= most else "patience"
