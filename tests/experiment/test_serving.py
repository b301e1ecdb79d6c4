"""BUIR behind MLflow: loaded in this process, and asked over HTTP."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
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
        ({"user": "ann", "less_like": [99]}, "less_like holds item ids unknown to the model: 99"),
        ({"user": "ann", "less_like": [10], "strength": -1.0}, "strength is -1.0; expected a number from 0"),
        ({"user": "zoe", "more_like": [10]}, "query of user 'zoe' has less_like or more_like, but no pair of hers"),
    ],
)
def test_what_cannot_be_turned_is_said(served, query, words):
    with pytest.raises(ValueError, match=words):
        served.predict([query])


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


def test_wrong_fields_are_refused(served):
    with pytest.raises(mlflow.exceptions.MlflowException, match="user_id"):
        served.predict([{"user_id": "ann"}])
    with pytest.raises(mlflow.exceptions.MlflowException, match="valid integer"):
        served.predict([{"items": ["ten"]}])


def test_signature_names_the_types_of_the_ids(served):
    (query,) = served.metadata.signature.inputs.to_dict()
    assert {name: field["type"] for name, field in query["properties"].items()} == {
        "user": "string",
        "items": "array",
        "allow": "array",
        "deny": "array",
        "less_like": "array",
        "more_like": "array",
        "strength": "double",
    }
    assert query["properties"]["items"]["items"]["type"] == "long"
    (answer,) = served.metadata.signature.outputs.to_dict()
    assert set(answer["properties"]) == {"items", "scores", "source"}
    assert {param.name: param.default for param in served.metadata.signature.params} == {"k": 10, "unknown": "popular"}


def test_integer_users_and_text_items(tmp_path):
    model = fitted([ord(user[0]) for user in USERS], [f"i{item}" for item in ITEMS])
    served = load(save(model, tmp_path / "model"))
    (answer, stranger) = served.predict([{"user": ord("a")}, {"items": ["i10"]}], params={"k": 1})
    assert answer.items == listed(model, users=[ord("a")], k=1)[0]
    assert stranger.source == "history"


def test_no_pickle_and_explicit_requirements(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"artifacts/model.safetensors", "served.py"} <= names
    assert not [name for name in names if name.endswith(".pkl")]
    assert (folder / "requirements.txt").read_text().splitlines() == [
        f"{name}=={version(name)}" for name in ("mlflow", "buir")
    ]
    assert BUIR.load(folder / "artifacts" / "model.safetensors").n_users == 5


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
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def until_up(port: int, process: subprocess.Popen, log: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())


@pytest.mark.slow
def test_over_http(folder, model, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    binaries = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
    }
    command = [
        shutil.which("mlflow", path=str(binaries)),
        "models",
        "serve",
        "-m",
        str(folder),
        "--env-manager",
        "local",
    ]
    log = tmp_path / "serve.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            cwd=tmp_path,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until_up(port, process, log)
        answer = ask(port, {"inputs": [{"user": "cat"}, {"items": [10]}, {"user": "nobody"}], "params": {"k": 2}})
        first, second, third = answer["predictions"]
        assert first["items"] == listed(model, users=["cat"], k=2)[0]
        assert second["items"] == listed(model, histories={"new": [10]}, k=2)[0]
        assert third == {"items": POPULAR[:2], "scores": [], "source": "popular"}
        with pytest.raises(urllib.error.HTTPError) as wrong:
            ask(port, {"inputs": [{"items": ["ten"]}]})
        assert wrong.value.code == 400
        assert "valid integer" in wrong.value.read().decode()
        wrong.value.close()
    finally:
        # The server is a shell's grandchild: its whole process group ends.
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)
