from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch

from benchmarks import pipeline
from benchmarks.clips import contestants, gpu, measurement, peers, session
from benchmarks.clips.checks import TOLERANCE, check
from benchmarks.clips.data import FRAMES, SOURCES, Recipe, make_clips, missing_encoder, render
from benchmarks.clips.peers import PeerDataset, training_planner
from benchmarks.clips.table import report
from benchmarks.harness import usage
from benchmarks.harness.rows import read_results
from benchmarks.harness.usage import Usage, descendants
from tdn.config import Config, DataConfig, ModelConfig

# Pillow's pictures, which torch only reads.
pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
TINY = ("--clips", "4", "--batch-size", "2", "--frames", "20", "--segments", "3", "--workers", "1")
SHORT = ("--seconds", "0", "--rounds", "1")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder of clips, made once."""
    return tmp_path_factory.mktemp("clips")


@pytest.fixture
def run(clips, tmp_path):
    def run(*arguments):
        """Exit status and rows."""
        output = tmp_path / "rows.jsonl"
        given = ("--data", str(clips), "--output", str(output), *TINY, *SHORT, *arguments)
        status = pipeline.main(given)
        return status, [result.row | result.where for result in read_results(output)]

    return run


def test_who_is_absent_can_be_installed():
    assert "pip install no_such_library" in peers.absence("no_such_library")
    assert peers.absence("pyav") == ""


def test_every_contestant_is_right_or_absent(run, capsys):
    status, rows = run("--sources", "vp9", "jpeg")
    assert status == 0
    found = {(row["source"], row["contestant"]) for row in rows}
    names = {c.name: c.sources for c in contestants.CONTESTANTS if not c.on_cpu}
    assert found == {
        (s, name) for name, sources in names.items() for s in {"vp9", "jpeg"} & {*sources}
    }
    table = capsys.readouterr().out
    for row in rows:
        assert row["contestant"] in table
        assert row["commit"]
        assert row["av"]
        if "absent" in row:
            assert row["contestant"].split("+")[0] in ("decord", "torchcodec")
            continue
        assert row["error_levels"] <= TOLERANCE
        assert row["clips"] == 4
        assert row["clips_per_s"] > 0
        assert row["cpu_s_per_clip"] > 0
        assert row["input_gb_per_s"] < row["output_gb_per_s"]


@pytest.fixture(scope="module")
def config(clips):
    listed = make_clips(clips, "vp9", Recipe(4, 20), 1)
    return Config(
        model=ModelConfig(num_segments=3, num_classes=4),
        data=DataConfig(train_list=str(listed), batch_size=2, num_threads=1),
    )


@pytest.fixture(scope="module")
def planned(config):
    """The first batch as a peer reads it, in uint8 and as floats, and what was planned for it."""
    batches = [PeerDataset(config, "pyav", as_float)[0] for as_float in (False, True)]
    return *batches, training_planner(config).batch(0, 0)


def test_a_right_batch_passes_in_both_forms(planned):
    pixels, floats, views = planned
    assert pixels.clips.dtype == torch.uint8
    assert floats.clips.shape == (2, 3 * 15, 224, 224)
    for batch in (pixels, floats):
        verdict = check(batch, views)
        assert verdict.problem == ""
        assert verdict.error < 0.01


WRONG = {
    "mirrored": lambda clips: clips.flip(-2),
    "one frame late": lambda clips: clips.flatten(1, 2).roll(1, dims=1).view(clips.shape),
    "one pixel off": lambda clips: clips.roll(1, dims=-2),
    "blue for red": lambda clips: clips.flip(-1),
    "too light": lambda clips: clips.clamp(max=250) + 5,
    "black": torch.zeros_like,
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_batch_does_not_pass(planned, mistake):
    pixels, _, views = planned
    wrong = pixels._replace(clips=WRONG[mistake](pixels.clips))
    assert check(wrong, views).problem


def test_floats_must_be_normalised(planned):
    _, floats, views = planned
    assert check(floats._replace(clips=floats.clips + 0.2), views).problem
    assert check(floats._replace(clips=torch.full_like(floats.clips, torch.nan)), views).problem


def test_frame_numbers_must_be_those_planned(planned):
    pixels, _, views = planned
    late = pixels._replace(frame_numbers=pixels.frame_numbers + 1)
    assert check(late, views).problem


def test_who_is_wrong_is_named(run, monkeypatch, capsys):
    fed = contestants._OurFeed.__iter__

    def mirrored(feed):
        return ((clips.flip(-2), numbers) for clips, numbers in fed(feed))

    monkeypatch.setattr(contestants._OurFeed, "__iter__", mirrored)
    status, (row,) = run("--sources", "vp9", "--backends", "ours")
    assert status == 1
    assert row["wrong"]
    assert "clips_per_s" not in row
    assert "ours (vp9, T=3)" in capsys.readouterr().out.partition("Wrong:")[2]


@pytest.mark.parametrize(("backend", "status"), [("ours", 1), ("pyav+pil", 0)])
def test_who_fails_does_not_end_the_run(run, monkeypatch, backend, status):
    def start(self, config, device):
        if self.name.lower() == backend:
            raise RuntimeError("out of something\nwith details")
        return started(self, config, device)

    started = contestants.Contestant.start
    monkeypatch.setattr(contestants.Contestant, "start", start)
    found, rows = run("--sources", "vp9", "--backends", "ours", "pyav+pil")
    assert found == status
    for row in rows:
        failed = row["contestant"].lower() == backend
        assert row.get("error") == ("RuntimeError: out of something" if failed else None)
        assert ("clips_per_s" in row) != failed


def test_a_missing_library_or_encoder_is_said(run, monkeypatch, capsys):
    monkeypatch.setattr(contestants, "absence", lambda library: f"no {library}")
    monkeypatch.setattr("benchmarks.clips.session.missing_encoder", lambda _: "encoder of it")
    status, rows = run("--sources", "av1", "--backends", "decord+pil")
    assert status == 0
    assert "encoder of it" in rows[0]["left_out"]
    monkeypatch.undo()
    monkeypatch.setattr(contestants, "absence", lambda library: f"no {library}")
    _, rows = run("--sources", "vp9", "--backends", "decord+pil")
    assert rows[0]["absent"] == "no decord"
    assert "no decord: decord+PIL (vp9, T=3)" in capsys.readouterr().out


def test_what_the_time_is_too_short_for_is_left_out(run, monkeypatch):
    monkeypatch.setattr(session, "make_clips", None)  # not for clips that nobody reads
    status, rows = run("--minutes", "0", "--sources", "vp9", "jpeg")
    assert status == 0
    assert {row["source"] for row in rows} == {"vp9", "jpeg"}
    assert all("left_out" in row for row in rows)


def test_who_is_ended_has_rows_of_all_cases(run, tmp_path, monkeypatch):
    def ended(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "make_clips", ended)
    with pytest.raises(KeyboardInterrupt):
        run("--sources", "vp9", "jpeg")
    (output,) = tmp_path.rglob("*.jsonl")
    rows = [result.row for result in read_results(output)]
    assert {row["source"] for row in rows} == {"vp9", "jpeg"}
    assert all("left_out" in row for row in rows)


def test_refuses_without_a_gpu(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pipeline.main(["--device", "cuda"]) == 2
    assert "no GPU" in capsys.readouterr().err


def row(contestant, speed, cpu, **others):
    """A row of VP9 with times."""
    times = {"clips_per_s": speed, "clips_per_s_low": speed, "clips_per_s_high": speed}
    others = {"output_gb_per_s": 1, "input_gb_per_s": 0.1, "start_s": 1, **others}
    place = {"source": "vp9", "segments": 8, "contestant": contestant}
    return {**place, **times, "cpu_s_per_clip": cpu, **others}


def test_targets_are_judged():
    rows = [row("ours", 40, 0.03), row("PyAV+PIL", 20, 0.07), row("decord+PIL", 28, 0.05)]
    lines = report(rows, "cpu").partition("Targets:\n")[2].splitlines()
    verdicts = [line.split("  ")[0] for line in lines[:5]]
    assert verdicts == ["met", "met", "MISSED", "MISSED", "not measured"]


def test_on_a_gpu_the_best_peer_counts():
    rows = [row("ours", 99, 0.01), row("PyAV+PIL", 10, 0.07), row("PyAV+PIL uint8", 20, 0.05)]
    lines = report(rows, "cuda", consumed=100).partition("Targets:\n")[2]
    assert "MISSED        vp9, 8 segments: 4.95 times the clips/s of PyAV+PIL uint8" in lines
    assert "MISSED        vp9, 8 segments: 99 clips/s fed, 100 consumed" in lines


def test_a_busy_machine_is_told():
    rows = [row("ours", 40, 0.03, doubtful=True, foreign_cores=1.5)]
    assert "1.5 cores" in report(rows, "cpu").partition("Doubtful:")[2]
    rows[0]["doubtful"] = False
    assert "Doubtful:" not in report(rows, "cpu")


def test_cpu_time_of_child_processes_counts():
    burn = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    before = Usage.now()
    with subprocess.Popen(
        [sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        assert child.pid in descendants()
        used = Usage.now().since(before)
        child.communicate(b"\n")
    assert used.own >= 0.45
    assert Usage.now().since(before).own >= used.own  # although it has ended
    assert used.machine >= 0.45
    assert used.foreign <= used.machine / used.wall


def test_speed_is_the_median_turn_and_cpu_time_that_of_a_clip(monkeypatch):
    monkeypatch.setattr(usage, "usable_cores", lambda: 2)
    monkeypatch.setattr(usage.os, "cpu_count", lambda: 2)
    turns = [
        measurement.Turn(10, 1000, Usage(wall, 4.0, 4.5), 0.5, 0, {}) for wall in (1.0, 2.0, 5.0)
    ]
    found = measurement.summary(turns, encoded=1e6)
    assert (found["clips_per_s_low"], found["clips_per_s"], found["clips_per_s_high"]) == (2, 5, 10)
    assert found["cpu_s_per_clip"] == 0.4
    assert found["input_gb_per_s"] == 0.005
    assert found["foreign_cores"] == 0.25
    assert found["doubtful"]
    monkeypatch.setattr(usage.os, "cpu_count", lambda: 3)  # a core that others may have
    assert measurement.summary(turns, encoded=1e6)["foreign_cores"] == 0


def test_engines_are_averaged():
    assert gpu.parse("10, 0, 50\n30, 0, 70\n20, 0") == {"decoder": 20, "jpeg": 0, "gpu": 60}
    assert gpu.parse("[N/A], [N/A], 3\n") == {}


def test_frames_are_all_different_and_the_same_every_time():
    frames = render(1, 8)
    assert np.array_equal(frames, render(1, 8))
    assert np.array_equal(frames, render(1, FRAMES)[:8])
    for one, next_one in itertools.pairwise(frames):
        assert np.abs(one.astype(int) - next_one).mean() > 1


@pytest.mark.parametrize("source", [s for s in SOURCES if not missing_encoder(s)])
def test_every_source_is_written_once_and_decoded_right(clips, source):
    listed = make_clips(clips, source, Recipe(2, 12), 1)
    made = {path: path.stat().st_mtime_ns for path in listed.parent.iterdir() if path != listed}
    assert make_clips(clips, source, Recipe(2, 12), 1) == listed
    assert made == {path: path.stat().st_mtime_ns for path in made}
    config = Config(
        model=ModelConfig(num_segments=2, num_classes=4),
        data=DataConfig(train_list=str(listed), batch_size=2, num_threads=1),
    )
    library = "PIL" if source == "jpeg" else "pyav"
    batch = PeerDataset(config, library, as_float=False)[0]
    views = training_planner(config).batch(0, 0)
    assert check(batch, views).problem == ""
    assert {view.clip.frames for view in views} == {12}
