"""What a configuration asks of the machine, known without decoding the data set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from tdn.config import Config
from tdn.config_loading import load_config
from tdn.devices import resolve_device
from tdn.doctor import storage
from tdn.doctor.data import check_split
from tdn.doctor.findings import Finding, fail, mistake, ok, warn
from tdn.errors import UserError
from tdn.machine import usable_cores
from tdn.trained import create_network
from tdn.training.extras.compilation import check_compiler
from tdn.training.optimizing.optimizers import apex_obstacle
from tdn.training.precision import choose_precision
from tdn.training.processes.distributed import device_name

GB = 1e9
_CHECKPOINTS = 3
"""Files of a run at most: the last, the best, and the one being written."""
_STATES = {"sgd": 1, "adamw": 2}
"""Values that the optimizer keeps for each weight."""


def check(path: str, *overrides: str) -> Iterator[Finding]:
    """Look at a configuration.

    Args:
        path: Its YAML file.
        overrides: Command-line words, such as "--optimizer.lr", "0.02".
    """
    try:
        config = load_config(path, overrides)
    except UserError as error:
        yield mistake("configuration", error)
        return
    yield ok("configuration", f"{path}: {config.model.name}, batches of {config.data.batch_size}")
    try:
        device = resolve_device(config.training.device)
        yield _device(config, device)
    except UserError as error:
        yield mistake("device", error)
        device = torch.device("cpu")
    processes = _processes(device)
    yield judge_threads(config.data.num_threads, processes, usable_cores())
    yield from _network(config)
    for key in ("train_list", "validation_list"):
        yield from check_split(config, key, device, processes)


def _processes(device: torch.device) -> int:
    """Processes of a run on this machine: what torchrun says, else one for each GPU."""
    told = os.environ.get("LOCAL_WORLD_SIZE", "")
    if told.isdigit():
        return int(told)
    return torch.cuda.device_count() if device.type == "cuda" else 1


def _device(config: Config, device: torch.device) -> Finding:
    """The device, the arithmetic on it, who runs the optimizer, and whether torch compiles."""
    precision = choose_precision(config.training.precision, device)
    check_compiler(config.training.compile, device)
    if config.optimizer.backend == "apex":
        obstacle = apex_obstacle(config.optimizer.name, device, {torch.float32})
        if obstacle is not None:
            raise UserError(f"optimizer.backend: apex, but {obstacle}")
    return ok("device", f"{device_name(device)}, {precision.name}")


def judge_threads(threads: int, processes: int, cores: int) -> Finding:
    """What to say of ``data.num_threads``, for the processes and usable cores of a machine."""
    each = "" if processes == 1 else f" in each of {processes} processes"
    found = f"{threads} to decode{each}, on {cores} cores"
    if threads * processes > cores:
        return warn("data.num_threads", found, f"--data.num_threads {max(1, cores // processes)}")
    return ok("data.num_threads", found)


class Sizes(NamedTuple):
    """Of a network in training."""

    parameters: int
    states: int
    """Values that the optimizer keeps for each parameter."""

    @property
    def memory(self) -> int:
        """Bytes of weights, gradients and the optimizer's values, in fp32."""
        return 4 * self.parameters * (2 + self.states)

    @property
    def checkpoint(self) -> int:
        """Bytes of a checkpoint."""
        return 4 * self.parameters * (1 + self.states)


def _network(config: Config) -> Iterator[Finding]:
    """The network's size, its first weights, and room for its checkpoints."""
    try:
        with torch.device("meta"):
            network = create_network(config.model)
    except UserError as error:
        yield mistake("network", error)
        return
    parameters = sum(parameter.numel() for parameter in network.parameters())
    sizes = Sizes(parameters, _STATES[config.optimizer.name])
    yield ok(
        "network",
        f"{parameters / 1e6:.1f} M parameters: {sizes.memory / GB:.2f} GB with gradients and the "
        "optimizer's values, besides activations",
    )
    pretrained = config.model.pretrained
    if pretrained is not None and not Path(pretrained).is_file():
        found = f"{pretrained}: no such file"
        yield fail("model.pretrained", found, "--model.pretrained FILE, or null to start at random")
    needed = max(storage.ROOM, _CHECKPOINTS * sizes.checkpoint)
    folder = storage.look(Path(config.output))
    yield from storage.judge("output", folder, storage.OUTPUT, needed=needed)
