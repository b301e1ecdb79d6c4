"""What the softmax losses are made of: the contrast itself, its candidates, and what papers do with negatives."""

from .candidates import Candidates, KnownPairs, draw_candidates
from .figures import score_figures
from .loss import contrast, vmf_weights

__all__ = ["Candidates", "KnownPairs", "contrast", "draw_candidates", "score_figures", "vmf_weights"]
