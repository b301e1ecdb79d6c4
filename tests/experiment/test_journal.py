"""The journal: whole cells or none, recognised by key, whatever happens to the process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buir.errors import ExperimentError
from buir.experiment.records import journal as journal_module
from buir.experiment.records.journal import Journal
from buir.experiment.records.record import Record, cell_key, frame
from tests.support.records import make_record


def users() -> pd.DataFrame:
    return pd.DataFrame({"user": [0, 2], "train_degree": [3, 1], "ndcg_at_20": [0.5, 0.25]})


def test_a_key_is_sixteen_digits_of_what_is_in_it():
    key = cell_key({"level": 0.2, "params": {"a": 1, "b": (1, 2)}})
    assert len(key) == 16
    assert int(key, 16) >= 0
    assert key == cell_key({"params": {"b": [1, 2], "a": np.int64(1)}, "level": np.float64(0.2)})
    assert key != cell_key({"level": 0.2, "params": {"a": 2, "b": (1, 2)}})


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), min_size=1, max_size=6))
def test_the_order_of_parts_does_not_matter(parts):
    assert cell_key(parts) == cell_key(dict(reversed(parts.items())))


def test_what_is_written_is_read(tmp_path):
    journal = Journal(tmp_path)
    assert journal.read("k") is None
    assert list(journal.records()) == []
    facts = {
        "metrics": {"ndcg_at_20": np.float32(0.5), "mrr": float("nan")},
        "params": {"ks": (10, 20), "x": np.arange(2)},
    }
    journal.write(make_record(**facts, fit_s=np.float64(0.25), history=(), examples=()), users())
    read = journal.read("k")
    assert read.metrics == {"ndcg_at_20": 0.5, "mrr": None}
    assert read.params == {"ks": [10, 20], "x": [0, 1]}
    assert (read.key, read.status, read.fit_s, read.train_pct) == ("k", "ok", 0.25, 20)
    pd.testing.assert_frame_equal(journal.read_users("k"), users())


def test_a_refused_cell_has_no_users(tmp_path):
    journal = Journal(tmp_path)
    journal.write(make_record(status="refused", reason="too large"))
    assert (journal.read("k").status, journal.read("k").reason) == ("refused", "too large")
    assert not journal.users_file("k").exists()


def test_records_come_in_the_order_asked_for(tmp_path):
    journal = Journal(tmp_path)
    for key in "cab":
        journal.write(make_record(key=key, status="refused"))
    assert [r.key for r in journal.records()] == ["a", "b", "c"]
    assert [r.key for r in journal.records(["b", "missing", "a"])] == ["b", "a"]


@pytest.mark.parametrize(
    "content", [b"", b'{"key": "k"', b"\xff\xfe", b'{"format": 1, "key": "k"}', b'{"key": "k"}', b"[]"]
)
def test_an_unreadable_record_is_no_result(tmp_path, content):
    journal = Journal(tmp_path)
    journal.write(make_record(status="refused"))
    (journal.cells / "k.json").write_bytes(content)
    assert journal.read("k") is None
    journal.write(make_record(status="refused", reason="again"))
    assert journal.read("k").reason == "again"


@pytest.mark.parametrize("content", [None, b"", b"bad", b"PAR1 and no end"])
def test_a_cell_without_its_users_is_not_finished(tmp_path, content):
    journal = Journal(tmp_path)
    journal.write(make_record(), users())
    assert [record.key for record in journal.records()] == ["k"]
    journal.users_file("k").unlink()
    if content is not None:
        journal.users_file("k").write_bytes(content)
    assert journal.read("k") is None
    assert list(journal.records()) == []


def test_users_are_there_before_the_record_is(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    written = []
    monkeypatch.setattr(journal_module, "replace_atomically", lambda file, content: written.append(file.suffix))
    journal.write(make_record(), users())
    assert written == [".parquet", ".json"]


def test_plan(tmp_path):
    journal = Journal(tmp_path / "new")
    assert journal.read_plan() is None
    journal.write_plan({"name": "x", "keys": ("a", "b"), "path": Path("/data/x")})
    assert journal.read_plan() == {"name": "x", "keys": ["a", "b"], "path": "/data/x"}


_WRITER = """
import sys
from buir.experiment.records.journal import Journal
import pandas as pd
from buir.experiment.records.record import Record
journal = Journal(sys.argv[1])
frame = pd.DataFrame({"user": range(20000), "x": 1.0})
place = {"dataset": "toy", "protocol": "nested", "level": 0.2, "model": "a", "kind": "als", "params": {}}
print("ready", flush=True)
for number in range(10**6):
    journal.write(Record(key=f"{number:06d}", reason="x" * 10**6, **place), frame)
"""


def test_kill_leaves_whole_cells_only(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
        journal = Journal(tmp_path)
        end = time.monotonic() + 60
        while not any(journal.records()) and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    files = sorted(p.stem for p in journal.cells.glob("*.json"))
    assert files
    for key in files:
        assert len(json.loads((journal.cells / f"{key}.json").read_text())["reason"]) == 10**6
        assert len(journal.read_users(key)) == 20_000


def test_one_benchmark_at_a_time(tmp_path):
    first, second = Journal(tmp_path), Journal(tmp_path)
    with (
        first.exclusive(),
        pytest.raises(ExperimentError, match=r"another benchmark is writing to .*; wait for it, or choose another"),
        second.exclusive(),
    ):
        pytest.fail("two writers")
    with second.exclusive():
        assert (tmp_path / ".lock").exists()


def test_searches_and_their_plan_lie_beside_the_cells(tmp_path):
    journal = Journal(tmp_path)
    assert journal.read_search("a" * 16) is None
    record = make_record(key="a" * 16, work="search", tune_s=np.float64(0.5), tuning={"trials": 3})
    journal.write(record)
    assert journal.read_search("a" * 16).tune_s == 0.5
    assert journal.read_search("a" * 16).tuning == {"trials": 3}
    assert list(journal.records()) == []
    journal.write_plan({"searches": ["a" * 16]}, "tune")
    assert journal.read_plan() is None
    assert journal.read_plan("tune") == {"searches": ["a" * 16]}
    (tmp_path / "searches" / f"{'a' * 16}.json").write_text("{")
    assert journal.read_search("a" * 16) is None


def test_a_record_of_another_format_or_with_unknown_fields_is_none():
    text = make_record(metrics={"ndcg_at_20": 0.5}).to_json()
    assert Record.from_json(text).metrics == {"ndcg_at_20": 0.5}
    facts = json.loads(text)
    for other in (facts | {"format": 3}, facts | {"format": 1, "colour": "red"}, {"format": 1}):
        with pytest.raises(ValueError, match="format"):
            Record.from_json(json.dumps(other))


def test_a_changed_number_is_no_record_and_one_of_the_first_format_is():
    text = make_record(metrics={"ndcg_at_20": 0.5}).to_json()
    with pytest.raises(ValueError, match="another digest"):
        Record.from_json(text.replace("0.5", "0.6"))
    with pytest.raises(ValueError, match="another digest"):
        Record.from_json(json.dumps({name: value for name, value in json.loads(text).items() if name != "digest"}))
    old = {name: value for name, value in json.loads(text).items() if name not in ("digest", "users_digest")}
    assert Record.from_json(json.dumps(old | {"format": 1})) == Record.from_json(text)


def flip(file, place=-100):
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


DAMAGE = {
    "a flipped byte of the values": (lambda j, key: flip(j.users_file(key), 100), "has not the per-user values"),
    "no values": (lambda j, key: j.users_file(key).unlink(), "has not the per-user values"),
    "another cell's values": (
        lambda j, key: shutil.copy(j.users_file("b" * 16), j.users_file(key)),
        "has not the per-user values",
    ),
    "a flipped byte of the record": (lambda j, key: flip(j.cells / f"{key}.json"), "is no record as it was written"),
    "a record cut off": (lambda j, key: os.truncate(j.cells / f"{key}.json", 50), "is no record as it was written"),
    "a record without metrics": (
        lambda j, key: (j.cells / f"{key}.json").write_text('{"format": 2, "key": "' + key + '"}'),
        "is no record as it was written",
    ),
    "nesting": (lambda j, key: (j.cells / f"{key}.json").write_text("[" * 100_000), "is no record as it was written"),
    "a plan of nothing": (lambda j, _: j.plan_file().write_text("{}"), "is no plan of a benchmark"),
    "a plan of a list": (lambda j, _: j.plan_file().write_text("[1]"), "is no plan of a benchmark"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_what_is_damaged_is_set_aside_named_and_not_finished(how, tmp_path):
    journal, told = Journal(tmp_path), []
    journal.write_plan({"name": "x", "keys": ["a" * 16, "b" * 16]})
    for key, value in (("a" * 16, 0.25), ("b" * 16, 0.5)):
        users = pd.DataFrame({"user": [0, 1], "train_degree": [1, 2], "ndcg_at_20": [value, value]})
        journal.write(make_record(key=key, metrics={"ndcg_at_20": value}), users)
    journal.heal(told.append)
    assert told == []
    damage, text = DAMAGE[how]
    damage(journal, "a" * 16)
    (journal.cells / f".x.json.{'0' * 16}").write_bytes(b"left by a process that was killed")
    journal.heal(told.append)
    assert len(told) == 1
    assert text in told[0]
    assert [record.key for record in journal.records()] == (["b" * 16] if "plan" not in how else ["a" * 16, "b" * 16])
    assert list((tmp_path / "damaged").iterdir())
    assert not list(journal.cells.glob(".x*"))
    journal.heal(told.append)
    assert len(told) == 1


def test_values_that_were_changed_are_not_read(tmp_path):
    journal = Journal(tmp_path)
    journal.write(make_record(key="a" * 16), pd.DataFrame({"user": [0], "train_degree": [1], "ndcg_at_20": [0.5]}))
    flip(journal.users_file("a" * 16), 60)
    with pytest.raises(ExperimentError, match="is not what was written; run the benchmark again"):
        journal.read_users("a" * 16)


def test_a_frame_has_a_row_for_each_record_and_a_column_for_each_metric():
    first = make_record(metrics={"ndcg_at_20": 0.5}, data={"users": 3, "train": 7}, level=0.5)
    second = make_record(key="l", model="b", status="refused", reason="too large")
    found = frame([first, second])
    assert found["train_pct"].tolist() == [50, 20]
    assert found["n_train"].tolist()[0] == 7
    assert found["ndcg_at_20"].tolist()[0] == 0.5
    assert np.isnan(found["ndcg_at_20"].tolist()[1])
    assert found["record"].tolist() == [first, second]
    assert {"dataset", "protocol", "level", "model", "status"} <= set(frame([]))
