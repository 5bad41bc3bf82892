from __future__ import annotations

import subprocess
import sys

import pytest

import tdn
from tdn import cli
from tests.videos import write_list, write_video


def run(*words, capsys):
    status = cli.main(list(words))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_help_lists_every_command_without_importing_torch_or_dali():
    code = (
        "import sys, tdn.cli\n"
        "try: tdn.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'nvidia', 'av', 'pyarrow', 'skimage') if m in sys.modules])"
    )
    text = python(code)
    assert text.endswith("[]")
    for command in cli.COMMANDS:
        assert command in text


def test_importing_tdn_imports_nothing_heavy_and_no_foreign_names():
    heavy = "('torch', 'nvidia', 'numpy', 'kernels', 'pipelines')"
    assert python(f"import sys, tdn; print([m for m in {heavy} if m in sys.modules])") == "[]"
    code = "import sys, tdn; tdn.create_loader, tdn.create_model, tdn.load_checkpoint;"
    assert python(code + "print('kernels' in sys.modules or 'pipelines' in sys.modules)") == "False"


def test_public_names():
    assert set(dir(tdn)) == set(tdn.__all__)
    with pytest.raises(AttributeError):
        tdn.no_such_name  # noqa: B018


@pytest.mark.parametrize("command", [*cli.COMMANDS, "visualize batch"])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*command.split(), "--help"])
    assert stop.value.code == 0
    assert f"tdn {command}" in capsys.readouterr().out


def test_a_group_of_commands_explains_itself(capsys):
    status, out, _ = run("visualize", capsys=capsys)
    assert status == 0
    assert "tdn visualize" in out
    assert "batch" in out
    with pytest.raises(SystemExit):
        cli.main(["visualize", "--help"])
    assert capsys.readouterr().out == out


def test_an_option_of_a_command_stands_in_its_help_once(capsys):
    """--output is a picture to `visualize batch`, and the run folder to the others."""
    for command, texts in ((["visualize", "batch"], "PNG"), (["train"], "Run folder")):
        with pytest.raises(SystemExit):
            cli.main([*command, "--help"])
        out = capsys.readouterr().out
        assert out.count("\n  --output ") == 1
        assert texts in out


def test_help_of_train_lists_the_configuration(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    assert "--optimizer.lr" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["trian"], "train"),
        (["index"], "LIST"),
        (["index", "none.txt", "-o", "m.arrow"], "none.txt"),
        (["index", "none.txt", "-o", "m.arrow", "--wrong"], "--wrong"),
        (["index", "none.txt", "-o", "m.arrow", "--workers", "0"], "--workers"),
        (["train"], "--config"),
        (["train", "--config", "none.yaml"], "none.yaml"),
        (["evaluate", "--config", "none.yaml"], "--checkpoint"),
        (["demo", "--config", "none.yaml", "--seed", "x"], "--seed"),
        (["visualize", "bath"], "batch"),
        (["visualize", "batch"], "--config"),
        (["visualize", "batch", "--config", "none.yaml"], "none.yaml"),
        (["visualize", "batch", "--config", "none.yaml", "--output", "x.jpg"], "--output"),
        (["visualize", "batch", "--config", "none.yaml", "--step", "-1"], "--step"),
    ],
)
def test_mistakes_are_one_line_and_status_2(words, named, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*words, capsys=capsys)
    assert status == 2
    assert named in err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in out + err
    assert list(tmp_path.iterdir()) == []


def test_index_says_what_is_left_out(tmp_path, capsys):
    write_video(tmp_path / "good.webm", 5)
    (tmp_path / "bad.webm").write_text("text")
    rows = [("good.webm", 0), ("bad.webm", 1)]
    listed = write_list(tmp_path / "list.txt", rows)
    status, out, _ = run("index", str(listed), "-o", str(tmp_path / "m.arrow"), capsys=capsys)
    assert status == 0
    assert "bad.webm" in out
    assert "good.webm" not in out


def test_index_without_a_usable_video_fails(tmp_path, capsys):
    listed = write_list(tmp_path / "list.txt", [("a.webm", 0)])
    status, _, err = run("index", str(listed), "-o", str(tmp_path / "m.arrow"), capsys=capsys)
    assert status == 2
    assert "list.txt" in err


def test_interrupting_is_not_a_traceback(monkeypatch, capsys):
    from tdn.commands import index

    def interrupted(_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(index, "run", interrupted)
    assert run("index", "a", "-o", "b", capsys=capsys)[0] == 130


def test_a_reader_that_leaves_is_neither_success_nor_a_traceback(tmp_path):
    script = tmp_path / "talk.py"
    script.write_text(
        "from tdn import cli\n"
        "from tdn.commands import index\n"
        "index.run = lambda arguments: [print('x' * 99) for _ in range(100_000)] and 0\n"
        "raise SystemExit(cli.main(['index', 'a', '-o', 'b']))\n"
    )
    command = f"'{sys.executable}' '{script}' | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 141
    assert "Traceback" not in done.stderr
