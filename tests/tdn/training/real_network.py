"""The real network, small, and clips for it: what its statistics do in a training step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdn.models import create_model
from tdn.network import Network
from tdn.training.extras.recomputation import recompute_stages
from tdn.training.extras.synced_norms import synchronise_norms
from tdn.training.processes.distributed import Processes
from tdn.training.processes.replicas import replicated
from tests.tdn import synthetic


def real_network() -> Network:
    """tdn_resnet10, narrow; its batch norms' weights are not all 1."""
    torch.manual_seed(0)
    model = create_model("tdn_resnet10", num_classes=6, num_segments=2, width=8, dropout=0.0)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
    return model


def real_batch(rows: np.ndarray) -> synthetic.Batch:
    """Clips that are large enough for it."""
    side, synthetic.SIDE = synthetic.SIDE, 40
    batch = synthetic.make_batch(rows)
    synthetic.SIDE = side
    return batch


def synchronised_step(processes: Processes, recomputed: tuple[int, ...] = ()) -> dict[str, Tensor]:
    """Logits, gradients and buffers after a pass of six clips, divided among the processes."""
    model = real_network()
    recompute_stages(model, recomputed)
    if not processes.alone:
        synchronise_norms(model)
    batch = real_batch(np.split(np.arange(6), processes.world_size)[processes.rank])
    replica = replicated(model, processes)
    logits = replica(batch.clips)
    F.cross_entropy(logits, batch.labels).backward()
    gradients = {f"gradient of {name}": p.grad.clone() for name, p in model.named_parameters()}
    return {"logits": logits.detach(), **gradients, **dict(model.named_buffers())}
