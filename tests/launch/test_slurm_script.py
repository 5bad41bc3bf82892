"""slurm.sbatch beside stand-ins for Slurm's programs; a real Slurm is in test_slurm_cluster.py."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tdn.config_loading import load_config

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "slurm.sbatch"
SWEEPS = ROOT / "launch" / "sweeps"
TRAIN = ("train", "--config", "my.yaml", "--output", "runs/mine")

SCONTROL = """
case "$*" in
  "show job "*) echo "   Command=$TEST_SCRIPT train --config my.yaml" ;;
  "show hostnames "*) printf '%s\\n' a7 a8 ;;
  *"show node "*)  # not in the order of the job
    echo "NodeName=a8 Arch=x86_64 NodeAddr=127.0.0.8 NodeHostName=node8 Version=22.05"
    echo "NodeName=a7 Arch=x86_64 NodeAddr=127.0.0.7 NodeHostName=node7 Version=22.05" ;;
  requeue*) echo "$*" >> requeued ;;
esac
"""
SRUN = """
case "$*" in
  --help) echo "  --nodes=N $TEST_PYXIS" ;;
  *--overlap*) exit "${TEST_ANSWER:-0}" ;;
  *)
    while [[ "$1" == --* ]]; do echo "srun $1"; shift; done
    if [[ -n "${TEST_LOST:-}" ]]; then touch "$TDN_LOST"; fi
    for SLURM_NODEID in 0 1; do
      export SLURM_NODEID SLURMD_NODENAME="a$((7 + SLURM_NODEID))"
      "$@" || exit
    done
    exit "${TEST_STATUS:-0}" ;;
esac
"""
PYTHON = """
[[ "$1" != -c ]] || exit 0  # asked for what it has
words="$*"
place="$PET_RDZV_ENDPOINT $PET_RDZV_ID $PET_LOCAL_ADDR $PET_RDZV_CONF of $PET_NNODES"
echo "python $place: ${words#*-m tdn }"
echo "named $TDN_NODE_PLACE of $TDN_NODE_NAMES"
"""
APPTAINER = """
echo "apptainer $*"
while [[ "$1" != *.sif ]]; do shift; done
"${@:2}"
"""


class Job:
    """A start of a job on two nodes, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        for name, text in (("scontrol", SCONTROL), ("srun", SRUN), ("python3", PYTHON)):
            self.program(name, text)

    def program(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{text}")
        path.chmod(0o755)
        return path

    def start(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "SLURM_JOB_ID": "71234",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_JOB_NODELIST": "a[7-8]",
            "TDN_PYTHON": str(self.bin / "python3"),
            "TDN_PREFLIGHT": "off",
            "TEST_SCRIPT": str(SCRIPT),
        }
        return subprocess.run(
            ["bash", SCRIPT, *words],
            cwd=self.folder,
            env=given | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def requeued(self) -> list[str]:
        path = self.folder / "requeued"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def job(tmp_path) -> Job:
    return Job(tmp_path)


def test_nodes_meet_at_the_address_of_the_first_one(job):
    done = job.start(*TRAIN, SLURM_RESTART_COUNT="3")
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith("python")]
    assert [line.partition(" of ")[0] for line in said] == [
        "python 127.0.0.7:12708 71234-3 127.0.0.7 is_host=1",
        "python 127.0.0.7:12708 71234-3 127.0.0.8 is_host=0",
    ]
    assert all(line.endswith(f" of 2: {' '.join(TRAIN)}") for line in said)
    assert [line for line in done.stdout.splitlines() if line.startswith("named")] == [
        "named 0 of a7,a8",
        "named 1 of a7,a8",
    ]
    assert "srun --kill-on-bad-exit=1" in done.stdout
    assert (job.folder / "slurm-71234.ranks" / "start-4").is_dir()


@pytest.mark.parametrize(
    ("words", "environment", "told"),
    [
        ((), {}, "say what to run"),
        (TRAIN, {"SLURM_JOB_ID": ""}, "is for Slurm"),
        (TRAIN, {"TEST_SCRIPT": "/elsewhere/launch/slurm.sbatch"}, "submit the script"),
        (TRAIN, {"SLURM_RESTART_COUNT": "21"}, "TDN_MAX_REQUEUES is 20"),
        (TRAIN, {"TDN_SWEEP": "sweep.txt"}, "--array 1-N"),
        (TRAIN, {"SLURM_ARRAY_TASK_ID": "1"}, "set TDN_SWEEP"),
        (TRAIN[:3], {"SLURM_ARRAY_TASK_ID": "1", "TDN_SWEEP": "sweep.txt"}, "--output FOLDER"),
        (TRAIN, {"SLURM_ARRAY_TASK_ID": "1", "TDN_SWEEP": "gone.txt"}, "gone.txt is no file"),
        (TRAIN, {"SLURM_ARRAY_TASK_ID": "0", "TDN_SWEEP": "sweep.txt"}, "--array 1-2"),
        (TRAIN, {"SLURM_ARRAY_TASK_ID": "3", "TDN_SWEEP": "sweep.txt"}, "--array 1-2"),
        (TRAIN, {"SLURM_ARRAY_TASK_ID": "1", "TDN_SWEEP": "bin"}, "bin is no file"),
        (TRAIN, {"SLURM_ARRAY_TASK_ID": "1", "TDN_SWEEP": "empty.txt"}, "has no runs"),
        (TRAIN, {"SLURM_ARRAY_TASK_ID": "1", "TDN_SWEEP": "up.txt"}, "'..' in up.txt"),
        (TRAIN, {"SLURM_ARRAY_TASK_ID": "1", "TDN_SWEEP": "twice.txt"}, "name b"),
        (TRAIN, {"TDN_MAX_REQUEUES": "08"}, "TDN_MAX_REQUEUES: '08'"),
        (TRAIN, {"TDN_MAX_REQUEUES": "abc"}, "TDN_MAX_REQUEUES: 'abc'"),
        (TRAIN, {"TDN_CONTAINER": "gone.sif"}, "gone.sif is not there"),
        (TRAIN, {"TDN_CONTAINER": "gone.sqsh"}, "gone.sqsh is not there"),
        (TRAIN, {"TDN_CONTAINER": "docker://tdn"}, "no Pyxis"),
        (TRAIN, {"TDN_PYTHON": "/gone/python"}, "/gone/python is not there"),
        (TRAIN, {"TDN_LOGS": "sweep.txt"}, "set TDN_LOGS"),
    ],
)
def test_a_mistake_is_told_in_a_line_and_ends_the_job(job, words, environment, told):
    (job.folder / "empty.txt").write_text("# none\n")
    (job.folder / "up.txt").write_text("a --seed 1\n.. --seed 2\n")
    (job.folder / "twice.txt").write_text("a\nb --seed 1\nb --seed 2\n")
    (job.folder / "sweep.txt").write_text("# two runs\n\na --seed 1\n  b --seed 2  # the second\n")
    if "SLURM_ARRAY_TASK_ID" in environment:
        environment = environment | {"SLURM_ARRAY_JOB_ID": "71230"}
    done = job.start(*words, **environment)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert told in done.stderr
    assert not job.requeued


@pytest.mark.parametrize("output", [("--output", "runs/seeds"), ("--output=runs/seeds",)])
def test_a_task_of_an_array_takes_its_line_of_the_sweep(job, output):
    lines = ("# two runs", "", "a", "  b --seed 2 --x [1,2]#3  # last")
    (job.folder / "my.txt").write_text("\r\n".join(lines) + "\r\n")
    done = job.start(
        *("train", *output, "--seed", "9"),
        SLURM_ARRAY_JOB_ID="71230",
        SLURM_ARRAY_TASK_ID="2",
        TDN_SWEEP="my.txt",
    )
    assert done.returncode == 0, done.stderr
    given = " ".join(("train", *output, "--seed 9 --output runs/seeds/b --seed 2 --x [1,2]#3"))
    assert done.stdout.count(f": {given}\n") == 2
    assert (job.folder / "slurm-71230_2.ranks" / "start-1").is_dir()


@pytest.mark.parametrize("sweep", sorted(SWEEPS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_line_of_our_sweeps_is_a_run_of_its_own(sweep):
    lines = [line.split() for line in sweep.read_text().splitlines()]
    runs = [line for line in lines if line and line[0] != "#"]
    configs = [load_config(ROOT / "configs" / "ssv1_r50_8f.yaml", words) for _, *words in runs]
    assert len({name for name, *_ in runs}) == len(runs) >= 5
    assert len({repr(config) for config in configs}) == len(runs)


@pytest.mark.parametrize(
    ("answer", "requeued"), [("0", []), ("1", ["requeue 71234"])], ids=["defect", "lost node"]
)
def test_a_failure_puts_a_job_back_only_where_a_node_does_not_answer(job, answer, requeued):
    """Before Slurm itself has noticed that."""
    done = job.start(*TRAIN, TEST_STATUS="1", TEST_ANSWER=answer)
    assert done.returncode == (0 if requeued else 1)
    assert job.requeued == requeued


def test_a_loss_that_the_run_noticed_puts_a_job_back_though_all_nodes_answer_again(job):
    """A loss of a former start counts no longer, nor does one that the run survived."""
    assert job.start(*TRAIN, TEST_STATUS="1", TEST_LOST="1").returncode == 0
    assert job.requeued == ["requeue 71234"]
    assert job.start(*TRAIN, TEST_STATUS="1").returncode == 1
    assert job.start(*TRAIN, TEST_LOST="1").returncode == 0
    assert len(job.requeued) == 1


def test_a_mistake_does_not_put_a_job_back(job):
    assert job.start(*TRAIN, TEST_STATUS="2", TEST_ANSWER="1").returncode == 2
    assert not job.requeued


def test_a_request_that_comes_before_the_nodes_start_puts_a_job_back(job):
    job.program("mkdir", 'kill -USR2 "$PPID"; exec /bin/mkdir "$@"')
    done = job.start(*TRAIN)
    assert done.returncode == 0, done.stderr
    assert job.requeued == ["requeue 71234"]
    assert "python" not in done.stdout


@pytest.mark.parametrize("page", ["README.md", "docs/clusters.md"])
def test_the_lines_of_our_pages_follow_the_job_that_they_submit(job, page):
    """As they stand there; a former job has left its output."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    [block] = [block for block in blocks if "launch/slurm.sbatch" in block]
    commands = block.replace("\\\n", "").strip().splitlines()
    assert len(commands) == 5
    job.program("sbatch", 'echo "sbatch $*" >&2; echo 71234')
    job.program("tail", 'echo "tail $*"')
    (job.folder / "slurm-9.out").touch()
    done = subprocess.run(
        ["bash", "-euc", "\n".join(commands[-2:])],
        cwd=job.folder,
        env={"PATH": f"{job.bin}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "tail -F slurm-71234.out\n"
    given = done.stderr.split()
    assert given[: given.index("train")][-3:] == ["--nodes", "2", "launch/slurm.sbatch"]
    words = given[given.index("train") + 1 :]
    load_config(ROOT / words[1], words[2:])


def test_help_is_the_head_of_the_script(job):
    done = job.start("--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Training")
    assert "TDN_MAX_REQUEUES=20" in done.stdout
    assert "#SBATCH" not in done.stdout


def test_a_job_that_was_put_back_too_often_ends(job):
    environment = {"TDN_MAX_REQUEUES": "2", "SLURM_RESTART_COUNT": "2"}
    done = job.start(*TRAIN, TEST_STATUS="1", TEST_ANSWER="1", **environment)
    assert done.returncode == 75
    assert "lost a node" in done.stderr
    assert not job.requeued


def test_pyxis_is_told_image_and_folders(job, tmp_path_factory):
    """All by absolute paths: it takes others for names in a registry."""
    image = job.program("tdn.sqsh", "")
    logs = tmp_path_factory.mktemp("logs")
    environment = {"TDN_CONTAINER": "bin/tdn.sqsh", "TDN_MOUNTS": "/data:/data"}
    environment |= {"TDN_LOGS": str(logs)}
    done = job.start(*TRAIN, TEST_PYXIS="--container-image", TDN_PYTHON="python3", **environment)
    assert done.returncode == 0, done.stderr
    assert f"srun --container-image={image}\n" in done.stdout
    logs = logs / "slurm-71234.ranks" / "start-1"
    mounts = f"{job.folder}:{job.folder},{ROOT}:{ROOT},/data:/data,{logs}:{logs}"
    assert f"srun --container-mounts={mounts}\n" in done.stdout
    assert f"srun --container-workdir={job.folder}\n" in done.stdout


def test_apptainer_runs_the_node_in_its_image(job):
    job.program("apptainer", APPTAINER)
    image = job.program("tdn.sif", "")
    done = job.start(*TRAIN, TDN_CONTAINER=str(image), TDN_MOUNTS="/data:/data")
    assert done.returncode == 0, done.stderr
    mounts = f"{job.folder}:{job.folder},{ROOT}:{ROOT},/data:/data"
    command = (
        f"apptainer exec --nv --bind {mounts} --pwd {job.folder} {image} {ROOT}/launch/node.sh"
    )
    assert done.stdout.count(f"{command} {' '.join(TRAIN)}\n") == 2
    assert done.stdout.count("python 127.0.0.7") == 2


def test_a_node_without_apptainer_is_named(job):
    image = job.program("tdn.sif", "")
    done = job.start(*TRAIN, TDN_CONTAINER=str(image))
    assert done.returncode == 2
    assert "no apptainer on a7" in done.stderr
