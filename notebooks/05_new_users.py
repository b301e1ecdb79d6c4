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
# # New users: what are a few items worth?
#
# A user whom training never saw is given by her items, and her lists follow in closed form: this is *folding in*. How
# much worse is that than having trained with her? How many items does it take? And why does she get what she gets?

# %% tags=["parameters"]
SMOKE = False  # True: small and fast, for the tests

# %%
import copy
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from buir import BUIR, baselines, evaluate
from buir.data import datasets

size = (
    {"n_users": 300, "n_items": 100, "n_pairs": 4_500} if SMOKE else {"n_users": 800, "n_items": 300, "n_pairs": 14_000}
)
frame = datasets.load("synthetic", seed=0, **size).to_frame()  # yours: any frame with columns user and item

# %% [markdown]
# ## Strangers
#
# A fifth of the users with at least twelve items leave before anything is trained. Of each, four items are to be found,
# and the rest is told bit by bit.

# %%
LENGTHS = (1, 2, 4, 8)
rng = np.random.default_rng(0)
active = frame["user"].value_counts()
active = active.index[active >= LENGTHS[-1] + 4].to_numpy()
strangers = rng.choice(np.sort(active), size=len(active) // 5, replace=False)
known = frame[~frame["user"].isin(strangers)]
theirs = frame[frame["user"].isin(strangers) & frame["item"].isin(known["item"])]
theirs = theirs.sample(frac=1, random_state=0)
wanted = theirs.groupby("user").head(4)
told = theirs.drop(wanted.index)
print(f"{len(strangers)} strangers; {known['user'].nunique()} users with {len(known):,} pairs to train on")

# %%
model = BUIR(epochs=3 if SMOKE else "auto", seed=0).fit(known, show_progress=False)
popularity = baselines.Popularity().fit(known, show_progress=False)
model

# %% [markdown]
# ## How far is folding in from training?
#
# For every length of history three lists are measured on the same four items: those of the model above with the history
# folded in; those of a model with the same settings that was trained with these histories among its data; and the most
# popular items, for which a history changes nothing but what is left out.

# %%
chosen = {"embedding_dim": model.chosen_.embedding_dim, "uniformity": model.chosen_.uniformity}
chosen |= {"epochs": model.chosen_.epochs, "terms": model.chosen_.strengths, "inner_validation": False, "seed": 0}


def ndcg(lists, history):
    return evaluate(lists, history, wanted, ks=20, metrics=["ndcg"]).means["ndcg_at_20"]


rows = {}
for length in LENGTHS:
    history = told.groupby("user").head(length)
    trained = BUIR(**chosen).fit(pd.concat([known, history]), show_progress=False)
    rows[length] = {
        "trained with them": ndcg(trained.recommend_frame(strangers, k=20), history),
        "folded in": ndcg(model.recommend_frame(histories=history, k=20), history),
        "popularity": ndcg(popularity.recommend_frame(histories=history, k=20), history),
    }
found = pd.DataFrame(rows).T
found["error"] = found["trained with them"] - found["folded in"]

# %%
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
found[["trained with them", "folded in", "popularity"]].plot(
    ax=ax, marker="o", logx=True, color=["C0", "C3", "#7f7f7f"]
)
ax.set(xlabel="items that are known of a stranger", ylabel="NDCG@20", ylim=(0, None))
ax.set_xticks(LENGTHS, LENGTHS)
ax.minorticks_off()
plt.show()

# %%
for length, row in found.iterrows():
    above = "above" if row["folded in"] > row["popularity"] else "not above"
    print(f"{length} told: folding in loses {row['error']:+.4f} NDCG@20 and is {above} popularity")
found.round(4)

# %% [markdown]
# ## Is it worth training on?
#
# `partial_fit` takes the strangers into the model and goes on training for a tenth of the epochs that the fit came to,
# so for none where no training was better than its start; a new fit begins again. Beside what each comes to stand its
# seconds on the clock, for all strangers together.

# %%
history = told.groupby("user").head(LENGTHS[-1])
ways = {}
started = time.perf_counter()
lists = model.recommend_frame(histories=history, k=20)
ways["fold in"] = {"NDCG@20": ndcg(lists, history), "seconds": time.perf_counter() - started}
started = time.perf_counter()
grown = copy.deepcopy(model).partial_fit(history, show_progress=False)
lists = grown.recommend_frame(strangers, k=20)
ways["partial_fit"] = {"NDCG@20": ndcg(lists, history), "seconds": time.perf_counter() - started}
started = time.perf_counter()
again = BUIR(**chosen).fit(pd.concat([known, history]), show_progress=False)
lists = again.recommend_frame(strangers, k=20)
ways["fit anew, same settings"] = {"NDCG@20": ndcg(lists, history), "seconds": time.perf_counter() - started}
print(f"{model.n_users} users before, {grown.n_users} after partial_fit")
pd.DataFrame(ways).T.round(4)

# %% [markdown]
# The table of the model above says after how many epochs validation found it best. Seconds are of the machine that ran
# this.
#
# ## Why this item?
#
# A stranger's score is a sum over her history, the bias and the terms, so that it can be taken apart: here for the first
# item of one list. The contributions add up to its score.

# %%
who = strangers[0]
mine = history[history["user"] == who]
first = model.recommend_frame(histories=mine, k=1)
item, score = first["item"][0], first["score"][0]
parts = model.explain(who, item, histories=mine)
label = parts["part"].where(parts["item"].isna(), "item " + parts["item"].astype(str))
figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
ax.barh(label, parts["contribution"])
ax.invert_yaxis()
ax.set_xlabel(f"contribution to the score of item {item}")
plt.show()

# %%
print(f"the contributions add up to {parts['contribution'].sum():.4g}, the score is {score:.4g}")

# %% [markdown]
# ## Something to change
#
# * Take other strangers: `active` can be the least active users. Does the error grow?
# * Give a history of your own: `model.recommend_frame(histories={"me": [3, 17, 42]})`.
# * Let `partial_fit` train (`epochs=5`): a warning says that validation has found no gain there. Is it right?
