"""The configuration: what it accepts, and that every mistake is one line that helps."""

from pathlib import Path

import pytest

from buir.errors import ConfigError
from buir.experiment.config import BenchmarkConfig, DataConfig, load, shipped_configs
from buir.experiment.config.overrides import parse

GOOD = """
data:
  - {dataset: synthetic}
protocol: {kind: nested, levels: [0.5, 1.0]}
seeds: [0, 1]
models:
  - {kind: popularity}
  - {kind: als, params: {factors: 8}}
  - {kind: buir, params: {encoder: graph}}
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        file = tmp_path / "mine.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def problems(file, overrides=()) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file, overrides)
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert all("\n" not in problem for problem in caught.value.problems)
    return caught.value.problems


def test_a_good_file_and_what_it_leaves_out(write):
    config = load(write(GOOD))
    assert config.name == "mine"
    assert config.seeds == (0, 1)
    assert config.protocol.levels == (0.5, 1.0)
    assert config.protocol.split_seeds == (0,)
    assert config.metrics.ks == (10, 20, 50)
    assert [model.label for model in config.models] == ["popularity", "ALS", "BUIR-nb"]
    assert config.tuning is None


def test_a_data_set_may_have_trials_of_its_own(write):
    text = GOOD.replace("{dataset: synthetic}", "{dataset: synthetic}\n  - {dataset: synthetic, name: huge, trials: 4}")
    config = load(write(text + "tuning: {trials: 30, max_seconds: 60.0, seed: 2}\n"), ["tuning.fit_seconds=90.5"])
    usual, own = config.budget("synthetic"), config.budget("huge")
    assert usual is not None
    assert own is not None
    assert (usual.trials, own.trials) == (30, 4)
    assert own.model_dump(exclude={"trials"}) == usual.model_dump(exclude={"trials"})
    assert own.fit_seconds == 90.5
    assert load(write(GOOD)).budget("synthetic") is None


def test_all_mistakes_at_once_with_the_nearest_name(write):
    text = GOOD.replace("seeds: [0, 1]", "sedes: 3\nseeds: [0, '1', true]").replace(
        "factors: 8", "factrs: 8, iteratons: 2"
    )
    text = text.replace("kind: nested", "kind: nestd").replace("kind: popularity", "kind: popular")
    assert set(problems(write(text))) == {
        "mine.yaml: protocol.kind: got 'nestd'; did you mean 'nested'?",
        "mine.yaml: seeds.1: got '1' (text), expected a valid integer",
        "mine.yaml: seeds.2: got True (yes/no), expected a valid integer",
        "mine.yaml: sedes: unknown key; did you mean 'seeds'?",
        "mine.yaml: models.0.kind: unknown kind 'popular'; did you mean 'popularity'?",
        "mine.yaml: models.1.params.factrs: unknown parameter of als; did you mean 'factors'?",
        "mine.yaml: models.1.params.iteratons: unknown parameter of als; did you mean 'iterations'?",
    }


@pytest.mark.parametrize(
    ("change", "place", "word"),
    [
        (("factors: 8", "embedding_dim: 8"), "models.1.params.embedding_dim", "of als; here it is factors=8"),
        (("factors: 8", "random_state: 1"), "models.1.params.random_state", "'seeds'"),
        (("factors: 8", "factors: 0"), "models.1.params", "factors"),
        (("factors: 8", "seed: 1"), "models.1.params.seed", "'seeds'"),
        (("{kind: popularity}", "{kind: popularity, preset: paper}"), "models.0.preset", "no preset 'paper'"),
        (("{kind: popularity}", "{}"), "models.0.kind", "missing"),
        (("{kind: popularity}", "popularity"), "models.0", "mapping"),
        (("{dataset: synthetic}", "{name: x}"), "data.0", "exactly one source"),
        (
            ("{dataset: synthetic}", "{dataset: synthetic, path: mine.yaml}"),
            "data.0",
            "got 'dataset' and 'path'; drop all but one, 'dataset' with --set data.dataset=null",
        ),
        (
            ("{dataset: synthetic}", "{dataset: synthetic, path: mine.yaml, options: {n_users: 9}}"),
            "data.0",
            "--set data.dataset=null --set data.options=null",
        ),
        (("{dataset: synthetic}", "{dataset: synthetc}"), "data.0.dataset", "did you mean 'synthetic'?"),
        (("{dataset: synthetic}", "{dataset: synthetic, options: {n_usrs: 9}}"), "data.0.dataset", "'n_users'?"),
        (("{dataset: synthetic}", "{dataset: synthetic, min_rating: 3.0}"), "data.0.dataset", "no option 'min_rating'"),
        (("{encoder: graph}", "{encoder: graph, device: gpu}"), "models.2.params", "device is 'gpu'"),
        (("{kind: popularity}", "{kind: lightgcn, params: {device: 'cuda:99'}}"), "models.0.params", "'cuda:99'"),
        (("{dataset: synthetic}", "{name: 'a/b', dataset: synthetic}"), "data.0.name", "got 'a/b', expected letters"),
        (("{dataset: synthetic}", "{path: mine.yaml, format: tabb}"), "data.0.format", "did you mean 'tab'?"),
        (("{dataset: synthetic}", "{path: 3}"), "data.0.path", "got 3 (int), expected the name of a file"),
        (("dataset: synthetic", "path: mine.yaml, options: {}"), "data.0", "options means nothing"),
        (("dataset: synthetic", "train: mine.yaml, test: mine.yaml, core: 5"), "data.0", "core means nothing"),
        (("[0.5, 1.0]", "[0.5, 1.5]"), "protocol.levels.1", "got 1.5 (float), expected less than or equal to 1"),
        (("[0.5, 1.0]", "[0.5, 0.501]"), "protocol.levels", "levels 0.5 and 0.501 would both be called 50 %"),
        (("[0.5, 1.0]", "[0.0012, 0.00121]"), "protocol.levels", "0.0012 and 0.00121 would both be called 0.12 %"),
        (("nested", "author"), "protocol.levels.1", "got 1.0 (float), expected less than 1"),
        (("kind: nested, levels: [0.5, 1.0]", "kind: author"), "protocol.levels", "missing"),
        (
            ("nested", "leave-one-out"),
            "protocol.levels",
            "unknown key of 'leave-one-out'; valid names: kind, by, split_seeds",
        ),
        (("levels: [0.5, 1.0]", "levls: [0.5]"), "protocol.levls", "did you mean 'levels'?"),
        (("{kind: nested, levels: [0.5, 1.0]}", "nested"), "protocol", "got 'nested' (text), expected a mapping"),
        (("kind: nested, levels: [0.5, 1.0]", "kind: given"), "data.0", "'train' and 'test' files"),
        (("{kind: als, params: {factors: 8}}", "{kind: popularity}"), "models", "two entries"),
        (("seeds: [0, 1]", "seeds: []"), "seeds", "is empty"),
        (("seeds: [0, 1]", "3: 4"), "3", "a key of text"),
        (("seeds: [0, 1]", "tuning: {metric: best}"), "tuning.metric", "valid names: recall_at_20, "),
        (("seeds: [0, 1]", "tuning: {metric: ndgc_at_20}"), "tuning.metric", "did you mean 'ndcg_at_20'?"),
        (("seeds: [0, 1]", "tuning: {metric: recal_at_50}"), "tuning.metric", "did you mean 'recall_at_50'?"),
        (("seeds: [0, 1]", "tuning: {metric: ndcg_at_0}"), "tuning.metric", "did you mean 'ndcg_at_20'?"),
        (("{dataset: synthetic}", "{dataset: synthetic, trials: 9}"), "data.0.trials", "without 'tuning:'; add"),
        (("seeds: [0, 1]", "tuning: {fit_seconds: 0}"), "tuning.fit_seconds", "got 0"),
        (("seeds: [0, 1]", "tuning: {trials: 0}"), "tuning.trials", "got 0 (int), expected greater than 0"),
    ],
)
def test_one_mistake_one_line(write, change, place, word):
    (problem,) = problems(write(GOOD.replace(*change)))
    assert problem.startswith(f"mine.yaml: {place}: ")
    assert word in problem


def test_null_drops_what_a_file_says_of_its_data(write):
    text = GOOD.replace("{dataset: synthetic}", "{dataset: synthetic, options: {n_users: 9}, min_user: 2}")
    file = write(text)
    overrides = [f"data.path={file}", "data.dataset=null", "data.options=null", "data.min_user=null"]
    (data,) = load(file, overrides).data
    assert (data.path, data.dataset, data.options, data.min_user) == (file, None, {}, 0)


def test_yaml_is_read_strictly(write):
    assert parse("1e-3", "x") == pytest.approx(0.001)
    assert parse("on", "x") == "on"
    assert parse("010", "x") == 10
    assert problems(write(GOOD + "seeds: [3]\n"))[0].startswith('mine.yaml, line 10: found duplicate key "seeds"')
    assert problems(write("data: [1"))[0].startswith("mine.yaml, line ")
    assert problems(write("- 1")) == ["mine.yaml: holds a list of 1, expected keys such as 'data:' and 'models:'"]
    assert problems(write("")) == ["mine.yaml: holds nothing, expected keys such as 'data:' and 'models:'"]


def test_overrides_go_through_the_same_loader(write):
    changes = ["seeds=[4, 5]", "models.als.params.factors=16", "models.2.params.learning_rate=1e-3", "tuning.trials=3"]
    config = load(write(GOOD), [*changes, "name=other", "models.buir.name=ours", "data.options.n_users=100"])
    assert config.seeds == (4, 5)
    assert config.models[1].params == {"factors": 16}
    assert config.models[2].params == {"encoder": "graph", "learning_rate": 0.001}
    assert config.tuning is not None
    assert config.tuning.trials == 3
    assert config.name == "other"
    assert config.models[2].label == "ours"
    assert config.data[0].options == {"n_users": 100}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seeds", "--set seeds: expected key=value, for example --set seeds=[0,1]"),
        (
            "models.alx.params.factors=3",
            "--set models.alx.params.factors: no entry 'alx' in models (entries: popularity, ALS, BUIR-nb)",
        ),
        ("seeds.a.b=3", "--set seeds.a.b: no entry 'a' in seeds (entries: 0, 1)"),
        ("protocol.kind.x=3", "--set protocol.kind.x: protocol.kind holds 'nested' (text), it has no 'x'"),
        ("seeds=[0", "--set seeds=[0, line 1: "),
        ("sedes=[0]", "mine.yaml: sedes: unknown key; did you mean 'seeds'?"),
    ],
)
def test_wrong_overrides(write, override, expected):
    (problem,) = problems(write(GOOD), [override])
    assert problem.startswith(expected)


def test_paths_are_relative_to_the_file_or_to_the_working_directory(write, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("1 2\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "b.txt").write_text("1 2\n")
    monkeypatch.chdir(elsewhere)
    file = write(GOOD.replace("dataset: synthetic", "path: a.txt"))
    assert load(file).data[0].path == tmp_path / "a.txt"
    assert load(file, ["data.path=b.txt"]).data[0].path == elsewhere / "b.txt"
    assert load(file, ["data=[{path: b.txt}]"]).data[0].path == elsewhere / "b.txt"
    assert problems(file, ["data.path=a.txt"])[0].startswith(
        f"mine.yaml: data.0.path: no such file: {elsewhere / 'a.txt'}; did you mean 'b.txt'?"
    )


def test_variables_in_paths(write, tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "x.txt").write_text("1 2\n")
    file = write(GOOD.replace("dataset: synthetic", "path: '${BUIR_DATA}/x.txt'"))
    monkeypatch.setenv("BUIR_DATA", str(folder))
    assert load(file).data[0].path == folder / "x.txt"
    # A relative value was set in the shell: it is relative to the working directory, not to the file.
    monkeypatch.chdir(folder)
    monkeypatch.setenv("BUIR_DATA", ".")
    assert load(file).data[0].path == folder / "x.txt"
    monkeypatch.delenv("BUIR_DATA")
    (problem,) = problems(file)
    assert problem == (
        "mine.yaml: data.0.path: the environment variable BUIR_DATA is not set; set it (export BUIR_DATA=FOLDER) or give "
        "the file: --set data.path=FILE"
    )
    assert load(file, ["data.path=x.txt"]).data[0].path == folder / "x.txt"


@pytest.mark.parametrize(
    ("entry", "label"),
    [
        ({"dataset": "synthetic"}, "synthetic"),
        ({"dataset": "synthetic", "name": "mine"}, "mine"),
        ({"path": "filmtrust/ratings.txt"}, "filmtrust"),
        ({"path": "my log (new).csv.gz"}, "my-log-new"),
        ({"train": "gowalla/train.txt.gz", "test": "gowalla/test.txt.gz"}, "gowalla"),
    ],
)
def test_data_are_named_after_their_place(tmp_path, monkeypatch, entry, label):
    monkeypatch.chdir(tmp_path)
    for file in (Path(entry[key]) for key in ("path", "train", "test") if key in entry):
        file.parent.mkdir(exist_ok=True)
        file.touch()
    assert DataConfig(**entry).label == label


def test_a_file_without_a_folder_is_named_after_itself():
    assert DataConfig.model_construct(path=Path("/ratings.txt")).label == "ratings"


def test_a_missing_file_is_compared_with_the_shipped_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert problems("quikstart") == ["quikstart: no such configuration file; did you mean 'quickstart'?"]
    assert load("quickstart").name == "quickstart"


def test_a_folder_is_no_configuration(tmp_path):
    assert problems(tmp_path) == [f"{tmp_path}: is a folder, expected a YAML file; name one"]


def test_only_near_names_of_files_are_offered_for_missing_data(write, tmp_path):
    for name in ("ratings.csv", "ratings.dat", "other.txt"):
        (tmp_path / name).touch()
    (tmp_path / "rating.tsv").mkdir()
    file = write(GOOD)
    for path, said in (("rating.dat", "; did you mean 'ratings.dat'?"), ("x", ""), ("no/such/folder/ratings.dat", "")):
        (problem,) = problems(file, [f"data=[{{path: {tmp_path / path}}}]"])
        assert problem == f"mine.yaml: data.0.path: no such file: {tmp_path / path}{said}"


@pytest.mark.parametrize("name", ["quickstart", "sparsity", "paper"])
def test_shipped_configurations_are_valid(name, tmp_path, monkeypatch):
    for file in ("citeulike-t/users.dat", "ciao/ratings.txt.gz", "filmtrust/ratings.txt"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    monkeypatch.setenv("BUIR_DATA", str(tmp_path))
    config = load(name)
    assert isinstance(config, BenchmarkConfig)
    assert config.name == name
    if name == "quickstart":
        assert [m.label for m in config.models] == ["popularity", "ALS", "BPR", "BUIR-id", "BUIR-nb"]
        assert len(config.protocol.levels) == 3
    if name == "paper":
        filters = {d.label: (d.min_user, d.min_item) for d in config.data}
        assert filters == {"citeulike": (5, 0), "ciao": (5, 5), "filmtrust": (5, 0)}
        assert config.protocol.kind == "author"


def test_shipped_configurations_are_found_beside_an_editable_install():
    assert (shipped_configs() / "quickstart.yaml").is_file()


@pytest.mark.parametrize(
    ("override", "place", "word"),
    [
        ("seeds=[0, 0]", "seeds", "lists 0 more than once"),
        ("protocol.split_seeds=[1, 2, 1]", "protocol.split_seeds", "lists 1 more than once"),
        ("metrics.ks=[20, 20]", "metrics.ks", "lists 20 more than once"),
        ("protocol.levels=[0.5, 0.5]", "protocol.levels", "one per cent"),
        ("seeds=zero", "seeds", "got 'zero' (text), expected a list"),
        ("metrics.ks=20", "metrics.ks", "got 20 (int), expected a list, such as [20]"),
        ("models.buir.params.epochs='3'", "models.2.params", "epochs is '3'"),
        ("models.buir.params.epochs=-3", "models.2.params", "epochs is -3"),
    ],
)
def test_a_wrong_value_is_one_line_before_any_work(write, override, place, word):
    (problem,) = problems(write(GOOD), [override])
    assert problem.startswith(f"mine.yaml: {place}: ")
    assert word in problem


def test_a_protocol_has_its_own_fields_only(write):
    fields = {
        "{}": ["kind", "levels", "split_seeds"],
        "{kind: author, levels: [0.5]}": ["kind", "levels", "split_seeds"],
        "{kind: leave-one-out}": ["kind", "by", "split_seeds"],
        "{kind: time}": ["kind", "valid_fraction", "test_fraction", "split_seeds"],
    }
    for text, names in fields.items():
        config = load(write(GOOD.replace("{kind: nested, levels: [0.5, 1.0]}", text)))
        assert list(config.protocol.model_dump()) == names
        assert config.levels == ((0.5,) if "0.5" in text else (1.0,))


RIVALS = """
data: [{dataset: synthetic}]
models:
  - {kind: als}
  - {kind: als, name: ALS-terms, settings_of: ALS, params: {terms: auto}}
  - {kind: als, name: ALS-random, trials: 7, sampler: random}
tuning: {trials: 3}
"""


def test_a_model_may_have_more_trials_than_others_or_the_settings_of_another(write):
    config = load(write(RIVALS))
    budgets = [config.budget("synthetic", model) for model in config.models]
    assert [(budget.trials, budget.sampler) for budget in budgets if budget] == [
        (3, "tpe"),
        (3, "tpe"),
        (7, "random"),
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            ("settings_of: ALS,", "settings_of: BPR,"),
            "settings_of is 'BPR', expected the name of a model of kind 'als'",
        ),
        (("settings_of: ALS,", "settings_of: ALS-terms,"), "there are: ALS, ALS-random"),
        (("settings_of: ALS,", "settings_of: ALS, trials: 2,"), "'trials' means nothing beside 'settings_of'"),
        (("tuning: {trials: 3}\n", ""), "'settings_of' means nothing without a search"),
        (("sampler: random", "sampler: grid"), "'grid'"),
    ],
)
def test_mistakes_in_how_a_model_is_searched(write, change, told):
    assert any(told in problem for problem in problems(write(RIVALS.replace(*change))))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("data: [{path: &p [*p]}]", "data.0.path: got a list of 1, expected the name of a file"),
        ("data: &d [*d]", "data.0: got a list of 1, expected a mapping"),
        ("data: " + "[" * 500 + "]" * 500, "is nested too deeply"),
        ("seeds: [" + "9" * 5000 + "]", "Exceeds the limit"),
        ("seeds: [" + "9" * 30 + "]", "seeds.0"),
        ("seeds: " + str(list(range(1001))), "seeds: got a list of 1001, expected at most 1000"),
        ("data: [{path: " + "x" * 5000 + "}]", "data.0.path: has 5,000 characters, expected the name of a file"),
        ("? [a, b]\n: 3", "expected a key of text"),
        ("1: 2", "1"),
    ],
)
def test_yaml_that_nobody_means(write, text, told):
    lines = problems(write(text + "\nmodels: [{kind: popularity}]\n"))
    assert any(told in line for line in lines)
    assert all(len(line) < 400 for line in lines)


def test_aliases_that_grow_by_themselves_are_told_at_once(write):
    grown = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    grown += [f"{n}: &{n} [{', '.join([f'*{m}'] * 9)}]" for m, n in zip("abcdefgh", "bcdefghi", strict=True)]
    lines = problems(write("\n".join([*grown, "data: [{path: *i}]", "models: [{kind: popularity}]"])))
    assert any("data.0.path: got a list of 9" in line for line in lines)
