"""What the scores of pairs and of other items look like while a model trains."""

import torch
from torch import Tensor
from torch.nn import functional

from buir.learning import uniformity_loss

from .candidates import Candidates, KnownPairs


@torch.no_grad()
def score_figures(
    users: Tensor, items: Tensor, known: KnownPairs, temperature: float, *, most: int
) -> dict[str, float]:
    """Summarise the cosines of some users with all items.

    Parameters
    ----------
    users, items
        All vectors, shapes (n_users, d) and (n_items, d).
    known
        The training pairs.
    temperature
        Of the softmax over a user's other items.
    most
        Users looked at, at most: evenly spaced among those with pairs.

    Returns
    -------
    ``positive_mean``, ``positive_std`` of known pairs; ``negative_mean``, ``negative_std`` of the others;
    ``hard_share`` of the others that carry more than an even part of their user's softmax: small where few items
    decide, about half where all do; ``uniformity`` of the users' directions, from -4 (spread evenly) to 0 (all alike).

    References
    ----------
    Zhu et al., "Improving contrastive learning by visualizing feature transformation", ICCV 2021, for the first five.
    """
    asked = known.bounds.diff().nonzero().squeeze(1)
    asked = asked[torch.linspace(0, len(asked) - 1, min(most, len(asked)), dtype=torch.float64).long()]
    chosen = functional.normalize(users[asked], dim=1)
    scores = chosen @ functional.normalize(items, dim=1).T
    others = torch.ones_like(scores, dtype=torch.bool)
    others[known.among(asked, Candidates.whole(len(items), items.device))] = False
    part = (scores / temperature).masked_fill(~others, -torch.inf).softmax(dim=1)
    hard = (part * others.sum(dim=1, keepdim=True) > 1)[others]
    pairs, rest = scores[~others], scores[others]
    record = {
        "positive_mean": pairs.mean(),
        "positive_std": pairs.std(correction=0),
        "negative_mean": rest.mean(),
        "negative_std": rest.std(correction=0),
        "hard_share": hard.float().mean(),
    }
    record = {name: value.item() for name, value in record.items()}
    return record if len(chosen) < 2 else record | {"uniformity": uniformity_loss(chosen).item()}
