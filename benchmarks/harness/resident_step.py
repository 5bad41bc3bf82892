"""Training steps on a batch that lies on the device: what a step takes when nothing is read."""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from tdn.allocator import keep_freed_memory
from tdn.config import Config, OptimizerConfig
from tdn.pipelines.batch import Batch
from tdn.trained import create_network
from tdn.training.optimizing.optimizers import create_optimizer
from tdn.training.precision import Precision, choose_precision
from tdn.training.processes.distributed import Processes
from tdn.training.processes.replicas import replicated


def resident_batch(config: Config, device: torch.device) -> Batch:
    """Clips of noise in the device's memory."""
    count, segments = config.data.batch_size, config.model.num_segments
    size = config.data.crop_size
    height, width = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(0)
    shape = count, segments, 5, height, width, 3
    clips = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    rows = torch.arange(count)
    frames = torch.zeros(count, segments, 5, dtype=torch.int64)
    return Batch(clips.to(device), rows % config.model.num_classes, rows, frames, rows * 0)


class BareStep:
    """A training step with nothing around it: call it, or its three parts in turn.

    Args:
        network: From clips to logits, as it is called: compiled, or one of several replicas.
        optimizer: Of its parameters, and the largest norm of their gradients.
        precision: What it computes in.
        clips: On the device, what the network takes.
        labels: (N,), int64, there too.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: OptimizerConfig,
        precision: Precision,
        clips: Tensor,
        labels: Tensor,
    ) -> None:
        self._network = network
        self._parameters = list(network.parameters())
        named = network.named_parameters()
        self._optimizer = create_optimizer(optimizer, named, clips.device).optimizer
        self._largest_norm = optimizer.clip_norm or math.inf
        self._precision = precision
        self._scaler = precision.scaler()
        self._clips, self._labels = clips, labels

    @property
    def gradient_bytes(self) -> int:
        """What the processes exchange in a step."""
        return sum(each.numel() * each.element_size() for each in self._parameters)

    def __call__(self) -> Tensor:
        """Make the whole step; gives the loss before it."""
        loss = self.forward()
        self.backward(loss)
        self.update()
        return loss.detach()

    def forward(self) -> Tensor:
        """The batch's loss, (), float32."""
        with self._precision.autocast():
            logits = self._network(self._clips)
        return F.cross_entropy(logits.float(), self._labels)

    def backward(self, loss: Tensor) -> None:
        """Gradients, averaged over the replicas if there are several."""
        self._scaler.scale(loss).backward()

    def update(self) -> None:
        """Clip, and change the weights."""
        self._scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self._parameters, self._largest_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad()


def configured_step(
    config: Config,
    batch: Batch,
    device: torch.device,
    place: Processes | None = None,
    group: dist.ProcessGroup | None = None,
) -> BareStep:
    """The bare step of a configuration's training.

    Args:
        config: ``model``, ``optimizer`` and ``training.precision`` count.
        batch: What it trains on.
        device: Where.
        place: This process's among those that average their gradients; alone by default.
        group: Theirs, if they are not all that there are.
    """
    if device.type == "cpu":
        keep_freed_memory()  # as the trainer does
    torch.manual_seed(0)
    network: nn.Module = create_network(config.model)
    network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    if place is not None:
        network = replicated(network, place, group=group)
    precision = choose_precision(config.training.precision, device)
    return BareStep(network, config.optimizer, precision, batch.clips, batch.labels.to(device))
