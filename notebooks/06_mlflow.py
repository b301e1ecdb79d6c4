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
# # MLflow from a notebook
#
# A benchmark leaves its runs in a store of MLflow. `buir ui` shows them in a browser; here the same questions are asked
# in Python. Which model is best with few data, and is the difference more than chance? And when one is chosen: how is
# it loaded, given a name, and served?

# %% tags=["parameters"]
SMOKE = False  # True: small and fast, for the tests

# %% [markdown]
# ## Some runs
#
# Four models at three levels of sparsity, each fitted BUIR kept with its run. Any folder that `buir benchmark` wrote
# will do in place of this cell: `RESULTS = Path("results/sweep")`.

# %%
import os
from pathlib import Path

os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}

from buir.experiment import compare, load

RESULTS = Path("results")
changes = ["seeds=[0]", "data.options={n_users: 600, n_items: 400, n_pairs: 9000}"]
models = "{kind: popularity}, {kind: als, name: ALS-terms, params: {terms: auto}}, {kind: buir}"
changes += [f"models=[{models}, {{kind: buir, params: {{encoder: id}}}}]"]
if SMOKE:
    changes += ["data.options={n_users: 120, n_items: 80, n_pairs: 1500, n_groups: 4}", "protocol.levels=[0.3, 1.0]"]
    changes += ["models=[{kind: popularity}, {kind: buir, params: {epochs: 2}}]"]
outcome = compare(load("quickstart", changes), RESULTS, say=lambda line: None)

# %% [markdown]
# ## Search
#
# The store is a file in that folder. A run is one model at one level with one seed, tagged `fit`; what it was given is
# in `params`, what came of it in `metrics`.

# %%
import mlflow

mlflow.set_tracking_uri(f"sqlite:///{RESULTS.resolve() / 'mlflow.db'}")
found = mlflow.search_runs(search_all_experiments=True, filter_string="tags.kind = 'fit'")
runs = found.set_index("run_id")[
    ["params.model", "params.train_pct", "metrics.test/ndcg_at_20", "metrics.test/recall_at_20"]
]
runs.columns = ["model", "train_pct", "ndcg", "recall"]
runs["train_pct"] = runs["train_pct"].astype(float)
runs.pivot(index="model", columns="train_pct", values="ndcg").round(4)

# %%
import matplotlib.pyplot as plt

from buir.plots import model_colours

colours = model_colours(runs["model"])
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
for name, rows in runs.sort_values("train_pct").groupby("model"):
    ax.plot(rows["train_pct"], rows["ndcg"], marker="o", color=colours[name], label=name)
ax.set(xlabel="training data kept, %", ylabel="NDCG@20", ylim=(0, None))
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# With a tenth of the data nobody pulls away: the four lie between 0.081 and 0.086, and popularity is first. With all of
# them the two BUIRs and ALS have twice what popularity has.

# %% [markdown]
# ## Compare
#
# The values of each user are an artifact of each run, so two runs are compared on the same users: the lowest level, the
# best run and the next.

# %%
import pandas as pd


def users_of(run_id):
    """NDCG@20 of each test user of a run."""
    folder = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="users"))
    (file,) = folder.glob("*.parquet")
    return pd.read_parquet(file).set_index("user")["ndcg_at_20"]


lowest = runs[runs["train_pct"] == runs["train_pct"].min()].sort_values("ndcg", ascending=False)
first, second = (users_of(run_id) for run_id in lowest.index[:2])
difference = first - second
error = 1.96 * difference.std() / len(difference) ** 0.5
print(f"{lowest['model'].iloc[0]} minus {lowest['model'].iloc[1]}: {difference.mean():+.4f} ± {error:.4f}")
print(f"better for {(difference > 0).mean():.0%} of the users, worse for {(difference < 0).mean():.0%}, else alike")

# %% [markdown]
# Popularity is ahead by 0.0012 ± 0.0033: that can be chance, and nearly four of five users have the same value with
# both. With so few data there is no winner here, and the cheaper one may serve.

# %% [markdown]
# ## Register
#
# Which of the kept models shall serve? Not the one with the best test values: then these would no longer be honest. The
# one that validates best is given a name and an alias; in a terminal `buir register shop --best-at 100 --alias
# champion`. A later model takes its place when the alias moves, and nobody who asks has to know.

# %%
from buir.experiment.tracking import registry

here = str(Path.cwd())
version = registry.register(RESULTS, "shop", 100, alias="champion", say=lambda line: print(line.replace(here, ".")))

# %% [markdown]
# ## Load
#
# What is loaded takes a frame of users and gives a frame of lists, for batches; or queries one by one, which may be
# strangers with what they like, or leave items out.

# %%
lists = mlflow.pyfunc.load_model("models:/shop@champion")
lists.predict(pd.DataFrame({"user": [7, 12]}), params={"k": 3})

# %%
asked = [{"user": 7}, {"items": [3, 5]}, {"user": 7, "deny": [149]}]
lists.predict(asked, params={"k": 3})

# %% [markdown]
# ## Serve
#
# In a terminal: `mlflow models serve -m models:/shop@champion --env-manager local --port 5001`. Here the same command
# runs beside the notebook, is asked over HTTP, and is stopped.

# %%
import json
import socket
import subprocess
import sys
import time
from urllib.request import Request, urlopen

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
command = f"{sys.executable} -m mlflow models serve -m models:/shop@champion --env-manager local --port {port}"
# in an activated environment the first is so already
found_first = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
environment = os.environ | {"PATH": found_first, "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
with Path("server.log").open("w") as log:
    server = subprocess.Popen(command.split(), env=environment, stdout=log, stderr=log)
try:
    while server.poll() is None:
        try:
            urlopen(f"http://127.0.0.1:{port}/ping")
            break
        except OSError:
            time.sleep(0.5)
    body = json.dumps({"inputs": asked, "params": {"k": 3}}).encode()
    question = Request(f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"})
    for answer in json.load(urlopen(question))["predictions"]:
        print(answer)
finally:
    server.terminate()
    server.wait()

# %% [markdown]
# The same lists as from the loaded model, as JSON, also without 149. `--env-manager local` takes this environment; the
# model's own `requirements.txt` makes another, in which `buir` need not be installed.

# %% [markdown]
# ## To change
#
# * `filter_string="params.model = 'BUIR' and metrics.\"test/ndcg_at_20\" > 0.1"`: which runs are left?
# * `mlflow.MlflowClient().get_metric_history(run_id, name)`: the training, epoch by epoch; `mlflow.get_run(run_id)` has
#   the names.
# * Fit another BUIR, log it with `buir.experiment.serving.log_model(model, registered_model_name="shop")`, move the
#   alias: what does the server answer before it is started again?
