"""One training step: forward, loss, backward, clip, update (paper section 4.2).

Nothing here waits for the device: results stay there as tensors.
"""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from tdn.config import Config
from tdn.training.distributed import Processes
from tdn.training.mixing import draw_mix
from tdn.training.precision import Precision
from tdn.training.schedules import Schedule

if TYPE_CHECKING:
    from tdn.pipelines.loader import Batch


class StepResult(NamedTuple):
    """What a step computed, on the device."""

    loss: Tensor
    """(), float32: the mean over this process's clips."""
    logits: Tensor
    """(B, classes)."""
    labels: Tensor
    """(B,), int64: those that the predictions are to be compared with."""
    gradient_norm: Tensor
    """(), float32: L2 norm of all gradients before clipping."""


class TrainingStep:
    """Runs training steps on a network.

    Args:
        model: The network, on the processes' device.
        optimizer: Over its parameters.
        precision: What the network computes in.
        schedule: The learning rate by step.
        config: The rest: ``seed``, ``optimizer.clip_norm``, and of ``training`` label smoothing,
            mixup and cutmix.
        processes: Gradients are averaged over them.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        precision: Precision,
        schedule: Schedule,
        config: Config,
        processes: Processes,
    ) -> None:
        self.optimizer = optimizer
        self.scaler = precision.scaler()
        self._parameters = list(model.parameters())
        self._network = _replicated(model, processes)
        self._precision = precision
        self._schedule = schedule
        self._training = config.training
        self._largest_norm = config.optimizer.clip_norm or math.inf
        self._seed = config.seed
        self._processes = processes

    def __call__(self, batch: Batch, step: int) -> StepResult:
        """Train on a batch.

        Args:
            batch: This process's clips.
            step: The step's number in the run, from 0: it decides the learning rate and all
                randomness, so that a resumed run repeats what an uninterrupted one does.
        """
        seed_step(self._seed, step, self._processes.rank)
        clips = batch.clips.to(self._processes.device, non_blocking=True)
        labels = batch.labels.to(self._processes.device, non_blocking=True)
        mix = draw_mix(self._training, self._seed, step, self._processes.rank, clips.shape)
        smoothing = self._training.label_smoothing

        with self._precision.autocast():
            logits = self._network(clips if mix is None else mix.clips(clips))
        if mix is None:
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        else:
            loss = mix.loss(logits.float(), labels, smoothing)
            labels = mix.dominant(labels)

        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self._parameters, self._largest_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self._schedule(step)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        return StepResult(loss.detach(), logits.detach(), labels, norm)

    def close(self) -> None:
        """Let go of what belongs to the group of processes.

        DistributedDataParallel must not be the last to hold the group: it would end the group's
        threads while it holds Python's lock, which they may be waiting for.
        """
        del self._network


def _replicated(model: nn.Module, processes: Processes) -> nn.Module:
    """The network with its gradients averaged over the processes.

    Buffers are not broadcast every step: while training nothing reads the running statistics of
    batch norm, and everyone takes the main process's before a validation and they are what a
    checkpoint holds, as if they had been. Batch statistics are each process's own, as published.
    """
    if processes.alone:
        return model
    device = processes.device
    known = inspect.signature(DistributedDataParallel).parameters
    # torch 2.13 renamed the option and warns of its former name.
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    settings: dict[str, Any] = {"gradient_as_bucket_view": True, buffers: False}
    if device.type == "cuda":
        settings["device_ids"] = [device.index]
    return DistributedDataParallel(model, **settings)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch's generators as a pure function of the run's seed, the step and the process.

    So dropout needs no saved state, and no two processes or steps share its draws.
    """
    state = np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]))
