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
# # Inside BUIR: what keeps it from collapsing?
#
# BUIR only draws partners together; nothing pushes anything apart. Giving every user and item the same vector would make
# that loss zero. So: what does a collapse look like, which numbers show it, and what is left for popularity to do?

# %% tags=["parameters"]
SMOKE = False  # True: small and fast, for the tests

# %%
import warnings

import matplotlib.pyplot as plt
import pandas as pd

from buir import BUIR, evaluate, plots
from buir.data import datasets, nested_split

size = (
    {"n_users": 200, "n_items": 150, "n_pairs": 3_000} if SMOKE else {"n_users": 600, "n_items": 300, "n_pairs": 10_000}
)
data = datasets.load("synthetic", seed=0, **size)  # yours: data = buir.data.read("ratings.csv", min_rating=4)
split = nested_split(data, 1.0, seed=0)
data

# %% [markdown]
# ## A collapse, made to happen
#
# Both models are trained as in the paper, with a predictor and a slow target, from a random start. They have the same
# width and no terms. The second one looks twelve steps far into the
# graph, where every neighbourhood is nearly everybody. What the fits warn of is printed.

# %%
plain = {"encoder": "graph", "start": "random", "predictor": "linear", "momentum": 0.995, "terms": {}}
plain |= {"uniformity": 0.0, "embedding_dim": 32}
COLLAPSE = {"n_layers": 12}
plain |= {"epochs": 4, "patience": 4} if SMOKE else {"epochs": 20, "patience": 20}
models = {"sound": BUIR(**plain), "collapsed": BUIR(**plain | COLLAPSE)}
for name, model in models.items():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(split.train, split.valid, show_progress=False)
    print(f"{name}: {'; '.join(str(one.message) for one in caught) or 'no warning'}")
models["sound"]

# %%
figure, axes = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    plots.history(model, ax=ax)
    ax.set_title(name)
plt.show()

# %% [markdown]
# ## Which numbers show it?
#
# The *spectrum* of the item vectors: how much of them lies in each direction. The effective rank says how many directions
# are really used. The other sign is in the lists: how many different items do they show? The metric says less: a list
# that is the same for everybody still finds what is popular.

# %%
plots.spectrum(models)

# %%
last = pd.DataFrame({name: model.history[-1] for name, model in models.items()})
last = last.loc[["loss", "ndcg_at_20", "effective_rank", "alignment", "uniformity", "catalogue_share"]].astype(float)
for name, model in models.items():
    lists = model.recommend_frame(k=10)
    last.loc["different items in all lists", name] = lists["item"].nunique()
last.round(3)

# %% [markdown]
# The table is of users and items together after the last epoch; the lists, and the spectrum of the items, are those of
# the best one, which is what `fit` keeps.
#
# ## Alignment and uniformity
#
# Alignment is the mean squared distance between the directions of partners, 0 where they are the same. Uniformity says
# how evenly all directions are spread: 0 where everything points one way, lower where it is spread. The two pull against
# each other: the sound fit gives up some alignment for spread, the collapse all spread for alignment. Dots are epochs,
# the star is the last.

# %%
figure, ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
for (name, model), colour in zip(models.items(), ("C0", "C1"), strict=True):
    path = pd.DataFrame(model.history)[["uniformity", "alignment"]].to_numpy()
    ax.plot(*path.T, marker="o", markersize=3, color=colour, label=name)
    ax.plot(*path[-1], marker="*", markersize=14, color=colour)
ax.set(xlabel="uniformity (left: spread evenly)", ylabel="alignment of observed pairs (low: near)")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Where the items lie
#
# The plane in which the directions of the item vectors differ most, coloured by their training pairs. Compare the numbers
# on the axes: after a collapse there is hardly a difference left to draw.

# %%
figure, axes = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    plots.item_map(model, ax=ax)
    ax.set_title(name)
plt.show()

# %% [markdown]
# ## What is left for popularity?
#
# The score of BUIR has terms beside the inner product, each with a strength that is chosen on held-out pairs. How strong
# must popularity be as the data become sparse? Here only the spectral start is scored (`epochs=0`), with the terms and
# without, beside popularity alone.

# %%
from buir import baselines

rows = {}
for level in (0.3, 1.0) if SMOKE else (0.1, 0.3, 1.0):
    part = nested_split(data, level, seed=0)
    start = {"epochs": 0, "embedding_dim": 16 if SMOKE else 32, "uniformity": 0.0}
    ways = {"with terms": BUIR(**start), "without terms": BUIR(**start, terms={}), "popularity": baselines.Popularity()}
    rows[100 * level] = {
        name: evaluate(
            way.fit(part.train, part.valid, show_progress=False), part.train, part.test, valid=part.valid
        ).means["ndcg_at_20"]
        for name, way in ways.items()
    }
    rows[100 * level] |= {"strength of popularity": ways["with terms"].terms_.strengths.get("popularity", 0.0)}
found = pd.DataFrame(rows).T
found.index.name = "training data kept, %"
found

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
found["strength of popularity"].plot(ax=left, marker="o", color="#7f7f7f", logy=True, ylabel="strength of popularity")
found[["with terms", "without terms", "popularity"]].plot(
    ax=right, marker="o", color=["#d62728", "#1f77b4", "#7f7f7f"], ylabel="NDCG@20 on test pairs"
)
right.set_ylim(bottom=0)
plt.show()

# %%
for level, row in found.iterrows():
    print(f"at {level:g} %: popularity has strength {row['strength of popularity']:g}; the terms add", end=" ")
    print(f"{row['with terms'] - row['without terms']:+.4f} NDCG@20, popularity alone has {row['popularity']:.4f}")

# %% [markdown]
# Where popularity is so strong that the metric is that of popularity alone, the model is little else: `model.chosen_`
# says so, and every table of a fitted model shows it.
#
# ## Something to change
#
# * `COLLAPSE`: from how many layers on? Add `"uniformity": 0.3`: does it stay? Take a `weight_decay` of 0.3 with a
#   `learning_rate` of 0.01 instead: which numbers show that one?
# * `plain`: take `"start": "spectral"`. Where does the path of alignment and uniformity begin then?
# * `plain`: take `"predictor": "none"`. What happens without uniformity, and what with `"uniformity": 0.1`?
# * `data`: your own file. Is popularity's strength larger at 10 % there as well?
