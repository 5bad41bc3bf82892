"""What the gate measures ours against: the same formulas by the same libraries, frozen.

Nothing in here is the product's. The stem, the block and their gradients are the arithmetic that
was found fastest in eager PyTorch, operator by operator; the loader is PyAV and torch's resize,
called in a loop. So ours takes about as long on any CPU, whatever its instructions and its cache,
and takes longer only where something was added to it. Do not improve them with the product: raise
the gate's expectation instead.
"""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import torch
from av.video.reformatter import VideoReformatter
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from tdn.pipelines.sampling.plans import View

MEAN = 0.485, 0.456, 0.406
STD = 0.229, 0.224, 0.225


def stem(clips: Tensor) -> tuple[Tensor, Tensor]:
    """Normalised centre frames and pooled differences of uint8 (N, T, 5, H, W, 3), H and W even."""
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    width = clips.shape[4]
    centre = clips[:, :, 2].flatten(0, 1)
    normalised = torch.sub(centre.flatten(2), 255 * mean.repeat(width))
    normalised = normalised.mul_(1 / (255 * std.repeat(width))).view(centre.shape)
    rows = clips[:, :, :, 0::2].to(torch.int16) + clips[:, :, :, 1::2]
    differences = rows[:, :, 1:] - rows[:, :, :-1]
    pairs = differences[..., :-1, :] + differences[..., 1:, :]
    sums = pairs[..., ::2, :].permute(0, 1, 3, 4, 2, 5).flatten(4).flatten(0, 1)
    pooled = sums.flatten(2) * (1 / (4 * 255 * std)).repeat(4 * width // 2)
    return normalised.permute(0, 3, 1, 2), pooled.view(sums.shape).permute(0, 3, 1, 2)


class Block(nn.Module):
    """L-TDM of all branches and the temporal conv, in training.

    Args:
        channels: Of the features.
        segments: Of a clip.
    """

    def __init__(self, channels: int, segments: int) -> None:
        super().__init__()
        inner = channels // 16
        self.segments = segments
        self.reduce = nn.Conv2d(channels, inner, 1, bias=False)
        self.smooth = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.half_conv = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.full_conv = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.expand = nn.Conv2d(inner, channels, 1, bias=False)
        self.norms = nn.ModuleList(map(nn.BatchNorm2d, (inner, inner, inner, channels)))
        self.mix = nn.Parameter(torch.randn(channels, 1, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Of features (N*T, C, H, W)."""
        f = self.norms[0](self.reduce(x))
        d = _Difference.apply(f, self.smooth(f), self.segments)
        half = torch.cat(self._directions(1, self.half_conv(F.avg_pool2d(d, 2))))
        full = torch.cat(self._directions(2, self.full_conv(d)))
        s = (d + F.interpolate(half, size=d.shape[2:], mode="nearest") + full) / 3
        excited = _Excitation.apply(x, *self._directions(3, self.expand(s)))
        return _TemporalConv.apply(excited, self.mix, self.segments)

    def _directions(self, norm: int, v: Tensor) -> tuple[Tensor, Tensor]:
        to_next, to_previous = v.unflatten(0, (2, -1))
        return self.norms[norm](to_next), self.norms[norm](to_previous)


class _Difference(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, f: Tensor, g: Tensor, segments: int) -> Tensor:
        ctx.segments = segments
        both = torch.empty(
            (2 * len(f), *f.shape[1:]), dtype=f.dtype, memory_format=torch.channels_last
        )
        clips = both.view(2, -1, segments, *f.shape[1:])
        f, g = (v.unflatten(0, (-1, segments)) for v in (f, g))
        clips[0][:, :-1] = g[:, 1:] - f[:, :-1]
        clips[0][:, -1] = 0
        clips[1][:, 1:] = g[:, :-1] - f[:, 1:]
        clips[1][:, 0] = 0
        return both

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        halves = grad.unflatten(0, (2, -1))
        results = torch.zeros_like(halves[0]), torch.zeros_like(halves[0])
        to_next, to_previous, df, dg = (
            v.unflatten(0, (-1, ctx.segments)) for v in (*halves, *results)
        )
        df[:, :-1] -= to_next[:, :-1]
        df[:, 1:] -= to_previous[:, 1:]
        dg[:, 1:] += to_next[:, :-1]
        dg[:, :-1] += to_previous[:, 1:]
        return *results, None


class _Excitation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, to_next: Tensor, to_previous: Tensor) -> Tensor:
        q = torch.sigmoid(to_next), torch.sigmoid(to_previous)
        ctx.save_for_backward(x, *q)
        return x * (q[0] + q[1]).add_(1).mul_(0.5)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        x, *q = ctx.saved_tensors
        half = (grad * x).mul_(0.5)
        dx = grad * (q[0] + q[1]).add_(1).mul_(0.5)
        return dx, *(torch.ops.aten.sigmoid_backward(half, each) for each in q)


class _TemporalConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, segments: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.segments = segments
        return _convolve(x, weight, segments)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        dx = _convolve(grad, weight.flip(-1), ctx.segments)
        x, grad = (v.unflatten(0, (-1, ctx.segments)) for v in (x, grad))
        pairs = (x[:, :-1], grad[:, 1:]), (x, grad), (x[:, 1:], grad[:, :-1])
        sums = [(v * g).sum((0, 1, 3, 4)) for v, g in pairs]
        return dx, torch.stack(sums, dim=-1).view_as(weight), None


def _convolve(x: Tensor, weight: Tensor, segments: int) -> Tensor:
    weights = torch.empty((3, *x.shape[1:]), memory_format=torch.channels_last)
    before, here, after = weights.copy_(weight.permute(2, 0, 1).unsqueeze(-1))
    out = x * here
    clips, results = (v.unflatten(0, (-1, segments)) for v in (x, out))
    results[:, 1:].addcmul_(clips[:, :-1], before)
    results[:, :-1].addcmul_(clips[:, 1:], after)
    return out


def load(views: list[View], target: tuple[int, int]) -> Tensor:
    """A batch (N, T, 5, *target, 3), uint8, of videos whose windows are resized as a whole."""
    return torch.stack([_load(view, target) for view in views])


def _load(view: View, target: tuple[int, int]) -> Tensor:
    top, left, height, width = view.crop.window
    numbers, order = np.unique(view.frames, return_inverse=True)
    wanted, pictures, colours = set(numbers.tolist()), [], VideoReformatter()
    with av.open(view.clip.path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                picture = colours.reformat(frame, format="rgb24", threads=1).to_ndarray()
                pictures.append(picture[top : top + height, left : left + width])
                if len(pictures) == len(wanted):
                    break
    planes = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    resized = F.interpolate(planes, target, mode="bilinear", antialias=True)
    if view.crop.region[3] < view.crop.region[1]:
        resized = resized.flip(3)
    clip = resized.permute(0, 2, 3, 1).contiguous()
    return clip[torch.from_numpy(order.reshape(-1))].unflatten(0, (-1, 5))
