"""Speed and memory, measured as ratios; `python -m benchmarks` runs them all."""
