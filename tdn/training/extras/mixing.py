"""Mixup and cutmix: training on clips that are partly another clip, on the device.

Off in the published recipes. Every step mixes each clip of its batch with another one of it: mixup
(Zhang et al., 2018) blends them, cutmix (Yun et al., 2019) puts a box of the other one into all
frames. Clips stay bytes, and the weights of the labels are exactly those of the pixels. What a step
draws is a pure function of (seed, step, process), so a resumed run goes on the same.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from tdn.config import TrainingConfig
from tdn.kernels.mixup import WHOLE, mixup
from tdn.pipelines.sampling.photometric import Box
from tdn.pipelines.sampling.randomness import Purpose, generator


class Mix(NamedTuple):
    """How the clips of a batch are mixed."""

    shift: int
    """Clip i takes from clip i + shift, counted in a circle: another one, and each from another."""
    share: float
    """The clip's share of the pixels, and so of the loss; its partner has the rest."""
    box: Box | None = None
    """cutmix: what is the partner's; None for mixup."""

    def clips(self, clips: Tensor) -> Tensor:
        """The clips, mixed: uint8 (N, T, 5, H, W, 3) to new ones."""
        if self.box is None:
            return mixup(clips, self.shift, round(self.share * WHOLE))
        y, x, height, width = self.box
        mixed = clips.clone()
        theirs, ours = (c[..., y : y + height, x : x + width, :] for c in (clips, mixed))
        ours[: -self.shift] = theirs[self.shift :]
        ours[-self.shift :] = theirs[: self.shift]
        return mixed

    def partners(self, labels: Tensor) -> Tensor:
        """The labels of the clips' partners, (N,)."""
        return labels.roll(-self.shift)

    def loss(self, logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Mean cross entropy with both labels, each by its share of the pixels."""
        losses = (
            F.cross_entropy(logits, those, label_smoothing=smoothing)
            for those in (labels, self.partners(labels))
        )
        return self.share * next(losses) + (1 - self.share) * next(losses)

    def dominant(self, labels: Tensor) -> Tensor:
        """The label that has the larger share of each clip, (N,)."""
        return labels if self.share >= 0.5 else self.partners(labels)


def draw_mix(
    config: TrainingConfig, seed: int, step: int, rank: int, shape: tuple[int, ...]
) -> Mix | None:
    """How a step's batch is mixed; None if mixing is off.

    Where mixup and cutmix are both on, each takes half of the steps at random.

    Args:
        config: ``mixup`` and ``cutmix``, the parameters of the Beta distribution of the share.
        seed: The run's.
        step: Of the run, from 0.
        rank: This process among all, from 0.
        shape: Of the clips, (N, T, 5, H, W, 3).
    """
    if not config.mixup and not config.cutmix:
        return None
    rng = generator(seed, step, rank, Purpose.MIXING)
    cuts = rng.random() < 0.5 if config.mixup and config.cutmix else config.cutmix > 0
    shift = 1 + int(rng.integers(shape[0] - 1))
    alpha = config.cutmix if cuts else config.mixup
    share = rng.beta(alpha, alpha)
    if not cuts:
        return Mix(shift, round(share * WHOLE) / WHOLE)
    height, width = shape[3:5]
    box = _box(height, width, share, rng)
    return Mix(shift, 1 - box.height * box.width / (height * width), box)


def _box(height: int, width: int, share: float, rng: np.random.Generator) -> Box:
    """A box of the picture's shape that leaves it a share, but for what lies beyond its edges."""
    side = math.sqrt(1 - share)
    edges = []
    for size in (height, width):
        length = int(size * side)
        start = int(rng.integers(size)) - length // 2
        edges.append((max(0, start), min(size, start + length)))
    (top, bottom), (left, right) = edges
    return Box(top, left, bottom - top, right - left)
