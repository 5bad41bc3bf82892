"""What the pages tell to type works: every block is run, loaded or found in what was printed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tdn.config_loading import load_config
from tests.docs.pages import LANGUAGES, PAGES, ROOT, Block, blocks
from tests.docs.session import Session, furnish, plain
from tests.docs.stand_ins import STAND_INS
from tests.warm_python import WarmPython

BLOCKS = {page: blocks(page) for page in PAGES}
ACTIVATE = "source .venv/bin/activate\n"
SESSIONS = [page for page, found in BLOCKS.items() if any(b.language != "text" for b in found)]


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmPython]:
    with WarmPython() as warm:
        yield warm


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory, warm: WarmPython) -> Path:
    """A folder with all that pages take for granted, and a run of what the recipes' page names."""
    folder = tmp_path_factory.mktemp("furnished")
    furnish(folder)
    train = f"{ACTIVATE}tdn train --config my.yaml --output runs/mine\n"
    first = Session(
        shutil.copytree(folder, tmp_path_factory.mktemp("first") / "tdn", symlinks=True), warm
    )
    first.run([Block(ROOT / "tests/docs/test_pages.py", 1, "bash", train, "")])
    shutil.copytree(first.folder / "runs", folder / "runs")
    return folder


@pytest.fixture
def session(furnished: Path, warm: WarmPython, tmp_path: Path) -> Session:
    return Session(shutil.copytree(furnished, tmp_path / "tdn", symlinks=True), warm)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", SESSIONS, ids=name)
def test_a_page_is_a_session(page, session):
    """Text right after a command is what it prints, but for the numbers."""
    if any("--output runs/mine" in block.text for block in BLOCKS[page]):
        shutil.rmtree(session.folder / "runs")  # it makes the run itself
    session.run(BLOCKS[page])
    for number, (before, block) in enumerate(pairwise(BLOCKS[page])):
        if (block.language, block.section) == (
            "text",
            before.section,
        ) and before.language == "bash":
            told = session.printed(number)
            for line in block.text.splitlines():
                assert line == "..." or plain(line) in told, f"{block.place}: {line}\n{told}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_of_yaml_are_configurations(page, tmp_path):
    """What a block leaves out, other keys may need."""
    for block in BLOCKS[page]:
        assert block.language in LANGUAGES, block.place
        if block.language == "yaml":
            file = tmp_path / "block.yaml"
            file.write_text(block.text)
            needed = {
                "--model.num_classes": 5,
                "--data.train_list": "a",
                "--data.validation_list": "b",
            }
            missing = [
                f"{key}={v}" for key, v in needed.items() if key.split(".")[1] not in block.text
            ]
            load_config(file, missing)


def test_stand_ins_are_of_programs_on_a_page_and_tested_elsewhere():
    text = "\n".join(b.text for found in BLOCKS.values() for b in found if b.language == "bash")
    for program, stand_in in STAND_INS.items():
        assert program in text, f"no page starts {program}"
        if stand_in.test:  # its file says what it runs
            script = program.split()[-1].removesuffix(".py").split("/")[-1].split(".")[-1]
            assert re.search(rf"\b{script}\b", (ROOT / stand_in.test).read_text()), program
        else:
            assert not program.startswith(("benchmarks", "launch/")), program


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tdn summary --config my.yaml --detph 2", "no option|not known|--detph"),
        ("tdn train --config my.yaml --training.epcohs 2", "epcohs"),
        ("sbatch launch/slurm.sbatch train --config my.yaml --data.clip_size 3", "clip_size"),
        ("sbatch launch/slurm.sh train --config my.yaml", "launch/slurm.sh is not there"),
        ("sbatch --frobnicate launch/slurm.sbatch train --config my.yaml", "frobnicate"),
        ("make install", "install"),
        ("kubectl apply -f launch/kubernetes/storage.yaml --frobnicate", "frobnicate"),
        ("docker build --tagg x", "tagg"),
        ("python -m benchmarks.all --quickly", "quickly"),
        ("python benchmarks/pipeline.py --quick --parts steps", "--parts"),
        ("python -m benchmarks.resources --operations temporal-convs", "temporal-convs"),
        ("python benchmarks/compare.py nothing results", "nothing"),
        ("launch/torchrun.sh --hosts", "its value is missing"),
        ("launch/torchrun.sh --hosts a,b", "say what to run"),
        ("launch/node.sh", "no command of tdn"),
        ("scancel 71234", "scancel: command not found"),
    ],
)
def test_a_wrong_command_fails(text, told, session):
    block = Block(ROOT / "docs/page.md", 7, "bash", f"{ACTIVATE}{text} | cat\necho on\n", "")
    with pytest.raises(pytest.fail.Exception, match=rf"(?s)docs/page.md:7: .*({told})"):
        session.run([block])
