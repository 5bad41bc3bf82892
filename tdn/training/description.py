"""What a run consists of, for the start of its record."""

from __future__ import annotations

from tdn.config import Config
from tdn.training.build import Parts
from tdn.training.optimizing.schedules import peak_rate
from tdn.training.processes.distributed import Processes, device_name
from tdn.training.reporting.sinks import Event
from tdn.training.state import versions


def describe(config: Config, parts: Parts, processes: Processes) -> Event:
    """The fields of a start event that do not depend on where the run is.

    Args:
        config: The run's, its batch divided among the processes.
        parts: Network, optimizer and loaders.
        processes: Those of the run.
    """
    return {
        "epochs": config.training.epochs,
        "steps_per_epoch": parts.pace.steps_per_epoch,
        "global_batch": parts.pace.global_batch,
        "batch_size": config.data.batch_size,
        "accumulate": config.training.accumulate,
        "model": config.model.name,
        "classes": config.model.num_classes,
        "parameters": sum(p.numel() for p in parts.model.parameters()),
        "optimizer": config.optimizer.name,
        "optimizer_backend": parts.optimizer.backend,
        "lr": peak_rate(config.optimizer, parts.pace.global_batch),
        "base_batch": config.optimizer.base_batch,
        "multipliers": config.optimizer.multipliers,
        "precision": parts.precision.name,
        "device": device_name(processes.device),
        "world_size": processes.world_size,
        "seed": config.seed,
        "pretrained": parts.pretrained,
        "versions": versions(),
    }
