"""Whatever the trainer can do besides: with the defaults it is the released code's plain loop."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch.nn import functional as F

import tdn
from tdn.config import Config
from tdn.models import create_model
from tdn.training.step import seed_step
from tdn.training.trainer import train
from tests.tdn import synthetic
from tests.tdn.synthetic import create_loader, tiny_config

STEPS, EPOCHS, MILESTONE = 5, 2, 1


def network(config: Config) -> torch.nn.Module:
    torch.manual_seed(config.seed)
    model = create_model(
        config.model.name,
        num_segments=config.model.num_segments,
        num_classes=config.model.num_classes,
        dropout=config.model.dropout,
        width=config.model.width,
    )
    return model.to(memory_format=torch.channels_last)


def plain_loop(config: Config) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses of the steps and the final state, by nothing but torch (paper section 4.2)."""
    model = network(config).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9, weight_decay=5e-4, fused=True)
    loader = create_loader(config, "train")
    losses = []
    for epoch in range(EPOCHS):
        loader.set_epoch(epoch)
        for step, batch in enumerate(loader):
            seed_step(config.seed, epoch * STEPS + step, 0)
            loss = F.cross_entropy(model(batch.clips), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 20.0)
            optimizer.param_groups[0]["lr"] = 0.01 * 0.1 ** (epoch >= MILESTONE)
            optimizer.step()
            losses.append(loss.item())
    return losses, model.state_dict()


def test_a_run_with_the_published_settings_is_the_plain_loop_to_the_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(tdn, "create_loader", create_loader, raising=False)
    monkeypatch.setattr(synthetic, "SIDE", 40)
    config = Config(output=str(tmp_path))
    tiny = tiny_config(str(tmp_path))
    config.data.train_list, config.data.validation_list = "22", "6"
    config.data.batch_size = 4
    config.model = tiny.model
    config.model.name, config.model.width = "tdn_resnet10", 8
    config.schedule.milestones = [MILESTONE]
    config.training.epochs, config.training.log_every = EPOCHS, 1
    config.training.device = "cpu"
    config.logging = tiny.logging

    losses, state = plain_loop(config)
    result = train(config)
    lines = [json.loads(line) for line in Path(tmp_path, "log.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines if line["event"] == "train"] == losses
    trained = torch.load(result.last, weights_only=True)["model"]
    assert list(trained) == list(state)
    assert all(torch.equal(trained[name], value) for name, value in state.items())
