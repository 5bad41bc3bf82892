from __future__ import annotations

import json
import sys

import numpy as np
import onnxruntime
import pytest
import torch

from tdn import exporting
from tdn.cli import main
from tdn.config import TemporalConfig
from tdn.errors import UserError
from tdn.exporting import export
from tdn.trained import load_trained
from tests.tdn import trained_networks
from tests.tdn.trained_networks import NAMES


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """With L-TDM in one stage: an exporter takes each by itself, for seconds."""
    config = trained_networks.small_config(temporal=TemporalConfig(stages=[2]))
    return trained_networks.write_checkpoint(tmp_path_factory.mktemp("run") / "last.pt", config)


def clips(count, height=40, width=48):
    shape = (count, 3, 5, height, width, 3)
    return np.random.default_rng(count).integers(0, 256, shape, np.uint8)


def expected(checkpoint, given):
    with torch.inference_mode():
        return load_trained(checkpoint).model(torch.from_numpy(given)).numpy()


def test_onnx_takes_any_number_of_clips_and_says_what_it_is(checkpoint, tmp_path, capsys):
    path = tmp_path / "new" / "network.onnx"
    description = path.with_name("network.onnx.json")
    path.parent.mkdir()
    (path.parent / "network.json").write_text("something else")
    assert main(["export", "--checkpoint", str(checkpoint), "--output", str(path)]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        str(path),
        str(description),
    ]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 4):
        (found,) = session.run(["logits"], {"clips": clips(count)})
        np.testing.assert_allclose(found, expected(checkpoint, clips(count)), rtol=1e-3, atol=1e-4)
    assert (path.parent / "network.json").read_text() == "something else"
    described = json.loads(description.read_text())
    assert described["classes"] == list(NAMES)
    assert described["input"]["shape"][1:] == [3, 5, 40, 48, 3]
    assert described["input"]["type"] == "uint8"
    assert described["clips"]["short_side"] == 40


def test_a_program_of_another_size(checkpoint, tmp_path):
    path = tmp_path / "network.pt2"
    words = ["export", "--checkpoint", str(checkpoint), "--output", str(path)]
    assert main([*words, "--crop-size", "64", "72"]) == 0
    program = torch.export.load(path).module()
    for count in (1, 3):
        given = clips(count, 64, 72)
        found = program(torch.from_numpy(given)).detach().numpy()
        np.testing.assert_allclose(found, expected(checkpoint, given), rtol=1e-4, atol=1e-5)
    assert json.loads((tmp_path / "network.pt2.json").read_text())["input"]["shape"][3:5] == [
        64,
        72,
    ]


def test_what_differs_from_eager_is_not_written(checkpoint, tmp_path, monkeypatch):
    real = exporting._program

    def broken(*arguments):
        run = real(*arguments)
        return lambda given: run(given) + (0.1 if len(given) == 3 else 0)

    monkeypatch.setattr(exporting, "_program", broken)
    with pytest.raises(UserError, match=r"network\.pt2"):
        export(load_trained(checkpoint), tmp_path / "network.pt2")
    assert list(tmp_path.iterdir()) == []


def test_the_checkpoint_is_not_overwritten(checkpoint, tmp_path, capsys):
    path = tmp_path / "network.pt2"
    path.write_bytes(checkpoint.read_bytes())
    assert main(["export", "--checkpoint", str(path), "--output", str(path)]) == 2
    assert str(path) in capsys.readouterr().err
    assert path.read_bytes() == checkpoint.read_bytes()


@pytest.mark.parametrize("opset", ["9", "99"])
def test_an_opset_that_cannot_be_had(checkpoint, tmp_path, capsys, opset):
    words = ["export", "--checkpoint", str(checkpoint), "--output", str(tmp_path / "n.onnx")]
    assert main([*words, "--opset", opset]) == 2
    message = capsys.readouterr().err
    assert f"--opset: {opset}" in message
    assert message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"onnxruntime.*pip install -e '\.\[export\]'"):
        export(load_trained(checkpoint), tmp_path / "n.onnx")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--output", "network.bin"], "network.bin"),
        (["--output", "n.pt2", "--crop-size", "20"], "--crop-size"),
        (["--output", "n.pt2", "--crop-size", "64", "64", "64"], "--crop-size"),
    ],
)
def test_options_that_do_not_fit(checkpoint, capsys, words, named):
    assert main(["export", "--checkpoint", str(checkpoint), *words]) == 2
    assert named in capsys.readouterr().err
