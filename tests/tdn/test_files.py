from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tdn.errors import UserError
from tdn.files import check_not_an_input, write_atomically, write_text_atomically


def test_the_file_reaches_the_disk_before_its_name(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "fsync", lambda _: calls.append("sync"))
    real = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda self, target: (calls.append("rename"), real(self, target))[1]
    )
    write_atomically(tmp_path / "file", lambda file: file.write(b"text"))
    assert calls == ["sync", "rename", "sync"]
    assert (tmp_path / "file").read_bytes() == b"text"


def test_a_failure_leaves_the_former_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"former")

    def failing(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left") as error:
        write_atomically(path, failing, "make room")
    assert str(path) in str(error.value)
    assert "make room" in str(error.value)
    assert path.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [path]


def test_texts_are_written_in_utf_8(tmp_path):
    write_text_atomically(tmp_path / "file", "épée\n")
    assert (tmp_path / "file").read_bytes() == "épée\n".encode()


def test_what_is_read_is_not_written(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "one" / "file")
    (tmp_path / "hard").hardlink_to(tmp_path / "one" / "file")
    for output in ("one/file", "link", "hard", "two/file"):
        with pytest.raises(UserError, match=output):
            check_not_an_input(tmp_path / output, [tmp_path / "one" / "file", tmp_path / "two"])
    for output in ("one/new", "two/new", "none/new"):
        check_not_an_input(tmp_path / output, [tmp_path / "one" / "file", tmp_path / "two", "gone"])


def test_an_interruption_leaves_nothing_half_written(tmp_path):
    def interrupted(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", interrupted)
    assert not list(tmp_path.iterdir())


def test_folders_are_made_and_names_may_be_long(tmp_path):
    path = tmp_path / "a" / "b" / ("n" * 250)
    write_atomically(path, lambda file: file.write(b"text"), lasting=False)
    assert path.read_bytes() == b"text"


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    path = tmp_path / "file"
    kill = (
        "import os, signal, sys; from pathlib import Path; from tdn.files import write_atomically\n"
        "write_atomically(Path(sys.argv[1]), lambda _: os.kill(os.getpid(), signal.SIGKILL))"
    )
    subprocess.run([sys.executable, "-c", kill, path], check=False)
    (left,) = tmp_path.iterdir()
    living = left.with_name(left.name.replace(left.name.split("-")[-1], f"{os.getppid()}.partial"))
    living.touch()
    other = tmp_path / ".file.another-host-1.partial"
    other.touch()
    write_atomically(path, lambda file: file.write(b"text"))
    assert set(tmp_path.iterdir()) == {path, living, other}


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "below", lambda file: file.write(b"text"))
