"""Broken input for every door, in one process: files of interactions, model files, YAML and commands.

``python -m tests.support.fuzz --count 20000 --seed 0`` prints how many inputs were tried, read, refused in one sentence,
and what else came of them: each such defect with the number of its input, by which ``--only N`` brings it back.
"""

import argparse
import contextlib
import faulthandler
import gzip
import io
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.io
import scipy.sparse as sp
import torch
from typer.testing import CliRunner

from buir import BUIR, Interactions
from buir.cli import options
from buir.cli.app import app
from buir.data import FORMATS, read
from buir.errors import ConfigError, InputError, StorageError
from buir.experiment.config import load
from buir.model.storage import read_file, write_file

_HEAD = "name: x\ndata:\n  - {dataset: synthetic, options: {n_users: 60, n_items: 40, n_pairs: 600}}\n"
_CONFIGS = (
    _HEAD + "protocol: {kind: nested, levels: [0.5, 1.0]}\nseeds: [0, 1]\nmodels: [{kind: popularity}, {kind: ease}]\n",
    _HEAD + "models:\n  - kind: als\n    name: short\n    params: {factors: 4, iterations: 2}\n  - kind: buir\n",
    _HEAD + "models: [{kind: als}, {kind: ease}]\ntuning: {trials: 3, metric: ndcg_at_20}\nmetrics: {ks: [5, 20]}\n",
    _HEAD + "description: |\n  two lines\n  of words\nmodels: [{kind: popularity}]\nprotocol: {kind: leave-one-out}\n",
    "name: y\ndata: [{path: good.csv, columns: {user: user, item: item}, min_user: 2}]\nmodels: [{kind: popularity}]\n",
)
_PATIENCE, _LONGEST = 20, 300
"""Seconds of work, and by the clock, that one input may take before it counts as a defect."""
_STEP = 2000
"""Inputs between two lines that say how far it is."""
_TOKENS = (
    *(b"\0", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\n", b"\r\n", b"\n\n", b'"', b"'", b'""'),
    *(b",", b";", b"\t", b"::", b" ", b"  ", b"|", b"\x1f", b"\x1a", b"#", b"%", b"#\n", b"=", b"+1", b"-", b"@"),
    *(
        b"nan",
        b"NaN",
        b"inf",
        b"-inf",
        b"None",
        b"null",
        b"true",
        b"1e999",
        b"-1",
        b"0",
        b"007",
        b"1.0",
        b"1e5",
        b"3,5",
    ),
    *(b"9" * 20, b"9" * 5000, b"2147483648", b"9223372036854775808", b"user", b"item", b"rating", b"user_id:token"),
    *(
        b"[",
        b"]",
        b"{",
        b"}",
        b"[" * 600,
        b"{" * 600,
        b":",
        b": ",
        b"- ",
        b"&a ",
        b"*a",
        b"<<: ",
        b"!!python/none ",
        b"? ",
    ),
    *(b"2020-01-01", b"PAR1", b"PK\x03\x04", b"\x1f\x8b", b"%%MatrixMarket matrix coordinate real general\n"),
)
_VALUES = (
    *(
        "",
        "0",
        "1",
        "-1",
        "3.5",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "9" * 400,
        "9" * 5000,
        "true",
        "none",
        "auto",
        "[",
        "[1]",
    ),
    *("{}", '{"popularity": 0.3}', '{"popularity": NaN}', "[" * 2000, "a" * 5000, "a.b", "=", ",", "é", "\ud800", "\0"),
    *("user=0", "rating=2", "item=item", "user", "=x", "item=99999999999", "log", "bm25", "half-life=0", "half-life=x"),
    *("../..", "/dev/zero", "/dev/null", "/", ".", "~", "cp1252", "utf-8", "utf-16", "rot13", "base64", "idna", "hex"),
)


@dataclass
class Tally:
    """What came of the inputs."""

    tried: Counter = field(default_factory=Counter)
    read: Counter = field(default_factory=Counter)
    defects: list[tuple[int, str, str]] = field(default_factory=list)
    """Number of the input, its door, and what happened."""

    def __str__(self) -> str:
        lines = [
            f"{door}: {n:,} tried, {self.read[door]:,} read, {n - self.read[door]:,} refused"
            for door, n in self.tried.items()
        ]
        total, bad = sum(self.tried.values()), len(self.defects)
        lines.append(f"tried {total:,}, survived {total - bad:,}, defects {bad:,}")
        return "\n".join(lines)


class TooSlowError(BaseException):
    """One input took longer than it may."""


def mutated(content: bytes, rng: np.random.Generator, others: list[bytes]) -> bytes:
    """Return the content with a few small faults: bytes changed, cut, doubled, put in, or of another file."""
    data = bytearray(content)
    for _ in range(int(_one(rng, (1, 1, 1, 2, 4)))):
        place = int(rng.integers(0, len(data) + 1))
        length = int(rng.integers(0, min(40, len(data) - place) + 1))
        kind = rng.integers(0, 8)
        if kind == 0 and data:
            data[place % len(data)] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            del data[place : place + length]
        elif kind == 2:
            data[place:place] = data[place : place + length] * int(rng.integers(1, 4))
        elif kind == 3:
            data[place:place] = _TOKENS[rng.integers(len(_TOKENS))]
        elif kind == 4:
            data[place : place + length] = _TOKENS[rng.integers(len(_TOKENS))]
        elif kind == 5:
            data[place : place + length] = rng.bytes(length)
        elif kind == 6:
            del data[place:]
        else:
            other = others[rng.integers(len(others))]
            start = int(rng.integers(0, len(other) + 1))
            data[place:place] = other[start : start + 60]
    return bytes(data)


def _one(rng: np.random.Generator, values):
    return values[int(rng.integers(len(values)))]


# Files of interactions


def whole_files() -> dict[str, bytes]:
    """One small file of every form."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 9, 40), rng.integers(0, 7, 40)
    frame = pd.DataFrame(
        {"user": users, "item": items, "rating": rng.integers(1, 6, 40) / 2, "time": 1_400_000_000 + users}
    )
    named = frame.assign(user=[f"u{user}" for user in users], item=[f"päron {item}" for item in items])
    files = {f"csv {sep}": frame.to_csv(index=False, sep=sep).encode() for sep in (",", ";", "\t", " ", "|")}
    files |= {"names": named.to_csv(index=False).encode(), "quoted": named.to_csv(index=False, quoting=1).encode()}
    files["no header"] = frame.to_csv(index=False, header=False).encode()
    files["double colon"] = frame.to_csv(index=False, header=False, sep="|").replace("|", "::").encode()
    files["cp1252"], files["utf-16"] = (named.to_csv(index=False).encode(name) for name in ("cp1252", "utf-16"))
    files["lines"] = named.to_json(orient="records", lines=True).encode()
    files["recbole"] = (
        b"user_id:token\titem_id:token\n" + frame[["user", "item"]].to_csv(index=False, header=False, sep="\t").encode()
    )
    lists = [sorted(set(items[users == user])) for user in range(9)]
    files["adjacency"] = "\n".join(" ".join(map(str, [user, *row])) for user, row in enumerate(lists)).encode()
    files["counted"] = "\n".join(" ".join(map(str, [len(row), *row])) for row in lists).encode()
    files["libsvm"] = "\n".join(
        f"{user} " + " ".join(f"{item}:1" for item in row) for user, row in enumerate(lists)
    ).encode()
    matrix = sp.coo_array((np.ones(40), (users, items)))
    matrix.sum_duplicates()
    stream = io.BytesIO()
    scipy.io.mmwrite(stream, matrix)
    files["matrix market"] = stream.getvalue()
    for form in ("csr", "csc", "coo", "bsr", "dia"):
        stream = io.BytesIO()
        sp.save_npz(stream, matrix.asformat(form), compressed=form != "csr")
        files[f"npz {form}"] = stream.getvalue()
    moments = named.assign(time=pd.to_datetime(named["time"], unit="s"))
    for name, table in (("parquet", frame), ("parquet of names", moments)):
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), sink, compression="none")
        files[name] = sink.getvalue().to_pybytes()
    files["gzip"] = gzip.compress(files["csv ,"])
    return files


def _options(rng: np.random.Generator) -> dict:
    chosen = {}
    if rng.random() < 0.6:
        return chosen
    if rng.random() < 0.25:
        chosen["format"] = _one(rng, FORMATS)
    if rng.random() < 0.2:
        chosen["columns"] = {"user": _one(rng, ("user", 0, "1", 7)), "item": _one(rng, ("item", 1, 0))}
        if rng.random() < 0.5:
            chosen["columns"] |= {_one(rng, ("rating", "time", "weight")): _one(rng, (2, 3, "rating", "time", "item"))}
    if rng.random() < 0.1:
        chosen["encoding"] = _one(rng, ("utf-8", "utf-16", "cp1252", "latin-1", "utf-7", "idna", "rot13", "utf-32"))
    if rng.random() < 0.1:
        chosen["separator"] = _one(rng, (",", ";", "::", "|", " ", "é", "\\t", "tab"))
    if rng.random() < 0.1:
        chosen["header"] = bool(rng.integers(2))
    if rng.random() < 0.1:
        chosen["where"] = {_one(rng, ("item", "user", "0")): _one(rng, ("1", ["1", "2"], "u1"))}
    if rng.random() < 0.2:
        chosen["min_rating"] = float(_one(rng, (1.0, 2.5, float("inf"))))
    return chosen | {"drop_missing": bool(rng.random() < 0.2), "core": int(_one(rng, (0, 0, 0, 2)))}


def fuzz_reader(rng: np.random.Generator, place: Path, seeds: dict[str, bytes]) -> None:
    """Read a broken file; what is read holds together."""
    others = list(seeds.values())
    content = mutated(_one(rng, others), rng, others)
    if rng.random() < 0.1:
        content = gzip.compress(content, 1)
    path = place / "data.txt"
    path.write_bytes(content)
    data = read(path, **_options(rng))
    assert data.n_pairs >= 1
    assert data.matrix.shape == (len(set(data.user_ids)), len(set(data.item_ids)))
    assert data.matrix.has_canonical_format
    assert data.digest
    assert data.times is None or np.isfinite(data.times).all()


# Model files


def whole_models() -> list[bytes]:
    """Files of small models with everything that models can have."""
    rng = np.random.default_rng(0)
    data = Interactions.from_pairs([f"u{user}" for user in rng.integers(0, 8, 40)], rng.integers(0, 9, 40))
    settings = {"embedding_dim": 4, "epochs": 1, "batch_size": 5, "device": "cpu", "inner_validation": False}
    terms = {"popularity": 0.5, "block": 1.0, "filter": 2.0, "dial": 0.5}
    files = []
    for chosen in ({"encoder": "walk", "terms": terms}, {"encoder": "graph", "terms": {}}):
        stream = io.BytesIO()
        BUIR(**(settings | chosen)).fit(data, show_progress=False).save(stream, optimiser=True)
        files.append(stream.getvalue())
    return files


def _forged(arrays: dict, facts: dict, rng: np.random.Generator) -> None:
    """Change an array or a fact, as somebody would who writes the checksum anew."""
    for _ in range(int(rng.integers(1, 3))):
        name = _one(rng, sorted(arrays))
        array = arrays[name].copy()
        kind = rng.integers(0, 9)
        if kind == 0:
            arrays.pop(name)
        elif kind == 1 and array.size:
            array.flat[rng.integers(array.size)] = _one(rng, (0, 1, 2, 100)) if array.dtype.kind != "f" else np.nan
            arrays[name] = array
        elif kind == 2 and array.size and array.dtype.kind in "iu":
            limit = np.iinfo(array.dtype)
            array.flat[rng.integers(array.size)] = _one(rng, (limit.min, limit.max, limit.max - 1))
            arrays[name] = array
        elif kind == 3:
            arrays[name] = array[: max(0, len(array) - 1)] if array.ndim else array
        elif kind == 4:
            arrays[name] = np.ascontiguousarray(array.T) if array.ndim > 1 else array[None]
        elif kind == 5:
            arrays[name] = array.astype(_one(rng, (np.float64, np.int32, np.uint8, np.float32, np.int64)))
        elif kind == 6:
            arrays[_one(rng, sorted(arrays))] = array
        elif kind == 7 and array.ndim:
            arrays[name] = rng.permutation(array)
        else:
            fact = _one(rng, sorted(facts))
            wrong = (None, -1, 3, 2**70, 1.5, "x", [], {}, [[1]], {"a": None}, True, 1e308, "9" * 5000)
            if isinstance(facts[fact], dict) and facts[fact] and rng.random() < 0.7:
                facts[fact] = facts[fact] | {_one(rng, sorted(facts[fact])): _one(rng, wrong)}
            else:
                facts[fact] = _one(rng, wrong)


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    """Let errors pass that our own code raises; those of NumPy and others are no sentences to users."""
    try:
        yield
    except ValueError as error:
        if not _ours(error):
            raise


def _ours(error: BaseException) -> bool:
    return "/buir/" in traceback.extract_tb(error.__traceback__)[-1].filename


def fuzz_model(rng: np.random.Generator, place: Path, seeds: list[bytes]) -> None:
    """Load a broken model file; one that loads makes lists."""
    content = _one(rng, seeds)
    if rng.random() < 0.6:
        _, arrays, facts = read_file(io.BytesIO(content))
        with np.errstate(all="ignore"):
            _forged(arrays, facts, rng)
        stream = io.BytesIO()
        write_file(stream, arrays, facts)
        content = stream.getvalue()
    else:
        content = mutated(content, rng, seeds)
    model = BUIR.load(io.BytesIO(content))
    if hasattr(model, "user_ids_"):
        with _sentences():
            frame = model.recommend_frame(k=3)
            assert frame.groupby("user")["item"].nunique().max() <= 3
        with _sentences():
            model.recommend_frame(histories={"new": [model.item_ids_[0]]}, k=2)


# YAML and the command line


def fuzz_yaml(rng: np.random.Generator, place: Path, seeds: list[bytes]) -> None:
    """Read a broken configuration, and --set on top of it."""
    path = place / "config.yaml"
    path.write_bytes(mutated(_one(rng, seeds), rng, seeds))
    keys = (
        "seeds",
        "data.path",
        "models",
        "models.buir.epochs",
        "protocol.levels",
        "metrics.ks",
        "tuning.trials",
        "a.b",
    )
    overrides = [f"{_one(rng, keys)}={_one(rng, _VALUES)}"] if rng.random() < 0.3 else []
    load(str(path), overrides)


def fuzz_options(rng: np.random.Generator, place: Path, names: list[str]) -> None:
    """Read the texts of options."""
    texts = [f"{_one(rng, names)}={_one(rng, _VALUES)}" if rng.random() < 0.8 else _one(rng, _VALUES) for _ in range(2)]
    kind = rng.integers(0, 4)
    if kind == 0:
        options.columns_of(texts)
    elif kind == 1:
        options.where_of(texts)
    else:
        options.make_model(texts, paper=bool(rng.integers(2)))


_RUNNER = CliRunner()
_COMMANDS = {
    "data describe": (
        ("DATA",),
        ("--format", "--column", "--separator", "--encoding", "--min-rating", "--core", "--max-bytes"),
    ),
    "recommend": (("MODEL",), ("--user", "--k", "--unknown", "--users", "--allow", "--out", "--history")),
    "evaluate": (("MODEL", "DATA"), ("--k", "--column", "--where", "--format", "--encoding", "--out")),
    "benchmark": (("quickstart", "--dry-run"), ("--set", "--jobs", "--out", "--tracking-uri")),
    "report": ((), ("--out", "--to")),
    "fit": (
        ("DATA", "--out", "MODEL2", "--set", "epochs=0", "--set", "embedding_dim=4", "--set", "inner_validation=false"),
        ("--set", "--weight", "--column", "--min-user"),
    ),
}


def fuzz_command(rng: np.random.Generator, place: Path, names: list[str]) -> None:
    """Run a command with wrong options on good files; every mistake is one line and a code that says whose it is."""
    command = _one(rng, sorted(_COMMANDS))
    fixed, known = _COMMANDS[command]
    files = {"DATA": place / "good.csv", "MODEL": place / "good.safetensors", "MODEL2": place / "new.safetensors"}
    arguments = [*command.split(), *(str(files.get(word, word)) for word in fixed)]
    for _ in range(int(rng.integers(1, 3))):
        name, value = _one(rng, known), _one(rng, _VALUES)
        if name == "--set" and rng.random() < 0.8:
            value = f"{_one(rng, names)}={value}"
        # nobody hands a NUL or half a letter to a command, and nothing is written outside
        value = value.replace("\0", "").replace("\ud800", "")
        inside = name in ("--out", "--to") and (value.startswith(("/", "..", "~")) or value in ("", "."))
        arguments += [name, "x.csv" if inside else value]
    result = _RUNNER.invoke(app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    shown = result.stderr[:300]
    assert result.exit_code in (0, 1, 2), f"{arguments} ended with {result.exit_code}: {shown}"
    assert "Traceback" not in result.output, arguments
    if result.exit_code:
        raise InputError(shown)


@dataclass
class Fuzzer:
    """The doors, each with the share of the inputs that it gets."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        files, models = whole_files(), whole_models()
        (self.folder / "good.csv").write_bytes(files["names"])
        (self.folder / "good.safetensors").write_bytes(models[0])
        configs = [text.encode() for text in _CONFIGS]
        names = [*BUIR().get_params(), "user", "item", "rating", "time", "event", "popularity"]
        self.doors: dict[str, tuple[float, Callable]] = {
            "files": (0.4, lambda rng: fuzz_reader(rng, self.folder, files)),
            "models": (0.25, lambda rng: fuzz_model(rng, self.folder, models)),
            "YAML": (0.04, lambda rng: fuzz_yaml(rng, self.folder, configs)),
            "options": (0.3, lambda rng: fuzz_options(rng, self.folder, names)),
            "commands": (0.01, lambda rng: fuzz_command(rng, self.folder, names)),
        }

    def run(self, numbers: Iterator[int] | range, seed: int, tally: Tally, say: Callable[[str], object]) -> Tally:
        """Try the inputs of these numbers."""
        shares = np.cumsum([share for share, _ in self.doors.values()])
        here = Path.cwd()
        os.chdir(self.folder)  # commands write where they stand
        try:
            for number in numbers:
                rng = np.random.default_rng([seed, number])
                door = list(self.doors)[int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))]
                (self.folder / "now").write_text(f"{number} {door}")  # what a crash of the process leaves
                tally.tried[door] += 1
                fault = self._try(door, rng, tally)
                if fault:
                    tally.defects.append((number, door, fault))
                    say(f"input {number} ({door}): {fault}")
        finally:
            os.chdir(here)
        return tally

    def _try(self, door: str, rng: np.random.Generator, tally: Tally) -> str | None:
        allowed = {"models": StorageError, "YAML": ConfigError}.get(door, InputError)
        try:
            with _alarm(), warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.simplefilter("ignore", UserWarning)  # ours: what is doubtful is said
                warnings.simplefilter("ignore", ResourceWarning)
                self.doors[door][1](rng)
                tally.read[door] += 1
        except allowed as error:
            text = str(error)
            return f"says {len(text):,} characters: {text[:100]}" if len(text) > 20_000 else None
        except TooSlowError:
            return f"took more than {_PATIENCE} s of work, or {_LONGEST} s"
        except BaseException as error:  # whatever it is, it is what is looked for
            if isinstance(error, KeyboardInterrupt):
                raise
            frames = traceback.extract_tb(error.__traceback__)
            ours = [frame for frame in frames if "/buir/" in frame.filename or "/baselines/" in frame.filename]
            where = (ours or frames)[-1]
            return f"{type(error).__name__}: {str(error)[:200]} ({Path(where.filename).name}, line {where.lineno})"
        return None


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TooSlowError

    # work, as the machine may have others to serve, and the clock, as somebody may wait and do nothing
    clocks = ((signal.ITIMER_PROF, signal.SIGPROF, _PATIENCE), (signal.ITIMER_REAL, signal.SIGALRM, _LONGEST))
    before = [signal.signal(sign, ring) for _, sign, _ in clocks]
    for clock, _, seconds in clocks:
        signal.setitimer(clock, seconds)
    try:
        yield
    finally:
        for (clock, sign, _), handler in zip(clocks, before, strict=True):
            signal.setitimer(clock, 0)
            signal.signal(sign, handler)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Try as many inputs as asked for and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="try the input of this number alone, and show where it ends")
    asked = parser.parse_args()
    faulthandler.enable()
    torch.set_num_threads(1)
    folder, started, tally = Path(tempfile.mkdtemp(prefix="buir-fuzz-")), time.monotonic(), Tally()
    fuzzer = Fuzzer(folder)
    try:
        if asked.only is not None:
            fuzzer.run(range(asked.only, asked.only + 1), asked.seed, tally, _say)
            shutil.copytree(folder, f"{folder}-kept")
            sys.stdout.write(f"its files: {folder}-kept\n")
        for start in range(0, asked.count if asked.only is None else 0, _STEP):
            fuzzer.run(range(start, min(start + _STEP, asked.count)), asked.seed, tally, _say)
            read, found = sum(tally.read.values()), len(tally.defects)
            done = f"{min(start + _STEP, asked.count):,} tried, {read:,} read, {found} defects"
            sys.stderr.write(f"{done}, {time.monotonic() - started:.0f} s\n")
    finally:
        shutil.rmtree(folder)
    sys.stdout.write(f"{tally}\n")
    return bool(tally.defects)


if __name__ == "__main__":
    sys.exit(main())
