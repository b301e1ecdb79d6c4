"""The training of the paper alone: what tests of the loop, the losses and the files pin."""

PLAIN = {
    "start": "random",
    "predictor": "linear",
    "momentum": 0.995,
    "terms": {},
    "uniformity": 0.0,
    "inner_validation": False,
}
"""Settings with the paper's predictor and target, without spectral start, terms of the score, uniformity and inner
validation."""
