"""Why an item has its score: the score of a linear encoder as a sum of parts."""

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_array
from torch import Tensor

from buir.model.folding import Folding

__all__ = ["explain_score"]


def explain_score(
    folding: Folding,
    history: csr_array,
    own: Tensor | None,
    transform: Tensor,
    bias: Tensor,
    item: Tensor,
    item_ids: np.ndarray,
) -> pd.DataFrame:
    r"""Split :math:`((W + W^T) u + b) \cdot v`, and popularity if it is in the score, into parts that add up to it.

    Parameters
    ----------
    folding
        How users are represented by their items.
    history
        The user's training items, shape (1, n_items).
    own
        The user's own embedding, shape (d,); None for a user who is folded in, whose own embedding is estimated from the items.
    transform
        W + W^T, shape (d, d).
    bias
        b, shape (d,).
    item
        v, shape (d,), or (d + 1,) with what popularity adds to every score of the item.
    item_ids
        Labels of the items.

    Returns
    -------
    Columns ``part`` ("item", "own embedding", "bias", "popularity"), ``item`` (the label, None elsewhere) and ``contribution`` (float64),
    the items first, the largest contribution first.
    """
    vector, popularity = item[: len(bias)].double(), item[len(bias) :].double().tolist()
    direction = transform.double() @ vector  # the transform is symmetric
    if own is None:
        vectors, own_share = folding.parts(history), 0.0
    else:
        without_regression = Folding(folding.sums, torch.zeros_like(folding.own), folding.n_layers)
        vectors = without_regression.parts(history)
        own_share = float(own.double() @ direction) / (folding.n_layers + 1)
    shares = (vectors.double() @ direction).numpy()
    order = np.argsort(-shares, kind="stable")
    others = ["own embedding", "bias", "popularity"][: 2 + len(popularity)]
    return pd.DataFrame(
        {
            "part": [*["item"] * len(shares), *others],
            "item": pd.Series([*item_ids[history.indices[order]].tolist(), *[None] * len(others)], dtype=object),
            "contribution": [*shares[order], own_share, float(bias.double() @ vector), *popularity],
        }
    )
