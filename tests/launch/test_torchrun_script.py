"""launch/torchrun.sh with stand-ins for ssh and for what it starts; real hosts are beside."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOSTS = "localhost,127.0.0.1"
"""Names that are known everywhere."""

NODE = """#!/usr/bin/env bash
# Notes what it is told, and does what the command says.
env | grep -E '^((PET|NCCL|GLOO|TDN)_|PWD=)' > "$1/$PET_LOCAL_ADDR.env"
trap 'echo asked; touch "$1/$PET_LOCAL_ADDR.asked"; exit 1' TERM
for word in "${@:2}"; do echo "argument $word"; done
touch "$1/$PET_LOCAL_ADDR.ready"
[[ ! -e "$1/fails" || "$PET_LOCAL_ADDR" != localhost ]] || exit 3
while [[ -e "$1/works" ]]; do sleep 0.05; done
"""

SSH = """#!/usr/bin/env bash
# Its shell is a plain one, and where it begins is not where the script was called.
printf '%s\\n' "$@" > "${0%/*}/words of ssh"
echo $$ > "${0%/*}/process of ssh"
while [[ "$1" == -* ]]; do shift; done
cd / && exec sh -c "${*:2}"
"""


class Checkout:
    """A folder with the script and a stand-in for node.sh, and words to start it with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a checkout"
        launch = self.folder / "launch"
        launch.mkdir(parents=True)
        self.script = Path(shutil.copy(ROOT / "launch/torchrun.sh", launch))
        (launch / "node.sh").write_text(NODE)
        (launch / "node.sh").chmod(0o755)
        self.work = folder / "my work"
        self.work.mkdir()
        self.ssh = folder / "ssh"
        self.ssh.write_text(SSH)
        self.ssh.chmod(0o755)

    def start(self, *words: str | Path, **settings: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.script, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=self.work,
            env=os.environ | {"TDN_SSH": str(self.ssh), "PET_NPROC_PER_NODE": "4"} | settings,
        )

    def run(self, *words: str | Path, **settings: str) -> tuple[int, str]:
        process = self.start(*words, **settings)
        said, _ = process.communicate(timeout=60)
        return process.returncode, said

    def path(self, name: str) -> Path:
        return self.folder / name

    def flag(self, name: str) -> None:
        self.path(name).touch()

    def wait_for(self, ending: str, hosts: str = HOSTS) -> None:
        """Until all hosts have left a file."""
        deadline = time.monotonic() + 60
        while not all(self.path(f"{host}.{ending}").exists() for host in hosts.split(",")):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def settings(self, host: str) -> dict[str, str]:
        lines = self.path(f"{host}.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_every_host_is_told_where_all_meet_and_what_to_run(checkout):
    words = ("a word", "it's", "$HOME", "two\nlines", "end ")
    status, said = checkout.run("--hosts", HOSTS, "--port", "4711", checkout.folder, *words)
    assert status == 0, said
    first, second = (checkout.settings(host) for host in HOSTS.split(","))
    for settings in (first, second):
        assert settings["PET_NNODES"] == "2"
        assert settings["PET_NPROC_PER_NODE"] == "4"
        assert settings["PET_RDZV_BACKEND"] == "c10d"
        assert settings["PET_RDZV_ENDPOINT"] == "localhost:4711"
        assert settings["TDN_NODE_NAMES"] == HOSTS
    assert [each["TDN_NODE_PLACE"] for each in (first, second)] == ["0", "1"]
    assert first["PET_RDZV_ID"] == second["PET_RDZV_ID"]
    assert [each["PET_RDZV_CONF"] for each in (first, second)] == ["is_host=1", "is_host=0"]
    for host in HOSTS.split(","):
        lines = "\n".join(f"argument {word}" for word in words).split("\n")
        assert "".join(f"[{host}] {line}\n" for line in lines) in said


def test_the_command_runs_in_the_same_folder_and_finds_its_own_way_to_the_others(checkout):
    """NCCL goes by all interfaces of a host, unless it is told one."""
    status, said = checkout.run("--hosts", HOSTS, str(checkout.folder))
    assert status == 0, said
    for host in HOSTS.split(","):
        settings = checkout.settings(host)
        assert settings["PWD"] == str(checkout.work)
        assert "NCCL_SOCKET_IFNAME" not in settings
    assert checkout.run("--hosts", HOSTS, "--folder", "/", str(checkout.folder))[0] == 0
    assert checkout.settings("localhost")["PWD"] == "/"


def test_an_ssh_with_options_of_its_own_still_notices_a_lost_host(checkout):
    words = ("--hosts", HOSTS, str(checkout.folder))
    assert checkout.run(*words, TDN_SSH=f"{checkout.ssh} -p2222")[0] == 0
    given = (checkout.ssh.parent / "words of ssh").read_text().splitlines()
    assert given[0] == "-p2222"
    assert "-oServerAliveInterval=15" in given


def test_two_starts_are_not_taken_for_one(checkout):
    words = ("--hosts", HOSTS, str(checkout.folder))
    assert checkout.run(*words)[0] == 0
    former = checkout.settings("localhost")["PET_RDZV_ID"]
    assert checkout.run(*words)[0] == 0
    assert checkout.settings("localhost")["PET_RDZV_ID"] != former


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_request_to_stop_reaches_all_hosts(checkout, number):
    checkout.flag("works")
    process = checkout.start("--hosts", HOSTS, str(checkout.folder))
    checkout.wait_for("ready")
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 75, said
    checkout.wait_for("asked")


def test_so_does_the_end_of_the_script_itself(checkout):
    checkout.flag("works")
    process = checkout.start("--hosts", HOSTS, str(checkout.folder))
    checkout.wait_for("ready")
    process.kill()
    process.communicate(timeout=60)
    checkout.wait_for("asked")


def test_where_a_host_fails_the_others_are_asked_to_stop(checkout):
    checkout.flag("works")
    checkout.flag("fails")
    status, said = checkout.run("--hosts", HOSTS, "--grace", "0", str(checkout.folder))
    assert status == 3, said
    assert checkout.path("127.0.0.1.asked").exists()
    assert not checkout.path("localhost.asked").exists()
    assert "host localhost ended with status 3; the others are asked" in said


def test_a_request_after_a_failure_does_not_hide_it(checkout):
    checkout.flag("works")
    checkout.flag("fails")
    process = checkout.start("--hosts", HOSTS, "--grace", "60", str(checkout.folder))
    while "ended with status 3" not in (line := process.stdout.readline()):
        assert line
    checkout.wait_for("ready")
    process.terminate()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 3, said
    assert checkout.path("127.0.0.1.asked").exists()


def test_an_ssh_that_is_killed_is_told_in_a_line(checkout):
    checkout.flag("works")
    process = checkout.start("--hosts", "localhost", str(checkout.folder))
    checkout.wait_for("ready", "localhost")
    os.kill(int((checkout.ssh.parent / "process of ssh").read_text()), signal.SIGKILL)
    checkout.path("works").unlink()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 137
    assert "torchrun.sh: host localhost ended with status 137\n" in said
    assert len([line for line in said.splitlines() if not line.startswith("[localhost] ")]) == 1


def test_where_nobody_else_is_at_work_nobody_is_said_to_be_asked(checkout):
    checkout.flag("fails")
    status, said = checkout.run("--hosts", "localhost", str(checkout.folder))
    assert status == 3
    assert said.endswith("host localhost ended with status 3\n")


def test_what_is_printed_does_the_same_by_hand(checkout):
    status, said = checkout.run("--hosts", HOSTS, "--print", str(checkout.folder), "a word")
    assert status == 0
    commands = re.findall(r"^  (cd .*)$", said, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        subprocess.run(["bash", "-c", command], check=True, cwd="/", capture_output=True)
    first, second = (checkout.settings(host) for host in HOSTS.split(","))
    assert first["PET_RDZV_ID"] == second["PET_RDZV_ID"]
    assert second["PET_NPROC_PER_NODE"] == "4"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("train",), "--hosts"),
        (("--hosts", "a,,b", "train"), "--hosts"),
        (("--hosts", "a,b,a", "train"), "a stands there twice"),
        (("--hosts", "a;true", "train"), "a;true"),
        (("--hosts", "a,b"), "say what to run"),
        (("--hosts",), "--hosts"),
        (("--hosts", "a,b", "--port", "0", "train"), "--port"),
        (("--hosts", "a,b", "--port", "65535", "train"), "--port"),
        (("--hosts", "a,b", "--grace", "soon", "train"), "--grace"),
        (("--hosts", "a,b", "--node", "2", "--id", "x", "train"), "0 to 1"),
        (("--hosts", "a,b", "--node", "1", "train"), "--id"),
        (("--hosts", "a,b", "--gpus", "4", "train"), "--gpus"),
        (("--hosts", "a.invalid,b", "--node", "1", "--id", "x", "train"), "a.invalid is not known"),
    ],
)
def test_a_mistake_is_told_in_a_line(checkout, words, named):
    status, said = checkout.run(*words)
    assert status == 2
    assert named in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("option", ["--folder", "--path"])
def test_a_folder_that_a_host_lacks_is_told_for_each(checkout, option):
    status, said = checkout.run("--hosts", HOSTS, option, "/no where", "train")
    assert status == 2
    for host in HOSTS.split(","):
        assert f"[{host}] torchrun.sh: /no where is not on {host}: say by {option}" in said


def test_a_missing_ssh_is_told(checkout):
    status, said = checkout.run("--hosts", HOSTS, "train", TDN_SSH="no-such-ssh -p 22")
    assert status == 2
    assert "no-such-ssh" in said


def test_the_help_is_the_whole_head_of_the_script(checkout):
    status, said = checkout.run("--help")
    assert status == 0
    assert said.startswith("Training")
    assert "Status: 0 done, 75 stopped" in said
    assert "set -" not in said
