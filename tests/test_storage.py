"""The one file of a model: what comes back, and what is refused."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from buir.storage import FORMAT_VERSION, StorageError, pack_ids, read_file, unpack_ids, write_file

ARRAYS = {
    "b": np.arange(6, dtype=np.int32).reshape(2, 3),
    "a": np.array([0.5, -1.5], dtype=np.float32),
    "none": np.empty((0, 4)),
}
FACTS = {"name": "x", "number": 1.5, "nested": {"list": [1, None]}}


def test_path_and_file_object_hold_the_same(tmp_path):
    write_file(tmp_path / "model.safetensors", ARRAYS, FACTS)
    stream = io.BytesIO()
    write_file(stream, ARRAYS, FACTS)
    stream.seek(0)
    for source in (tmp_path / "model.safetensors", str(tmp_path / "model.safetensors"), stream):
        arrays, facts = read_file(source)
        assert facts == FACTS
        assert arrays.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            assert arrays[name].dtype == array.dtype
            np.testing.assert_array_equal(arrays[name], array)


def test_writing_replaces_at_once_and_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    write_file(path, ARRAYS, {"version": 1})

    def broken(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OSError, match="No space left"):
        write_file(path, ARRAYS, {"version": 2})
    assert read_file(path)[1] == {"version": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("share", [0.001, 0.3, 0.95])
def test_truncated(tmp_path, share):
    path = tmp_path / "model.safetensors"
    write_file(path, ARRAYS, FACTS)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(StorageError, match=r"is truncated or damaged|its beginning is damaged"):
        read_file(path)


def test_tampered(tmp_path):
    path = tmp_path / "model.safetensors"
    write_file(path, ARRAYS, FACTS)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(StorageError, match=r"was changed after it was saved: .* get the original"):
        read_file(path)


def test_newer_format(tmp_path):
    path = tmp_path / "model.safetensors"
    facts = json.dumps({"versions": {"buir": "9.9"}})
    metadata = {"format": "buir", "format_version": str(FORMAT_VERSION + 1), "facts": facts, "checksum": ""}
    path.write_bytes(safetensors.numpy.save(ARRAYS, metadata))
    with pytest.raises(StorageError, match=r"has format 2, written by buir 9\.9; .* upgrade buir"):
        read_file(path)


def test_foreign_files(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(StorageError, match=r"is no file; expected a model that save\(\) wrote"):
        read_file(path)
    path.write_bytes(safetensors.numpy.save(ARRAYS))
    with pytest.raises(StorageError, match="a safetensors file, but not a model of buir"):
        read_file(path)
    path.write_bytes(b"\x80\x04 this is something else entirely")
    with pytest.raises(StorageError, match="is no model file"):
        read_file(path)


def test_missing_folder(tmp_path):
    with pytest.raises(StorageError, match=r"the folder .*absent does not exist; create it first"):
        write_file(tmp_path / "absent" / "model.safetensors", ARRAYS, FACTS)


@pytest.mark.parametrize(
    "ids", [np.array([7, -1, 2**40]), np.array(["a", "", "é", "日本"], dtype=object), np.array([], dtype=object)]
)
def test_ids_keep_value_and_kind(ids):
    packed = pack_ids("user_ids", ids)
    back = unpack_ids("user_ids", packed)
    assert back.tolist() == ids.tolist()
    assert back.dtype.kind == ids.dtype.kind
