"""BUIR behind MLflow: loaded in this process, and asked over HTTP."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest

from buir import BUIR, Interactions
from tests.support.factors import Svd

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own, on import
    import mlflow.pyfunc

    from buir.experiment import serving

USERS = ["ann", "ann", "ann", "bob", "bob", "cat", "cat", "dan", "dan", "eve"]
ITEMS = [10, 20, 30, 10, 30, 40, 50, 40, 60, 60]
# Training users: 10: ann bob; 20: ann; 30: ann bob; 40: cat dan; 50: cat; 60: dan eve.
POPULAR = [10, 30, 40, 60, 20, 50]


def fitted(users=USERS, items=ITEMS, **settings) -> BUIR:
    made = {"encoder": "graph", "embedding_dim": 4, "epochs": 5, "batch_size": 5, "learning_rate": 0.01} | settings
    model = BUIR(**made, device="cpu")
    return model.fit(Interactions.from_pairs(users, items), show_progress=False)


@pytest.fixture(scope="module")
def model() -> BUIR:
    return fitted()


def save(model: BUIR, folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        serving.save_model(model, folder)
    return folder


def load(folder: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mlflow.pyfunc.load_model(str(folder))


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory) -> Path:
    return save(model, tmp_path_factory.mktemp("served") / "model")


@pytest.fixture(scope="module")
def served(folder):
    return load(folder)


def listed(model: BUIR, **options) -> tuple[list, list]:
    frame = model.recommend_frame(**options)
    return frame["item"].tolist(), frame["score"].tolist()


def test_known_users_get_the_models_lists(served, model):
    answers = served.predict([{"user": "cat"}, {"user": "ann"}, {"user": "cat"}], params={"k": 3})
    for user, answer in zip(["cat", "ann", "cat"], answers, strict=True):
        items, scores = listed(model, users=[user], k=3)
        assert (answer.items, answer.source) == (items, "user")
        np.testing.assert_allclose(answer.scores, scores, rtol=1e-6)


def test_terms_of_the_score_are_served_too(tmp_path):
    strengths = {"filter": 5.0, "popularity": 0.5, "block": 1.0, "sharp_block": 0.5, "dial": 0.5, "norm": -0.5}
    model = fitted(terms=strengths)
    without = fitted().recommend_frame(k=3)
    loaded = load(save(model, tmp_path / "served"))
    answers = loaded.predict([{"user": user} for user in ("dan", "ann", "dan")], params={"k": 3})
    for user, answer in zip(("dan", "ann", "dan"), answers, strict=True):
        frame = model.recommend_frame(users=[user], k=3)
        assert answer.items == frame["item"].tolist()
        assert answer.scores == pytest.approx(frame["score"].tolist(), rel=1e-5)
        assert answer.scores != pytest.approx(without.loc[without["user"] == user, "score"].tolist(), rel=1e-2)
    (told,) = loaded.predict([{"items": [10, 30]}], params={"k": 3})
    frame = model.recommend_frame(histories={"new": [10, 30]}, k=3)
    assert told.scores == pytest.approx(frame["score"].tolist(), rel=1e-5)


def test_histories_get_lists_without_training(served, model):
    new, known = served.predict([{"items": [10, 50]}, {"user": "ann", "items": [60]}], params={"k": 2})
    items, scores = listed(model, histories={"new": [10, 50]}, k=2)
    assert (new.items, new.source) == (items, "history")
    np.testing.assert_allclose(new.scores, scores, rtol=1e-6)
    # Neither what training saw of a known user nor what the query says is listed.
    assert known.items == listed(model, users=["ann"], histories={"ann": [60]}, k=2)[0]
    assert set(known.items) == {40, 50}


def test_unknown_users_are_answered(served):
    asked = [
        {"user": "nobody"},
        {},
        {"user": "nobody", "items": [999]},
        {"user": "nobody", "deny": [30], "allow": [30, 50, 40]},
    ]
    answers = served.predict(asked, params={"k": 4})
    assert [answer.items for answer in answers] == [POPULAR[:4]] * 3 + [[40, 50]]
    assert {answer.source for answer in answers} == {"popular"}
    assert all(answer.scores == [] for answer in answers)
    answers = served.predict(asked, params={"unknown": "empty"})
    assert [(answer.items, answer.source) for answer in answers] == [([], "none")] * 4


def test_allow_and_deny(served, model):
    everything = listed(model, users=["ann"], k=6)[0]
    free, denied, allowed, nothing = served.predict(
        [
            {"user": "ann"},
            {"user": "ann", "deny": everything[:1]},
            {"user": "ann", "allow": everything[1:2]},
            {"user": "ann", "allow": []},
        ]
    )
    assert free.items == everything
    assert denied.items == everything[1:]
    assert allowed.items == everything[1:2]
    assert nothing.items == []


def test_queries_are_turned_each_in_its_own_way(served, model):
    turn = {"less_like": [30], "more_like": [60], "strength": 0.8}
    queries = [{"user": "ann"}, {"user": "ann"} | turn, {"items": [40]} | turn, {"user": "ann", "less_like": [50]}]
    answers = served.predict(queries, params={"k": 3})
    expected = [
        listed(model, users="ann", k=3),
        listed(model, users="ann", k=3, **turn),
        listed(model, histories={"new": [40]}, k=3, **turn),
        listed(model, users="ann", k=3, less_like=50),
    ]
    for answer, (items, scores) in zip(answers, expected, strict=True):
        assert answer.items == items
        np.testing.assert_allclose(answer.scores, scores, rtol=1e-5)
    assert answers[1].scores != answers[0].scores


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"user": "ann", "less_like": [99]}, "less_like of query 0 (from 0) holds 99, an item unknown to the model"),
        (
            {"user": "ann", "less_like": [10], "strength": -1.0},
            "strength of query 0 (from 0) is -1.0; expected a number",
        ),
        ({"user": "ann", "less_like": [10], "strength": 2e6}, "expected a number from 0 to 1,000,000, such as 0.5"),
        (
            {"user": "zoe", "more_like": [10]},
            "has less_like or more_like and is of user 'zoe', of whom no pair is known",
        ),
        ({"items": [99], "more_like": [10]}, "has less_like or more_like and names no user, of whom no pair is known"),
    ],
)
def test_what_cannot_be_turned_is_said(served, query, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        served.predict([query])


def test_somebody_unknown_gets_nothing_turned_where_nothing_is_asked_for(served):
    asked = [{"user": "zoe", "less_like": [30]}, {"user": "ann", "less_like": [30]}]
    empty, turned = served.predict(asked, params={"unknown": "empty"})
    assert (empty.items, empty.source) == ([], "none")
    assert turned.items == served.predict(asked[1:])[0].items


def test_order_and_mixture(served):
    asked = [{"user": "nobody"}, {"user": "ann"}, {"items": [10]}, {"user": "bob", "allow": [60]}, {"user": "eve"}]
    answers = served.predict(asked)
    assert [answer.source for answer in answers] == ["popular", "user", "history", "user", "user"]
    single = [served.predict([query])[0] for query in asked]
    assert [answer.items for answer in answers] == [answer.items for answer in single]
    assert served.predict([]) == []


@pytest.mark.parametrize("params", [{"k": 0}, {"unknown": "zero"}])
def test_wrong_params(served, params):
    with pytest.raises(ValueError, match=r"expected k of at least 1, and unknown 'popular' or 'empty'"):
        served.predict([{"user": "ann"}], params=params)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ([{"user_id": "ann"}], "a query has 'user_id'; expected user, items, .*; did you mean 'user'"),
        ([{"items": ["ten"]}], "items holds 'ten'; the model's ids are integers such as 10"),
        ([{"items": 10}], "items of query 0 .* is 10; expected a list of item ids"),
        ([{"user": "ann"}, {"user": "bob", "strength": "far"}], "strength of query 1 .* is 'far'; expected a number"),
        (["ann"], "got 'ann' of type str; expected a data frame .* or a list of queries"),
        ([{"items": [10, None]}], "items holds a missing value"),
        (pd.DataFrame({"person": ["ann"]}), "the frame has the columns person; expected user, items or both"),
        (pd.DataFrame({"items": [[10.5]]}), "items holds 10.5; the model's ids are integers"),
        (pd.DataFrame({"items": [[2.0**53]]}), "9007199254740992 came as a float, .* several ids"),
        (pd.DataFrame([["ann", "bob"]], columns=["user", "user"]), "the column user twice"),
    ],
)
def test_what_is_no_question_is_refused_in_a_sentence(served, asked, words):
    # MLflow's own error: its server answers such a one with status 400 and without a traceback
    with pytest.raises(mlflow.exceptions.MlflowException, match=words) as raised:
        served.predict(asked)
    assert isinstance(raised.value, ValueError)


def test_a_frame_is_answered_with_a_frame(served, model):
    people = ["cat", "ann", "cat"]
    asked = pd.DataFrame({"age": [1, 2, 3], "user": people}, index=[7, 7, 9])
    found = served.predict(asked, params={"k": 3})
    assert list(found.columns) == ["user", "item", "score", "rank", "source", "query"]
    for number, user in enumerate(people):
        mine = found[found["query"] == number]
        items, scores = listed(model, users=[user], k=3)
        assert mine["item"].tolist() == items
        np.testing.assert_allclose(mine["score"].to_numpy(), scores, rtol=1e-6)
        assert mine["rank"].tolist() == list(range(1, len(items) + 1))
        assert set(mine["user"]) == {user}
    assert set(found["source"]) == {"user"}
    assert found["item"].dtype == np.int64
    assert found["score"].dtype == np.float32


def test_a_frame_may_have_every_column_of_a_query(served):
    queries = [
        {"user": "ann"},
        {"items": [10, 50]},
        {"user": "nobody", "deny": [30], "allow": [30, 50, 40]},
        {"user": "ann", "less_like": [30], "more_like": [60], "strength": 0.8},
        {"user": "bob", "allow": []},
        {"user": "cat", "items": [999]},
    ]
    lists = served.predict(queries, params={"k": 3})
    # pandas writes what is missing as None or NaN, and so turns integers into floats
    frame = pd.DataFrame(queries)
    frame["items"] = [np.array(items, dtype=float) if isinstance(items, list) else items for items in frame["items"]]
    found = served.predict(frame, params={"k": 3})
    for number, answer in enumerate(lists):
        mine = found[found["query"] == number]
        assert mine["item"].tolist() == answer.items
        assert set(mine["source"]) <= {answer.source}
        assert [score for score in mine["score"].tolist() if score is not None] == pytest.approx(answer.scores)
    assert [answer.source for answer in lists] == ["user", "history", "popular", "user", "user", "user"]
    # JSON knows neither NaN nor a missing user
    text = json.dumps(found.to_dict(orient="records"), allow_nan=False)
    assert '"user": null' in text
    assert '"score": null' in text


def test_empty_questions_have_empty_answers(served):
    assert served.predict([]) == []
    assert len(served.predict(pd.DataFrame({"user": []}))) == 0
    assert len(served.predict(pd.DataFrame({"user": ["nobody"]}), params={"unknown": "empty"})) == 0


@pytest.mark.parametrize("form", ["queries", "frame"])
def test_ids_come_back_in_the_forms_that_pandas_gives_them(tmp_path, form):
    number = {"ann": 1, "bob": 2, "cat": 3, "dan": 4, "eve": 5}
    model = fitted([number[user] for user in USERS], [f"{item}" for item in ITEMS])
    lists = serving.Lists(model)

    def items_of(users) -> list:
        if form == "frame":
            found = lists.answer(pd.DataFrame({"user": users}), {"k": 2})
            return found.groupby("query")["item"].agg(list).tolist()
        values = users.tolist() if isinstance(users, pd.Series | np.ndarray) else users
        return [answer.items for answer in lists.answer([{"user": user} for user in values], {"k": 2})]

    expected = [listed(model, users=[user], k=2)[0] for user in (3, 1)]
    for users in (
        [3, 1],
        pd.Series([3, 1], dtype="Int64"),
        pd.Series([3, 1], dtype="uint8"),
        pd.Series([3.0, 1.0]),
        ["3", " 1"],
        pd.Series([3, 1]).astype("category"),
    ):
        assert items_of(users) == expected
    popular = [str(item) for item in POPULAR[:2]]
    for missing in (pd.Series([3, None, 1]), pd.Series([3, None, 1], dtype="Int64")):
        assert items_of(missing) == [expected[0], popular, expected[1]]
    # item ids that are texts
    (answer,) = lists.answer([{"items": [10.0, 30]}], {"k": 2})
    assert answer.items == listed(model, histories={"new": ["10", "30"]}, k=2)[0]
    with pytest.raises(serving.QueryError, match=r"user holds 1.5; the model's ids are integers"):
        items_of([1.5])
    with pytest.raises(serving.QueryError, match="came as a float"):
        items_of([1e17])


def test_the_signature_says_what_comes_out_of_a_frame(served, tmp_path):
    def types(loaded) -> dict:
        return {column["name"]: column["type"] for column in loaded.metadata.signature.outputs.to_dict()}

    rest = {"score": "float", "rank": "integer", "source": "string", "query": "long"}
    assert types(served) == {"user": "string", "item": "long"} | rest
    # a schema of what goes in would make frames of queries, and refuse integers that came as floats
    assert served.metadata.signature.inputs is None
    assert {param.name: param.default for param in served.metadata.signature.params} == {"k": 10, "unknown": "popular"}


def test_integer_users_and_text_items(tmp_path):
    model = fitted([ord(user[0]) for user in USERS], [f"i{item}" for item in ITEMS])
    served = load(save(model, tmp_path / "model"))
    (answer, stranger) = served.predict([{"user": ord("a")}, {"items": ["i10"]}], params={"k": 1})
    assert answer.items == listed(model, users=[ord("a")], k=1)[0]
    assert stranger.source == "history"


def test_no_pickle_and_slim_requirements(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"artifacts/model.safetensors", "artifacts/buir.zip", "served.py"} <= names
    assert not [name for name in names if name.endswith(".pkl")]
    with ZipFile(folder / "artifacts" / "buir.zip") as archive:
        inside = archive.namelist()
    assert {"buir/__init__.py", "buir/experiment/serving.py", "buir/model/estimator.py"} <= set(inside)
    assert all(name.endswith(".py") for name in inside)
    assert not [name for name in inside if "/cli/" in name or "/tracking/" in name]
    # none is the package itself, which no index need know, and none names a build of torch
    needed = ("mlflow", "numpy", "pandas", "safetensors", "scipy", "torch", "tqdm")
    assert (folder / "requirements.txt").read_text().splitlines() == [
        f"{name}=={version(name).partition('+')[0]}" for name in needed
    ]
    for file in ("requirements.txt", "conda.yaml", "python_env.yaml"):
        assert "buir" not in (folder / file).read_text()
    assert BUIR.load(folder / "artifacts" / "model.safetensors").n_users == 5


def test_the_archive_is_the_same_at_every_writing(folder, tmp_path):
    serving._write_package(tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (folder / "artifacts" / "buir.zip").read_bytes()


@pytest.mark.slow
def test_a_model_is_loaded_and_asked_where_buir_is_not_installed(folder, tmp_path):
    code = f"""
import importlib.util, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
# neither the checkout nor what an editable installation points to
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
sys.path[:] = [place for place in sys.path if not (Path(place or ".") / "buir" / "__init__.py").exists()]
found = importlib.util.find_spec("buir")
assert found is None or found.origin is None, found
import pandas as pd, mlflow.pyfunc
served = mlflow.pyfunc.load_model({str(folder)!r})
found = served.predict(pd.DataFrame({{"user": ["cat", None]}}), params={{"k": 2}})
import buir, buir.experiment.serving
print(buir.__file__)
print(found["item"].tolist())
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    place, items = done.stdout.splitlines()
    assert place == str(folder / "artifacts" / "buir.zip" / "buir" / "__init__.py")
    assert json.loads(items)[2:] == POPULAR[:2]


@pytest.mark.slow
def test_logging_into_a_run(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
        try:
            experiment = mlflow.create_experiment("served", artifact_location=(tmp_path / "artifacts").as_uri())
            with mlflow.start_run(experiment_id=experiment):
                info = serving.log_model(model)
            served = mlflow.pyfunc.load_model(info.model_uri)
        finally:
            mlflow.set_tracking_uri(None)
    assert served.predict([{"user": "ann"}], params={"k": 1})[0].items == listed(model, users=["ann"], k=1)[0]


def test_what_cannot_be_served(tmp_path, model):
    with pytest.raises(TypeError, match="model is a Svd; expected a BUIR"):
        serving.save_model(Svd(), tmp_path / "model")
    with pytest.raises(ValueError, match="this BUIR is not fitted"):
        serving.save_model(BUIR(), tmp_path / "model")
    model.save(tmp_path / "light.safetensors", training_matrix=False)
    with pytest.raises(ValueError, match=r"has no training rows, .* training_matrix=True"):
        serving.save_model(BUIR.load(tmp_path / "light.safetensors"), tmp_path / "model")


def ask(port: int, body: dict) -> dict:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def until_up(port: int, process: subprocess.Popen, log: Path, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())


@contextmanager
def server(folder: Path, binaries: Path, work: Path, environment: dict[str, str]) -> Iterator[int]:
    """Run ``mlflow models serve`` of an environment on a folder; give its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = environment | {
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
    }
    command = [binaries / "mlflow", "models", "serve", "-m", folder, "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    log = work / "serve.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*map(str, command)],
            cwd=work,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until_up(port, process, log)
        yield port
    finally:
        # The server is a shell's grandchild: its whole process group ends.
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, sign)
                process.wait(20)


def check_answers(port: int, model: BUIR) -> None:
    """Ask in every form that MLflow's server has for queries and frames."""
    params = {"k": 2}
    queries = [{"user": "cat"}, {"items": [10]}, {"user": "nobody"}, {"user": None}]
    first, second, third, fourth = ask(port, {"inputs": queries, "params": params})["predictions"]
    cats, tens = listed(model, users=["cat"], k=2)[0], listed(model, histories={"new": [10]}, k=2)[0]
    assert first["items"] == cats
    assert second["items"] == tens
    assert third == fourth == {"items": POPULAR[:2], "scores": [], "source": "popular"}
    split = {"columns": ["user", "items", "age"], "data": [["cat", None, 3], [None, [10.0], 4], ["nobody", None, 5]]}
    records = [dict(zip(split["columns"], row, strict=True)) for row in split["data"]]
    for body in ({"dataframe_split": split}, {"dataframe_records": records}):
        rows = ask(port, body | {"params": params})["predictions"]
        assert [row["item"] for row in rows] == [*cats, *tens, *POPULAR[:2]]
        assert [row["user"] for row in rows] == ["cat"] * len(cats) + [None] * 2 + ["nobody"] * 2
        assert [row["query"] for row in rows] == [0] * len(cats) + [1] * 2 + [2] * 2
        assert [row["score"] for row in rows[-2:]] == [None, None]
    with pytest.raises(urllib.error.HTTPError) as wrong:
        ask(port, {"inputs": [{"items": ["ten"]}]})
    assert wrong.value.code == 400
    said = json.loads(wrong.value.read())
    assert "items holds 'ten'; the model's ids are integers such as 10" in said["message"]
    assert "stack_trace" not in said
    wrong.value.close()


@pytest.mark.slow
def test_over_http(folder, model, tmp_path):
    # What is installed comes first: here that is this checkout, in whose environment the tests run.
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with server(folder, Path(sys.executable).parent, tmp_path, environment) as port:
        check_answers(port, model)


@pytest.mark.slow
def test_a_fresh_environment_of_its_own_requirements_serves(folder, model, tmp_path):
    home, work = tmp_path / "fresh", tmp_path / "work"
    work.mkdir()
    venv.create(home, with_pip=True)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    run = partial(subprocess.run, cwd=work, env=environment, capture_output=True, text=True, check=False)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    requirements = folder / "requirements.txt"
    index = os.environ.get("BUIR_TORCH_INDEX")
    torch = [["--index-url", index, "-c", str(requirements), "torch"]] if index else []
    for what in (*torch, ["-r", str(requirements)]):
        done = run([*pip, *what])
        assert done.returncode == 0, done.stderr
    listing = run([str(home / "bin" / "python"), "-m", "pip", "list", "--format=json"]).stdout
    installed = {entry["name"].lower() for entry in json.loads(listing)}
    assert {"mlflow", "torch"} <= installed
    assert not installed & {"buir", "implicit", "torch-geometric", "optuna", "typer"}
    with server(folder, home / "bin", work, environment) as port:
        check_answers(port, model)
