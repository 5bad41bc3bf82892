"""How much memory a loader takes, known before it starts: mostly whole decoded frames.

Measured on the CPU with 1080p video: what DALI holds does not grow with the batches prepared ahead;
it is the decoded frames of one batch and what is cut from them, and the small outputs.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

import torch

from tdn.errors import UserError
from tdn.pipelines.decoding.decoders import all_pictures, kind_by_dali
from tdn.pipelines.sampling.plans import Planner
from tdn.pipelines.sampling.segments import FRAMES_PER_SEGMENT

_log = logging.getLogger(__name__)

GB = 1e9
_COPIES = 2
"""Of a batch's decoded frames: the frames, and what is cut from them, at most as large."""
AHEAD = 1
"""Batches whose outside pictures are fetched beyond those that DALI has."""


@dataclass(frozen=True)
class MemoryNeed:
    """What a loader takes at most, in bytes, if all clips of a batch are of the largest size."""

    device: int
    """Where the clips are decoded and resized: on the GPU, or in the host's memory."""
    host: int
    """Of frames that Python decodes for DALI."""
    pixels: int
    """Width times height of the largest video."""
    gpu: bool
    """Whether clips are decoded on the GPU."""

    def __str__(self) -> str:
        if not self.gpu:
            return f"up to {_size(self.device + self.host)} of memory for decoding"
        host = f" and {_size(self.host)} of the host's" if self.host else ""
        return f"up to {_size(self.device)} of GPU memory{host} for decoding"


def _size(count: float) -> str:
    return f"{count / GB:.1f} GB" if count >= GB else f"{count / 1e6:.1f} MB"


def memory_need(planner: Planner, device: torch.device) -> MemoryNeed:
    """What a loader of these clips takes at most."""
    gpu, data = device.type == "cuda", planner.data
    places = data.batch_size * planner.segments * FRAMES_PER_SEGMENT
    manifest = planner.manifest
    kinds = manifest.kinds()
    alone = all_pictures(manifest)
    largest = max(kind.pixels for kind in kinds)
    outside = [kind.pixels for kind in kinds if not kind_by_dali(kind, alone, gpu)]
    height, width = planner.target
    outputs = places * height * width * 3 * (data.prefetch + 1)
    fetched = places * 3 * max(outside, default=0)
    return MemoryNeed(
        device=places * 3 * largest * _COPIES + outputs,
        host=fetched * (AHEAD + 1 + (not gpu)),  # DALI copies what it is given
        pixels=largest,
        gpu=gpu,
    )


def check_memory(planner: Planner, device: torch.device) -> MemoryNeed:
    """What a loader takes; refused past ``data.memory_limit``.

    Raises:
        UserError: It may take more than the limit.
    """
    need, data = memory_need(planner, device), planner.data
    together = need.device + need.host
    if data.memory_limit and together > data.memory_limit * GB:
        raise UserError(
            f"data.memory_limit: decoding {data.batch_size} clips of up to "
            f"{need.pixels} pixels may take {_size(together)}, more than "
            f"{_size(data.memory_limit * GB)}; lower data.batch_size, raise the limit, or make a "
            "smaller copy with 'tdn transcode'"
        )
    if not data.memory_limit and together > _total(device) / 2:
        _log.warning(
            "decoding %d clips at once may take %s, more than half of what there is; lower "
            "data.batch_size, or make a smaller copy with 'tdn transcode'",
            data.batch_size,
            need,
        )
    return need


def _total(device: torch.device) -> int:
    """Bytes of memory where clips are decoded."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
