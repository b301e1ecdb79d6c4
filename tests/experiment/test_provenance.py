"""What computed the numbers: versions, commits and the machine."""

import subprocess

import torch

from buir.experiment.records import provenance
from tests.support.records import make_record


def test_versions_name_what_searches_and_keeps_too():
    known = provenance.versions()
    assert {"python", "buir", "torch", "implicit", "optuna", "mlflow"} <= set(known)
    assert known["torch"] == torch.__version__
    assert provenance.version("no-such-package") == "unknown"


def test_asking_git_takes_no_lock(monkeypatch):
    asked = []

    def run(command, *, env, **options):
        asked.append(env["GIT_OPTIONAL_LOCKS"])
        return subprocess.CompletedProcess(command, 0, stdout="abc\n")

    monkeypatch.setattr(provenance.subprocess, "run", run)
    assert provenance.git_commit.__wrapped__() == "abc"
    assert asked == ["0", "0"]


def test_the_machine_has_a_processor_cores_and_threads():
    about = provenance.machine()
    assert about["processor"].strip()
    assert about["cores"] == provenance.available_cores() >= 1
    assert about["threads"] == torch.get_num_threads()
    assert len(about["system"].split()) >= 2


def test_records_of_one_commit_need_no_warning_and_those_of_several_are_counted():
    records = [make_record(git_commit=commit) for commit in ["a" * 40] * 3 + ["b" * 40, None]]
    assert provenance.commits(records) == {"a" * 40: 3, "b" * 40: 1, "unknown": 1}
    assert provenance.mixture(records[:3]) is None
    assert provenance.mixture([]) is None
    assert provenance.mixture(records) == (
        "These runs were computed by 3 commits of one version: aaaaaaaaaa (3), bbbbbbbbbb (1), unknown (1). What changed "
        "between them may have changed results; to be sure, run everything again in a new folder (--out)."
    )
