"""The operations as torch.compile likes them: the strongest peer that plain PyTorch allows.

No autograd.Function, nothing written in place but running statistics, both directions in one call
of every conv and of every batch norm, the temporal conv as three multiply-adds on views: the
compiler sees all of it, forward and backward, and may fuse whatever it can.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdn.kernels.short_term_stem import FRAMES, MEAN, STD
from tdn.long_term import LongTermTDM


def stem(clips: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """``kernels.short_term_stem.short_term_stem`` of uint8 clips."""
    height, width = (size // 2 * 2 for size in clips.shape[3:5])
    mean, std = (torch.tensor(v, device=clips.device) for v in (MEAN, STD))
    centre = (clips[:, :, FRAMES // 2] - 255 * mean) * (1 / (255 * std))
    frames = clips[:, :, :, :height, :width].to(torch.int32)
    differences = (frames[:, :, 1:] - frames[:, :, :-1]).unflatten(4, (-1, 2)).unflatten(3, (-1, 2))
    sums = differences.sum((4, 6)).permute(0, 1, 3, 4, 2, 5)
    pooled = sums * (1 / (4 * 255 * std))
    centre, pooled = (v.to(dtype).flatten(0, 1) for v in (centre, pooled.flatten(4)))
    return centre.permute(0, 3, 1, 2), pooled.permute(0, 3, 1, 2)


def fusion(x: Tensor, differences: Tensor, a: float, b: float) -> Tensor:
    """``kernels.fusion.fusion``."""
    return a * x + b * F.interpolate(differences, size=x.shape[2:], mode="nearest")


def temporal_conv(x: Tensor, weight: Tensor, num_segments: int) -> Tensor:
    """``kernels.temporal_conv.temporal_conv``."""
    w0, w1, w2 = weight.to(x.dtype).permute(2, 0, 1).unsqueeze(-1)
    padded = F.pad(x.unflatten(0, (-1, num_segments)), (0, 0, 0, 0, 0, 0, 1, 1))
    return (w0 * padded[:, :-2] + w1 * padded[:, 1:-1] + w2 * padded[:, 2:]).flatten(0, 1)


def difference(f: Tensor, g: Tensor, num_segments: int) -> Tensor:
    """``kernels.long_term_difference.long_term_difference``."""
    f, g = (v.unflatten(0, (-1, num_segments)) for v in (f, g))
    zero = torch.zeros_like(f[:, :1])
    to_next = torch.cat((g[:, 1:] - f[:, :-1], zero), dim=1)
    to_previous = torch.cat((zero, g[:, :-1] - f[:, 1:]), dim=1)
    return torch.stack((to_next, to_previous)).flatten(0, 2)


def batch_norm(norm: nn.BatchNorm2d, x: Tensor, directions: int) -> Tensor:
    """A batch norm of (directions*M, C, H, W), each direction by statistics of its own."""
    v = x.unflatten(0, (directions, -1)).to(torch.promote_types(x.dtype, torch.float32))
    if norm.training:
        variance, mean = torch.var_mean(v, dim=(1, 3, 4), correction=0, keepdim=True)
        _move_on(norm, mean.flatten(1), variance.flatten(1), v[0, :, 0].numel())
    else:
        mean, variance = (_channels(norm.get_buffer(f"running_{s}")) for s in ("mean", "var"))
    scale = torch.rsqrt(variance + norm.eps) * _channels(norm.weight)
    return ((v - mean) * scale + _channels(norm.bias)).flatten(0, 1).to(x.dtype)


@torch.no_grad()
def _move_on(norm: nn.BatchNorm2d, means: Tensor, variances: Tensor, count: int) -> None:
    """Running statistics, if there are any, take in one direction after the other."""
    running = dict(norm.named_buffers())
    if not running or norm.momentum is None:
        return
    for mean, variance in zip(means, variances, strict=True):
        running["running_mean"].lerp_(mean, norm.momentum)
        running["running_var"].lerp_(variance * (count / (count - 1)), norm.momentum)
    running["num_batches_tracked"].add_(len(means))


def _channels(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1)


def gated_mix(
    x: Tensor, s: Tensor, expand: nn.Conv2d, norm: nn.BatchNorm2d, mix: Tensor, num_segments: int
) -> Tensor:
    """Excitation by inner maps s (2*N*T, R, H, W), then the temporal conv."""
    q_next, q_previous = torch.sigmoid(batch_norm(norm, expand(s), 2)).unflatten(0, (2, -1))
    return temporal_conv(x * (0.5 + 0.5 * (q_next + q_previous)), mix, num_segments)


def block(long_term: LongTermTDM, mix: Tensor, x: Tensor) -> Tensor:
    """L-TDM and the temporal conv of weight mix behind it."""
    f = batch_norm(long_term.reduce_norm, long_term.reduce(x), 1)
    d = difference(f, long_term.smooth(f), long_term.num_segments)
    half = batch_norm(long_term.half_norm, long_term.half_conv(F.avg_pool2d(d, 2)), 2)
    full = batch_norm(long_term.full_norm, long_term.full_conv(d), 2)
    s = (d + F.interpolate(half, size=d.shape[2:], mode="nearest") + full) / 3
    return gated_mix(x, s, long_term.expand, long_term.expand_norm, mix, long_term.num_segments)
