"""A page as a session: its blocks run in order, in one shell and one folder, on small data.

The folder looks like a checkout, and holds what pages take for granted: videos, lists, weights to
start from. Of programs there are a few basic ones, stand-ins, and those of ``.venv/bin``: by their
paths, or once the page has said to activate it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tdn.models import create_model
from tests.archives import ssv2
from tests.docs.pages import ROOT, Block, blocks
from tests.docs.stand_ins import STAND_INS
from tests.tdn.test_checkpoint import RESNETS, ResNet
from tests.videos import write_list, write_video
from tests.warm_python import WarmPython

LINKED = ("benchmarks", "configs", "constraints.txt", "docs", "Makefile", "tests")
SIZES = ((48, 64), (64, 48), (50, 66), (72, 128), (96, 54))
"""Height and width of videos, which differ as people's do."""
CLASSES = ("closing a door", "opening a door")
TIMM = """
from tests.tdn.test_adapter import RegNet

def create_model(name):
    assert name.startswith("regnet")
    return RegNet()
"""
"""In the place of timm, where it is not installed."""
HOME = "home"
PROGRAMS = ".programs"
BASICS = ("bash", "cat", "cp", "head", "ls", "mkdir", "rm", "sh", "wc")
"""Programs that a page may start besides ours; what else it starts is a stand-in."""
SECONDS = 240
"""After which a page hangs."""


def furnish(folder: Path) -> None:
    """Put into a folder what pages take for granted."""
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    (folder / "tdn").symlink_to(".")  # for pages that clone it first
    videos = [
        _video(folder / "videos" / name / f"{number}.mp4", number, SIZES[number])
        for name in CLASSES
        for number in range(len(SIZES))
    ]
    shutil.copy(videos[0], folder / "video.mp4")
    rows = [(path.relative_to(folder), number % 5) for number, path in enumerate(videos)]
    write_list(folder / "train.txt", rows)
    write_list(folder / "validation.txt", rows[1::2])
    (folder / "my.yaml").write_text(_recipe())
    _published_videos(folder / HOME / "data" / "ssv2", videos)
    _weights(folder)
    if find_spec("timm") is None:
        (folder / "timm.py").write_text(TIMM)


def _recipe() -> str:
    """The file that most pages name."""
    return next(block.text for block in blocks(ROOT / "docs/recipes.md") if block.file == "my.yaml")


def _video(path: Path, number: int, size: tuple[int, int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    title = f"{path.parent.name} {number}"  # else it would be the other class's video
    return write_video(
        path, 41 + 3 * number, codec="h264", size=size, options={"g": "12"}, title=title
    )


def _published_videos(root: Path, videos: list[Path]) -> None:
    root.mkdir(parents=True)
    for empty in ssv2(root).rglob("*.webm"):
        shutil.copy(videos[0], empty)


def _weights(folder: Path) -> None:
    (folder / "checkpoints").mkdir()
    torch.manual_seed(0)
    resnet = ResNet(*RESNETS["resnet10"], width=8).imagenet_state()
    kinetics = create_model("tdn_resnet10", num_segments=16, num_classes=400, width=8)
    torch.save(resnet, folder / "resnet50-19c8e357.pth")
    torch.save(resnet, folder / "checkpoints" / "resnet50-19c8e357.pth")
    torch.save({"model": kinetics.state_dict()}, folder / "checkpoints" / "kinetics400_r50_16f.pt")


def equip(folder: Path, warm: WarmPython) -> None:
    """Put the programs into a session's folder."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    run = ("-m", "tests.docs.programs")
    for name in ("tdn", "python", "torchrun"):
        warm.install(programs / name, *run, name)
    (programs / "activate").write_text(f'PATH="{programs}:$PATH"\n')
    elsewhere = folder / PROGRAMS
    launch = folder / "launch"
    elsewhere.mkdir()
    launch.mkdir()
    for name in BASICS:
        (elsewhere / name).symlink_to(shutil.which(name))
    for file in (ROOT / "launch").iterdir():
        (launch / file.name).symlink_to(file)
    for name in {name.split()[0] for name in STAND_INS}:
        if name.endswith(".sh"):
            (folder / name).unlink()
            warm.install(folder / name, *run, name)
        elif "/" not in name and "." not in name:
            warm.install(elsewhere / name, *run, name)


class Session:
    """A page that is run."""

    def __init__(self, folder: Path, warm: WarmPython) -> None:
        equip(folder, warm)
        self.folder = folder
        self._outputs = folder / ".outputs"

    def run(self, blocks: list[Block]) -> None:
        """Run the blocks; the first one that fails, fails the test, with all that it printed."""
        script = "\n".join(["set -eEu -o pipefail", *self._steps(blocks)])
        shell = subprocess.Popen(
            [str(shutil.which("bash")), "-c", script],
            cwd=self.folder,
            env={
                "HOME": str(self.folder / HOME),
                "PATH": str(self.folder / PROGRAMS),
                "TDN_CACHE": str(self.folder / ".cache"),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        problem = ""
        try:
            told, _ = shell.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            told, _ = shell.communicate()
            problem = f"takes longer than {SECONDS} s"
        if shell.returncode:
            number = max(int(file.stem) for file in self._outputs.iterdir())
            told = (self._outputs / f"{number}.txt").read_text() + told
            problem = problem or f"status {shell.returncode}"
            pytest.fail(f"{blocks[number].place}: {problem}\n{told}", False)

    def _steps(self, blocks: list[Block]) -> Iterator[str]:
        self._outputs.mkdir()
        for number, block in enumerate(blocks):
            file = self.folder / f".block-{number}.{block.language}"
            file.write_text(block.text)
            if block.language == "bash":
                run = f"trap 'echo \"failed: $BASH_COMMAND\"' ERR\n{block.text}"
            elif block.language == "python":
                run = f"{self.folder}/.venv/bin/python {file.name}"
            elif block.file:
                run = f"cp {file.name} {block.file}"
            else:
                continue
            yield f"{{\n{run}\n}} > {self._outputs / f'{number}.txt'} 2>&1"

    def printed(self, number: int) -> set[str]:
        """The lines that a block printed, with every number as 0."""
        return set(map(plain, (self._outputs / f"{number}.txt").read_text().splitlines()))


def plain(line: str) -> str:
    """A line with every number as 0, and any space as one."""
    return re.sub(r"\d+(\.\d+)?", "0", " ".join(line.split()))
