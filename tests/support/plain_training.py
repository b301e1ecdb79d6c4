"""The training of the paper alone: what tests of the loop, the losses and the files pin."""

PLAIN = {"start": "random", "terms": {}, "uniformity": 0.0, "inner_validation": False}
"""Settings without spectral start, terms of the score, uniformity and inner validation."""
