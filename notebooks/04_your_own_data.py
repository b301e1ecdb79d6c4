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
# # Your own data, and an honest decision
#
# A log file as it comes: a shop's events, with rows twice, a header in the middle and blanks where there should be
# none. Which model should serve it, and is BUIR worth having there? The way: read it, look at what was read, split it
# by time, compare, decide. And then the same for a second shop, where the answer is another.

# %% tags=["parameters"]
SMOKE = False  # True: small and fast, for the tests
LOG = "shop.csv"  # made below; name your own file here, and its columns in FORM

# %% [markdown]
# ## A log
#
# Two shops with the same traffic. In the first, people buy by taste; in the second, nearly everybody buys what is
# popular. In both they look at anything. Skip this cell with a file of your own.

# %%
from pathlib import Path

import numpy as np
import pandas as pd

from buir.data import datasets

size = (
    {"n_users": 250, "n_items": 150, "n_pairs": 3_000}
    if SMOKE
    else {"n_users": 1_500, "n_items": 800, "n_pairs": 24_000}
)


def write_log(file, no_taste):
    """Write a log of events; ``no_taste`` is the share of purchases that follow popularity alone."""
    rng = np.random.default_rng(0)
    bought = datasets.load("synthetic", noise=no_taste, seed=0, **size).to_frame()
    bought["event"] = rng.choice(["cart", "buy"], size=len(bought), p=[0.4, 0.6])
    viewed = datasets.load("synthetic", noise=1.0, seed=1, **size).to_frame().assign(event="view")
    log = pd.concat([bought, viewed, bought.sample(300, random_state=0)]).sort_values("time", kind="stable")
    lines = [f"{row.time};v{row.user};P{row.item:04d};{row.event}" for row in log.itertuples(index=False)]
    lines[1000] = lines[1000].replace(";P", "; P")  # a blank before an id
    lines[2000] = lines[2000].replace(lines[2000].split(";")[1], "")  # nobody
    header = "timestamp;visitor id;product;event"
    Path(file).write_text("\n".join([header, *lines[:3000], header, *lines[3000:]]) + "\n")


write_log("shop.csv", no_taste=0.1)
write_log("crowd.csv", no_taste=0.95)
print("\n".join(Path(LOG).read_text().splitlines()[:4]))

# %% [markdown]
# ## What does the doctor say?
#
# `read` repairs nothing silently. What it cannot know is an error of one sentence, what it could read in two ways is a
# warning. We go on until it has nothing more to ask.

# %%
import warnings

from buir.data import describe, read


def attempt(**form):
    """Read the log, and say what was said about it."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found = read(LOG, **form)
        except ValueError as error:
            return print("error:  ", error)
    for warning in said:
        print("warning:", warning.message)
    print(describe(found))
    return None


attempt()

# %%
FORM = {"columns": {"user": "visitor id", "item": "product", "time": "timestamp"}}
attempt(**FORM)

# %%
FORM |= {"drop_missing": True}
attempt(**FORM)

# %% [markdown]
# Two errors, two warnings, and then it has nothing more to ask: a row without a user is left out, the header in the
# middle is left out, and the blank before one id is taken away; all is counted. The most important thing it cannot
# know: these are events, and half of them are views. What counts as a positive is your decision.

# %%
FORM |= {"where": {"event": ["cart", "buy"]}}
attempt(**FORM)

# %% [markdown]
# ## What will be asked of the model?
#
# Lists for tomorrow, from what was known yesterday. So the split is by time: one moment for everybody, training before
# it, the test after it. The splits that draw at random let a model learn from the future of other users.

# %%
import matplotlib.pyplot as plt

from buir.data import time_split

from buir.errors import AmbiguousFileWarning

warnings.simplefilter("ignore", AmbiguousFileWarning)  # it has been said, and is meant
data = read(LOG, **FORM)
split = time_split(data)
print(split)

day = 86_400
start = data.times.min()
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
parts = {"train": split.train, "valid": split.valid, "test": split.test}
days = [(part.times - start) / day for part in parts.values()]
left.hist(days, bins=np.arange(0, (data.times.max() - start) / day + 2, 2), label=list(parts), stacked=True)
left.set(xlabel="day", ylabel="pairs in two days")
left.legend(loc="lower left")
known = np.diff(split.train.matrix.indptr)
right.hist(known, bins=np.arange(0, 61, 2))
right.set(xlabel="training pairs of a user", ylabel="users")
plt.show()
print(f"{(known < 3).mean():.0%} of the users have fewer than 3 training pairs, the median is {np.median(known):g}")

# %% [markdown]
# The test part is 2,393 pairs of the last days; 9 pairs were left out, since nobody knew their users before. Traffic is
# even, so that the last days are like the others. Half of the users have at most 9 training pairs: little, but hardly
# anybody has fewer than 3. Whether that is enough for taste is for the comparison to say.

# %% [markdown]
# ## Which model?
#
# The cheap ones first: popularity, item neighbours, a linear model, ALS with the same terms of the score as BUIR; then
# BUIR. The same split, the same ranking, the same users for all. In a terminal: `buir benchmark mine.yaml`.

# %%
import os

import yaml

from buir import BUIR

os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}

from buir.experiment import compare, load

models = [
    {"kind": "popularity"},
    {"kind": "item-knn"},
    {"kind": "ease"},
    {"kind": "als", "name": "ALS-terms", "params": {"terms": "auto"}},
    {"kind": "buir", "params": {"epochs": 2} if SMOKE else {}},
]
shops = [{"path": file, **FORM} for file in (LOG, "crowd.csv")]
shared = {"protocol": {"kind": "time"}, "metrics": {"ks": [20]}, "models": models}
Path("mine.yaml").write_text(yaml.safe_dump({"name": "mine", "data": shops, **shared}))
outcome = compare(load("mine.yaml"), "results", say=lambda line: None)

# %% [markdown]
# `*` is the highest mean, `≈` what was not shown to be worse, by a paired test over the same users:

# %%
from IPython.display import Markdown

Markdown(Path("results", "tables", f"{Path(LOG).stem}.md").read_text().split("| seconds |")[0])

# %% [markdown]
# Whom does it help? The users by what was known of them:

# %%
from buir import plots
from buir.experiment import Results

users = Results.open("results").users()
figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
for ax, (name, part) in zip(axes, users.groupby("dataset", sort=False), strict=True):
    plots.user_activity(part, n_groups=4, ax=ax)
    ax.get_legend().remove()
    ax.set_title(name)
figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
plt.show()

# %% [markdown]
# The left picture is your shop. The right one is the other: the same sizes, the same traffic, another answer. A rule
# that can be written down before looking: take the cheapest model whose difference from the best one could be chance.

# %%
costs = outcome.frame().set_index(["dataset", "model"])
for name, part in users.groupby("dataset", sort=False):
    values = part.pivot(index="user", columns="model", values="ndcg_at_20")
    best = values.mean().idxmax()
    behind = values.rsub(values[best], axis=0)
    table = pd.DataFrame(
        {
            "NDCG@20": values.mean(),
            f"behind {best}": behind.mean(),
            "± 95 %": 1.96 * behind.std() / len(values) ** 0.5,
            "fit, s": costs.loc[name, "fit_s"],
        }
    )
    may_be_chance = table[f"behind {best}"] <= table["± 95 %"]
    table["take"] = ""
    table.loc[table.loc[may_be_chance, "fit, s"].idxmin(), "take"] = "this one"
    print(name, table.round(3).sort_values("NDCG@20", ascending=False), "", sep="\n")

# %% [markdown]
# In the shop BUIR is first, 0.023 ± 0.008 ahead of the next one, which is a ninth of that one's NDCG@20, and it costs
# seconds where that one takes a tenth of a second. Its mean is the highest in each of the four groups of users. In the
# crowd BUIR has the highest mean as well, by less than 0.001: popularity, which takes no time and hardly a model, is as
# good. There BUIR does not pay. Item neighbours and EASE, which have no way to fall back on popularity, are behind.
#
# Two cautions. Five models looked at one test part: the best of five is a little flattered. And with few test users a
# tie is easily had: look at the ± before you believe in one.

# %% [markdown]
# ## When it is decided
#
# The model that serves is fitted on everything, without a test part: `fit` holds some pairs out inside, decides by
# them, and trains again on all.

# %%
model = BUIR(epochs=2 if SMOKE else "auto").fit(data, show_progress=False)
print(model.chosen_)
model.recommend_frame(users=data.user_ids[:2], k=3)

# %%
model.save("shop.safetensors")
print(f"{Path('shop.safetensors').stat().st_size / 1024:.0f} KiB, without pickle")

# %% [markdown]
# `0 epochs`: no training was better on the held-out pairs than the spectral start with its terms. On this log that is
# where the gain comes from, and `BUIR(epochs=0)` would save the time of trying.

# %% [markdown]
# ## To change
#
# * `no_taste` of the first shop to 0.5, or `n_pairs` to 8,000: from which point on is popularity enough?
# * `"where": {"event": ["buy"]}`: fewer pairs, surer ones. Better or worse?
# * `"core": 5` in `FORM`: only users and items with five pairs. Who is left, and whom does the answer still concern?
# * `{"kind": "nested", "levels": [0.2, 1.0]}` as the protocol: what would a fifth of the data have done?
