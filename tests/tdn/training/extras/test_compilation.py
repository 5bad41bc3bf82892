"""The wiring of torch.compile, by a backend that needs no compiler; inductor takes a minute."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tdn.errors import UserError
from tdn.training.extras import compilation
from tdn.training.trainer import TrainingResult, train
from tests.tdn.synthetic import tiny_config


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.fx.GraphModule]]:
    """What torch captured; it runs as it is."""
    captured: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        captured.append(graph)
        return graph.forward

    monkeypatch.setattr(compilation, "BACKEND", backend)
    torch._dynamo.reset()
    yield captured
    torch._dynamo.reset()


def run(folder: Path, **settings: object) -> TrainingResult:
    settings = {"training__compile": "default", "training__epochs": 2} | settings
    return train(tiny_config(str(folder), **settings))


def state(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["model"]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_compiled_network_learns_the_same(tmp_path, tiny, graphs, accumulate):
    """One graph, besides that of the trial, for all steps; checkpoints with the same names."""
    settings = {"data__batch_size": 4, "training__accumulate": accumulate}
    plain = run(tmp_path / "plain", training__compile="none", **settings)
    assert not graphs
    compiled = run(tmp_path / "compiled", **settings)
    assert len(graphs) == 2
    one, other = state(plain.last), state(compiled.last)
    assert list(one) == list(other)
    for name, value in one.items():
        torch.testing.assert_close(other[name], value)
    assert (compiled.top1, compiled.best_top1) == (plain.top1, plain.best_top1)


def test_stopped_and_resumed_it_is_as_if_never_stopped(tmp_path, tiny, graphs):
    whole = run(tmp_path / "whole", model__dropout=0.5)
    tiny.hooks["train"] = lambda *now: signal.raise_signal(signal.SIGUSR2) if now == (1, 2) else 0
    assert not run(tmp_path / "parts", model__dropout=0.5).completed
    tiny.hooks.clear()
    resumed = run(tmp_path / "parts", model__dropout=0.5)
    one, other = state(whole.last), state(resumed.last)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_cuda_graphs_need_a_gpu(tmp_path, tiny):
    with pytest.raises(UserError, match=r"training\.compile: reduce-overhead.*give default"):
        run(tmp_path, training__compile="reduce-overhead")
    assert not tmp_path.joinpath("log.jsonl").exists()


def test_where_torch_cannot_compile_nothing_starts(tmp_path, tiny, monkeypatch):
    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        raise FileNotFoundError("compiler")

    monkeypatch.setattr(compilation, "BACKEND", backend)
    torch._dynamo.reset()
    with pytest.raises(UserError, match=r"training\.compile: .*g\+\+.*give none") as refusal:
        run(tmp_path)
    assert "\n" not in str(refusal.value)
    assert not tmp_path.joinpath("log.jsonl").exists()
