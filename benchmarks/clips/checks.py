"""Whether a contestant feeds what it was asked for: which frames, where from, in which colours.

The reference reads every frame of a clip one after the other, and cuts, resizes and flips with PIL.
A frame's number is judged by its picture: it must be nearer to the reference's frame of that number
than to the one before and the one behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from benchmarks.clips.contestants import Fed
from tdn.kernels.short_term_stem import MEAN, STD
from tdn.pipelines.files.frame_folders import frame_path
from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.sampling.plans import View

TOLERANCE = 2.0
"""Grey levels that a frame may be off by on average. Decoders differ in how they interpolate and
round colours; a crop that is one pixel off, or a missing flip, is off by more."""
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Verdict:
    """What was found of a batch."""

    error: float
    """Mean absolute difference to the reference of the worst frame, grey levels."""
    problem: str
    """What is wrong, "" if nothing is."""


def check(fed: Fed, views: list[View]) -> Verdict:
    """Compare a batch with what was planned for it."""
    clips, frame_numbers = fed
    planned = torch.from_numpy(np.stack([view.frames for view in views]))
    if not torch.equal(frame_numbers, planned):
        return Verdict(float("inf"), "says that it has other frames than were planned")
    frames = as_levels(clips.cpu(), len(views))
    worst, wrong = 0.0, 0
    for view, found in zip(views, frames, strict=True):
        references = Reference(view, found.shape[1:3])
        for number, frame in zip(view.frames.reshape(-1).tolist(), found, strict=True):
            distances = {n: references.distance(frame, n) for n in references.around(number)}
            worst = max(worst, distances[number])
            wrong += min(distances, key=distances.__getitem__) != number
    if wrong:
        return Verdict(worst, f"{wrong} of {planned.numel()} frames are not those asked for")
    if not worst <= TOLERANCE:
        return Verdict(worst, f"a frame is off by {worst:.1f} grey levels on average")
    return Verdict(worst, "")


def as_levels(clips: Tensor, count: int) -> Tensor:
    """Either kind of batch as (N, T*5, H, W, 3) float32, 0 to 255."""
    if clips.dtype == torch.uint8:
        return clips.flatten(1, 2).float()
    pixels = clips.view(count, -1, 3, *clips.shape[-2:]).permute(0, 1, 3, 4, 2)
    return 255 * (pixels * torch.tensor(STD) + torch.tensor(MEAN))


class Reference:
    """The frames of a view, by the slow and sure way.

    Args:
        view: which part of which clip.
        size: height and width of the network's input.
    """

    def __init__(self, view: View, size: tuple[int, int]) -> None:
        self._view = view
        self._size = size[1], size[0]
        self._frames = list(_all_frames(view.clip))
        self._made: dict[int, Tensor] = {}

    def around(self, number: int) -> range:
        """A frame, the one before and the one behind, as far as the clip has them."""
        return range(max(0, number - 1), min(len(self._frames), number + 2))

    def distance(self, frame: Tensor, number: int) -> float:
        """Mean absolute difference of a frame to the reference of a number, grey levels."""
        if number not in self._made:
            self._made[number] = self._make(self._frames[number])
        return (frame - self._made[number]).abs().mean().item()

    def _make(self, frame: Pixels) -> Tensor:
        crop = self._view.crop
        y, x, height, width = crop.window
        cut = Image.fromarray(frame).crop((x, y, x + width, y + height))
        picture = cut.resize(self._size, Image.Resampling.BILINEAR)
        if crop.region[3] < crop.region[1]:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.array(picture, np.float32))


def _all_frames(clip: Clip) -> Iterator[Pixels]:
    if clip.is_pictures:
        for number in range(clip.frames):
            path = frame_path(clip.path, clip.template, clip.first, number)
            with Image.open(path) as picture:
                yield np.asarray(picture.convert("RGB"))
        return
    with av.open(clip.path) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
