"""Files that are whole at every moment."""

import os

import pytest

from buir.data import replace_atomically


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    file = tmp_path / "x.json"
    replace_atomically(file, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        replace_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_rights_are_those_of_any_other_file(tmp_path):
    replace_atomically(tmp_path / "written", b"x")
    (tmp_path / "other").write_bytes(b"x")
    assert (tmp_path / "written").stat().st_mode == (tmp_path / "other").stat().st_mode
