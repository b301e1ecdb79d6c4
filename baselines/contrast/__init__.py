"""What the softmax losses are made of: the contrast itself, its candidates, and what papers do with negatives."""

from .assessment import assess_levels, assess_negatives, expected_capability, frozen_vectors
from .candidates import Candidates, KnownPairs, checked_draws, draw_candidates
from .exposure import Selector, exposure_weights
from .figures import score_figures
from .groups import group_log_weight, group_sizes
from .keeping import whisker, within_margin
from .loss import alignment_and_uniformity, contrast, top_k_weights, vmf_weights
from .mixing import blend, extrapolate, extrapolation_factors, mix_negatives
from .samplers import Sampler, make_samplers
from .table import ScoreTable
from .temperature import LearnedTemperature

__all__ = [
    "Candidates",
    "KnownPairs",
    "LearnedTemperature",
    "Sampler",
    "ScoreTable",
    "Selector",
    "alignment_and_uniformity",
    "assess_levels",
    "assess_negatives",
    "blend",
    "checked_draws",
    "contrast",
    "draw_candidates",
    "expected_capability",
    "exposure_weights",
    "extrapolate",
    "extrapolation_factors",
    "frozen_vectors",
    "group_log_weight",
    "group_sizes",
    "make_samplers",
    "mix_negatives",
    "score_figures",
    "top_k_weights",
    "vmf_weights",
    "whisker",
    "within_margin",
]
