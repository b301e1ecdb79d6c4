"""One-class collaborative filtering without negative sampling."""

from buir.interactions import Interactions
from buir.model import BUIR
from buir.recommend import recommend_frame

__version__ = "0.1.0"
__all__ = ["BUIR", "Interactions", "recommend_frame"]
