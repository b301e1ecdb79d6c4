"""The monitor sees memory that comes and goes, and keeps few samples."""

import mmap
import time

import torch

from buir.experiment.run.monitor import Monitor


def test_the_peak_is_kept_after_memory_is_given_back():
    with Monitor(interval=0.005) as monitor:
        time.sleep(0.02)
        before = monitor.peak_mb
        # pages of the system's own: what earlier tests gave back to the allocator is resident already
        with mmap.mmap(-1, 30 * 2**20) as block:
            block.write(b"1" * (30 * 2**20))
            time.sleep(0.1)
        time.sleep(0.05)
    assert before + 25 < monitor.peak_mb < before + 300


def test_samples_thin_out():
    with Monitor(interval=0.001, sample_every=0.001) as monitor:
        time.sleep(1.0)
    assert 2 <= len(monitor.samples) < 200
    seconds = [sample["seconds"] for sample in monitor.samples]
    assert seconds == sorted(seconds)
    assert set(monitor.samples[0]) == {"seconds", "cpu_percent", "memory_mb"}
    assert all(sample["memory_mb"] > 10 for sample in monitor.samples)


def test_nothing_is_left_running_after_an_error():
    monitor = Monitor()
    try:
        with monitor:
            raise KeyError
    except KeyError:
        assert not monitor._thread.is_alive()


def test_the_peak_of_the_fullest_device_where_cuda_was_used(monkeypatch):
    with Monitor() as unused:
        pass
    assert unused.device_peak_mb is None
    cleared = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", cleared.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: (3 + 2 * device) * 2**20)
    with Monitor() as used:
        assert cleared == [0, 1]
    assert used.device_peak_mb == 5.0
