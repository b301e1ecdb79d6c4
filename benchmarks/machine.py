"""The machine that a number was measured on."""

import os
import platform
from pathlib import Path

import psutil
import torch


def cpu_model() -> str:
    """Name of the processor, as the system gives it."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()


def describe() -> str:
    """One line: processor, cores, memory, system, torch and its threads, the GPU if there is one, and how busy the machine is."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = psutil.virtual_memory().total / 2**30
    parts = [
        cpu_model(),
        f"{cores} cores",
        f"{memory:.0f} GiB",
        f"{platform.system()} {platform.machine()}",
        f"Python {platform.python_version()}",
        f"torch {torch.__version__}",
        f"{torch.get_num_threads()} threads",
    ]
    if torch.cuda.is_available():
        parts.append(f"GPU {torch.cuda.get_device_name()}")
    parts.append(f"load {os.getloadavg()[0]:.1f} at the start")
    return ", ".join(parts)


if __name__ == "__main__":
    print(describe())
