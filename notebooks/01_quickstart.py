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
# # From a data frame to recommendations, and to a comparison
#
# `buir` learns from positives alone: rows that say which user had which item. This notebook fits a model on a data frame, asks it for
# recommendations, measures it, and compares it with other models as the data become sparse.

# %% tags=["parameters"]
SMOKE = False  # True: small and fast, for the tests

# %% [markdown]
# ## Data
#
# Any data frame with a column `user` and a column `item` will do; `rating` and `time` are read where they exist. Here we generate one, with
# long-tailed popularity and users that share tastes.

# %%
from buir import BUIR, Interactions, evaluate
from buir.data import datasets, nested_split

size = (
    {"n_users": 200, "n_items": 150, "n_pairs": 3_000}
    if SMOKE
    else {"n_users": 2_000, "n_items": 1_000, "n_pairs": 40_000}
)
frame = datasets.load("synthetic", seed=0, **size).to_frame()
frame.head()

# %%
data = Interactions.from_frame(frame)
data

# %% [markdown]
# ## A model
#
# `nested_split` puts a tenth of each user's items aside for validation, and a tenth for the test. With `valid`, training stops when the
# validation metric no longer improves, and keeps the best weights. The test part is read once, at the end.

# %%
split = nested_split(data, 1.0, seed=0)
model = BUIR(epochs=5 if SMOKE else 60, seed=0).fit(split.train, split.valid)
evaluation = evaluate(model, split.train, split.test, valid=split.valid, ks=(20,), metrics=["recall", "ndcg"])
{name: round(value, 4) for name, value in evaluation.means.items()}

# %% [markdown]
# ## Recommendations
#
# As a data frame with the raw ids, or, by `recommend`, as arrays of rows with the signature of `implicit`'s models. Nothing seen is
# recommended.

# %%
model.recommend_frame(users=data.user_ids[:3], k=5)

# %%
ids, scores = model.recommend(range(model.n_users), N=5)
model.item_ids_[ids[:3]]

# %%
model.similar_items_frame(model.item_ids_[ids[0, 0]], k=5)

# %% [markdown]
# ## Watching the training
#
# `history` has one record for each validation. The effective rank says how many directions the vectors really use: a low one is a collapse,
# which the loss does not show.

# %%
import pandas as pd

history = pd.DataFrame(model.history).set_index("epoch")
history[["loss", "ndcg_at_20", "effective_rank", "seconds"]].tail()

# %% [markdown]
# ## A comparison
#
# The same as `buir benchmark configs/quickstart.yaml`, with one seed instead of three: every model is fitted on the same splits at several
# sparsity levels, ranked by the same code and measured for the same users. Results are kept in the folder; running the cell again reads them.

# %%
import os
import warnings

warnings.filterwarnings("ignore", message="IProgress not found")  # bars of other libraries, without ipywidgets
os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}

from buir.experiment import compare, load

changes = ["seeds=[0]"]
if SMOKE:
    changes += ["protocol.levels=[0.5, 1.0]", "data.options={n_users: 200, n_items: 150, n_pairs: 3000}"]
    changes += ["models=[{kind: popularity}, {kind: als}, {kind: buir, params: {epochs: 3}}]"]
outcome = compare(load("quickstart", changes), "results", say=print)

# %% [markdown]
# The figure shows the mean over the test users at each share of training data, with 95 % intervals.

# %%
from pathlib import Path

from IPython.display import Image

(figure,) = Path("results", "figures").glob("*-sparsity.png")
Image(figure, width=900)
