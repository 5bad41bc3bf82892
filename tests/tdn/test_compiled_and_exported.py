"""The evaluation network leaves PyTorch's eager mode: compiled, exported, as ONNX."""

from __future__ import annotations

import os
import shutil

import numpy as np
import onnxruntime
import pytest
import torch

from tdn import create_model
from tdn.config import TemporalConfig
from tdn.models import VARIANTS

T = 8


def clips(kind, n=2):
    generator = torch.Generator().manual_seed(n)
    if kind == "uint8":
        shape = (n, T, 5, 40, 48, 3)
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return torch.randn((n, T, 5, 3, 40, 48), generator=generator)


def create_small(**settings):
    """With random weights where fresh ones are 0 or 1, and statistics of its own."""
    torch.manual_seed(0)
    model = create_model("tdn_resnet10", num_classes=5, num_segments=T, width=16, **settings)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point() and tensor.dim() < 4:
                tensor.add_(0.3 * torch.rand_like(tensor))
    return model.eval()


@pytest.fixture(scope="module")
def network():
    return create_small(dropout=0.5)


@pytest.fixture(scope="module")
def network_of_one_stage():
    """With L-TDM in one stage: a compiler takes each by itself, for its own sizes."""
    return create_small(temporal=TemporalConfig(stages=[2]))


def logits(model, x):
    with torch.no_grad():
        return model(x)


def test_compiled_into_one_graph(network):
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(logits(compiled, clips("uint8")), logits(network, clips("uint8")))


@pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None,
    reason="torch.compile needs a C++ compiler for the CPU: install g++ or set CXX",
)
@pytest.mark.timeout(900)  # the C++ compiler takes half a minute, and more on a busy machine
def test_compiled_to_machine_code(network_of_one_stage):
    x = clips("uint8")
    compiled = torch.compile(network_of_one_stage, fullgraph=True)
    expected = logits(network_of_one_stage, x)
    assert (logits(compiled, x) - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("kind", ["uint8", "float"])
def test_exported_program_for_any_number_of_clips(network, kind):
    shapes = {"clips": {0: torch.export.Dim("clips", min=1)}}
    program = torch.export.export(network, (clips(kind),), dynamic_shapes=shapes).module()
    for n in (1, 2, 5):
        x = clips(kind, n)
        torch.testing.assert_close(logits(program, x), logits(network, x))


@pytest.mark.parametrize("name", [f"{name}_resnet10" for name in VARIANTS if name != "tdn"])
def test_every_other_variant_is_exported(name):
    model = create_model(name, num_classes=5, num_segments=T, width=16).eval()
    x = clips("uint8")
    program = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(logits(program, x), logits(model, x))


def test_onnx_gives_the_same_logits(network_of_one_stage, tmp_path):
    """On normalised clips; ``tdn export`` writes networks that take bytes."""
    network = network_of_one_stage
    path = tmp_path / "network.onnx"
    program = torch.onnx.export(
        network,
        (clips("float"),),
        dynamo=True,
        dynamic_shapes={"clips": {0: "clips"}},
        verbose=False,
    )
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    for n in (2, 3):
        x = clips("float", n)
        (found,) = session.run(None, {given.name: x.numpy()})
        expected = logits(network, x).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
