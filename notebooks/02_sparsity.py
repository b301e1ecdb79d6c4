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
# # How much data does a model need?
#
# Three questions about one comparison: which model is best as training data become sparse, for which users, and where
# is BUIR shown to pay for its seconds? All models are fitted on the same splits and measured on the same test pairs:
# only the training data shrink.

# %% tags=["parameters"]
SMOKE = False  # True: small and fast, for the tests

# %%
DATA = "{dataset: synthetic, options: {n_users: 800, n_items: 400, n_pairs: 16000}}"
# yours: DATA = "{path: /where/it/is/ratings.csv, min_rating: 4}"

# %%
import os
import warnings

warnings.filterwarnings("ignore", message="IProgress not found")  # bars of other libraries, without ipywidgets
os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}

import matplotlib.pyplot as plt
import pandas as pd

from buir import plots
from buir.experiment import Results, compare, load

changes = [f"data=[{DATA}]", "protocol.levels=[0.1, 0.3, 1.0]", "seeds=[0, 1]", "log_models=false"]
changes += ["models=[{kind: popularity}, {kind: als}, {kind: item-knn}, {kind: buir}]"]
if SMOKE:
    changes[0] = "data=[{dataset: synthetic, options: {n_users: 200, n_items: 150, n_pairs: 3000}}]"
    changes[1:3] = ["protocol.levels=[0.3, 1.0]", "seeds=[0]"]
    changes[-1] = (
        "models=[{kind: popularity}, {kind: als}, {kind: buir, params: {epochs: 1, terms: {popularity: 0.3}}}]"
    )

said = []  # tables of all metrics, which are left aside here
compare(load("quickstart", changes), "results", say=said.append)
results = Results.open("results")
runs = results.frame()
print(f"{len(runs)} runs of {runs['model'].nunique()} models at {runs['train_pct'].nunique()} levels")

# %% [markdown]
# ## Which model is best at which level?
#
# Lines are means over the runs, dots are single runs. Popularity hardly needs data; a model that learns tastes does.

# %%
plots.sparsity_curves(results)

# %%
means = runs.pivot_table("ndcg_at_20", "model", "train_pct")
for level, column in means.items():
    print(f"at {level:g} % of the training data the highest mean NDCG@20 is {column.max():.4f}, of {column.idxmax()}")
means.round(4)

# %% [markdown]
# ## For which users?
#
# The mean hides who is served. Left the sparsest level, right all data: users with few training pairs stand left in
# each picture, with intervals of 95 % over users.

# %%
users = results.users()
levels = sorted(users["train_pct"].unique())
figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained", sharey=True)
for ax, level in zip(axes, (levels[0], levels[-1]), strict=True):
    plots.user_activity(users[users["train_pct"] == level], ax=ax)
    ax.set_title(f"{level:g} % of the training data")
plt.show()

# %% [markdown]
# ## Where does BUIR pay?
#
# At each level BUIR stands against the best of the others, user by user: the mean difference in NDCG@20 with an interval
# of 95 %, and what the fits cost. A difference is *shown* where its interval leaves out 0.


# %%
def gain(level):
    here = users[users["train_pct"] == level].pivot_table("ndcg_at_20", "user", "model")  # mean over seeds
    rival = here.drop(columns="BUIR").mean().idxmax()
    difference = here["BUIR"] - here[rival]
    half = 1.96 * difference.std() / len(difference) ** 0.5
    seconds = runs[runs["train_pct"] == level].groupby("model")["fit_s"].mean()
    told = {"best of the others": rival, "difference": difference.mean(), "half": half}
    return told | {"its seconds": seconds[rival], "BUIR's seconds": seconds["BUIR"]}


gains = pd.DataFrame({f"{level:g} %": gain(level) for level in levels}).T
figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
ax.errorbar(gains.index, gains["difference"].astype(float), yerr=gains["half"].astype(float), fmt="o", capsize=4)
ax.axhline(0, color="#999999", linewidth=1)
ax.set(xlabel="training data kept", ylabel="NDCG@20, BUIR minus the best other")
plt.show()

# %%
for level, row in gains.iterrows():
    low, high = row["difference"] - row["half"], row["difference"] + row["half"]
    word = "above" if low > 0 else "below" if high < 0 else "not shown to differ from"
    print(f"at {level} BUIR is {word} {row['best of the others']}: {row['difference']:+.4f} [{low:+.4f}, {high:+.4f}]")
gains.drop(columns="half")

# %% [markdown]
# These intervals are of single looks. `buir report` corrects for looking often, adds the chance of splits and seeds, and
# gives a verdict for each pair of models.
#
# ## Something to change
#
# * `DATA`: your own file; does the crossing of the curves move?
# * `protocol.levels`: add 0.03. Which model is left when nearly nothing is?
# * `models`: add `{kind: ease}` or `{kind: buir, params: {encoder: graph}}`, and run the cells again: finished runs are
#   read, only the new ones are fitted.
