"""Fits that end in the middle, and a nursery of processes in which they die.

``python -m tests.support.mortal_fits CASE KILLS SEED FOLDER`` fits in processes that are killed, by SIGKILL, at random
moments and within writings of the checkpoint, each going on from what the last one left, round after round until there
were so many kills; then it prints what happened, as JSON. The processes are forks of one that has imported everything
and computed nothing.
"""

import io
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from buir import BUIR
from buir.learning import loop
from buir.model import checkpoint as module
from buir.model.storage import read_file

SMALL = {"embedding_dim": 4, "epochs": 4, "batch_size": 64, "device": "cpu"}


def tastes(seed: int = 0) -> tuple[csr_array, csr_array]:
    """60 users with two tastes and 40 items, in training and held-out pairs."""
    rng = np.random.default_rng(seed)
    liked = (np.arange(60)[:, None] % 2) == (np.arange(40)[None] % 2)
    drawn = rng.random((60, 40)) < np.where(liked, 0.3, 0.05)
    drawn[np.arange(60), np.arange(60) % 40] = True
    held = drawn & (rng.random(drawn.shape) < 0.2)
    held[np.arange(60), np.arange(60) % 40] = False
    return csr_array((drawn & ~held).astype(np.float32)), csr_array(held.astype(np.float32))


def pieces(seed: int = 0) -> tuple[csr_array, csr_array]:
    """Ten groups of 40 users and 40 items that share nothing, with fewer pairs than users and items."""
    rng = np.random.default_rng(seed)
    group = np.arange(400) % 10
    rows = np.repeat(np.arange(400), 1 + (rng.random(400) < 0.3))
    taken, held = ((40 * (rng.random(n) ** 2)).astype(int) for n in (len(rows), 400))
    train = csr_array((np.ones(len(rows), np.float32), (rows, 10 * taken + group[rows])), shape=(400, 400))
    valid = csr_array((np.ones(400, np.float32), (np.arange(400), 10 * held + group)), shape=(400, 400))
    train.data[:] = 1
    shown = np.unique(train.indices)
    return csr_array(train[:, shown]), csr_array((valid - valid.multiply(train))[:, shown])


TRAIN, VALID = tastes()


def content(model: BUIR) -> dict[str, object]:
    """Every bit of a model, but for the seconds."""
    stream = io.BytesIO()
    model.save(stream, optimiser=model.state_ is not None)
    return file_content(io.BytesIO(stream.getvalue()))


def file_content(file: Path | io.BytesIO) -> dict[str, object]:
    """Every bit that a model's file holds, but for the seconds."""
    _, arrays, facts = read_file(file)
    facts["history"] = [record | {"seconds": 0.0} for record in facts["history"]]
    return facts | {name: (array.shape, array.dtype, array.tobytes()) for name, array in arrays.items()}


WIDE = {"embedding_dim": 8, "learning_rate": 0.02, "terms": {}}
CASES = {
    "id, as in the paper": (
        {"encoder": "id", "start": "random", "predictor": "linear", "momentum": 0.995, "terms": {}, "uniformity": 0.0},
        True,
    ),
    "id, rows alone": (WIDE | {"encoder": "id", "row_sparse": True, "validate_every": 2, "epochs": 6}, True),
    "graph, early stopping": (WIDE | {"encoder": "graph", "edge_drop_rate": 0.3, "epochs": 9, "patience": 1}, True),
    "walk, all decided": ({"embedding_dim": "auto", "learning_rate": 0.03}, True),
    "walk, rows alone": (WIDE | {"row_sparse": True, "uniformity": 0.1, "validate_every": 3, "epochs": 6}, True),
    "inner validation": ({"inner_validation": True, "start": "random", "learning_rate": 0.02, "epochs": 3}, False),
    "inner validation of a start": ({"inner_validation": True, "learning_rate": 0.02, "terms": {}}, False),
    "blind": ({"inner_validation": False, "uniformity": 0.1, "terms": {"popularity": 0.3}, "epochs": 2}, False),
}


class Killed(BaseException):
    """Ends a fit without a word, as SIGKILL does."""


class Mortal:
    """Lets a process write its checkpoint so many times, and dies in the next writing or right after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.within, self.dead, self.epochs = -1, False, False, 0
        write, run_epoch = module.write_file, loop.run_epoch

        def write_or_die(path: Path, *what) -> None:
            if self.dead:
                raise Killed
            self.dead = self.left == 0
            if self.dead and self.within:
                half = io.BytesIO()
                write(half, *what)
                (path.parent / f".{path.name}.{'0' * 16}").write_bytes(half.getvalue()[: len(half.getvalue()) // 2])
                raise Killed
            write(path, *what)
            self.left -= 1
            if self.dead:
                raise Killed

        def count(*arguments):
            self.epochs += 1
            return run_epoch(*arguments)

        monkeypatch.setattr(module, "write_file", write_or_die)
        monkeypatch.setattr(loop, "run_epoch", count)

    def lives(self, n_writings: int, *, within: bool = False) -> None:
        self.left, self.within, self.dead = n_writings, within, False

    def outlive(self, model: BUIR, path: Path, *data: csr_array | None, within: bool = True, **options) -> int:
        """Fit in one life after another, each going on from what the last one left; return how many it took.

        The first writing is there before the work; each life ends after the second or, every third, within it.
        """
        n_lives = 0
        while "history" not in vars(model):
            n_lives += 1
            assert n_lives < 100, "no life gets farther than the one before"
            self.lives(1, within=within and n_lives % 3 == 0)
            where = {"checkpoint": path, "checkpoint_minutes": 0, "resume": True}
            with suppress(Killed):
                model.fit(*data, show_progress=False, **where, **options)
        return n_lives


def settings_of(case: str) -> tuple[dict, csr_array | None]:
    """Return the settings of a case and the pairs that are held out."""
    settings, validated = CASES[case]
    return SMALL | settings, VALID if validated else None


def fork_fit(case: str, out: Path, checkpoint: Path | None, dies: str, at: int) -> int:
    """Fit in a process of its own; return its number.

    ``dies`` says where: "in a writing" or "after a writing", the one with the number ``at``; otherwise nowhere.
    """
    process = os.fork()
    if process:
        return process
    left, last = [at], {"in a writing": "fsync", "after a writing": "replace"}.get(dies)
    for owner, name in ((os, "fsync"), (Path, "replace")):
        if name == last:
            setattr(owner, name, _deadly(getattr(owner, name), left))
    settings, valid = settings_of(case)
    where = {} if checkpoint is None else {"checkpoint": checkpoint, "checkpoint_minutes": 0, "resume": True}
    model = BUIR(**settings).fit(TRAIN, valid, show_progress=False, **where)
    part = out.with_suffix(".part")
    model.save(part, optimiser=model.state_ is not None)
    os.rename(part, out)  # noqa: PTH104 - Path.replace may be deadly
    os._exit(0)


def _deadly(act, left: list[int]):
    def acts_and_dies(*arguments):
        left[0] -= 1
        result = act(*arguments)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return acts_and_dies


def kill_fits(case: str, n_kills: int, seed: int, folder: Path) -> dict[str, int]:
    """Kill so many fits; return how many died where, and how many rounds came to the bytes of a fit that nobody killed."""
    rng = np.random.default_rng(seed)
    started = time.monotonic()
    os.waitpid(fork_fit(case, folder / "plain", None, "", 0), 0)
    seconds, plain = time.monotonic() - started, file_content(folder / "plain")
    told = dict.fromkeys(("at a random moment", "in a writing", "after a writing", "rounds", "equal"), 0)
    kills = 0
    while kills < n_kills or told["rounds"] == 0:
        told["rounds"] += 1
        checkpoint, out = folder / f"checkpoint{told['rounds']}", folder / f"model{told['rounds']}"
        while not out.exists():
            dies = "" if kills >= n_kills else str(rng.choice(list(told)[:3]))
            process = fork_fit(case, out, checkpoint, dies, int(rng.integers(1, 5)))
            if dies == "at a random moment":
                time.sleep(rng.uniform(0, seconds / 2))
                os.kill(process, signal.SIGKILL)
            status = os.waitpid(process, 0)[1]
            if os.WIFSIGNALED(status):
                kills += 1
                told[dies] += 1
            elif os.WEXITSTATUS(status) != 0:
                sys.exit(f"a fit failed in round {told['rounds']}")
        told["equal"] += file_content(out) == plain
    return told


if __name__ == "__main__":
    CASE, KILLS, SEED, FOLDER = sys.argv[1:]
    sys.stdout.write(json.dumps(kill_fits(CASE, int(KILLS), int(SEED), Path(FOLDER))))
