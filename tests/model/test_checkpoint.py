"""A fit that ends anywhere goes on from its checkpoint and comes to the same bytes."""

import json
import logging
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from buir import BUIR
from buir.errors import CheckpointWarning, InputError, StorageError
from buir.learning import BootstrapLearner
from buir.model import checkpoint as module
from buir.model.storage import CHECKPOINT, read_file, write_file
from tests.support.mortal_fits import CASES, SMALL, TRAIN, VALID, WIDE, Killed, Mortal, content, pieces, settings_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("case", CASES)
def test_a_fit_that_dies_at_every_writing_comes_to_the_same_bytes(case, tmp_path, monkeypatch):
    settings, valid = settings_of(case)
    mortal = Mortal(monkeypatch)
    plain = content(BUIR(**settings).fit(TRAIN, valid, show_progress=False))
    n_epochs, model = mortal.epochs, BUIR(**settings)
    n_lives = mortal.outlive(model, tmp_path / "checkpoint", TRAIN, valid)
    assert content(model) == plain
    assert model.chosen_.epochs > 0
    assert n_lives > n_epochs
    assert n_epochs <= mortal.epochs - n_epochs <= n_epochs + n_lives // 3


@pytest.mark.parametrize(("seed", "began"), [(6, "random"), (11, "spectral")])
def test_a_fit_from_both_starts_that_dies_at_every_writing_comes_to_the_same_bytes(seed, began, tmp_path, monkeypatch):
    data, settings = pieces(seed), {"embedding_dim": 8, "valid_metric": "ndcg_at_5", "epochs": 4, "device": "cpu"}
    mortal = Mortal(monkeypatch)
    whole = BUIR(**settings).fit(*data, show_progress=False)
    assert whole.chosen_.began == began
    assert whole.chosen_.beside is not None
    n_epochs, model = mortal.epochs, BUIR(**settings)
    n_lives = mortal.outlive(model, tmp_path / "checkpoint", *data)
    assert content(model) == content(whole)
    assert n_lives > n_epochs


@pytest.mark.parametrize(("branch", "valid"), [(None, VALID), (0.3, None)], ids=["at its end", "in a branch"])
def test_a_callback_that_ended_the_first_of_two_trainings_has_ended_the_fit_that_is_resumed(
    branch, valid, tmp_path, monkeypatch
):
    settings = SMALL | {"learning_rate": 0.03, "inner_validation": True}
    asked: list[dict] = []

    def ends(record: dict) -> bool:
        asked.append(record)
        return record.get("branch") == branch

    plain = content(BUIR(**settings).fit(TRAIN, valid, show_progress=False, callback=ends))
    assert any(record.get("branch") == branch for record in asked)
    assert not any("watched" in record for record in asked), "a second training began"
    mortal, model = Mortal(monkeypatch), BUIR(**settings)
    n_lives = mortal.outlive(model, tmp_path / "checkpoint", TRAIN, valid, within=False, callback=ends)
    assert content(model) == plain
    assert n_lives > 3
    assert not any("watched" in record for record in asked), "a second training began where the fit was resumed"


def test_a_callback_that_ended_the_first_of_two_starts_has_ended_the_fit_that_is_resumed(tmp_path):
    train, valid = pieces()
    asked: list[dict] = []

    def ends(record: dict) -> bool:
        asked.append(record)
        return "branch" not in record and record["epoch"] == 3

    settings = {"embedding_dim": 4, "device": "cpu", "epochs": 8}
    where = {"checkpoint": tmp_path / "checkpoint", "checkpoint_minutes": 0, "resume": True}
    models = [BUIR(**settings).fit(train, valid, show_progress=False, callback=ends, **where) for _ in range(2)]
    assert any("branch" not in record for record in asked), "there was no training to end"
    assert not any("began" in record for record in asked), "another start was trained"
    assert content(models[0]) == content(models[1])
    assert models[1].chosen_ == models[0].chosen_


TRAINED = SMALL | WIDE | {"uniformity": 0.0}
"""Settings by which all four epochs are run."""


FEWER, OTHER = TRAIN.copy(), TRAIN.copy()
FEWER.data[0] = 0
FEWER.eliminate_zeros()
OTHER.indices[-1] = next(item for item in range(39, 0, -1) if TRAIN[59, item] + VALID[59, item] == 0)
OTHER.sort_indices()


def half_done(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the checkpoint of a fit that died in its training, after two epochs."""
    with monkeypatch.context() as patch, suppress(Killed):
        Mortal(patch).lives(3)
        BUIR(**TRAINED).fit(TRAIN, VALID, show_progress=False, checkpoint=path, checkpoint_minutes=0)


def resume(path: Path, train=TRAIN, valid=VALID, **settings) -> BUIR:
    return BUIR(**TRAINED | settings).fit(train, valid, show_progress=False, checkpoint=path, resume=True)


def test_without_an_interval_that_is_over_only_the_beginning_and_the_end_are_written(tmp_path, monkeypatch):
    written, write = [], module.write_file
    monkeypatch.setattr(module, "write_file", lambda *what: (written.append(what), write(*what)))
    model = BUIR(**TRAINED).fit(TRAIN, VALID, show_progress=False, checkpoint=tmp_path / "c")
    assert len(written) == 2
    # a finished one comes to its model without training again
    mortal = Mortal(monkeypatch)
    assert content(resume(tmp_path / "c")) == content(model)
    assert mortal.epochs == 0


def test_a_checkpoint_that_is_there_is_not_overwritten_and_one_that_is_not_begins_anew(tmp_path, caplog):
    path = tmp_path / "c"
    path.write_bytes(b"years of work")
    with pytest.raises(InputError, match=r"is there already; .* delete it to begin anew, or go on from it with resume"):
        BUIR(**TRAINED).fit(TRAIN, VALID, checkpoint=path)
    assert path.read_bytes() == b"years of work"
    with caplog.at_level(logging.INFO, "buir.model"):
        resume(tmp_path / "other")
    assert "other is not there: the fit begins anew" in caplog.text


@pytest.mark.parametrize(
    ("settings", "train", "valid", "said"),
    [
        ({"epochs": 5}, TRAIN, VALID, "was made with epochs=4, and this fit has epochs=5; expected the same settings"),
        (
            {},
            FEWER,
            VALID,
            r"was made from 386 pairs of 60 users and 40 items, 86 held out, and this fit has 385 pairs",
        ),
        ({}, TRAIN, None, r"was made from 386 pairs .*, 86 held out, and this fit has .*, none held out; expected"),
        ({}, OTHER, VALID, "was made from other pairs, as many, and this fit has"),
    ],
    ids=["settings", "data", "no validation", "other pairs"],
)
def test_another_fit_is_refused_in_one_sentence(settings, train, valid, said, tmp_path, monkeypatch):
    path = tmp_path / "c"
    half_done(path, monkeypatch)
    before = path.read_bytes()
    with pytest.raises(InputError, match=said) as error:
        resume(path, train, valid, **settings)
    assert error.value.argument == "checkpoint"
    assert path.read_bytes() == before


def test_ids_and_weights_are_part_of_the_data(tmp_path):
    frame = pd.DataFrame({"user": list("aabb"), "item": [1, 2, 2, 3], "weight": [1.0, 2.0, 1.0, 1.0]})
    small = {"embedding_dim": 2, "epochs": 1, "batch_size": 4, "device": "cpu", "inner_validation": False}

    def fit(frame, **options):
        return BUIR(**small).fit(frame, show_progress=False, checkpoint=tmp_path / "c", **options)

    fit(frame, weights="values")
    fit(frame, weights="values", resume=True)
    for other, weights in (
        (frame.assign(item=frame["item"] + 1), "values"),
        (frame.assign(user=list("aacc")), "values"),
        (frame.assign(weight=frame["weight"] + [0, 0, 0, 1]), "values"),
        (frame.drop(columns="weight"), None),
    ):
        with pytest.raises(InputError, match="expected the same data"):
            fit(other, weights=weights, resume=True)


def test_another_version_is_refused(tmp_path, monkeypatch):
    half_done(tmp_path / "c", monkeypatch)
    _, arrays, facts = read_file(tmp_path / "c", CHECKPOINT)
    write_file(tmp_path / "c", arrays, facts | {"version": "9.9"}, CHECKPOINT)
    with pytest.raises(InputError, match=r"was written by buir 9\.9, and this is buir .*; expected the same version"):
        resume(tmp_path / "c")


def test_a_model_is_no_checkpoint_and_a_checkpoint_is_no_model(tmp_path, monkeypatch):
    half_done(tmp_path / "c", monkeypatch)
    with pytest.raises(StorageError, match="not a model of buir"):
        BUIR.load(tmp_path / "c")
    BUIR(**SMALL).save(tmp_path / "m")
    with pytest.raises(
        StorageError, match=r"not a checkpoint of buir; expected one that fit\(checkpoint=\.\.\.\) wrote"
    ):
        resume(tmp_path / "m")


@pytest.mark.parametrize("part", range(8))
def test_a_damaged_checkpoint_is_refused(part, tmp_path, monkeypatch):
    path = tmp_path / "c"
    half_done(path, monkeypatch)
    data = bytearray(path.read_bytes())
    place = len(data) * part // 8
    for broken in (data[:place], data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]):
        path.write_bytes(broken)
        with pytest.raises((StorageError, InputError), match="checkpoint"):
            resume(path)


def changes(arrays: dict, facts: dict):
    """Yield what somebody may write into a checkpoint, with a checksum that fits."""
    training, nan = facts["training"], float("nan")
    for name in ("results", "histories", "training"):
        yield {}, {name: 3}
        yield {}, {name: {"training": 3}}
    for change in (
        *({"epoch": value} for value in (0, 1.5, "2", None, nan, 10**400)),
        *({"seconds": value} for value in (-1, nan, None)),
        *({"history": value} for value in (3, [3], [{}], [training["history"][0] | {"best": 1}])),
        {"history": [training["history"][0] | {"ndcg_at_20": "much"}]},
        {"name": 3},
    ):
        yield {}, {"training": training | change}
    for name in training:
        yield {}, {"training": {key: value for key, value in training.items() if key != name}}
    for name, told in facts["results"].items():
        for part in told:
            yield {}, {"results": facts["results"] | {name: told | {part: ["x"]}}}
            yield {}, {"results": facts["results"] | {name: {key: v for key, v in told.items() if key != part}}}
    for place, (name, array) in enumerate(arrays.items()):
        wrong = [None, np.zeros((2, 2, 2), dtype=array.dtype), np.full_like(array, nan)]
        wrong += [array.astype(np.float64)] if array.size > 1 else []  # numbers of steps may be of either type
        yield {name: wrong[place % len(wrong)]}, {}
        yield {name: wrong[(place + 1) % len(wrong)]}, {}


def test_what_a_stranger_wrote_is_checked_as_a_model_is(tmp_path, monkeypatch):
    path = tmp_path / "c"
    half_done(path, monkeypatch)
    _, arrays, facts = read_file(path, CHECKPOINT)
    n_tried = 0
    for other_arrays, other_facts in changes(arrays, facts):
        kept = {name: array for name, array in (arrays | other_arrays).items() if array is not None}
        write_file(path, kept, facts | other_facts, CHECKPOINT)
        with pytest.raises(StorageError, match="is no whole checkpoint"):
            resume(path)
        n_tried += 1
    assert n_tried > 50


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"resume": True}, "resume goes on from a file, and none is given; expected checkpoint with its path"),
        ({"checkpoint": 3}, "checkpoint is 3; expected the path of a file, or None"),
        ({"checkpoint": "c", "checkpoint_minutes": -1}, "checkpoint_minutes is -1; expected a number from 0"),
        ({"checkpoint": "c", "checkpoint_minutes": "5"}, "checkpoint_minutes is '5'; expected a number from 0"),
        ({"checkpoint": "no/such/folder/c"}, "the folder no/such/folder does not exist; create it first"),
        ({"checkpoint": "."}, "is there already"),
        (
            {"checkpoint": ".", "resume": True},
            r"is a folder; expected a checkpoint that fit\(checkpoint=\.\.\.\) wrote",
        ),
    ],
)
def test_arguments_that_cannot_be(options, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mortal = Mortal(monkeypatch)
    with pytest.raises(InputError, match=said):
        BUIR(**TRAINED).fit(TRAIN, VALID, show_progress=False, **options)
    assert mortal.epochs == 0


def test_ctrl_c_writes_the_last_epoch_and_says_how_to_go_on(tmp_path, monkeypatch):
    path, n_steps, step = tmp_path / "c", 0, BootstrapLearner.step
    plain = content(BUIR(**TRAINED).fit(TRAIN, VALID, show_progress=False))

    def interrupted(learner, *batch):
        nonlocal n_steps
        n_steps += 1
        if n_steps == 2 * -(-TRAIN.nnz // 64) + 3:
            raise KeyboardInterrupt
        return step(learner, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(BootstrapLearner, "step", interrupted)
        with pytest.raises(KeyboardInterrupt) as error:
            BUIR(**TRAINED).fit(TRAIN, VALID, show_progress=False, checkpoint=path)
    assert error.value.__notes__ == [f"{path} keeps the best weights so far: resume=True goes on from there"]
    training = read_file(path, CHECKPOINT)[2]["training"]
    assert (training["name"], training["epoch"], len(training["history"])) == ("training", 2, 3)
    mortal = Mortal(monkeypatch)
    assert content(resume(path)) == plain
    assert mortal.epochs == 2


def test_a_disk_that_is_full_meanwhile_warns_and_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    path, written, write = tmp_path / "c", [], module.write_file

    def full(target, *what):
        if written:
            msg = f"cannot save to {target}: No space left on device; free some"
            raise StorageError(msg)
        written.append(what)
        write(target, *what)

    plain = content(BUIR(**TRAINED).fit(TRAIN, VALID, show_progress=False))
    monkeypatch.setattr(module, "write_file", full)
    with pytest.warns(CheckpointWarning, match=r"No space left .*; training goes on, and the checkpoint is as it was"):
        model = BUIR(**TRAINED).fit(TRAIN, VALID, show_progress=False, checkpoint=path, checkpoint_minutes=0)
    assert content(model) == plain
    assert read_file(path, CHECKPOINT)[2]["training"] is None


def test_the_callback_hears_everything_in_order_after_a_resumption(tmp_path, monkeypatch):
    heard = []
    BUIR(**TRAINED).fit(TRAIN, VALID, show_progress=False, callback=lambda r: heard.append(r["epoch"]))
    half_done(tmp_path / "c", monkeypatch)
    again = []
    BUIR(**TRAINED).fit(
        *(TRAIN, VALID),
        show_progress=False,
        callback=lambda r: again.append(r["epoch"]),
        checkpoint=tmp_path / "c",
        resume=True,
    )
    assert again == heard == [0, 1, 2, 3, 4]


def killed(case: str, n_kills: int, folder: Path, seed: int = 0) -> dict[str, int]:
    """Kill fits in processes of their own; return where they died, and how many came to the same bytes in the end."""
    command = [sys.executable, "-m", "tests.support.mortal_fits", case, str(n_kills), str(seed), str(folder)]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=os.environ | one_thread, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_two_kills_come_to_the_same_bytes(tmp_path):
    told = killed("inner validation of a start", 2, tmp_path, seed=1)
    assert told["equal"] == told["rounds"] == 1
    assert told["at a random moment"] + told["in a writing"] + told["after a writing"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_twenty_kills_come_to_the_same_bytes(case, tmp_path):
    told = killed(case, 20, tmp_path)
    sys.stdout.write(f"{case}: {told}\n")
    assert told["equal"] == told["rounds"]
    assert told["at a random moment"] + told["in a writing"] + told["after a writing"] == 20
    assert told["in a writing"] > 0
