"""Jobs of slurm.sbatch on a real Slurm: stopped, put back, and with a node lost."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forks import python_that_forks
from tests.launch.slurm_cluster import Slurm, slurm
from tests.tdn.training.kill_trials import Trial, assert_same_end, make_videos
from tests.tdn.training.runs import events

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "slurm.sbatch"
STAND_IN = """#!/bin/bash
# In place of Python: training that ends with 75 when it was asked to stop. The second node takes
# longer, and is impatient when it is asked again.
[[ "$1" != -c ]] || exit 0  # asked for what it has
echo "given: $*"
trap 'trap "exit 1" TERM; sleep $SLURM_NODEID; echo saved; exit 75' USR2
trap 'echo saved; exit 75' TERM
touch "at-work-${SLURM_ARRAY_TASK_ID:-$SLURM_NODEID}"
if [[ "$*" == *fail* && "$SLURM_NODEID" == 0 ]]; then
  while [[ ! -e at-work-1 ]]; do sleep 0.1; done
  exit 1
fi
while :; do sleep 60 & wait; done  # Slurm may end the sleep before this script hears of anything
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    with slurm() as cluster:
        yield cluster


class Jobs:
    """Jobs that are submitted from a folder of their own."""

    def __init__(self, cluster: Slurm, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder

    def submit(self, *words: str | Path, python: str | Path = "", **environment: str) -> str:
        """Submit; with a stand-in for Python, unless one is given."""
        stand_in = self.folder / "stand-in"
        stand_in.write_text(STAND_IN)
        stand_in.chmod(0o755)
        known = {"TDN_PREFLIGHT": "off", "PYTHONPATH": str(ROOT)}
        given = {"TDN_PYTHON": python or stand_in, **known, **environment}
        return self.cluster.submit(self.folder, *words, **given)

    def said(self, job: str) -> str:
        path = self.folder / f"slurm-{job}.out"
        return path.read_text() if path.exists() else ""

    def wait_for_work(self, *names: int) -> None:
        """Wait until the stand-ins of these nodes, or tasks of an array, are at work."""
        files = [self.folder / f"at-work-{name}" for name in names]
        self.cluster.wait_until(lambda: all(map(Path.exists, files)), "the stand-ins")
        for file in files:
            file.unlink()


@pytest.fixture
def jobs(cluster, tmp_path) -> Jobs:
    return Jobs(cluster, tmp_path)


def saved(trial: Trial) -> int:
    """The step of a run's newest checkpoint but one; 0 if there is none."""
    names = [path.stem for path in (trial.run / "checkpoints").glob("step-*.pt")]
    return max((int(name.removeprefix("step-")) for name in names), default=0)


def test_a_training_that_is_stopped_and_loses_a_node_ends_like_one_undisturbed(jobs, cluster):
    """It is one job, which the script and Slurm put back. Beside it, one is warned by Slurm."""
    warned = jobs.submit("--partition=spare", "--time=4", SCRIPT, "train", TDN_MAX_REQUEUES="0")
    videos = make_videos(jobs.folder / "videos")
    trial, whole = (Trial(jobs.folder / name, videos) for name in ("trial", "whole"))
    words = ("--nodes=2", SCRIPT, "train", "--training.resume", "none", "--config")
    examined = {"TDN_PREFLIGHT": "on"}  # the one that is not disturbed, and has the time
    job = jobs.submit(*words, trial.config, python=python_that_forks(jobs.folder))
    other = jobs.submit(*words, whole.config, python=sys.executable, **examined)
    cluster.wait_until(lambda: saved(trial) >= 2, "the first steps")
    cluster.cancel("--signal=USR2", job)
    cluster.wait_until((trial.run / "interrupted.json").exists, "the marker")
    stopped_after = json.loads((trial.run / "interrupted.json").read_text())["step"]
    assert cluster.wait_for(other)["Restarts"] == "0"  # had its turn in the meantime
    assert "preflight: training can start" in jobs.said(other)
    found = json.loads((whole.run / "preflight.json").read_text())
    assert [node["name"] for node in found["nodes"]] == ["n1", "n2"]
    assert [pair["nodes"] for pair in found["pairs"]] == [["n1", "n2"]]
    cluster.wait_until(lambda: saved(trial) > stopped_after, "further steps")
    cluster.kill_node("n2")
    cluster.wait_until(lambda: cluster.job(job)["Restarts"] == "2", "Slurm's notice")
    cluster.start_node("n2")
    ended = cluster.wait_for(job)
    assert ended["JobState"] == "COMPLETED", jobs.said(job)
    assert_same_end(trial, whole)
    first, second, third = (event["step"] for event in events(trial.run, "start"))
    assert first == 0
    assert second == stopped_after
    assert third > stopped_after
    said = jobs.said(job)
    assert said.count("stopped on request: goes back into the queue") == 1
    assert "Node failure on n2" in said
    logs = list((jobs.folder / f"slurm-{job}.ranks").glob("start-3/n[12]/*/attempt_0/0/stdout.log"))
    assert len(logs) == 2
    assert any("complete after" in log.read_text() for log in logs)
    ended = cluster.wait_for(warned)  # three minutes before its end, and a little more
    assert (ended["JobState"], ended["ExitCode"]) == ("FAILED", "75:0")
    assert "saved\n" in jobs.said(warned)


def test_a_job_is_put_back_so_often_but_not_for_ever(jobs, cluster):
    """The nodes may be told, as Slurm does, or the script, too."""
    job = jobs.submit("--nodes=2", SCRIPT, "train", TDN_MAX_REQUEUES="1")
    jobs.wait_for_work(0, 1)
    cluster.cancel("--signal=USR2", job)
    jobs.wait_for_work(0, 1)
    cluster.cancel("--full", "--signal=USR2", job)
    ended = cluster.wait_for(job)
    assert (ended["JobState"], ended["Restarts"], ended["ExitCode"]) == ("FAILED", "1", "75:0")
    assert ended["NumCPUs"] == "4"  # all of both nodes
    said = jobs.said(job)
    assert said.count("saved\n") == 4
    assert said.count("goes back into the queue") == 1
    assert "TDN_MAX_REQUEUES is 1; submit the same command" in said


def test_tasks_of_a_sweep_are_put_back_and_ended_one_by_one(jobs, cluster):
    (jobs.folder / "sweep.txt").write_text("small --model.width 8\nlarge --model.width 64\n")
    words = ("--array=1-2", SCRIPT, "train", "--output", "runs")
    job = jobs.submit(*words, TDN_SWEEP="sweep.txt")
    jobs.wait_for_work(1, 2)
    assert "--output runs/small --model.width 8\n" in jobs.said(f"{job}_1")
    assert "--output runs/large --model.width 64\n" in jobs.said(f"{job}_2")
    cluster.cancel("--signal=USR2", f"{job}_2")
    cluster.wait_until(lambda: cluster.job(f"{job}_2")["Restarts"] == "1", "the second task")
    assert cluster.job(f"{job}_1")["JobState"] == "RUNNING"
    cluster.cancel("--signal=USR2", f"{job}_1")
    jobs.wait_for_work(1, 2)
    cluster.cancel(job)  # for good
    for task in (f"{job}_1", f"{job}_2"):
        ended = cluster.wait_for(task)
        assert (ended["JobState"], ended["Restarts"]) == ("CANCELLED", "1")
        assert jobs.said(task).count("goes back into the queue") == 1
        cluster.wait_until(lambda task=task: jobs.said(task).count("saved\n") == 2, "both ends")


def test_a_failure_of_one_node_ends_the_others_and_the_job(jobs, cluster):
    job = jobs.submit("--nodes=2", SCRIPT, "train", "--output", "fail")
    ended = cluster.wait_for(job)
    assert (ended["JobState"], ended["Restarts"], ended["ExitCode"]) == ("FAILED", "0", "1:0")
    assert jobs.said(job).count("saved\n") == 1


def test_a_mistake_ends_a_job(jobs, cluster):
    """Told in a line by each node's first process, and not tried again."""
    words = ("train", "--config", "gone.yaml")
    job = jobs.submit("--nodes=2", SCRIPT, *words, python=sys.executable)
    ended = cluster.wait_for(job)
    assert (ended["JobState"], ended["Restarts"], ended["ExitCode"]) == ("FAILED", "0", "2:0")
    said = jobs.said(job)
    assert 1 <= said.count("gone.yaml") <= 2
    assert "Traceback" not in said
