"""Runs of ``tdn index`` that are killed, interrupted, short of room, or meet each other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tdn.errors import UserError
from tdn.pipelines.indexing import run as indexing
from tdn.pipelines.indexing.run import index_list
from tests.permissions import bound_by_permissions
from tests.videos import write_list, write_video

COUNT = 16
ROOT = Path(__file__).parents[3]

# `tdn index`, taking its time over each clip, and losing nothing that it found.
_SLOWLY = """
import signal
import sys
from tdn import cli
from tdn.pipelines.indexing import journal as index_journal
from tdn.pipelines.indexing import probe_workers

# A shell's background job ignores interrupts, and hands that on to what it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
index_journal._FLUSH = 0.0
probe_workers._TASK = "tests.pipelines.worker_tasks:probe_slowly"
raise SystemExit(cli.main(["index", *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def listed(tmp_path_factory) -> Path:
    """A list of short videos, and a file that is none."""
    root = tmp_path_factory.mktemp("videos")
    write_video(root / "v.webm", 4, size=(32, 48))
    (root / "bad.webm").write_text("no video")
    for number in range(COUNT - 1):
        os.link(root / "v.webm", root / f"{number}.webm")
    rows = [(f"{number}.webm", number % 5) for number in range(COUNT - 1)]
    return write_list(root / "list.txt", [*rows, ("bad.webm", 2)])


def start(listed: Path, output: Path) -> subprocess.Popen[str]:
    """A slow run in a process of its own, once it has found some clips."""
    words = [sys.executable, "-c", _SLOWLY, str(listed), "-o", str(output), "--workers", "2"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(words, cwd=ROOT, **pipes)
    while len(noted(output)) < 5:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def noted(output: Path) -> list[str]:
    """The whole lines of the journal."""
    journal = output.with_name(output.name + ".journal")
    lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    return [line for line in lines if line.endswith("\n")]


def children(process: subprocess.Popen[str]) -> set[int]:
    """Its subprocesses that are alive."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = status.read_text().rpartition(") ")[2].split()[:2]
        except OSError:  # it has ended meanwhile
            continue
        if int(parent) == process.pid and state != "Z":
            found.add(int(status.parent.name))
    return found


def wait_until_gone(processes: set[int]) -> None:
    while any(Path(f"/proc/{number}").exists() for number in processes):
        time.sleep(0.05)


@pytest.fixture(scope="module")
def made_at_once(listed, tmp_path_factory) -> bytes:
    output = tmp_path_factory.mktemp("manifest") / "m.arrow"
    index_list(listed, output, workers=2, progress=False)
    return output.read_bytes()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_stopped_goes_on_where_it_was(
    listed, made_at_once, tmp_path, monkeypatch, how
):
    output = tmp_path / "m.arrow"
    process = start(listed, output)
    workers = children(process)
    assert workers
    process.send_signal(how)
    out, err = process.communicate()
    assert "Traceback" not in out + err
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert len(err.strip().splitlines()) == 1
    wait_until_gone(workers)
    assert not output.exists()
    before = [json.loads(line)[0] for line in noted(output)[1:]]
    assert 4 <= len(before) < COUNT

    probed = []
    probe_clips = indexing.probe_clips

    def counted(requests, workers, done):
        probed.extend(request.path for request in requests)
        return probe_clips(requests, workers, done)

    monkeypatch.setattr(indexing, "probe_clips", counted)
    report = index_list(listed, output, workers=1, progress=False)
    assert (report.read, report.kept) == (COUNT - len(before), len(before))
    assert len({*probed, *before}) == len(probed) + len(before) == COUNT
    assert output.read_bytes() == made_at_once
    assert list(tmp_path.iterdir()) == [output]


def test_two_runs_at_once_do_not_mix(listed, made_at_once, tmp_path):
    output = tmp_path / "m.arrow"
    first = start(listed, output)
    with pytest.raises(UserError, match=r"m\.arrow: another process") as error:
        index_list(listed, output, workers=1, progress=False)
    assert "\n" not in str(error.value)
    out, err = first.communicate()
    assert first.returncode == 0, err
    assert f"{COUNT - 1} of {COUNT} videos usable" in out
    assert output.read_bytes() == made_at_once


# Files of this process may not grow beyond some lines of the journal.
_WITHOUT_ROOM = """
import resource, sys
from tdn import cli

resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
raise SystemExit(cli.main(["index", *sys.argv[1:]]))
"""


def test_a_full_disk_is_told_and_nothing_is_lost(listed, made_at_once, tmp_path):
    output = tmp_path / "m.arrow"
    command = [sys.executable, "-c", _WITHOUT_ROOM, str(listed), "-o", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "m.arrow" in done.stderr
    assert not output.exists()
    kept = len(noted(output)) - 1
    assert index_list(listed, output, workers=1, progress=False).kept == kept > 0
    assert output.read_bytes() == made_at_once


def test_a_journal_of_another_version_is_left_out_of_account(listed, tmp_path):
    output = tmp_path / "m.arrow"
    video = str(listed.parent / "0.webm")
    (tmp_path / "m.arrow.journal").write_text(
        '{"tdn journal": ["frames", "size"], "template": ""}\n' + json.dumps([video, 99, 1]) + "\n"
    )
    report = index_list(listed, output, workers=1, progress=False)
    assert report.read == COUNT
    assert report.manifest.frames[0] == 4
    assert [path.name for path in tmp_path.iterdir()] == ["m.arrow"]


def test_where_nothing_can_be_written_nothing_is_probed(public_folder, monkeypatch):
    listed = write_list(public_folder / "list.txt", [("v.webm", 0)])
    public_folder.chmod(0o555)
    monkeypatch.setattr(indexing, "probe_clips", None)
    for output in (public_folder / "m.arrow", public_folder / "new" / "m.arrow"):
        told = pytest.raises(UserError, match=r"m\.arrow.*cannot be written")
        with bound_by_permissions(), told:
            index_list(listed, output, progress=False)
    assert list(public_folder.iterdir()) == [listed]


def test_an_up_to_date_manifest_may_be_read_only(public_folder):
    write_video(public_folder / "v.webm", 3)
    listed = write_list(public_folder / "list.txt", [("v.webm", 0)])
    output = public_folder / "m.arrow"
    index_list(listed, output, workers=1, progress=False)
    public_folder.chmod(0o555)
    with bound_by_permissions():
        assert index_list(listed, output, progress=False).read == 0
