"""Going on with another number of processes: a step keeps its clips, divided anew.

The order of the clips depends on the seed alone, so with as many of them a step, any number of
processes sees the same clips in the same steps. Batch norm and rounding still differ: they
depend on which clips pass the network together.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from tdn.config import Config
from tdn.config_loading import check_config
from tdn.errors import UserError
from tdn.training.saving.checkpoint_file import Checkpoint
from tdn.training.state import global_batch

_log = logging.getLogger(__name__)


def keep_global_batch(
    config: Config, checkpoint: Checkpoint, path: Path, world_size: int
) -> Config:
    """The configuration with the checkpoint's clips a step divided among the processes.

    No process gets more clips at a time than ``data.batch_size``: it makes more batches instead.
    Who changes ``data.batch_size`` or ``training.accumulate`` is taken at their word.

    Args:
        config: The run's, with the batch as it was given.
        checkpoint: What the run goes on from.
        path: Where that was read.
        world_size: Number of processes.

    Raises:
        UserError: The clips of a step cannot be divided, or are others; says what to type.
    """
    wanted = checkpoint["global_batch"]
    now = global_batch(config, world_size)
    if now == wanted:
        return config
    share = _share(wanted, world_size, path)
    batch = max(count for count in _divisors(share) if count <= config.data.batch_size)
    settings = f"data.batch_size {batch} and training.accumulate {share // batch}"
    former = checkpoint["config"]
    if (config.data.batch_size, config.training.accumulate) != (
        former["data"]["batch_size"],
        former["training"]["accumulate"],
    ):
        raise UserError(
            f"data.batch_size x training.accumulate x processes: {now} clips a step do not go with "
            f"{path}, which has {wanted}; give {settings}, or start a new run with model.pretrained"
        )
    processes = f"{world_size} process{'es' if world_size > 1 else ''}"
    _log.info("a step keeps its %d clips on %s by %s", wanted, processes, settings)
    divided = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, batch_size=batch),
        training=dataclasses.replace(config.training, accumulate=share // batch),
    )
    check_config(divided)
    return divided


def _share(clips: int, world_size: int, path: Path) -> int:
    """The clips of a step for each process."""
    if clips % world_size:
        *fewer, most = map(str, _divisors(clips))
        counts = f"{', '.join(fewer)} or {most}" if fewer else most
        raise UserError(
            f"{path}: a step has {clips} clips, which cannot be divided among {world_size} "
            f"processes; start {counts}"
        )
    return clips // world_size


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
