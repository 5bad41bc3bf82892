from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tdn.long_term import DirectionalBatchNorm2d
from tdn.training.extras.precise_bn import estimate_statistics
from tdn.training.precision import choose_precision
from tdn.training.processes.distributed import Processes
from tdn.training.trainer import TrainingResult, train
from tests.tdn.synthetic import TinyNetwork, make_batch, tiny_config
from tests.tdn.training.real_network import real_batch, real_network

CPU = torch.device("cpu")
ALONE = Processes(rank=0, world_size=1, device=CPU)
FP32 = choose_precision("fp32", CPU)


def run(folder: Path, **settings: object) -> TrainingResult:
    return train(tiny_config(str(folder), **{"training__precise_bn": 24} | settings))


def inputs_of_norms(model: nn.Module, batches: list) -> dict[str, torch.Tensor]:
    """Everything that each batch norm is given in training mode, in double precision."""
    found: dict[str, list[torch.Tensor]] = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda _, args, name=name: found.setdefault(name, []).append(args[0].double())
        )
        for name, module in model.named_modules()
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))
    ]
    with torch.no_grad():
        for batch in batches:
            model.train()(batch.clips)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(parts) for name, parts in found.items()}


@pytest.mark.parametrize("name", ["tiny_bn", "tdn_resnet10"])
def test_statistics_become_the_moments_of_all_clips(name):
    """Of both directions together, where these share a batch norm."""
    torch.manual_seed(0)
    small = name == "tiny_bn"
    model = TinyNetwork(name, 6, 0.5, 16) if small else real_network()
    batches = [(make_batch if small else real_batch)(np.arange(3 * i, 3 * i + 3)) for i in range(4)]
    inputs = inputs_of_norms(model, batches)
    counts = {n: int(m.num_batches_tracked) for n, m in model.named_modules() if n in inputs}
    estimate_statistics(model, batches, FP32, ALONE)
    directional = 0
    for norm_name, x in inputs.items():
        norm = model.get_submodule(norm_name)
        dims = [d for d in range(x.dim()) if d != 1]
        variance, mean = torch.var_mean(x, dims)
        torch.testing.assert_close(norm.running_mean.double(), mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var.double(), variance, rtol=1e-4, atol=1e-5)
        assert int(norm.num_batches_tracked) == counts[norm_name]
        directional += isinstance(norm, DirectionalBatchNorm2d)
    assert directional == (0 if name == "tiny_bn" else 9)
    again = inputs_of_norms(model, batches)  # no hook is left, and training goes on as before
    assert all(torch.equal(again[key], inputs[key]) for key in inputs)


def test_frozen_batch_norms_keep_their_statistics():
    model = real_network()
    model.freeze_batch_norms()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    estimate_statistics(model, [real_batch(np.arange(4))], FP32, ALONE)
    changed = {n for n, b in model.named_buffers() if not torch.equal(b, before[n])}
    first = next(n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d))
    assert changed == {f"{first}.running_mean", f"{first}.running_var"}


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_validation_uses_the_estimate(tmp_path, tiny, ema):
    """Of 24 clips in three batches of the epoch to come, for the weights that are validated."""
    result = run(tmp_path, training__ema=ema, training__epochs=2)
    saved = torch.load(result.last, weights_only=True)["ema" if ema else "model"]
    model = TinyNetwork("tiny_bn", 6, 0.5, 16)
    model.load_state_dict(saved)
    served = [rows for epoch, _, rows in tiny.loaders[0].served if epoch == 2]
    assert [len(rows) for rows in served] == [8, 8, 8]
    clips = make_batch(np.concatenate(served)).clips.float().div(255).mean((1, 2)).flatten(1)
    variance, mean = torch.var_mean(model.hidden(clips), 0)
    torch.testing.assert_close(saved["norm.running_mean"], mean)
    torch.testing.assert_close(saved["norm.running_var"], variance)
    batch = make_batch(np.arange(30))
    loss = F.cross_entropy(model.eval()(batch.clips), batch.labels).item()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    validation = [line for line in lines if line["event"] == "validation"][-1]
    assert validation["loss"] == pytest.approx(loss, rel=1e-5)


def test_training_does_not_notice(tmp_path, tiny):
    plain, estimated = run(tmp_path / "plain", training__precise_bn=0), run(tmp_path / "estimated")
    one, other = (torch.load(r.last, weights_only=True)["model"] for r in (plain, estimated))
    for name in one:
        assert torch.equal(one[name], other[name]) == ("running" not in name)


@pytest.mark.parametrize(("split", "at"), [("train", (1, 2)), ("validation", (1, 1))])
def test_stopped_and_resumed_it_is_as_if_never_stopped(tmp_path, tiny, split, at):
    whole = run(tmp_path / "whole")
    seen = []

    def stop(*now: int) -> None:
        seen.append(now)
        if (now == at) if split == "train" else len(seen) == 6:
            signal.raise_signal(signal.SIGTERM)

    tiny.hooks[split] = stop
    assert not run(tmp_path / "parts").completed
    tiny.hooks.clear()
    resumed = run(tmp_path / "parts")
    for key in ("model", "top1", "best_top1"):
        one, other = (torch.load(r.last, weights_only=True)[key] for r in (whole, resumed))
        if key == "model":
            assert all(torch.equal(one[name], other[name]) for name in one)
        else:
            assert one == other


def test_more_clips_than_there_are_take_an_epoch(tmp_path, tiny):
    assert run(tmp_path, training__precise_bn=10_000, training__epochs=1).completed
    assert len([epoch for epoch, _, _ in tiny.loaders[0].served if epoch == 1]) == 5
