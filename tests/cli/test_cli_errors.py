"""Wrong commands: one line on stderr that says what came, what was expected and what to do; never a traceback."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from buir import BUIR, Interactions
from buir.cli.app import app
from buir.cli.terminal import option, setting
from buir.errors import Argument
from buir.model.storage import write_file

TINY = ["--set", "embedding_dim=4", "--set", "epochs=1", "--set", "batch_size=4", "--set", "device=cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Good and bad files, by their names."""
    folder = tmp_path_factory.mktemp("files")
    pairs = [("ann", 10), ("ann", 20), ("bob", 10), ("bob", 30), ("cat", 30)]
    texts = {
        "train.csv": "user,item\n" + "".join(f"{user},{item}\n" for user, item in pairs),
        "grid.csv": "user,item\n" + "".join(f"{user},{item}\n" for user in range(5) for item in range(user, user + 6)),
        "single.csv": "user,item\nann,1\nbob,2\n",
        "numbers.csv": "user,item\n1,10\n2,20\n",
        "ragged.csv": "user,item\nann,10\nbob,20,30,40\ncat,10\n",
        "strange.csv": "who,what\nx,1\ny,2\n",
        "missing.csv": "user,item\nann,10\n,20\n",
        "rated.csv": "user,item,rating\nann,10,5\nbob,20,good\n",
        "timed.csv": "user,item,time\nann,10,5\nbob,20,soon\n",
        "lists.dat": "2 10 20\n1 10\n",
        "low.csv": "user,item,rating\nann,10,1\nbob,20,2\n",
        "column.txt": "ann\nbob\ncat\n",
        "empty.csv": "",
        "blank.txt": "\n \n",
        "deny.txt": "99\n",
        "floats.csv": "user,item\nann,10.0\nbob,20.0\n",
        "lines.jsonl": '{"user": "ann", "item": 10}\n',
        "seen.csv": "user,item\nann,10\nbob,30\n",
        "latin.csv": "user,item\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "latin.csv").write_bytes("user,item\nzoé,2\n".encode() + b"ren\xe9,1\n")
    (folder / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (folder / "data.zip").write_bytes(b"PK\x03\x04rest of the archive")
    model = BUIR(embedding_dim=4, epochs=1, batch_size=4, device="cpu")
    model.save(folder / "unfitted")
    model.fit(Interactions.from_pairs(*zip(*pairs, strict=True)), show_progress=False)
    model.save(folder / "model")
    model.save(folder / "light", training_matrix=False)
    whole = (folder / "model").read_bytes()
    (folder / "cut").write_bytes(whole[:-10])
    (folder / "changed").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    write_file(folder / "other", {}, {"class": "EASE", "parameters": {}, "fitted": False})
    return folder


FIT = ["fit", "train.csv", "--out", "out"]
WRONG_ORDERS = {
    # fit: the file
    "no file": (["fit", "trian.csv", "--out", "out"], 1, ("trian.csv", "did you mean 'train.csv'?")),
    "a folder": (["fit", ".", "--out", "out"], 1, ("is a folder",)),
    "an empty file": (["fit", "empty.csv", "--out", "out"], 1, ("empty.csv: holds no rows",)),
    "an image": (["fit", "image.png", "--out", "out"], 1, ("image.png", "binary", "byte 8")),
    "an archive": (["fit", "data.zip", "--out", "out"], 1, ("data.zip", "zip archive")),
    "another encoding": (
        ["fit", "latin.csv", "--out", "out"],
        1,
        ("latin.csv, line 3:", "0xe9", "name its --encoding"),
    ),
    "a broken line": (
        ["fit", "ragged.csv", "--out", "out"],
        1,
        ("ragged.csv, line 3:", "4 columns", "--format adjacency", "--format counted"),
    ),
    "a missing id": (["fit", "missing.csv", "--out", "out"], 1, ("missing.csv, line 3:", "user id is missing")),
    "a single column": (["fit", "column.txt", "--out", "out", "--format", "comma"], 1, ("1 column", "pass --format")),
    "unknown columns": (["fit", "strange.csv", "--out", "out"], 1, ("['who', 'what']", "pass --column user=COLUMN")),
    "a rating in words": (
        ["fit", "rated.csv", "--out", "out", "--min-rating", "3"],
        1,
        ("rated.csv, line 3:", "'good'", "--column rating=COLUMN"),
    ),
    "a time in words": (
        ["fit", "timed.csv", "--out", "out"],
        1,
        ("timed.csv, line 3:", "'soon'", "--column time=COLUMN"),
    ),
    "no ratings": ([*FIT, "--min-rating", "3"], 1, ("--min-rating is 3.0", "--column rating=COLUMN")),
    "nothing left by rating": (
        ["fit", "low.csv", "--out", "out", "--min-rating", "3"],
        1,
        ("low.csv: no pair is left", "2 below"),
    ),
    "nothing left by count": ([*FIT, "--min-user", "9"], 1, ("train.csv: no pair is left",)),
    # fit: the options
    "an unknown format": ([*FIT, "--format", "coma"], 2, ("--format is 'coma'", "did you mean 'comma'?")),
    "a wrong format": ([*FIT, "--format", "parquet"], 1, ("train.csv", "no Parquet file")),
    "a column without role": ([*FIT, "--column", "3"], 2, ("--column is '3'", "ROLE=COLUMN")),
    "an unknown role": ([*FIT, "--column", "raiting=2"], 2, ("--column", "'raiting'", "did you mean 'rating'?")),
    "a role twice": ([*FIT, "--column", "user=0", "--column", "user=1"], 2, ("--column", "user twice", "'0' and '1'")),
    "a column that is not there": ([*FIT, "--column", "user=customer"], 1, ("train.csv", "no column 'customer'")),
    "one column as two": (
        [*FIT, "--column", "user=0", "--column", "item=0"],
        1,
        ("train.csv", "one column as two", "pass --column"),
    ),
    "a setting without value": ([*FIT, "--set", "epochs"], 2, ("--set is 'epochs'", "NAME=VALUE")),
    "settings of implicit": (
        [*FIT, "--set", "factors=64", "--set", "use_gpu=true"],
        2,
        (
            "--set: BUIR has no parameter 'factors': here it is embedding_dim=64; no 'use_gpu': here it is device='cuda'",
        ),
    ),
    "a misspelt setting": (
        [*FIT, "--set", "embeding_dim=8"],
        2,
        ("--set", "'embeding_dim'", "did you mean 'embedding_dim'?"),
    ),
    "an unknown encoder": ([*FIT, "--set", "encoder=grpah"], 2, ("--set: encoder is 'grpah'", "did you mean 'graph'?")),
    "a width of zero": ([*FIT, "--set", "embedding_dim=0"], 2, ("--set: embedding_dim is 0",)),
    "a width beyond all memory": (
        [*FIT, "--set", "embedding_dim=99999999999999999999"],
        2,
        ("--set: embedding_dim is 99999999999999999999",),
    ),
    "layers without end": ([*FIT, "--set", "n_layers=99999999999"], 2, ("--set: n_layers is 99999999999",)),
    "a seed of more than 64 bits": ([*FIT, "--set", f"seed={2**70}"], 2, ("--set: seed is",)),
    "an endless rate": ([*FIT, "--set", "learning_rate=Infinity"], 2, ("--set: learning_rate is inf",)),
    "a list that no memory holds": (
        [*FIT, "--set", "valid_metric=ndcg_at_99999999"],
        2,
        ("--set: valid_metric is 'ndcg_at_99999999'",),
    ),
    "a rate of one wide step": (
        [*FIT, *TINY, "--set", "learning_rate=1e300", "--set", "encoder=id", "--set", "inner_validation=false"],
        1,
        ("lower learning_rate",),
    ),
    "a fraction of an epoch": ([*FIT, "--set", "epochs=1.5"], 2, ("--set: epochs is 1.5", "whole number")),
    "a momentum above 1": ([*FIT, "--set", "momentum=1.5"], 2, ("--set: momentum is 1.5",)),
    "a rate in words": ([*FIT, "--set", "learning_rate=fast"], 2, ("--set: learning_rate is 'fast'",)),
    "an unknown metric": ([*FIT, "--set", "valid_metric=auc"], 2, ("--set: valid_metric is 'auc'", "ndcg_at_20")),
    "edges dropped without graph": (
        [*FIT, "--set", "encoder=id", "--set", "edge_drop_rate=0.1"],
        2,
        ("--set: edge_drop_rate is 0.1", "'id'"),
    ),
    "an unknown device": ([*FIT, "--set", "device=gpu"], 2, ("--set: device is 'gpu'",)),
    "an unknown term": (
        [*FIT, "--set", 'terms={"popular": 1}'],
        2,
        ("--set: terms is {'popular': 1}", "popularity"),
    ),
    "popularity in its old place": ([*FIT, "--set", "popularity=0.5"], 2, ("popularity", "terms")),
    "a folder to write": (["fit", "train.csv", "--out", "."], 2, ("--out is '.'", "'model.safetensors'")),
    "a folder that is not there": (["fit", "train.csv", "--out", "absent/m"], 2, ("--out is 'absent/m'", "create")),
    # recommend
    "no model": (["recommend", "absent"], 1, ("absent is no file",)),
    "data as model": (["recommend", "train.csv"], 1, ("train.csv is no model file",)),
    "half a model": (["recommend", "cut"], 1, ("cut is truncated",)),
    "a changed model": (["recommend", "changed"], 1, ("changed was changed",)),
    "a model of another class": (["recommend", "other"], 1, ("EASE.load",)),
    "a model never fitted": (["recommend", "unfitted"], 1, ("unfitted", "never fitted", "buir fit")),
    "a model without rows": (["recommend", "light"], 2, ("training rows", "--include-seen")),
    "popular without rows": (
        ["recommend", "light", "--include-seen", "--unknown", "popular", "--user", "zoe"],
        2,
        ("--unknown popular", "training rows"),
    ),
    "an unknown user": (
        ["recommend", "model", "--user", "ann", "--user", "zoe"],
        2,
        ("--user holds", "'zoe'", "--unknown skip", "--unknown popular", "--history"),
    ),
    "an unknown denied item": (
        ["recommend", "model", "--deny", "deny.txt"],
        2,
        ("--deny holds", "99", "--unknown skip"),
    ),
    "an unknown allowed item": (
        ["recommend", "model", "--allow", "deny.txt", "--user", "ann"],
        2,
        ("--allow holds", "99", "--unknown skip"),
    ),
    "a picture of users": (["recommend", "model", "--users", "image.png"], 1, ("image.png", "binary")),
    "users in latin letters": (["recommend", "model", "--users", "latin.csv"], 1, ("latin.csv", "UTF-8")),
    "floats of pandas": (["fit", "floats.csv", "--out", "out"], 1, ("floats.csv, line 2:", "'10.0'")),
    "json lines as columns": (
        ["data", "describe", "lines.jsonl", "--format", "comma"],
        1,
        ("lines.jsonl", "JSON lines, not 'comma'"),
    ),
    "a separator of another format": (
        [*FIT, "--format", "tab", "--separator", ";"],
        2,
        ("--separator is ';'", "'tab'"),
    ),
    "an unknown encoding": ([*FIT, "--encoding", "latin-99"], 2, ("--encoding is 'latin-99'", "cp1252")),
    "an unknown item in a history": (["recommend", "model", "--history", "single.csv"], 2, ("--history holds", "1, 2")),
    "no ids": (["recommend", "model", "--users", "blank.txt"], 2, ("blank.txt holds no ids",)),
    "no file of ids": (["recommend", "model", "--allow", "alow.txt"], 1, ("alow.txt: no such file",)),
    "an unknown kind of table": (
        ["recommend", "model", "--out", "lists.xlsx"],
        2,
        ("--out is 'lists.xlsx'", ".parquet"),
    ),
    "no folder for the lists": (
        ["recommend", "model", "--out", "absent/l.csv"],
        2,
        ("--out is 'absent/l.csv'", "create"),
    ),
    # evaluate
    "no test file": (["evaluate", "model", "absent.csv"], 1, ("absent.csv: no such file",)),
    "test as model": (["evaluate", "train.csv", "model"], 1, ("train.csv is no model file",)),
    "other ids": (["evaluate", "model", "numbers.csv"], 2, ("numbers.csv", "2 of unknown users", "'ann', 10")),
    "the training part": (["evaluate", "model", "seen.csv"], 2, ("seen.csv", "2 that are in training")),
    "evaluation without rows": (["evaluate", "light", "seen.csv"], 2, ("training rows",)),
    # data describe
    "describe: no file": (["data", "describe", "trian.csv"], 1, ("did you mean 'train.csv'?",)),
    "describe: a column that is not there": (
        ["data", "describe", "train.csv", "--column", "rating=9"],
        1,
        ("train.csv", "no column '9'"),
    ),
    "describe: ratings of lists": (
        ["data", "describe", "lists.dat", "--min-rating", "3"],
        1,
        ("lists.dat", "--min-rating is 3.0", "leave --min-rating out", "pass --format"),
    ),
    "recommend: less like what is not there": (
        ["recommend", "model", "--less-like", "99"],
        2,
        ("--less-like holds item ids unknown to the model: 99", "look like 10"),
    ),
    "recommend: less and more of the same": (
        ["recommend", "model", "--less-like", "10", "--more-like", "10"],
        2,
        ("--less-like and --more-like both name item 10", "one side"),
    ),
    "recommend: a strength of nothing": (
        ["recommend", "model", "--strength", "2"],
        2,
        ("--strength is 2 and no item is named", "--less-like or --more-like"),
    ),
    "a predictor that is none of both": (
        [*FIT, "--set", "predictor=foo"],
        2,
        ("--set: predictor is 'foo'", "'none', 'linear'"),
    ),
    "recommend: a negative strength": (
        ["recommend", "model", "--less-like", "10", "--strength", "-1"],
        2,
        ("--strength is -1.0", "from 0"),
    ),
    "recommend: popular lists turned": (
        ["recommend", "model", "--user", "zoe", "--unknown", "popular", "--more-like", "10"],
        2,
        ("--unknown popular", "'zoe'", "--more-like", "--unknown skip"),
    ),
    "negatives: nothing to hold out": (
        ["negatives", "train.csv"],
        2,
        ("the nested split leaves no test pair", "use more data"),
    ),
    "negatives: a level in per cent": (["negatives", "train.csv", "--level", "20"], 2, ("--level is 20.0", "(0, 1]")),
    "negatives: no temperature": (
        ["negatives", "grid.csv", "--temperature", "0"],
        2,
        ("--temperature is 0.0", "above 0"),
    ),
    "negatives: a figure of another kind": (
        ["negatives", "grid.csv", "--figure", "out.jpg"],
        2,
        ("--figure is 'out.jpg'", ".png, .svg, .pdf"),
    ),
    "negatives: a table of another kind": (
        ["negatives", "grid.csv", "--out", "o.txt"],
        2,
        ("--out is 'o.txt'", ".csv"),
    ),
    "negatives: a folder that is not there": (
        ["negatives", "grid.csv", "--figure", "no/out.png"],
        2,
        ("--figure is 'no/out.png'", "no folder 'no'"),
    ),
    "negatives: over the data": (["negatives", "grid.csv", "--out", "grid.csv"], 2, ("--out is 'grid.csv'", "lost")),
    "describe: an unknown format": (["data", "describe", "train.csv", "--format", "csv"], 2, ("--format is 'csv'",)),
}


@pytest.mark.parametrize("name", WRONG_ORDERS)
def test_wrong_order(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    arguments, code, words = WRONG_ORDERS[name]
    before = sorted(path.name for path in folder.iterdir())
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, SystemExit), result.exception
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert [word for word in words if word not in line] == []
    assert result.exit_code == code
    assert result.stdout == ""
    assert sorted(path.name for path in folder.iterdir()) == before


# The words are typer's and differ between its versions; what must be there is the option and what is wrong with it.
USAGE = {
    "no output": (["fit", "train.csv"], "Missing option '--out'"),
    "no list length": (["recommend", "model", "--k", "0"], "'--k': .*(greater|range)"),
    "a length in words": (["recommend", "model", "--k", "ten"], "'--k': .*integer"),
    "an unknown policy": (["recommend", "model", "--unknown", "ignore"], "'--unknown': .*'error', 'skip'"),
    "a misspelt option": (["recommend", "model", "--usr", "ann"], "No such option: --usr"),
    "a misspelt command": (["reccomend", "model"], "No such command 'reccomend'"),
    "no test": (["evaluate", "model"], "Missing argument 'TEST'"),
    "a negative count": (["data", "describe", "train.csv", "--min-user", "-1"], "'--min-user': .*(greater|range)"),
}


@pytest.mark.parametrize("name", USAGE)
def test_wrong_usage(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    arguments, text = USAGE[name]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert re.search(text, " ".join(result.stderr.split()))
    assert isinstance(result.exception, SystemExit)


def test_a_model_that_cannot_be_written(folder, tmp_path, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    result = CliRunner().invoke(app, ["fit", str(folder / "train.csv"), "--out", str(tmp_path / "m"), *TINY])
    assert result.exit_code == 1
    assert re.fullmatch(
        r"error: cannot save to \S+/m: No space left on device; check the path, its permissions and the space on the disk",
        result.stderr.splitlines()[-1],
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [ValueError("not the\nuser's fault"), KeyError("x"), OSError(5, "strange"), RecursionError("deep"), TypeError()],
)
def test_what_nobody_has_foreseen_is_one_line_and_a_traceback_on_request(error, folder, monkeypatch):
    def broken(*args, **kwargs):
        raise error

    monkeypatch.setattr(BUIR, "recommend_frame", broken)
    result = CliRunner().invoke(app, ["recommend", str(folder / "model")])
    assert result.exit_code == 70
    assert re.fullmatch(
        rf"error: nobody has foreseen this: {type(error).__name__}: .*\(test_cli_errors\.py, line \d+\); "
        r"please report it with what 'buir --traceback \.\.\.' prints\n",
        result.stderr,
    )
    result = CliRunner().invoke(app, ["--traceback", "recommend", str(folder / "model")])
    assert result.exception is error


def test_ctrl_c(folder, tmp_path, monkeypatch):
    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(BUIR, "fit", stopped)
    result = CliRunner().invoke(app, ["fit", str(folder / "train.csv"), "--out", str(tmp_path / "m")])
    assert result.exit_code == 130
    assert result.stderr == (
        "error: stopped; nothing was written: --checkpoint FILE keeps what was learned, and with --resume as well "
        "training goes on\n"
    )
    assert not list(tmp_path.iterdir())


def test_a_full_disk(folder, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    (tmp_path / "l.csv").write_text("earlier")
    monkeypatch.setattr(os, "fsync", full)
    result = CliRunner().invoke(app, ["recommend", str(folder / "model"), "--out", str(tmp_path / "l.csv")])
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("l.csv", "earlier")]
    assert result.exit_code == 1
    assert re.fullmatch(
        r"error: \S+l\.csv: No space left on device; check the path, its permissions and the space on the disk\n",
        result.stderr,
    )


def test_a_loss_that_explodes(folder, tmp_path, monkeypatch):
    def explode(*args, **kwargs):
        return np.float32("nan")

    monkeypatch.setattr("buir.learning.loop.run_epoch", explode)
    result = CliRunner().invoke(app, ["fit", str(folder / "train.csv"), "--out", str(tmp_path / "m"), *TINY])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("error: the training loss became nan: lower learning_rate")


def test_the_command_itself(folder):
    program = "import sys; from buir.cli.app import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "recommend", "model", "--user", "zoe"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"error: --user holds [^\n]+'zoe'[^\n]+\n", done.stderr)


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (MemoryError("Unable to allocate 7.28 TiB for an array with shape (1, 2)"), ", 7.28 TiB asked for"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 429496729600 bytes."),
            ", 400.0 GiB asked for",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB."), ", 20.00 GiB asked for"),
        (MemoryError(), ""),
    ],
)
def test_too_little_memory(folder, tmp_path, monkeypatch, error, asked):
    def greedy(*args, **kwargs):
        raise error

    monkeypatch.setattr(BUIR, "fit", greedy)
    monkeypatch.setattr(BUIR, "recommend_frame", greedy)
    result = CliRunner().invoke(app, ["fit", str(folder / "train.csv"), "--out", str(tmp_path / "m")])
    assert result.exit_code == 1
    expected = (
        f"error: not enough memory{asked}; use a smaller number for --set embedding_dim or batch_size, or fewer pairs\n"
    )
    assert result.stderr == expected
    result = CliRunner().invoke(app, ["recommend", str(folder / "model")])
    assert result.exit_code == 1
    assert result.stderr == f"error: not enough memory{asked}; use a smaller number for --k, or fewer users\n"


def test_options_that_are_told_can_be_pasted():
    assert option(Argument("encoding", "a b")) == "--encoding 'a b'"
    assert option(Argument("unknown", "skip")) == "--unknown skip"
    assert option(Argument("columns", "item")) == "--column item=COLUMN"


@pytest.mark.parametrize(
    ("argument", "written"),
    [
        (Argument("min_rating", 4), "--set data.min_rating=4"),
        (Argument("min_rating"), "--set data.min_rating"),
        (Argument("drop_missing", True), "--set data.drop_missing=true"),
        (Argument("columns", "item"), "--set 'data.columns={item: COLUMN}'"),
        (Argument("weights", "values"), "--set data.weight=values"),
    ],
)
def test_of_a_benchmark_keys_are_told_that_can_be_pasted(argument, written):
    assert setting(argument) == written
