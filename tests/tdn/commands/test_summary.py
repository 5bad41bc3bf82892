from __future__ import annotations

import pytest

from tdn import cli


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("model:\n  num_classes: 174\n")
    return str(path)


def test_the_published_network(config, capsys):
    assert cli.main(["summary", "--config", config]) == 0
    text = capsys.readouterr().out
    for number in ("24,410,574", "24,420,046", "9,472", "35.64 G", "2.28 G", "0.63 G", "0.03 G"):
        assert number in text


def test_the_configuration_decides(config, capsys):
    words = ["--model.name", "tsn_resnet18", "--model.num_segments", "16"]
    words += ["--data.crop_size", "[64, 96]", "--depth", "2"]
    assert cli.main(["summary", "--config", config, *words]) == 0
    text = capsys.readouterr().out
    assert "64 x 96" in text
    assert "stage4.1" in text
    assert "TDM" not in text


def test_a_drawing(config, tmp_path, capsys):
    file = tmp_path / "network.svg"
    assert cli.main(["summary", "--config", config, "--draw", str(file)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(file)
    assert "35.64 G" in file.read_text()


@pytest.mark.parametrize(
    "words", [["--depth", "0"], ["--data.crop_size", "32"], ["--draw", "network.txt"]]
)
def test_a_mistake_is_one_line(config, capsys, words):
    assert cli.main(["summary", "--config", config, *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
