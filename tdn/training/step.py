"""One training step: forward, loss and backward of its batches, clip, update (paper section 4.2).

Nothing here waits for the device: results stay there as tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdn.config import Config
from tdn.training.extras.compilation import compiled
from tdn.training.extras.ema import WeightAverage
from tdn.training.extras.mixing import draw_mix
from tdn.training.optimizing.groups import MULTIPLIER
from tdn.training.optimizing.schedules import Schedule
from tdn.training.optimizing.update_guard import UpdateGuard
from tdn.training.precision import Precision
from tdn.training.processes.distributed import Processes
from tdn.training.processes.replicas import averaging, replicated
from tdn.training.processes.whereabouts import BACKWARD, FORWARD, LOSS, UPDATE

if TYPE_CHECKING:
    from tdn.pipelines.loader import Batch


class StepResult(NamedTuple):
    """What a step computed, on the device."""

    loss: Tensor
    """(), float32: the mean over this process's clips."""
    logits: Tensor
    """(B, classes), B the clips of all its batches."""
    labels: Tensor
    """(B,), int64: those that the predictions are to be compared with."""
    rows: Tensor
    """(B,), int64, on the CPU: where the clips stand in the list."""
    gradient_norm: Tensor
    """(), float32: L2 norm of all gradients before clipping."""


class TrainingStep:
    """Runs training steps on a network.

    Args:
        model: The network, on the processes' device.
        optimizer: Over its parameters.
        precision: What the network computes in.
        schedule: The learning rate by step.
        config: The rest: ``seed``, ``optimizer.clip_norm``, and of ``training`` compilation,
            accumulation, compression of gradients, label smoothing, mixup, cutmix and what is not
            finite.
        processes: Gradients are averaged over them.
        average: Takes in the network after each update.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        precision: Precision,
        schedule: Schedule,
        config: Config,
        processes: Processes,
        average: WeightAverage | None = None,
    ) -> None:
        self.optimizer = optimizer
        self.average = average
        self.scaler = precision.scaler()
        self._parameters = list(model.parameters())
        training = config.training
        self._network = replicated(
            compiled(model, training.compile),
            processes,
            training.accumulate,
            training.gradient_compression,
        )
        self._guard = UpdateGuard(model, optimizer) if training.non_finite == "skip" else None
        self._precision = precision
        self._schedule = schedule
        self._training = training
        self._largest_norm = config.optimizer.clip_norm or math.inf
        self._seed = config.seed
        self._processes = processes
        self._note = processes.whereabouts.note

    def __call__(self, batches: Iterable[Batch], step: int) -> StepResult:
        """Make one update, with the mean of the batches' gradients.

        Args:
            batches: This process's clips: ``training.accumulate`` batches, asked for one by one.
            step: The step's number in the run, from 0: it decides the learning rate and all
                randomness, so that a resumed run repeats what an uninterrupted one does.
        """
        count = self._training.accumulate
        parts = []
        if self._guard is not None:
            self._guard.begin()
        for number, batch in enumerate(batches):
            with averaging(self._network, now=number == count - 1):
                parts.append(self._learn(batch, step * count + number))
        losses, logits, labels, rows = zip(*parts, strict=True)
        return StepResult(
            loss=torch.stack(losses).mean(),
            logits=torch.cat(logits),
            labels=torch.cat(labels),
            rows=torch.cat(rows),
            gradient_norm=self._update(step),
        )

    def _learn(self, batch: Batch, number: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Add a batch's part to the gradients.

        Args:
            batch: The clips.
            number: The batch's in the run, from 0.

        Returns:
            As in ``StepResult``: loss, logits, labels and rows.
        """
        self._note(FORWARD)
        place = self._seed, number, self._processes.rank
        seed_step(*place)
        clips = batch.clips.to(self._processes.device, non_blocking=True)
        labels = batch.labels.to(self._processes.device, non_blocking=True)
        mix = draw_mix(self._training, *place, clips.shape)
        smoothing = self._training.label_smoothing

        with self._precision.autocast():
            logits = self._network(clips if mix is None else mix.clips(clips))
        self._note(LOSS)
        if mix is None:
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        else:
            loss = mix.loss(logits.float(), labels, smoothing)
            labels = mix.dominant(labels)

        if self._guard is not None:
            loss = self._guard.marked(loss)
        self._note(BACKWARD)
        self.scaler.scale(loss / self._training.accumulate).backward()
        return loss.detach(), logits.detach(), labels, batch.indices

    def _update(self, step: int) -> Tensor:
        """Change the weights by the gradients; gives the norm that these had."""
        self._note(UPDATE)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self._parameters, self._largest_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self._schedule(step) * group[MULTIPLIER]
        if self._guard is None:
            self.scaler.step(self.optimizer)
        else:
            self._guard.step(norm, self.scaler)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update(step)
        return norm

    def close(self) -> None:
        """Let go of what belongs to the group of processes.

        DistributedDataParallel must not be the last to hold the group: it would end the group's
        threads while it holds Python's lock, which they may be waiting for.
        """
        del self._network


def seed_step(seed: int, batch: int, rank: int) -> None:
    """Seed torch's generators as a pure function of the run's seed, the batch and the process.

    So dropout needs no saved state, and no two processes or batches share its draws.
    """
    state = np.random.SeedSequence((seed, batch, rank)).generate_state(1, np.uint64)
    # torch.manual_seed formats a traceback for every kind of device that is not in use: 0.5 ms.
    torch.default_generator.manual_seed(int(state[0]))
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(int(state[0]))
