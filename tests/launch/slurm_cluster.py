"""A real Slurm on this machine: a controller and its nodes, which run jobs and steps as anywhere.

All that it has lies in one folder, its ports are free ones, and nothing is read from /etc: several
run side by side. Nodes have two CPUs in name only. A guardian, a process of its own, clears all of
it away when it is told to, or when the tests were killed.
"""

from __future__ import annotations

import getpass
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.launch.real_clusters import unavailable

NODES = ("n1", "n2", "spare")
PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scontrol", "scancel")
SEARCH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
TIME_LIMIT = 120
"""Seconds for anything."""
PORTS = range(30300, 32700)
"""Between those that slurm.sbatch takes and those that Linux gives to anyone."""
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}

CONF = """
ClusterName=test
FirstJobId={first_job}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# A requeued job waits until the credential of its former start has expired: 120 s by default.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SlurmdParameters=config_overrides
# Signals reach all processes of a step, as they do by control groups, for which one needs rights.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
# What a job wants, it has to ask for.
JobRequeue=0
# A lost node is noticed after seconds, minutes by default, and taken again when it is back.
MessageTimeout=3
SlurmdTimeout=4
ReturnToService=2
KillWait=10
{nodes}
PartitionName=pair Nodes=n1,n2 Default=YES
PartitionName=spare Nodes=spare
"""


class Slurm:
    """The cluster.

    Args:
        folder: For its files; with a short path, as sockets need.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SLURM_", "SBATCH_", "SRUN_", "PET_", "TDN_"))
        }
        self.environment |= {"PATH": SEARCH, "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._guardian = subprocess.Popen(
            [sys.executable, "-m", "tests.launch.slurm_cluster", folder],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def start(self) -> None:
        """Start everything, and wait until the nodes are there."""
        for name in ("state", *NODES):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        self._configure()
        files = ("key-file", "socket", "pid-file", "log-file", "seed-file")
        paths = [f"--{file}={self.folder}/munge.{file.removesuffix('-file')}" for file in files]
        self._launch("munged", "--foreground", "--force", "--num-threads=2", *paths)
        self.wait_until((self.folder / "munge.socket").exists, "munged")
        self._launch("slurmctld", "-D", "-c")
        for node in NODES:
            self.start_node(node)
        self.wait_until(lambda: self._idle_nodes() == len(NODES), "the nodes")

    def stop(self) -> None:
        """End everything, whatever is still running, and remove the folder."""
        self._guardian.communicate(timeout=TIME_LIMIT)
        for daemon in self._daemons.values():
            daemon.wait(TIME_LIMIT)

    def start_node(self, node: str) -> None:
        """Start a node, or bring it back."""
        self._launch("slurmd", "-D", "-N", node, name=node)

    def kill_node(self, node: str) -> None:
        """Kill a node and all that runs there, as a loss of power would.

        Args:
            node: One on which no batch script runs.
        """
        self._daemons[node].kill()
        self._daemons[node].wait()
        mark = f"SLURMD_NODENAME={node}"
        doomed = {process for process in _processes(self.folder) if mark in _environment(process)}
        for process in (doomed | {_parent(process) for process in doomed}) - {0, 1}:
            _kill(process)  # parents: slurmstepd, which does not say where it runs

    def submit(self, folder: Path, *words: str | Path, **environment: str | Path) -> str:
        """Give sbatch these words, in a folder; gives the job's number."""
        done = self._command("sbatch", "--parsable", *words, folder=folder, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def cancel(self, *words: str) -> None:
        """Give scancel these words."""
        done = self._command("scancel", *words)
        assert done.returncode == 0, done.stderr

    def job(self, job: str) -> dict[str, str]:
        """What ``scontrol show job`` says of a job, or of a task of an array."""
        said = self._command("scontrol", "--oneliner", "show", "job", job).stdout
        return dict(re.findall(r"(\w+)=(\S*)", said.splitlines()[0]))

    def wait_for(self, job: str) -> dict[str, str]:
        """Wait for the end of a job; gives what ``job`` does."""
        self.wait_until(lambda: self.job(job)["JobState"] in ENDED, f"job {job}")
        return self.job(job)

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Look until something is so."""
        deadline = time.monotonic() + TIME_LIMIT
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not after {TIME_LIMIT} s; {self.told()}"
            time.sleep(0.1)

    def told(self) -> str:
        """What the controller has said, and which jobs there are."""
        jobs = self._command("scontrol", "--oneliner", "show", "job").stdout
        log = self.folder / "slurmctld.log"
        return f"{jobs}\n{log.read_text()[-3000:] if log.exists() else ''}"

    def _configure(self) -> None:
        host = socket.gethostname().partition(".")[0]
        controller, *ports = _free_ports(1 + len(NODES))
        nodes = [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2"
            for node, port in zip(NODES, ports, strict=True)
        ]
        text = CONF.format(
            host=host,
            controller=controller,
            first_job=random.randrange(1, 9000),  # ports come from it
            user=getpass.getuser(),
            folder=self.folder,
            nodes="\n".join(nodes),
        )
        Path(self.environment["SLURM_CONF"]).write_text(text)

    def _launch(self, program: str, *words: str, name: str = "") -> None:
        with (self.folder / f"{name or program}.out").open("ab") as output:
            self._daemons[name or program] = subprocess.Popen(
                [program, *words], env=self.environment, stdout=output, stderr=output
            )

    def _command(
        self, *words: str | Path, folder: Path | None = None, **environment: str | Path
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*map(str, words)],
            cwd=folder or self.folder,
            env=self.environment | {name: str(value) for name, value in environment.items()},
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
        )

    def _idle_nodes(self) -> int:
        said = self._command("sinfo", "--noheader", "--states=idle", "--format=%D").stdout
        return int(said or 0)


@contextmanager
def slurm() -> Iterator[Slurm]:
    """A cluster for a while; a test is skipped, or fails, where this machine cannot have one."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=SEARCH) is None]
    if missing:
        unavailable("TDN_NEEDS_SLURM", f"Slurm on two nodes needs {', '.join(missing)}")
    cluster = Slurm(Path(tempfile.mkdtemp(prefix="slurm-")))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        found: list[int] = []
        for port in random.sample(PORTS, len(PORTS)):
            listener = stack.enter_context(socket.socket())
            with suppress(OSError):
                listener.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                return found
    raise AssertionError("no ports are free")


def _processes(folder: Path) -> list[int]:
    """Those of the cluster in a folder, and of its jobs."""
    mark = f"SLURM_CONF={folder / 'slurm.conf'}"
    everything = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [process for process in everything if mark in _environment(process)]


def _environment(process: int) -> list[str]:
    try:
        return Path(f"/proc/{process}/environ").read_text(errors="replace").split("\0")
    except OSError:  # it has ended, or is another user's
        return []


def _parent(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def main() -> None:
    """The guardian of a folder: waits for the end of its input, or of who writes it."""
    folder = Path(sys.argv[1])
    sys.stdin.read()
    while processes := _processes(folder):
        for process in processes:
            _kill(process)
        time.sleep(0.05)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
