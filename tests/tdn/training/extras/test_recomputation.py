from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

import tdn
from tdn.kernels.backend import using
from tdn.long_term import LongTermTDM
from tdn.models import create_model
from tdn.resnet import BasicBlock
from tdn.training.extras.recomputation import RecomputedStage, recompute_stages
from tdn.training.trainer import train
from tests.tdn import synthetic
from tests.tdn.training.real_network import real_batch, real_network
from tests.tdn.training.test_step import make_step


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("partial_bn", [False, True])
def test_training_has_the_same_bits(precision, partial_bn):
    """Weights, running statistics, counts and logits after steps of two batches, with dropout."""
    states, logits = [], []
    for stages in ([], [2, 4], [1, 2, 3, 4]):
        model = real_network()
        model.dropout.p = 0.5
        if partial_bn:
            model.freeze_batch_norms()
        recompute_stages(model, stages)
        step = make_step(model, precision, training__accumulate=2)
        for number in range(3):
            rows = 4 * number
            batches = [real_batch(np.arange(rows, rows + 2)), real_batch(np.arange(rows, rows + 2))]
            result = step(batches, number)
        states.append(model.state_dict())
        logits.append(result.logits)
    for state, found in zip(states, logits, strict=True):
        assert list(state) == list(states[0])
        assert all(torch.equal(value, states[0][name]) for name, value in state.items())
        assert torch.equal(found, logits[0])
    batches = 0 if partial_bn else 12  # both directions count
    assert states[2]["stage2.0.long_term.full_norm.num_batches_tracked"] == batches


def test_a_run_computes_the_stages_twice_that_it_is_told_to(tmp_path, tiny, monkeypatch):
    calls: list[int] = []
    monkeypatch.setattr(tdn, "create_model", create_model)
    monkeypatch.setattr(synthetic, "SIDE", 40)
    blocks = BasicBlock.forward
    monkeypatch.setattr(
        BasicBlock, "forward", lambda block, x: calls.append(x.shape[1]) or blocks(block, x)
    )
    states, counts = [], []
    for stages in ([], [1, 3]):
        config = synthetic.tiny_config(str(tmp_path / f"{len(stages)}"), model__width=8)
        config.model.name, config.data.train_list, config.data.validation_list = (
            "tdn_resnet10", "8", "2"
        )  # fmt: skip
        config.training.epochs, config.training.checkpoint_stages = 1, stages
        states.append(torch.load(train(config).last, weights_only=True)["model"])
        counts.append(Counter(calls))
        calls.clear()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    # A step and a validation: 8 channels enter both stages 1 and stage 2, 16 stage 3, 32 stage 4.
    assert counts == [{8: 6, 16: 2, 32: 2}, {8: 8, 16: 3, 32: 2}]


def kept_bytes(model: nn.Module, clips: Tensor) -> int:
    """Size of what a forward pass keeps for the backward pass, besides parameters."""
    storages = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(clips).sum()
    own = {parameter.data_ptr() for parameter in model.parameters()}
    total = sum(storage.nbytes() for pointer, storage in storages.items() if pointer not in own)
    loss.backward()
    return total


def test_less_memory_is_kept_for_each_stage():
    clips = real_batch(np.arange(4)).clips
    kept = []
    for stages in ([], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4]):
        model = real_network()
        recompute_stages(model, stages)
        kept.append(kept_bytes(model, clips))
    assert kept == sorted(kept, reverse=True)
    assert kept[-1] < 0.65 * kept[0]
    assert len(set(kept)) == len(kept)


def test_kernels_move_the_statistics_on_once():
    torch.manual_seed(0)
    plain = nn.Sequential(LongTermTDM(16, 2))
    recomputed = RecomputedStage(*copy.deepcopy(plain))
    results = []
    for stage in (plain, recomputed):
        torch.manual_seed(1)
        x = torch.randn(4, 16, 6, 6).requires_grad_()
        with using("triton"):
            stage(x).square().mean().backward()
        results.append({**dict(stage.named_buffers()), "x": x.grad})
    for name, value in results[0].items():
        assert torch.equal(results[1][name], value)
    assert results[1]["0.full_norm.num_batches_tracked"] == 2
