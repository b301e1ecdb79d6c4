# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What negatives do
#
# Positives say what people took. Most models are also told what they did not take: *negatives*, drawn from all the
# pairs that nobody has observed. BUIR is told none. Three questions: what do negatives do to the scores? When is a
# drawn negative a lie? And how does one say "less of this" to a model that never heard of dislikes?

# %% tags=["parameters"]
SMOKE = False  # True: small and fast, for the tests

# %% [markdown]
# Data with a long tail and groups of taste. Half of the training pool is left out, as if nobody had seen it yet: these
# pairs are positives, but no model knows them. For real data: `data = buir.data.read("ratings.csv", min_rating=4)`.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch.nn.functional import normalize

from buir import BUIR, baselines, evaluate, plots
from buir.data import datasets, nested_split

size = (
    {"n_users": 300, "n_items": 200, "n_pairs": 6_000}
    if SMOKE
    else {"n_users": 1_000, "n_items": 600, "n_pairs": 20_000}
)
data = datasets.load("synthetic", seed=0, **size)
split = nested_split(data, 0.5, seed=0)
hidden = split.valid.joined(split.dropped)
print(split, f"and {hidden.n_pairs:,} positives that no training sees", sep="\n")

# %% [markdown]
# ## What happens to the scores?
#
# Two models of the same width, from a random start and without terms: BUIR as in the paper, which only draws partners
# together, and the softmax loss with negatives (`baselines.Contrastive`), which also pushes everything else away. While
# they train, both look at three samples of pairs: training pairs, held-out pairs, and pairs that nobody observed.

# %%
epochs = 4 if SMOKE else 16
as_in_the_paper = {"start": "random", "predictor": "linear", "momentum": 0.995, "terms": {}, "uniformity": 0}
plain = BUIR(**as_in_the_paper, embedding_dim=32, epochs=epochs, patience=epochs)
pushed = baselines.Contrastive(embedding_dim=32, epochs=epochs, validate_every=1, patience=epochs)
trained = {"BUIR": plain, "Contrastive": pushed}
figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for ax, (name, model) in zip(axes, trained.items(), strict=True):
    model.fit(split.train, split.valid, show_progress=False)
    plots.score_distributions(model, ax=ax)
    ax.set_title(name)
plt.show()


# %% [markdown]
# A score has no unit, so look at the order: how often does a held-out pair score above an unobserved one? 0.5 is a
# coin.


# %%
def share_above(model, n=20_000, seed=0):
    """Chance that a held-out pair scores above an unobserved pair."""
    rng = np.random.default_rng(seed)
    known = set(zip(data.users.tolist(), data.items.tolist(), strict=True))
    drawn = zip(rng.integers(data.n_users, size=n).tolist(), rng.integers(data.n_items, size=n).tolist(), strict=True)
    other = np.array([pair for pair in drawn if pair not in known])
    held = np.column_stack([split.valid.users, split.valid.items])
    scores = [(model.user_factors[p[:, 0]] * model.item_factors[p[:, 1]]).sum(axis=1) for p in (held, other)]
    return float((np.searchsorted(np.sort(scores[1]), scores[0]) / len(other)).mean())


def ndcg(model):
    """NDCG@20 on the test part, which is read here and decides nothing."""
    return evaluate(model, split.train, split.test, valid=split.valid, ks=20, metrics=["ndcg"]).means["ndcg_at_20"]


pd.DataFrame(
    {
        "held-out above unobserved": [share_above(m) for m in trained.values()],
        "NDCG@20": [ndcg(m) for m in trained.values()],
    },
    index=list(trained),
).round(3)

# %% [markdown]
# With BUIR everything rises, unobserved pairs as well: nothing pushes them down, they are only drawn along more slowly.
# The softmax loss pushes their median below zero and holds more than a quarter of the held-out pairs there: to the loss
# these are negatives like any other. What counts is the order, and there negatives buy nothing here: a held-out pair is
# above an unobserved one in 77 % of the draws with BUIR, in 71 % with the contrast, and NDCG@20 is 0.120 to 0.107. That
# is one data set, one width, one temperature. Where its settings are searched the softmax loss is often the stronger:
# see the results in the README.

# %% [markdown]
# ## When is a negative a lie?
#
# A sampler draws pairs and calls them negatives. Some are positives that nobody has seen yet. Here we know which: those
# that are hidden. So they can be counted, before anything is trained. The same for a file: `buir negatives ratings.txt
# --level 0.1 --level 1 --figure negatives.png`.

# %%
from buir.experiment.figures import false_negative_figure

levels = (0.5, 1.0) if SMOKE else (0.1, 0.2, 0.5, 1.0)
table = baselines.assess_levels(data, levels, pairs=1024)
false_negative_figure(table)

# %%
table.pivot(index="sampler", columns="level", values=["false_negative_rate", "lift"]).round(3)

# %% [markdown]
# Two things move in opposite directions. The sparser the data, the more of what is drawn is false: evenly drawn
# negatives are hidden positives in 0.7 % of the cases with all data and in 5.1 % with a tenth of them, simply because
# more is hidden. And the denser the data, the worse the clever samplers become beside even draws: the hardest negatives
# are false 1.1 times as often with a tenth of the data and 4.8 times with all, because a model that knows more puts
# what people will want at the top. Popularity draws false ones 1.5 to 1.7 times as often at every level.

# %% [markdown]
# ## Does it matter?
#
# A sampler is a function of users, their items and a key. Three of them, each with 16 negatives for a pair: drawn
# evenly, by popularity, and the 16 hardest of 128, those a spectral model scores highest for the user. First what they
# draw, then what comes of a training with them.

# %%
N = 16
guide = BUIR(epochs=0, terms={}, embedding_dim=32).fit(split.train.matrix, split.valid.matrix, show_progress=False)
users, items = (normalize(torch.from_numpy(table), dim=1) for table in (guide.user_factors, guide.item_factors))
popularity = torch.from_numpy(np.bincount(split.train.items, minlength=data.n_items)).double()
seen = torch.from_numpy(split.train.matrix.toarray() > 0)


def generator(key):
    """Turn a key into a generator of its own."""
    return torch.Generator().manual_seed(key % 2**31)


def even(asked, positives, key, n=N):
    """Draw from all items alike."""
    return torch.randint(data.n_items, (len(asked), n), generator=generator(key))


def popular(asked, positives, key):
    """Draw as a batch would: by popularity."""
    drawn = torch.multinomial(popularity, len(asked) * N, replacement=True, generator=generator(key))
    return drawn.view(len(asked), N)


def hardest(asked, positives, key):
    """Keep those of 128 that the guide scores highest."""
    many = even(asked, positives, key, 8 * N)
    scores = (users[asked] @ items.T).masked_fill(seen[asked], -torch.inf).gather(1, many)
    return many.gather(1, scores.topk(N, dim=1).indices)


samplers = {"even": even, "popular": popular, "hardest": hardest}
found = baselines.assess_negatives(split.train, hidden, samplers=samplers, pairs=1024).set_index("sampler")
for name, sampler in samplers.items():
    model = baselines.Contrastive(sampler=sampler, embedding_dim=32, epochs=epochs, validate_every=1, patience=epochs)
    found.loc[name, "NDCG@20"] = ndcg(model.fit(split.train, split.valid, show_progress=False))
found[["hardness", "false_negative_rate", "lift", "NDCG@20"]].round(3)

# %%
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
for name, row in found.iterrows():
    ax.plot(row["lift"], row["NDCG@20"], "o", markersize=9)
    ax.annotate(name, (row["lift"], row["NDCG@20"]), textcoords="offset points", xytext=(0, 9), ha="center")
for label, model, style in (("all items at once", pushed, "--"), ("BUIR, no negatives", plain, ":")):
    ax.axhline(ndcg(model), linestyle=style, color="#555555", linewidth=1, label=label)
ax.set(xlabel="false negatives, times those of even draws", ylabel="NDCG@20 after training", ylim=(0, None))
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# The count made beforehand put the three in the order in which they came out: even draws reach what all items at once
# reach (0.107), draws by popularity half of it (0.055), the hardest a third (0.039). Hardness says the opposite: the
# hardest of the three is the worst. Two reasons are mixed here. False negatives push away what should be near, and a
# loss that draws popular items more often, without a correction, also learns that popular items are bad. BUIR, which
# draws nothing, cannot make either mistake.

# %% [markdown]
# ## Less of this
#
# Without negatives in training, a wish can still be heard: `less_like` and `more_like` turn a user's vector away from
# an item or towards it, at right angles to what is the user's own; nothing is trained. We take the spectral model from
# above and 60 users, name the first item of each one's list, and look at the new list: how similar is it to that item,
# and what does it cost?

# %%
asked = np.flatnonzero(np.diff(split.test.matrix.indptr))[: 10 if SMOKE else 60].tolist()
first = [guide.recommend(user, N=1)[0].item() for user in asked]
unit = items.numpy()
relevant = split.test.matrix.toarray() > 0


def steered(side, strength):
    """Mean cosine of lists to the item that was named, and test items among 20."""
    lists = [guide.recommend(u, N=20, strength=strength, **{side: [i]})[0] for u, i in zip(asked, first, strict=True)]
    likeness = [(unit[ids] @ unit[item]).mean() for ids, item in zip(lists, first, strict=True)]
    return np.mean(likeness), np.mean([relevant[user, ids].sum() for user, ids in zip(asked, lists, strict=True)])


wishes = pd.DataFrame(
    [(side, w, *steered(side, w)) for side in ("less_like", "more_like") for w in (0, 0.25, 0.5, 1, 2)],
    columns=["wish", "strength", "likeness", "hits"],
)
figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for side, rows in wishes.groupby("wish"):
    for ax, column in zip(axes, ("likeness", "hits"), strict=True):
        ax.plot(rows["strength"], rows[column], marker="o", label=side)
axes[0].set(xlabel="strength", ylabel="mean cosine of the list to the item named", ylim=(0, None))
axes[1].set(xlabel="strength", ylabel="test items among 20", ylim=(0, None))
axes[0].legend(frameon=False)
plt.show()

# %%
wishes.pivot(index="strength", columns="wish", values=["likeness", "hits"]).round(2)

# %% [markdown]
# Both wishes are heard. With `less_like` at 0.5, the default strength, the mean likeness to the item that was named
# falls from 0.35 to 0.19, with `more_like` it rises to 0.46. The price of turning away is what one would expect, since
# the item named was the best guess: 0.90 test items among 20 become 0.68. A little more of the best guess cost nothing
# here (0.93 at 0.25). A wish is not a filter: the item itself may stay in the list. To leave single items out, use
# `filter_items`.

# %% [markdown]
# ## To change
#
# * `nested_split(data, 0.5)` to 0.1 or 1.0: is the order of the samplers the same?
# * `hardest`: 32 or 512 draws in place of 128. How do lift and NDCG@20 move?
# * `correction=1.0` of `Contrastive` without a sampler, and `uniform=64`: drawn candidates, corrected for how often
#   they come up.
# * A sampler of your own: items of the same shelf, or what was shown and not taken. `assess_negatives` counts before
#   you train.
