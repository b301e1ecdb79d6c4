"""The time that one training may take, in seconds of the processor."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Clock:
    """Runs from its making; asked at every validation of a fit, it says whether the time is up.

    Notes
    -----
    Seconds of the processor are what this process used of it, all threads together: what runs beside it takes nothing
    from a model. Only a model that trains in epochs can be ended; it keeps its best validated weights, as after any
    early stop.
    """

    limit: float | None
    """Processor seconds; None never ends a training."""
    spent: float = 0.0
    """Those of earlier processes, which count as well."""
    _started: float = field(default_factory=time.process_time, init=False)
    _ended_at: int | None = field(default=None, init=False)

    @property
    def seconds(self) -> float:
        """Processor seconds since the start."""
        return self.spent + time.process_time() - self._started

    def is_up(self, record: Mapping[str, Any]) -> bool:
        """Hear of a validation; tell whether the training has to end here."""
        if self.limit is None or self.seconds <= self.limit:
            return False
        self._ended_at = record.get("epoch")
        return True

    def ended(self, model: Any) -> bool:
        """Tell whether the clock ended the training of ``model`` before its last epoch."""
        epochs = getattr(model, "epochs", None)
        if self._ended_at is None or epochs is None:
            return False
        return epochs == "auto" or self._ended_at < epochs
