"""The best BUIR by validation becomes a registered model, and nothing of the test data has a say in it."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from buir.errors import ConfigError, ExperimentError
from buir.experiment import comparison
from buir.experiment.records.journal import Journal
from buir.experiment.tracking import registry, store
from tests.support.benchmarks import make_config
from tests.support.plain_training import PLAIN
from tests.support.records import make_record

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
]

PLAN = {"name": "toy", "headline": ("ndcg_at_20", "recall_at_20")}


def fit(model: str, value: float | None, *, test: float = 0.1, metric: str = "ndcg_at_20", **facts):
    given = {
        "model": model,
        "kind": "buir",
        "params": {"valid_metric": metric},
        "chosen": {} if value is None else {"value": value, "trained": 0.9},
        "metrics": {"ndcg_at_20": test},
        "level": 0.1,
    }
    return make_record(**(given | facts))


def test_the_highest_mean_on_validation_data_wins_and_of_its_fits_the_best():
    records = [
        fit("a", 0.30, test=0.9, seed=0, key="a0"),
        fit("a", 0.10, test=0.9, seed=1, key="a1"),
        fit("b", 0.22, test=0.0, seed=0, key="b0"),
        fit("b", 0.24, test=0.0, seed=1, key="b1"),
        fit("b", 0.99, level=0.5, key="other level"),
        fit("paper", 0.95, metric="capped_precision_at_50", key="other metric"),
        make_record(model="ALS", level=0.1, chosen={"value": 0.99}),
        fit("c", None, status="refused"),
    ]
    choice = registry.choose(PLAN, records, 10)
    assert choice.record.key == "b1"
    assert choice.value == 0.24
    assert choice.means == pytest.approx({"b": 0.23, "a": 0.20})
    assert choice.left_out == ["paper"]
    assert str(choice) == (
        "b has the highest mean NDCG@20 on validation data at 10 % of toy, 0.2300 (a 0.2000); "
        "of its fits, seed 1 of split 0 has 0.2400.\nNot compared: paper, which validates by something else."
    )


def test_test_values_have_no_say():
    records = [fit("a", 0.2, test=0.1, key="a"), fit("b", 0.1, test=0.9, key="b")]
    swapped = [replace(record, metrics={"ndcg_at_20": 1 - record.metrics["ndcg_at_20"]}) for record in records]
    assert registry.choose(PLAN, records, 10).record.key == registry.choose(PLAN, swapped, 10).record.key == "a"


@pytest.mark.parametrize(
    ("chosen", "value"),
    [
        ({"value": 0.3, "trained": 0.2, "start": 0.1}, 0.3),
        ({"value": None, "trained": 0.2, "start": 0.1}, 0.2),
        ({"value": None, "trained": None, "start": 0.1}, 0.1),
        ({}, None),
    ],
)
def test_what_a_fit_came_to_on_validation_data(chosen, value):
    assert registry.validated(fit("a", None, chosen=chosen)) == value


@pytest.mark.parametrize(
    ("records", "options", "words"),
    [
        ([fit("a", 0.2)], {"best_at": 20}, "--best-at is 20; expected a level .* in per cent: 10"),
        ([fit("a", 0.2), fit("a", 0.2, dataset="b")], {}, "has fits on toy, b; name one: --data toy"),
        ([fit("a", 0.2)], {"data": "toys"}, "--data is 'toys'; expected one of toy; did you mean 'toy'"),
        ([make_record(level=0.1, model="ALS")], {}, "are of ALS; only a BUIR has a model .*kind: buir"),
        ([fit("a", 0.2, metric="recall_at_5")], {}, "by ndcg_at_20, a by recall_at_5; expected .*valid_metric"),
        ([], {}, "expected a level of the benchmark with finished fits, in per cent: none"),
    ],
)
def test_what_cannot_be_chosen_is_said(records, options, words):
    with pytest.raises(ConfigError, match=words):
        registry.choose(PLAN, records, **({"best_at": 10} | options))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A benchmark of two BUIRs and popularity, in its own store."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    settings = {"encoder": "id", "embedding_dim": 4} | PLAIN
    models = [{"kind": "popularity"}] + [
        {"kind": "buir", "name": f"b{epochs}", "params": settings | {"epochs": epochs}} for epochs in (1, 3)
    ]
    config = make_config(models=models, metrics={"ks": [20]}, protocol={"levels": [0.5]}, log_models=True)
    comparison.compare(config, folder, say=lambda _: None)
    return folder


@pytest.mark.slow
def test_the_winner_is_registered_once_and_its_alias_moves(finished):
    told: list[str] = []
    version = registry.register(finished, "films", 50, alias="champion", say=told.append)
    again = registry.register(finished, "films", 50, alias="other", say=told.append)
    assert version == again == 1
    uri = store.store_uri(finished)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    found = client.get_model_version_by_alias("films", "champion")
    journal = Journal(finished)
    plan = journal.read_plan()
    assert plan is not None
    choice = registry.choose(plan, list(journal.records()), 50)
    assert found.tags["cell"] == choice.record.key
    assert found.tags["valid.ndcg_at_20"] == f"{choice.value:.6f}"
    assert "test values played no part" in found.description
    assert client.get_run(found.run_id).data.tags["cell"] == choice.record.key
    assert Path(found.source.removeprefix("file://"), "served.py").is_file()
    assert told[1] == "Version 1 of films: models:/films@champion"
    assert told[2] == (
        f"Serve it: MLFLOW_TRACKING_URI={uri} mlflow models serve -m models:/films@champion --env-manager local -p 5001"
    )
    assert told[4] == "Version 1 of films was there already: models:/films@other"
    assert len(client.search_model_versions("name = 'films'")) == 1


@pytest.mark.slow
def test_what_stands_in_the_way_is_said_with_the_way_out(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)

    def refused(kind: type[Exception], words: str, **options) -> None:
        with pytest.raises(kind, match=words):
            registry.register(copy, **({"name": "films", "best_at": 50, "say": lambda _: None} | options))

    refused(ConfigError, "NAME is 'a/b'; expected letters", name="a/b")
    refused(ConfigError, "--alias is 'x:y'; expected letters", alias="x:y")
    refused(ConfigError, "--alias is 'Latest', which MLflow keeps for itself", alias="Latest")
    refused(ExperimentError, "keeps its artifacts in .*out, from where .* copied or moved; .* buir sync --out")
    refused(
        ExperimentError,
        "is not there; make it .*: buir sync --out .* --tracking-uri",
        tracking_uri="http://127.0.0.1:9",
    )
    store.database(copy).unlink()
    refused(ExperimentError, "is not there; make it from the results with: buir sync --out")
    for file in copy.glob("cells/*.safetensors"):
        file.unlink()
    refused(ExperimentError, "but no model of it was kept; fit it again with log_models: true .* --set log_models=true")
    (copy / "benchmark.json").unlink()
    refused(ConfigError, "holds no benchmark")


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A store with one run of one benchmark."""
    folder = tmp_path_factory.mktemp("small") / "out"
    config = make_config(models=[{"kind": "popularity"}], protocol={"levels": [0.5]}, seeds=[0])
    comparison.compare(config, folder, say=lambda _: None)
    return folder


def places(folder: Path) -> set[str]:
    """Where a store keeps artifacts; read past MLflow, which keeps files open that it has once read."""
    with closing(sqlite3.connect(store.database(folder))) as connection:
        experiments = connection.execute("SELECT artifact_location FROM experiments WHERE name LIKE 'buir-%'")
        runs = connection.execute("SELECT artifact_uri FROM runs")
        return {place for (place,) in experiments} | {place.rsplit("/", 2)[0] for (place,) in runs}


@pytest.mark.slow
def test_a_copied_folder_neither_reads_nor_writes_the_artifacts_of_the_original(small, tmp_path):
    assert store.elsewhere(store.database(small), Journal(small).experiments()) is None
    copy = tmp_path / "copy"
    shutil.copytree(small, copy)
    before = {file: file.stat().st_mtime_ns for file in small.rglob("*") if "lock" not in file.name}
    # MLflow would write there: the store of the copy names the folder of the original
    assert places(copy) == {(small / "artifacts" / "buir-tiny-synthetic").as_uri()}
    names = Journal(copy).experiments()
    assert names == ["buir-tiny-synthetic"]
    assert store.elsewhere(store.database(copy), names) == small
    config = make_config(models=[{"kind": "popularity"}], protocol={"levels": [0.5]}, seeds=[1])
    with pytest.raises(
        ExperimentError, match=r"keeps its artifacts in .* copied or moved; .*: buir sync --out \S+copy$"
    ):
        comparison.compare(config, copy, say=lambda _: None)
    told: list[str] = []
    assert set(comparison.sync(copy, say=told.append)) == {"synthetic"}
    assert "it is kept as mlflow.db.copied-1, and made anew from the results" in told[0]
    assert places(copy) == {(copy / "artifacts" / "buir-tiny-synthetic").as_uri()}
    assert (copy / "mlflow.db.copied-1").is_file()
    comparison.compare(config, copy, say=told.append)
    assert store.elsewhere(store.database(copy), names) is None
    assert {file: file.stat().st_mtime_ns for file in before} == before


def database(folder: Path, location: str) -> Path:
    """Make what a store says of the place of one experiment."""
    folder.mkdir(exist_ok=True)
    file = folder / "mlflow.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE experiments (name TEXT, artifact_location TEXT)")
        connection.execute("INSERT INTO experiments VALUES ('buir-a-b', ?)", (location,))
        connection.commit()
    return file


def test_where_a_store_keeps_its_artifacts(tmp_path):
    home, other = tmp_path / "here & there", tmp_path / "other"
    file = database(home, (home / "artifacts" / "buir-a-b").as_uri())
    names = ["buir-a-b", "buir-c-d"]
    assert store.elsewhere(file, names) is None
    (tmp_path / "link").symlink_to(home)  # the same folder by another path
    assert store.elsewhere(tmp_path / "link" / "mlflow.db", names) is None
    shutil.copytree(home, other)
    assert store.elsewhere(other / "mlflow.db", names) == home
    assert store.elsewhere(other / "mlflow.db", ["buir-e-f"]) is None  # what others keep there is their affair
    moved = home.rename(tmp_path / "moved")
    assert store.elsewhere(moved / "mlflow.db", names) == home
    served = database(tmp_path / "served", "mlflow-artifacts:/1")
    assert store.elsewhere(served, names) is None
    bad = tmp_path / "bad.db"
    bad.write_bytes(b"bad")
    assert store.elsewhere(bad, names) is None
    assert store.elsewhere(tmp_path / "none.db", names) is None
    assert store.elsewhere(file, []) is None


def test_the_store_of_a_copy_is_refused_and_set_aside(tmp_path):
    file = database(tmp_path / "copy", (tmp_path / "home" / "artifacts" / "buir-a-b").as_uri())
    told: list[str] = []
    with pytest.raises(ExperimentError, match=r"copied or moved; .* with: buir sync --out \S+/copy$"):
        store.check_home(file, ["buir-a-b"])
    store.renew(file, ["buir-a-b"], told.append)
    assert not file.exists()
    assert (tmp_path / "copy" / "mlflow.db.copied-1").is_file()
    assert len(told) == 1
    assert "it is kept as mlflow.db.copied-1, and made anew from the results; registered models are not" in told[0]
    store.renew(file, ["buir-a-b"], told.append)
    assert len(told) == 1
