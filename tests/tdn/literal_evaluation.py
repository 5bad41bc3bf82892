"""The test protocols written down word by word, slowly: a second opinion on ``tdn evaluate``.

Every frame of a video is decoded by PyAV or Pillow and resized by Pillow as a whole; views are cut
out and go through ``LiteralTDN`` one by one. No manifest, no DALI, no batch, none of the product's
code.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.harness.literal_tdn import LiteralTDN

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
TEST_CLIP = 3
"""What draws of clips are called among all that is random."""


class Rules(NamedTuple):
    """A protocol."""

    segments: int
    clips: int
    crops: int
    short_side: int
    crop_size: int
    seed: int


def logits_of(path: Path, row: int, network: LiteralTDN, rules: Rules) -> np.ndarray:
    """(views, classes): clip by clip, and of each clip crop by crop.

    Args:
        path: A video, or a folder of frames.
        row: In the list, from 0.
        network: In evaluation mode.
        rules: The protocol.
    """
    pictures = [resized(picture, rules.short_side) for picture in decoded(path)]
    found = []
    for clip in range(rules.clips):
        starts = clip_starts(len(pictures), row, clip, rules)
        for left, top, side in crops_of(pictures[0].size, rules):
            channels = []
            for start in starts:
                for successor in range(5):
                    picture = pictures[min(start + successor, len(pictures) - 1)]
                    view = picture.crop((left, top, left + side, top + side))
                    channels.append(normalised(view))
            with torch.no_grad():
                found.append(network(torch.cat(channels)[None])[0].numpy())
    return np.stack(found)


def decoded(path: Path) -> Iterator[Image.Image]:
    """All frames, upright."""
    if path.is_dir():
        for file in sorted(path.iterdir()):
            yield Image.open(file).convert("RGB")
        return
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            picture = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
            yield Image.fromarray(np.ascontiguousarray(picture))


def resized(picture: Image.Image, short_side: int) -> Image.Image:
    """With the shorter side as long as that, and the longer one rounded down."""
    width, height = picture.size
    if width <= height:
        size = short_side, short_side * height // width
    else:
        size = short_side * width // height, short_side
    return picture.resize(size, Image.Resampling.BILINEAR)


def clip_starts(frames: int, row: int, clip: int, rules: Rules) -> list[int]:
    """The first frame of every segment, from 0."""
    segments = rules.segments
    if rules.clips == 1:
        if frames <= segments + 4:
            return [0] * segments
        tick = (frames - 4) / segments
        return [int(tick / 2 + tick * number) for number in range(segments)]
    key = np.array([rules.seed, clip], np.uint64)
    counter = np.array([0, 0, row, TEST_CLIP], np.uint64)
    draw = np.random.Generator(np.random.Philox(key=key, counter=counter))
    part = (frames - 4) // segments
    if part >= 1:
        offsets = draw.integers(part, size=segments)
        return [number * part + int(offset) for number, offset in enumerate(offsets)]
    if frames > segments and frames > 4:
        return sorted(draw.integers(frames - 4, size=segments).tolist())
    return [0] * segments


def crops_of(size: tuple[int, int], rules: Rules) -> list[tuple[int, int, int]]:
    """Left, top and side of every crop of a resized picture."""
    width, height = size
    if rules.crops == 1:
        side = rules.crop_size
        return [(round((width - side) / 2), round((height - side) / 2), side)]
    assert rules.crops == 3
    side = rules.short_side  # as high as a picture that is wider than high
    step = (max(width, height) - side) // 4
    places = (0, 4 * step, 2 * step)
    return [(p, 0, side) if width >= height else (0, p, side) for p in places]


def normalised(picture: Image.Image) -> Tensor:
    """(3, H, W)."""
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
    return (pixels - MEAN) / STD


def mean_softmax(logits: np.ndarray) -> np.ndarray:
    """(classes,): a video's probabilities from its (views, classes) logits."""
    total = np.zeros(logits.shape[1])
    for view in logits.astype(np.float64):
        powers = np.exp(view - view.max())
        total += powers / powers.sum()
    return total / len(logits)
