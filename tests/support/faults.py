"""Outages for benchmarks and stores: kills, a full disk, damage, a tracking server that stops or is killed.

``python -m tests.support.faults --kills 40 --damage 100`` prints how many were tried and survived, and each defect. What
survives has in the end the numbers of a run that nothing befell, in its results and in MLflow.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mlflow import MlflowClient
from typer.testing import CliRunner

from buir.cli.app import app
from buir.errors import ExperimentError
from buir.experiment import comparison
from buir.experiment.records import Journal
from buir.experiment.tracking import store, viewer
from tests.support.benchmarks import make_config, rehomed

TUNED = {"models": [{"kind": "popularity"}, {"kind": "als", "params": {"iterations": 2}}], "tuning": {"trials": 3}}
_LONGEST = 120
"""Seconds after which a benchmark of a second hangs."""


def _unheard(_: str) -> None:
    """Take a line that nobody reads."""


@dataclass
class Outages:
    """What was tried of each kind, and what did not survive."""

    tried: Counter = field(default_factory=Counter)
    defects: list[str] = field(default_factory=list)
    say: Callable[[str], object] = _unheard

    @contextlib.contextmanager
    def trial(self, kind: str) -> Iterator[None]:
        """Count one; whatever is raised inside is a defect."""
        self.tried[kind] += 1
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            place = traceback.extract_tb(error.__traceback__)[-1]
            told = (
                f"{kind} {self.tried[kind]}: {type(error).__name__}: {str(error)[:300]} ({place.name}, {place.lineno})"
            )
            self.defects.append(told)
            self.say(told)

    def __str__(self) -> str:
        total = sum(self.tried.values())
        lines = [f"{kind}: {n:,} tried" for kind, n in self.tried.items()]
        return "\n".join(
            [*lines, f"tried {total:,}, survived {total - len(self.defects):,}, defects {len(self.defects):,}"]
        )


def numbers(folder: Path) -> dict[str, dict]:
    """Return the metrics of every finished cell of a folder, by its key."""
    return {record.key: record.metrics for record in Journal(folder).records()}


def runs(folder: Path) -> dict[str, float]:
    """Return the headline of every finished fit that the folder's store shows, by its key."""
    client = MlflowClient(tracking_uri=store.store_uri(folder))
    found = client.search_runs([e.experiment_id for e in client.search_experiments()], "tags.kind = 'fit'")
    return {
        run.data.tags["cell"]: run.data.metrics["test/ndcg_at_20"] for run in found if run.info.status == "FINISHED"
    }


def benchmark(folder: Path, **changes) -> list[str]:
    """Run the benchmark to its end here; return what it said."""
    told: list[str] = []
    outcome = comparison.compare(make_config(**(TUNED | changes)), folder, say=told.append)
    assert not outcome.failures, outcome.failures
    return told


def in_child(work: Callable[[], object]) -> int:
    """Start work in a copy of this process, which has all imports; return its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with (
            Path(os.devnull).open("w") as nowhere,
            contextlib.redirect_stderr(nowhere),
            contextlib.redirect_stdout(nowhere),
        ):
            work()
        code = 0
    finally:
        os._exit(code)


def ended(child: int, seconds: float = _LONGEST) -> int:
    """Wait for a child and return its code; one that hangs is an error."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    msg = f"nothing ended within {seconds:.0f} s"
    raise TimeoutError(msg)


def kills(outages: Outages, folder: Path, count: int, rng: np.random.Generator) -> None:
    """Kill benchmarks at random moments, the making of the store included, until they are finished."""
    whole = folder / "whole"
    started = time.monotonic()
    assert ended(in_child(partial(benchmark, whole))) == 0
    longest = time.monotonic() - started
    expected, shown = numbers(whole), runs(whole)
    assert len(shown) == len(expected) > 0
    left, turn = count, 0
    while left > 0:
        out = folder / f"killed-{turn}"
        turn += 1
        with outages.trial("kills"):
            for _ in range(int(min(left, 1 + rng.integers(3)))):
                child = in_child(partial(benchmark, out))
                time.sleep(float(rng.uniform(0, longest)))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, _sign(rng))
                ended(child)
                left -= 1
                outages.tried["kills"] += 1
            outages.tried["kills"] -= 1  # the trial itself
            assert ended(in_child(partial(benchmark, out))) == 0, "the run after the kill failed"
            assert numbers(out) == expected, "other numbers than without the kill"
            assert runs(out) == shown, "MLflow has other runs than without the kill"
            assert not [file for file in out.rglob(".*.????????????????") if file.is_file()], "leftovers"
        shutil.rmtree(out, ignore_errors=True)


def _sign(rng: np.random.Generator) -> int:
    return int(rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))


def damage(outages: Outages, folder: Path, count: int, rng: np.random.Generator) -> None:
    """Spoil one file of finished results at a time: what is needed again is made again, with the same numbers."""
    whole, out = folder / "sound", folder / "spoilt"
    assert ended(in_child(partial(benchmark, whole))) == 0
    expected, shown = numbers(whole), runs(whole)
    files = sorted(file.relative_to(whole) for file in whole.rglob("*") if file.is_file() and file.stat().st_size)
    kinds = sorted({(file.parts[0] if len(file.parts) > 1 else file.name) for file in files})
    for _ in range(count):
        kind = kinds[int(rng.integers(len(kinds)))]
        some = [file for file in files if kind in (file.parts[0], file.name)]
        file = some[int(rng.integers(len(some)))]
        shutil.rmtree(out, ignore_errors=True)
        rehomed(whole, out)
        how = _spoil(out / file, rng)
        with outages.trial("damage"):
            code = ended(in_child(partial(benchmark, out)))
            assert code == 0, f"{file} {how}: the next run failed"
            assert numbers(out) == expected, f"{file} {how}: other numbers"
            assert runs(out) == shown, f"{file} {how}: MLflow has other runs"


def _spoil(file: Path, rng: np.random.Generator) -> str:
    content = bytearray(file.read_bytes())
    how = str(rng.choice(["a changed byte", "cut", "empty", "garbled", "gone"]))
    if how == "a changed byte":
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    elif how == "cut":
        del content[int(rng.integers(len(content))) :]
    elif how == "empty":
        content.clear()
    elif how == "garbled":
        content[:] = rng.bytes(len(content))
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(bytes(content))
    return how


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path | None]:
    """A disk of its own, which is soon full; None where nobody may mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and shutil.which("mount") is not None
    mounted = mounted and subprocess.run(["mount", *options], capture_output=True, check=False).returncode == 0
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=True)


def full_disk(outages: Outages, folder: Path, count: int, rng: np.random.Generator) -> bool:
    """Fill a small disk before and while something is written; False where no disk may be mounted."""
    data, held, model = folder / "data.csv", folder / "held.csv", folder / "model.safetensors"
    pairs = sorted({(user, item) for user, item in rng.integers(0, 60, (900, 2)).tolist()})
    for file, part in ((data, pairs[::2]), (held, pairs[1::2])):
        file.write_text("user,item\n" + "".join(f"u{user},{item}\n" for user, item in part))
    small = ["--set", "epochs=1", "--set", "embedding_dim=16", "--set", "inner_validation=false"]
    _command("fit", str(data), "--out", str(model), *small, code=0)
    with small_disk(folder / "disk", 4096) as disk:
        if disk is None:
            return False
        writers = {
            "list.csv": ["recommend", str(model)],
            "list.parquet": ["recommend", str(model), "--k", "40"],
            "users.csv": ["evaluate", str(model), str(held)],
            "new.safetensors": ["fit", str(data), *small],
        }
        for turn in range(count):
            name, command = list(writers.items())[turn % len(writers)]
            file = disk / name
            for old in disk.iterdir():
                old.unlink()
            file.write_bytes(b"an earlier one")
            _fill(disk, leave=int(rng.integers(0, 4)) * 1024)
            with outages.trial("full disk"):
                told = _command(*command, "--out", str(file), code=1)
                assert len(told.splitlines()) == 1, told
                assert name in told, told
                assert "No space left on device" in told, told
                assert file.read_bytes() == b"an earlier one", "the earlier file is lost"
    for leave in (0, 8, 64, 512, 1024)[: max(1, count // 4)]:
        with small_disk(folder / "disk", 4096) as disk, outages.trial("full disk"):
            assert disk is not None
            _fill(disk, leave=leave * 1024)
            code = ended(in_child(partial(_benchmark_command, disk / "results")))
            assert code == 0, "a benchmark on a full disk ended in a traceback"
            (disk / "filler").unlink()
            if (disk / "results").exists():
                rehomed(disk / "results", folder / f"moved-{leave}")
            assert ended(in_child(partial(benchmark, folder / f"moved-{leave}"))) == 0, "cannot go on elsewhere"
    return True


def _benchmark_command(out: Path) -> None:
    """Run a benchmark by its command, which may fail in a line and in nothing else."""
    config = out.parent.parent / "full.yaml"
    config.write_text("name: full\ndata: [{dataset: synthetic}]\nmodels: [{kind: popularity}]\n")
    result = CliRunner().invoke(app, ["benchmark", str(config), "--out", str(out)])
    assert result.exit_code in (0, 1, 3), result.output
    assert "Traceback" not in result.output


def _fill(disk: Path, leave: int) -> None:
    """Write zeros until the disk is full but for some bytes."""
    with (disk / "filler").open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(b"\0" * 65536)
    size = (disk / "filler").stat().st_size
    os.truncate(disk / "filler", max(0, size - leave))


def _command(*arguments: str, code: int) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, (arguments, result.exit_code, result.output[-500:])
    return result.stderr


def servers(outages: Outages, folder: Path, rng: np.random.Generator, hows: tuple[str, ...]) -> None:
    """Stop or kill a tracking server while a benchmark writes to it: results are whole, and MLflow has them later."""
    config = make_config()
    for how in hows:
        out, home = folder / f"{how}-out", folder / f"{how}-server"
        home.mkdir(parents=True)
        store.prepare(store.database(home), _unheard)
        port = viewer.free_port(5800)
        with outages.trial(f"server {how}"):
            with viewer.serving(store.store_uri(home), home / "log", port) as (process, base):
                child = in_child(partial(comparison.compare, config, out, say=_unheard, tracking_uri=base))
                time.sleep(float(rng.uniform(0.2, 2.0)))
                os.killpg(process.pid, signal.SIGSTOP if how == "stopped" else signal.SIGKILL)
                code = ended(child, seconds=300)
                assert code == 0, "the benchmark failed with its server"
                if how == "stopped":
                    os.killpg(process.pid, signal.SIGCONT)
            assert len(numbers(out)) == 8, "cells are missing"
            with viewer.serving(store.store_uri(home), home / "log", port) as (_, base):
                done = comparison.sync(out, say=_unheard, tracking_uri=base)
            assert len(done) == 1, "the later sync failed"
            assert len(runs(home)) == 8, "MLflow lacks runs after the sync"


def two_at_once(outages: Outages, folder: Path) -> None:
    """Start two benchmarks on one store, and two on one folder: each does its work, or says that it waits its turn."""
    shared = f"sqlite:///{folder / 'shared.db'}"
    with outages.trial("two on one store"):
        configs = {name: make_config(name=name) for name in ("first", "second")}
        children = [
            in_child(partial(comparison.compare, configs[name], folder / name, say=_unheard, tracking_uri=shared))
            for name in configs
        ]
        assert [ended(child) for child in children] == [0, 0], "one of them failed"
        client = MlflowClient(tracking_uri=shared)
        for name in configs:
            assert len(numbers(folder / name)) == 8, f"cells of {name} are missing"
            experiment = client.get_experiment_by_name(f"buir-{name}-synthetic")
            found = client.search_runs([experiment.experiment_id], "tags.kind = 'fit'")
            assert len({run.data.tags["cell"] for run in found}) == len(found) == 8, f"runs of {name} are missing"
    with outages.trial("two in one folder"):
        out = folder / "one"
        children = [in_child(partial(_in_turn, out)) for _ in range(2)]
        assert [ended(child) for child in children] == [0, 0], "one of them failed"
        assert len(numbers(out)) == len(runs(out)) == 8, "cells or runs are missing"


def _in_turn(out: Path) -> None:
    """Run the benchmark; while another has the folder, wait as its message says."""
    end = time.monotonic() + _LONGEST
    while True:
        try:
            benchmark(out)
        except ExperimentError as error:
            if "another benchmark is writing" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def main() -> int:
    """Try as many outages as asked for and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--damage", type=int, default=100)
    parser.add_argument("--full-disk", type=int, default=24)
    parser.add_argument("--servers", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    # the patience of buir's commands: MLflow's own would wait for a server that stands still for a quarter of an hour
    for name, value in (("MAX_RETRIES", "2"), ("BACKOFF_FACTOR", "1"), ("TIMEOUT", "10")):
        os.environ[f"MLFLOW_HTTP_REQUEST_{name}"] = value
    rng, outages = np.random.default_rng(asked.seed), Outages(say=lambda text: sys.stdout.write(f"{text}\n"))
    folder = Path(tempfile.mkdtemp(prefix="buir-faults-"))
    try:
        if asked.kills:
            kills(outages, folder / "kills", asked.kills, rng)
        if asked.damage:
            damage(outages, folder / "damage", asked.damage, rng)
        (folder / "full").mkdir()
        if asked.full_disk and not full_disk(outages, folder / "full", asked.full_disk, rng):
            sys.stdout.write("full disk: not tried, as nobody may mount one here\n")
        for turn in range(asked.pairs):
            (folder / f"pair-{turn}").mkdir()
            two_at_once(outages, folder / f"pair-{turn}")
        servers(outages, folder / "servers", rng, ("stopped", "killed") * (asked.servers // 2))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(f"{outages}\n")
    return bool(outages.defects)


if __name__ == "__main__":
    sys.exit(main())
