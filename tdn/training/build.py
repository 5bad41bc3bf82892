"""Building a run: everything it consists of, checked before the first step."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

import tdn
from tdn.config import Config
from tdn.errors import UserError
from tdn.network import Network
from tdn.trained import create_network
from tdn.training.class_names import check_same_classes
from tdn.training.elastic import keep_global_batch
from tdn.training.extras.compilation import check_compiler
from tdn.training.extras.ema import WeightAverage
from tdn.training.extras.recomputation import recompute_stages
from tdn.training.extras.synced_norms import synchronise_norms
from tdn.training.optimizing.optimizers import OptimizerAndBackend, create_optimizer
from tdn.training.optimizing.schedules import check_schedule
from tdn.training.precision import Precision, choose_precision
from tdn.training.processes.distributed import Processes
from tdn.training.processes.launch import this_launch
from tdn.training.saving.checkpoint_file import Checkpoint, read_checkpoint
from tdn.training.saving.disk_room import check_room
from tdn.training.saving.run_folder import Found, RunFolder
from tdn.training.state import Pace, RunState, check_resumable, check_same_pace, global_batch

if TYPE_CHECKING:
    from tdn.pipelines.loader import Loader


@dataclass
class Start:
    """Where a run begins."""

    state: RunState
    checkpoint: Checkpoint | None = None
    """What it goes on from, until everything is taken from it; None for a new run."""
    path: Path | None = None
    """Where that was read."""


@dataclass(frozen=True)
class Parts:
    """What a run consists of, on one process."""

    config: Config
    """The run's, its batch divided among these processes."""
    model: nn.Module
    """On the processes' device, with the weights it starts from."""
    optimizer: OptimizerAndBackend
    precision: Precision
    train_loader: Loader
    validation_loader: Loader
    pace: Pace
    pretrained: str | None
    """What ``model.pretrained`` gave, in words."""
    average: WeightAverage | None = None
    """The average of the weights, by ``training.ema``."""

    @property
    def validated(self) -> nn.Module:
        """The network that is validated: the average if there is one."""
        return self.model if self.average is None else self.average.module


def find_start(config: Config, folder: RunFolder, processes: Processes) -> Start:
    """Read the checkpoint that ``training.resume`` asks for, if there is one; all must call it.

    The main process chooses, so that all go on from the same one. What ``torchrun`` or a cluster
    has started again goes on with what it has begun, whatever its first start was to begin from.

    Raises:
        UserError: It cannot be read or is of another network.
    """
    found = None
    # torchrun does not count a restart because a machine came or went.
    again = processes.any(processes.restarted or this_launch().restarts > 0)
    with processes.failing_together():
        if processes.is_main:
            found = _find_checkpoint(config.training.resume, folder, again)
    path = processes.from_main(found and found.path)
    if path is None:
        return Start(RunState())
    with processes.failing_together():
        checkpoint = found.checkpoint if found else read_checkpoint(path)
        check_resumable(checkpoint, path, config)
    state = RunState.of(checkpoint)
    if not (folder.holds(path) and folder.best.exists()):  # another folder has the best one
        state.best_top1 = None
    return Start(state, checkpoint, path)


def _find_checkpoint(resume: str, folder: RunFolder, again: bool) -> Found | None:
    """What a start begins from; ``again`` if it is not the first one of its launch."""
    if not again and this_launch().job is None:
        folder.launch.unlink(missing_ok=True)  # of a former launch, which may have had this name
    begun = folder.find_checkpoint("auto") if folder.has_begun() else None
    return begun or folder.find_checkpoint(resume)


def build(
    config: Config, folder: RunFolder, processes: Processes, start: Start, stack: ExitStack
) -> Parts:
    """Make the parts of a run; without communication, so that a mistake on one host is told.

    What takes long comes last: to read lists, and to index their videos.

    Args:
        config: The run's configuration.
        folder: Where it is kept.
        processes: Those of the run.
        start: Where it begins.
        stack: Closes the loaders.

    Raises:
        UserError: Data, device, pretrained weights or optimizer are not what they should be, or the
            disk has no room for the checkpoints.
    """
    for key in ("train_list", "validation_list"):
        if not getattr(config.data, key):
            raise UserError(f"data.{key}: is empty; give the list of its videos")
    if start.checkpoint is not None and start.path is not None:
        config = keep_global_batch(config, start.checkpoint, start.path, processes.world_size)
    check_schedule(config, global_batch(config, processes.world_size))
    precision = choose_precision(config.training.precision, processes.device)
    check_compiler(config.training.compile, processes.device)
    model, pretrained = _initial_model(config, start.checkpoint)
    model.to(processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    recompute_stages(model, config.training.checkpoint_stages)
    if config.training.sync_bn and not processes.alone:
        synchronise_norms(model)
    optimizer = create_optimizer(config.optimizer, model.named_parameters(), processes.device)
    average = _initial_average(config.training.ema, model, start.checkpoint)
    check_room(folder, config, model)
    train_loader, validation_loader, pace = _open_lists(config, processes, start, stack)
    return Parts(
        config,
        model,
        optimizer,
        precision,
        train_loader,
        validation_loader,
        pace,
        pretrained,
        average,
    )


def _open_lists(
    config: Config, processes: Processes, start: Start, stack: ExitStack
) -> tuple[Loader, Loader, Pace]:
    """The loaders of both lists, which must go together and with what the run goes on from."""
    place = {"rank": processes.rank, "world_size": processes.world_size}
    train_loader = stack.enter_context(closing(tdn.create_loader(config, "train", **place)))
    validation_loader = stack.enter_context(
        closing(tdn.create_loader(config, "validation", **place))
    )
    check_same_classes(
        "data.validation_list", validation_loader.classes, "data.train_list", train_loader.classes
    )
    pace = Pace(
        steps_per_epoch=len(train_loader) // config.training.accumulate,
        global_batch=global_batch(config, processes.world_size),
        videos=train_loader.fingerprint(),
    )
    if start.checkpoint is not None and start.path is not None:
        check_same_pace(start.checkpoint, start.path, pace)
        former = start.checkpoint.get("classes", ())
        check_same_classes("data.train_list", train_loader.classes, str(start.path), former)
    return train_loader, validation_loader, pace


def check_same_data(processes: Processes, **loaders: Loader) -> None:
    """Refuse to start where the processes see different videos; all must call it.

    Every process computes the global order from its own manifest: with different ones the order
    would silently differ between them.

    Args:
        processes: Those of the run.
        **loaders: By the key of their list in ``data``.

    Raises:
        UserError: Names the list.
    """
    for key, loader in loaders.items():
        found = processes.gather(loader.fingerprint())
        if len(set(found)) > 1:
            odd = next(rank for rank, value in enumerate(found) if value != found[0])
            raise processes.failure(
                f"data.{key}: process {odd} finds other usable videos than process 0; give every "
                "host the same files, or one manifest that 'tdn index' made"
            )


def _initial_model(config: Config, checkpoint: Checkpoint | None) -> tuple[Network, str | None]:
    """The network with its first weights: the checkpoint's, the pretrained ones, or random."""
    torch.manual_seed(config.seed)
    model = create_network(config.model)
    if checkpoint is not None:
        model.load_state_dict(checkpoint["model"])
    elif config.model.pretrained is not None:
        path, new_head = config.model.pretrained, config.model.new_head
        return model, str(tdn.load_checkpoint(model, path, new_head=new_head))
    return model, None


def _initial_average(
    decay: float, model: nn.Module, checkpoint: Checkpoint | None
) -> WeightAverage | None:
    """The average as the checkpoint has it; one that begins now starts from the network."""
    if not decay:
        return None
    average = WeightAverage(model, decay)
    if checkpoint is not None and "ema" in checkpoint:
        average.module.load_state_dict(checkpoint["ema"])
    return average
