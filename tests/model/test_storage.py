"""The one file of a model: what comes back, and what is refused."""

import io
import json
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from buir.errors import StorageError
from buir.model.contents import Contents
from buir.model.storage import FORMAT_VERSION, pack_ids, read_file, write_file

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
        _, arrays, facts = read_file(source)
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
    with pytest.raises(
        StorageError, match=r"cannot save to .*model\.safetensors: No space left on device; check the path"
    ):
        write_file(path, ARRAYS, {"version": 2})
    assert read_file(path)[2] == {"version": 1}
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
    with pytest.raises(StorageError, match=r"has format '2', written by buir 9\.9; .* upgrade buir"):
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


NO_PLACE = {
    "a number": (
        5,
        TypeError,
        "cannot {verb} a model: got 5 of type int; expected a path, as text or pathlib.Path, or a binary file",
    ),
    "bytes": (b"m", TypeError, "cannot {verb} a model: got b'm' of type bytes; expected a path"),
    "nothing": (None, TypeError, "got None of type NoneType"),
    "text in memory": (
        io.StringIO(),
        TypeError,
        "the file object holds text; expected a path or a binary file object: open it with",
    ),
    "an empty name": ("", StorageError, "is a folder; expected"),
    "a name that is too long": ("x" * 5000, StorageError, "File name too long; check the path"),
}


@pytest.mark.parametrize("name", NO_PLACE)
def test_what_is_no_place_for_a_model(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place, error, text = NO_PLACE[name]
    for verb, act in (("write", lambda: write_file(place, ARRAYS, FACTS)), ("read", lambda: read_file(place))):
        with pytest.raises(error, match=re.escape(text.format(verb=verb))) as caught:
            act()
        assert len(str(caught.value)) < 5300
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(
        StorageError, match=r"cannot save to \S+: it is a folder; expected the name of a file, such as model.saf"
    ):
        write_file(tmp_path, ARRAYS, FACTS)
    with pytest.raises(StorageError, match=r"\S+ is a folder; expected a model that save\(\) wrote"):
        read_file(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_place_where_nothing_can_be_made(tmp_path, monkeypatch):
    def refused(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(
        StorageError, match=r"cannot save to \S+/m: Permission denied; check the path, its permissions and the space"
    ):
        write_file(tmp_path / "m", ARRAYS, FACTS)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    def refused(self):
        raise PermissionError(13, "Permission denied", str(self))

    write_file(tmp_path / "m", ARRAYS, FACTS)
    monkeypatch.setattr(Path, "open", lambda self, *_: refused(self))
    with pytest.raises(
        StorageError, match=r"\S+/m cannot be read: Permission denied; check the path and its permissions"
    ):
        read_file(tmp_path / "m")


def test_a_pipe_is_not_replaced_by_a_model(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(
        StorageError, match=r"cannot save to \S+/pipe: it is a device or a pipe; expected the name of a file"
    ):
        write_file(pipe, ARRAYS, FACTS)
    assert pipe.is_fifo()


def test_file_objects_that_are_of_no_use(tmp_path):
    path = tmp_path / "m"
    write_file(path, ARRAYS, FACTS)
    with path.open("rb") as file, pytest.raises(ValueError, match="write"):
        write_file(file, ARRAYS, FACTS)
    with pytest.raises(ValueError, match="closed file"):
        read_file(file)
    with tempfile.NamedTemporaryFile("w+", encoding="utf-8") as text:  # hides that it holds text
        with pytest.raises(TypeError, match="cannot write a model: the file object holds text"):
            write_file(text, ARRAYS, FACTS)
        with pytest.raises(TypeError, match="cannot read a model: the file object holds text"):
            read_file(text)


@pytest.mark.parametrize(
    "ids", [np.array([7, -1, 2**40]), np.array(["a", "", "é", "日本"], dtype=object), np.array([], dtype=object)]
)
def test_ids_keep_value_and_kind(ids):
    packed = pack_ids("user_ids", ids)
    back = Contents(packed).ids("user_ids")
    assert back.tolist() == ids.tolist()
    assert back.dtype.kind == ids.dtype.kind


FACTS_TEXT = json.dumps(FACTS)
BAD_HEADERS = {
    "a version in words": ({"format_version": "one"}, "has format 'one'"),
    "a version below 1": ({"format_version": "-1"}, "has format '-1'"),
    "a fraction of a version": ({"format_version": "1.5"}, "has format '1.5'"),
    "an endless version": ({"format_version": "9" * 9000}, f"has format '{'9' * 60}'"),
    "no version": ({"format_version": None}, "has format 'None'"),
    "a newer format with facts of another kind": (
        {"format_version": "7", "facts": "<xml>"},
        "has format '7', written by another version of buir; this version reads format 1: upgrade buir",
    ),
    "a newer format with a list": ({"format_version": "2", "facts": "[1]"}, "has format '2', written by another"),
    "a newer format with versions of another kind": (
        {"format_version": "2", "facts": '{"versions": ["buir 9"]}'},
        "has format '2', written by another version of buir",
    ),
    "a newer format without facts": ({"format_version": "2", "facts": None}, "has format '2', written by another"),
    "no facts": ({"facts": None}, "tells nothing about its model that can be read; expected the facts"),
    "facts that are no JSON": ({"facts": "{"}, "tells nothing about its model"),
    "facts that are a list": ({"facts": "[]"}, "tells nothing about its model"),
    "facts without end": ({"facts": "[" * 100_000}, "tells nothing about its model"),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_headers_that_save_does_not_write(tmp_path, name):
    changes, text = BAD_HEADERS[name]
    header = {"format": "buir", "format_version": "1", "facts": FACTS_TEXT, "checksum": ""} | changes
    path = tmp_path / "m"
    path.write_bytes(safetensors.numpy.save(ARRAYS, {key: value for key, value in header.items() if value is not None}))
    with pytest.raises(StorageError, match=re.escape(f"{path} {text}")) as caught:
        read_file(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (b'{"__metadata__": ["buir"]}', "is a safetensors file, but not a model of buir"),
        (b'{"__metadata__": 3}', "is a safetensors file, but not a model of buir"),
        (b'{"__metadata__": {"format": "buir", "format_version": 1.5}}', "has format '1.5'"),
        (
            b'{"__metadata__": {"format": "buir", "format_version": "1", "facts": 5}}',
            "tells nothing about its model",
        ),
        (b"[" * 100_000, "is no model file, or its beginning is damaged"),
    ],
)
def test_metadata_of_another_kind(header, text):
    stream = io.BytesIO(len(header).to_bytes(8, "little") + header)
    with pytest.raises(StorageError, match=re.escape(f"the file object {text}")):
        read_file(stream)
