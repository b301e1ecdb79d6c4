"""Memory and processor use of this process while something runs."""

import threading
import time
from typing import Self

import psutil
import torch

_MAX_SAMPLES = 200
_MEGABYTE = 2**20


class Monitor:
    """Context manager that samples this process from a thread.

    Attributes
    ----------
    peak_mb
        Largest resident memory seen, in MB (2**20 bytes): of the whole process, so it includes Python and the data.
    device_peak_mb
        Largest memory of tensors on one CUDA device, in MB; None where CUDA was not used.
    samples
        Records {"seconds", "cpu_percent", "memory_mb"}, at most 200: the interval doubles when they are full.
    """

    def __init__(self, interval: float = 0.05, sample_every: float = 1.0) -> None:
        self.interval = interval
        self.sample_every = sample_every
        self.peak_mb = 0.0
        self.device_peak_mb: float | None = None
        self.samples: list[dict[str, float]] = []
        self._process = psutil.Process()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        for device in _devices():
            torch.cuda.reset_peak_memory_stats(device)
        self._process.cpu_percent()  # the first call only sets the mark from which the next one counts
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()
        if devices := _devices():
            self.device_peak_mb = max(torch.cuda.max_memory_allocated(device) for device in devices) / _MEGABYTE

    def _look(self) -> float:
        memory = self._process.memory_info().rss / _MEGABYTE
        self.peak_mb = max(self.peak_mb, memory)
        return memory

    def _watch(self) -> None:
        start = time.perf_counter()
        due = self.sample_every
        while not self._stop.wait(self.interval):
            memory, seconds = self._look(), time.perf_counter() - start
            if seconds < due:
                continue
            usage = {"seconds": seconds, "cpu_percent": self._process.cpu_percent(), "memory_mb": memory}
            self.samples.append(usage)
            if len(self.samples) >= _MAX_SAMPLES:
                self.samples = self.samples[1::2]
                self.sample_every *= 2
            due = seconds + self.sample_every


def _devices() -> range:
    """Return the CUDA devices; none where this process has not used CUDA, which asking must not begin."""
    return range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)
