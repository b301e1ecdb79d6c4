"""Search spaces, equal budgets, and searches that are killed and go on."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend
from scipy.sparse import csr_array

from baselines import ALS, Refused
from buir.errors import ConfigError, DamagedWarning, ExperimentError, TuningError
from buir.experiment.config import TuningConfig, models
from buir.experiment.records import Fit, Journal, Record
from buir.experiment.records.record import cell_key
from buir.experiment.run import Sources
from buir.experiment.run import plan as benchmark
from buir.experiment.search import search as search_cell
from buir.experiment.search.spaces import as_json, contains, find_space, read_space
from buir.experiment.search.tuning import Tuned, tune
from buir.ranking import evaluate
from buir.ranking.top_k import FactorScorer
from tests.support.benchmarks import Watcher, make_config

SPACE = {
    "quality": FloatDistribution(0.0, 1.0),
    "size": IntDistribution(1, 64, log=True),
    "mode": CategoricalDistribution(["auto", 1, None]),
}


def small_split():
    """Four users, four items: user u trains on item u and holds out item u + 1."""
    train = csr_array(np.eye(4, dtype=np.float32))
    valid = csr_array(np.roll(np.eye(4, dtype=np.float32), 1, axis=1))
    # touching the test part is an AttributeError
    return SimpleNamespace(train=train, valid=valid, digest="0123456789abcdef")


@dataclass(kw_only=True)
class Fake:
    """Ranks the held-out item first for a share ``quality`` of the users, last for the others."""

    quality: float = 0.5
    size: int = 8
    mode: object = "auto"
    epochs: int = 3
    pause: float = 0.0
    seed: int = 0

    def get_params(self):
        return dict(vars(self))

    def fit(self, user_items, valid=None, *, show_progress=True, callback=None):
        self.train, self.valid, self.trained = user_items, valid, 0
        for epoch in range(1, self.epochs + 1):
            end = time.process_time() + self.pause
            while time.process_time() < end:
                pass  # sleeping would not count: the clock of a trial is the processor's
            self.trained = epoch
            if callback({"epoch": epoch, "loss": 1.0, "ndcg_at_20": self.quality * epoch / self.epochs}):
                break
        return self

    def scorer(self):
        hits = np.arange(4) < round(4 * self.quality)
        return FactorScorer(
            np.where(hits, 1, -1)[:, None].astype(np.float32) * np.eye(4, dtype=np.float32), self.valid.toarray().T
        )


def search(folder, *, trials=6, space=SPACE, on_trial=None, fake=Fake, split=None, **budget):
    allowed, file = TuningConfig(trials=trials, **budget), folder / "trials.journal"
    return tune(lambda found: fake(**found), split or small_split(), space, allowed, file, on_trial=on_trial)


def kept(file) -> optuna.Study:
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(file)))
    return optuna.load_study(study_name=file.stem, storage=storage)


def test_trial_0_is_the_default_and_the_best_trial_wins(tmp_path):
    tuned = search(tmp_path)
    assert tuned.trials[0]["params"] == {"quality": 0.5, "size": 8, "mode": "auto"}
    # half of the users see their one item first (1), the others last of three (1 / log2(4))
    assert tuned.trials[0]["value"] == pytest.approx((2 * 1 + 2 * 0.5) / 4)
    assert len(tuned.trials) == 6
    assert tuned.value == max(t["value"] for t in tuned.trials)
    assert tuned.params == max(tuned.trials, key=lambda t: t["value"])["params"]
    assert all(t["seconds"] > 0 and not t["capped"] and t["error"] is None for t in tuned.trials)


def test_the_same_seed_draws_the_same_trials_and_another_seed_others(tmp_path):
    drawn = [[t["params"] for t in search(tmp_path / str(i), seed=s).trials] for i, s in enumerate((0, 0, 1))]
    assert drawn[0] == drawn[1]
    assert drawn[0][0] == drawn[2][0]
    assert all(a != b for a, b in zip(drawn[0][1:], drawn[2][1:], strict=True))


def test_a_search_that_was_stopped_comes_to_the_trials_of_one_that_was_not(tmp_path):
    whole = search(tmp_path / "whole", trials=7)
    seen = []

    def stop(done, wanted):
        seen.append((done, wanted))
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "parts", trials=7, on_trial=stop)
    parts = search(tmp_path / "parts", trials=7, on_trial=lambda done, wanted: seen.append((done, wanted)))
    assert seen == [(n, 7) for n in range(1, 8)]
    assert [(t["params"], t["value"], t["state"]) for t in parts.trials] == [
        (t["params"], t["value"], t["state"]) for t in whole.trials
    ]
    (file,) = (tmp_path / "parts").iterdir()
    written = file.read_bytes()
    again = search(tmp_path / "parts", trials=7, on_trial=lambda *_: pytest.fail("ran a trial again"))
    assert again == parts
    assert file.read_bytes() == written


def test_a_larger_budget_continues_a_smaller_one_and_a_smaller_reads_its_first_trials(tmp_path):
    small = search(tmp_path, trials=2)
    large = search(tmp_path, trials=4)
    assert large.trials[:2] == small.trials
    assert search(tmp_path, trials=2) == small
    assert len(list(tmp_path.iterdir())) == 1


def test_a_trial_that_was_running_when_the_process_died_does_not_count(tmp_path):
    search(tmp_path, trials=1)
    (file,) = tmp_path.iterdir()
    study = kept(file)
    study.enqueue_trial({"quality": 0.9})
    study.ask()
    study.enqueue_trial({"quality": 0.8})
    tuned = search(tmp_path, trials=3)
    assert [t["number"] for t in tuned.trials] == [0, 1, 2]
    assert {t["params"]["quality"] for t in tuned.trials}.isdisjoint({0.8, 0.9})


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_trial(tmp_path):
    script = textwrap.dedent(
        f"""
        import sys, importlib.util, time
        spec = importlib.util.spec_from_file_location("cases", {__file__!r})
        cases = importlib.util.module_from_spec(spec); sys.modules["cases"] = cases; spec.loader.exec_module(cases)
        from pathlib import Path
        def hang(done, wanted):
            if done == 2:
                Slow.pause = 60.0
        class Slow(cases.Fake):
            def fit(self, *args, **kwargs):
                if Slow.pause: print("running", flush=True); time.sleep(Slow.pause)
                return super().fit(*args, **kwargs)
        Slow.pause = 0.0; Slow.__name__ = "Fake"
        cases.search(Path({str(tmp_path)!r}), trials=4, fake=lambda **p: Slow(**p), on_trial=hang)
        """
    )
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=root)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline().strip() == b"running"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = []
    tuned = search(tmp_path, trials=4, on_trial=lambda n, *_: done.append(n))
    assert done == [3, 4]
    assert [t["params"] for t in tuned.trials] == [t["params"] for t in search(tmp_path / "clean", trials=4).trials]


def test_a_model_without_settings_takes_one_trial(tmp_path):
    tuned = search(tmp_path, trials=20, space={})
    assert (len(tuned.trials), tuned.params) == (1, {})


def test_the_time_cap_ends_training_and_keeps_the_trial(tmp_path):
    trained = []

    class Slow(Fake):
        def scorer(self):
            trained.append(self.trained)
            return super().scorer()

    tuned = search(tmp_path, trials=2, fake=lambda **p: Slow(pause=0.02, epochs=50, **p), max_seconds=0.05)
    assert [t["capped"] for t in tuned.trials] == [True, True]
    assert [t["state"] for t in tuned.trials] == ["complete", "complete"]
    assert all(2 <= n <= 6 for n in trained)
    assert tuned.seconds == sum(t["seconds"] for t in tuned.trials) < 1


def test_hopeless_trials_are_pruned_and_count(tmp_path):
    only = {"quality": SPACE["quality"]}
    finished = []

    class Counted(Fake):
        def scorer(self):
            finished.append(self.quality)
            return super().scorer()

    tuned = search(tmp_path, trials=20, space=only, fake=lambda **p: Counted(epochs=20, **p))
    pruned = [t for t in tuned.trials if t["state"] == "pruned"]
    assert len(tuned.trials) == 20
    assert pruned
    assert len(finished) == 20 - len(pruned)
    middle = np.median([t["params"]["quality"] for t in tuned.trials])
    assert all(t["params"]["quality"] < middle for t in pruned)
    # stopped in the tenth of twenty epochs: nothing is judged before
    assert pruned[0]["value"] == pytest.approx(pruned[0]["params"]["quality"] * 10 / 20)
    assert tuned.params["quality"] not in [t["params"]["quality"] for t in pruned]


def test_settings_that_break_count_as_failed_trials(tmp_path):
    class Fragile(Fake):
        def fit(self, *args, **kwargs):
            if self.size > 8:
                raise FloatingPointError("the training loss became nan:\n lower learning_rate")
            return super().fit(*args, **kwargs)

    tuned = search(tmp_path, trials=8, fake=Fragile)
    failed = [t for t in tuned.trials if t["state"] == "failed"]
    assert len(tuned.trials) == 8
    assert failed
    assert all(t["params"]["size"] > 8 and t["value"] is None for t in failed)
    assert failed[0]["error"] == "FloatingPointError: the training loss became nan: lower learning_rate"
    assert tuned.params["size"] <= 8


def test_if_all_trials_fail_the_reason_is_told_and_bugs_are_not_hidden(tmp_path):
    class Broken(Fake):
        def fit(self, *args, **kwargs):
            raise ValueError("too few users")

    with pytest.raises(TuningError, match="none of 2 trials of Broken gave a value: ValueError: too few users"):
        search(tmp_path, trials=2, fake=Broken)

    class Bug(Fake):
        def fit(self, *args, **kwargs):
            raise NameError("no such name")

    with pytest.raises(NameError):
        search(tmp_path / "bug", trials=2, fake=Bug)


def test_a_refusal_passes_through_and_runs_once(tmp_path):
    calls = []

    class Refusing(Fake):
        def fit(self, *args, **kwargs):
            calls.append(1)
            raise Refused("25,181 items need 5 GB")

    with pytest.raises(Refused, match="25,181 items"):
        search(tmp_path, trials=8, fake=Refusing)
    assert len(calls) == 1


def test_validation_part_without_users_is_told(tmp_path):
    split = small_split()
    split.valid = csr_array((4, 4), dtype=np.float32)
    with pytest.raises(TuningError, match="gave a value: InputError: test holds 0 pairs; expected held-out pairs"):
        search(tmp_path, trials=1, split=split)


@pytest.mark.parametrize(
    ("change", "n_files"),
    [
        ({"tuning": {"trials": 2}}, 1),
        ({"tuning": {"trials": 1, "fit_seconds": 9.0}}, 1),
        ({"tuning": {"trials": 1, "seed": 1}}, 2),
        ({"tuning": {"trials": 1, "metric": "recall_at_10"}}, 2),
        ({"tuning": {"trials": 1, "max_seconds": 5.0}}, 2),
        ({"models": [{"kind": "als", "params": {"iterations": 3}}]}, 2),
        ({"protocol": {"kind": "nested", "levels": [0.5]}}, 2),
    ],
)
def test_a_search_of_something_else_has_its_own_file(tmp_path, change, n_files):
    usual = {
        "tuning": {"trials": 1},
        "models": [{"kind": "als", "params": {"iterations": 2}}],
        "protocol": {"kind": "nested", "levels": [1.0]},
    }
    for settings in (usual, usual | change):
        config = make_config(**settings)
        sources = Sources(config)
        cell = benchmark.plan(config, sources)[0]
        split = sources.splits(cell.dataset, cell.split_seed)[cell.level]
        assert search_cell(cell, split, Journal(tmp_path), lambda _: None).trials
    assert len(list((tmp_path / "tuning").iterdir())) == n_files


def test_the_model_seed_does_not_make_a_new_search(tmp_path):
    search(tmp_path, trials=1)
    search(tmp_path, trials=1, fake=lambda **p: Fake(seed=3, **p), on_trial=lambda *_: pytest.fail("ran again"))


def test_half_a_line_of_a_killed_process_is_dropped(tmp_path):
    whole = search(tmp_path / "whole", trials=4)
    search(tmp_path / "parts", trials=2)
    (file,) = (tmp_path / "parts").iterdir()
    with file.open("ab") as stream:
        stream.write(b'{"op_code":4,"worker')
    tuned = search(tmp_path / "parts", trials=4)
    assert [t["params"] for t in tuned.trials] == [t["params"] for t in whole.trials]
    assert [json.loads(line)["op_code"] for line in file.read_text().splitlines()].count(4) == 4


GARBLED = [b"SQLite format 3\x00\n", b'{"op_code": 0}\n{}\n', b"[1]\n", b"\xff\xfe\n\n", b'"digest_before"\n{}\n']


@pytest.mark.parametrize("content", GARBLED)
def test_a_damaged_file_is_set_aside_named_and_searched_again(tmp_path, content):
    file = tmp_path / "tuning" / "trials.journal"
    file.parent.mkdir()
    file.write_bytes(content)
    told = rf"^{re.escape(str(file))} holds no search as it was written \(.*\): it is kept in .*damaged, and the search"
    with pytest.warns(DamagedWarning, match=told):
        tuned = search(tmp_path / "tuning", trials=2)
    assert tuned.trials == search(tmp_path / "tuning", trials=2).trials  # which finds the new file whole
    assert (tmp_path / "damaged" / "trials.journal").read_bytes() == content


def test_no_byte_of_a_finished_trial_changes_unseen(tmp_path):
    whole = search(tmp_path / "whole" / "tuning", trials=3)
    (file,) = (tmp_path / "whole" / "tuning").iterdir()
    content = file.read_bytes()
    sealed = content.rindex(b'"digest_before"')
    damaged = tmp_path / "other" / "tuning" / file.name
    damaged.parent.mkdir(parents=True)
    for place in np.random.default_rng(0).choice(sealed, 12, replace=False):
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.warns(DamagedWarning):
            tuned = search(damaged.parent, trials=3)
        assert [trial["params"] for trial in tuned.trials] == [trial["params"] for trial in whole.trials]


def test_a_default_outside_the_space_is_tried_all_the_same(tmp_path):
    narrow = {
        "size": IntDistribution(16, 64),
        "mode": CategoricalDistribution([1, 2]),
        "quality": SPACE["quality"],
    }
    tuned = search(tmp_path, trials=3, space=narrow)
    assert tuned.trials[0]["params"] == {"size": 8, "mode": "auto", "quality": 0.5}
    assert all(t["params"]["size"] >= 16 and t["params"]["mode"] in (1, 2) for t in tuned.trials[1:])


def test_record_holds_budget_space_and_trials(tmp_path):
    record = search(tmp_path, trials=2, max_seconds=9.0).record()
    assert record["n_trials"] == 2
    assert record["tune_s"] == sum(t["seconds"] for t in record["tuning"]["results"])
    tuning = record["tuning"]
    assert (tuning["trials"], tuning["metric"], tuning["max_seconds"], tuning["seed"]) == (2, "ndcg_at_20", 9.0, 0)
    assert tuning["space"]["size"] == {"type": "int", "low": 1, "high": 64, "log": True}
    assert tuning["best_params"] in [t["params"] for t in tuning["results"]]


def test_optunas_verbosity_is_put_back(tmp_path):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    search(tmp_path, trials=1)
    assert optuna.logging.get_verbosity() == optuna.logging.INFO


@pytest.mark.parametrize(
    ("setting", "inside", "outside"),
    [
        (FloatDistribution(0.1, 0.9, step=0.2), (0.1, 0.3, 0.9), (0.2, 1.1, True, "0.3", "auto", None)),
        (FloatDistribution(0.0, 2.0), (0, 1, 2.0), (True, "1", 2.1)),
        (IntDistribution(2, 8, step=3), (2, 5, 8), (3, 9, 2.0, True, "2")),
        (CategoricalDistribution([1, "auto", None]), (1, "auto", None), (True, 2)),
    ],
)
def test_contains_by_hand(setting, inside, outside):
    assert [contains(setting, value) for value in inside] == [True] * len(inside)
    assert [contains(setting, value) for value in outside] == [False] * len(outside)


def test_a_space_is_written_as_it_is_read(tmp_path):
    raw = {
        "rate": {"type": "float", "low": 0.5, "high": 4.5, "step": 1.0},
        "size": {"type": "int", "low": 1, "high": 64, "log": True},
        "mode": {"type": "categorical", "choices": ["a", None, True, 2.5]},
    }
    (tmp_path / "model.yaml").write_text(json.dumps(raw))
    space = read_space(tmp_path / "model.yaml", list(raw))
    assert json.loads(json.dumps(as_json(space))) == raw
    assert space["size"] == IntDistribution(1, 64, log=True)


def parameters_of(kind):
    return models.estimator_class(kind)().get_params()


@pytest.mark.parametrize("encoder", ["id", "graph", "walk"])
def test_buirs_three_spaces_hold_the_defaults_and_valid_values(encoder):
    space = find_space("buir", {"encoder": encoder})
    defaults = parameters_of("buir")
    own = "weight_decay" if encoder == "id" else "n_layers"
    # A few trials have to find the rates and the weight of uniformity: nothing else is searched.
    assert set(space) == {"learning_rate", "momentum", "uniformity", own}
    for name, setting in space.items():
        assert contains(setting, defaults[name]), f"{name}: the default {defaults[name]} cannot be drawn"
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        models.build("buir", {"encoder": encoder, **study.ask(space).params})


@pytest.mark.parametrize("kind", sorted(models.CLASSES))
def test_every_kind_has_a_space_around_its_defaults(kind):
    space = find_space(kind, {})
    defaults = parameters_of(kind)
    for name, setting in space.items():
        assert contains(setting, defaults[name]), f"{kind}: {name}: the default {defaults[name]} cannot be drawn"


def test_finding_a_space(tmp_path):
    (tmp_path / "als.yaml").write_text(
        "factors: {type: int, low: 8, high: 64}\niterations: {type: int, low: 5, high: 30}\n"
    )
    (tmp_path / "als-wide.yaml").write_text("factors: {type: int, low: 100, high: 200}\n")
    assert set(find_space("als", {}, "ALS", tmp_path)) == {"factors", "iterations"}
    assert set(find_space("als", {"factors": 32}, "mine", tmp_path)) == {"iterations"}
    assert find_space("als", {}, "ALS wide", tmp_path)["factors"] == IntDistribution(100, 200)
    with pytest.raises(
        ConfigError,
        match=r"no search space for BUIR-x: looked for buir-x.yaml, buir-nb.yaml, buir.yaml in .* found als, als-wide",
    ):
        find_space("buir", {"encoder": "graph"}, "BUIR-x", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: {type: int, low: 1, high: 2}", "x: unknown parameter; valid names: rate, size"),
        ("sise: {type: int, low: 1, high: 2}", "sise: unknown parameter; did you mean 'size'"),
        ("size: {type: int, low: 3, high: 3}", "size: low is 3 and high is 3, expected low < high"),
        ("size: {type: int, low: 3, high: 2}", "size: .*low.*high"),
        ("size: {type: int, low: 0, high: 3, log: true}", "size: .*low.*log"),
        ("rate: {type: float, low: 1, high: 3, log: true, step: 1}", "rate: .*step.*log"),
        ("size: {type: int, low: 1, high: 3.5}", "size.high: got 3.5"),
        ("size: {type: int, low: 1}", "size.high: missing"),
        ("size: {low: 1, high: 3}", "size.type: missing"),
        ("size: {type: integer, low: 1, high: 3}", "size.type: got 'integer'; did you mean 'int'"),
        (
            "size: {type: int, low: 1, high: 3, choices: [1]}",
            "size.choices: unknown key of 'int'; .*low, high, log, step",
        ),
        ("size: {type: categorical, choices: []}", "size.choices: is empty; give at least one entry"),
        ("rate: {type: float, low: 0.1, high: 1, step: -1}", "rate: .*step > 0"),
        ("- 1", "holds a list of 1"),
    ],
)
def test_mistakes_in_a_space_are_told(tmp_path, text, message):
    file = tmp_path / "model.yaml"
    file.write_text(text + "\n")
    with pytest.raises(ConfigError, match=message):
        read_space(file, ["rate", "size"])


def test_tuned_is_a_value():
    tuned = Tuned({}, 0.5, [{"seconds": 1.0}, {"seconds": 2.5}], {}, TuningConfig(trials=2))
    assert tuned.seconds == 3.5
    assert replace(tuned) == tuned


def test_a_cell_takes_the_settings_that_another_ones_search_found(tmp_path):
    rivals = [
        {"kind": "als", "name": "terms", "settings_of": "ALS", "params": {"terms": "auto", "iterations": 2}},
        {"kind": "als", "params": {"iterations": 2}},
    ]
    config = make_config(models=rivals, seeds=[0], protocol={"levels": [1.0]}, tuning={"trials": 2})
    outcome = benchmark.run(config, tmp_path, Watcher())
    assert outcome.failures == []
    terms, bare = outcome.records
    assert terms.model == "terms"
    assert terms.tuning["results"] == bare.tuning["results"]
    assert len(list((tmp_path / "tuning").iterdir())) == 1
    found = bare.tuning["best_params"]
    assert {name: terms.params[name] for name in found} == {name: bare.params[name] for name in found}
    assert terms.params["terms"] == "auto"
    assert bare.params["iterations"] == 2


def test_deciding_inside_the_training_part_never_looks_at_the_validation_part(tmp_path):
    data = [{"dataset": "synthetic", "options": {"n_users": 300, "n_items": 60, "n_pairs": 4000, "seed": 0}}]
    models = [
        {"kind": "popularity"},
        {"kind": "als", "params": {"factors": 4, "iterations": 2, "terms": "auto"}},
        {"kind": "lightgcn", "params": {"embedding_dim": 4, "n_layers": 1, "epochs": 4}},
        {"kind": "buir", "params": {"embedding_dim": 4, "epochs": 2}},
        {"kind": "buir", "preset": "paper", "params": {"embedding_dim": 4, "epochs": 2}},
    ]
    tuning = {"trials": 2, "fit_seconds": 5}
    config = make_config(data=data, models=models, seeds=[0], tuning=tuning, decided_on="inner")
    sources = Sources(config)
    for level, split in sources.splits("synthetic", 0).items():
        # without it: whoever decides by the validation part fails, and measuring needs only what it hides
        empty = split.valid.keep(np.zeros(split.valid.n_pairs, dtype=bool))
        sources.splits("synthetic", 0)[level] = replace(split, valid=empty)
    outcome = benchmark.run(config, tmp_path, Watcher(), sources=sources)
    assert outcome.failures == []
    assert {record.decided_on for record in outcome.records} == {"inner"}
    for record in outcome.records:
        if record.kind == "buir":
            assert record.chosen["held_out"] == "inner"
        if record.kind == "als":
            split = sources.splits("synthetic", 0)[record.level]
            inside = split.inside(0)
            settings = record.params | {"seed": 0}
            model = ALS(**settings).fit(inside.train, inside.valid, show_progress=False).again(split.train)
            value = evaluate(model, split.train, split.test, ks=(20,), metrics=("ndcg",)).means["ndcg_at_20"]
            assert value == pytest.approx(record.metrics["ndcg_at_20"])


def test_what_decides_is_part_of_a_cell_and_too_little_to_decide_by_is_said_before_anything_runs():
    usual, inner = make_config(tuning={"trials": 1}), make_config(tuning={"trials": 1}, decided_on="inner")
    with pytest.raises(ExperimentError, match=r"^synthetic at 50 %: .* 200 users with at least 3 training pairs, \d+ "):
        benchmark.plan(inner, Sources(inner))
    (cell, *_) = benchmark.plan(usual, Sources(usual))
    other = replace(cell, decided_on="inner")
    assert cell.key != other.key
    assert cell.search_key != other.search_key
    # and results from before there was a choice keep their keys
    apart = ("params", "preset", "searched_as", "weight", "decided_on")
    parts = {f.name: getattr(cell, f.name) for f in fields(cell) if f.name not in apart}
    assert cell.key == cell_key(parts | {"params": cell.resolved, "version": version("buir")})
    facts = {
        "key": cell.key,
        "dataset": "toy",
        "protocol": "nested",
        "level": 0.5,
        "model": "m",
        "kind": "als",
        "params": {},
    }
    assert Record(**facts).decided_on == "valid"


def test_inner_validation_that_is_off_does_not_go_with_deciding_inside():
    models = [{"kind": "buir", "params": {"inner_validation": False}}]
    with pytest.raises(ValueError, match="inner_validation is False, and with 'decided_on: inner' every model"):
        make_config(models=models, decided_on="inner")
    make_config(models=models)


def test_who_was_ended_by_the_clock_inside_is_told_of_rivals_as_of_buir(tmp_path):
    data = [{"dataset": "synthetic", "options": {"n_users": 300, "n_items": 60, "n_pairs": 4000, "seed": 0}}]
    long = {"epochs": 100_000, "patience": 100_000}
    models = [
        {"kind": "lightgcn", "params": {"embedding_dim": 4, "n_layers": 1, **long}},
        {"kind": "buir", "params": {"embedding_dim": 4, "uniformity": 0.1, "learning_rate": 0.03, "terms": {}, **long}},
    ]
    protocol = {"kind": "nested", "levels": [1.0]}
    tuning = {"trials": 1, "max_seconds": 0.2, "fit_seconds": 0.5}
    config = make_config(data=data, models=models, seeds=[0], protocol=protocol, tuning=tuning, decided_on="inner")
    outcome = benchmark.run(config, tmp_path, Watcher())
    assert [record.capped for record in outcome.records] == [True, True]
    for record in outcome.records:
        assert Fit.of(record).stopped == "seconds"
